/* Pieces of lines and parabolas. Products of two float32 numbers are exact in double, so that a sum with one is rounded
 * once: nothing cancels here. */
#ifndef PIECEWISE_H
#define PIECEWISE_H

#include "define.h"

static inline double clip(double x, double lowest, double highest) {
    return x < lowest ? lowest : x > highest ? highest : x;
}

VALUE(identity) { return x; }
DERIVATIVE(identity) { return 1; }

VALUE(step) { return x >= 0; }
DERIVATIVE(step) { return 0; }

VALUE(relu) { return x > 0 ? x : 0; }
DERIVATIVE(relu) { return x > 0; }

VALUE(relu6) { return clip(x, 0, 6); }
DERIVATIVE(relu6) { return x > 0 && x < 6; }

/* threshold, value */
VALUE(threshold) { return x > p[0] ? x : p[1]; }
DERIVATIVE(threshold) { return x > p[0]; }

/* theta */
VALUE(thresholded_relu) { return x > p[0] ? x : 0; }
DERIVATIVE(thresholded_relu) { return x > p[0]; }

/* negative_slope */
VALUE(leaky_relu) { return x > 0 ? x : times(p[0], x); }
DERIVATIVE(leaky_relu) { return x > 0 ? 1 : p[0]; }

/* weight */
VALUE(prelu) { return x > 0 ? x : times(p[0], x); }
DERIVATIVE(prelu) { return x > 0 ? 1 : p[0]; }

VALUE(hardswish) { return x >= 3 ? x : x <= -3 ? 0 : x * (x + 3) / 6; }
DERIVATIVE(hardswish) { return x >= 3 ? 1 : x <= -3 ? 0 : (2 * x + 3) / 6; }

/* min_val, max_val */
VALUE(hardtanh) { return clip(x, p[0], p[1]); }
DERIVATIVE(hardtanh) { return x > p[0] && x < p[1]; }

/* slope, offset, min_val, max_val */
VALUE(clipped_linear) { return clip(times(p[0], x) + p[1], p[2], p[3]); }
DERIVATIVE(clipped_linear) {
    double z = times(p[0], x);
    return z + (p[1] - p[2]) > 0 && z + (p[1] - p[3]) < 0 ? p[0] : 0;
}

VALUE(hardsigmoid) { return clip(x + 3, 0, 6) / 6; }
DERIVATIVE(hardsigmoid) { return x > -3 && x < 3 ? 1.0 / 6 : 0; }

VALUE(sparse_plus) { return x >= 1 ? x : x <= -1 ? 0 : (x + 1) * (x + 1) / 4; }
DERIVATIVE(sparse_plus) { return clip((x + 1) / 2, 0, 1); }

VALUE(sparse_sigmoid) { return clip((x + 1) / 2, 0, 1); }
DERIVATIVE(sparse_sigmoid) { return x > -1 && x < 1 ? 0.5 : 0; }

VALUE(hardmish) { return x >= 0 ? x : x <= -2 ? 0 : x * (x + 2) / 2; }
DERIVATIVE(hardmish) { return x >= 0 ? 1 : x <= -2 ? 0 : x + 1; }

/* lambd */
VALUE(hardshrink) { return fabs(x) > p[0] ? x : 0; }
DERIVATIVE(hardshrink) { return fabs(x) > p[0]; }

/* lambd */
VALUE(softshrink) { return x > p[0] ? x - p[0] : x < -p[0] ? x + p[0] : 0; }
DERIVATIVE(softshrink) { return fabs(x) > p[0]; }

VALUE(relu_squared) { return x > 0 ? x * x : 0; }
DERIVATIVE(relu_squared) { return x > 0 ? 2 * x : 0; }

/* scale, bias; the square is exact, its multiple is not */
VALUE(star_relu) { return x > 0 && p[0] != 0 ? fma(p[0], x * x, p[1]) : p[1]; }
DERIVATIVE(star_relu) { return x > 0 ? times(2 * p[0], x) : 0; }

#define PIECEWISE_REFERENCES(X) \
    X(identity, PLAIN, PLAIN) \
    X(step, PLAIN, PLAIN) \
    X(relu, PLAIN, PLAIN) \
    X(relu6, PLAIN, PLAIN) \
    X(threshold, PLAIN, PLAIN) \
    X(thresholded_relu, PLAIN, PLAIN) \
    X(leaky_relu, PLAIN, PLAIN) \
    X(prelu, PLAIN, PLAIN) \
    X(hardswish, PLAIN, PLAIN) \
    X(hardtanh, PLAIN, PLAIN) \
    X(clipped_linear, PLAIN, PLAIN) \
    X(hardsigmoid, PLAIN, PLAIN) \
    X(sparse_plus, PLAIN, PLAIN) \
    X(sparse_sigmoid, PLAIN, PLAIN) \
    X(hardmish, PLAIN, PLAIN) \
    X(hardshrink, PLAIN, PLAIN) \
    X(softshrink, PLAIN, PLAIN) \
    X(relu_squared, PLAIN, PLAIN) \
    X(star_relu, PLAIN, PLAIN)

#endif
