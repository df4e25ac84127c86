#include "tiles.h"
#include "fastact.h"

#include <stdlib.h>
#include <string.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

enum { MAX_ELEMENTS = 1 << 21 }; /* of a buffer */

/* A tile of FA_TILE_ROWS stays in cache between the passes over it if its columns have up to SHORT_COLUMN elements; or
   up to MIDDLE_COLUMN, unless they lie a multiple of FA_FEW_SETS bytes apart. */
enum { SHORT_COLUMN = 128, MIDDLE_COLUMN = 512 };

/* What does not stay in cache is best read in long runs, or without gaps: in between, what the processor fetches ahead
   is of no use, and all the more of it the wider a tile is. */
enum { LONG_RUN = 1024, WIDE_TILE = 2048 };

/* Bytes of a tile of columns whose lanes are in registers, so that it needs little other memory: in the second-level cache
   it leaves room for other arrays, and is read in runs of some length. */
enum { SHORT_TILE = 1 << 16 };

/* Up to NARROW columns beside each other leave vectors empty, and every tile has a price of its own: columns of up to
   GATHERED_COLUMN bytes are put beside those of other blocks. */
enum { NARROW = 16, GATHERED_COLUMN = 256, GATHERED_TILE = 1 << 14, MOST_GATHERED = 256 };

size_t
fa_blocks_per_tile(size_t rows, size_t n, size_t size)
{
    if (rows > NARROW || n * size > GATHERED_COLUMN)
        return 1;
    const size_t fit = GATHERED_TILE / (n * size);
    return (fit < MOST_GATHERED ? fit : MOST_GATHERED) / rows;
}

size_t
fa_rows_per_tile(size_t n)
{
    const size_t most = MAX_ELEMENTS / (n ? n : 1);
    return most < 1 ? 1 : most < FA_TILE_ROWS ? most : FA_TILE_ROWS;
}

size_t
fa_rows_of_series(size_t n, size_t size)
{
    const size_t most = FA_SERIES_BYTES / (n * size);
    return most < 1 ? 1 : most < FA_SERIES ? most : FA_SERIES;
}

size_t
fa_rows_per_wide_tile(size_t n, ptrdiff_t pitch, size_t size, size_t rows)
{
    const bool collides = pitch % FA_FEW_SETS == 0, has_gaps = pitch != (ptrdiff_t)(rows * size);
    const bool stays = n <= (collides ? SHORT_COLUMN : MIDDLE_COLUMN);
    if (n > 0 && n * size <= FA_SHORT_COLUMN_BYTES) {
        const size_t fit = SHORT_TILE / (n * size), most = fit < WIDE_TILE ? fit : WIDE_TILE;
        const size_t width = (most + FA_TILE_ROWS - 1) / FA_TILE_ROWS * FA_TILE_ROWS;
        return width < rows ? width : rows;
    }
    if (stays || (!collides && has_gaps && rows < LONG_RUN))
        return rows < FA_TILE_ROWS ? rows : FA_TILE_ROWS;
    const size_t tiles = (rows + WIDE_TILE - 1) / WIDE_TILE, even = (rows + tiles - 1) / tiles;
    const size_t width = (even + FA_TILE_ROWS - 1) / FA_TILE_ROWS * FA_TILE_ROWS;
    return width < rows ? width : rows;
}

/* to[j][i] = from[i][j]; the steps are bytes from row to row. */
#define TRANSPOSE(T) \
    do { \
        for (size_t i = 0; i < rows; i++) \
            for (size_t j = 0; j < columns; j++) \
                memcpy(to + (ptrdiff_t)j * to_step + i * sizeof(T), from + (ptrdiff_t)i * from_step + j * sizeof(T), \
                       sizeof(T)); \
    } while (0)

static inline void
transpose_block(size_t rows, size_t columns, const char *from, ptrdiff_t from_step, char *to, ptrdiff_t to_step,
                size_t size)
{
    if (size == sizeof(float))
        TRANSPOSE(float);
    else
        TRANSPOSE(double);
}

enum { BLOCK = 4 };

static inline void
transpose_floats(const char *from, ptrdiff_t from_step, char *to, ptrdiff_t to_step)
{
#if defined(__SSE__)
    __m128 lines[BLOCK];
    for (int i = 0; i < BLOCK; i++)
        lines[i] = _mm_loadu_ps((const float *)(from + i * from_step));
    _MM_TRANSPOSE4_PS(lines[0], lines[1], lines[2], lines[3]);
    for (int i = 0; i < BLOCK; i++)
        _mm_storeu_ps((float *)(to + i * to_step), lines[i]);
#else
    transpose_block(BLOCK, BLOCK, from, from_step, to, to_step, sizeof(float));
#endif
}

static void
transpose(size_t rows, size_t columns, const char *from, ptrdiff_t from_step, char *to, ptrdiff_t to_step, size_t size)
{
    for (size_t j = 0; j < columns; j += BLOCK)
        for (size_t i = 0; i < rows; i += BLOCK) {
            const size_t height = rows - i < BLOCK ? rows - i : BLOCK;
            const size_t width = columns - j < BLOCK ? columns - j : BLOCK;
            const char *source = from + (ptrdiff_t)i * from_step + j * size;
            char *target = to + (ptrdiff_t)j * to_step + i * size;
            if (size != sizeof(float) || height < BLOCK || width < BLOCK)
                transpose_block(height, width, source, from_step, target, to_step, size);
            else
                transpose_floats(source, from_step, target, to_step);
        }
}

/* Fetch some lines of an array, which are too far apart for the processor to foresee them. */
static inline void
prefetch_lines(size_t lines, const char *first, ptrdiff_t line_step, size_t bytes)
{
    for (size_t k = 0; k < lines; k++, first += line_step)
        for (size_t at = 0; at < bytes; at += FA_LINE)
            __builtin_prefetch(first + at);
}

/* Where array and tile do not run the same way, blocks of TURNED_LINES times TURNED elements are transposed, by way of
   a buffer if the array's are not as the kernels take them. */
enum { TURNED_LINES = 16, TURNED = 64 };

void
fa_move_tile(const fa_row_block *block, size_t rows, size_t n, char *tile, bool columns, bool into_tile)
{
    const char type = block->type, kernel = fa_kernel_type(type);
    const size_t size = fa_type_size(kernel);
    /* The array's lines run along its smaller stride, whether they are rows or not. */
    const bool along_rows = rows == 1 || (n > 1 && llabs(block->step) <= llabs(block->row_step));
    const ptrdiff_t step = along_rows ? block->step : block->row_step;
    const ptrdiff_t line_step = along_rows ? block->row_step : block->step;
    const size_t lines = along_rows ? rows : n, length = along_rows ? n : rows;
    const ptrdiff_t tile_step = (ptrdiff_t)((columns ? rows : n) * size);
    if (along_rows != columns) {
        for (size_t line = 0; line < lines; line++) {
            char *array = block->first + (ptrdiff_t)line * line_step, *buffer = tile + (ptrdiff_t)line * tile_step;
            if (into_tile)
                fa_gather(length, array, step, type, buffer, kernel);
            else
                fa_scatter(length, array, step, type, buffer, kernel);
        }
        return;
    }
    _Alignas(64) char buffer[TURNED_LINES * TURNED * sizeof(double)];
    const bool is_ready = type == kernel && step == (ptrdiff_t)size;
    /* Short lines without gaps between them are converted as one. */
    const bool is_gapless = length <= TURNED && line_step == (ptrdiff_t)length * step;
    const size_t buffer_step = is_gapless ? length : TURNED;
    for (size_t line = 0; line < lines; line += TURNED_LINES) {
        const size_t height = lines - line < TURNED_LINES ? lines - line : TURNED_LINES;
        for (size_t i = 0; i < length; i += TURNED) {
            const size_t width = length - i < TURNED ? length - i : TURNED;
            char *array = block->first + (ptrdiff_t)line * line_step + (ptrdiff_t)i * step;
            char *place = tile + (ptrdiff_t)i * tile_step + line * size;
            char *turned = is_ready ? array : buffer;
            if (is_ready && line + 2 * TURNED_LINES <= lines)
                prefetch_lines(TURNED_LINES, array + TURNED_LINES * line_step, line_step, width * size);
            const ptrdiff_t turned_step = is_ready ? line_step : (ptrdiff_t)(buffer_step * size);
            const size_t parts = is_ready ? 0 : is_gapless ? 1 : height, part = is_gapless ? height * width : width;
            for (size_t k = 0; into_tile && k < parts; k++)
                fa_gather(part, array + (ptrdiff_t)k * line_step, step, type, buffer + k * TURNED * size, kernel);
            if (into_tile)
                transpose(height, width, turned, turned_step, place, tile_step, size);
            else
                transpose(width, height, place, tile_step, turned, turned_step, size);
            for (size_t k = 0; !into_tile && k < parts; k++)
                fa_scatter(part, array + (ptrdiff_t)k * line_step, step, type, buffer + k * TURNED * size, kernel);
        }
    }
}

/* A run of elements, of 8 bytes at least, by pieces of which the last two may overlap: for a few the C library's memcpy is
   slow. */
static inline void
copy_run(const char *from, char *to, size_t bytes)
{
    enum { WORD = 8, PIECE = 16 };
    if (bytes > PIECE) {
        for (size_t done = 0; done < bytes - PIECE; done += PIECE)
            memcpy(to + done, from + done, PIECE);
        memcpy(to + bytes - PIECE, from + bytes - PIECE, PIECE);
    } else {
        memcpy(to, from, WORD);
        memcpy(to + bytes - WORD, from + bytes - WORD, WORD);
    }
}

#define COPY_RUNS(bytes) \
    for (size_t i = 0; i < n; i++, from += from_step, to += to_step) \
        copy_run(from, to, bytes)

/* n runs; those whose length the compiler knows take half the time. */
static void
copy_runs(size_t n, const char *from, ptrdiff_t from_step, char *to, ptrdiff_t to_step, size_t bytes)
{
    switch (bytes) {
    case 8: COPY_RUNS(8); break;
    case 12: COPY_RUNS(12); break;
    case 16: COPY_RUNS(16); break;
    case 24: COPY_RUNS(24); break;
    case 32: COPY_RUNS(32); break;
    case 64: COPY_RUNS(64); break;
    case 128: COPY_RUNS(128); break;
    default: COPY_RUNS(bytes);
    }
}
#undef COPY_RUNS

void
fa_move_blocks(const fa_row_block *first, size_t blocks, ptrdiff_t block_step, size_t rows, size_t n, char *tile,
               bool into_tile)
{
    const char type = first->type, kernel = fa_kernel_type(type);
    const size_t size = fa_type_size(kernel), run = rows * size;
    const ptrdiff_t pitch = (ptrdiff_t)(blocks * run);
    const bool is_ready = type == kernel && first->row_step == (ptrdiff_t)size;
    for (size_t block = 0; block < blocks; block++) {
        char *array = first->first + (ptrdiff_t)block * block_step, *column = tile + block * run;
        if (is_ready && into_tile)
            copy_runs(n, array, first->step, column, pitch, run);
        else if (is_ready)
            copy_runs(n, column, pitch, array, first->step, run);
        for (size_t i = 0; !is_ready && i < n; i++, array += first->step, column += pitch) {
            if (into_tile)
                fa_gather(rows, array, first->row_step, type, column, kernel);
            else
                fa_scatter(rows, array, first->row_step, type, column, kernel);
        }
    }
}
