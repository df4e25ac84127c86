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

VALUE(threshold) {
    double threshold = p[0], value = p[1];
    return x > threshold ? x : value;
}
DERIVATIVE(threshold) {
    double threshold = p[0];
    return x > threshold;
}

VALUE(thresholded_relu) {
    double theta = p[0];
    return x > theta ? x : 0;
}
DERIVATIVE(thresholded_relu) {
    double theta = p[0];
    return x > theta;
}

VALUE(leaky_relu) {
    double negative_slope = p[0];
    return x > 0 ? x : times(negative_slope, x);
}
DERIVATIVE(leaky_relu) {
    double negative_slope = p[0];
    return x > 0 ? 1 : negative_slope;
}

VALUE(prelu) {
    double weight = p[0];
    return x > 0 ? x : times(weight, x);
}
DERIVATIVE(prelu) {
    double weight = p[0];
    return x > 0 ? 1 : weight;
}

VALUE(hardswish) { return x >= 3 ? x : x <= -3 ? 0 : x * (x + 3) / 6; }
DERIVATIVE(hardswish) { return x >= 3 ? 1 : x <= -3 ? 0 : (2 * x + 3) / 6; }

VALUE(hardtanh) {
    double min_val = p[0], max_val = p[1];
    return clip(x, min_val, max_val);
}
DERIVATIVE(hardtanh) {
    double min_val = p[0], max_val = p[1];
    return x > min_val && x < max_val;
}

VALUE(clipped_linear) {
    double slope = p[0], offset = p[1], min_val = p[2], max_val = p[3];
    return clip(times(slope, x) + offset, min_val, max_val);
}
DERIVATIVE(clipped_linear) {
    double slope = p[0], offset = p[1], min_val = p[2], max_val = p[3];
    double z = times(slope, x);
    return z + (offset - min_val) > 0 && z + (offset - max_val) < 0 ? slope : 0;
}

VALUE(hardsigmoid) { return clip(x + 3, 0, 6) / 6; }
DERIVATIVE(hardsigmoid) { return x > -3 && x < 3 ? 1.0 / 6 : 0; }

VALUE(sparse_plus) { return x >= 1 ? x : x <= -1 ? 0 : (x + 1) * (x + 1) / 4; }
DERIVATIVE(sparse_plus) { return clip((x + 1) / 2, 0, 1); }

VALUE(sparse_sigmoid) { return clip((x + 1) / 2, 0, 1); }
DERIVATIVE(sparse_sigmoid) { return x > -1 && x < 1 ? 0.5 : 0; }

VALUE(hardmish) { return x >= 0 ? x : x <= -2 ? 0 : x * (x + 2) / 2; }
DERIVATIVE(hardmish) { return x >= 0 ? 1 : x <= -2 ? 0 : x + 1; }

VALUE(hardshrink) {
    double lambd = p[0];
    return fabs(x) > lambd ? x : 0;
}
DERIVATIVE(hardshrink) {
    double lambd = p[0];
    return fabs(x) > lambd;
}

VALUE(softshrink) {
    double lambd = p[0];
    return x > lambd ? x - lambd : x < -lambd ? x + lambd : 0;
}
DERIVATIVE(softshrink) {
    double lambd = p[0];
    return fabs(x) > lambd;
}

VALUE(relu_squared) { return x > 0 ? x * x : 0; }
DERIVATIVE(relu_squared) { return x > 0 ? 2 * x : 0; }

/* The square is exact, its multiple is not. */
VALUE(star_relu) {
    double scale = p[0], bias = p[1];
    double product = fma(scale, x * x, bias);
    return x > 0 && scale != 0 ? product : bias;
}
DERIVATIVE(star_relu) {
    double scale = p[0];
    return x > 0 ? times(2 * scale, x) : 0;
}

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
