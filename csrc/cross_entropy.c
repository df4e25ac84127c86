/* softmax_cross_entropy and its gradient: rows of logits go through the kernels while they are in cache, and nothing of
   the arrays' size is kept. Not a NumPy loop: the rows' losses are summed on the way, and a NumPy loop sees only a part
   of the rows at a time. */
#include "fastact.h"
#include "reduce.h"
#include "staging.h"
#include "threads.h"
#include "tiles.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Losses are summed in order within a group of rows, and the groups in pairs; how many rows are a group depends on n
   alone. */
enum {
    ELEMENTS_OF_GROUP = 1 << 15,
    OPERATIONS_OF_ELEMENT = 24, /* in float32; see fa_is_worth_threads */
    OPERATIONS_OF_ROW = 720,
    MAX_GROUP_ROWS = FA_TILE_ROWS,
    LABELS_PER_TASK = 1 << 14,
    LINE_ROWS = 16, /* as in rows.c */
    SHORT_ROW = 128, /* elements; shorter ones are turned into columns */
    SHORT_ROW_OF_SERIES = 8,
};

typedef struct {
    const fa_cross_entropy *call;
    /* The axes that number the rows, those merged that are one for every array. */
    int dimensions;
    size_t shape[FA_MAX_DIMENSIONS];
    fa_row_array logits, targets, output, dy;
    size_t rows, group_rows;
    bool columns; /* how tiles lie: kernels then run across their rows */
    double *group_sums;
    int out_of_memory;
} job;

typedef struct {
    job job;
    size_t counted, first_bad;
} label_check;

/* Take over the arrays, and merge axes: long runs of evenly spaced rows make full tiles. */
static job
prepare(const fa_cross_entropy *call)
{
    job j = {.call = call, .logits = call->logits, .targets = call->targets, .output = call->output, .dy = call->dy};
    fa_row_array *arrays[] = {&j.logits, &j.targets, &j.output, &j.dy};
    const size_t count = sizeof arrays / sizeof *arrays;
    j.rows = 1;
    for (int d = 0; d < call->dimensions; d++) {
        const size_t length = call->shape[d];
        j.rows *= length;
        if (length == 1)
            continue;
        bool merged = j.dimensions > 0;
        for (size_t k = 0; merged && k < count; k++)
            merged = arrays[k]->strides[j.dimensions - 1] == arrays[k]->strides[d] * (ptrdiff_t)length;
        const int place = merged ? j.dimensions - 1 : j.dimensions++;
        j.shape[place] = merged ? j.shape[place] * length : length;
        for (size_t k = 0; k < count; k++)
            arrays[k]->strides[place] = arrays[k]->strides[d];
    }
    if (j.dimensions == 0) {
        j.shape[0] = 1;
        j.dimensions = 1;
    }
    return j;
}

/* Rows of an array from `row` on, in a run along the last axis. */
static fa_row_block
rows_from(const job *j, const fa_row_array *array, size_t row)
{
    const int last = j->dimensions - 1;
    fa_row_block block = {array->data, array->strides[last], array->step, array->type};
    for (int d = last; d >= 0; d--) {
        block.first += (ptrdiff_t)(row % j->shape[d]) * array->strides[d];
        row /= j->shape[d];
    }
    return block;
}

/* Rows up to the end of that run. */
static size_t
rows_left(const job *j, size_t row)
{
    const size_t length = j->shape[j->dimensions - 1];
    return length - row % length;
}

#define LABEL_OF_TYPE(character, T) \
    case character: { \
        T label; \
        memcpy(&label, place, sizeof label); \
        const uint64_t magnitude = label > 0 ? (uint64_t)label : 0; \
        return magnitude > INT64_MAX ? INT64_MAX : (int64_t)label; \
    }

/* A label of any integer type. What int64 cannot hold becomes its largest number, which is no class. */
static int64_t
read_label(const char *place, char type)
{
    switch (type) {
        LABEL_OF_TYPE('b', signed char)
        LABEL_OF_TYPE('B', unsigned char)
        LABEL_OF_TYPE('h', short)
        LABEL_OF_TYPE('H', unsigned short)
        LABEL_OF_TYPE('i', int)
        LABEL_OF_TYPE('I', unsigned)
        LABEL_OF_TYPE('l', long)
        LABEL_OF_TYPE('L', unsigned long)
        LABEL_OF_TYPE('q', long long)
        LABEL_OF_TYPE('Q', unsigned long long)
    default:
        return INT64_MAX;
    }
}

static void
check_labels(void *context, size_t begin, size_t end)
{
    label_check *check = context;
    const job *j = &check->job;
    size_t counted = 0, first_bad = SIZE_MAX;
    for (size_t row = begin, run; row < end; row += run) {
        const fa_row_block labels = rows_from(j, &j->targets, row);
        run = rows_left(j, row) < end - row ? rows_left(j, row) : end - row;
        for (size_t r = 0; r < run; r++) {
            const int64_t label = read_label(labels.first + (ptrdiff_t)r * labels.row_step, labels.type);
            const bool counts = label != j->call->ignore_index;
            counted += counts;
            if (counts && (uint64_t)label >= j->call->n && first_bad == SIZE_MAX)
                first_bad = row + r;
        }
    }
    __atomic_fetch_add(&check->counted, counted, __ATOMIC_RELAXED);
    size_t seen = __atomic_load_n(&check->first_bad, __ATOMIC_RELAXED);
    while (first_bad < seen &&
           !__atomic_compare_exchange_n(&check->first_bad, &seen, first_bad, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

size_t
fa_check_labels(const fa_cross_entropy *call, size_t *counted)
{
    label_check check = {.job = prepare(call)};
    check.first_bad = check.job.rows;
    fa_parallel_for(check_labels, &check, check.job.rows, LABELS_PER_TASK);
    *counted = check.counted;
    return check.first_bad;
}

/* Whether kernels can run on `rows` rows of an array as they are. */
static bool
is_ready(const job *j, const fa_row_array *array, char kernel, size_t rows)
{
    const ptrdiff_t size = (ptrdiff_t)fa_type_size(kernel), row_step = array->strides[j->dimensions - 1];
    ptrdiff_t misaligned = (ptrdiff_t)((size_t)array->data % (size_t)size) | array->step % size;
    for (int d = 0; d < j->dimensions; d++)
        misaligned |= array->strides[d] % size;
    if (array->type != kernel || misaligned != 0)
        return false;
    return j->columns ? row_step == size && rows >= LINE_ROWS : array->step == size;
}

/* Probabilities of the other precision than the logits. */
static void
convert(size_t n, const void *from, void *to, char to_type)
{
    for (size_t i = 0; i < n; i++)
        if (to_type == 'd')
            ((double *)to)[i] = ((const float *)from)[i];
        else
            ((float *)to)[i] = (float)((const double *)from)[i];
}

static double
read_number(const char *place, char type)
{
    union { float f; double d; } number;
    fa_gather(1, place, 0, type, &number, fa_kernel_type(type));
    return fa_kernel_type(type) == 'd' ? number.d : number.f;
}

static void
write_number(char *place, char type, double value)
{
    const float narrow = (float)value;
    const char kernel = fa_kernel_type(type);
    fa_scatter(1, place, 0, type, kernel == 'd' ? (const void *)&value : (const void *)&narrow, kernel);
}

/* The memory of a task. */
typedef struct {
    char *logits, *targets, *converted, *output; /* tiles; NULL where the array itself is used */
    char *scratch;                               /* what kernels for columns need */
    size_t *labels;                              /* of a tile's rows */
    double *numbers;                             /* the rows' factors, or losses */
    bool *counts;
} buffers;

/* Rows as a kernel gets them, in an array or in a tile. */
typedef struct {
    char *first;
    ptrdiff_t row_step; /* bytes from row to row */
    ptrdiff_t pitch;    /* elements from element to element of a row */
} operand;

static operand
operand_of(const job *j, const fa_row_block *block, char *tile, size_t rows, char kernel)
{
    const ptrdiff_t size = (ptrdiff_t)fa_type_size(kernel);
    if (tile == NULL)
        return (operand){block->first, block->row_step, j->columns ? block->step / size : 1};
    return (operand){tile, j->columns ? size : (ptrdiff_t)j->call->n * size, j->columns ? (ptrdiff_t)rows : 1};
}

/* Whether there are kernels for a series of rows, one after another. */
static bool
has_series(const fa_cross_entropy *call)
{
    return call->has_labels && call->n > 1 && (call->backward || call->smoothing == 0);
}

/* Rows of one run, at most a tile of them; in columns all at once, in a series several. */
static void
run_tile(job *j, const buffers *b, size_t first, size_t rows)
{
    const fa_cross_entropy *call = j->call;
    const char kernel = fa_kernel_type(j->logits.type);
    const fa_isa *isa = fa_current_isa;
    const fa_loss_kernel *row_loss = kernel == 'd' ? &isa->row_loss_f64 : &isa->row_loss_f32;
    const fa_loss_kernel *column_loss = kernel == 'd' ? &isa->column_loss_f64 : &isa->column_loss_f32;
    const fa_loss_kernel *series_loss = kernel == 'd' ? &isa->series_loss_f64 : &isa->series_loss_f32;
    const size_t n = call->n, size = fa_type_size(kernel);
    const fa_row_block logits = rows_from(j, &j->logits, first), given = rows_from(j, &j->targets, first),
                       output = rows_from(j, &j->output, first), dy = rows_from(j, &j->dy, first);
    const operand x = operand_of(j, &logits, b->logits, rows, kernel);
    const operand dx = operand_of(j, &output, b->output, rows, kernel);
    const operand p = operand_of(j, &given, b->converted ? b->converted : b->targets, rows, kernel);
    if (b->logits != NULL)
        fa_move_tile(&logits, rows, n, b->logits, j->columns, true);
    if (b->targets != NULL)
        fa_move_tile(&given, rows, n, b->targets, j->columns, true);
    if (b->converted != NULL)
        convert(rows * n, b->targets, b->converted, kernel);
    size_t *labels = b->labels;
    double *numbers = b->numbers;
    bool *counts = b->counts;
    for (size_t r = 0; r < rows; r++) {
        labels[r] = 0;
        counts[r] = n > 0;
        if (call->has_labels) {
            const int64_t label = read_label(given.first + (ptrdiff_t)r * given.row_step, given.type);
            /* Labels have been checked, but another Python thread may write them since. */
            counts[r] = label != call->ignore_index && (uint64_t)label < n;
            labels[r] = counts[r] ? (size_t)label : 0;
        }
        if (call->backward) {
            const double own = dy.first == NULL ? 1 : read_number(dy.first + (ptrdiff_t)r * dy.row_step, dy.type);
            numbers[r] = call->factor * own;
        }
    }
    const size_t most = j->columns ? rows : n > 0 && has_series(call) ? fa_rows_of_series(n, size) : 1;
    for (size_t r = 0, width; n > 0 && r < rows; r += width) {
        width = rows - r < most ? rows - r : most;
        if (width == 1 && !counts[r])
            continue;
        const bool in_series = !j->columns && width > 1;
        const fa_loss_kernel *loss = j->columns ? column_loss : in_series ? series_loss : row_loss;
        const ptrdiff_t row = (ptrdiff_t)r;
        const ptrdiff_t x_pitch = in_series ? x.row_step / (ptrdiff_t)size : x.pitch;
        const ptrdiff_t dx_pitch = in_series ? dx.row_step / (ptrdiff_t)size : dx.pitch;
        const char *probabilities = call->has_labels ? NULL : p.first + row * p.row_step;
        const fa_targets targets = {probabilities, p.pitch, labels + r, call->smoothing};
        if (call->backward)
            loss->backward(n, width, x.first + row * x.row_step, x_pitch, &targets, numbers + r,
                           dx.first + row * dx.row_step, dx_pitch, b->scratch);
        else
            loss->forward(n, width, x.first + row * x.row_step, x_pitch, &targets, numbers + r, b->scratch);
    }
    for (size_t r = 0; r < rows; r++) {
        if (!call->backward) {
            const double own_loss = counts[r] ? numbers[r] : 0;
            j->group_sums[(first + r) / j->group_rows] += own_loss;
            if (output.first != NULL)
                write_number(output.first + (ptrdiff_t)r * output.row_step, output.type, own_loss);
        } else if (!counts[r]) {
            for (size_t i = 0; i < n; i++)
                memset(dx.first + (ptrdiff_t)r * dx.row_step + (ptrdiff_t)(i * size) * dx.pitch, 0, size);
        }
    }
    if (b->output != NULL)
        fa_move_tile(&output, rows, n, b->output, j->columns, false);
}

/* Which of the arrays go through buffers, in the order of `buffers`, if tiles have `rows` rows. */
enum { STAGED = 4 };
static bool
find_staged(const job *j, size_t rows, bool *staged)
{
    const char kernel = fa_kernel_type(j->logits.type);
    const bool has_labels = j->call->has_labels, converts = !has_labels && fa_kernel_type(j->targets.type) != kernel;
    staged[0] = !is_ready(j, &j->logits, kernel, rows) || (j->call->backward && j->logits.data == j->output.data);
    staged[1] = converts || (!has_labels && !is_ready(j, &j->targets, kernel, rows));
    staged[2] = converts;
    staged[3] = j->call->backward && !is_ready(j, &j->output, kernel, rows);
    return staged[0] || staged[1] || staged[3];
}

static size_t
rows_of_a_tile(const job *j, size_t rows)
{
    bool staged[STAGED];
    const size_t run = j->shape[j->dimensions - 1], most = run < rows ? run : rows;
    const size_t size = fa_type_size(fa_kernel_type(j->logits.type));
    const size_t wide = fa_rows_per_wide_tile(j->call->n, j->logits.step, size, most);
    return j->columns && !find_staged(j, wide, staged) ? wide : fa_rows_per_tile(j->call->n);
}

static void
run_rows(void *context, size_t begin, size_t end)
{
    job *j = context;
    const fa_cross_entropy *call = j->call;
    const size_t tile_rows = rows_of_a_tile(j, end - begin), tile_bytes = tile_rows * call->n * sizeof(double);
    bool staged[STAGED], failed = false;
    find_staged(j, tile_rows, staged);
    buffers b = {
        .scratch = malloc(j->columns ? tile_rows * FA_SCRATCH_OF_ROW + FA_SCRATCH_MORE : 1),
        .labels = malloc(tile_rows * sizeof *b.labels),
        .numbers = malloc(tile_rows * sizeof *b.numbers),
        .counts = malloc(tile_rows * sizeof *b.counts),
    };
    char **tiles[STAGED] = {&b.logits, &b.targets, &b.converted, &b.output};
    for (int k = 0; k < STAGED; k++) {
        *tiles[k] = staged[k] ? malloc(tile_bytes + 1) : NULL;
        failed |= staged[k] && *tiles[k] == NULL;
    }
    failed |= b.scratch == NULL || b.labels == NULL || b.numbers == NULL || b.counts == NULL;
    if (failed) {
        __atomic_store_n(&j->out_of_memory, 1, __ATOMIC_RELAXED);
    } else {
        const fa_environment environment = fa_enter();
        for (size_t row = begin, rows; row < end; row += rows) {
            rows = rows_left(j, row) < end - row ? rows_left(j, row) : end - row;
            rows = rows < tile_rows ? rows : tile_rows;
            run_tile(j, &b, row, rows);
        }
        fa_leave(environment);
    }
    for (int k = 0; k < STAGED; k++)
        free(*tiles[k]);
    free(b.scratch);
    free(b.labels);
    free(b.numbers);
    free(b.counts);
}

int
fa_softmax_cross_entropy(fa_cross_entropy *call)
{
    job j = prepare(call);
    call->sum = 0;
    if (j.rows == 0)
        return 0;
    const ptrdiff_t row_step = llabs(j.logits.strides[j.dimensions - 1]);
    const bool runs = j.shape[j.dimensions - 1] > 1;
    const size_t short_row = has_series(call) ? SHORT_ROW_OF_SERIES : SHORT_ROW;
    j.columns = runs && call->n > 0 && (row_step < llabs(j.logits.step) || call->n < short_row);
    j.group_rows = MAX_GROUP_ROWS;
    while (j.group_rows > 1 && j.group_rows * call->n > ELEMENTS_OF_GROUP)
        j.group_rows /= 2;
    const size_t groups = (j.rows + j.group_rows - 1) / j.group_rows;
    j.group_sums = call->backward ? NULL : calloc(groups, sizeof *j.group_sums);
    if (!call->backward && j.group_sums == NULL)
        return -1;
    /* Tiles of columns are no narrower for threads, and wide ones as wide as they can be; groups are not split. */
    const size_t threads = (size_t)fa_get_num_threads();
    const size_t share = (j.rows / threads / FA_TILE_ROWS + 1) * FA_TILE_ROWS;
    const size_t tile_rows = rows_of_a_tile(&j, share);
    const size_t whole_tile_rows = (tile_rows + FA_TILE_ROWS - 1) / FA_TILE_ROWS * FA_TILE_ROWS;
    const size_t grain = j.columns ? whole_tile_rows : j.group_rows;
    const size_t of_element = OPERATIONS_OF_ELEMENT * (fa_kernel_type(j.logits.type) == 'd' ? 3 : 1);
    if (fa_is_worth_threads(j.rows, call->n * of_element + OPERATIONS_OF_ROW))
        fa_parallel_for(run_rows, &j, j.rows, grain);
    else
        run_rows(&j, 0, j.rows);
    fa_has_run();
    if (!call->backward)
        call->sum = fa_pairwise_sum(j.group_sums, groups, 1);
    free(j.group_sums);
    return j.out_of_memory ? -1 : 0;
}
