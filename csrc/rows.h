/* Softmax and its like, for both precisions and both forms of a tile; part of kernels.c. */
#include "generated/rows.inc"

enum { LANES = 16 };

#define FORM row
#define MAX_WIDTH 1
#define REAL f32
#include "rows_template.h"
#include "rows_sparse_template.h"
#include "rows_loss_template.h"
#undef REAL
#define REAL f64
#include "rows_template.h"
#include "rows_sparse_template.h"
#include "rows_loss_template.h"
#undef REAL
#undef FORM
#undef MAX_WIDTH

#define FORM columns
#define MAX_WIDTH FA_MAX_COLUMNS
#define REAL f32
#include "rows_template.h"
#include "rows_loss_template.h"
#undef REAL
#define REAL f64
#include "rows_template.h"
#include "rows_loss_template.h"
#undef REAL
#undef FORM
#undef MAX_WIDTH

/* What the gradient starts from is the output unless said otherwise. */
#define DENSE_ROW_KERNELS(suffix) \
    [FA_SOFTMAX] = {softmax_##suffix, softmax_##suffix, softmax_backward_##suffix}, \
    [FA_SOFTMIN] = {softmin_##suffix, softmin_##suffix, softmin_backward_##suffix}, \
    [FA_LOG_SOFTMAX] = {log_softmax_##suffix, log_softmax_##suffix, log_softmax_backward_##suffix}, \
    [FA_LOGSUMEXP] = {logsumexp_##suffix, softmax_##suffix, logsumexp_backward_##suffix}, \
    [FA_HARDMAX] = {hardmax_##suffix, NULL, hardmax_backward_##suffix}, \
    [FA_MAXOUT] = {maxout_##suffix, NULL, maxout_backward_##suffix}

#define ROW_KERNELS(precision) \
    { \
        DENSE_ROW_KERNELS(precision##_row), \
        [FA_SPARSEMAX] = {sparsemax_##precision##_row, sparsemax_##precision##_row, \
                          sparsemax_backward_##precision##_row}, \
        [FA_ENTMAX15] = {entmax15_##precision##_row, entmax15_##precision##_row, entmax15_backward_##precision##_row}, \
    }

/* The projections search by row: across rows there is only their gradient from the output. */
#define COLUMN_KERNELS(precision) \
    { \
        DENSE_ROW_KERNELS(precision##_columns), \
        [FA_SPARSEMAX] = {NULL, NULL, sparsemax_backward_##precision##_columns}, \
        [FA_ENTMAX15] = {NULL, NULL, entmax15_backward_##precision##_columns}, \
    }
