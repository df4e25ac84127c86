/* What the parts of the C core know of each other. */
#ifndef FASTACT_H
#define FASTACT_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin (csrc/build_cffi.py reads what stands between these marks) */

/* A kernel is void(size_t n, const T *input..., T *output...): contiguous arrays of one type, float or double. It is
   kept as this type and cast back to its own when called. */
typedef void (*fa_function)(void);

enum { FA_MAX_OPERANDS = 11 };

/* One elementwise kernel in one precision, with all its implementations. */
typedef struct {
    const char *name;        /* "gelu_backward" */
    char type;               /* of the arrays it is for: 'f' or 'd', 'e' for all 16-bit types, computed in float */
    int input_count;
    int output_count;
    int parameter_count;     /* how many of the inputs, the last ones, are parameters */
    int operation_count;     /* arithmetic operations per element */
    fa_function c;           /* for the instruction set in use */
    fa_function numba;       /* compiled by Numba on first use, NULL before */
} fa_kernel;

/* Generated: all elementwise kernels; .c is filled in by fa_select_isa. */
extern fa_kernel fa_kernels[];
extern const int fa_kernel_count;

/* Which implementation of a kernel a loop runs. */
enum { FA_BACKEND_C = 0, FA_BACKEND_NUMBA = 1, FA_BACKEND_CURRENT = 2 };

/* What one loop of one ufunc works on: the `data` pointer that NumPy passes to it. */
typedef struct {
    fa_kernel *kernel;
    int backend;                  /* FA_BACKEND_CURRENT: the one set by fa_set_backend */
    char types[FA_MAX_OPERANDS];  /* NumPy's type characters of the arrays; 'E' is ml_dtypes' bfloat16 */
} fa_loop;

/* Choose by name ("baseline", "avx2", "avx512", "neon"). 0, or -1 if it is unknown or the machine lacks it. */
int fa_select_isa(const char *name);
/* Name of the i-th instruction set this machine has, best first; NULL past the last. */
const char *fa_available_isa(int i);

void fa_set_backend(int backend);
int fa_get_backend(void);

/* Called, without the GIL, when a loop needs a Numba kernel that is not there yet. It fills in kernel->numba, or leaves
   it NULL, upon which the C kernel runs. */
typedef void (*fa_compile_hook)(fa_kernel *kernel);
void fa_set_compile_hook(size_t address);

/* NumPy inner loops. `data` is an fa_loop; for rows an fa_row_loop. */
void fa_elementwise(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *steps, void *data);
/* The same over rows of n elements (dimensions: rows, n): for views of which NumPy would pass one row at a time. No
   output may overlap an input but element by element. */
void fa_elementwise_rows(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *outer_steps,
                         const ptrdiff_t *steps, void *data);
/* The same as the loop of a generalised ufunc, (n),(n)->(n). */
void fa_elementwise_core(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *steps, void *data);
/* (n),(n),()...->(n)...,()...: an elementwise kernel whose last outputs, one for each parameter, are summed over the core
   axis. */
void fa_parameter_backward(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *steps, void *data);

enum { FA_SOFTMAX, FA_SOFTMIN, FA_LOG_SOFTMAX, FA_LOGSUMEXP, FA_SPARSEMAX, FA_ENTMAX15, FA_HARDMAX, FA_MAXOUT };
typedef struct {
    int function;      /* FA_SOFTMAX, ... */
    int input_count;   /* 1 forward (x); 2 backward (dy and x or y) */
    int from_output;   /* backward: whether the second input is y */
    int masked;        /* whether a mask and a scale follow the inputs */
    double excluded;   /* what the function gives for an excluded element */
    int reduces;       /* whether the function has one result per row: forward (n)->(), backward (),(n)->(n) */
    char type;         /* NumPy's type character of the arrays */
} fa_row_loop;
/* (n)->(n), (n)->() and their like. */
void fa_rows(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *steps, void *data);
/* The same for an axis in the middle (dimensions: blocks, rows of a block, n), of which NumPy would pass one block at a time.
   Nothing is masked. */
void fa_rows_in_blocks(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *block_steps, const ptrdiff_t *steps,
                       void *data);

enum { FA_MAX_DIMENSIONS = 64 };

/* An array of rows: one axis holds the elements of a row, the others number the rows in C order. */
typedef struct {
    char *data;                           /* NULL if there is no such array */
    char type;                            /* NumPy's type character */
    ptrdiff_t step;                       /* bytes from element to element of a row */
    ptrdiff_t strides[FA_MAX_DIMENSIONS]; /* of the other axes */
} fa_row_array;

/* A call of softmax_cross_entropy or its gradient. */
typedef struct {
    int dimensions;                     /* the axes that number the rows */
    size_t shape[FA_MAX_DIMENSIONS];
    size_t n;                           /* classes: elements of a row */
    fa_row_array logits, targets;
    int has_labels;                     /* targets are labels, one for each row, not probabilities */
    int64_t ignore_index;               /* the label of rows that do not count */
    double smoothing;
    fa_row_array output;                /* losses, one for each row; or the gradient of the logits */
    int backward;                       /* whether that gradient is wanted */
    fa_row_array dy;                    /* factors of the rows' gradients */
    double factor;                      /* of all rows' gradients */
    double sum;                         /* result: of the losses */
} fa_cross_entropy;

/* Count the rows whose label is not ignore_index. Returns the number of rows, or if a counted label is out of range
   that of the first such row. */
size_t fa_check_labels(const fa_cross_entropy *call, size_t *counted);
/* 0, or -1 if there is no memory for a few rows. */
int fa_softmax_cross_entropy(fa_cross_entropy *call);

/* cffi: end */

enum { FA_ROW_FUNCTIONS = FA_MAXOUT + 1 };

/* Kernels for tiles of rows take memory for their own use: FA_SCRATCH_OF_ROW bytes for each row and FA_SCRATCH_MORE. Those
   for one row take none; but given FA_STREAMED_BYTES, gradients of softmax, softmin, sparsemax and entmax15 from the output
   go through that memory past the caches, after which the caller calls fa_end_streaming. */
enum { FA_SCRATCH_ALIGNMENT = 64, FA_SCRATCH_OF_ROW = 2560, FA_SCRATCH_MORE = 32 * FA_SCRATCH_ALIGNMENT };

/* One row function on a tile of `width` interleaved rows: element i of row r of an array stands at i * pitch + r. Or on a
   series of rows, one after another: element i of row r stands at r * pitch + i. */
typedef struct {
    void (*forward)(size_t n, size_t width, const void *x, ptrdiff_t x_pitch, double scale, void *y, ptrdiff_t y_pitch,
                    char *scratch);
    /* What `backward` starts from, other than dy; NULL: from x itself. */
    void (*prepare)(size_t n, size_t width, const void *x, ptrdiff_t x_pitch, double scale, void *y, ptrdiff_t y_pitch,
                    char *scratch);
    void (*backward)(size_t n, size_t width, const void *dy, ptrdiff_t dy_pitch, const void *y, ptrdiff_t y_pitch,
                     double scale, void *dx, ptrdiff_t dx_pitch, char *scratch);
    /* Both at once, where that is faster, or NULL. */
    void (*from_input)(size_t n, size_t width, const void *dy, ptrdiff_t dy_pitch, const void *x, ptrdiff_t x_pitch,
                       double scale, void *dx, ptrdiff_t dx_pitch, char *scratch);
} fa_row_kernel;

/* Lanes of rows, in which their elements are summed: see csrc/rows_template.h. Rows side by side of up to
   FA_SHORT_COLUMN_BYTES have theirs in registers, but for some whose elements lie a multiple of FA_FEW_SETS bytes apart:
   so few of the cache's sets take all of these. */
enum { FA_LANES = 16, FA_SHORT_COLUMN_BYTES = 512, FA_FEW_SETS = 2048 };

typedef struct {
    size_t first, end;
} fa_lanes;

/* A tile as above, for several threads; y is dx in gradients, where x is the output if they start from that. */
typedef struct {
    size_t n, width;
    const void *dy, *x;
    ptrdiff_t dy_pitch, x_pitch;
    double scale;
    void *y;
    ptrdiff_t y_pitch;
    char *scratch;
} fa_shared_tile;

/* `run` of all lanes, from any threads; then, unless it is NULL, `settle`. If that returns 0, the tile needs other steps, or
   the care that only the whole kernel takes. */
typedef struct {
    void (*run)(const fa_shared_tile *tile, fa_lanes lanes);
    int (*settle)(const fa_shared_tile *tile);
} fa_shared_step;

enum { FA_SHARED_STEPS = 3 };

/* The first steps of each that are not NULL; softmin is softmax with another sign of the scale. Where a tile needs care, or
   `may_be_common` is not NULL and returns 0, there are the steps of rows that have factors of their own. */
typedef struct {
    int (*may_be_common)(const fa_shared_tile *tile);
    fa_shared_step forward[FA_SHARED_STEPS], backward[FA_SHARED_STEPS], from_input[FA_SHARED_STEPS];
    fa_shared_step own_forward[FA_SHARED_STEPS], own_from_input[FA_SHARED_STEPS];
} fa_shared_kernel;

/* What softmax of a tile of rows is compared with: (1 - smoothing) of the probabilities, or of 1 for each row's label
   alone, and smoothing / n for every element. */
typedef struct {
    const void *probabilities; /* interleaved like the rows; NULL: there are labels */
    ptrdiff_t pitch;
    const size_t *labels;
    double smoothing;
} fa_targets;

/* The losses of a tile or series of rows of at least one element, and the rows' factors times their gradients, where dx
   is not x. */
typedef struct {
    void (*forward)(size_t n, size_t width, const void *x, ptrdiff_t x_pitch, const fa_targets *targets,
                    double *losses, char *scratch);
    void (*backward)(size_t n, size_t width, const void *x, ptrdiff_t x_pitch, const fa_targets *targets,
                     const double *factors, void *dx, ptrdiff_t dx_pitch, char *scratch);
} fa_loss_kernel;

/* Between a 16-bit type and float32, rounding to nearest even. */
typedef struct {
    void (*widen)(size_t n, const uint16_t *narrow, float *x);
    void (*narrow)(size_t n, const float *x, uint16_t *narrow);
} fa_conversion;

/* Short rows that a kernel takes at once: so many at most, and of so many bytes. Twice as many bytes take less time of few
   elements, but more of arrays that are in no cache. */
enum { FA_SERIES = 64, FA_SERIES_BYTES = 1 << 12 };
enum { FA_LINE = 64 };       /* bytes of a cache line */
enum { FA_STREAMED_BYTES = 2048 }; /* of a block of results that is written past the caches */
enum { FA_LONG_STAGE = 1024 };     /* elements of a block for which nothing is moved but parameters, which are repeated */

/* How many bytes ahead elementwise kernels fetch what they read and write, or 0: chosen with the instruction set. */
extern size_t fa_fetch_distance;

/* Everything that is compiled once per instruction set. */
typedef struct {
    const char *name;
    const fa_function *kernels;   /* in the order of fa_kernels */
    /* By function; for width 1, and for any. */
    fa_row_kernel rows_f32[FA_ROW_FUNCTIONS], rows_f64[FA_ROW_FUNCTIONS];
    fa_row_kernel columns_f32[FA_ROW_FUNCTIONS], columns_f64[FA_ROW_FUNCTIONS];
    /* Of up to FA_SERIES rows one after another, of together at most FA_SERIES_BYTES; the pitch is from row to row. NULL
       where rows go one by one. */
    fa_row_kernel series_f32[FA_ROW_FUNCTIONS], series_f64[FA_ROW_FUNCTIONS];
    fa_shared_kernel shared_f32[FA_ROW_FUNCTIONS], shared_f64[FA_ROW_FUNCTIONS]; /* of columns */
    fa_loss_kernel row_loss_f32, row_loss_f64, column_loss_f32, column_loss_f64;
    fa_loss_kernel series_loss_f32, series_loss_f64; /* of labels, forward without smoothing */
    fa_conversion f16, bf16;
    fa_conversion bf16_pairs;     /* of elements that pass the kernel in another order, see csrc/conversions.h */
    void (*stream)(size_t bytes, const void *from, void *to); /* copy past the caches, see csrc/stream.h */
} fa_isa;

extern const fa_isa fa_isa_baseline, fa_isa_avx2, fa_isa_avx512, fa_isa_neon;

/* The instruction set in use; set before the first loop runs. */
extern const fa_isa *fa_current_isa;

#endif
