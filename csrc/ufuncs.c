/* Makes np.ufunc objects from the addresses of loops, and callables that choose between two of them; calls the loops
   without NumPy where that is the same. A plain extension module, because what a cffi call does has neither the GIL nor
   Python objects; it links no kernel: Python gives it their addresses. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <stdlib.h>
#include <string.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_1_API_VERSION
#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>

#include "fastact.h"

/* ---- calls past NumPy ----

   NumPy's way from a call to the loop takes longer than the arithmetic of a thousand elements. Plain arrays of one type
   and shape, without gaps, need nothing of what it does: their loop is called at once, with the same result. All else
   is left to NumPy. */

enum { MAX_OPERANDS = 16, MAX_RESULTS = 2 };

/* The loop of a ufunc whose first operand has this type; the ufuncs here have no two of them. */
static Py_ssize_t
loop_index(const PyUFuncObject *ufunc, int type)
{
    for (Py_ssize_t i = 0; i < ufunc->ntypes; i++)
        if (ufunc->types[i * ufunc->nargs] == type)
            return i;
    return -1;
}

/* Whether an operand is a plain array without gaps, of the type of another and a shape with as many axes. */
static int
is_plain_of_shape(PyObject *object, PyArrayObject *other, const npy_intp *shape)
{
    PyArrayObject *array = (PyArrayObject *)object;
    return PyArray_CheckExact(object) && PyArray_TYPE(array) == PyArray_TYPE(other) && PyArray_ISCARRAY_RO(array) &&
           PyArray_NDIM(array) == PyArray_NDIM(other) &&
           PyArray_CompareLists(PyArray_DIMS(array), shape, PyArray_NDIM(array));
}

/* Whether it has the shape of the other, too. */
static int
lies_like(PyObject *object, PyArrayObject *other)
{
    return is_plain_of_shape(object, other, PyArray_DIMS(other));
}

/* Whether all operands are such arrays, alike, and there are elements. */
static int
are_plain(PyObject *const *arrays, Py_ssize_t count)
{
    PyArrayObject *x = (PyArrayObject *)arrays[0];
    if (!PyArray_CheckExact(arrays[0]) || PyArray_NDIM(x) == 0 || PyArray_SIZE(x) == 0)
        return 0;
    for (Py_ssize_t i = 0; i < count; i++)
        if (!lies_like(arrays[i], x))
            return 0;
    return 1;
}

/* Whether two such arrays share no memory. */
static int
are_apart(PyObject *a, PyObject *b)
{
    const char *first = PyArray_BYTES((PyArrayObject *)a), *second = PyArray_BYTES((PyArrayObject *)b);
    return first + PyArray_NBYTES((PyArrayObject *)a) <= second || second + PyArray_NBYTES((PyArrayObject *)b) <= first;
}

/* A new array of the dtype of x, metadata included, and a shape with as many axes. */
static PyObject *
new_like(PyArrayObject *x, const npy_intp *shape)
{
    PyArray_Descr *dtype = (PyArray_Descr *)Py_NewRef((PyObject *)PyArray_DESCR(x));
    return PyArray_NewFromDescr(&PyArray_Type, dtype, PyArray_NDIM(x), shape, NULL, NULL, 0, NULL);
}

/* A new array like the inputs for None, else the one given; NULL, mostly without an error, if it cannot take the result
   as it is. */
static PyObject *
result_for(PyObject *given, PyObject *const *inputs, Py_ssize_t count)
{
    PyArrayObject *x = (PyArrayObject *)inputs[0], *out = (PyArrayObject *)given;
    if (given == Py_None)
        return new_like(x, PyArray_DIMS(x));
    if (!lies_like(given, x) || !PyArray_ISWRITEABLE(out))
        return NULL;
    for (Py_ssize_t i = 0; i < count; i++) /* loops work in place, but not on a part of their input */
        if (PyArray_BYTES((PyArrayObject *)inputs[i]) != PyArray_BYTES(out) && !are_apart(inputs[i], given))
            return NULL;
    /* Of some arrays it warns (those of np.broadcast_arrays), which can be an error. */
    return PyArray_FailUnlessWriteable(out, "output array") < 0 ? NULL : Py_NewRef(given);
}

/* Call a loop. Inputs behind the arrays are parameters, each a number for all elements. */
static void
run_loop(const PyUFuncObject *ufunc, Py_ssize_t loop, PyObject *const *arrays, Py_ssize_t count,
         const double *parameters, PyObject *const *results)
{
    PyArrayObject *x = (PyArrayObject *)arrays[0];
    const npy_intp n = PyArray_SIZE(x);
    char *data[MAX_OPERANDS];
    npy_intp steps[MAX_OPERANDS];
    float single[MAX_OPERANDS];
    for (Py_ssize_t i = 0; i < ufunc->nargs; i++) {
        steps[i] = PyArray_ITEMSIZE(x);
        data[i] = i < count ? PyArray_BYTES((PyArrayObject *)arrays[i]) : NULL;
        if (i >= ufunc->nin) {
            data[i] = PyArray_BYTES((PyArrayObject *)results[i - ufunc->nin]);
        } else if (i >= count) {
            steps[i] = 0;
            single[i] = (float)parameters[i - count];
            data[i] = PyArray_TYPE(x) == NPY_DOUBLE ? (char *)&parameters[i - count] : (char *)&single[i];
        }
    }
    NPY_BEGIN_THREADS_DEF;
    NPY_BEGIN_THREADS_THRESHOLDED(n);
    ufunc->functions[loop](data, &n, steps, ufunc->data[loop]);
    NPY_END_THREADS;
}

/* Call a ufunc; NotImplemented if it is left to NumPy. `outs` has an object for each result, or is NULL. */
static PyObject *
call_plain(const PyUFuncObject *ufunc, PyObject *const *arrays, Py_ssize_t count, const double *parameters,
           PyObject *const *outs)
{
    if (ufunc->core_enabled || ufunc->nargs > MAX_OPERANDS || ufunc->nout > MAX_RESULTS || !are_plain(arrays, count))
        Py_RETURN_NOTIMPLEMENTED;
    const int type = PyArray_TYPE((PyArrayObject *)arrays[0]), parameter_type = type == NPY_DOUBLE ? type : NPY_FLOAT;
    const Py_ssize_t loop = loop_index(ufunc, type);
    if (loop < 0)
        Py_RETURN_NOTIMPLEMENTED;
    const char *types = ufunc->types + loop * ufunc->nargs;
    for (Py_ssize_t i = 0; i < ufunc->nargs; i++)
        if (types[i] != (count <= i && i < ufunc->nin ? parameter_type : type))
            Py_RETURN_NOTIMPLEMENTED;

    PyObject *results[MAX_RESULTS] = {NULL, NULL};
    int ready = 1;
    for (Py_ssize_t i = 0; i < ufunc->nout && ready; i++) {
        results[i] = result_for(outs == NULL ? Py_None : outs[i], arrays, count);
        ready = results[i] != NULL && (i == 0 || are_apart(results[0], results[i]));
    }
    if (ready)
        run_loop(ufunc, loop, arrays, count, parameters, results);
    if (ready && ufunc->nout == 1)
        return results[0];
    PyObject *both = NULL;
    if (ready)
        both = PyTuple_Pack(2, results[0], results[1]);
    else if (!PyErr_Occurred())
        both = Py_NewRef(Py_NotImplemented);
    for (Py_ssize_t i = 0; i < MAX_RESULTS; i++)
        Py_XDECREF(results[i]);
    return both;
}

/* The loop whose operands all have the type of x, or -1. */
static Py_ssize_t
loop_of_one_type(const PyUFuncObject *ufunc, PyArrayObject *x)
{
    const int type = PyArray_TYPE(x);
    const Py_ssize_t loop = loop_index(ufunc, type);
    for (Py_ssize_t i = 0; loop >= 0 && i < ufunc->nargs; i++)
        if (ufunc->types[loop * ufunc->nargs + i] != type)
            return -1;
    return loop;
}

typedef void rows_loop(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *block_steps, const ptrdiff_t *steps,
                       void *data);
static rows_loop *rows_in_blocks;

PyDoc_STRVAR(set_rows_doc, "set_rows(run)\n\nSay at which address fa_rows_in_blocks is.");

static PyObject *
set_rows(PyObject *module, PyObject *run)
{
    (void)module;
    rows_in_blocks = (rows_loop *)PyLong_AsVoidPtr(run);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* Call a ufunc of rows whose operands all have one core axis, the last one or `axis`; NotImplemented if it is left to
   Python. */
static PyObject *
call_plain_rows(const PyUFuncObject *ufunc, PyObject *const *arrays, PyObject *axis_given, PyObject *out)
{
    PyArrayObject *x = (PyArrayObject *)arrays[0];
    if (ufunc->nargs > MAX_OPERANDS || !are_plain(arrays, ufunc->nin) ||
        (axis_given != NULL && !PyLong_CheckExact(axis_given)))
        Py_RETURN_NOTIMPLEMENTED;
    const Py_ssize_t loop = loop_of_one_type(ufunc, x);
    int too_large = 0;
    const long given = axis_given == NULL ? -1 : PyLong_AsLongAndOverflow(axis_given, &too_large);
    const long last = PyArray_NDIM(x) - 1, axis = given < 0 ? given + last + 1 : given;
    if (loop < 0 || too_large || axis < 0 || axis > last)
        Py_RETURN_NOTIMPLEMENTED;
    PyObject *result = result_for(out, arrays, ufunc->nin);
    if (result == NULL)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_NotImplemented);

    const npy_intp n = PyArray_DIM(x, (int)axis), size = PyArray_ITEMSIZE(x);
    npy_intp before = 1;
    for (long i = 0; i < axis; i++)
        before *= PyArray_DIM(x, (int)i);
    const npy_intp after = PyArray_SIZE(x) / n / before;
    const int is_last = after == 1; /* or others have length 1 */
    const npy_intp dimensions[3] = {is_last ? 1 : before, is_last ? before : after, n};
    npy_intp block_steps[MAX_OPERANDS], steps[2 * MAX_OPERANDS]; /* from row to row of all operands, then along the rows */
    char *data[MAX_OPERANDS];
    for (Py_ssize_t i = 0; i < ufunc->nargs; i++) {
        data[i] = PyArray_BYTES((PyArrayObject *)(i < ufunc->nin ? arrays[i] : result));
        block_steps[i] = n * after * size;
        steps[i] = is_last ? n * size : size;
        steps[ufunc->nargs + i] = after * size;
    }
    NPY_BEGIN_THREADS_DEF;
    NPY_BEGIN_THREADS_THRESHOLDED(PyArray_SIZE(x));
    rows_in_blocks(data, dimensions, block_steps, steps, ufunc->data[loop]);
    NPY_END_THREADS;
    return result;
}

/* Call a generalised ufunc on the two halves of an array along an axis, f(first, second) or with the gradient dy before
   them, where the results are the halves of an array like x; NotImplemented if it is left to Python. `swapped`: the
   second half comes first. */
static PyObject *
call_plain_halves(const PyUFuncObject *ufunc, PyObject *const *arrays, PyObject *axis_given, int swapped, PyObject *out)
{
    enum { X, DY_X }; /* what is given */
    const int given = ufunc->nin == 2 ? X : DY_X;
    PyObject *x_given = arrays[given == X ? 0 : 1];
    PyArrayObject *x = (PyArrayObject *)x_given;
    if (!are_plain(&x_given, 1) || (axis_given != NULL && !PyLong_CheckExact(axis_given)))
        Py_RETURN_NOTIMPLEMENTED;
    int too_large = 0;
    const long axis_number = axis_given == NULL ? -1 : PyLong_AsLongAndOverflow(axis_given, &too_large);
    const long dimensions = PyArray_NDIM(x), axis = axis_number < 0 ? axis_number + dimensions : axis_number;
    const Py_ssize_t loop = loop_of_one_type(ufunc, x);
    if (loop < 0 || too_large || axis < 0 || axis >= dimensions || PyArray_DIM(x, (int)axis) % 2 != 0)
        Py_RETURN_NOTIMPLEMENTED;

    npy_intp shape[NPY_MAXDIMS], rows = 1;
    for (long i = 0; i < dimensions; i++) {
        shape[i] = PyArray_DIM(x, (int)i) / (i == axis ? 2 : 1);
        rows *= i < axis ? shape[i] : 1;
    }
    PyObject *half = given == X ? out : arrays[0]; /* y or dy */
    if ((given == DY_X || half != Py_None) && !is_plain_of_shape(half, x, shape))
        Py_RETURN_NOTIMPLEMENTED;
    PyObject *result = NULL;
    if (given == DY_X)
        result = result_for(out, &x_given, 1);
    else if (half == Py_None)
        result = new_like(x, shape);
    else if (PyArray_ISWRITEABLE((PyArrayObject *)half) && are_apart(half, x_given) &&
             PyArray_FailUnlessWriteable((PyArrayObject *)half, "output array") == 0) /* as in result_for */
        result = Py_NewRef(half);
    if (given == DY_X && result != NULL && !are_apart(half, result))
        Py_CLEAR(result);
    if (result == NULL)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_NotImplemented);

    const npy_intp size = PyArray_ITEMSIZE(x), n = PyArray_SIZE(x) / rows / 2, bytes = n * size;
    const npy_intp work[2] = {rows, n};
    char *in = PyArray_BYTES(x), *to = PyArray_BYTES((PyArrayObject *)result);
    const npy_intp first = swapped ? bytes : 0, second = bytes - first;
    char *of_gate[] = {in + first, in + second, to};
    char *of_gradient[] = {PyArray_BYTES((PyArrayObject *)half), in + first, in + second, to + first, to + second};
    const npy_intp steps_of_gate[] = {2 * bytes, 2 * bytes, bytes, size, size, size};
    const npy_intp steps_of_gradient[] = {bytes, 2 * bytes, 2 * bytes, 2 * bytes, 2 * bytes,
                                          size,  size,      size,      size,      size};
    NPY_BEGIN_THREADS_DEF;
    NPY_BEGIN_THREADS_THRESHOLDED(rows * n);
    ufunc->functions[loop](given == X ? of_gate : of_gradient, work,
                           given == X ? steps_of_gate : steps_of_gradient, ufunc->data[loop]);
    NPY_END_THREADS;
    return result;
}

static PyObject *out_name, *axis_name; /* interned, as the names of keywords in a program are */
static PyObject *only_out;             /* ("out",) */
static vectorcallfunc call_of_numpy;   /* that of every ufunc */

static int
is_only_out(PyObject *keywords)
{
    return PyTuple_Size(keywords) == 1 && PyTuple_GetItem(keywords, 0) == out_name;
}

/* What np.ufunc objects made here are called by. */
static PyObject *
ufunc_call(PyObject *object, PyObject *const *args, size_t flags, PyObject *keywords)
{
    const PyUFuncObject *ufunc = (PyUFuncObject *)object;
    const Py_ssize_t given = PyVectorcall_NARGS(flags);
    PyObject *const *outs = NULL, *of_tuple[MAX_RESULTS];
    int plain = given == ufunc->nin;
    if (keywords == NULL || PyTuple_Size(keywords) == 0) {
        if (given == ufunc->nargs) {
            plain = 1;
            outs = args + ufunc->nin;
        }
    } else if (plain && is_only_out(keywords)) {
        if (ufunc->nout == 1)
            outs = args + given;
        else if (ufunc->nout == MAX_RESULTS && PyTuple_CheckExact(args[given]) &&
                 PyTuple_Size(args[given]) == MAX_RESULTS) {
            for (Py_ssize_t i = 0; i < MAX_RESULTS; i++)
                of_tuple[i] = PyTuple_GetItem(args[given], i);
            outs = of_tuple;
        } else
            plain = 0;
    } else {
        plain = 0;
    }
    if (plain) {
        PyObject *result = call_plain(ufunc, args, ufunc->nin, NULL, outs);
        if (result != Py_NotImplemented)
            return result;
        Py_DECREF(result);
    }
    return call_of_numpy(object, args, flags, keywords);
}

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
    char *block = malloc((size_t)count * 2 * sizeof(void *) + (size_t)types.len + name_size + doc_size);
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
        const int number = type_number(((const char *)types.buf)[i]);
        type_numbers[i] = (char)number;
        if (number < 0) {
            PyErr_Format(PyExc_ValueError, "unknown type character in %s", name);
            goto done;
        }
    }
    if (fill_addresses(loops, loop_addresses, count) == 0 && fill_addresses(data, data_addresses, count) == 0)
        ufunc = PyUFunc_FromFuncAndDataAndSignature((PyUFuncGenericFunction *)loop_addresses, data_addresses,
                                                    type_numbers, (int)count, input_count, output_count,
                                                    PyUFunc_None, kept_name, kept_doc, 0, signature);
    if (ufunc != NULL && signature == NULL) {
        call_of_numpy = (vectorcallfunc)((PyUFuncObject *)ufunc)->vectorcall;
        ((PyUFuncObject *)ufunc)->vectorcall = ufunc_call;
    }
done:
    if (ufunc == NULL)
        free(block);
    PyBuffer_Release(&types);
    return ufunc;
}

static int bfloat16 = -1; /* the number of ml_dtypes' type, which it has from NumPy when it is imported */

PyDoc_STRVAR(set_bfloat16_doc, "set_bfloat16(number)\n\nSay which NumPy type is bfloat16.");

static PyObject *
set_bfloat16(PyObject *module, PyObject *number)
{
    (void)module;
    const long value = PyLong_AsLong(number);
    if (value == -1 && PyErr_Occurred())
        return NULL;
    bfloat16 = (int)value;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(add_bfloat16_loop_doc,
             "add_bfloat16_loop(ufunc, types, loop, data)\n\n"
             "Add a loop to a ufunc that has not been called yet: NumPy keeps what it has found for the types of a call.\n"
             "`types` are those of make_ufunc, and 'E' for bfloat16.");

/* The old way to add a loop, and for bfloat16 the right one: to NumPy it is a type of the old kind, and only loops added
   like this take part in the promotion of such types (bfloat16 and int8 give bfloat16, as in np.add). */
static PyObject *
add_bfloat16_loop(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *ufunc, *loop, *data;
    const char *types;
    Py_ssize_t operands;
    int type_numbers[NPY_MAXARGS];
    if (!PyArg_ParseTuple(args, "O!s#OO", &PyUFunc_Type, &ufunc, &types, &operands, &loop, &data))
        return NULL;
    if (operands != ((PyUFuncObject *)ufunc)->nargs) {
        PyErr_SetString(PyExc_ValueError, "types do not match the ufunc");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < operands; i++)
        type_numbers[i] = types[i] == 'E' ? bfloat16 : type_number(types[i]);
    void *loop_address = PyLong_AsVoidPtr(loop), *data_address = PyLong_AsVoidPtr(data);
    if (PyErr_Occurred() || PyUFunc_RegisterLoopForType((PyUFuncObject *)ufunc, bfloat16,
                                                        (PyUFuncGenericFunction)loop_address, type_numbers,
                                                        data_address) < 0)
        return NULL;
    Py_RETURN_NONE;
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
    PyObject *before = compiler;
    compiler = Py_NewRef(function);
    Py_XDECREF(before);
    return PyLong_FromVoidPtr((void *)compile_with_gil);
}

/* ---- the loss ---- */

static size_t (*check_labels)(const fa_cross_entropy *call, size_t *counted);
static int (*run_cross_entropy)(fa_cross_entropy *call);

PyDoc_STRVAR(set_loss_doc, "set_loss(check_labels, run)\n\nSay at which addresses fa_check_labels and "
                           "fa_softmax_cross_entropy are.");

static PyObject *
set_loss(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *check, *run;
    if (!PyArg_ParseTuple(args, "OO", &check, &run))
        return NULL;
    check_labels = (size_t (*)(const fa_cross_entropy *, size_t *))PyLong_AsVoidPtr(check);
    run_cross_entropy = (int (*)(fa_cross_entropy *))PyLong_AsVoidPtr(run);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* Whether these are float32 or float64 logits along the last axis, and a label for each of their rows. */
static int
are_plain_logits_and_labels(PyObject *logits_given, PyObject *labels_given)
{
    PyArrayObject *logits = (PyArrayObject *)logits_given, *labels = (PyArrayObject *)labels_given;
    return are_plain(&logits_given, 1) && (PyArray_TYPE(logits) == NPY_FLOAT || PyArray_TYPE(logits) == NPY_DOUBLE) &&
           PyArray_CheckExact(labels_given) && PyArray_ISINTEGER(labels) && PyArray_ISCARRAY_RO(labels) &&
           PyArray_NDIM(labels) == PyArray_NDIM(logits) - 1 &&
           PyArray_CompareLists(PyArray_DIMS(labels), PyArray_DIMS(logits), PyArray_NDIM(labels));
}

/* Whether it is one number of a type that converts to double as it is. */
static int
is_number(PyObject *object)
{
    if (PyArray_CheckExact(object)) {
        const int type = PyArray_TYPE((PyArrayObject *)object);
        return PyArray_NDIM((PyArrayObject *)object) == 0 && (type == NPY_FLOAT || type == NPY_DOUBLE);
    }
    return PyFloat_CheckExact(object) || PyLong_CheckExact(object) || Py_TYPE(object) == &PyDoubleArrType_Type ||
           Py_TYPE(object) == &PyFloatArrType_Type;
}

static fa_row_array
rows_of(PyObject *object, npy_intp n)
{
    PyArrayObject *array = (PyArrayObject *)object;
    const npy_intp size = PyArray_ITEMSIZE(array);
    return (fa_row_array){PyArray_BYTES(array), PyArray_DESCR(array)->type, size, {n * size}};
}

PyDoc_STRVAR(call_loss_doc,
             "call_loss(logits, targets), call_loss(logits, targets, dy, out)\n\n"
             "The mean of softmax_cross_entropy of the rows along the last axis, or with dy, a number, its gradient;\n"
             "NotImplemented unless the arrays are plain ones and the targets labels of the right number and size.");

static PyObject *
call_loss(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    enum { IGNORED = -100 }; /* the default of fastact/losses.py */
    const int backward = count == 4;
    if (count != 2 && count != 4) {
        PyErr_SetString(PyExc_TypeError, "call_loss takes logits and targets, or dy and out, too");
        return NULL;
    }
    PyObject *logits = args[0], *labels = args[1], *gradient = NULL;
    if (!are_plain_logits_and_labels(logits, labels) || (backward && !is_number(args[2])))
        Py_RETURN_NOTIMPLEMENTED;
    PyArrayObject *x = (PyArrayObject *)logits;
    const npy_intp n = PyArray_DIM(x, PyArray_NDIM(x) - 1);
    size_t counted, rows = (size_t)(PyArray_SIZE(x) / n);
    fa_cross_entropy call = {
        .dimensions = 1,
        .shape = {rows},
        .n = (size_t)n,
        .logits = rows_of(logits, n),
        .targets = rows_of(labels, 1),
        .has_labels = 1,
        .ignore_index = IGNORED,
        .factor = 1,
    };
    size_t right; /* rows before one whose label is no class */
    NPY_BEGIN_THREADS_DEF;
    NPY_BEGIN_THREADS_THRESHOLDED(PyArray_SIZE(x));
    right = check_labels(&call, &counted);
    NPY_END_THREADS;
    if (right < rows) /* Python raises the error */
        Py_RETURN_NOTIMPLEMENTED;
    if (backward) {
        call.factor = PyFloat_AsDouble(args[2]) / (counted == 0 ? 1 : (double)counted);
        if (PyErr_Occurred()) { /* an integer that is too large */
            PyErr_Clear();
            Py_RETURN_NOTIMPLEMENTED;
        }
        gradient = result_for(args[3], &logits, 1);
        if (gradient != NULL && !are_apart(gradient, labels))
            Py_CLEAR(gradient);
        if (gradient == NULL)
            return PyErr_Occurred() ? NULL : Py_NewRef(Py_NotImplemented);
        call.backward = 1;
        call.output = rows_of(gradient, n);
    }
    int failed;
    NPY_BEGIN_THREADS_THRESHOLDED(PyArray_SIZE(x));
    failed = run_cross_entropy(&call);
    NPY_END_THREADS;
    if (failed) {
        Py_XDECREF(gradient);
        return PyErr_NoMemory();
    }
    if (backward)
        return gradient;
    double mean = counted == 0 ? NPY_NAN : call.sum / (double)counted;
    float single = (float)mean;
    return PyArray_Scalar(PyArray_TYPE(x) == NPY_DOUBLE ? (void *)&mean : (void *)&single, PyArray_DESCR(x), NULL);
}

/* ---- functions over ufuncs ----

   The public function of an activation with parameters, or along an axis. What is called most, f(x), f(x, 0.2), f(x, slope=0.2), each
   with or without out=, on plain arrays, goes straight to a ufunc: a Python function in between would take longer than
   a small call. Everything else is left to the Python function that it carries. */
enum { MAX_ARGUMENTS = 8, MAX_REQUIREMENTS = 4 };

/* A parameter that must be greater than (or at least) a number, or another parameter. */
typedef struct {
    Py_ssize_t index, other; /* which parameters; other is -1 for a number */
    int strict;
    double bound;
} requirement;

typedef struct {
    PyObject_HEAD
    PyObject *dict;
    PyObject *weak_references;
    vectorcallfunc vectorcall;
    PyObject *standard; /* ufunc with the default parameters compiled in, or NULL */
    PyObject *general;  /* ufunc that takes parameters, or a function over one; of functions along an axis what makes it */
    PyObject *python;   /* handles every case */
    PyObject *names;    /* of the parameters, interned */
    PyObject *defaults; /* a float or None for each */
    Py_ssize_t array_count, requirement_count;
    enum { ROWS, HALVES, SWAPPED_HALVES } along_axis;
    requirement requirements[MAX_REQUIREMENTS];
} function_object;

/* The type that all arrays share, if they are plain arrays of one that has a loop; else -1. */
static int
common_type(PyObject *const *arrays, Py_ssize_t count)
{
    int type = -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!PyArray_CheckExact(arrays[i]) || !PyArray_ISNOTSWAPPED((PyArrayObject *)arrays[i]))
            return -1;
        const int found = PyArray_TYPE((PyArrayObject *)arrays[i]);
        if (i > 0 && found != type)
            return -1;
        type = found;
    }
    return type == NPY_HALF || type == NPY_FLOAT || type == NPY_DOUBLE || type == bfloat16 ? type : -1;
}

/* A 0-d array of the dtype that kernels take parameters in: NumPy would take longer to cast a Python float. */
static PyObject *
parameter_array(double value, int array_type)
{
    PyObject *array = PyArray_SimpleNew(0, NULL, array_type == NPY_DOUBLE ? NPY_DOUBLE : NPY_FLOAT);
    if (array == NULL)
        return NULL;
    if (array_type == NPY_DOUBLE)
        *(double *)PyArray_DATA((PyArrayObject *)array) = value;
    else
        *(float *)PyArray_DATA((PyArrayObject *)array) = (float)value;
    return array;
}

/* A parameter as the kernel gets it, in single precision unless the arrays are double: 1e-50 may be 0. */
static double
as_given(PyObject *parameter, int array_type)
{
    const double value = PyFloat_AsDouble(parameter);
    return array_type == NPY_DOUBLE ? value : (double)(float)value;
}

/* Whether parameters that are Python floats are allowed; a NaN is. */
static int
are_allowed(const function_object *self, PyObject *const *parameters, int array_type)
{
    for (Py_ssize_t i = 0; i < self->requirement_count; i++) {
        const requirement *r = &self->requirements[i];
        const double value = as_given(parameters[r->index], array_type);
        const double bound = r->other < 0 ? r->bound : as_given(parameters[r->other], array_type);
        if (r->strict ? value <= bound : value < bound)
            return 0;
    }
    return 1;
}

/* The parameters of a call, where they are Python floats, and `out` or NULL; 0 if anything else is given, or nothing
   for a parameter without default. */
static int
parameters_of_call(const function_object *self, PyObject *const *args, Py_ssize_t given, PyObject *keywords,
                   PyObject **parameters, PyObject **out)
{
    const Py_ssize_t count = PyTuple_Size(self->names), positional = given - self->array_count;
    const Py_ssize_t named = keywords == NULL ? 0 : PyTuple_Size(keywords);
    if (positional < 0 || positional > count)
        return 0;
    *out = NULL;
    for (Py_ssize_t i = 0; i < count; i++)
        parameters[i] = i < positional ? args[self->array_count + i] : NULL;
    for (Py_ssize_t k = 0; k < named; k++) {
        PyObject *name = PyTuple_GetItem(keywords, k);
        Py_ssize_t i = 0;
        while (i < count && PyTuple_GetItem(self->names, i) != name)
            i++;
        if (i < count && parameters[i] == NULL)
            parameters[i] = args[given + k];
        else if (name == out_name)
            *out = args[given + k];
        else
            return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (parameters[i] == NULL)
            parameters[i] = PyTuple_GetItem(self->defaults, i);
        if (!PyFloat_CheckExact(parameters[i]))
            return 0;
    }
    return 1;
}

static PyObject *
function_call(PyObject *object, PyObject *const *args, size_t flags, PyObject *keywords)
{
    function_object *self = (function_object *)object;
    const Py_ssize_t given = PyVectorcall_NARGS(flags), arrays = self->array_count;
    const Py_ssize_t inputs = arrays + PyTuple_Size(self->names);
    const int no_keywords = keywords == NULL || PyTuple_Size(keywords) == 0;
    if (self->standard != NULL && given == arrays && (no_keywords || is_only_out(keywords)))
        return PyObject_Vectorcall(self->standard, args, flags, keywords);
    PyObject *parameters[MAX_ARGUMENTS], *out;
    if (!parameters_of_call(self, args, given, keywords, parameters, &out))
        return PyObject_Vectorcall(self->python, args, flags, keywords);
    const int type = common_type(args, arrays);
    if (type < 0 || !are_allowed(self, parameters, type)) /* Python raises the error */
        return PyObject_Vectorcall(self->python, args, flags, keywords);

    double values[MAX_ARGUMENTS];
    for (Py_ssize_t i = 0; i < inputs - arrays; i++)
        values[i] = PyFloat_AsDouble(parameters[i]);
    PyObject *result;
    const PyUFuncObject *general = (PyUFuncObject *)self->general;
    if (Py_TYPE(self->general) == &PyUFunc_Type && (out == NULL || general->nout == 1)) {
        result = call_plain(general, args, arrays, values, out == NULL ? NULL : &out);
        if (result != Py_NotImplemented)
            return result;
        Py_DECREF(result);
    }

    PyObject *passed[MAX_ARGUMENTS + 1];
    Py_ssize_t made = arrays;
    memcpy(passed, args, (size_t)arrays * sizeof *passed);
    for (; made < inputs; made++)
        if ((passed[made] = parameter_array(values[made - arrays], type)) == NULL)
            break;
    result = NULL;
    if (made == inputs) {
        passed[inputs] = out;
        result = PyObject_Vectorcall(self->general, passed, (size_t)inputs, out == NULL ? NULL : only_out);
    }
    while (made > arrays)
        Py_DECREF(passed[--made]);
    return result;
}

static PyObject *
function_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *standard, *general, *python, *names, *defaults, *requirements;
    Py_ssize_t array_count;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "OOOnO!O!O!", &standard, &general, &python, &array_count, &PyTuple_Type, &names,
                          &PyTuple_Type, &defaults, &PyTuple_Type, &requirements))
        return NULL;
    if (PyTuple_Size(names) != PyTuple_Size(defaults) || array_count + PyTuple_Size(names) > MAX_ARGUMENTS) {
        PyErr_SetString(PyExc_ValueError, "too many arguments, or not a default for each parameter");
        return NULL;
    }
    if (PyTuple_Size(requirements) > MAX_REQUIREMENTS) {
        PyErr_SetString(PyExc_ValueError, "too many requirements");
        return NULL;
    }
    function_object *self = (function_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    self->requirement_count = PyTuple_Size(requirements);
    for (Py_ssize_t i = 0; i < self->requirement_count; i++) {
        requirement *r = &self->requirements[i];
        if (!PyArg_ParseTuple(PyTuple_GetItem(requirements, i), "npnd", &r->index, &r->strict, &r->other, &r->bound)) {
            Py_DECREF(self);
            return NULL;
        }
    }
    self->vectorcall = function_call;
    self->standard = standard == Py_None ? NULL : Py_NewRef(standard);
    self->general = Py_NewRef(general);
    self->python = Py_NewRef(python);
    self->names = Py_NewRef(names);
    self->defaults = Py_NewRef(defaults);
    self->array_count = array_count;
    return (PyObject *)self;
}

/* f(x), f(x, axis), with or without axis= and out=, on plain arrays. */
static PyObject *
axis_function_call(PyObject *object, PyObject *const *args, size_t flags, PyObject *keywords)
{
    function_object *self = (function_object *)object;
    const Py_ssize_t given = PyVectorcall_NARGS(flags), arrays = self->array_count;
    const Py_ssize_t named = keywords == NULL ? 0 : PyTuple_Size(keywords);
    PyObject *axis = given == arrays + 1 ? args[arrays] : NULL, *out = Py_None;
    int plain = given == arrays || given == arrays + 1;
    for (Py_ssize_t k = 0; k < named && plain; k++) {
        PyObject *name = PyTuple_GetItem(keywords, k);
        if (name == out_name)
            out = args[given + k];
        else if (name == axis_name && axis == NULL)
            axis = args[given + k];
        else
            plain = 0;
    }
    if (plain && PyArray_CheckExact(args[0])) {
        if (Py_TYPE(self->general) != &PyUFunc_Type) { /* made when first needed */
            /* Another thread may do the same meanwhile: the first ufunc stays. */
            PyObject *find = Py_NewRef(self->general), *ufunc = PyObject_CallNoArgs(find);
            if (ufunc != NULL && self->general == find) {
                self->general = Py_NewRef(ufunc);
                Py_DECREF(find);
            }
            Py_DECREF(find);
            if (ufunc == NULL)
                return NULL;
            Py_DECREF(ufunc);
        }
        const PyUFuncObject *ufunc = (PyUFuncObject *)self->general;
        PyObject *result = self->along_axis == ROWS
                               ? call_plain_rows(ufunc, args, axis, out)
                               : call_plain_halves(ufunc, args, axis, self->along_axis == SWAPPED_HALVES, out);
        if (result != Py_NotImplemented)
            return result;
        Py_DECREF(result);
    }
    return PyObject_Vectorcall(self->python, args, flags, keywords);
}

PyDoc_STRVAR(along_axis_doc,
             "along_axis(find, python, array_count, how)\n\n"
             "A function of arrays, `axis` and `out` that calls the generalised ufunc that find() returns, when all arrays\n"
             "are plain ones, and otherwise the Python function `python`. `how` is 0 for a function of rows,\n"
             "1 or 2 for one of the halves of its last array, in this order or the other.");

static PyObject *
function_along_axis(PyObject *type, PyObject *args)
{
    PyObject *find, *python;
    Py_ssize_t array_count;
    int how;
    if (!PyArg_ParseTuple(args, "OOni", &find, &python, &array_count, &how))
        return NULL;
    function_object *self = (function_object *)PyType_GenericAlloc((PyTypeObject *)type, 0);
    if (self == NULL)
        return NULL;
    self->vectorcall = axis_function_call;
    self->general = Py_NewRef(find);
    self->python = Py_NewRef(python);
    self->array_count = array_count;
    self->along_axis = how;
    return (PyObject *)self;
}

static int
function_traverse(PyObject *object, visitproc visit, void *arg)
{
    function_object *self = (function_object *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->dict);
    Py_VISIT(self->standard);
    Py_VISIT(self->general);
    Py_VISIT(self->python);
    Py_VISIT(self->names);
    Py_VISIT(self->defaults);
    return 0;
}

static int
function_clear(PyObject *object)
{
    function_object *self = (function_object *)object;
    Py_CLEAR(self->dict);
    Py_CLEAR(self->standard);
    Py_CLEAR(self->general);
    Py_CLEAR(self->python);
    Py_CLEAR(self->names);
    Py_CLEAR(self->defaults);
    return 0;
}

static void
function_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    PyObject_ClearWeakRefs(object);
    function_clear(object);
    PyObject_GC_Del(object);
    Py_DECREF(type);
}

static PyObject *
function_repr(PyObject *object)
{
    PyObject *module = PyObject_GetAttrString(object, "__module__");
    PyObject *name = PyObject_GetAttrString(object, "__name__"), *text = NULL;
    if (module != NULL && name != NULL)
        text = PyUnicode_FromFormat("<function %S.%S>", module, name);
    Py_XDECREF(module);
    Py_XDECREF(name);
    return text;
}

/* Pickled, and copied, by name, as functions and ufuncs are. */
static PyObject *
function_reduce(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyObject_GetAttrString(object, "__name__");
}

static PyMethodDef function_methods[] = {
    {"__reduce__", function_reduce, METH_NOARGS, NULL},
    {"along_axis", function_along_axis, METH_VARARGS | METH_CLASS, along_axis_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef function_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(function_object, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(function_object, weak_references), READONLY, NULL},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(function_object, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef function_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(function_doc,
             "Function(standard, general, python, array_count, names, defaults, requirements)\n\n"
             "A function of arrays and parameters that calls the ufunc `standard` when no parameter is given, `general`\n"
             "when all are Python floats that meet the requirements, and otherwise the Python function `python`.\n"
             "`names` are those of the parameters, interned, and `defaults` a float or None for each. A requirement is\n"
             "(index of a parameter, whether it must be greater or at least, index of the parameter that is the bound\n"
             "or -1, the bound).");

static PyType_Slot function_slots[] = {
    {Py_tp_doc, (void *)function_doc},
    {Py_tp_new, (void *)function_new},
    {Py_tp_call, (void *)PyVectorcall_Call},
    {Py_tp_traverse, (void *)function_traverse},
    {Py_tp_clear, (void *)function_clear},
    {Py_tp_dealloc, (void *)function_dealloc},
    {Py_tp_repr, (void *)function_repr},
    {Py_tp_methods, function_methods},
    {Py_tp_members, function_members},
    {Py_tp_getset, function_getset},
    {0, NULL},
};

static PyType_Spec function_spec = {
    .name = "fastact._ufuncs.Function",
    .basicsize = sizeof(function_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = function_slots,
};

static PyMethodDef methods[] = {
    {"make_ufunc", make_ufunc, METH_VARARGS, make_ufunc_doc},
    {"set_bfloat16", set_bfloat16, METH_O, set_bfloat16_doc},
    {"add_bfloat16_loop", add_bfloat16_loop, METH_VARARGS, add_bfloat16_loop_doc},
    {"set_rows", set_rows, METH_O, set_rows_doc},
    {"set_loss", set_loss, METH_VARARGS, set_loss_doc},
    {"call_loss", _PyCFunction_CAST(call_loss), METH_FASTCALL, call_loss_doc},
    {"set_compiler", set_compiler, METH_O, set_compiler_doc},
    {NULL, NULL, 0, NULL},
};

static int
execute(PyObject *module)
{
    import_array1(-1);
    import_umath1(-1);
    out_name = PyUnicode_InternFromString("out");
    axis_name = PyUnicode_InternFromString("axis");
    only_out = out_name == NULL || axis_name == NULL ? NULL : PyTuple_Pack(1, out_name);
    if (only_out == NULL)
        return -1;
    PyObject *type = PyType_FromModuleAndSpec(module, &function_spec, NULL);
    if (type == NULL)
        return -1;
    const int failed = PyModule_AddObjectRef(module, "Function", type);
    Py_DECREF(type);
    return failed;
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
