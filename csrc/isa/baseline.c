/* What every processor of the architecture has. */
#if defined(__x86_64__)
#include <emmintrin.h>
#endif
#define FA_ISA baseline
#include "../kernels.c"
