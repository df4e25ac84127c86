/* The inner loop of NAME_parameter_backward: an elementwise kernel whose first outputs are arrays (dx), and whose last
   outputs, the parameters' gradients, are summed over the core axis on the way, without being stored. */
#include "reduce.h"
#include "fastact.h"
#include "staging.h"
#include "threads.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The tree of the sum: lanes within a block, blocks in pairs. It depends on n alone. */
enum { BLOCK = 512, LANES = 16 };

/* Outer indices that are computed side by side where their elements are neighbours in memory. */
enum { COLUMNS = 64 };

typedef struct {
    fa_function kernel;
    const fa_loop *loop;
    char **arrays;
    const ptrdiff_t *outer_steps, *core_steps; /* parameters and their gradients have no core step */
    int arrays_in, arrays_out, parameters;     /* operands with a core axis; parameters = summed outputs */
    size_t outer, n, blocks;
    double *block_sums; /* [outer][block][parameter] */
} job;

static double
block_sum(size_t n, const void *terms, char type)
{
    double lanes[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lanes[i % LANES] += type == 'f' ? ((const float *)terms)[i] : ((const double *)terms)[i];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++)
            lanes[k] += lanes[k + half];
    return lanes[0];
}

double
fa_pairwise_sum(const double *terms, size_t count, size_t stride)
{
    if (count == 1)
        return terms[0];
    const size_t half = count / 2;
    return fa_pairwise_sum(terms, half, stride) + fa_pairwise_sum(terms + half * stride, count - half, stride);
}

/* Work item i is block i % blocks of outer index i / blocks. */
static void
run_blocks(void *context, size_t begin, size_t end)
{
    const job *j = context;
    const char type = fa_kernel_type(j->loop->kernel->type), *types = j->loop->types;
    const int inputs = j->arrays_in + j->parameters, first_sum = inputs + j->arrays_out;
    const int count = first_sum + j->parameters;
    _Alignas(64) char buffers[FA_MAX_OPERANDS][BLOCK * sizeof(double)];
    void *pointers[FA_MAX_OPERANDS];
    const fa_environment environment = fa_enter();
    for (int k = 0; k < count; k++)
        pointers[k] = buffers[k];
    for (size_t item = begin; item < end; item++) {
        const ptrdiff_t outer = (ptrdiff_t)(item / j->blocks), first = (ptrdiff_t)(item % j->blocks * BLOCK);
        const size_t left = j->n - (size_t)first, n = left < BLOCK ? left : BLOCK;
        for (int k = 0; k < inputs; k++) {
            const ptrdiff_t step = k < j->arrays_in ? j->core_steps[k] : 0;
            fa_gather(n, j->arrays[k] + outer * j->outer_steps[k] + first * step, step, types[k], buffers[k], type);
        }
        fa_call(j->kernel, n, count, pointers);
        for (int k = inputs; k < first_sum; k++) {
            const ptrdiff_t step = j->core_steps[k - j->parameters];
            fa_scatter(n, j->arrays[k] + outer * j->outer_steps[k] + first * step, step, types[k], buffers[k], type);
        }
        for (int p = 0; p < j->parameters; p++)
            j->block_sums[item * (size_t)j->parameters + (size_t)p] = block_sum(n, buffers[first_sum + p], type);
    }
    fa_leave(environment);
}

/* Elements of `rows` core and `width` outer indices between an operand with a core axis and a buffer, row by row. */
static void
move_rows(const job *j, int operand, size_t column, size_t row, size_t rows, size_t width, char *buffer, char type,
          bool into_buffer)
{
    const ptrdiff_t core_step = j->core_steps[operand < j->arrays_in ? operand : operand - j->parameters];
    const ptrdiff_t step = j->outer_steps[operand];
    char *array = j->arrays[operand] + (ptrdiff_t)column * step + (ptrdiff_t)row * core_step;
    for (size_t r = 0; r < rows; r++, array += core_step, buffer += width * fa_type_size(type)) {
        if (into_buffer)
            fa_gather(width, array, step, j->loop->types[operand], buffer, type);
        else
            fa_scatter(width, array, step, j->loop->types[operand], buffer, type);
    }
}

static void
add_terms(size_t n, const void *terms, char type, double *lanes)
{
    for (size_t i = 0; i < n; i++)
        lanes[i] += type == 'f' ? ((const float *)terms)[i] : ((const double *)terms)[i];
}

/* The same sums where the core axis strides across memory, as that of a gradient summed over the rows of a matrix: work
   item i is block i % blocks of COLUMNS outer indices. LANES rows are computed at once, so each row is a lane. */
static void
run_columns(void *context, size_t begin, size_t end)
{
    const job *j = context;
    const char type = fa_kernel_type(j->loop->kernel->type);
    const int inputs = j->arrays_in + j->parameters, first_sum = inputs + j->arrays_out;
    const int count = first_sum + j->parameters;
    _Alignas(64) char buffers[FA_MAX_OPERANDS][LANES * COLUMNS * sizeof(double)];
    double lanes[FA_MAX_OPERANDS / 2][LANES * COLUMNS];
    void *pointers[FA_MAX_OPERANDS];
    const fa_environment environment = fa_enter();
    for (int k = 0; k < count; k++)
        pointers[k] = buffers[k];
    for (size_t item = begin; item < end; item++) {
        const size_t column = item / j->blocks * COLUMNS, block = item % j->blocks, first = block * BLOCK;
        const size_t width = j->outer - column < COLUMNS ? j->outer - column : COLUMNS;
        const size_t length = j->n - first < BLOCK ? j->n - first : BLOCK;
        memset(lanes, 0, (size_t)j->parameters * sizeof lanes[0]);
        for (int k = j->arrays_in; k < inputs; k++) {
            const ptrdiff_t step = j->outer_steps[k];
            for (size_t r = 0; r < LANES; r++)
                fa_gather(width, j->arrays[k] + (ptrdiff_t)column * step, step, j->loop->types[k],
                          buffers[k] + r * width * fa_type_size(type), type);
        }
        for (size_t row = 0; row < length; row += LANES) {
            const size_t rows = length - row < LANES ? length - row : LANES;
            for (int k = 0; k < j->arrays_in; k++)
                move_rows(j, k, column, first + row, rows, width, buffers[k], type, true);
            fa_call(j->kernel, rows * width, count, pointers);
            for (int k = inputs; k < first_sum; k++)
                move_rows(j, k, column, first + row, rows, width, buffers[k], type, false);
            for (int p = 0; p < j->parameters; p++)
                add_terms(rows * width, buffers[first_sum + p], type, lanes[p]);
        }
        for (int p = 0; p < j->parameters; p++) {
            for (size_t half = LANES / 2; half > 0; half /= 2)
                add_terms(half * width, lanes[p] + half * width, 'd', lanes[p]);
            for (size_t c = 0; c < width; c++)
                j->block_sums[((column + c) * j->blocks + block) * (size_t)j->parameters + (size_t)p] = lanes[p][c];
        }
    }
    fa_leave(environment);
}

/* Whether neighbours along the outer axis lie nearer to each other than those along the core axis. */
static bool
is_in_columns(const job *j)
{
    int nearer = 0;
    for (int k = 0; k < j->arrays_in; k++)
        nearer += labs(j->outer_steps[k]) < labs(j->core_steps[k]) ? 1 : -1;
    return j->outer > 1 && nearer > 0;
}

void
fa_parameter_backward(char **arrays, const ptrdiff_t *dimensions, const ptrdiff_t *steps, void *data)
{
    const fa_loop *loop = data;
    const fa_kernel *kernel = loop->kernel;
    const size_t outer = (size_t)dimensions[0], n = (size_t)dimensions[1];
    const int parameters = kernel->parameter_count, operands = kernel->input_count + kernel->output_count;
    job j = {
        .kernel = fa_implementation(loop),
        .loop = loop,
        .arrays = arrays,
        .outer_steps = steps,
        .core_steps = steps + operands,
        .arrays_in = kernel->input_count - parameters,
        .arrays_out = kernel->output_count - parameters,
        .parameters = parameters,
        .outer = outer,
        .n = n,
        .blocks = (n + BLOCK - 1) / BLOCK,
    };
    const size_t items = outer * j.blocks;
    j.block_sums = malloc((items ? items : 1) * (size_t)parameters * sizeof(double));
    if (j.block_sums == NULL) { /* a NumPy loop cannot fail, and a wrong gradient is worse */
        fputs("fastact: out of memory\n", stderr);
        abort();
    }
    if (is_in_columns(&j))
        fa_parallel_for(run_columns, &j, (outer + COLUMNS - 1) / COLUMNS * j.blocks, 1);
    else
        fa_parallel_for(run_blocks, &j, items, 4);
    const fa_environment environment = fa_enter();
    for (size_t i = 0; i < outer; i++)
        for (int p = 0; p < parameters; p++) {
            const int operand = kernel->input_count + j.arrays_out + p;
            char *target = arrays[operand] + (ptrdiff_t)i * steps[operand];
            const double *sums = j.block_sums + i * j.blocks * (size_t)parameters + (size_t)p;
            const double sum = j.blocks ? fa_pairwise_sum(sums, j.blocks, (size_t)parameters) : 0;
            const float narrow = (float)sum;
            const void *value = loop->types[operand] == 'd' ? (const void *)&sum : (const void *)&narrow;
            fa_scatter(1, target, 0, loop->types[operand], value, loop->types[operand]);
        }
    fa_leave(environment);
    free(j.block_sums);
}
