/* Functions that level off on both sides. */
#ifndef SIGMOIDAL_H
#define SIGMOIDAL_H

#include "define.h"

VALUE(sigmoid) { return 1 / (1 + exp(-x)); }
DERIVATIVE(sigmoid) {
    double e = exp(-fabs(x));
    return e / ((1 + e) * (1 + e));
}

VALUE(tanh) { return tanh(x); }
DERIVATIVE(tanh) {
    double e = exp(-2 * fabs(x));
    return 4 * e / ((1 + e) * (1 + e));
}

#define SIGMOIDAL_REFERENCES(X) X(sigmoid, PLAIN, PLAIN) X(tanh, PLAIN, PLAIN)

#endif
