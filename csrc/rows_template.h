/* The row algorithms for the precision REAL; included twice by rows.h.

   Sums go through LANES partial sums, element i into lane i % LANES, in double precision, and the lanes are added in a
   fixed order: the result depends neither on the vector width nor on threads. Rows end in a padded block. */
#define ROW(name) FA_PASTE(FA_PASTE(name, _), REAL)
#define T FA_PASTE(fa_, REAL)

#ifndef FA_LANES
#define FA_LANES
enum { LANES = 16 };

/* A lane's sum and what its roundings lost (Neumaier): rows may have millions of elements. Terms that are floats leave
   double precision so much room that nothing needs to be kept of the roundings. */
typedef struct {
    double sum[LANES], lost[LANES];
} lanes;

FA_INLINE void
add_exactly(lanes *l, int j, double term)
{
    const double sum = l->sum[j] + term;
    const double seen = sum - l->sum[j];
    l->lost[j] += (l->sum[j] - (sum - seen)) + (term - seen);
    l->sum[j] = sum;
}

FA_INLINE void
add_to_lane_f32(lanes *l, int j, double term)
{
    l->sum[j] += term;
}

FA_INLINE void
add_to_lane_f64(lanes *l, int j, double term)
{
    add_exactly(l, j, term);
}

#endif

static double
ROW(total_of_lanes)(lanes *l)
{
    const int keeps_losses = sizeof(T) == sizeof(double);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++) {
            if (keeps_losses)
                l->lost[j] += l->lost[j + half];
            ROW(add_to_lane)(l, j, l->sum[j + half]);
        }
    /* Where a sum is infinite, what it lost is NaN (inf - inf). */
    return keeps_losses && isfinite(l->sum[0]) ? l->sum[0] + l->lost[0] : l->sum[0];
}

/* Add n terms to the lanes, the first of them to lane 0. */
static void
ROW(add_all)(lanes *sums, size_t n, const T *terms)
{
    lanes l = *sums;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        FA_INDEPENDENT
        for (int j = 0; j < LANES; j++)
            ROW(add_to_lane)(&l, j, terms[i + (size_t)j]);
    }
    for (int j = 0; i < n; i++, j++)
        ROW(add_to_lane)(&l, j, terms[i]);
    *sums = l;
}

/* The largest scale * x decides what is subtracted from the row: its maximum, or for a negative scale its minimum.
   NaN is passed over here and met again in the weights. */
static T
ROW(extreme)(size_t n, const T *x, double scale)
{
    const T sign = scale < 0 ? -1 : 1;
    T largest[LANES];
    for (int j = 0; j < LANES; j++)
        largest[j] = -(T)INFINITY;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        FA_INDEPENDENT
        for (int j = 0; j < LANES; j++)
            largest[j] = x[i + (size_t)j] * sign > largest[j] ? x[i + (size_t)j] * sign : largest[j];
    }
    for (int j = 0; i < n; i++, j++)
        largest[j] = x[i] * sign > largest[j] ? x[i] * sign : largest[j];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            largest[j] = largest[j + half] > largest[j] ? largest[j + half] : largest[j];
    return largest[0] * sign;
}

/* exp(scale * (x - extreme)) of n elements, a multiple of LANES. */
static void
ROW(weigh)(size_t n, const T *x, T extreme, double scale, T *y)
{
    const T factor = (T)scale;
    if (scale == 1) {
        FA_INDEPENDENT
        for (size_t i = 0; i < n; i++)
            y[i] = ROW(row_weight)(x[i], extreme);
    } else {
        FA_INDEPENDENT
        for (size_t i = 0; i < n; i++)
            y[i] = ROW(row_weight_scaled)(x[i], extreme, factor);
    }
}

/* Add n weights that are not 1 to the lanes, and count those that are, lane by lane. */
static void
ROW(add_weights)(lanes *sums, T *ones, size_t n, const T *weights)
{
    lanes l = *sums;
    T counts[LANES];
    memcpy(counts, ones, sizeof counts);
    for (size_t i = 0; i < n; i += LANES) {
        T block[LANES];
        if (i + LANES <= n) {
            memcpy(block, weights + i, sizeof block);
        } else {
            memset(block, 0, sizeof block);
            memcpy(block, weights + i, (n - i) * sizeof *block);
        }
        FA_INDEPENDENT
        for (int j = 0; j < LANES; j++)
            counts[j] += block[j] == 1 ? (T)1 : (T)0;
        FA_INDEPENDENT
        for (int j = 0; j < LANES; j++)
            block[j] = block[j] == 1 ? (T)0 : block[j];
        FA_INDEPENDENT
        for (int j = 0; j < LANES; j++)
            ROW(add_to_lane)(&l, j, block[j]);
    }
    memcpy(ones, counts, sizeof counts);
    *sums = l;
}

/* Weights exp(scale * (x - extreme)) into y. Returns their sum less 1, for the extreme itself has the weight 1: log1p of
   that keeps its digits where one element has nearly all the weight. NaN where the row holds a NaN, or several winning
   infinities, or nothing but losing ones. */
static double
ROW(weights)(size_t n, const T *x, T extreme, double scale, T *y)
{
    enum { BLOCK = 512 }; /* weighed and summed while in the first-level cache */
    lanes sums = {{0}, {0}};
    T ones[LANES] = {0};
    if (!isfinite(extreme))
        return NAN;
    for (size_t begin = 0; begin < n; begin += BLOCK) {
        const size_t count = n - begin < BLOCK ? n - begin : BLOCK, whole = count - count % LANES;
        ROW(weigh)(whole, x + begin, extreme, scale, y + begin);
        if (whole < count) {
            T tail[LANES] = {0};
            memcpy(tail, x + begin + whole, (count - whole) * sizeof *tail);
            ROW(weigh)(LANES, tail, extreme, scale, tail);
            memcpy(y + begin + whole, tail, (count - whole) * sizeof *tail);
        }
        ROW(add_weights)(&sums, ones, count, y + begin);
    }
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            ones[j] += ones[j + half];
    return ROW(total_of_lanes)(&sums) + ((double)ones[0] - 1);
}

/* A row with exactly one winning infinity has a limit: all weight is there. Returns whether the row is of that kind. */
static int
ROW(one_hot)(size_t n, const T *x, T infinity, T *y, T winner, T other)
{
    size_t winners = 0, place = 0;
    for (size_t i = 0; i < n; i++) {
        if (x[i] != x[i])
            return 0;
        if (x[i] == infinity)
            place = i, winners++;
    }
    if (winners != 1)
        return 0;
    for (size_t i = 0; i < n; i++)
        y[i] = i == place ? winner : other;
    return 1;
}

FA_INLINE int
ROW(is_winning)(T extreme, double scale)
{
    return isinf(extreme) && scale != 0 && (extreme > 0) == (scale > 0);
}

static void
ROW(softmax)(size_t n, const void *input, double scale, void *output)
{
    const T *x = input;
    T *y = output;
    const T extreme = ROW(extreme)(n, x, scale);
    if (ROW(is_winning)(extreme, scale) && ROW(one_hot)(n, x, extreme, y, 1, 0))
        return;
    const double others = ROW(weights)(n, x, extreme, scale, y);
    const T share = (T)(1 / (1 + others));
    if (isnan(others)) {
        for (size_t i = 0; i < n; i++)
            y[i] = (T)NAN;
        return;
    }
    FA_INDEPENDENT
    for (size_t i = 0; i < n; i++)
        y[i] = y[i] * share;
}

/* The output must not be the input: the row's weights pass through it. */
static void
ROW(log_softmax)(size_t n, const void *input, double scale, void *output)
{
    const T *x = input;
    T *y = output;
    const T extreme = ROW(extreme)(n, x, scale), factor = (T)scale;
    if (ROW(is_winning)(extreme, scale) && ROW(one_hot)(n, x, extreme, y, 0, -(T)INFINITY))
        return;
    const double log_sum = log1p(ROW(weights)(n, x, extreme, scale, y));
    const T log_high = (T)log_sum, log_low = (T)(log_sum - (double)log_high);
    if (scale == 1) {
        FA_INDEPENDENT
        for (size_t i = 0; i < n; i++)
            y[i] = ROW(row_log_weight)(x[i], extreme, log_high, log_low);
    } else {
        FA_INDEPENDENT
        for (size_t i = 0; i < n; i++)
            y[i] = ROW(row_log_weight_scaled)(x[i], extreme, factor, log_high, log_low);
    }
}

/* dx = scale * y * (dy - sum(dy * y)); where y is 0, so is dx, whatever dy. */
static void
ROW(softmax_backward)(size_t n, const void *gradient, const void *output, double scale, void *result)
{
    const T *dy = gradient, *y = output;
    T *dx = result;
    lanes sums = {{0}, {0}};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        FA_INDEPENDENT
        for (int j = 0; j < LANES; j++) {
            const T weight = y[i + (size_t)j];
            ROW(add_to_lane)(&sums, j, weight == 0 ? 0 : (double)dy[i + (size_t)j] * (double)weight);
        }
    }
    for (int j = 0; i < n; i++, j++)
        ROW(add_to_lane)(&sums, j, y[i] == 0 ? 0 : (double)dy[i] * (double)y[i]);
    const T mean = (T)ROW(total_of_lanes)(&sums), factor = (T)scale;
    FA_INDEPENDENT
    for (size_t k = 0; k < n; k++)
        dx[k] = y[k] == 0 ? 0 : factor * (y[k] * (dy[k] - mean));
}

/* dx = scale * (dy - exp(y) * sum(dy)) */
static void
ROW(log_softmax_backward)(size_t n, const void *gradient, const void *output, double scale, void *result)
{
    const T *dy = gradient, *y = output;
    T *dx = result;
    lanes sums = {{0}, {0}};
    ROW(add_all)(&sums, n, dy);
    const T total = (T)ROW(total_of_lanes)(&sums), factor = (T)scale;
    FA_INDEPENDENT
    for (size_t k = 0; k < n; k++)
        dx[k] = factor * FA_PASTE(fa_fma_, REAL)(-ROW(row_exp)(y[k]), total, dy[k]);
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
ROW(cross_entropy)(size_t n, const void *input, const fa_target *target, void *scratch)
{
    const T *x = input, *probabilities = target->probabilities;
    const double kept = 1 - target->smoothing, everywhere = target->smoothing / (double)n;
    const T extreme = ROW(extreme)(n, x, 1);
    const double log_sum = ROW(is_winning)(extreme, 1) && ROW(one_hot)(n, x, extreme, scratch, 1, 0)
                               ? 0
                               : log1p(ROW(weights)(n, x, extreme, 1, scratch));
    const double at_label =
        probabilities == NULL ? ROW(expected)(kept, ROW(surprisal)(x[target->label], extreme, log_sum)) : 0;
    if (probabilities == NULL && everywhere == 0)
        return at_label;
    lanes sums = {{0}, {0}};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        FA_INDEPENDENT
        for (int j = 0; j < LANES; j++) {
            const double given = probabilities == NULL ? 0 : (double)probabilities[i + (size_t)j];
            ROW(add_to_lane)(&sums, j, ROW(expected)(kept * given + everywhere,
                                                     ROW(surprisal)(x[i + (size_t)j], extreme, log_sum)));
        }
    }
    for (int j = 0; i < n; i++, j++) {
        const double given = probabilities == NULL ? 0 : (double)probabilities[i];
        ROW(add_to_lane)(&sums, j, ROW(expected)(kept * given + everywhere, ROW(surprisal)(x[i], extreme, log_sum)));
    }
    return at_label + ROW(total_of_lanes)(&sums);
}

/* dx = factor * (softmax(x) sum(p) - p), p as above. Of a label softmax(x) - 1 is what all others have, which keeps its
   digits where the label has nearly all the weight. */
static void
ROW(cross_entropy_backward)(size_t n, const void *input, const fa_target *target, double factor, void *result)
{
    const T *x = input, *probabilities = target->probabilities;
    T *dx = result;
    const double smoothing = target->smoothing, everywhere = smoothing / (double)n;
    const T extreme = ROW(extreme)(n, x, 1), offset = (T)(factor * everywhere);
    const double others = ROW(is_winning)(extreme, 1) && ROW(one_hot)(n, x, extreme, dx, 1, 0)
                              ? 0
                              : ROW(weights)(n, x, extreme, 1, dx);
    const double total = 1 + others;
    if (isnan(total)) {
        for (size_t i = 0; i < n; i++)
            dx[i] = (T)NAN;
    } else if (probabilities == NULL) {
        const double rest = (1 - (double)dx[target->label]) + others;
        const T share = (T)(factor / total);
        FA_INDEPENDENT
        for (size_t i = 0; i < n; i++)
            dx[i] = FA_PASTE(fa_fma_, REAL)(dx[i], share, -offset);
        dx[target->label] = (T)(factor * ((smoothing - everywhere) - rest / total));
    } else {
        lanes sums = {{0}, {0}};
        ROW(add_all)(&sums, n, probabilities);
        const double sum = (1 - smoothing) * ROW(total_of_lanes)(&sums) + smoothing;
        const T share = (T)(factor * sum / total), kept = (T)(factor * (1 - smoothing));
        FA_INDEPENDENT
        for (size_t i = 0; i < n; i++) {
            const T wanted = FA_PASTE(fa_fma_, REAL)(kept, probabilities[i], offset);
            dx[i] = FA_PASTE(fa_fma_, REAL)(dx[i], share, -wanted);
        }
    }
}

#undef ROW
#undef T
