/* Functions that level off on both sides, and logit. */
#ifndef SIGMOIDAL_H
#define SIGMOIDAL_H

#include "define.h"

/* e^-z / (1 + e^-z)^2, which is even */
static inline double logistic_slope(double z) {
    double e = exp(bounded(z, 300));
    return e / ((1 + e) * (1 + e));
}

VALUE(sigmoid) { return 1 / (1 + exp_of(-x)); }
DERIVATIVE(sigmoid) { return logistic_slope(x); }

/* 1 - tanh(z)^2 = 1 / cosh(z)^2 */
static inline double tanh_slope(double z) { return 4 * logistic_slope(2 * z); }

VALUE(tanh) { return tanh_of(x); }
DERIVATIVE(tanh) { return tanh_slope(x); }

VALUE(scaled_tanh) {
    double alpha = p[0], beta = p[1];
    return alpha * tanh_of(times(beta, x));
}
DERIVATIVE(scaled_tanh) {
    double alpha = p[0], beta = p[1];
    return alpha * beta * tanh_slope(times(beta, x));
}

VALUE(softcap) {
    double cap = p[0];
    return cap * tanh_of(x / cap);
}
DERIVATIVE(softcap) {
    double cap = p[0];
    return tanh_slope(x / cap);
}

/* gamma tanh(z) + beta, far out over a common denominator, because gamma = beta leaves e^-2|z| in one tail. It crosses
 * zero where its terms cancel. */
VALUE(dyt) {
    double alpha = p[0], gamma = p[1], beta = p[2];
    double z = times(alpha, x), e = exp(bounded(-2 * z, 300)), end = copysign(1, z) * gamma;
    e = e < 1 ? e : 1 / e;
    double near = gamma * tanh_of(z) + beta, far = (beta + end + (beta - end) * e) / (1 + e);
    return fabs(z) < 1 ? near : far;
}
VALUE_CANCELS(dyt) { return fabs(x) < INFINITY && fabs(y) < 0x1p-10 * fabs(p[2]); }
VALUE_PRECISELY(dyt) {
    long double gamma = p[1], beta = p[2];
    long double z = p[0] * x, e = expl(-2 * fabsl(z)), end = copysignl(1, z) * gamma;
    return fabsl(z) < 1 ? gamma * tanhl(z) + beta : (beta + end + (beta - end) * e) / (1 + e);
}
DERIVATIVE(dyt) {
    double alpha = p[0], gamma = p[1];
    return alpha * gamma * tanh_slope(times(alpha, x));
}

/* log(x / (1 - x)) = log(1 + (2x - 1) / (1 - x)), and logit(x) = -logit(1 - x) */
VALUE(logit) {
    double smaller = x < 0.5 ? x : 1 - x;
    double size = log1p(fabs((1 - 2 * x) / smaller));
    return smaller >= 0 ? copysign(size, x - 0.5) : NAN;
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
