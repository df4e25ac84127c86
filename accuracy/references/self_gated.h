/* x times a function of x that rises from 0 to 1.
 *
 * Exponents are clamped at 300, where e^-300 |x| is far below the smallest number of float32: libmvec leaves those that
 * overflow to scalar functions. */
#ifndef SELF_GATED_H
#define SELF_GATED_H

#include "define.h"

static inline double logistic(double z) { return 1 / (1 + exp(-clamp(z, -300, 300))); }

/* x logistic(z) and, for z = beta x, its derivative, a function of z alone with a root at -1.2784645. Far left the limit
 * is 0, also where x is infinite. */
static inline double times_logistic(double x, double z) { return z < -300 ? 0 * copysign(1, x) : x * logistic(z); }
static inline double swish_slope(double z) {
    z = clamp(z, -300, 300);
    return logistic(z) * (1 + z * logistic(-z));
}
static inline int swish_slope_cancels(double z) { return fabs(z + 1.2784645) < 0.01; }
static inline long double precise_swish_slope(long double z) {
    return (1 + z / (1 + expl(z))) / (1 + expl(-z));
}

VALUE(silu) { return times_logistic(x, x); }
DERIVATIVE(silu) { return swish_slope(x); }
DERIVATIVE_CANCELS(silu) { return swish_slope_cancels(x); }
DERIVATIVE_PRECISELY(silu) { return precise_swish_slope(x); }

/* p: beta. The product of two float32 is exact; at beta = 0, infinity is the limit of numbers. */
static inline double swish_exponent(double x, double beta) { return beta == 0 ? 0 : beta * x; }

VALUE(swish) { return times_logistic(x, swish_exponent(x, p[0])); }
DERIVATIVE(swish) { return swish_slope(swish_exponent(x, p[0])); }
DERIVATIVE_CANCELS(swish) { return swish_slope_cancels(p[0] * x); }
DERIVATIVE_PRECISELY(swish) { return precise_swish_slope(p[0] * x); }

VALUE(quick_gelu) { return times_logistic(x, 1.702 * x); }
DERIVATIVE(quick_gelu) { return swish_slope(1.702 * x); }
DERIVATIVE_CANCELS(quick_gelu) { return swish_slope_cancels(1.702 * x); }
DERIVATIVE_PRECISELY(quick_gelu) { return precise_swish_slope(1.702L * x); }

/* (1 + tanh(u)) / 2 is logistic(2u), 2u = C (x + 0.044715 x^3) */
#define GELU_TANH_C 1.59576912160573071175978423973752747L /* 2 sqrt(2 / pi) */

VALUE(gelu_tanh) { return times_logistic(x, (double)GELU_TANH_C * (x + 0.044715 * x * x * x)); }
DERIVATIVE(gelu_tanh) {
    x = clamp(x, -20, 20); /* there 2u is +-603 */
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

/* tanh(log(1 + e)) = n / (n + 2), n = (1 + e)^2 - 1, e = e^x. The factor of x in the derivative is
 * (1 - tanh^2) e / (1 + e) = 4 e (1 + e) / (n + 2)^2. */
VALUE(mish) {
    double e = exp(clamp(x, -300, 100)), n = e * (2 + e);
    return x < -300 ? -0.0 : x * (n / (n + 2));
}
DERIVATIVE(mish) {
    x = clamp(x, -300, 100); /* there it is 0 and 1 */
    double e = exp(x), n = e * (2 + e);
    return n / (n + 2) + x * (4 * e * (1 + e) / ((n + 2) * (n + 2)));
}
DERIVATIVE_CANCELS(mish) { return fabs(x + 1.1924312) < 0.01; }
DERIVATIVE_PRECISELY(mish) {
    long double e = expl(x), n = e * (2 + e);
    return e * ((2 + e) * (n + 2) + 4 * x * (1 + e)) / ((n + 2) * (n + 2));
}

/* tanh(e^4) is 1 to 157 bits */
VALUE(telu) { return x < -300 ? -0.0 : x * tanh(exp(clamp(x, -300, 4))); }
DERIVATIVE(telu) {
    x = clamp(x, -300, 4);
    double e = exp(x), q = exp(-2 * e);
    double square_of_sech = 4 * q / ((1 + q) * (1 + q));
    return tanh(e) + x * e * square_of_sech;
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
