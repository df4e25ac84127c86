/* Exponential functions below zero. */
#ifndef EXPONENTIAL_H
#define EXPONENTIAL_H

#include "define.h"

VALUE(elu) {
    double alpha = p[0], curve = alpha * expm1_of(x);
    return x > 0 ? x : curve;
}
DERIVATIVE(elu) {
    double alpha = p[0], e = alpha * exp_of(x);
    return x > 0 ? 1 : e;
}

#define SELU_SCALE 1.0507009873554804934193349852946
#define SELU_ALPHA 1.6732632423543772848170429916717
VALUE(selu) {
    double curve = expm1_of(x);
    return SELU_SCALE * (x > 0 ? x : SELU_ALPHA * curve);
}
DERIVATIVE(selu) {
    double e = exp_of(x);
    return SELU_SCALE * (x > 0 ? 1 : SELU_ALPHA * e);
}

VALUE(exp) { return exp_of(x); }
DERIVATIVE(exp) { return exp_of(x); }

VALUE(celu) {
    double alpha = p[0], curve = alpha * expm1_of(x / alpha);
    return x > 0 ? x : curve;
}
DERIVATIVE(celu) {
    double alpha = p[0], e = exp_of(x / alpha);
    return x > 0 ? 1 : e;
}

VALUE(pelu) {
    double a = p[0], b = p[1], curve = expm1_of(x / b);
    return a * (x > 0 ? x / b : curve);
}
DERIVATIVE(pelu) {
    double a = p[0], b = p[1], e = exp_of(x / b);
    return a / b * (x > 0 ? 1 : e);
}

/* an (expm1(min(x, eps)) - x) + beta x below zero, which crosses zero where its two terms cancel */
VALUE(xielu) {
    double ap = p[0], an = p[1], beta = p[2], eps = p[3];
    double left = an * expm1_of(x < eps ? x : eps) + times(beta - an, x);
    double right = times(times(ap, x) + beta, x);
    return x > 0 ? right : left;
}
VALUE_CANCELS(xielu) { return x <= 0 && fabs(y) < 0x1p-10 * fabs(times(p[2] - p[1], x)); }
VALUE_PRECISELY(xielu) {
    long double an = p[1], beta = p[2], eps = p[3];
    return an * expm1l(x < eps ? x : eps) + (beta - an) * x;
}

/* an expm1(x) + beta = an e^x + (beta - an) left of eps */
DERIVATIVE(xielu) {
    double ap = p[0], an = p[1], beta = p[2], eps = p[3];
    double far = an * exp_of(x) + (beta - an), near = an * expm1_of(x) + beta, right = times(2 * ap, x) + beta;
    return x > 0 ? right : x > eps ? beta - an : x < -0.5 ? far : near;
}
DERIVATIVE_CANCELS(xielu) { return x <= 0 && x <= p[3] && fabs(y) < 0x1p-10 * fabs(p[2]); }
DERIVATIVE_PRECISELY(xielu) {
    long double an = p[1], beta = p[2];
    return x < -0.5L ? an * expl(x) + (beta - an) : an * expm1l(x) + beta;
}

#define EXPONENTIAL_REFERENCES(X) \
    X(elu, PLAIN, PLAIN) \
    X(selu, PLAIN, PLAIN) \
    X(exp, PLAIN, PLAIN) \
    X(celu, PLAIN, PLAIN) \
    X(pelu, PLAIN, PLAIN) \
    X(xielu, REFINED, REFINED)

#endif
