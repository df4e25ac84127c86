#ifndef SELF_GATED_H
#define SELF_GATED_H

#include "define.h"

#define SELF_GATED_REFERENCES(X)

#endif
