/* x times a function of x that rises from 0 to 1. */
#ifndef SELF_GATED_H
#define SELF_GATED_H

#include "define.h"

static inline double logistic(double z) { return 1 / (1 + exp(bounded(-z, 700))); }

/* x times a number from 0 to 1, whose limit is 0 where x is infinite and the gate shut */
static inline double gated(double x, double gate) { return fabs(x) == INFINITY && gate < 0.5 ? 0 : x * gate; }

/* The derivative of z logistic(z). Its root is at -1.2784645. */
static inline double swish_slope(double z) {
    z = bounded(z, 800);
    return logistic(z) * (1 + z * logistic(-z));
}
static inline int swish_slope_cancels(double z) { return fabs(z + 1.2784645) < 0.01; }
static inline long double precise_swish_slope(long double z) { return (1 + z / (1 + expl(z))) / (1 + expl(-z)); }

VALUE(silu) { return gated(x, logistic(x)); }
DERIVATIVE(silu) { return swish_slope(x); }
DERIVATIVE_CANCELS(silu) { return swish_slope_cancels(x); }
DERIVATIVE_PRECISELY(silu) { return precise_swish_slope(x); }

/* The product of two float32 is exact. */
VALUE(swish) {
    double beta = p[0];
    return gated(x, logistic(times(beta, x)));
}
DERIVATIVE(swish) {
    double beta = p[0];
    return swish_slope(times(beta, x));
}
DERIVATIVE_CANCELS(swish) { return swish_slope_cancels(p[0] * x); }
DERIVATIVE_PRECISELY(swish) { return precise_swish_slope(p[0] * x); }

VALUE(quick_gelu) { return gated(x, logistic(1.702 * x)); }
DERIVATIVE(quick_gelu) { return swish_slope(1.702 * x); }
DERIVATIVE_CANCELS(quick_gelu) { return swish_slope_cancels(1.702 * x); }
DERIVATIVE_PRECISELY(quick_gelu) { return precise_swish_slope(1.702L * x); }

/* (1 + tanh(u)) / 2 is logistic(2u), 2u = C (x + 0.044715 x^3) */
#define GELU_TANH_C 1.59576912160573071175978423973752747L /* 2 sqrt(2 / pi) */

VALUE(gelu_tanh) { return gated(x, logistic((double)GELU_TANH_C * (x + 0.044715 * x * x * x))); }
DERIVATIVE(gelu_tanh) {
    x = bounded(x, 25); /* there 2u is +-1155 */
    double z = (double)GELU_TANH_C * (x + 0.044715 * x * x * x);
    double slope_of_z = (double)GELU_TANH_C * (1 + 0.134145 * x * x);
    return logistic(z) * (1 + x * logistic(-z) * slope_of_z);
}
DERIVATIVE_CANCELS(gelu_tanh) { return fabs(x + 0.7524614) < 0.01; }
DERIVATIVE_PRECISELY(gelu_tanh) {
    long double z = GELU_TANH_C * (x + 0.044715L * x * x * x);
    long double slope_of_z = GELU_TANH_C * (1 + 0.134145L * x * x);
    return (1 + x * slope_of_z / (1 + expl(z))) / (1 + expl(-z));
}

/* tanh(log(1 + e)) = n / (n + 2), n = (1 + e)^2 - 1, e = e^x. In the derivative the factor of x is
 * (1 - tanh^2) e / (1 + e) = 4 e (1 + e) / (n + 2)^2. Beyond 150 it is 0 or 1. */
VALUE(mish) {
    double e = exp_of(x), n = e * (2 + e);
    return gated(x, 1 / (1 + 2 / n));
}
DERIVATIVE(mish) {
    x = bounded(x, 150);
    double e = exp_of(x), n = e * (2 + e);
    return n / (n + 2) + x * (4 * e * (1 + e) / ((n + 2) * (n + 2)));
}
DERIVATIVE_CANCELS(mish) { return fabs(x + 1.1924312) < 0.01; }
DERIVATIVE_PRECISELY(mish) {
    long double e = expl(x), n = e * (2 + e);
    return e * ((2 + e) * (n + 2) + 4 * x * (1 + e)) / ((n + 2) * (n + 2));
}

VALUE(telu) { return gated(x, tanh_of(exp_of(x))); }
DERIVATIVE(telu) {
    x = bounded(x, 150);
    double e = exp_of(x), q = exp(bounded(-2 * e, 700));
    double square_of_sech = 4 * q / ((1 + q) * (1 + q));
    return tanh_of(e) + x * e * square_of_sech;
}
DERIVATIVE_CANCELS(telu) { return fabs(x + 1.0788601) < 0.01; }
DERIVATIVE_PRECISELY(telu) {
    long double e = expl(x), gate = tanhl(e);
    return gate + x * e * (1 - gate * gate);
}

#define SELF_GATED_REFERENCES(X) \
    X(silu, PLAIN, REFINED) \
    X(swish, PLAIN, REFINED) \
    X(quick_gelu, PLAIN, REFINED) \
    X(gelu_tanh, PLAIN, REFINED) \
    X(mish, PLAIN, REFINED) \
    X(telu, PLAIN, REFINED)

#endif
