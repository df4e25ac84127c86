/* Makes np.ufunc objects from the addresses of loops. A plain extension module, because what a cffi call does has
   neither the GIL nor Python objects; it links no kernel and knows nothing of them. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_1_API_VERSION
#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>

PyDoc_STRVAR(make_ufunc_doc,
             "make_ufunc(name, doc, input_count, output_count, types, loops, data, signature)\n\n"
             "A ufunc over these loops. `types` holds a NumPy type character for every operand of every loop; `loops`\n"
             "and `data` are sequences of addresses, which must stay valid for good; `signature` is None or that of a\n"
             "generalised ufunc.");

static int
fill_addresses(PyObject *sequence, void **addresses, Py_ssize_t count)
{
    if (PySequence_Size(sequence) != count) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "types, loops and data do not match");
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PySequence_GetItem(sequence, i);
        if (item == NULL)
            return -1;
        addresses[i] = PyLong_AsVoidPtr(item);
        Py_DECREF(item);
        if (PyErr_Occurred())
            return -1;
    }
    return 0;
}

static int
type_number(char type)
{
    switch (type) {
    case 'e': return NPY_HALF;
    case 'f': return NPY_FLOAT;
    case 'd': return NPY_DOUBLE;
    case '?': return NPY_BOOL;
    default: return -1;
    }
}

/* NumPy keeps pointers to all of this as long as the ufunc lives, and never frees it: one block, never freed. */
static PyObject *
make_ufunc(PyObject *module, PyObject *args)
{
    (void)module;
    const char *name, *doc, *signature;
    Py_buffer types;
    int input_count, output_count;
    PyObject *loops, *data;
    if (!PyArg_ParseTuple(args, "ssiiy*OOz", &name, &doc, &input_count, &output_count, &types, &loops, &data,
                          &signature))
        return NULL;
    const Py_ssize_t operands = input_count + output_count, count = types.len / operands;
    const size_t name_size = strlen(name) + 1, doc_size = strlen(doc) + 1;
    PyObject *ufunc = NULL;
    char *block = PyMem_RawMalloc((size_t)count * 2 * sizeof(void *) + (size_t)types.len + name_size + doc_size);
    if (block == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    void **loop_addresses = (void **)block, **data_addresses = loop_addresses + count;
    char *type_numbers = (char *)(data_addresses + count);
    char *kept_name = type_numbers + types.len, *kept_doc = kept_name + name_size;
    memcpy(kept_name, name, name_size);
    memcpy(kept_doc, doc, doc_size);
    for (Py_ssize_t i = 0; i < types.len; i++) {
        type_numbers[i] = (char)type_number(((const char *)types.buf)[i]);
        if (type_numbers[i] < 0) {
            PyErr_Format(PyExc_ValueError, "unknown type character in %s", name);
            goto done;
        }
    }
    if (fill_addresses(loops, loop_addresses, count) == 0 && fill_addresses(data, data_addresses, count) == 0)
        ufunc = PyUFunc_FromFuncAndDataAndSignature((PyUFuncGenericFunction *)loop_addresses, data_addresses,
                                                    type_numbers, (int)count, input_count, output_count,
                                                    PyUFunc_None, kept_name, kept_doc, 0, signature);
done:
    if (ufunc == NULL)
        PyMem_RawFree(block);
    PyBuffer_Release(&types);
    return ufunc;
}

static PyObject *compiler; /* called with the address of an fa_kernel */

static void
compile_with_gil(void *kernel)
{
    const PyGILState_STATE state = PyGILState_Ensure();
    PyObject *result = PyObject_CallFunction(compiler, "N", PyLong_FromVoidPtr(kernel));
    if (result == NULL)
        PyErr_WriteUnraisable(compiler); /* a loop cannot raise; the C kernel then runs instead */
    Py_XDECREF(result);
    PyGILState_Release(state);
}

PyDoc_STRVAR(set_compiler_doc,
             "set_compiler(function)\n\n"
             "Keep a Python function that compiles the Numba kernel at an address; return the address of the C\n"
             "function that calls it with the GIL held.");

static PyObject *
set_compiler(PyObject *module, PyObject *function)
{
    (void)module;
    Py_XSETREF(compiler, Py_NewRef(function));
    return PyLong_FromVoidPtr((void *)compile_with_gil);
}

static PyMethodDef methods[] = {
    {"make_ufunc", make_ufunc, METH_VARARGS, make_ufunc_doc},
    {"set_compiler", set_compiler, METH_O, set_compiler_doc},
    {NULL, NULL, 0, NULL},
};

static int
execute(PyObject *module)
{
    (void)module;
    import_array1(-1);
    import_umath1(-1);
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fastact._ufuncs",
    .m_doc = "Makes np.ufunc objects from the addresses of loops.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__ufuncs(void)
{
    return PyModuleDef_Init(&definition);
}
