/* float16 and bfloat16 to float32 and back, rounding to nearest even; part of kernels.c. gcc vectorises neither
   _Float16 nor __bf16, but the integer arithmetic below. */

/* By hand: for processors without conversion instructions, and for tails. Subnormal halves are the reason for the
   multiplication and the addition, which do their shifting and rounding. */
FA_INLINE float
half_to_float(uint16_t half)
{
    const uint32_t size = (uint32_t)(half & 0x7fff) << 13;
    const float scaled = fa_from_bits_f32(size) * 0x1p112f;
    const uint32_t bits = size >= 0x0f800000u ? (size | 0x7f800000u) : fa_bits_of_f32(scaled);
    return fa_from_bits_f32(bits | (uint32_t)(half & 0x8000) << 16);
}

FA_INLINE uint16_t
float_to_half(float x)
{
    const uint32_t bits = fa_bits_of_f32(x), size = bits & 0x7fffffffu, sign = (bits >> 16) & 0x8000u;
    const uint32_t subnormal = fa_bits_of_f32(fa_from_bits_f32(size) + 0.5f) - 0x3f000000u;
    const uint32_t normal = (size - 0x38000000u + 0xfffu + ((size >> 13) & 1u)) >> 13;
    const uint32_t special = size > 0x7f800000u ? 0x7e00u : 0x7c00u; /* NaN, or infinity from 65520 on */
    return (uint16_t)(sign | (size >= 0x477ff000u ? special : size < 0x38800000u ? subnormal : normal));
}

static void
widen_f16(size_t n, const uint16_t *halves, float *x)
{
    size_t i = 0;
#if defined(FA_HAVE_AVX512)
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(x + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(halves + i))));
#elif defined(FA_HAVE_FMA) /* F16C comes with every instruction set above the baseline */
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(halves + i))));
#endif
    for (; i < n; i++)
        x[i] = half_to_float(halves[i]);
}

static void
narrow_f16(size_t n, const float *x, uint16_t *halves)
{
    size_t i = 0;
#if defined(FA_HAVE_AVX512)
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(halves + i),
                            _mm512_cvtps_ph(_mm512_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
#elif defined(FA_HAVE_FMA)
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(halves + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    for (; i < n; i++)
        halves[i] = float_to_half(x[i]);
}

/* A bfloat16 is the upper half of a float32. */
static void
widen_bf16(size_t n, const uint16_t *upper, float *x)
{
    FA_INDEPENDENT
    for (size_t i = 0; i < n; i++)
        x[i] = fa_from_bits_f32((uint32_t)upper[i] << 16);
}

/* The carry of the rounding runs into the exponent, and so to infinity; that of a NaN might run anywhere, which is why all
   its bits are set. The instruction that does this, vcvtneps2bf16 of AVX512-BF16, flushes subnormals. */
static void
narrow_bf16(size_t n, const float *x, uint16_t *upper)
{
    FA_INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = fa_bits_of_f32(x[i]);
        const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
        const uint32_t nan = x[i] != x[i] ? 0xffffffffu : 0;
        upper[i] = (uint16_t)((rounded | nan) >> 16);
    }
}

/* The same between pairs of bfloat16s as they lie in memory and a block of floats that holds the first ones of all pairs
   before the second ones: without the shuffles that keeping the order takes, and two results are put in place at once.
   The last element of an odd number stays the last. A NaN must have no bit set in its lower half, as all have that come
   of bfloat16s and arithmetic: its rounding adds nothing then. */
static void
widen_bf16_pairs(size_t n, const uint16_t *upper, float *x)
{
    const size_t pairs = n / 2;
    float *first = x, *second = x + pairs;
    FA_INDEPENDENT
    for (size_t i = 0; i < pairs; i++) {
        uint32_t pair;
        memcpy(&pair, upper + 2 * i, sizeof pair);
        first[i] = fa_from_bits_f32(pair << 16);
        second[i] = fa_from_bits_f32(pair & 0xffff0000u);
    }
    widen_bf16(n % 2, upper + 2 * pairs, x + 2 * pairs);
}

/* Subtracting it makes signalling NaNs quiet, and leaves everything else as it is. The compiler must not know its value:
   it would leave out the subtraction. */
static volatile const float zero = 0;

FA_INLINE uint32_t
rounded_to_bf16(float x, float subtracted)
{
    const uint32_t bits = fa_bits_of_f32(x - subtracted);
    return bits + 0x7fffu + ((bits >> 16) & 1u);
}

static void
narrow_bf16_pairs(size_t n, const float *x, uint16_t *upper)
{
    const size_t pairs = n / 2;
    const float *first = x, *second = x + pairs, nothing = zero;
    FA_INDEPENDENT
    for (size_t i = 0; i < pairs; i++) {
        const uint32_t low = rounded_to_bf16(first[i], nothing) >> 16;
        const uint32_t pair = low | (rounded_to_bf16(second[i], nothing) & 0xffff0000u);
        memcpy(upper + 2 * i, &pair, sizeof pair);
    }
    narrow_bf16(n % 2, x + 2 * pairs, upper + 2 * pairs);
}
