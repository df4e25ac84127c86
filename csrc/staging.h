/* Moving elements between NumPy's arrays (any stride, any of our types) and contiguous buffers of a kernel's type. */
#ifndef FA_STAGING_H
#define FA_STAGING_H

#include "fastact.h"

/* Bytes of an element of a type character: 'e', 'E', 'f', 'd' or '?'. */
size_t fa_type_size(char type);

/* What a type is computed in: 'f' or 'd'. */
char fa_kernel_type(char type);

/* Of a 16-bit type: these are computed in float32. */
const fa_conversion *fa_conversion_of(char type);

/* n elements of `type`, `step` bytes apart, to or from a contiguous buffer of the kernel's type 'f' or 'd'. */
void fa_gather(size_t n, const char *source, ptrdiff_t step, char type, void *buffer, char kernel_type);
void fa_scatter(size_t n, char *target, ptrdiff_t step, char type, const void *buffer, char kernel_type);

/* Call a kernel on `count` arrays (inputs, then outputs) of n elements. */
void fa_call(fa_function kernel, size_t n, int count, void **arrays);

/* The floating-point environment of a loop: round to nearest, subnormals kept, no traps, whatever the caller's thread
   has set; and leaving it takes back every flag the loop has raised, so that NumPy has nothing to warn about. */
typedef struct { uint64_t state; } fa_environment;
fa_environment fa_enter(void);
void fa_leave(fa_environment saved);

/* From this many bytes of results on they are written past the caches: most of so much would not be there when it is read
   again. From 8 MiB on relu alone would gain, too, but relu and a sum of its results would lose a fifth. */
enum { FA_BYTES_WORTH_STREAMING = 32 << 20 };

/* After streaming stores: before others may read what they wrote. */
void fa_end_streaming(void);

/* Which implementation a loop runs now; compiles the Numba one when that is due. */
fa_function fa_implementation(const fa_loop *loop);

#endif
