/* NEON, which every aarch64 processor has. */
#if defined(__aarch64__)
#define FA_ISA neon
#include "../kernels.c"
#else
typedef int fa_no_neon;
#endif
