/* Pieces of lines and parabolas. */
#ifndef PIECEWISE_H
#define PIECEWISE_H

#include "define.h"

VALUE(relu) { return x > 0 ? x : 0; }
DERIVATIVE(relu) { return x > 0 ? 1 : 0; }

#define PIECEWISE_REFERENCES(X) X(relu, PLAIN, PLAIN)

#endif
