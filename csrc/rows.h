/* Softmax and its like, for both precisions and both forms of a tile; part of kernels.c. */
#include "generated/rows.inc"

enum {
    LANES = FA_LANES,
    FEW_LANES = 4,        /* of rows of up to LANES elements */
    AT_ONCE = 4,          /* elements of a lane that are added to each other */
    SUMMED = 128,         /* columns whose sums are in the first-level cache meanwhile */
    RUN = 48,             /* elements of rows whose exponentials are worth computing in one go */
    ROWS_AHEAD = 8,       /* that are fetched */
    ROW_DISTANCE = 2048,  /* bytes from what is fetched to what is read */
    FLAT_WIDTH = 64,      /* of tiles whose loops are too short by themselves */
    FORESEEN_WIDTH = 256, /* of tiles; beyond, the processor foresees their lines */
    LONG_ROW = 256,       /* elements whose maximum is worth more partial maxima */
    FEW_LINES = 64,       /* that are read side by side, and may share few sets of the cache */
    FAR = 1 << 17,        /* exponents beyond are too large to be taken as they are */
};

/* A call for each of the ways that rows of n elements are summed: the compiler leaves out of each what the others need. */
#define BY_LENGTH(n, call) \
    do { \
        if ((n) <= LANES) \
            call; \
        else if ((n) < AT_ONCE * LANES) \
            call; \
        else \
            call; \
    } while (0)

_Static_assert(FA_SHORT_COLUMN_BYTES <= 2 * AT_ONCE * LANES * sizeof(float), "a lane of a short column is two fours");

static const fa_lanes all_lanes = {0, LANES};

#define KEEPS_LOSSES (sizeof(T) == sizeof(double))

/* Elements that are weighed, and then summed while in the first-level cache. In float64 few, for what only one of these two
   reads or writes is then in work more evenly: less time in large arrays. In float32 that costs what it gains. */
#define WEIGHED (KEEPS_LOSSES ? 128 : 512)

/* Room for what a kernel keeps of one row is on the stack; of a tile's rows, it is in the scratch memory that the caller
   gives. Functions give those that they call what they have not taken themselves. */
FA_INLINE void *
take(char **scratch, size_t bytes)
{
    char *const room = *scratch + -(uintptr_t)*scratch % FA_SCRATCH_ALIGNMENT;
    *scratch = room + bytes;
    return room;
}

/* sum = 2^k (1 + f), for a positive normal number; 1 + f within a factor sqrt(2) of 1. */
typedef struct {
    double k, f;
} log_parts;

FA_INLINE log_parts
parts_of_log(double sum)
{
    const double root_of_half = 0x1.6a09e667f3bcdp-1, one = 1, integers = 0x1p52;
    const uint64_t mantissa = (UINT64_C(1) << 52) - 1;
    const uint64_t above_root = fa_bits_of_f64(sum) - fa_bits_of_f64(root_of_half) + fa_bits_of_f64(one);
    return (log_parts){
        .k = fa_from_bits_f64((above_root >> 52) | fa_bits_of_f64(integers)) - (integers + 1023),
        .f = fa_from_bits_f64((above_root & mantissa) + fa_bits_of_f64(root_of_half)) - 1,
    };
}

/* log(1 + u) for a u >= 0 that is finite, within 1 ULP: of the rounded sum and what it lacks. Unlike the C library's, it
   has the same bits everywhere, and many at once. */
FA_INLINE double
log1p_of_sum(double u)
{
    const double sum = 1 + u, lost = u < 1 ? u - (sum - 1) : 1 - (sum - u);
    const log_parts parts = parts_of_log(sum);
    return row_log_of_parts_f64(parts.k, parts.f, lost / sum);
}

/* The same of what others have beside one that leads: 0 <= u <= 1. */
FA_INLINE double
log1p_of_ratio_f64(double u)
{
    return log1p_of_sum(u);
}

/* log(1 + f) for 1 + f within a factor sqrt(2) of 1, to a relative error of 2^-26; only the tail of its series is a float. */
FA_INLINE double
log_near_one_f32(double f)
{
    return fa_fma_f64(f * f, (double)row_log_tail_f32((float)f) - 0.5, f);
}

FA_INLINE double
log1p_of_ratio_f32(double u)
{
    const int is_halved = u > 0x1.a827ap-2; /* sqrt(2) - 1; (1 + u) / 2 = 1 + (u - 1) / 2 */
    return (is_halved ? row_ln2_f64() : 0) + log_near_one_f32(is_halved ? (u - 1) / 2 : u);
}

typedef struct {
    double high, low;
} two_parts;

/* log(2^exponent sum (1 + low)) of a sum > 0, to within 2^-53 however large it is; of another sum, anything. */
FA_INLINE two_parts
log_in_two_parts_f64(double sum, double low, double exponent)
{
    const log_parts parts = parts_of_log(sum);
    const double k = parts.k + exponent, whole = k * row_ln2_high_f64();
    const double rest = row_log_of_parts_f64(0, parts.f, low) + k * row_ln2_low_f64();
    const double high = whole + rest; /* of which the first is larger, or 0 */
    return (two_parts){high, rest - (high - whole)};
}

/* To within 2^-26, for a low of 0. */
FA_INLINE two_parts
log_in_two_parts_f32(double sum, double low, double exponent)
{
    const log_parts parts = parts_of_log(sum);
    (void)low;
    return (two_parts){fa_fma_f64(parts.k + exponent, row_ln2_f64(), log_near_one_f32(parts.f)), 0};
}

#define SUMS_OF(each, name) \
    ROOM(double, name##_sum, LANES, (each) * width); \
    ROOM(double, name##_lost, LANES, KEEPS_LOSSES ? (each) * width : 0); \
    const ROW(lanes) name = {name##_sum, name##_lost}
#define SUMS(name) SUMS_OF(LANES, name)

/* Room for the parts of sums, and for powers of a tile with their sums; see rows_template.h. */
#define PARTS(name) \
    SUMS_OF(ROW(is_short)(n) ? 0 : LANES, name##_lanes); \
    ROOM(double, name##_lost_of_rows, 1, width); \
    const ROW(parts) name = {name##_lanes, name##_lost_of_rows}
#define POWERS(name, parts) \
    ROOM(T, name##_extremes, 1, ROW(repeated)(width)); \
    ROOM(T, name##_offsets, 1, ROW(repeated)(width)); \
    ROOM(T, name##_floors, 1, ROW(repeated)(width)); \
    ROOM(T, name##_magics, 1, ROW(repeated)(width)); \
    ROOM(T, name##_exponents, 1, width); \
    ROOM(double, name##_totals, 1, width); \
    ROOM(T, name##_room, 1, (parts) != NULL && ROW(is_short)(n) ? n * ROW(pitch_of_room)(width) : 0); \
    ROW(powers) name = {{name##_extremes, name##_offsets, name##_floors, name##_magics}, 0, name##_exponents, \
                        name##_totals, parts, name##_room, NULL, 0}

/* ONCE_PER_TILE is before what several kernels do once for each tile: of one row it is part of each of them, for a call
   would count beside a short row's sum; of a tile's rows it is there once, for it is large: inlined, the columns' kernels
   were more than twice as large. */
#define FORM row
#define ONE_ROW 1
#define ONCE_PER_TILE FA_INLINE
#define ROOM(type, name, of_a_row, of_a_tile) \
    type name[of_a_row]; \
    (void)scratch
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
#undef ONE_ROW
#undef ONCE_PER_TILE
#undef ROOM

#define FORM columns
#define ONE_ROW 0
#define ONCE_PER_TILE static FA_NOINLINE
#define ROOM(type, name, of_a_row, of_a_tile) type *const name = take(&scratch, (of_a_tile) * sizeof(type))
#define REAL f32
#include "rows_template.h"
#include "rows_shared_template.h"
#include "rows_sparse_template.h"
#include "rows_loss_template.h"
#undef REAL
#define REAL f64
#include "rows_template.h"
#include "rows_shared_template.h"
#include "rows_sparse_template.h"
#include "rows_loss_template.h"
#undef REAL
#undef FORM
#undef ONE_ROW
#undef ONCE_PER_TILE
#undef ROOM

#define FORM row
#define REAL f32
#include "rows_series_template.h"
#undef REAL
#define REAL f64
#include "rows_series_template.h"
#undef REAL
#undef FORM

/* What the gradient starts from is the output unless said otherwise. */
#define ROW_KERNELS(suffix) \
    { \
        [FA_SOFTMAX] = {softmax_##suffix, NULL, softmax_backward_##suffix, softmax_from_input_##suffix}, \
        [FA_SOFTMIN] = {softmin_##suffix, NULL, softmin_backward_##suffix, softmin_from_input_##suffix}, \
        [FA_LOG_SOFTMAX] = {log_softmax_##suffix, log_softmax_##suffix, log_softmax_backward_##suffix, NULL}, \
        [FA_LOGSUMEXP] = {logsumexp_##suffix, softmax_##suffix, logsumexp_backward_##suffix, NULL}, \
        [FA_SPARSEMAX] = {sparsemax_##suffix, sparsemax_##suffix, sparsemax_backward_##suffix, NULL}, \
        [FA_ENTMAX15] = {entmax15_##suffix, entmax15_##suffix, entmax15_backward_##suffix, NULL}, \
        [FA_HARDMAX] = {hardmax_##suffix, NULL, NULL, NULL}, /* its gradient is 0 */ \
        [FA_MAXOUT] = {maxout_##suffix, NULL, maxout_backward_##suffix, NULL}, \
    }

#define SERIES_KERNELS(suffix) \
    { \
        [FA_SOFTMAX] = {softmax_##suffix, NULL, softmax_backward_##suffix, softmax_from_input_##suffix}, \
        [FA_SOFTMIN] = {softmin_##suffix, NULL, softmin_backward_##suffix, softmin_from_input_##suffix}, \
        [FA_LOG_SOFTMAX] = {log_softmax_##suffix, log_softmax_##suffix, log_softmax_backward_##suffix, NULL}, \
    }

/* Steps that are shared by threads; of the gradient as above. */
#define SHARED_KERNELS(suffix) \
    { \
        [FA_SOFTMAX] = \
            { \
                .may_be_common = may_be_common_##suffix, \
                .forward = {{sum_powers_##suffix, settle_powers_##suffix}, {finish_softmax_##suffix}}, \
                .own_forward = {{find_extremes_##suffix, settle_factors_##suffix}, \
                                {sum_own_powers_of_lanes_##suffix, settle_own_powers_##suffix}, \
                                {finish_softmax_##suffix}}, \
                .backward = {{sum_products_##suffix, settle_backward_##suffix}, {finish_backward_##suffix}}, \
                .from_input = {{sum_powers_and_products_##suffix, settle_from_input_##suffix}, \
                               {finish_from_input_##suffix}}, \
                .own_from_input = {{find_extremes_##suffix, settle_factors_##suffix}, \
                                   {sum_own_powers_and_products_##suffix, settle_own_from_input_##suffix}, \
                                   {finish_from_input_##suffix}}, \
            }, \
        [FA_LOG_SOFTMAX] = \
            { \
                .may_be_common = may_be_common_##suffix, \
                .forward = {{sum_powers_for_logs_##suffix, settle_logs_##suffix}, {finish_logs_##suffix}}, \
                .own_forward = {{find_extremes_##suffix, settle_factors_##suffix}, \
                                {sum_own_powers_for_logs_##suffix, settle_own_logs_##suffix}, \
                                {finish_own_logs_##suffix}}, \
                .backward = {{sum_dy_##suffix, settle_log_backward_##suffix}, {finish_log_backward_##suffix}}, \
            }, \
        [FA_LOGSUMEXP] = {.forward = {{find_extremes_##suffix, settle_extremes_##suffix}, \
                                      {sum_weights_##suffix, settle_logsumexp_##suffix}}}, \
    }
