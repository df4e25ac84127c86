/* Every activation and its derivative in double precision, for the check of the float32 and 16-bit kernels.
 *
 * Written from the textbook definitions, independently of fastact/formulas. The error is at most 2^-10 ULP of float32,
 * whose subnormals are spaced 2^-149, for every float32 x (tests/test_references.py). */
#ifndef REFERENCES_H
#define REFERENCES_H

#include <stddef.h>

/* p: the parameters in the catalogue's order, as the kernels get them. y overlaps neither. */
typedef void reference_loop(size_t n, const double *x, const double *p, double *y);

typedef struct {
    const char *name; /* as in the catalogue */
    reference_loop *forward, *derivative;
} reference;

extern const reference references[];
extern const size_t reference_count;

#endif
