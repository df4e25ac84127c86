/* The inner loop of the row functions (softmax and its like): stages rows that are not contiguous, and splits the rows
   over threads. */
#include "fastact.h"
#include "staging.h"
#include "threads.h"
#include "tiles.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { ELEMENTS_WORTH_THREADS = 1 << 15, MAX_ARRAYS = 3 };

typedef struct {
    const fa_row_loop *loop;
    char **arrays;
    const ptrdiff_t *outer_steps, *core_steps;
    size_t n;
    int mask, scale, output; /* operand numbers; mask and scale only if loop->masked */
} job;

static char
kernel_type(const fa_row_loop *loop)
{
    return fa_kernel_type(loop->type);
}

/* Element (row, i) of an operand as NumPy lays it out. */
static char *
element(const job *j, int operand, size_t row, size_t i)
{
    return j->arrays[operand] + (ptrdiff_t)row * j->outer_steps[operand] + (ptrdiff_t)i * j->core_steps[operand];
}

static bool
is_ready(const job *j, int operand)
{
    return j->loop->type == kernel_type(j->loop) && j->core_steps[operand] == (ptrdiff_t)fa_type_size(j->loop->type);
}

/* rows x n elements between an operand and a contiguous tile. */
static void
move_tile(const job *j, int operand, size_t first_row, size_t rows, char *tile, bool into_tile)
{
    const fa_row_block block = {element(j, operand, first_row, 0), j->outer_steps[operand], j->core_steps[operand],
                                j->loop->type};
    fa_move_tile(&block, rows, j->n, tile, into_tile);
}

/* Replace the excluded elements of a row; returns how many are included. */
static size_t
apply_mask(const job *j, size_t row, double replacement, char *x)
{
    size_t included = 0;
    for (size_t i = 0; i < j->n; i++) {
        const bool keep = *element(j, j->mask, row, i) != 0;
        included += keep;
        if (!keep && kernel_type(j->loop) == 'f')
            ((float *)x)[i] = (float)replacement;
        else if (!keep)
            ((double *)x)[i] = replacement;
    }
    return included;
}

static void
fill(const job *j, char *y, double value)
{
    for (size_t i = 0; i < j->n; i++)
        if (kernel_type(j->loop) == 'f')
            ((float *)y)[i] = (float)value;
        else
            ((double *)y)[i] = value;
}

static void
run_row(const job *j, size_t row, char **operands, char *scratch)
{
    const fa_row_loop *loop = j->loop;
    const char type = kernel_type(loop);
    const fa_row_kernels *kernels = type == 'd' ? &fa_current_isa->rows_f64 : &fa_current_isa->rows_f32;
    const bool logarithmic = loop->function == FA_LOG_SOFTMAX;
    void (*forward)(size_t, const void *, double, void *) = logarithmic ? kernels->log_softmax : kernels->softmax;
    void (*backward)(size_t, const void *, const void *, double, void *) =
        logarithmic ? kernels->log_softmax_backward : kernels->softmax_backward;
    double scale = 1;
    if (loop->masked) {
        char *given = element(j, j->scale, row, 0);
        scale = type == 'd' ? *(double *)given : *(float *)given;
    }
    const double nothing = logarithmic ? -INFINITY : 0; /* the output of an excluded element */
    char *x = operands[loop->input_count - 1], *y = loop->input_count == 1 ? operands[1] : scratch;
    if (loop->masked && loop->input_count == 2)
        apply_mask(j, row, 0, operands[0]);
    if (loop->from_output) {
        y = x;
        if (loop->masked)
            apply_mask(j, row, nothing, y);
    } else if (loop->masked && apply_mask(j, row, scale < 0 ? INFINITY : -INFINITY, x) == 0) {
        fill(j, y, nothing);
    } else {
        forward(j->n, x, scale, y);
    }
    if (loop->input_count == 2)
        backward(j->n, operands[0], y, scale, operands[2]);
}

static void
run_rows(void *context, size_t begin, size_t end)
{
    const job *j = context;
    const fa_row_loop *loop = j->loop;
    const int last = loop->input_count; /* operands of rows: inputs, then the output */
    const size_t row_bytes = j->n * fa_type_size(kernel_type(loop));
    const size_t tile_rows = fa_rows_per_tile(j->n);
    const fa_environment environment = fa_enter();

    char *tiles[MAX_ARRAYS], *scratch = NULL;
    bool staged[MAX_ARRAYS], failed = false;
    for (int k = 0; k <= last; k++) {
        const int operand = k == last ? j->output : k;
        /* A mask is applied in the tile, never in the caller's array; and no kernel works in place. */
        const bool in_place = k < last && j->arrays[operand] == j->arrays[j->output];
        staged[k] = !is_ready(j, operand) || (k < last && (loop->masked || in_place));
        tiles[k] = staged[k] ? malloc(tile_rows * row_bytes + 1) : NULL;
        failed |= staged[k] && tiles[k] == NULL;
    }
    if (last == 2 && !loop->from_output)
        failed |= (scratch = malloc(row_bytes + 1)) == NULL;
    if (failed) { /* a NumPy loop cannot fail, and a wrong result is worse */
        fputs("fastact: out of memory\n", stderr);
        abort();
    }
    for (size_t row = begin; row < end; row += tile_rows) {
        const size_t rows = end - row < tile_rows ? end - row : tile_rows;
        for (int k = 0; k < last; k++)
            if (staged[k])
                move_tile(j, k, row, rows, tiles[k], true);
        for (size_t r = 0; r < rows; r++) {
            char *operands[MAX_ARRAYS];
            for (int k = 0; k <= last; k++)
                operands[k] = staged[k] ? tiles[k] + r * row_bytes : element(j, k == last ? j->output : k, row + r, 0);
            run_row(j, row + r, operands, scratch);
        }
        if (staged[last])
            move_tile(j, j->output, row, rows, tiles[last], false);
    }
    for (int k = 0; k <= last; k++)
        free(tiles[k]);
    free(scratch);
    fa_leave(environment);
}

void
fa_rows(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *steps, void *data)
{
    const fa_row_loop *loop = data;
    const int masked = loop->masked ? 2 : 0, operands = loop->input_count + masked + 1;
    /* Core steps follow the outer ones, for the operands that have a core axis: all but the scale. */
    ptrdiff_t core_steps[MAX_ARRAYS + 2];
    for (int k = 0, next = operands; k < operands; k++)
        core_steps[k] = loop->masked && k == loop->input_count + 1 ? 0 : steps[next++];
    job j = {
        .loop = loop,
        .arrays = arrays,
        .outer_steps = steps,
        .core_steps = core_steps,
        .n = (size_t)dimensions[1],
        .mask = loop->input_count,
        .scale = loop->input_count + 1,
        .output = operands - 1,
    };
    const size_t rows = (size_t)dimensions[0];
    if (rows == 0 || j.n == 0)
        return;
    if (rows > 1 && rows * j.n >= ELEMENTS_WORTH_THREADS)
        fa_parallel_for(run_rows, &j, rows, FA_TILE_ROWS);
    else
        run_rows(&j, 0, rows);
}
