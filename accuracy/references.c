/* Loops over the references, and the table of them. Compile as accuracy/checker.py does: -O3 -march=native
 * -fno-math-errno -fno-trapping-math -ffp-contract=off, so that they are vectorised. */
#include "references.h"

/* These passes would split a loop's body where a bounded argument is a constant, and move the call of exp to the other
 * part, which sees what is not bounded: there libmvec takes its slow path. */
#ifndef __clang__
#pragma GCC optimize("no-tree-pre", "no-thread-jumps")
#endif

#include "references/exponential.h"
#include "references/normal.h"
#include "references/periodic.h"
#include "references/piecewise.h"
#include "references/self_gated.h"
#include "references/sigmoidal.h"
#include "references/smooth.h"
#include "references/softplus.h"

#define REFERENCES(X) \
    PIECEWISE_REFERENCES(X) \
    EXPONENTIAL_REFERENCES(X) \
    SOFTPLUS_REFERENCES(X) \
    SIGMOIDAL_REFERENCES(X) \
    NORMAL_REFERENCES(X) \
    SELF_GATED_REFERENCES(X) \
    SMOOTH_REFERENCES(X) \
    PERIODIC_REFERENCES(X)

/* One NaN test for all; it is no condition around the call, which would keep gcc from vectorising. */
#define PLAIN_LOOP(function) \
    static void function##_loop(size_t n, const double *restrict x, const double *restrict p, double *restrict y) { \
        for (size_t i = 0; i < n; i++) { \
            double value = function(x[i], p); \
            y[i] = x[i] != x[i] ? x[i] : value; \
        } \
    }

#define REFINED_LOOP(function) \
    PLAIN_LOOP(function) \
    static void function##_refined_loop(size_t n, const double *x, const double *p, double *y) { \
        function##_loop(n, x, p, y); \
        for (size_t i = 0; i < n; i++) { \
            if (function##_cancels(x[i], y[i], p)) { \
                y[i] = (double)function##_precisely(x[i], p); \
            } \
        } \
    }

#define LOOPS(name, forward, derivative) forward##_LOOP(name##_value) derivative##_LOOP(name##_derivative)
REFERENCES(LOOPS)

#define PLAIN_NAME(function) function##_loop
#define REFINED_NAME(function) function##_refined_loop
#define ROW(name, forward, derivative) {#name, forward##_NAME(name##_value), derivative##_NAME(name##_derivative)},
const reference references[] = {REFERENCES(ROW)};
const size_t reference_count = sizeof references / sizeof references[0];
