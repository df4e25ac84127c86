#ifndef PERIODIC_H
#define PERIODIC_H

#include "define.h"

#define PERIODIC_REFERENCES(X)

#endif
