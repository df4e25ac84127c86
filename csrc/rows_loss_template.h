/* softmax_cross_entropy of one row and its gradient, for the precision REAL; included twice by rows.h. */
#define ROW(name) FA_PASTE(FA_PASTE(name, _), FA_PASTE(REAL, _row))
#define STEP(name) FA_PASTE(FA_PASTE(name, _), REAL)
#define T FA_PASTE(fa_, REAL)

/* Whether softmax has a limit though the row's maximum is infinite: where it is the only one. */
static int
ROW(has_limit)(size_t n, const T *x, T extreme)
{
    size_t winners = 0;
    int has_nan = 0;
    if (!isinf(extreme) || extreme < 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        has_nan |= x[i] != x[i];
        winners += x[i] == extreme;
    }
    return !has_nan && winners == 1;
}

/* -log(softmax) of an element. log_sum is that of the row's weights; the element that is the extreme may be infinite. */
FA_INLINE double
ROW(surprisal)(T x, T extreme, double log_sum)
{
    return log_sum + (x == extreme ? 0 : (double)extreme - (double)x);
}

/* Of an element that has no probability, an infinite surprisal does not matter. */
FA_INLINE double
ROW(expected)(double probability, double surprisal)
{
    return probability == 0 && isinf(surprisal) ? 0 : probability * surprisal;
}

/* -sum(p log(softmax(x))), p = (1 - smoothing) probabilities + smoothing / n. No term cancels another. */
static double
ROW(cross_entropy)(size_t n, const void *input, const fa_target *target)
{
    const T *x = input, *probabilities = target->probabilities;
    const double kept = 1 - target->smoothing, everywhere = target->smoothing / (double)n;
    T extremes[LANES];
    double others = 0, sum;
    ROW(extremes)(n, 1, x, 1, 1, extremes);
    const T extreme = extremes[0];
    if (!ROW(has_limit)(n, x, extreme))
        ROW(weights)(n, 1, x, 1, extremes, 1, NULL, 1, &others);
    const double log_sum = log1p(others);
    const double at_label =
        probabilities == NULL ? ROW(expected)(kept, ROW(surprisal)(x[target->label], extreme, log_sum)) : 0;
    if (probabilities == NULL && everywhere == 0)
        return at_label;
    ROW(lanes) sums;
    ROW(clear)(&sums, LANES);
    for (size_t i = 0; i < n; i += LANES) {
        const size_t count = ROW(least)(LANES, n - i);
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++) {
            const double given = probabilities == NULL ? 0 : (double)probabilities[i + k];
            const double surprisal = ROW(surprisal)(x[i + k], extreme, log_sum);
            ROW(add)(&sums, k, ROW(expected)(kept * given + everywhere, surprisal));
        }
    }
    ROW(totals)(&sums, n, 1, &sum);
    return at_label + sum;
}

/* dx = factor * (softmax(x) sum(p) - p), p as above. Of a label softmax(x) - 1 is what all others have, which keeps its
   digits where the label has nearly all the weight. */
static void
ROW(cross_entropy_backward)(size_t n, const void *input, const fa_target *target, double factor, void *result)
{
    const T *x = input, *probabilities = target->probabilities;
    T *dx = result, extremes[LANES];
    const double smoothing = target->smoothing, everywhere = smoothing / (double)n;
    const T offset = (T)(factor * everywhere);
    double others = 0;
    ROW(extremes)(n, 1, x, 1, 1, extremes);
    const T extreme = extremes[0];
    if (ROW(has_limit)(n, x, extreme))
        for (size_t i = 0; i < n; i++)
            dx[i] = x[i] == extreme ? 1 : 0;
    else
        ROW(weights)(n, 1, x, 1, extremes, 1, dx, 1, &others);
    const double total = 1 + others;
    if (isnan(total)) {
        for (size_t i = 0; i < n; i++)
            dx[i] = (T)NAN;
    } else if (probabilities == NULL) {
        const double rest = (1 - (double)dx[target->label]) + others;
        const T share = (T)(factor / total);
        FA_INDEPENDENT
        for (size_t i = 0; i < n; i++)
            dx[i] = STEP(fa_fma)(dx[i], share, -offset);
        dx[target->label] = (T)(factor * ((smoothing - everywhere) - rest / total));
    } else {
        ROW(lanes) sums;
        double sum;
        ROW(clear)(&sums, LANES);
        for (size_t i = 0; i < n; i += LANES) {
            const size_t count = ROW(least)(LANES, n - i);
            FA_INDEPENDENT
            for (size_t k = 0; k < count; k++)
                ROW(add)(&sums, k, probabilities[i + k]);
        }
        ROW(totals)(&sums, n, 1, &sum);
        sum = (1 - smoothing) * sum + smoothing;
        const T share = (T)(factor * sum / total), kept = (T)(factor * (1 - smoothing));
        FA_INDEPENDENT
        for (size_t i = 0; i < n; i++) {
            const T wanted = STEP(fa_fma)(kept, probabilities[i], offset);
            dx[i] = STEP(fa_fma)(dx[i], share, -wanted);
        }
    }
}

#undef ROW
#undef STEP
#undef T
