# cython: language_level=3, boundscheck=False, wraparound=False
"""The same dense layer in Cython: without the GIL, the kernels by their addresses."""

ctypedef void (*forward_kernel)(size_t n, float *x, float *y) noexcept nogil
ctypedef void (*backward_kernel)(
    size_t n, float *dy, float *x, float *dx
) noexcept nogil


def dense_forward(
    size_t activation,
    const float[:, ::1] x,
    const float[:, ::1] w,
    const float[::1] b,
    float[:, ::1] before,
    float[:, ::1] y,
):
    """y = activation(x w + b), of which `before` keeps x w + b."""
    cdef forward_kernel kernel = <forward_kernel>activation
    cdef Py_ssize_t row, i, j
    with nogil:
        for row in range(x.shape[0]):
            for j in range(w.shape[1]):
                before[row, j] = b[j]
            for i in range(w.shape[0]):
                for j in range(w.shape[1]):
                    before[row, j] += x[row, i] * w[i, j]
            kernel(w.shape[1], &before[row, 0], &y[row, 0])


def dense_backward(
    size_t activation,
    const float[:, ::1] x,
    float[:, ::1] before,
    float[:, ::1] dy,
    float[:, ::1] dw,
    float[::1] db,
):
    """Gradients of w and b; dy becomes that of the values before the activation."""
    cdef backward_kernel kernel = <backward_kernel>activation
    cdef Py_ssize_t row, i, j
    dw[:] = 0
    db[:] = 0
    with nogil:
        kernel(before.shape[0] * before.shape[1], &dy[0, 0], &before[0, 0], &dy[0, 0])
        for row in range(x.shape[0]):
            for j in range(dw.shape[1]):
                db[j] += dy[row, j]
            for i in range(dw.shape[0]):
                for j in range(dw.shape[1]):
                    dw[i, j] += x[row, i] * dy[row, j]
