/* Memory of large NumPy arrays, kept when it is freed and handed out again: a handler as of NEP 49
   (https://numpy.org/neps/nep-0049.html), used by fastact/experimental.py. A module of its own, imported only there.

   Pages that the operating system has just given out are written first by the kernel, one page fault after the other;
   for a large array that can take longer than the arithmetic. Memory used before has no such faults.

   Every block comes from the handler that was in use when the pool was made, with a header before it. The header says
   what the block is: the size that NumPy passes when it frees an array is not always the one it asked for. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_1_API_VERSION
#include <numpy/arrayobject.h>

#include "platform.h"

#include <stdlib.h>
#include <string.h>

enum {
    ALIGNMENT = 64,              /* a cache line, and the widest vector */
    PADDING = 2 * ALIGNMENT,     /* of a block: its header, and what alignment takes */
    SMALLEST = 1 << 20           /* smaller blocks are not kept: the C library keeps them itself */
};

static const char CAPSULE_NAME[] = "mem_handler"; /* NumPy's */

typedef struct header {
    void *start;                     /* as it came from the handler below */
    size_t capacity;                 /* bytes after the header */
    struct header *newer, *older;    /* neighbours among the blocks kept */
} header;
_Static_assert(sizeof(header) <= ALIGNMENT, "it stands before a block that is aligned");

typedef struct {
    PyDataMem_Handler handler;       /* what NumPy calls; its context is this pool */
    PyObject *below_capsule;
    PyDataMemAllocator below;
    pthread_mutex_t lock;            /* over the rest */
    header *newest, *oldest;         /* blocks kept */
    size_t kept, limit;              /* bytes */
} memory_pool;

static header *
header_of(void *block)
{
    return (header *)((char *)block - ALIGNMENT);
}

static void
give_back(memory_pool *pool, header *block)
{
    pool->below.free(pool->below.ctx, block->start, block->capacity + PADDING);
}

/* ---- blocks kept, with the lock held ---- */

static void
link_block(memory_pool *pool, header *block)
{
    block->newer = NULL;
    block->older = pool->newest;
    *(pool->newest ? &pool->newest->newer : &pool->oldest) = block;
    pool->newest = block;
    pool->kept += block->capacity;
}

static void
unlink_block(memory_pool *pool, header *block)
{
    *(block->newer ? &block->newer->older : &pool->newest) = block->older;
    *(block->older ? &block->older->newer : &pool->oldest) = block->newer;
    pool->kept -= block->capacity;
}

/* The block kept that fits best and wastes less than an eighth, or NULL; the newest one of several. */
static header *
find_block(const memory_pool *pool, size_t size)
{
    header *best = NULL;
    for (header *block = pool->newest; block != NULL; block = block->older)
        if (block->capacity >= size && block->capacity - size <= size / 8 &&
            (best == NULL || block->capacity < best->capacity))
            best = block;
    return best;
}

/* Give the oldest blocks back until at most `limit` bytes remain. */
static void
shrink(memory_pool *pool, size_t limit)
{
    while (pool->kept > limit) {
        header *block = pool->oldest;
        unlink_block(pool, block);
        give_back(pool, block);
    }
}

/* ---- the handler ---- */

static void *
take_from_below(memory_pool *pool, size_t size, int zeros)
{
    if (size > SIZE_MAX - PADDING)
        return NULL;
    char *start = zeros ? pool->below.calloc(pool->below.ctx, size + PADDING, 1)
                        : pool->below.malloc(pool->below.ctx, size + PADDING);
    if (start == NULL)
        return NULL;
    char *block = start + ALIGNMENT;
    block += -(uintptr_t)block % ALIGNMENT;
    *header_of(block) = (header){.start = start, .capacity = size};
    return block;
}

static void *
take_kept(memory_pool *pool, size_t size)
{
    if (size < SMALLEST)
        return NULL;
    pthread_mutex_lock(&pool->lock);
    header *block = find_block(pool, size);
    if (block != NULL)
        unlink_block(pool, block);
    pthread_mutex_unlock(&pool->lock);
    return block == NULL ? NULL : (char *)block + ALIGNMENT;
}

static void *
pool_malloc(void *context, size_t size)
{
    void *block = take_kept(context, size);
    return block != NULL ? block : take_from_below(context, size, 0);
}

static void *
pool_calloc(void *context, size_t count, size_t item_size)
{
    if (item_size != 0 && count > SIZE_MAX / item_size)
        return NULL;
    const size_t size = count * item_size;
    void *block = take_kept(context, size);
    return block != NULL ? memset(block, 0, size) : take_from_below(context, size, 1);
}

static void
pool_free(void *context, void *data, size_t size)
{
    memory_pool *pool = context;
    (void)size;
    if (data == NULL)
        return;
    header *block = header_of(data);
    if (block->capacity < SMALLEST) {
        give_back(pool, block);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    if (block->capacity > pool->limit) {
        give_back(pool, block);
    } else {
        shrink(pool, pool->limit - block->capacity);
        link_block(pool, block);
    }
    pthread_mutex_unlock(&pool->lock);
}

static void *
pool_realloc(void *context, void *data, size_t size)
{
    void *moved = pool_malloc(context, size);
    if (moved != NULL && data != NULL) {
        const size_t before = header_of(data)->capacity;
        memcpy(moved, data, before < size ? before : size);
        pool_free(context, data, before);
    }
    return moved;
}

/* ---- the module ---- */

/* The capsule lives as long as the pool is in use and an array has memory from it. */
static void
destroy(PyObject *capsule)
{
    memory_pool *pool = PyCapsule_GetPointer(capsule, CAPSULE_NAME);
    shrink(pool, 0);
    pthread_mutex_destroy(&pool->lock);
    Py_DECREF(pool->below_capsule);
    free(pool);
}

static memory_pool *
pool_of(PyObject *capsule)
{
    memory_pool *pool = PyCapsule_GetPointer(capsule, CAPSULE_NAME);
    if (pool != NULL && pool->handler.allocator.malloc != pool_malloc) {
        PyErr_SetString(PyExc_ValueError, "not a memory pool");
        return NULL;
    }
    return pool;
}

PyDoc_STRVAR(make_doc, "make(limit)\n\nA pool that keeps up to `limit` bytes, as a NumPy memory handler.");

static PyObject *
make(PyObject *module, PyObject *limit)
{
    (void)module;
    const size_t bytes = PyLong_AsSize_t(limit);
    if (bytes == (size_t)-1 && PyErr_Occurred())
        return NULL;
    PyObject *below_capsule = PyDataMem_GetHandler();
    if (below_capsule == NULL)
        return NULL;
    const PyDataMem_Handler *below = PyCapsule_GetPointer(below_capsule, CAPSULE_NAME);
    memory_pool *pool = below == NULL ? NULL : calloc(1, sizeof *pool);
    if (pool == NULL) {
        Py_DECREF(below_capsule);
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    pool->handler = (PyDataMem_Handler){
        .name = "fastact_memory_pool",
        .version = 1,
        .allocator = {pool, pool_malloc, pool_calloc, pool_realloc, pool_free},
    };
    pool->below_capsule = below_capsule;
    pool->below = below->allocator;
    pool->limit = bytes;
    pthread_mutex_init(&pool->lock, NULL);
    PyObject *capsule = PyCapsule_New(pool, CAPSULE_NAME, destroy);
    if (capsule == NULL) {
        Py_DECREF(below_capsule);
        free(pool);
    }
    return capsule;
}

PyDoc_STRVAR(set_handler_doc,
             "set_handler(handler)\n\nUse a memory handler in this context; return the one used before.");

static PyObject *
set_handler(PyObject *module, PyObject *handler)
{
    (void)module;
    return PyDataMem_SetHandler(handler);
}

PyDoc_STRVAR(kept_doc, "kept(pool)\n\nHow many bytes a pool keeps now.");

static PyObject *
kept(PyObject *module, PyObject *capsule)
{
    (void)module;
    memory_pool *pool = pool_of(capsule);
    if (pool == NULL)
        return NULL;
    pthread_mutex_lock(&pool->lock);
    const size_t bytes = pool->kept;
    pthread_mutex_unlock(&pool->lock);
    return PyLong_FromSize_t(bytes);
}

PyDoc_STRVAR(release_doc, "release(pool)\n\nGive back everything that a pool keeps.");

static PyObject *
release(PyObject *module, PyObject *capsule)
{
    (void)module;
    memory_pool *pool = pool_of(capsule);
    if (pool == NULL)
        return NULL;
    pthread_mutex_lock(&pool->lock);
    shrink(pool, 0);
    pthread_mutex_unlock(&pool->lock);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(close_doc, "close(pool)\n\nKeep nothing any more: what is freed later is given back at once.");

static PyObject *
close_pool(PyObject *module, PyObject *capsule)
{
    memory_pool *pool = pool_of(capsule);
    if (pool == NULL)
        return NULL;
    pthread_mutex_lock(&pool->lock);
    pool->limit = 0;
    pthread_mutex_unlock(&pool->lock);
    return release(module, capsule);
}

static PyMethodDef methods[] = {
    {"make", make, METH_O, make_doc},
    {"set_handler", set_handler, METH_O, set_handler_doc},
    {"kept", kept, METH_O, kept_doc},
    {"release", release, METH_O, release_doc},
    {"close", close_pool, METH_O, close_doc},
    {NULL, NULL, 0, NULL},
};

static int
execute(PyObject *module)
{
    (void)module;
    import_array1(-1);
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fastact._memory_pool",
    .m_doc = "A NumPy memory handler that keeps the memory of large arrays.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__memory_pool(void)
{
    return PyModuleDef_Init(&definition);
}
