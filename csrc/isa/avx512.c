/* AVX-512 F, DQ, BW and VL: x86-64-v4. gcc prefers 256-bit vectors unless told. */
#if defined(__x86_64__)
#include <math.h> /* system headers before the pragma: it must not change their inline functions */
#include <string.h>
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c,prefer-vector-width=512")
#endif
#define FA_ISA avx512
#define FA_HAVE_FMA
#define FA_HAVE_AVX512
#include "../kernels.c"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int fa_no_avx512;
#endif
