/* Writing past the caches; part of kernels.c. A store to memory that is in no cache first reads it, line by line;
   streaming stores of whole lines do not, and leave the caches to what will be read. */

enum { FA_LINE = 64 };

/* Copy; `to` begins a cache line, or nothing is gained. The stores are not ordered: see fa_end_streaming. */
static void
stream(size_t bytes, const void *from, void *to)
{
    size_t done = 0;
#if defined(__x86_64__)
    const size_t whole = (uintptr_t)to % FA_LINE == 0 ? bytes - bytes % FA_LINE : 0;
    const char *source = from;
    char *target = to;
#if defined(FA_HAVE_AVX512)
    for (; done < whole; done += 64)
        _mm512_stream_si512((__m512i *)(target + done), _mm512_loadu_si512(source + done));
#elif defined(FA_HAVE_FMA)
    for (; done < whole; done += 32)
        _mm256_stream_si256((__m256i *)(target + done), _mm256_loadu_si256((const __m256i *)(source + done)));
#else
    for (; done < whole; done += 16)
        _mm_stream_si128((__m128i *)(target + done), _mm_loadu_si128((const __m128i *)(source + done)));
#endif
#endif
    memcpy((char *)to + done, (const char *)from + done, bytes - done);
}
