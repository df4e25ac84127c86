#ifndef NORMAL_H
#define NORMAL_H

#include "define.h"

#define NORMAL_REFERENCES(X)

#endif
