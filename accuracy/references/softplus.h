/* Smooth rectifiers made of logarithms. */
#ifndef SOFTPLUS_H
#define SOFTPLUS_H

#include "define.h"

/* log(1 + e^z) */
static inline double log_one_plus_exp(double z) {
    double tail = log1p(exp(-fabs(z)));
    return (z > 0 ? z : 0) + tail;
}

/* beta */
VALUE(softplus) { return log_one_plus_exp(times(p[0], x)) / p[0]; }
DERIVATIVE(softplus) { return 1 / (1 + exp(-times(p[0], x))); }

VALUE(logsigmoid) { return -log_one_plus_exp(-x); }
DERIVATIVE(logsigmoid) { return 1 / (1 + exp(x)); }

#define SOFTPLUS_REFERENCES(X) X(softplus, PLAIN, PLAIN) X(logsigmoid, PLAIN, PLAIN)

#endif
