/* What the machine allows: a pass over memory in place, and fused multiply-adds in registers. */

#include <stddef.h>

#ifdef __AVX512F__
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
/* Independent sums: enough to hide the latency of an FMA, 4 cycles at two or more per cycle. */
#define SUMS 12

/* Copies with another sign: the compiler would leave out a copy to where the number is already.
   One thread goes without OpenMP, whose parallel regions cost more than short arrays. */
#define COPY(REAL)                                                                 \
    void copy_in_place_##REAL(REAL *x, size_t n, size_t passes, int threads)       \
    {                                                                              \
        for (size_t pass = 0; pass < passes; pass++) {                             \
            if (threads == 1) {                                                    \
                for (size_t i = 0; i < n; i++)                                     \
                    x[i] = -x[i];                                                  \
            } else {                                                               \
                _Pragma("omp parallel for simd num_threads(threads)")              \
                for (size_t i = 0; i < n; i++)                                     \
                    x[i] = -x[i];                                                  \
            }                                                                      \
        }                                                                          \
    }

/* Returns how many multiply-adds of one element were done; `sink` keeps them from being left out. */
#define FMA(REAL)                                                                  \
    size_t fma_in_registers_##REAL(REAL *sink, size_t repetitions, int threads)    \
    {                                                                              \
        typedef REAL vector __attribute__((vector_size(BYTES)));                   \
        const size_t lanes = BYTES / sizeof(REAL);                                 \
        REAL total = 0;                                                            \
        _Pragma("omp parallel num_threads(threads) reduction(+ : total)")          \
        {                                                                          \
            vector sums[SUMS];                                                     \
            const vector factor = (vector){0} + (REAL)0.999, term = factor;        \
            for (int j = 0; j < SUMS; j++)                                         \
                sums[j] = (vector){0} + (REAL)j;                                   \
            for (size_t i = 0; i < repetitions; i++)                               \
                _Pragma("GCC unroll 12")                                           \
                for (int j = 0; j < SUMS; j++)                                     \
                    sums[j] = sums[j] * factor + term;                             \
            for (int j = 0; j < SUMS; j++)                                         \
                for (size_t lane = 0; lane < lanes; lane++)                        \
                    total += sums[j][lane];                                        \
        }                                                                          \
        *sink = total;                                                             \
        return (size_t)threads * repetitions * SUMS * lanes;                       \
    }

COPY(float)
COPY(double)
FMA(float)
FMA(double)
