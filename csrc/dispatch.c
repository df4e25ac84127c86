/* Which instruction set and which backend the loops use. */
#include "fastact.h"
#include "staging.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

const fa_isa *fa_current_isa = &fa_isa_baseline;
size_t fa_fetch_distance;

static int current_backend = FA_BACKEND_C;
static fa_compile_hook compile_hook;

typedef struct {
    const fa_isa *isa;
    int present;
} candidate;

#if defined(__x86_64__)
/* By hand, because __builtin_cpu_supports takes a library that clang on Windows does not link. */
static int
has_avx2(void)
{
    const unsigned wanted = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & wanted) != wanted)
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

static int
has_avx512(void)
{
    const unsigned wanted = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & wanted) == wanted;
}

/* Whether the operating system saves these registers, by the bits that XGETBV gives. */
static int
saves(unsigned wanted)
{
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & wanted) == wanted;
}

enum { AVX_REGISTERS = 0x06, AVX512_REGISTERS = 0xe6 };
#endif

/* Measured: Intel's processors gain by fetching 2 KB ahead, while AMD's lose where memory is the limit, up to a fifth. Others
   are left to what they foresee by themselves. */
static size_t
best_fetch_distance(void)
{
#if defined(__x86_64__)
    unsigned highest, vendor[3];
    if (__get_cpuid(0, &highest, &vendor[0], &vendor[2], &vendor[1]) && memcmp(vendor, "GenuineIntel", 12) == 0)
        return 2048;
#endif
    return 0;
}

/* Best first. */
static int
candidates(candidate *found)
{
    int n = 0;
#if defined(__x86_64__)
    const int avx2 = has_avx2() && saves(AVX_REGISTERS);
#if defined(__APPLE__) /* saves them from their first use on, and only then says so */
    const int avx512 = avx2 && has_avx512();
#else
    const int avx512 = avx2 && has_avx512() && saves(AVX512_REGISTERS);
#endif
    found[n++] = (candidate){&fa_isa_avx512, avx512};
    found[n++] = (candidate){&fa_isa_avx2, avx2};
#elif defined(__aarch64__)
    found[n++] = (candidate){&fa_isa_neon, 1};
#endif
    found[n++] = (candidate){&fa_isa_baseline, 1};
    return n;
}

const char *
fa_available_isa(int i)
{
    candidate found[4] = {0};
    const int n = candidates(found);
    for (int k = 0; k < n; k++)
        if (found[k].present && i-- == 0)
            return found[k].isa->name;
    return NULL;
}

int
fa_select_isa(const char *name)
{
    candidate found[4] = {0};
    const int n = candidates(found);
    for (int k = 0; k < n; k++)
        if (found[k].present && strcmp(found[k].isa->name, name) == 0) {
            fa_current_isa = found[k].isa;
            fa_fetch_distance = best_fetch_distance();
            for (int i = 0; i < fa_kernel_count; i++)
                fa_kernels[i].c = found[k].isa->kernels[i];
            return 0;
        }
    return -1;
}

void
fa_set_backend(int backend)
{
    __atomic_store_n(&current_backend, backend, __ATOMIC_RELAXED);
}

int
fa_get_backend(void)
{
    return __atomic_load_n(&current_backend, __ATOMIC_RELAXED);
}

void
fa_set_compile_hook(size_t address)
{
    compile_hook = (fa_compile_hook)address;
}

fa_function
fa_implementation(const fa_loop *loop)
{
    fa_kernel *kernel = loop->kernel;
    const int backend = loop->backend == FA_BACKEND_CURRENT ? fa_get_backend() : loop->backend;
    if (backend == FA_BACKEND_NUMBA) {
        if (__atomic_load_n(&kernel->numba, __ATOMIC_ACQUIRE) == NULL && compile_hook != NULL)
            compile_hook(kernel);
        const fa_function compiled = __atomic_load_n(&kernel->numba, __ATOMIC_ACQUIRE);
        if (compiled != NULL)
            return compiled;
    }
    return kernel->c;
}
