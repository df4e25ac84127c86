/* sparsemax (Martins and Astudillo 2016) and entmax15 (Peters, Niculae and Martins 2019) of one row, for the precision
   REAL; included twice by rows.h.

   Both are y = max(z - tau, 0)^power, with z the row (power 1) or half of it (power 2), and tau such that the sum is 1.
   The sum is a convex, decreasing function of tau. Newton's method from below its root, max(z) - 1, therefore climbs to
   it without passing it; elements that tau has passed are out for good. */
#define ROW(name) FA_PASTE(FA_PASTE(name, _), FA_PASTE(REAL, _row))
#define T FA_PASTE(fa_, REAL)

/* Keep those of the n candidates whose distance from the extreme is above a threshold; returns how many. */
static size_t
ROW(keep_above)(size_t n, const T *x, T extreme, double scale, double threshold, T *kept)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const T element = x[i];
        kept[count] = element;
        count += scale * ((double)element - (double)extreme) > threshold;
    }
    return count;
}

static void
ROW(project)(size_t n, const T *x, double scale, int power, T *y, char *scratch)
{
    T extreme;
    ROW(extremes_of)(n, 1, x, 1, scale < 0 ? -1 : 1, 1, &extreme, scratch);
    const double factor = power == 2 ? scale / 2 : scale;
    double threshold = -1, correction = 0; /* tau less the largest z */
    if (!isfinite(extreme) || !isfinite(factor) || n == 0) {
        for (size_t i = 0; i < n; i++)
            y[i] = (T)NAN;
        if (isfinite(factor))
            ROW(limits)(n, 1, x, 1, scale, &extreme, y, 1, 1, 0);
        return;
    }
    size_t count = ROW(keep_above)(n, x, extreme, factor, threshold, y);
    for (;;) {
        SUMS(sums);
        SUMS(slopes);
        double sum, slope;
        ROW(clear)(&sums, LANES);
        ROW(clear)(&slopes, LANES);
        for (size_t begin = 0; begin < count; begin += LANES) {
            const size_t block = count - begin < LANES ? count - begin : LANES;
            FA_INDEPENDENT
            for (size_t k = 0; k < block; k++) {
                const double above = factor * ((double)y[begin + k] - (double)extreme) - threshold;
                ROW(add)(&sums, k, power == 2 ? above * above : above);
                ROW(add)(&slopes, k, power == 2 ? 2 * above : 1);
            }
        }
        ROW(totals)(&sums, count, 1, &sum);
        ROW(totals)(&slopes, count, 1, &slope);
        /* The last step, which is too small to move tau or goes back by its rounding, is kept beside it. */
        correction = (sum - 1) / slope;
        if (!(threshold + correction > threshold))
            break;
        threshold += correction;
        count = ROW(keep_above)(count, y, extreme, factor, threshold, y);
    }
    FA_INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        const double above = factor * ((double)x[i] - (double)extreme) - threshold - correction;
        const double positive = above > 0 ? above : 0;
        y[i] = (T)(power == 2 ? positive * positive : positive);
    }
}

static void
ROW(sparsemax)(size_t n, size_t width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
               ptrdiff_t y_pitch, char *scratch)
{
    (void)width, (void)x_pitch, (void)y_pitch; /* 1 each */
    ROW(project)(n, input, scale, 1, output, scratch);
}

static void
ROW(entmax15)(size_t n, size_t width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
              ptrdiff_t y_pitch, char *scratch)
{
    (void)width, (void)x_pitch, (void)y_pitch; /* 1 each */
    ROW(project)(n, input, scale, 2, output, scratch);
}

#undef ROW
#undef T
