/* Loops over the references, and the table of them. Compile as accuracy/checker.py does: -O3 -march=native
 * -fno-math-errno -fno-trapping-math -ffp-contract=off, so that they are vectorised. */
#include "references.h"

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

/* Elements between the two passes: they stay in the cache. */
#define BLOCK 1024

#define PLAIN_LOOP(function) \
    static void function##_loop(size_t n, const double *x, const double *p, double *y) { \
        _Pragma("GCC ivdep") \
        for (size_t i = 0; i < n; i++) { \
            double value = function(x[i], p); \
            y[i] = x[i] != x[i] ? x[i] : value; \
        } \
    }

#define REFINED_LOOP(function) \
    static void function##_loop(size_t n, const double *x, const double *p, double *y) { \
        for (size_t start = 0; start < n; start += BLOCK) { \
            size_t count = n - start < BLOCK ? n - start : BLOCK; \
            double kept[BLOCK]; /* y may be x */ \
            for (size_t i = 0; i < count; i++) { \
                kept[i] = x[start + i]; \
            } \
            for (size_t i = 0; i < count; i++) { \
                double value = function(kept[i], p); \
                y[start + i] = kept[i] != kept[i] ? kept[i] : value; \
            } \
            for (size_t i = 0; i < count; i++) { \
                if (function##_cancels(kept[i], y[start + i], p)) { \
                    y[start + i] = (double)function##_precisely(kept[i], p); \
                } \
            } \
        } \
    }

#define LOOPS(name, forward, derivative) forward##_LOOP(name##_value) derivative##_LOOP(name##_derivative)
REFERENCES(LOOPS)

#define ROW(name, forward, derivative) {#name, name##_value_loop, name##_derivative_loop},
const reference references[] = {REFERENCES(ROW)};
const size_t reference_count = sizeof references / sizeof references[0];
