/* Exponential functions below zero. */
#ifndef EXPONENTIAL_H
#define EXPONENTIAL_H

#include "define.h"

/* alpha */
VALUE(elu) {
    double curve = expm1(x);
    return x > 0 ? x : p[0] * curve;
}
DERIVATIVE(elu) {
    double e = exp(x);
    return x > 0 ? 1 : p[0] * e;
}

#define SELU_SCALE 1.0507009873554804934193349852946
#define SELU_ALPHA 1.6732632423543772848170429916717
VALUE(selu) {
    double curve = expm1(x);
    return SELU_SCALE * (x > 0 ? x : SELU_ALPHA * curve);
}
DERIVATIVE(selu) {
    double e = exp(x);
    return SELU_SCALE * (x > 0 ? 1 : SELU_ALPHA * e);
}

VALUE(exp) { return exp(x); }
DERIVATIVE(exp) { return exp(x); }

/* alpha */
VALUE(celu) {
    double curve = expm1(x / p[0]);
    return x > 0 ? x : p[0] * curve;
}
DERIVATIVE(celu) {
    double e = exp(x / p[0]);
    return x > 0 ? 1 : e;
}

/* a, b */
VALUE(pelu) {
    double curve = expm1(x / p[1]);
    return p[0] * (x > 0 ? x / p[1] : curve);
}
DERIVATIVE(pelu) {
    double e = exp(x / p[1]);
    return p[0] / p[1] * (x > 0 ? 1 : e);
}

/* ap, an, beta, eps: an (expm1(min(x, eps)) - x) + beta x below zero, which crosses zero where its two terms cancel */
VALUE(xielu) {
    double curve = expm1(x < p[3] ? x : p[3]);
    double right = times(times(p[0], x) + p[2], x);
    return x > 0 ? right : p[1] * curve + times(p[2] - p[1], x);
}
VALUE_CANCELS(xielu) { return x <= 0 && fabs(y) < 0x1p-10 * fabs(times(p[2] - p[1], x)); }
VALUE_PRECISELY(xielu) { return p[1] * expm1l(x < p[3] ? x : p[3]) + ((long double)p[2] - p[1]) * x; }

/* an expm1(x) + beta = an e^x + (beta - an) left of eps */
DERIVATIVE(xielu) {
    double e = exp(x), curve = expm1(x);
    double left = x < -0.5 ? p[1] * e + (p[2] - p[1]) : p[1] * curve + p[2];
    return x > 0 ? times(2 * p[0], x) + p[2] : x > p[3] ? p[2] - p[1] : left;
}
DERIVATIVE_CANCELS(xielu) { return x <= 0 && x <= p[3] && fabs(y) < 0x1p-10 * fabs(p[2]); }
DERIVATIVE_PRECISELY(xielu) {
    return x < -0.5L ? p[1] * expl(x) + ((long double)p[2] - p[1]) : p[1] * expm1l(x) + p[2];
}

#define EXPONENTIAL_REFERENCES(X) \
    X(elu, PLAIN, PLAIN) \
    X(selu, PLAIN, PLAIN) \
    X(exp, PLAIN, PLAIN) \
    X(celu, PLAIN, PLAIN) \
    X(pelu, PLAIN, PLAIN) \
    X(xielu, REFINED, REFINED)

#endif
