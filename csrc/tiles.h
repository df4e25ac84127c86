/* Tiles: some rows of an array, moved to and from a contiguous buffer of the kernel's type. */
#ifndef FA_TILES_H
#define FA_TILES_H

#include "staging.h"

#include <stdbool.h>

/* Neighbouring rows of an array as NumPy lays them out. */
typedef struct {
    char *first;               /* element 0 of the first row */
    ptrdiff_t row_step, step;  /* bytes from row to row, and from element to element */
    char type;                 /* NumPy's type character */
} fa_row_block;

/* How many rows of n elements a tile takes where they lie across memory, so that every cache line is read once and not
   once for each of its elements: if any array is staged, at most FA_TILE_ROWS. */
enum { FA_TILE_ROWS = 64 };
size_t fa_rows_per_tile(size_t n);

/* The same if none is staged, out of `rows` rows that lie side by side. Elements have `size` bytes, and those of a row
   lie `pitch` bytes apart. A multiple of FA_TILE_ROWS, or all rows. */
size_t fa_rows_per_wide_tile(size_t n, ptrdiff_t pitch, size_t size, size_t rows);

/* How many rows of n elements, one after another, the kernels for a series of them take at once. */
size_t fa_rows_of_series(size_t n, size_t size);

/* rows x n elements between an array and a tile, which holds rows one after another, or columns: interleaved rows. */
void fa_move_tile(const fa_row_block *block, size_t rows, size_t n, char *tile, bool columns, bool into_tile);

/* The same of several blocks, `block_step` bytes apart, each of at least two rows, which stand beside each other in a tile of
   columns. */
void fa_move_blocks(const fa_row_block *first, size_t blocks, ptrdiff_t block_step, size_t rows, size_t n, char *tile,
                    bool into_tile);

/* How many blocks of `rows` rows that lie across memory such a tile takes: 1 where one by itself is wide enough. */
size_t fa_blocks_per_tile(size_t rows, size_t n, size_t size);

#endif
