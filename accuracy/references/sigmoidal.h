/* Functions that level off on both sides, and logit. */
#ifndef SIGMOIDAL_H
#define SIGMOIDAL_H

#include "define.h"

VALUE(sigmoid) { return 1 / (1 + exp(-x)); }
DERIVATIVE(sigmoid) {
    double e = exp(-fabs(x));
    return e / ((1 + e) * (1 + e));
}

/* 1 - tanh(z)^2 = 1 / cosh(z)^2 */
static inline double tanh_slope(double z) {
    double e = exp(-2 * fabs(z));
    return 4 * e / ((1 + e) * (1 + e));
}

VALUE(tanh) { return tanh(x); }
DERIVATIVE(tanh) { return tanh_slope(x); }

/* alpha, beta */
VALUE(scaled_tanh) { return p[0] * tanh(times(p[1], x)); }
DERIVATIVE(scaled_tanh) { return p[0] * p[1] * tanh_slope(times(p[1], x)); }

/* cap */
VALUE(softcap) { return p[0] * tanh(x / p[0]); }
DERIVATIVE(softcap) { return tanh_slope(x / p[0]); }

/* alpha, gamma, beta: gamma tanh(z) + beta, far out over a common denominator, because gamma = beta leaves e^-2|z| in
 * one tail. It crosses zero where its terms cancel. */
VALUE(dyt) {
    double z = times(p[0], x);
    double curve = tanh(z), e = exp(-2 * fabs(z)), gamma = copysign(1, z) * p[1];
    double far = (p[2] + gamma + (p[2] - gamma) * e) / (1 + e);
    return fabs(z) < 1 ? p[1] * curve + p[2] : far;
}
VALUE_CANCELS(dyt) { return fabs(times(p[0], x)) < 40 && fabs(y) < 0x1p-10 * fabs(p[2]); }
VALUE_PRECISELY(dyt) {
    long double z = p[0] * x;
    long double e = expl(-2 * fabsl(z)), gamma = copysignl(1, z) * p[1];
    return fabsl(z) < 1 ? p[1] * tanhl(z) + p[2] : (p[2] + gamma + (p[2] - gamma) * e) / (1 + e);
}
DERIVATIVE(dyt) { return p[0] * p[1] * tanh_slope(times(p[0], x)); }

/* log(x / (1 - x)), whose argument is 1 + (2x - 1) / (1 - x); NaN outside 0 <= x <= 1 by itself */
VALUE(logit) {
    double direct = log(x / (1 - x)), around_half = log1p((2 * x - 1) / (1 - x));
    return x < 0.25 ? direct : around_half;
}
DERIVATIVE(logit) { return x >= 0 && x <= 1 ? 1 / fabs(x * (1 - x)) : NAN; }

VALUE(softsign) { return fabs(x) < INFINITY ? x / (1 + fabs(x)) : copysign(1, x); }
DERIVATIVE(softsign) { return 1 / ((1 + fabs(x)) * (1 + fabs(x))); }

#define SIGMOIDAL_REFERENCES(X) \
    X(sigmoid, PLAIN, PLAIN) \
    X(tanh, PLAIN, PLAIN) \
    X(scaled_tanh, PLAIN, PLAIN) \
    X(softcap, PLAIN, PLAIN) \
    X(dyt, REFINED, PLAIN) \
    X(logit, PLAIN, PLAIN) \
    X(softsign, PLAIN, PLAIN)

#endif
