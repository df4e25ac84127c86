/* What the checker shares with Python: checker.py reads what stands between the two marks. */
#ifndef ACCURACY_CHECKER_H
#define ACCURACY_CHECKER_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
enum { CHECKER_BINS = 1537 };

/* A binary floating-point format of at most 24 bits of precision. */
typedef struct {
    int bits;              /* of precision, the hidden one included */
    int smallest_exponent; /* of the smallest normal number, which is 2^smallest_exponent */
    double overflow;       /* from here on numbers round to infinity */
} checker_format;

/* Errors of many results, in ULP. */
typedef struct {
    uint64_t count, correct;
    double sum, maximum;
    uint64_t histogram[CHECKER_BINS];
} checker_tally;

void checker_patterns(uint32_t first, uint32_t step, size_t n, float *x);
void checker_widen(size_t n, const float *x, double *wide);
void checker_errors(size_t n, const float *result, const double *truth, const checker_format *format, double *errors);
size_t checker_add(size_t n, const float *result, const double *truth, const checker_format *format,
                   checker_tally *tally);
/* cffi: end */

#endif
