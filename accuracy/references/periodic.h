/* Functions with a period. */
#ifndef PERIODIC_H
#define PERIODIC_H

#include "define.h"

/* p: a. The product of two float32 is exact, and so is its double. At a = 0 the limit, x; and beyond 2^36 the sine no
 * longer counts, where libmvec would leave it to the slow scalar function. */
VALUE(snake) {
    double z = p[0] * x, sine = sin(clamp(z, -0x1p36, 0x1p36));
    return p[0] == 0 || fabs(z) > 0x1p36 ? x : x + sine * sine / p[0];
}
/* 1 + sin(2ax) = (sin(ax) + cos(ax))^2, with double roots. The derivative has no limit at infinity. */
DERIVATIVE(snake) { return p[0] == 0 ? 1 : 1 + sin(2 * p[0] * x); }
DERIVATIVE_CANCELS(snake) { return fabs(y) < 0x1p-10 && p[0] != 0; }
/* sinl and cosl are good to 2^-65: beside a root that is 2^-28 away, the result to 2^-36. */
DERIVATIVE_PRECISELY(snake) {
    long double sum = sinl(p[0] * x) + cosl(p[0] * x);
    return sum * sum;
}

#define PERIODIC_REFERENCES(X) X(snake, PLAIN, REFINED)

#endif
