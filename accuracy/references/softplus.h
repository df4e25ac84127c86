#ifndef SOFTPLUS_H
#define SOFTPLUS_H

#include "define.h"

#define SOFTPLUS_REFERENCES(X)

#endif
