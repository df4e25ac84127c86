/* The normal distribution's functions. */
#ifndef NORMAL_H
#define NORMAL_H

#include "define.h"

#define SQRT_HALF 0.707106781186547524400844362104849039L
#define NORMAL_DENSITY_AT_ZERO 0.398942280401432677939946059934381868L
#define TWO_OVER_SQRT_PI 1.12837916709551257389615890312154517L

/* P(Z < x) and its derivative; at -25 less than 1e-137. */
static inline double normal_distribution(double x) { return 0.5 * erfc(-(double)SQRT_HALF * bounded(x, 25)); }
static inline double normal_density(double x) { return (double)NORMAL_DENSITY_AT_ZERO * exp_of(-0.5 * x * x); }

VALUE(gelu) { return x == -INFINITY ? 0 : x * normal_distribution(x); }
DERIVATIVE(gelu) {
    x = bounded(x, 25);
    return normal_distribution(x) + x * normal_density(x);
}
DERIVATIVE_CANCELS(gelu) { return fabs(x + 0.7517915) < 0.01; }
DERIVATIVE_PRECISELY(gelu) {
    return 0.5L * erfcl(-SQRT_HALF * x) + x * NORMAL_DENSITY_AT_ZERO * expl(-0.5L * x * x);
}

VALUE(ndtr) { return normal_distribution(x); }
DERIVATIVE(ndtr) { return normal_density(x); }

VALUE(erf) { return erf(bounded(x, 10)); }
DERIVATIVE(erf) { return (double)TWO_OVER_SQRT_PI * exp_of(-x * x); }

VALUE(laplace) {
    double mu = p[0], sigma = p[1];
    return normal_distribution((x - mu) / sigma);
}
DERIVATIVE(laplace) {
    double mu = p[0], sigma = p[1];
    return normal_density((x - mu) / sigma) / sigma;
}

VALUE(gaussian) { return exp_of(-x * x); }
DERIVATIVE(gaussian) {
    x = bounded(x, 100);
    return -2 * x * exp_of(-x * x);
}

#define NORMAL_REFERENCES(X) \
    X(gelu, PLAIN, REFINED) \
    X(ndtr, PLAIN, PLAIN) \
    X(erf, PLAIN, PLAIN) \
    X(laplace, PLAIN, PLAIN) \
    X(gaussian, PLAIN, PLAIN)

#endif
