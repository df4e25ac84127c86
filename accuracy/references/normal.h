/* The normal distribution's functions. */
#ifndef NORMAL_H
#define NORMAL_H

#include "define.h"

#define SQRT_HALF 0.707106781186547524400844362104849039L
#define NORMAL_DENSITY_AT_ZERO 0.398942280401432677939946059934381868L
#define TWO_OVER_SQRT_PI 1.12837916709551257389615890312154517L

/* P(Z < x) and its derivative */
static inline double normal_distribution(double x) { return 0.5 * erfc(-(double)SQRT_HALF * x); }
static inline double normal_density(double x) { return (double)NORMAL_DENSITY_AT_ZERO * exp(-0.5 * x * x); }

/* Beyond 20 the distribution is 0 or 1, and the density 0. */
VALUE(gelu) { return x < -20 ? -0.0 : x * normal_distribution(clamp(x, -20, 20)); }
DERIVATIVE(gelu) {
    x = clamp(x, -20, 20);
    return normal_distribution(x) + x * normal_density(x);
}
DERIVATIVE_CANCELS(gelu) { return fabs(x + 0.7517915) < 0.01; }
DERIVATIVE_PRECISELY(gelu) {
    return 0.5L * erfcl(-SQRT_HALF * x) + x * NORMAL_DENSITY_AT_ZERO * expl(-0.5L * x * x);
}

VALUE(ndtr) { return normal_distribution(clamp(x, -20, 20)); }
DERIVATIVE(ndtr) { return normal_density(clamp(x, -20, 20)); }

VALUE(erf) { return erf(x); }
DERIVATIVE(erf) {
    x = clamp(x, -20, 20);
    return (double)TWO_OVER_SQRT_PI * exp(-x * x);
}

/* p: mu, sigma */
VALUE(laplace) { return normal_distribution(clamp((x - p[0]) / p[1], -20, 20)); }
DERIVATIVE(laplace) { return normal_density(clamp((x - p[0]) / p[1], -30, 30)) / p[1]; }

VALUE(gaussian) {
    x = clamp(x, -20, 20);
    return exp(-x * x);
}
DERIVATIVE(gaussian) {
    x = clamp(x, -20, 20);
    return -2 * x * exp(-x * x);
}

#define NORMAL_REFERENCES(X) \
    X(gelu, PLAIN, REFINED) \
    X(ndtr, PLAIN, PLAIN) \
    X(erf, PLAIN, PLAIN) \
    X(laplace, PLAIN, PLAIN) \
    X(gaussian, PLAIN, PLAIN)

#endif
