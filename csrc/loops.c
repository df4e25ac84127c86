/* The inner loop of every elementwise ufunc: takes NumPy's pointers and strides, splits the work over threads and
   hands kernels contiguous pieces. */
#include "fastact.h"
#include "staging.h"
#include "threads.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Elements of a staged block: few, so that moving the next one overlaps with computing this one. With 1024 of them gelu
   in a 16-bit type took a fifth longer than in float32, with 256 a tenth; with 128 and 512 it was slower again. */
enum { STAGE = 256 };

/* Elements of a piece whose results are best aligned to lines: NumPy's large arrays are 16 bytes off, and every second vector
   that is written, or read where inputs lie as the output does, would be in two lines. */
enum { WORTH_ALIGNING = 1 << 13 };

/* Where an array is worth several threads, memory traffic counts as MEMORY_OPERATIONS for each operand, and all of float64
   twice. */
enum { MEMORY_OPERATIONS = 4, GRAIN = 2048 };

/* Results past FA_BYTES_WORTH_STREAMING: relu of 10 million float32 takes little more than half the time. Where arithmetic
   hides the memory's traffic, the copy costs: gelu would take 1.03 of its time. The limit is 10 operations for each
   operand in float32, half of that in float64, in which they take twice as long for each byte; the 16-bit types do not
   gain. */
enum { OPERATION_BYTES_WORTH_STREAMING = 40 };

typedef struct {
    fa_function kernel;
    const fa_loop *loop;
    char **arrays;
    const ptrdiff_t *steps;
    int count;    /* operands: inputs, then outputs */
    bool streams; /* whether contiguous outputs are written past the caches */
} job;

/* Whether all arrays hold bfloat16s side by side: they may pass the kernel in any order. A scalar of float32 that is NaN
   may have any bits. */
static bool
in_pairs(const job *j)
{
    const int inputs = j->loop->kernel->input_count;
    for (int k = 0; k < j->count; k++) {
        const char type = j->loop->types[k];
        const bool is_scalar = k < inputs && j->steps[k] == 0;
        if (is_scalar ? type == 'f' && isnan(*(const float *)j->arrays[k])
                      : type != 'E' || j->steps[k] != sizeof(uint16_t))
            return false;
    }
    return true;
}

/* Fetch what the next block reads while the kernel computes this one. */
static inline void
prefetch(const char *first, ptrdiff_t bytes)
{
    for (const char *line = first; line < first + bytes; line += FA_LINE)
        __builtin_prefetch(line);
}

/* An operand on its way through a buffer. */
typedef struct {
    int operand;
    const fa_conversion *conversion; /* of neighbours in a 16-bit type; NULL: fa_gather, fa_scatter */
    ptrdiff_t prefetched;            /* bytes of the next block, unless they lie far apart */
    bool streams;                    /* an output that is written past the caches */
} transfer;

/* How many elements of an array lie before its next cache line. */
static size_t
before_next_line(const char *array, ptrdiff_t step)
{
    return -(uintptr_t)array % FA_LINE / (size_t)step;
}

static void
run_range(void *context, size_t begin, size_t end)
{
    const job *j = context;
    const int inputs = j->loop->kernel->input_count;
    const char type = fa_kernel_type(j->loop->kernel->type), *types = j->loop->types;
    const ptrdiff_t size = (ptrdiff_t)fa_type_size(type);
    _Alignas(64) char buffers[FA_MAX_OPERANDS][FA_LONG_STAGE * sizeof(double)];
    bool staged[FA_MAX_OPERANDS], any_staged = false;
    transfer moved[FA_MAX_OPERANDS];
    int moved_count = 0, moved_inputs = 0, converted = 0;
    size_t lead = 0; /* elements of a first, short block: from there on, the first output begins a line */
    bool has_lead = false;
    const fa_environment environment = fa_enter();

    for (int k = 0; k < j->count; k++) {
        const bool direct = j->steps[k] == size && types[k] == type, streams = j->streams && k >= inputs && direct;
        staged[k] = !direct || streams;
        any_staged |= staged[k];
        if (direct && k >= inputs && !has_lead && (streams || end - begin >= WORTH_ALIGNING)) {
            lead = before_next_line(j->arrays[k] + (ptrdiff_t)begin * size, size);
            has_lead = true;
        }
        if (!staged[k] || (k < inputs && j->steps[k] == 0))
            continue;
        const bool narrow = types[k] != type && j->steps[k] == (ptrdiff_t)sizeof(uint16_t);
        const bool dense = j->steps[k] > 0 && j->steps[k] <= (ptrdiff_t)sizeof(double);
        moved[moved_count++] = (transfer){
            .operand = k,
            .conversion = narrow ? fa_conversion_of(types[k]) : NULL,
            .prefetched = dense && !streams ? STAGE * j->steps[k] : 0,
            .streams = streams,
        };
        moved_inputs += k < inputs;
        converted += !direct;
    }
    if (moved_count > 0 && in_pairs(j))
        for (int m = 0; m < moved_count; m++)
            moved[m].conversion = &fa_current_isa->bf16_pairs;
    const size_t streamed = FA_STREAMED_BYTES / (size_t)size, length = end - begin;
    const size_t stage = converted > 0 ? STAGE : j->streams ? streamed : FA_LONG_STAGE;
    const size_t block = any_staged && stage < length ? stage : length;
    char *arrays[FA_MAX_OPERANDS];
    void *pointers[FA_MAX_OPERANDS];
    for (int k = 0; k < j->count; k++) {
        arrays[k] = j->arrays[k] + (ptrdiff_t)begin * j->steps[k];
        pointers[k] = staged[k] ? buffers[k] : arrays[k];
        if (k < inputs && staged[k] && j->steps[k] == 0) /* a scalar fills its buffer once */
            fa_gather(block, arrays[k], 0, types[k], buffers[k], type);
    }
    size_t n;
    for (size_t i = begin; i < end; i += n) {
        n = end - i < block ? end - i : block;
        n = i == begin && lead > 0 && lead < n ? lead : n;
        const bool next_is_whole = i + 2 * STAGE <= end;
        for (int m = 0; m < moved_inputs; m++) {
            const int k = moved[m].operand;
            if (moved[m].conversion != NULL)
                moved[m].conversion->widen(n, (const uint16_t *)arrays[k], (float *)buffers[k]);
            else
                fa_gather(n, arrays[k], j->steps[k], types[k], buffers[k], type);
        }
        for (int m = 0; m < moved_count && next_is_whole; m++)
            prefetch(arrays[moved[m].operand] + moved[m].prefetched, moved[m].prefetched);
        fa_call(j->kernel, n, j->count, pointers);
        for (int m = moved_inputs; m < moved_count; m++) {
            const int k = moved[m].operand;
            if (moved[m].conversion != NULL)
                moved[m].conversion->narrow(n, (const float *)buffers[k], (uint16_t *)arrays[k]);
            else if (moved[m].streams)
                fa_current_isa->stream(n * (size_t)size, buffers[k], arrays[k]);
            else
                fa_scatter(n, arrays[k], j->steps[k], types[k], buffers[k], type);
        }
        for (int k = 0; k < j->count; k++) {
            arrays[k] += (ptrdiff_t)n * j->steps[k];
            if (!staged[k])
                pointers[k] = arrays[k];
        }
    }
    if (j->streams)
        fa_end_streaming();
    fa_leave(environment);
}

/* The bytes that n elements touch: [first, last). */
static void
extent(const char *array, ptrdiff_t step, size_t n, size_t size, const char **first, const char **last)
{
    const ptrdiff_t span = step * (ptrdiff_t)(n - 1);
    *first = span < 0 ? array + span : array;
    *last = (span < 0 ? array : array + span) + size;
}

/* Whether an output shares memory with an input in another way than element by element. Staging and threads would
   then read what has been written already: reduce and accumulate pass their output as an input, too. */
static bool
outputs_feed_inputs(const job *j, size_t n)
{
    const int inputs = j->loop->kernel->input_count;
    for (int out = inputs; out < j->count; out++)
        for (int in = 0; in < inputs; in++) {
            if (j->arrays[in] == j->arrays[out] && j->steps[in] == j->steps[out] && j->steps[in] != 0)
                continue;
            const char *in_first, *in_last, *out_first, *out_last;
            extent(j->arrays[in], j->steps[in], n, fa_type_size(j->loop->types[in]), &in_first, &in_last);
            extent(j->arrays[out], j->steps[out], n, fa_type_size(j->loop->types[out]), &out_first, &out_last);
            if (in_first < out_last && out_first < in_last)
                return true;
        }
    return false;
}

/* Whether every operand is contiguous and of the kernel's type: then the kernel can run on the arrays as they are. */
static bool
is_direct(const job *j)
{
    const char type = fa_kernel_type(j->loop->kernel->type);
    const ptrdiff_t size = (ptrdiff_t)fa_type_size(type);
    for (int k = 0; k < j->count; k++)
        if (j->steps[k] != size || j->loop->types[k] != type)
            return false;
    return true;
}

/* Whether so many elements of results are written that are in no cache: not those written in place. */
static bool
is_worth_streaming(size_t n, const job *j)
{
    const int inputs = j->loop->kernel->input_count;
    const size_t operations = (size_t)j->loop->kernel->operation_count;
    const size_t size = fa_type_size(fa_kernel_type(j->loop->kernel->type));
    size_t bytes = 0;
    if (operations * size > (size_t)j->count * OPERATION_BYTES_WORTH_STREAMING)
        return false;
    for (int out = inputs; out < j->count; out++) {
        bytes += n * fa_type_size(j->loop->types[out]);
        for (int in = 0; in < inputs; in++)
            if (j->arrays[in] == j->arrays[out])
                return false;
    }
    return bytes >= FA_BYTES_WORTH_STREAMING;
}

static bool
is_worth_threads(size_t n, const job *j)
{
    const fa_kernel *kernel = j->loop->kernel;
    const size_t words = fa_type_size(fa_kernel_type(kernel->type)) / sizeof(float);
    const size_t cost = (size_t)(kernel->operation_count + MEMORY_OPERATIONS * j->count) * words;
    return fa_is_worth_threads(n, cost);
}

void
fa_elementwise(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *steps, void *data)
{
    const fa_loop *loop = data;
    const fa_kernel *kernel = loop->kernel;
    const size_t n = (size_t)dimensions[0];
    if (n == 0)
        return;
    job j = {fa_implementation(loop), loop, arrays, steps, kernel->input_count + kernel->output_count, false};
    if (n > 1 && outputs_feed_inputs(&j, n)) {
        for (size_t i = 0; i < n; i++)
            run_range(&j, i, i + 1);
        return;
    }
    j.streams = is_worth_streaming(n, &j);
    if (is_worth_threads(n, &j)) {
        fa_parallel_for(run_range, &j, n, GRAIN);
    } else if (is_direct(&j) && !j.streams && n < 2 * WORTH_ALIGNING) { /* what most calls are: nothing to prepare */
        const fa_environment environment = fa_enter();
        fa_call(j.kernel, n, j.count, (void **)arrays);
        fa_leave(environment);
    } else {
        run_range(&j, 0, n);
    }
    fa_has_run();
}

typedef struct {
    const job *row;
    const ptrdiff_t *outer_steps;
    size_t n, blocks; /* elements of a row, and pieces that it is cut into for threads */
} rows_job;

/* Work item i is piece i % blocks of row i / blocks. */
static void
run_pieces(void *context, size_t begin, size_t end)
{
    const rows_job *rows = context;
    for (size_t item = begin; item < end;) {
        const size_t row = item / rows->blocks, piece = item % rows->blocks;
        const size_t left = rows->blocks - piece, count = end - item < left ? end - item : left;
        const size_t first = piece * GRAIN, last = count == left ? rows->n : first + count * GRAIN;
        char *arrays[FA_MAX_OPERANDS];
        job j = *rows->row;
        for (int k = 0; k < j.count; k++)
            arrays[k] = j.arrays[k] + (ptrdiff_t)row * rows->outer_steps[k];
        j.arrays = arrays;
        run_range(&j, first, last);
        item += count;
    }
}

void
fa_elementwise_rows(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *outer_steps, const ptrdiff_t *steps,
                    void *data)
{
    const fa_loop *loop = data;
    const fa_kernel *kernel = loop->kernel;
    const size_t rows = (size_t)dimensions[0], n = (size_t)dimensions[1];
    if (rows == 0 || n == 0)
        return;
    job row = {fa_implementation(loop), loop, arrays, steps, kernel->input_count + kernel->output_count, false};
    row.streams = is_worth_streaming(rows * n, &row);
    rows_job j = {&row, outer_steps, n, (n + GRAIN - 1) / GRAIN};
    if (is_worth_threads(rows * n, &row))
        fa_parallel_for(run_pieces, &j, rows * j.blocks, n < GRAIN ? GRAIN / n : 1);
    else
        run_pieces(&j, 0, rows * j.blocks);
    fa_has_run();
}

void
fa_elementwise_core(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *steps, void *data)
{
    const fa_kernel *kernel = ((const fa_loop *)data)->kernel;
    fa_elementwise_rows(arrays, dimensions, steps, steps + kernel->input_count + kernel->output_count, data);
}
