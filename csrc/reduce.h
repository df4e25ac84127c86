/* Sums whose tree depends on the number of terms alone. */
#ifndef FA_REDUCE_H
#define FA_REDUCE_H

#include <stddef.h>

/* Sum of count numbers, the first at `terms` and each `stride` numbers after the one before; count is at least 1. */
double fa_pairwise_sum(const double *terms, size_t count, size_t stride);

#endif
