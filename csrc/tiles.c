#include "tiles.h"

#include <stdlib.h>

char
fa_kernel_type(char type)
{
    return type == 'd' ? 'd' : 'f';
}

size_t
fa_rows_per_tile(size_t n)
{
    const size_t rows = FA_TILE_ELEMENTS / (n ? n : 1);
    return rows < 1 ? 1 : rows > FA_TILE_ROWS ? FA_TILE_ROWS : rows;
}

/* The axis with the smaller stride runs innermost. */
void
fa_move_tile(const fa_row_block *block, size_t rows, size_t n, char *tile, bool into_tile)
{
    const char type = block->type, kernel = fa_kernel_type(type);
    const size_t size = fa_type_size(kernel);
    const ptrdiff_t step = block->step, row_step = block->row_step;
    if (rows == 1 || labs(step) <= labs(row_step)) {
        for (size_t row = 0; row < rows; row++) {
            char *array = block->first + (ptrdiff_t)row * row_step, *buffer = tile + row * n * size;
            if (into_tile)
                fa_gather(n, array, step, type, buffer, kernel);
            else
                fa_scatter(n, array, step, type, buffer, kernel);
        }
        return;
    }
    _Alignas(64) char column[FA_TILE_ROWS * sizeof(double)];
    for (size_t i = 0; i < n; i++) {
        char *array = block->first + (ptrdiff_t)i * step, *buffer = tile + i * size;
        if (into_tile) {
            fa_gather(rows, array, row_step, type, column, kernel);
            fa_scatter(rows, buffer, (ptrdiff_t)(n * size), kernel, column, kernel);
        } else {
            fa_gather(rows, buffer, (ptrdiff_t)(n * size), kernel, column, kernel);
            fa_scatter(rows, array, row_step, type, column, kernel);
        }
    }
}
