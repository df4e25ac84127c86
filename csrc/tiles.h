/* Tiles: some rows of an array, moved to and from a contiguous buffer of the kernel's type. */
#ifndef FA_TILES_H
#define FA_TILES_H

#include "staging.h"

#include <stdbool.h>

/* Rows that are staged go in tiles, so that along a first axis every cache line is read once and not once for each of
   its elements; a tile holds at most FA_TILE_ELEMENTS, or one row. */
enum { FA_TILE_ROWS = 16, FA_TILE_ELEMENTS = 1 << 18 };

/* Neighbouring rows of an array as NumPy lays them out. */
typedef struct {
    char *first;               /* element 0 of the first row */
    ptrdiff_t row_step, step;  /* bytes from row to row, and from element to element */
    char type;                 /* NumPy's type character */
} fa_row_block;

/* What the rows of a type are computed in: 'f' or 'd'. */
char fa_kernel_type(char type);

/* How many rows of n elements a tile holds. */
size_t fa_rows_per_tile(size_t n);

/* rows x n elements between an array and a tile; rows is at most FA_TILE_ROWS. */
void fa_move_tile(const fa_row_block *block, size_t rows, size_t n, char *tile, bool into_tile);

#endif
