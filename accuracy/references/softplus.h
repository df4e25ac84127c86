/* Smooth rectifiers made of logarithms. */
#ifndef SOFTPLUS_H
#define SOFTPLUS_H

#include "define.h"

/* log(1 + e^z) */
static inline double log_one_plus_exp(double z) {
    double e = exp(bounded(z, 300));
    double tail = log1p(e < 1 ? e : 1 / e); /* e^-|z| */
    return (z > 0 ? z : 0) + tail;
}

VALUE(softplus) {
    double beta = p[0];
    return log_one_plus_exp(times(beta, x)) / beta;
}
DERIVATIVE(softplus) {
    double beta = p[0];
    return 1 / (1 + exp_of(-times(beta, x)));
}

VALUE(logsigmoid) { return -log_one_plus_exp(-x); }
DERIVATIVE(logsigmoid) { return 1 / (1 + exp_of(x)); }

#define SOFTPLUS_REFERENCES(X) X(softplus, PLAIN, PLAIN) X(logsigmoid, PLAIN, PLAIN)

#endif
