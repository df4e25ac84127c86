/* AVX2, FMA and F16C: x86-64-v3, from Haswell and Zen on. */
#if defined(__x86_64__)
#include <math.h> /* system headers before the pragma: it must not change their inline functions */
#include <string.h>
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif
#define FA_ISA avx2
#define FA_HAVE_FMA
#include "../kernels.c"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int fa_no_avx2;
#endif
