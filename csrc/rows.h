/* Softmax and its like on one contiguous row, for both precisions; part of kernels.c. */
#include "generated/rows.inc"

#define REAL f32
#include "rows_template.h"
#undef REAL
#define REAL f64
#include "rows_template.h"
#undef REAL

#define ROW_KERNELS(precision) \
    { \
        .softmax = softmax_##precision, \
        .log_softmax = log_softmax_##precision, \
        .softmax_backward = softmax_backward_##precision, \
        .log_softmax_backward = log_softmax_backward_##precision, \
        .cross_entropy = cross_entropy_##precision, \
        .cross_entropy_backward = cross_entropy_backward_##precision, \
    }
