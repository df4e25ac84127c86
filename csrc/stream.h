/* Writing past the caches; part of kernels.c. A store to memory that is in no cache first reads it, line by line;
   streaming stores of whole lines do not, and leave the caches to what will be read. */

/* Copy; what lies before the first and after the last whole line of `to` in the ordinary way. The stores are not ordered:
   see fa_end_streaming. */
static void
stream(size_t bytes, const void *from, void *to)
{
    const char *source = from;
    char *target = to;
    size_t done = -(uintptr_t)to % FA_LINE;
    done = done < bytes ? done : bytes;
    memcpy(target, source, done);
#if defined(__x86_64__)
    const size_t whole = bytes - (bytes - done) % FA_LINE;
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
    memcpy(target + done, source + done, bytes - done);
}
