/* The row algorithms for the precision REAL; included twice by rows.h.

   Sums go through LANES partial sums, element i into lane i % LANES, in double precision, and the lanes are added in a
   fixed order: the result depends neither on the vector width nor on threads. Rows end in a padded block. */
#define ROW(name) FA_PASTE(FA_PASTE(name, _), REAL)
#define T FA_PASTE(fa_, REAL)

#ifndef FA_LANES
#define FA_LANES
enum { LANES = 16 };

/* A lane's sum and what its roundings lost (Neumaier): rows may have millions of elements. */
typedef struct {
    double sum[LANES], lost[LANES];
} lanes;

FA_INLINE void
add_to_lane(lanes *l, int j, double term)
{
    const double sum = l->sum[j] + term;
    const double seen = sum - l->sum[j];
    l->lost[j] += (l->sum[j] - (sum - seen)) + (term - seen);
    l->sum[j] = sum;
}

static double
total_of_lanes(lanes *l)
{
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++) {
            l->lost[j] += l->lost[j + half];
            add_to_lane(l, j, l->sum[j + half]);
        }
    /* Where a sum is infinite, what it lost is NaN (inf - inf). */
    return isfinite(l->sum[0]) ? l->sum[0] + l->lost[0] : l->sum[0];
}
#endif

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
    for (; i < n; i++)
        largest[0] = x[i] * sign > largest[0] ? x[i] * sign : largest[0];
    for (int j = 1; j < LANES; j++)
        largest[0] = largest[j] > largest[0] ? largest[j] : largest[0];
    return largest[0] * sign;
}

/* Weights exp(scale * (x - extreme)) into y. Returns the sum of all but the first 1 among them, whose place is
   *top: log1p of that sum keeps its digits where one element has nearly all the weight. */
static double
ROW(weights)(size_t n, const T *x, double scale, T *y, size_t *top)
{
    const T extreme = ROW(extreme)(n, x, scale), factor = (T)scale;
    T tail[LANES];
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        FA_INDEPENDENT
        for (int j = 0; j < LANES; j++)
            y[i + (size_t)j] = ROW(row_weight)(x[i + (size_t)j], extreme, factor);
    }
    if (i < n) {
        for (int j = 0; j < LANES; j++)
            tail[j] = x[i + (size_t)j < n ? i + (size_t)j : n - 1];
        FA_INDEPENDENT
        for (int j = 0; j < LANES; j++)
            tail[j] = ROW(row_weight)(tail[j], extreme, factor);
        memcpy(y + i, tail, (n - i) * sizeof *tail);
    }
    for (*top = 0; *top < n && !(y[*top] == 1); ++*top)
        ;
    if (*top < n)
        y[*top] = 0;
    lanes sums = {{0}, {0}};
    for (i = 0; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; j++)
            add_to_lane(&sums, j, y[i + (size_t)j]);
    }
    for (int j = 0; i < n; i++, j++)
        add_to_lane(&sums, j, y[i]);
    if (*top < n)
        y[*top] = 1;
    return total_of_lanes(&sums);
}

/* A row with exactly one winner at infinity has a limit: all weight is there. */
static int
ROW(one_hot)(size_t n, const T *x, double scale, T *y, T winner, T other)
{
    const T infinity = scale < 0 ? -(T)INFINITY : (T)INFINITY;
    size_t winners = 0, place = 0;
    if (scale == 0 || ROW(extreme)(n, x, scale) != infinity)
        return 0;
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

static void
ROW(softmax)(size_t n, const void *input, double scale, void *output)
{
    const T *x = input;
    T *y = output;
    size_t top;
    if (n == 0 || ROW(one_hot)(n, x, scale, y, 1, 0))
        return;
    const T share = (T)(1 / (1 + ROW(weights)(n, x, scale, y, &top)));
    /* Without a weight of 1 the row holds NaN, or nothing but infinities of the losing sign. */
    const T factor = top < n ? share : (T)NAN;
    FA_INDEPENDENT
    for (size_t i = 0; i < n; i++)
        y[i] = y[i] * factor;
}

static void
ROW(log_softmax)(size_t n, const void *input, double scale, void *output)
{
    const T *x = input;
    T *y = output;
    size_t top;
    if (n == 0 || ROW(one_hot)(n, x, scale, y, 0, -(T)INFINITY))
        return;
    const T extreme = ROW(extreme)(n, x, scale), factor = (T)scale;
    const double others = ROW(weights)(n, x, scale, y, &top);
    const double log_sum = top < n ? log1p(others) : NAN;
    const T log_high = (T)log_sum, log_low = (T)(log_sum - (double)log_high);
    FA_INDEPENDENT
    for (size_t i = 0; i < n; i++)
        y[i] = ROW(row_log_weight)(x[i], extreme, factor, log_high, log_low);
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
        for (int j = 0; j < LANES; j++) {
            const T weight = y[i + (size_t)j];
            add_to_lane(&sums, j, weight == 0 ? 0 : (double)dy[i + (size_t)j] * (double)weight);
        }
    }
    for (int j = 0; i < n; i++, j++)
        add_to_lane(&sums, j, y[i] == 0 ? 0 : (double)dy[i] * (double)y[i]);
    const T mean = (T)total_of_lanes(&sums), factor = (T)scale;
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
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; j++)
            add_to_lane(&sums, j, dy[i + (size_t)j]);
    }
    for (int j = 0; i < n; i++, j++)
        add_to_lane(&sums, j, dy[i]);
    const T total = (T)total_of_lanes(&sums), factor = (T)scale;
    FA_INDEPENDENT
    for (size_t k = 0; k < n; k++)
        dx[k] = factor * FA_PASTE(fa_fma_, REAL)(-ROW(row_exp)(y[k]), total, dy[k]);
}

#undef ROW
#undef T
