#ifndef SMOOTH_H
#define SMOOTH_H

#include "define.h"

#define SMOOTH_REFERENCES(X)

#endif
