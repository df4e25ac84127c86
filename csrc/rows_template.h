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

static double
total_of_lanes(lanes *l)
{
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++) {
            l->lost[j] += l->lost[j + half];
            add_exactly(l, j, l->sum[j + half]);
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

/* One block of LANES weights, and their sum into the lanes; `formula` is a macro of an element. */
#define WEIGHT_BLOCK(formula) \
    do { \
        FA_INDEPENDENT \
        for (int j = 0; j < LANES; j++) \
            to[j] = formula(from[j]); \
        for (int j = 0; j < LANES; j++) \
            ROW(add_to_lane)(&sums, j, to[j]); \
    } while (0)
#define PLAIN(element) ROW(row_weight)(element, extreme)
#define SCALED(element) ROW(row_weight_scaled)(element, extreme, factor)

/* Weights exp(scale * (x - extreme)) into y. Returns the sum of all but one element that is the extreme and has the
   weight 1: log1p of that sum keeps its digits where one element has nearly all the weight. NaN if there is no such
   element: where the row holds a NaN, or several winning infinities, or nothing but losing ones. */
static double
ROW(weights)(size_t n, const T *x, T extreme, double scale, T *y)
{
    const T factor = (T)scale;
    const T none = scale < 0 ? (T)INFINITY : -(T)INFINITY; /* weighs nothing */
    lanes sums = {{0}, {0}};
    size_t top = 0;
    while (top < n && x[top] != extreme)
        top++;
    if (top == n || !isfinite(extreme))
        return NAN;
    for (size_t i = 0; i < n; i += LANES) {
        T from[LANES], to[LANES];
        const size_t count = n - i < LANES ? n - i : LANES;
        if (count == LANES) {
            memcpy(from, x + i, sizeof from);
        } else {
            for (size_t j = 0; j < LANES; j++)
                from[j] = j < count ? x[i + j] : none;
        }
        if (top - i < count)
            from[top - i] = none;
        if (scale == 1)
            WEIGHT_BLOCK(PLAIN);
        else
            WEIGHT_BLOCK(SCALED);
        memcpy(y + i, to, count * sizeof *to);
    }
    y[top] = 1;
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
    if (n == 0 || ROW(one_hot)(n, x, scale, y, 1, 0))
        return;
    const double others = ROW(weights)(n, x, ROW(extreme)(n, x, scale), scale, y);
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
    if (n == 0 || ROW(one_hot)(n, x, scale, y, 0, -(T)INFINITY))
        return;
    const T extreme = ROW(extreme)(n, x, scale), factor = (T)scale;
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
        for (int j = 0; j < LANES; j++) {
            const T weight = y[i + (size_t)j];
            ROW(add_to_lane)(&sums, j, weight == 0 ? 0 : (double)dy[i + (size_t)j] * (double)weight);
        }
    }
    for (int j = 0; i < n; i++, j++)
        ROW(add_to_lane)(&sums, j, y[i] == 0 ? 0 : (double)dy[i] * (double)y[i]);
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
            ROW(add_to_lane)(&sums, j, dy[i + (size_t)j]);
    }
    for (int j = 0; i < n; i++, j++)
        ROW(add_to_lane)(&sums, j, dy[i]);
    const T total = (T)total_of_lanes(&sums), factor = (T)scale;
    FA_INDEPENDENT
    for (size_t k = 0; k < n; k++)
        dx[k] = factor * FA_PASTE(fa_fma_, REAL)(-ROW(row_exp)(y[k]), total, dy[k]);
}

#undef WEIGHT_BLOCK
#undef PLAIN
#undef SCALED
#undef ROW
#undef T
