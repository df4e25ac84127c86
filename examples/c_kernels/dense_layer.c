/* A dense layer, y = activation(x w + b), and its gradients, for any kernel of fastact.

   It knows nothing of Python and includes nothing of fastact: the kernels come as function
   pointers. README.md beside this file has their convention. */

#include <stddef.h>

typedef void (*forward_kernel)(size_t n, float *x, float *y);
typedef void (*backward_kernel)(size_t n, float *dy, float *x, float *dx);

/* before: batch x outputs, the values before the activation, kept for the gradient. */
void dense_forward(forward_kernel activation, size_t batch, size_t inputs, size_t outputs,
                   const float *x, const float *w, const float *b, float *before, float *y)
{
    for (size_t row = 0; row < batch; row++) {
        float *sum = before + row * outputs;
        for (size_t j = 0; j < outputs; j++)
            sum[j] = b[j];
        for (size_t i = 0; i < inputs; i++)
            for (size_t j = 0; j < outputs; j++)
                sum[j] += x[row * inputs + i] * w[i * outputs + j];
        /* While the row is in the first-level cache. */
        activation(outputs, sum, y + row * outputs);
    }
}

/* dy: batch x outputs, on return the gradient of the values before the activation. */
void dense_backward(backward_kernel activation, size_t batch, size_t inputs, size_t outputs,
                    const float *x, float *before, float *dy, float *dw, float *db)
{
    activation(batch * outputs, dy, before, dy); /* an output may be an input */
    for (size_t j = 0; j < outputs; j++)
        db[j] = 0;
    for (size_t i = 0; i < inputs * outputs; i++)
        dw[i] = 0;
    for (size_t row = 0; row < batch; row++) {
        const float *gradient = dy + row * outputs;
        for (size_t j = 0; j < outputs; j++)
            db[j] += gradient[j];
        for (size_t i = 0; i < inputs; i++)
            for (size_t j = 0; j < outputs; j++)
                dw[i * outputs + j] += x[row * inputs + i] * gradient[j];
    }
}
