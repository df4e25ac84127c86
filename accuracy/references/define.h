/* How the headers beside this one define a reference.
 *
 *     VALUE(relu) { return x > 0 ? x : 0; }
 *     DERIVATIVE(relu) { return x > 0 ? 1 : 0; }
 *
 * x is the argument, p[0], p[1] ... are the parameters in the catalogue's order. The loops of references.c give NaN for
 * NaN, so that x is a number here. Both have ternaries instead of branches, and read parameters and call functions
 * before them: otherwise gcc does not vectorise the loops.
 *
 * Where double arithmetic cancels, a function has a second pass, one element at a time in long double:
 *
 *     VALUE_CANCELS(xielu) { return x <= 0 && fabs(y) < 0x1p-10 * fabs(...); }
 *     VALUE_PRECISELY(xielu) { ... }
 *
 * y is what VALUE has returned. A header ends with the list of what it defines, name by name, with the kind of both
 * loops, PLAIN or REFINED (with a second pass):
 *
 *     #define PIECEWISE_REFERENCES(X) X(relu, PLAIN, PLAIN) ...
 */
#ifndef DEFINE_H
#define DEFINE_H

#include "vector_math.h"

#define UNUSED __attribute__((unused))
#define VALUE(name) static inline double name##_value(UNUSED double x, UNUSED const double *p)
#define DERIVATIVE(name) static inline double name##_derivative(UNUSED double x, UNUSED const double *p)
#define VALUE_CANCELS(name) \
    static inline int name##_value_cancels(UNUSED double x, UNUSED double y, UNUSED const double *p)
#define VALUE_PRECISELY(name) static inline long double name##_value_precisely(long double x, UNUSED const double *p)
#define DERIVATIVE_CANCELS(name) \
    static inline int name##_derivative_cancels(UNUSED double x, UNUSED double y, UNUSED const double *p)
#define DERIVATIVE_PRECISELY(name) \
    static inline long double name##_derivative_precisely(long double x, UNUSED const double *p)

/* factor * x, whose limit is 0 for a factor of 0. */
static inline double times(double factor, double x) { return factor * (factor == 0 ? copysign(1, x) : x); }

#endif
