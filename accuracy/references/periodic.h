/* Functions with a period. */
#ifndef PERIODIC_H
#define PERIODIC_H

#include "define.h"

/* The product of two float32 is exact, and so is its double. At a = 0 the limit, x. Beyond 2^36 the sine does not
 * count, and there libmvec leaves it to the slow scalar function. */
VALUE(snake) {
    double a = p[0], z = a * x, sine = sin(fabs(z) < 0x1p36 ? z : copysign(1, z));
    return a == 0 ? x : x + sine * sine / a;
}

/* 1 + sin(2ax) = (sin(ax) + cos(ax))^2, with double roots, and no limit at infinity */
DERIVATIVE(snake) {
    double a = p[0], sine = sin(2 * a * x);
    return a == 0 ? 1 : 1 + sine;
}
DERIVATIVE_CANCELS(snake) { return y < 0x1p-10; }
/* sinl and cosl are good to 2^-65: beside a root that is 2^-28 away, the result to 2^-36. */
DERIVATIVE_PRECISELY(snake) {
    long double sum = sinl(p[0] * x) + cosl(p[0] * x);
    return sum * sum;
}

#define PERIODIC_REFERENCES(X) X(snake, PLAIN, REFINED)

#endif
