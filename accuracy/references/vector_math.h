/* The C library's functions, declared such that gcc calls their vector forms.
 *
 * glibc has these for x86-64 in libmvec since 2.35. Elsewhere the loops call the scalar forms. */
#ifndef VECTOR_MATH_H
#define VECTOR_MATH_H

#include <limits.h> /* with __GLIBC__ */

#if defined(__x86_64__) && !defined(__clang__) && defined(__GLIBC__) && __GLIBC__ == 2 && __GLIBC_MINOR__ >= 35
#define VECTOR_FORM __attribute__((simd("notinbranch")))
#else
#define VECTOR_FORM
#endif

VECTOR_FORM double erf(double);
VECTOR_FORM double erfc(double);
VECTOR_FORM double exp(double);
VECTOR_FORM double expm1(double);
VECTOR_FORM double log1p(double);
VECTOR_FORM double sin(double);
VECTOR_FORM double tanh(double);

/* After the declarations above: only a declaration before the first use counts. */
#include <math.h>

/* The same functions for any argument: libmvec leaves its vector form for infinities and numbers that overflow, so they
 * are bounded first. The bound is no constant, or gcc would compute its exponential, and that of x itself elsewhere. */
static inline double bounded(double x, double size) { return fabs(x) > size ? copysign(size, x) : x; }

static inline double exp_of(double x) {
    double e = exp(bounded(x, 700));
    return x > 700 ? INFINITY : e; /* e^-700 is 0 beside any float32 */
}

static inline double expm1_of(double x) {
    double e = expm1(bounded(x, 700));
    return x > 700 ? INFINITY : e;
}

static inline double tanh_of(double x) { return tanh(bounded(x, 20)); }

#endif
