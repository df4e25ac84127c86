/* Curves that follow lines far out.
 *
 * 1e100 stands for infinity where infinity over infinity would be NaN. */
#ifndef SMOOTH_H
#define SMOOTH_H

#include "define.h"

/* p: b. Left of zero sqrt(x^2 + b) + x = b / (sqrt(x^2 + b) - x). */
VALUE(squareplus) {
    double root = sqrt(x * x + p[0]);
    return x > 0 ? 0.5 * (root + x) : x < 0 ? 0.5 * p[0] / (root - x) : 0.5 * root;
}
DERIVATIVE(squareplus) {
    x = clamp(x, -1e100, 1e100);
    double root = sqrt(x * x + p[0]);
    return x > 0 ? 0.5 * (1 + x / root) : x < 0 ? 0.5 * p[0] / (root * (root - x)) : p[0] == 0 ? 0 : 0.5;
}

/* x (1 + s) / 2, s = x / sqrt(1 + x^2). Left of zero 1 + s is 1 / (root (root - x)). The derivative is
 * (1 + s) (1 + s - s^2) / 2. */
static inline double dish_one_plus_s(double x, double root) {
    return x > 0 ? 1 + x / root : 1 / (root * (root - x));
}

VALUE(dish) {
    double bounded = clamp(x, -1e100, 1e100);
    double one_plus_s = dish_one_plus_s(bounded, sqrt(1 + bounded * bounded));
    return 0.5 * (x < 0 ? bounded : x) * one_plus_s;
}
DERIVATIVE(dish) {
    x = clamp(x, -1e100, 1e100);
    double root = sqrt(1 + x * x), s = x / root;
    return 0.5 * dish_one_plus_s(x, root) * (1 + s - s * s);
}
DERIVATIVE_CANCELS(dish) { return fabs(x + 0.7861514) < 0.01; }
DERIVATIVE_PRECISELY(dish) {
    long double s = x / sqrtl(1 + x * x);
    return 0.5L * (1 + s) * (1 + s - s * s);
}

/* Near zero cosh(x) - 1 = (e^x - 1)^2 / (2 e^x) */
VALUE(logcosh) {
    double a = fabs(x), m = expm1(clamp(a, 0, 1));
    double near = log1p(0.5 * m * m / (1 + m));
    double far = a - 0.69314718055994530942 + log1p(exp(-2 * clamp(a, 0, 100)));
    return a < 1 ? near : far;
}
DERIVATIVE(logcosh) { return tanh(x); }

/* Near zero the Taylor series, whose next term is 2^-46 of the first at 1/16 */
VALUE(tanhshrink) {
    double square = clamp(x * x, 0, 1);
    double series = 1 / 3.0 - square * (2 / 15.0 - square * (17 / 315.0 - square * (62 / 2835.0 - square * 1382 / 155925)));
    return fabs(x) < 0.0625 ? x * x * x * series : x - tanh(x);
}
DERIVATIVE(tanhshrink) { return tanh(x) * tanh(x); }

VALUE(lisht) { return x * tanh(x); }
DERIVATIVE(lisht) {
    x = clamp(x, -100, 100);
    double q = exp(-2 * fabs(x));
    return tanh(x) + x * (4 * q / ((1 + q) * (1 + q)));
}

#define SMOOTH_REFERENCES(X) \
    X(squareplus, PLAIN, PLAIN) \
    X(dish, PLAIN, REFINED) \
    X(logcosh, PLAIN, PLAIN) \
    X(tanhshrink, PLAIN, PLAIN) \
    X(lisht, PLAIN, PLAIN)

#endif
