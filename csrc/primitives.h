/* The primitives of the formulas' language in C, for the instruction set that is being compiled. */
#ifndef FA_PRIMITIVES_H
#define FA_PRIMITIVES_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef float fa_f32;
typedef double fa_f64;
typedef uint32_t fa_bits_f32;
typedef uint64_t fa_bits_f64;

#define FA_INFINITY(precision) ((fa_##precision)INFINITY)
#define FA_NAN(precision) ((fa_##precision)NAN)

#define FA_INLINE static inline __attribute__((always_inline))

/* Before a loop: its iterations do not depend on each other, and it is to be vectorised as it stands. `restrict` would
   be a lie for out=x; without either, gcc checks for overlap and takes a scalar loop in place. A short loop it would
   first unroll, and then vectorise the loop around it, with that check again. FA_UNROLLED is for short loops of numbers
   that stay as they are: clang must do it before it vectorises the loop around them, and so in full. FA_GUARDED is for
   loops that read where a condition allows it: clang would otherwise take the promise for one that all may be read. */
#if defined(__clang__)
#define FA_INDEPENDENT _Pragma("clang loop vectorize(assume_safety) interleave(enable)")
#define FA_GUARDED _Pragma("clang loop vectorize(enable) interleave(enable)")
#define FA_UNROLLED _Pragma("clang loop unroll(full)")
#else
#define FA_INDEPENDENT _Pragma("GCC ivdep") _Pragma("GCC unroll 1")
#define FA_GUARDED FA_INDEPENDENT
#define FA_UNROLLED _Pragma("GCC unroll 4")
#endif

/* Hides from the compiler that a variable is a constant. */
#if defined(__x86_64__)
#define FA_OPAQUE(variable) __asm__("" : "+x"(variable))
#elif defined(__aarch64__)
#define FA_OPAQUE(variable) __asm__("" : "+w"(variable))
#else
#define FA_OPAQUE(variable) (void)0
#endif

#if defined(__FMA__) || defined(__aarch64__) || defined(FA_HAVE_FMA)
FA_INLINE fa_f32 fa_fma_f32(fa_f32 a, fa_f32 b, fa_f32 c) { return __builtin_fmaf(a, b, c); }
FA_INLINE fa_f64 fa_fma_f64(fa_f64 a, fa_f64 b, fa_f64 c) { return __builtin_fma(a, b, c); }
#else
/* Without FMA instructions: the product of two floats is exact in double, so this only differs from a real fma where
   the sum's two roundings meet a tie. Doubles go to the C library, which is exact and slow. */
FA_INLINE fa_f32 fa_fma_f32(fa_f32 a, fa_f32 b, fa_f32 c) { return (fa_f32)((fa_f64)a * (fa_f64)b + (fa_f64)c); }
FA_INLINE fa_f64 fa_fma_f64(fa_f64 a, fa_f64 b, fa_f64 c) { return fma(a, b, c); }
#endif

#define FA_PRIMITIVES(precision, suffix) \
    FA_INLINE fa_##precision fa_abs_##precision(fa_##precision x) { return __builtin_fabs##suffix(x); } \
    FA_INLINE fa_##precision fa_sqrt_##precision(fa_##precision x) { return __builtin_sqrt##suffix(x); } \
    FA_INLINE fa_##precision fa_copysign_##precision(fa_##precision size, fa_##precision sign) \
    { \
        return __builtin_copysign##suffix(size, sign); \
    } \
    FA_INLINE fa_bits_##precision fa_bits_of_##precision(fa_##precision x) \
    { \
        fa_bits_##precision bits; \
        memcpy(&bits, &x, sizeof bits); \
        return bits; \
    } \
    FA_INLINE fa_##precision fa_from_bits_##precision(fa_bits_##precision bits) \
    { \
        fa_##precision x; \
        memcpy(&x, &bits, sizeof x); \
        return x; \
    }
FA_PRIMITIVES(f32, f)
FA_PRIMITIVES(f64, )

#endif
