/* Counts errors in ULP, at about a nanosecond an element: every loop but the histogram's increments is vectorised.

   A ULP is the spacing of the format's numbers in the binade of the truth, and of subnormals below. The truth is a
   double, the result a float whatever the format, because float holds float16 and bfloat16 exactly. */
#include "checker.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK = 1024,             /* three arrays of it stay in the first-level cache */
    BINS_PER_OCTAVE_LOG2 = 7, /* of 1 + error: bins of 1/128 ULP up to 1, of 1/64 up to 3, and so on */
    HISTOGRAMS = 4,           /* side by side: increments of one counter would wait for each other */
};

static inline uint64_t
bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double
from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The float32 numbers whose bits are first, first + step, ... modulo 2^32. */
void
checker_patterns(uint32_t first, uint32_t step, size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = first + (uint32_t)i * step;
        memcpy(&x[i], &bits, sizeof bits);
    }
}

/* NumPy's conversion would warn of signalling NaNs. */
void
checker_widen(size_t n, const float *x, double *wide)
{
    for (size_t i = 0; i < n; i++) {
        wide[i] = (double)x[i];
    }
}

/* The error of one result; *correct is 1 if it is the truth rounded (half to even), else 0. NaN is right where the truth
   is NaN, an infinity where the truth rounds to it; both are infinitely wrong elsewhere. Everything is selected between
   doubles: masks of other sizes would have to be converted. */
static inline double
error_of(double result, double truth, const checker_format format, double *correct)
{
    const int64_t bias = 1023, lowest = bias + format.smallest_exponent;
    const int64_t exponent = bits_of(truth) >> 52 & 0x7ff;
    const int64_t binade = exponent > lowest ? exponent : lowest;
    const double ulps_per_unit = from_bits((uint64_t)(2 * bias + format.bits - 1 - binade) << 52);
    const double r = result * ulps_per_unit, t = truth * ulps_per_unit;
    const double rounded = fabs(truth) >= format.overflow ? copysign(INFINITY, truth) : rint(t);
    const double distance = fabs(r - t);
    const double of_nan = truth != truth && result != result ? 0.0 : INFINITY;
    const double of_infinity = r == rounded ? 0.0 : INFINITY;
    const double error = fabs(result) == INFINITY ? of_infinity : distance == distance ? distance : of_nan;
    *correct = r == rounded || of_nan == 0.0 ? 1.0 : 0.0;
    return error;
}

void
checker_errors(size_t n, const float *result, const double *truth, const checker_format *format, double *errors)
{
    const checker_format f = *format;
    for (size_t i = 0; i < n; i++) {
        double correct;
        errors[i] = error_of((double)result[i], truth[i], f, &correct);
    }
}

/* Adds the errors to the tally. Returns the index of the first that exceeds the tally's maximum by most, or n. */
size_t
checker_add(size_t n, const float *result, const double *truth, const checker_format *format, checker_tally *tally)
{
    const checker_format f = *format;
    uint32_t histograms[HISTOGRAMS][CHECKER_BINS] = {{0}};
    size_t where = n;
    for (size_t start = 0; start < n; start += BLOCK) {
        const size_t size = n - start < BLOCK ? n - start : BLOCK;
        const float *r = result + start;
        const double *t = truth + start;
        double errors[BLOCK], sum = 0.0, correct = 0.0;
        int32_t bins[BLOCK];
        int64_t largest = 0;
#pragma omp simd reduction(+ : sum, correct)
        for (size_t i = 0; i < size; i++) {
            double is_correct;
            errors[i] = error_of((double)r[i], t[i], f, &is_correct);
            sum += errors[i];
            correct += is_correct;
        }
        /* The bits of numbers that are not negative are in the order of the numbers. */
        for (size_t i = 0; i < size; i++) {
            const int64_t bits = (int64_t)bits_of(errors[i]);
            largest = bits > largest ? bits : largest;
        }
        for (size_t i = 0; i < size; i++) {
            const int shift = 52 - BINS_PER_OCTAVE_LOG2;
            const int64_t bin = (int64_t)(bits_of(1.0 + errors[i]) >> shift) - ((int64_t)1023 << BINS_PER_OCTAVE_LOG2);
            bins[i] = (int32_t)(bin < CHECKER_BINS - 1 ? bin : CHECKER_BINS - 1);
        }
        for (size_t i = 0; i < size; i++) {
            histograms[i % HISTOGRAMS][bins[i]]++;
        }
        tally->sum += sum;
        tally->correct += (uint64_t)correct;
        if (from_bits((uint64_t)largest) > tally->maximum) {
            tally->maximum = from_bits((uint64_t)largest);
            where = start;
            while (errors[where - start] < tally->maximum) {
                where++;
            }
        }
    }
    tally->count += n;
    for (int bin = 0; bin < CHECKER_BINS; bin++) {
        for (int i = 0; i < HISTOGRAMS; i++) {
            tally->histogram[bin] += histograms[i][bin];
        }
    }
    return where;
}
