/* Curves that follow lines far out.
 *
 * 1e100 stands for infinity where infinity over infinity would be NaN. */
#ifndef SMOOTH_H
#define SMOOTH_H

#include "define.h"

/* Left of zero sqrt(x^2 + b) + x = b / (sqrt(x^2 + b) - x). */
VALUE(squareplus) {
    double b = p[0], root = sqrt(x * x + b);
    return x > 0 ? 0.5 * (root + x) : x < 0 ? 0.5 * b / (root - x) : 0.5 * root;
}
DERIVATIVE(squareplus) {
    x = bounded(x, 1e100);
    double b = p[0], root = sqrt(x * x + b);
    return x > 0 ? 0.5 * (1 + x / root) : x < 0 ? 0.5 * b / (root * (root - x)) : b == 0 ? 0 : 0.5;
}

/* x (1 + s) / 2, s = x / sqrt(1 + x^2). Left of zero 1 + s is 1 / (root (root - x)). The derivative is
 * (1 + s) (1 + s - s^2) / 2. */
static inline double dish_one_plus_s(double x, double root) {
    return x > 0 ? 1 + x / root : 1 / (root * (root - x));
}

VALUE(dish) {
    double z = bounded(x, 1e100), one_plus_s = dish_one_plus_s(z, sqrt(1 + z * z));
    return 0.5 * (x < 0 ? z : x) * one_plus_s;
}
DERIVATIVE(dish) {
    x = bounded(x, 1e100);
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
    double a = fabs(x), m = expm1(bounded(a, 1)), e = exp(bounded(-2 * a, 700));
    double z = a < 1 ? 0.5 * m * m / (1 + m) : e;
    return log1p(z) + (a < 1 ? 0 : a - 0.69314718055994530942);
}
DERIVATIVE(logcosh) { return tanh_of(x); }

/* Near zero the Taylor series, whose next term is 2^-46 of the first at 1/16 */
VALUE(tanhshrink) {
    double t = tanh_of(x), z = bounded(x, 1), square = z * z;
    double rest = 17 / 315.0 - square * (62 / 2835.0 - square * 1382 / 155925);
    double series = 1 / 3.0 - square * (2 / 15.0 - square * rest);
    return fabs(x) < 0.0625 ? z * square * series : x - t;
}
DERIVATIVE(tanhshrink) { return tanh_of(x) * tanh_of(x); }

VALUE(lisht) { return x * tanh_of(x); }
DERIVATIVE(lisht) {
    x = bounded(x, 100);
    double q = exp(bounded(-2 * fabs(x), 700));
    return tanh_of(x) + x * (4 * q / ((1 + q) * (1 + q)));
}

#define SMOOTH_REFERENCES(X) \
    X(squareplus, PLAIN, PLAIN) \
    X(dish, PLAIN, REFINED) \
    X(logcosh, PLAIN, PLAIN) \
    X(tanhshrink, PLAIN, PLAIN) \
    X(lisht, PLAIN, PLAIN)

#endif
