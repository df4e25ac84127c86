/* The inner loop of the row functions (softmax and its like): cuts the rows into tiles, stages what is not laid out as
   the kernels need it, and splits the rows over threads. */
#include "fastact.h"
#include "staging.h"
#include "threads.h"
#include "tiles.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A tile holds rows one after another, or columns: interleaved rows, as they lie along a first axis. Very short rows
   are turned into columns (short_row): they would not fill vectors by themselves. Others go to the kernels one by one, or
   where these are for a series of rows, several at once. */
enum {
    LINE_ROWS = 16,
    SHORT_ROW = 48,           /* elements */
    SHORT_ROW_OF_OUTPUT = 16, /* from which the gradient has less to do */
    SHORT_ROW_OF_SERIES = 8,
    SHORT_ROW_OF_SUM = 512,   /* bytes, of logsumexp; by itself each row would have a logarithm */
    STREAMED_AT_ONCE = 1 << 12,   /* bytes of rows that stay in the first-level cache until they are written */
    LONGEST_STREAMED = 1 << 17,   /* and of a row that stays in the second-level one, if it is written when it is done */
    MAX_ARRAYS = 3
};

/* How threads split rows: see grain and shared_parts. */
enum {
    GRAIN = 2048,       /* elements that a thread takes at least */
    LONG_RUN = 2000,    /* bytes of rows that lie across memory */
    TALL_COLUMN = 2048, /* elements of such a row */
    PAGE = 4096,        /* bytes */

    ELEMENTS_WORTH_SHARING = 1 << 16, /* there is a start for every step */
    SHARED_COLUMN = 256,              /* elements of a row whose lanes are worth sharing */
    SHARED_RUN = 3000,                /* bytes of the lanes that a thread takes, of rows beside each other */
    SHARED_SUMS = 1 << 20             /* bytes of their sums, which stay in a thread's cache */
};

/* What fa_is_worth_threads counts: so many for each element and each row of float32 that 64 take a nanosecond (measured with
   AVX2 on an AMD EPYC). sparsemax and entmax15 take more of short rows, most of which may be in the support. */
typedef struct {
    unsigned short of_element, of_row;
} operations;
static const struct {
    operations forward, from_input, from_output;
} operations_of[FA_ROW_FUNCTIONS] = {
    [FA_SOFTMAX] = {{24, 280}, {30, 440}, {12, 240}},
    [FA_SOFTMIN] = {{24, 280}, {30, 440}, {12, 240}},
    [FA_LOG_SOFTMAX] = {{30, 720}, {52, 880}, {26, 180}},
    [FA_LOGSUMEXP] = {{45, 960}, {32, 700}, {32, 700}},
    [FA_SPARSEMAX] = {{72, 4000}, {80, 4600}, {20, 840}},
    [FA_ENTMAX15] = {{96, 6400}, {104, 7300}, {26, 840}},
    [FA_HARDMAX] = {{36, 300}, {3, 30}, {3, 30}},
    [FA_MAXOUT] = {{26, 140}, {54, 240}, {54, 240}},
};

typedef struct {
    const fa_row_loop *loop;
    char **arrays;
    const ptrdiff_t *outer_steps, *core_steps;
    size_t n;
    bool single[MAX_ARRAYS];    /* whether an operand has one element per row: where the function reduces */
    size_t lengths[MAX_ARRAYS]; /* of a row of each operand: 1 or n */
    int operands[MAX_ARRAYS];   /* operand numbers of the inputs and the output */
    int mask, scale;            /* operand numbers, if loop->masked */
    double common_scale;        /* if not selects */
    bool selects;               /* whether each row has a mask of its own, or a scale */
    bool columns;               /* how tiles lie: kernels then run across their rows */
    bool across_memory;         /* whether x lies across its rows: what is staged goes several rows at a time */
    bool streams;               /* whether results are written past the caches: rows, or parts of them */
    size_t block_rows;          /* of each block; the rows' numbers go on from block to block */
    const ptrdiff_t *block_steps; /* bytes from block to block, or NULL if there is one */
    size_t blocks_at_once;      /* that are gathered in a tile, or 1 */
    void (*run)(void *job, size_t begin, size_t end);
} job;

static char
kernel_type(const job *j)
{
    return fa_kernel_type(j->loop->type);
}

/* Element (row, i) of an operand as NumPy lays it out. */
static char *
element(const job *j, int operand, size_t row, size_t i)
{
    return j->arrays[operand] + (ptrdiff_t)row * j->outer_steps[operand] + (ptrdiff_t)i * j->core_steps[operand];
}

static double
scale_of(const job *j, size_t row)
{
    const char *given = element(j, j->scale, row, 0);
    return kernel_type(j) == 'd' ? *(const double *)given : *(const float *)given;
}

/* Whether exponentials are computed, which take so long that the writing of results goes on meanwhile. */
static bool
has_exponentials(const fa_row_loop *loop)
{
    const bool is_softmax = loop->function == FA_SOFTMAX || loop->function == FA_SOFTMIN;
    return is_softmax ? !loop->from_output : loop->function == FA_LOG_SOFTMAX || loop->function == FA_LOGSUMEXP;
}

/* Whether the kernel for one row writes past the caches by itself, by parts of a row (write_slopes). */
static bool
can_stream_parts(const job *j)
{
    return j->loop->from_output && !has_exponentials(j->loop) && !j->selects &&
           j->n * fa_type_size(j->loop->type) > FA_STREAMED_BYTES;
}

/* Whether an operand lies as a tile of `rows` rows does. */
static bool
is_ready(const job *j, int k, size_t rows)
{
    const int operand = j->operands[k];
    const ptrdiff_t size = (ptrdiff_t)fa_type_size(j->loop->type);
    const ptrdiff_t core = j->core_steps[operand], outer = j->outer_steps[operand];
    if (j->loop->type != kernel_type(j) || j->blocks_at_once > 1)
        return false;
    if (!j->columns)
        return j->lengths[k] == 1 || core == size;
    const bool has_gaps = core != (ptrdiff_t)rows * size; /* good for runs of whole vectors only */
    return outer == size && (j->lengths[k] == 1 || !has_gaps || (rows >= LINE_ROWS && core % size == 0));
}

static bool
is_in_place(const job *j, int k)
{
    const int last = j->loop->input_count;
    return k < last && j->arrays[j->operands[k]] == j->arrays[j->operands[last]];
}

/* Whether an operand goes through a buffer; an input that is the output does: no kernel works in place. */
static bool
is_staged(const job *j, int k, size_t rows)
{
    const bool is_streamed_whole = j->streams && k == j->loop->input_count && !can_stream_parts(j);
    return is_in_place(j, k) || !is_ready(j, k, rows) || is_streamed_whole;
}

/* Whether so much is written that is in no cache, rows without gaps: whole lines. */
static bool
is_worth_streaming(const job *j, size_t rows)
{
    const int last = j->loop->input_count;
    const size_t row_bytes = j->n * fa_type_size(j->loop->type);
    if (j->single[last] || has_exponentials(j->loop))
        return false;
    for (int k = 0; k < last; k++)
        if (is_in_place(j, k))
            return false;
    const bool has_gaps = j->outer_steps[j->operands[last]] != (ptrdiff_t)row_bytes;
    return !j->columns && !j->across_memory && is_ready(j, last, 1) && !has_gaps &&
           (row_bytes <= LONGEST_STREAMED || can_stream_parts(j)) && rows * row_bytes >= FA_BYTES_WORTH_STREAMING;
}

/* Rows of a block, or of several whole ones. */
static void
move_tile(const job *j, int k, size_t first_row, size_t rows, char *tile, bool into_tile)
{
    const int operand = j->operands[k];
    const fa_row_block block = {element(j, operand, first_row, 0), j->outer_steps[operand], j->core_steps[operand],
                                j->loop->type};
    if (rows > j->block_rows)
        fa_move_blocks(&block, rows / j->block_rows, j->block_steps[operand], j->block_rows, j->lengths[k], tile,
                       into_tile);
    else
        fa_move_tile(&block, rows, j->lengths[k], tile, j->columns, into_tile);
}

/* The included elements of a row, without gaps; returns how many. */
static size_t
compress(const job *j, size_t row, const char *from, char *to)
{
    size_t count = 0;
    const size_t size = fa_type_size(kernel_type(j));
    for (size_t i = 0; i < j->n; i++, from += size) {
        if (size == sizeof(float))
            memcpy(to + count * size, from, sizeof(float));
        else
            memcpy(to + count * size, from, sizeof(double));
        count += *element(j, j->mask, row, i) != 0;
    }
    return count;
}

/* The other way round, with a value for the excluded elements. */
static void
expand(const job *j, size_t row, const char *from, double excluded, char *to)
{
    const size_t size = fa_type_size(kernel_type(j));
    const float narrow = (float)excluded;
    for (size_t i = 0; i < j->n; i++, to += size) {
        const bool keep = *element(j, j->mask, row, i) != 0;
        if (size == sizeof(float))
            memcpy(to, keep ? from : (const char *)&narrow, sizeof(float));
        else
            memcpy(to, keep ? from : (const char *)&excluded, sizeof(double));
        from += keep ? size : 0;
    }
}

/* The kernel for tiles of `width` rows, interleaved or one after another. */
static const fa_row_kernel *
find_kernel(const job *j, size_t width)
{
    const fa_isa *isa = fa_current_isa;
    const bool is_double = kernel_type(j) == 'd';
    const fa_row_kernel *columns = is_double ? isa->columns_f64 : isa->columns_f32;
    const fa_row_kernel *series = is_double ? isa->series_f64 : isa->series_f32;
    const fa_row_kernel *one_row = is_double ? isa->rows_f64 : isa->rows_f32;
    return (j->columns ? columns : width > 1 ? series : one_row) + j->loop->function;
}

/* A tile of `width` rows: interleaved, or a series of rows; pitches are the kernels'. */
static void
run_kernel(const job *j, size_t n, size_t width, char **operands, const ptrdiff_t *pitches, double scale, char *scratch)
{
    const fa_row_loop *loop = j->loop;
    const fa_row_kernel *kernel = find_kernel(j, width);
    if (loop->input_count == 1) {
        kernel->forward(n, width, operands[0], pitches[0], scale, operands[1], pitches[1], scratch);
        return;
    }
    if (!loop->from_output && kernel->from_input != NULL) {
        kernel->from_input(n, width, operands[0], pitches[0], operands[1], pitches[1], scale, operands[2], pitches[2],
                           scratch);
        return;
    }
    const bool prepares = !loop->from_output && kernel->prepare != NULL;
    if (prepares)
        kernel->prepare(n, width, operands[1], pitches[1], scale, operands[2], pitches[2], scratch);
    const int point = prepares ? 2 : 1;
    kernel->backward(n, width, operands[0], pitches[0], operands[point], pitches[point], scale, operands[2],
                     pitches[2], scratch);
}

/* One row by itself. `scratch` has room for the included elements of a row of each operand. */
static void
run_row(const job *j, size_t row, char **places, char **scratch)
{
    static const ptrdiff_t contiguous[MAX_ARRAYS] = {1, 1, 1};
    const int last = j->loop->input_count;
    if (!j->selects) {
        _Alignas(FA_LINE) char to_stream[FA_STREAMED_BYTES];
        run_kernel(j, j->n, 1, places, contiguous, j->common_scale,
                   j->streams && can_stream_parts(j) ? to_stream : NULL);
        return;
    }
    char *operands[MAX_ARRAYS];
    size_t n = j->n;
    for (int k = 0; k <= last; k++) {
        operands[k] = j->single[k] ? places[k] : scratch[k];
        if (!j->single[k] && k < last)
            n = compress(j, row, places[k], operands[k]);
    }
    run_kernel(j, n, 1, operands, contiguous, scale_of(j, row), NULL);
    if (!j->single[last])
        expand(j, row, operands[last], last == 1 ? j->loop->excluded : 0, places[last]);
}

static char *
allocate(size_t bytes)
{
    char *memory = malloc(bytes + 1);
    if (memory == NULL) { /* a NumPy loop cannot fail, and a wrong result is worse */
        fputs("fastact: out of memory\n", stderr);
        abort();
    }
    return memory;
}

/* Whether there is a kernel for a series of rows. */
static bool
has_series(const job *j)
{
    const fa_row_kernel *kernel = find_kernel(j, 2);
    return j->loop->input_count == 1 ? kernel->forward != NULL : kernel->backward != NULL;
}

/* How many rows go to the kernel at once, for which they must lie a whole number of elements apart. */
static size_t
rows_of_series(const job *j)
{
    if (j->columns || j->selects || j->n < 2 || !has_series(j))
        return 1;
    for (int k = 0; k <= j->loop->input_count; k++)
        if (j->outer_steps[j->operands[k]] % (ptrdiff_t)fa_type_size(j->loop->type) != 0)
            return 1;
    return fa_rows_of_series(j->n, fa_type_size(kernel_type(j)));
}

static size_t
rows_of_a_tile(const job *j, size_t rows)
{
    if (!j->columns && !j->across_memory) {
        const size_t row_bytes = j->n * fa_type_size(kernel_type(j));
        const size_t most = j->streams ? STREAMED_AT_ONCE / row_bytes : rows_of_series(j);
        return most < 1 ? 1 : most < rows ? most : rows;
    }
    const int x = j->operands[j->loop->input_count - 1];
    const size_t width = fa_rows_per_wide_tile(j->n, j->core_steps[x], fa_type_size(kernel_type(j)), rows);
    bool staged = false;
    for (int k = 0; k <= j->loop->input_count; k++)
        staged |= is_staged(j, k, width);
    const size_t narrow = fa_rows_per_tile(j->n);
    return staged && narrow < rows ? narrow : width;
}

/* A job for the rows of one block, from its first one on. */
static void
go_to_block(const job *j, size_t block, job *its_rows, char **arrays)
{
    for (int k = 0; k <= j->loop->input_count; k++) {
        const int operand = j->operands[k];
        arrays[operand] = j->arrays[operand] + (ptrdiff_t)block * j->block_steps[operand];
    }
    its_rows->arrays = arrays;
}

/* Of rows up to `end` those that are in the block of a row. */
static size_t
rows_in_block(const job *j, size_t row, size_t end)
{
    const size_t left = j->block_rows - row % j->block_rows;
    return left < end - row ? left : end - row;
}

/* The same, or if several are gathered, those of the whole blocks that begin with this row. */
static size_t
rows_in_blocks(const job *j, size_t row, size_t end)
{
    const size_t whole = (end - row) / j->block_rows;
    if (row % j->block_rows > 0 || whole < 2 || j->blocks_at_once < 2)
        return rows_in_block(j, row, end);
    return j->block_rows * (whole < j->blocks_at_once ? whole : j->blocks_at_once);
}

static void
run_rows(void *context, size_t begin, size_t end)
{
    const job *all = context;
    char *arrays[MAX_ARRAYS];
    job in_block = *all;
    const job *j = &in_block;
    const int last = j->loop->input_count;
    const size_t size = fa_type_size(kernel_type(j));
    const size_t most = end - begin < j->block_rows ? end - begin : j->block_rows;
    const size_t gathered = j->blocks_at_once * j->block_rows;
    const size_t tile_rows = j->blocks_at_once > 1 ? gathered : rows_of_a_tile(j, most), at_once = rows_of_series(j);
    char *tiles[MAX_ARRAYS] = {NULL}, *scratch[MAX_ARRAYS] = {NULL};
    bool staged[MAX_ARRAYS];
    char *kernel_scratch = j->columns ? allocate(tile_rows * FA_SCRATCH_OF_ROW + FA_SCRATCH_MORE) : NULL;
    for (int k = 0; k <= last; k++) {
        staged[k] = is_staged(j, k, tile_rows);
        if (staged[k])
            tiles[k] = allocate(tile_rows * j->lengths[k] * size);
        if (j->selects)
            scratch[k] = allocate(j->n * size);
    }
    const fa_environment environment = fa_enter();
    for (size_t number = begin, rows; number < end; number += rows) {
        const size_t row = number % j->block_rows, left = rows_in_blocks(j, number, end);
        char *places[MAX_ARRAYS];
        ptrdiff_t pitches[MAX_ARRAYS];
        rows = left < tile_rows ? left : tile_rows;
        if (j->block_steps != NULL && (row == 0 || number == begin))
            go_to_block(all, number / j->block_rows, &in_block, arrays);
        for (int k = 0; k <= last; k++) {
            pitches[k] = staged[k] ? (ptrdiff_t)rows : j->core_steps[j->operands[k]] / (ptrdiff_t)size;
            places[k] = staged[k] ? tiles[k] : element(j, j->operands[k], row, 0);
            if (staged[k] && k < last)
                move_tile(j, k, row, rows, tiles[k], true);
        }
        if (j->columns) {
            run_kernel(j, j->n, rows, places, pitches, j->common_scale, kernel_scratch);
        } else {
            for (size_t r = 0, count; r < rows; r += count) {
                char *first[MAX_ARRAYS];
                ptrdiff_t next[MAX_ARRAYS]; /* elements from row to row */
                count = rows - r < at_once ? rows - r : at_once;
                for (int k = 0; k <= last; k++) {
                    first[k] = staged[k] ? places[k] + r * j->lengths[k] * size
                                         : element(j, j->operands[k], row + r, 0);
                    next[k] = staged[k] ? (ptrdiff_t)j->lengths[k] : j->outer_steps[j->operands[k]] / (ptrdiff_t)size;
                }
                if (count > 1)
                    run_kernel(j, j->n, count, first, next, j->common_scale, NULL);
                else
                    run_row(j, row + r, first, scratch);
            }
        }
        if (j->streams && staged[last])
            fa_current_isa->stream(rows * j->n * size, tiles[last], element(j, j->operands[last], row, 0));
        else if (staged[last])
            move_tile(j, last, row, rows, tiles[last], false);
    }
    if (j->streams)
        fa_end_streaming();
    fa_leave(environment);
    for (int k = 0; k <= last; k++) {
        free(tiles[k]);
        free(scratch[k]);
    }
    free(kernel_scratch);
}

/* The gradient of hardmax, a step function: 0, also for excluded elements. */
static void
clear_rows_of_block(const job *j, size_t begin, size_t end)
{
    const int output = j->operands[j->loop->input_count];
    const ptrdiff_t size = (ptrdiff_t)fa_type_size(j->loop->type);
    const ptrdiff_t core = j->core_steps[output], outer = j->outer_steps[output];
    const size_t rows = end - begin;
    if (core == size && outer == (ptrdiff_t)j->n * size)
        memset(element(j, output, begin, 0), 0, rows * j->n * (size_t)size);
    else if (outer == size)
        for (size_t i = 0; i < j->n; i++)
            memset(element(j, output, begin, i), 0, rows * (size_t)size);
    else
        for (size_t row = begin; row < end; row++)
            for (size_t i = 0; i < j->n; i++)
                memset(element(j, output, row, i), 0, (size_t)size);
}

static void
clear_rows(void *context, size_t begin, size_t end)
{
    const job *j = context;
    char *arrays[MAX_ARRAYS];
    job in_block = *j;
    for (size_t row = begin, rows; row < end; row += rows) {
        const size_t first = row % j->block_rows;
        rows = rows_in_block(j, row, end);
        if (j->block_steps != NULL)
            go_to_block(j, row / j->block_rows, &in_block, arrays);
        clear_rows_of_block(&in_block, first, first + rows);
    }
}

/* Whether all rows are whole and have one scale. */
static bool
is_uniform(const job *j, size_t rows)
{
    if (rows > 1 && (j->outer_steps[j->mask] != 0 || j->outer_steps[j->scale] != 0))
        return false;
    for (size_t i = 0; i < j->n; i++)
        if (*element(j, j->mask, 0, i) == 0)
            return false;
    return true;
}

/* How many rows threads take at a time: whole lines of results, or single rows if they are long. Of rows that lie across
   memory as much as LONG_RUN beside each other, for the processor fetches what lies next to a shorter run, too, which
   another thread is writing; and as even a share for each thread as that allows. Of tall columns all, if a thread would have
   less than PAGE of them: two threads that jump through memory take longer than one that goes through all of it. */
static size_t
grain(const job *j, size_t rows)
{
    if (j->columns && !j->across_memory)
        return LINE_ROWS;
    if (!j->across_memory)
        return j->n * LINE_ROWS <= GRAIN ? LINE_ROWS : (GRAIN + j->n - 1) / j->n;
    const size_t threads = (size_t)fa_get_num_threads();
    if (j->columns && j->n > TALL_COLUMN && rows * fa_type_size(j->loop->type) < threads * PAGE)
        return rows;
    const size_t runs = rows * fa_type_size(j->loop->type) / LONG_RUN;
    const size_t shares = runs > threads ? runs - runs % threads : runs > 0 ? runs : 1;
    const size_t share = ((rows + shares - 1) / shares + LINE_ROWS - 1) / LINE_ROWS * LINE_ROWS;
    const size_t tile_rows = j->columns ? rows_of_a_tile(j, (rows + threads - 1) / threads) : 0;
    return tile_rows > share ? tile_rows : share;
}

/* Rows shorter than this are turned into columns. */
static size_t
short_row(const job *j)
{
    if (j->loop->function == FA_LOGSUMEXP && j->loop->input_count == 1)
        return SHORT_ROW_OF_SUM / fa_type_size(kernel_type(j));
    return has_series(j) ? SHORT_ROW_OF_SERIES : j->loop->from_output ? SHORT_ROW_OF_OUTPUT : SHORT_ROW;
}

/* All rows of a job, or some, as one tile that threads share: part i of `parts` is a range of lanes. */
typedef struct {
    const fa_shared_step *step;
    fa_shared_tile tile;
    size_t parts;
} shared_job;

static void
run_lanes(void *context, size_t begin, size_t end)
{
    const shared_job *s = context;
    const fa_lanes lanes = {begin * FA_LANES / s->parts, end * FA_LANES / s->parts};
    const fa_environment environment = fa_enter();
    s->step->run(&s->tile, lanes);
    fa_leave(environment);
}

static bool
run_steps(shared_job *s, const fa_shared_step *steps)
{
    for (int k = 0; k < FA_SHARED_STEPS && steps[k].run != NULL; k++) {
        s->step = &steps[k];
        fa_parallel_for(run_lanes, s, s->parts, 1);
        const fa_environment environment = fa_enter();
        const bool is_settled = steps[k].settle == NULL || steps[k].settle(&s->tile);
        fa_leave(environment);
        if (!is_settled)
            return false;
    }
    return true;
}

/* A kernel's usual steps or, where these do not suit, those of rows with factors of their own, if it has such. */
static bool
run_common_or_own(shared_job *s, const fa_shared_kernel *kernel, const fa_shared_step *common, const fa_shared_step *own)
{
    const fa_environment environment = fa_enter();
    const bool may_be_common = kernel->may_be_common == NULL || kernel->may_be_common(&s->tile);
    fa_leave(environment);
    return (may_be_common && run_steps(s, common)) || (own[0].run != NULL && run_steps(s, own));
}

/* The kernel whose steps threads may share, or NULL. */
static const fa_shared_kernel *
shared_kernel(const job *j)
{
    const fa_isa *isa = fa_current_isa;
    const fa_row_loop *loop = j->loop;
    const fa_shared_kernel *kernels = kernel_type(j) == 'd' ? isa->shared_f64 : isa->shared_f32;
    const fa_shared_kernel *kernel = kernels + (loop->function == FA_SOFTMIN ? FA_SOFTMAX : loop->function);
    const bool has_steps = (loop->input_count == 1 ? kernel->forward : kernel->backward)[0].run != NULL;
    return j->columns && j->across_memory && has_steps ? kernel : NULL;
}

/* Into how many parts threads share the lanes of all rows: the lanes of a part are a run of SHARED_RUN. 1 if they do not,
   since too few rows lie beside each other or so many that each thread may have some of its own. */
static size_t
shared_parts(const job *j, size_t rows)
{
    const size_t threads = (size_t)fa_get_num_threads(), share = grain(j, rows);
    if (j->n < SHARED_COLUMN)
        return 1;
    for (int k = 0; k <= j->loop->input_count; k++)
        if (is_staged(j, k, rows))
            return 1;
    const size_t most = FA_LANES * rows * fa_type_size(j->loop->type) / SHARED_RUN;
    const size_t lanes = most < FA_LANES ? most : FA_LANES, parts = lanes < threads ? lanes : threads;
    const bool has_more_shares = parts < threads && (rows + share - 1) / share > parts;
    return parts < 2 || has_more_shares ? 1 : parts;
}

/* Rows from `first` on, and whether they did not need more care. */
static bool
run_shared(const job *j, const fa_shared_kernel *kernel, size_t parts, size_t first, size_t rows, char *scratch)
{
    const fa_row_loop *loop = j->loop;
    const int last = loop->input_count;
    const ptrdiff_t size = (ptrdiff_t)fa_type_size(loop->type);
    char *places[MAX_ARRAYS];
    ptrdiff_t pitches[MAX_ARRAYS];
    for (int k = 0; k <= last; k++) {
        places[k] = element(j, j->operands[k], first, 0);
        pitches[k] = j->core_steps[j->operands[k]] / size;
    }
    shared_job s = {
        .tile =
            {
                .n = j->n,
                .width = rows,
                .x = places[last - 1],
                .x_pitch = pitches[last - 1],
                .scale = loop->function == FA_SOFTMIN ? -j->common_scale : j->common_scale,
                .y = places[last],
                .y_pitch = pitches[last],
                .scratch = scratch,
            },
        .parts = parts,
    };
    const bool from_input = last == 2 && !loop->from_output, prepares = from_input && kernel->from_input[0].run == NULL;
    if ((last == 1 || prepares) && !run_common_or_own(&s, kernel, kernel->forward, kernel->own_forward))
        return false;
    if (last == 1)
        return true;
    if (prepares) {
        s.tile.x = s.tile.y;
        s.tile.x_pitch = s.tile.y_pitch;
    }
    s.tile.dy = places[0];
    s.tile.dy_pitch = pitches[0];
    if (from_input && !prepares)
        return run_common_or_own(&s, kernel, kernel->from_input, kernel->own_from_input);
    return run_steps(&s, kernel->backward);
}

typedef struct {
    job *rows;
    size_t first;
} some_rows;

static void
run_some_rows(void *context, size_t begin, size_t end)
{
    const some_rows *some = context;
    run_rows(some->rows, some->first + begin, some->first + end);
}

/* All rows, as tiles whose sums stay in the threads' caches; what needs more care in another way. */
static void
share_rows(job *j, const fa_shared_kernel *kernel, size_t parts, size_t rows)
{
    const size_t sums = FA_LANES / parts * (kernel_type(j) == 'd' ? 2 : 1) * sizeof(double);
    const size_t most = SHARED_SUMS / sums, tiles = (rows + most - 1) / most;
    const size_t width = ((rows + tiles - 1) / tiles + LINE_ROWS - 1) / LINE_ROWS * LINE_ROWS;
    char *scratch = allocate((width < rows ? width : rows) * FA_SCRATCH_OF_ROW + FA_SCRATCH_MORE);
    for (size_t first = 0; first < rows; first += width) {
        const size_t count = rows - first < width ? rows - first : width;
        if (!run_shared(j, kernel, parts, first, count, scratch))
            fa_parallel_for(run_some_rows, &(some_rows){j, first}, count, grain(j, count));
    }
    free(scratch);
}

/* `core_steps` is room for those of all operands. */
static job
prepare(char **arrays, size_t rows, size_t n, const ptrdiff_t *steps, const fa_row_loop *loop, ptrdiff_t *core_steps)
{
    const int last = loop->input_count, operands = last + (loop->masked ? 2 : 0) + 1;
    job j = {
        .loop = loop,
        .arrays = arrays,
        .outer_steps = steps,
        .core_steps = core_steps,
        .n = n,
        .mask = last,
        .scale = last + 1,
        .common_scale = 1,
        .block_rows = rows,
        .blocks_at_once = 1,
        .run = loop->function == FA_HARDMAX && last == 2 ? clear_rows : run_rows,
    };
    /* Core steps follow the outer ones, for the operands that have a core axis. */
    for (int operand = 0, next = operands; operand < operands; operand++) {
        const bool is_array = operand < last || operand == operands - 1;
        const int reduced = last == 1 ? operands - 1 : 0; /* y, or dy */
        const bool is_single = is_array ? loop->reduces && operand == reduced : operand == j.scale;
        if (is_array) {
            const int k = operand < last ? operand : last;
            j.operands[k] = operand;
            j.single[k] = is_single;
            j.lengths[k] = is_single ? 1 : n;
        }
        core_steps[operand] = is_single ? 0 : steps[next++];
    }
    j.selects = loop->masked && !is_uniform(&j, rows);
    if (loop->masked && !j.selects)
        j.common_scale = scale_of(&j, 0);
    const int x = j.operands[last - 1];
    j.across_memory = rows > 1 && llabs(steps[x]) < llabs(core_steps[x]);
    j.columns = rows > 1 && n > 0 && !j.selects && (j.across_memory || n < short_row(&j));
    j.streams = is_worth_streaming(&j, rows);
    return j;
}

static bool
is_worth_threads(const job *j, size_t rows)
{
    const fa_row_loop *loop = j->loop;
    const operations count = loop->input_count == 1 ? operations_of[loop->function].forward
                             : loop->from_output    ? operations_of[loop->function].from_output
                                                    : operations_of[loop->function].from_input;
    /* float64 takes about twice as long, with exponentials 2.5 times. */
    const size_t of_element = kernel_type(j) != 'd' ? count.of_element
                              : has_exponentials(loop) ? count.of_element * 5u / 2
                                                       : count.of_element * 2u;
    return fa_is_worth_threads(rows, j->n * of_element + count.of_row);
}

static void
run_all(job *j, size_t rows)
{
    if (rows < 2 || !is_worth_threads(j, rows)) {
        j->run(j, 0, rows);
        return;
    }
    const bool is_worth_sharing = rows * j->n >= ELEMENTS_WORTH_SHARING;
    const fa_shared_kernel *kernel = is_worth_sharing ? shared_kernel(j) : NULL;
    const size_t parts = kernel != NULL ? shared_parts(j, rows) : 1;
    if (parts > 1)
        share_rows(j, kernel, parts, rows);
    else
        fa_parallel_for(j->run, j, rows, grain(j, rows));
}

void
fa_rows(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *steps, void *data)
{
    const size_t rows = (size_t)dimensions[0], n = (size_t)dimensions[1];
    const fa_row_loop *loop = data;
    const bool has_elements = n > 0 || (loop->reduces && loop->input_count == 1); /* of the output */
    ptrdiff_t core_steps[MAX_ARRAYS + 2];
    if (rows == 0 || !has_elements)
        return;
    job j = prepare(arrays, rows, n, steps, loop, core_steps);
    run_all(&j, rows);
    fa_has_run();
}

/* Whether threads share the lanes of a block. */
static bool
shares_lanes(const job *j, size_t rows)
{
    return rows * j->n >= ELEMENTS_WORTH_SHARING && shared_kernel(j) != NULL && shared_parts(j, rows) > 1;
}

/* Blocks whose rows are cut into parts, none of which reaches into the next block. */
typedef struct {
    job *rows;
    size_t parts, share; /* of a block; rows of a part */
} parts_of_blocks;

static void
run_parts_of_blocks(void *context, size_t begin, size_t end)
{
    const parts_of_blocks *b = context;
    const size_t rows = b->rows->block_rows;
    for (size_t number = begin; number < end; number++) {
        const size_t first = number % b->parts * b->share, left = rows - first;
        const size_t row = number / b->parts * rows + first;
        b->rows->run(b->rows, row, row + (left < b->share ? left : b->share));
    }
}

void
fa_rows_in_blocks(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *block_steps, const ptrdiff_t *steps,
                  void *data)
{
    const size_t blocks = (size_t)dimensions[0], rows = (size_t)dimensions[1], n = (size_t)dimensions[2];
    ptrdiff_t core_steps[MAX_ARRAYS + 2];
    if (blocks == 0 || rows == 0 || n == 0)
        return;
    job j = prepare(arrays, rows, n, steps, data, core_steps);
    j.block_steps = block_steps;
    if (blocks > 1 && j.columns && j.across_memory)
        j.blocks_at_once = fa_blocks_per_tile(rows, n, fa_type_size(kernel_type(&j)));
    const size_t threads = (size_t)fa_get_num_threads(), share = grain(&j, rows), parts = (rows + share - 1) / share;
    if (!is_worth_threads(&j, blocks * rows)) {
        j.run(&j, 0, blocks * rows);
    } else if (blocks == 1 || (blocks < threads && (parts >= threads || shares_lanes(&j, rows)))) {
        for (size_t block = 0; block < blocks; block++) {
            char *of_block[MAX_ARRAYS];
            job its_rows = j;
            go_to_block(&j, block, &its_rows, of_block);
            run_all(&its_rows, rows);
        }
    } else if (parts == 1) {
        fa_parallel_for(j.run, &j, blocks * rows, (GRAIN / (rows * n) + 1) * rows);
    } else {
        fa_parallel_for(run_parts_of_blocks, &(parts_of_blocks){&j, parts, share}, blocks * parts, 1);
    }
    fa_has_run();
}
