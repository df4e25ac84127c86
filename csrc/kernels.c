/* Everything that is compiled once per instruction set; isa/NAME.c includes this file after naming one. */
#include "fastact.h"
#include "primitives.h"

#define FA_PASTE_(a, b) a##b
#define FA_PASTE(a, b) FA_PASTE_(a, b)
#define FA_TEXT_(a) #a
#define FA_TEXT(a) FA_TEXT_(a)

#define FA_NOINLINE __attribute__((noinline))

/* Kernels work on whole blocks, so that every element of an array, first, last or alone, goes through the same vector
   code. A tail is padded to a block with copies of its last element: no made-up value can raise a flag or be slow. */
enum { FA_BLOCK_BYTES = 128 };
#define FA_BLOCK(precision) ((int)(FA_BLOCK_BYTES / sizeof(fa_##precision)))
/* Kernels of several steps keep what these leave to each other for this many blocks. */
enum { FA_KEPT_BLOCKS = 4 };
#define FA_KEPT(precision) (FA_KEPT_BLOCKS * FA_BLOCK(precision))
#define FA_TAIL(precision, array) fa_##precision tail_##array[FA_BLOCK(precision)]
#define FA_FILL_TAIL(precision, array) fill_tail_##precision(n - whole, a_##array + whole, tail_##array)
#define FA_STORE_TAIL(array) memcpy(a_##array + whole, tail_##array, (n - whole) * sizeof *tail_##array)
#define FA_FILL(precision) \
    static FA_NOINLINE void \
    fill_tail_##precision(size_t n, const fa_##precision *array, fa_##precision *tail) \
    { \
        for (int i = 0; i < FA_BLOCK(precision); i++) \
            tail[i] = array[n - 1]; \
        memcpy(tail, array, n * sizeof *tail); \
    }
FA_FILL(f32)
FA_FILL(f64)

/* What a kernel will read and write fa_fetch_distance bytes later is fetched, of arrays that are in no near cache. By
   themselves some processors do it too late, presumably as the instructions that wait for one line fill the scheduler
   before those that ask for the next ones get into it. So long are a thread's parts of arrays of half a million elements and
   more, which are computed by blocks if results are streamed or parameters repeated. For shorter ones, and on other
   processors, what is fetched is about to be read anyway: a branch would cost more. */
#define FA_AHEAD(precision, n) \
    (n >= 1 << 15 || n == FA_LONG_STAGE || n * sizeof(fa_##precision) == FA_STREAMED_BYTES ? fa_fetch_distance : 0)
#define FA_FETCH(array, ahead, is_written) \
    do { \
        __builtin_prefetch((const char *)(array) + ahead, is_written); \
        __builtin_prefetch((const char *)(array) + ahead + FA_LINE, is_written); \
    } while (0)

#include "generated/kernels.inc"
#include "conversions.h"
#include "stream.h"
#include "rows.h"

const fa_isa FA_PASTE(fa_isa_, FA_ISA) = {
    .name = FA_TEXT(FA_ISA),
    .kernels = all_kernels,
    .rows_f32 = ROW_KERNELS(f32_row),
    .rows_f64 = ROW_KERNELS(f64_row),
    .columns_f32 = ROW_KERNELS(f32_columns),
    .columns_f64 = ROW_KERNELS(f64_columns),
    .series_f32 = SERIES_KERNELS(f32_row_series),
    .series_f64 = SERIES_KERNELS(f64_row_series),
    .shared_f32 = SHARED_KERNELS(f32_columns),
    .shared_f64 = SHARED_KERNELS(f64_columns),
    .row_loss_f32 = {cross_entropy_f32_row, cross_entropy_backward_f32_row},
    .row_loss_f64 = {cross_entropy_f64_row, cross_entropy_backward_f64_row},
    .series_loss_f32 = {cross_entropy_f32_row_series, cross_entropy_backward_f32_row_series},
    .series_loss_f64 = {cross_entropy_f64_row_series, cross_entropy_backward_f64_row_series},
    .column_loss_f32 = {cross_entropy_f32_columns, cross_entropy_backward_f32_columns},
    .column_loss_f64 = {cross_entropy_f64_columns, cross_entropy_backward_f64_columns},
    .f16 = {widen_f16, narrow_f16},
    .bf16 = {widen_bf16, narrow_bf16},
    .bf16_pairs = {widen_bf16_pairs, narrow_bf16_pairs},
    .stream = stream,
};
