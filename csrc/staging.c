#include "staging.h"
#include "primitives.h"

#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>
#else
#include <fenv.h>
#endif

size_t
fa_type_size(char type)
{
    return type == 'd' ? 8 : type == 'f' ? 4 : type == '?' ? 1 : 2;
}

char
fa_kernel_type(char type)
{
    return type == 'd' ? 'd' : 'f';
}

/* Copy to or from a buffer, with steps that the compiler knows where it makes vector code of that: every second element
   (half of all complex numbers), and backwards. */
#define COPY(T, TO, FROM) \
    do { \
        FA_INDEPENDENT \
        for (ptrdiff_t i = 0; i < (ptrdiff_t)n; i++) \
            memcpy(TO, FROM, sizeof(T)); \
    } while (0)

#define COPY_STRIDED(T) \
    do { \
        T *to = buffer; \
        const ptrdiff_t size_ = sizeof(T); \
        if (step == 2 * size_) \
            COPY(T, to + i, source + i * 2 * size_); \
        else if (step == -size_) \
            COPY(T, to + i, source - i * size_); \
        else \
            COPY(T, to + i, source + i * step); \
    } while (0)

static void
gather_same(size_t n, const char *source, ptrdiff_t step, size_t size, void *buffer)
{
    if (step == (ptrdiff_t)size)
        memcpy(buffer, source, n * size);
    else if (size == 4)
        COPY_STRIDED(uint32_t);
    else if (size == 8)
        COPY_STRIDED(uint64_t);
    else
        COPY_STRIDED(uint16_t);
}

#define SPREAD_STRIDED(T) \
    do { \
        const T *from = buffer; \
        const ptrdiff_t size_ = sizeof(T); \
        if (step == -size_) \
            COPY(T, target - i * size_, from + i); \
        else \
            COPY(T, target + i * step, from + i); \
    } while (0)

static void
scatter_same(size_t n, char *target, ptrdiff_t step, size_t size, const void *buffer)
{
    if (step == (ptrdiff_t)size)
        memcpy(target, buffer, n * size);
    else if (size == 4)
        SPREAD_STRIDED(uint32_t);
    else if (size == 8)
        SPREAD_STRIDED(uint64_t);
    else
        SPREAD_STRIDED(uint16_t);
}

const fa_conversion *
fa_conversion_of(char type)
{
    return type == 'E' ? &fa_current_isa->bf16 : &fa_current_isa->f16;
}

/* Elements of a 16-bit type that are not contiguous are made so on the way to or from it, this many at a time. */
enum { PACKED = 512 };

void
fa_gather(size_t n, const char *source, ptrdiff_t step, char type, void *buffer, char kernel_type)
{
    if (type == kernel_type) {
        gather_same(n, source, step, fa_type_size(type), buffer);
        return;
    }
    float *x = buffer;
    if (step == sizeof(uint16_t)) {
        fa_conversion_of(type)->widen(n, (const uint16_t *)source, x);
        return;
    }
    for (size_t i = 0; i < n; i += PACKED) {
        const size_t count = n - i < PACKED ? n - i : PACKED;
        uint16_t packed[PACKED];
        gather_same(count, source + (ptrdiff_t)i * step, step, sizeof *packed, packed);
        fa_conversion_of(type)->widen(count, packed, x + i);
    }
}

void
fa_scatter(size_t n, char *target, ptrdiff_t step, char type, const void *buffer, char kernel_type)
{
    if (type == kernel_type) {
        scatter_same(n, target, step, fa_type_size(type), buffer);
        return;
    }
    const float *x = buffer;
    if (step == sizeof(uint16_t)) {
        fa_conversion_of(type)->narrow(n, x, (uint16_t *)target);
        return;
    }
    for (size_t i = 0; i < n; i += PACKED) {
        const size_t count = n - i < PACKED ? n - i : PACKED;
        uint16_t packed[PACKED];
        fa_conversion_of(type)->narrow(count, x + i, packed);
        scatter_same(count, target + (ptrdiff_t)i * step, step, sizeof *packed, packed);
    }
}

void
fa_call(fa_function kernel, size_t n, int count, void **a)
{
    typedef void *P;
    _Static_assert(FA_MAX_OPERANDS == 11, "one case for each number of operands");
    switch (count) {
    case 2:
        ((void (*)(size_t, P, P))kernel)(n, a[0], a[1]);
        break;
    case 3:
        ((void (*)(size_t, P, P, P))kernel)(n, a[0], a[1], a[2]);
        break;
    case 4:
        ((void (*)(size_t, P, P, P, P))kernel)(n, a[0], a[1], a[2], a[3]);
        break;
    case 5:
        ((void (*)(size_t, P, P, P, P, P))kernel)(n, a[0], a[1], a[2], a[3], a[4]);
        break;
    case 6:
        ((void (*)(size_t, P, P, P, P, P, P))kernel)(n, a[0], a[1], a[2], a[3], a[4], a[5]);
        break;
    case 7:
        ((void (*)(size_t, P, P, P, P, P, P, P))kernel)(n, a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
        break;
    case 8:
        ((void (*)(size_t, P, P, P, P, P, P, P, P))kernel)(n, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
        break;
    case 9:
        ((void (*)(size_t, P, P, P, P, P, P, P, P, P))kernel)(n, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8]);
        break;
    case 10:
        ((void (*)(size_t, P, P, P, P, P, P, P, P, P, P))kernel)(n, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7],
                                                                 a[8], a[9]);
        break;
    default:
        ((void (*)(size_t, P, P, P, P, P, P, P, P, P, P, P))kernel)(n, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7],
                                                                    a[8], a[9], a[10]);
    }
}

void
fa_end_streaming(void)
{
#if defined(__SSE__)
    _mm_sfence();
#endif
}

#if defined(__x86_64__) || defined(__i386__)
/* MXCSR: rounding to nearest, subnormals kept, all exceptions masked. Our code leaves the x87 unit alone, so this is
   all there is; fesetenv would cost a hundred cycles more. Loading a changed MXCSR stalls for as long, and a small call
   would be a third slower: it is loaded only if a mode differs, or a flag that NumPy looks at was raised. The flags for
   inexact results and subnormal operands stay. */
enum { MODES = 0xffc0, DEFAULT_MODES = 0x1f80, NUMPY_FLAGS = 0x1d };

fa_environment
fa_enter(void)
{
    const fa_environment saved = {_mm_getcsr()};
    if ((saved.state & MODES) != DEFAULT_MODES)
        _mm_setcsr(DEFAULT_MODES);
    return saved;
}

void
fa_leave(fa_environment saved)
{
    if ((_mm_getcsr() ^ saved.state) & (MODES | NUMPY_FLAGS))
        _mm_setcsr((unsigned)saved.state);
}
#elif defined(__aarch64__)
/* FPCR holds the modes, FPSR the flags. */
fa_environment
fa_enter(void)
{
    uint64_t modes, flags;
    __asm__ volatile("mrs %0, fpcr" : "=r"(modes));
    __asm__ volatile("mrs %0, fpsr" : "=r"(flags));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
    return (fa_environment){modes << 32 | (flags & 0xffffffffu)};
}

void
fa_leave(fa_environment saved)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(saved.state >> 32));
    __asm__ volatile("msr fpsr, %0" : : "r"(saved.state & 0xffffffffu));
}
#else
fa_environment
fa_enter(void)
{
    return (fa_environment){(uint64_t)fetestexcept(FE_ALL_EXCEPT)};
}

void
fa_leave(fa_environment saved)
{
    feclearexcept(FE_ALL_EXCEPT & ~(int)saved.state);
}
#endif
