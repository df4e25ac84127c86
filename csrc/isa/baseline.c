/* What every processor of the architecture has. */
#define FA_ISA baseline
#include "../kernels.c"
