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

/* A tile holds rows one after another, or columns: interleaved rows, as they lie along a first axis, where every cache
   line is then read once and not once for each of its elements. A tile of columns stays in the second-level cache where
   it can (CACHED_ELEMENTS) without being narrower than a cache line (LINE_ROWS), and is never beyond TILE_ELEMENTS.
   Rows shorter than SHORT_ROW are turned into columns: they would not fill vectors by themselves. */
enum {
    LINE_ROWS = 16,
    CACHED_ELEMENTS = 1 << 16,
    TILE_ELEMENTS = 1 << 21,
    SHORT_ROW = 48,
    ELEMENTS_WORTH_THREADS = 1 << 15,
    MAX_ARRAYS = 3
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
    bool columns, across;       /* how tiles lie; whether kernels run across their rows */
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

/* Whether an operand lies as a tile of `rows` rows does. */
static bool
is_ready(const job *j, int k, size_t rows)
{
    const int operand = j->operands[k];
    const ptrdiff_t size = (ptrdiff_t)fa_type_size(j->loop->type);
    const ptrdiff_t core = j->core_steps[operand], outer = j->outer_steps[operand];
    if (j->loop->type != kernel_type(j))
        return false;
    if (!j->columns)
        return j->lengths[k] == 1 || core == size;
    const bool has_gaps = core != (ptrdiff_t)rows * size; /* good for runs of whole vectors only */
    return outer == size && (j->lengths[k] == 1 || !has_gaps || (j->across && rows >= LINE_ROWS && core % size == 0));
}

/* Whether an input is the output, too: no kernel works in place. */
static bool
is_in_place(const job *j, int k)
{
    const int last = j->loop->input_count;
    return k < last && j->arrays[j->operands[k]] == j->arrays[j->operands[last]];
}

/* `count` elements, `from_step` and `to_step` of them apart. */
#define COPY_STRIDED(T) \
    do { \
        const T *source = from; \
        T *target = to; \
        for (size_t i = 0; i < count; i++) \
            target[i * to_step] = source[i * from_step]; \
    } while (0)

static inline void
copy_strided(size_t count, const void *from, size_t from_step, void *to, size_t to_step, size_t size)
{
    if (size == sizeof(float))
        COPY_STRIDED(float);
    else
        COPY_STRIDED(double);
}

/* Rows between an operand and a tile. Where array and tile do not run the same way, a row goes through `line`, which
   has room for one. */
static void
move_tile(const job *j, int k, size_t first_row, size_t rows, char *tile, char *line, bool into_tile)
{
    const char type = j->loop->type, kernel = kernel_type(j);
    const int operand = j->operands[k];
    const size_t size = fa_type_size(kernel), length = j->lengths[k];
    const ptrdiff_t core = j->core_steps[operand], outer = j->outer_steps[operand];
    const bool along_rows = !j->columns || (length > 1 && labs(core) < labs(outer));
    if (!along_rows) {
        for (size_t i = 0; i < length; i++) {
            char *array = element(j, operand, first_row, i), *buffer = tile + i * rows * size;
            if (into_tile)
                fa_gather(rows, array, outer, type, buffer, kernel);
            else
                fa_scatter(rows, array, outer, type, buffer, kernel);
        }
        return;
    }
    const bool is_line = type == kernel && core == (ptrdiff_t)size;
    for (size_t row = 0; row < rows; row++) {
        char *array = element(j, operand, first_row + row, 0);
        char *buffer = !j->columns ? tile + row * length * size : is_line ? array : line;
        if (into_tile && buffer != array)
            fa_gather(length, array, core, type, buffer, kernel);
        if (j->columns && into_tile)
            copy_strided(length, buffer, 1, tile + row * size, rows, size);
        else if (j->columns)
            copy_strided(length, tile + row * size, rows, buffer, 1, size);
        if (!into_tile && buffer != array)
            fa_scatter(length, array, core, type, buffer, kernel);
    }
}

/* The included elements of a row, without gaps; returns how many. */
static size_t
compress(const job *j, size_t row, const char *from, size_t step, char *to)
{
    size_t count = 0;
    const size_t size = fa_type_size(kernel_type(j));
    for (size_t i = 0; i < j->n; i++, from += step * size) {
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
expand(const job *j, size_t row, const char *from, double excluded, char *to, size_t step)
{
    const size_t size = fa_type_size(kernel_type(j));
    const float narrow = (float)excluded;
    for (size_t i = 0; i < j->n; i++, to += step * size) {
        const bool keep = *element(j, j->mask, row, i) != 0;
        if (size == sizeof(float))
            memcpy(to, keep ? from : (const char *)&narrow, sizeof(float));
        else
            memcpy(to, keep ? from : (const char *)&excluded, sizeof(double));
        from += keep ? size : 0;
    }
}

/* A tile of `width` interleaved rows. */
static void
run_kernel(const job *j, size_t n, size_t width, char **operands, const ptrdiff_t *pitches, double scale)
{
    const fa_row_loop *loop = j->loop;
    const fa_isa *isa = fa_current_isa;
    const fa_row_kernel *across = kernel_type(j) == 'd' ? isa->columns_f64 : isa->columns_f32;
    const fa_row_kernel *along = kernel_type(j) == 'd' ? isa->rows_f64 : isa->rows_f32;
    const fa_row_kernel *kernel = (j->across ? across : along) + loop->function;
    if (loop->input_count == 1) {
        kernel->forward(n, width, operands[0], pitches[0], scale, operands[1], pitches[1]);
        return;
    }
    const bool prepares = !loop->from_output && kernel->prepare != NULL;
    if (prepares)
        kernel->prepare(n, width, operands[1], pitches[1], scale, operands[2], pitches[2]);
    const int point = prepares ? 2 : 1;
    kernel->backward(n, width, operands[0], pitches[0], operands[point], pitches[point], scale, operands[2],
                     pitches[2]);
}

/* One row of a tile by itself; its elements are `pitches` of them apart. `scratch` has room for a row of each
   operand. */
static void
run_row(const job *j, size_t row, char **places, const ptrdiff_t *pitches, char **scratch)
{
    const fa_row_loop *loop = j->loop;
    const int last = loop->input_count;
    const size_t size = fa_type_size(kernel_type(j));
    char *operands[MAX_ARRAYS];
    size_t n = j->n;
    for (int k = 0; k <= last; k++) {
        const bool moved = !j->single[k] && (j->selects || pitches[k] != 1);
        operands[k] = moved ? scratch[k] : places[k];
        if (!moved || k == last)
            continue;
        if (j->selects)
            n = compress(j, row, places[k], (size_t)pitches[k], operands[k]);
        else
            copy_strided(n, places[k], (size_t)pitches[k], operands[k], 1, size);
    }
    static const ptrdiff_t contiguous[MAX_ARRAYS] = {1, 1, 1};
    run_kernel(j, n, 1, operands, contiguous, j->selects ? scale_of(j, row) : j->common_scale);
    if (operands[last] == places[last])
        return;
    if (j->selects)
        expand(j, row, operands[last], last == 1 ? loop->excluded : 0, places[last], (size_t)pitches[last]);
    else
        copy_strided(n, operands[last], 1, places[last], (size_t)pitches[last], size);
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

static size_t
rows_of_a_tile(const job *j)
{
    const size_t n = j->n ? j->n : 1;
    size_t rows = CACHED_ELEMENTS / n;
    rows = rows < LINE_ROWS ? LINE_ROWS : rows > FA_MAX_COLUMNS ? FA_MAX_COLUMNS : rows;
    if (!j->columns)
        rows = 1;
    return rows * n <= TILE_ELEMENTS ? rows : n < TILE_ELEMENTS ? TILE_ELEMENTS / n : 1;
}

static void
run_rows(void *context, size_t begin, size_t end)
{
    const job *j = context;
    const int last = j->loop->input_count;
    const size_t size = fa_type_size(kernel_type(j));
    size_t tile_rows = rows_of_a_tile(j);
    char *tiles[MAX_ARRAYS] = {NULL}, *scratch[MAX_ARRAYS] = {NULL}, *line = NULL;
    bool staged[MAX_ARRAYS];
    bool all_ready = end - begin <= FA_MAX_COLUMNS;
    for (int k = 0; k <= last; k++)
        all_ready &= is_ready(j, k, end - begin) && !is_in_place(j, k);
    if (j->columns && (all_ready || end - begin < tile_rows)) /* what lies as one tile may be as large as it likes */
        tile_rows = end - begin;
    for (int k = 0; k <= last; k++) {
        staged[k] = is_in_place(j, k) || !is_ready(j, k, tile_rows);
        if (staged[k])
            tiles[k] = allocate(tile_rows * j->lengths[k] * size);
        if (!j->across && (j->selects || j->columns))
            scratch[k] = allocate(j->n * size);
    }
    if (j->columns)
        line = allocate(j->n * size);
    const fa_environment environment = fa_enter();
    for (size_t row = begin; row < end; row += tile_rows) {
        const size_t rows = end - row < tile_rows ? end - row : tile_rows;
        char *places[MAX_ARRAYS];
        ptrdiff_t pitches[MAX_ARRAYS];
        for (int k = 0; k <= last; k++) {
            pitches[k] = !j->columns ? 1
                       : staged[k] ? (ptrdiff_t)rows
                                   : j->core_steps[j->operands[k]] / (ptrdiff_t)size;
            places[k] = staged[k] ? tiles[k] : element(j, j->operands[k], row, 0);
            if (staged[k] && k < last)
                move_tile(j, k, row, rows, tiles[k], line, true);
        }
        if (j->across) {
            run_kernel(j, j->n, rows, places, pitches, j->common_scale);
        } else {
            for (size_t r = 0; r < rows; r++) {
                char *row_places[MAX_ARRAYS];
                for (int k = 0; k <= last; k++)
                    row_places[k] = places[k] + r * size * (j->columns ? 1 : j->lengths[k]);
                run_row(j, row + r, row_places, pitches, scratch);
            }
        }
        if (staged[last])
            move_tile(j, last, row, rows, tiles[last], line, false);
    }
    fa_leave(environment);
    for (int k = 0; k <= last; k++) {
        free(tiles[k]);
        free(scratch[k]);
    }
    free(line);
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

/* Whether a kernel for several rows at once exists. */
static bool
has_across(const fa_row_loop *loop)
{
    const fa_row_kernel *kernel = fa_current_isa->columns_f32 + loop->function;
    return loop->from_output ? kernel->backward != NULL : kernel->forward != NULL;
}

void
fa_rows(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *steps, void *data)
{
    const fa_row_loop *loop = data;
    const int last = loop->input_count, operands = last + (loop->masked ? 2 : 0) + 1;
    const size_t rows = (size_t)dimensions[0], n = (size_t)dimensions[1];
    job j = {
        .loop = loop,
        .arrays = arrays,
        .outer_steps = steps,
        .n = n,
        .mask = last,
        .scale = last + 1,
        .common_scale = 1,
    };
    /* Core steps follow the outer ones, for the operands that have a core axis. */
    ptrdiff_t core_steps[MAX_ARRAYS + 2];
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
    j.core_steps = core_steps;
    if (rows == 0 || (n == 0 && j.lengths[last] == 0))
        return;
    j.selects = loop->masked && !is_uniform(&j, rows);
    if (loop->masked && !j.selects)
        j.common_scale = scale_of(&j, 0);
    const int x = j.operands[last - 1];
    const bool across = has_across(loop) && !j.selects;
    const size_t short_row = loop->from_output ? SHORT_ROW / 3 : SHORT_ROW; /* without exp there is less to gain */
    j.columns = rows > 1 && n > 0 && (labs(steps[x]) < labs(core_steps[x]) || (across && n < short_row));
    j.across = across && j.columns;
    if (rows > 1 && rows * n >= ELEMENTS_WORTH_THREADS)
        fa_parallel_for(run_rows, &j, rows, LINE_ROWS);
    else
        run_rows(&j, 0, rows);
}
