#ifndef EXPONENTIAL_H
#define EXPONENTIAL_H

#include "define.h"

#define EXPONENTIAL_REFERENCES(X)

#endif
