/* The row algorithms for the precision REAL and one FORM of a tile; included four times by rows.h. A tile of `width`
   rows of n elements is interleaved: element i of row r stands at i * pitch + r. FORM is `row` for one row, where the
   width is known to be 1 and vectors run along the row, and `columns` for up to MAX_WIDTH rows, where they run across
   the rows as well.

   Sums go through LANES partial sums per row, element i into lane i % LANES, in double precision, and the lanes are
   added in a fixed order: the result depends neither on the form, the width nor on vectors and threads. */
#define ROW(name) FA_PASTE(FA_PASTE(FA_PASTE(name, _), REAL), FA_PASTE(_, FORM))
#define STEP(name) FA_PASTE(FA_PASTE(name, _), REAL)
#define T FA_PASTE(fa_, REAL)
#define MAX_PERIOD (LANES * MAX_WIDTH)
/* What is one per row is repeated for the elements of a block of a tile, so that a loop over the block is flat. */
#define OF_ROW(k) (MAX_WIDTH == 1 ? 0 : (k))

/* Sums, lane by lane of each row, and what their roundings lost (Neumaier): rows may have millions of elements. Terms
   that are floats leave double precision so much room that nothing needs to be kept of the roundings. */
typedef struct {
    double sum[MAX_PERIOD], lost[MAX_PERIOD];
} ROW(lanes);

FA_INLINE size_t
ROW(rows)(size_t width)
{
    return MAX_WIDTH == 1 ? 1 : width;
}

/* How many lanes of all rows hold anything. */
FA_INLINE size_t
ROW(used_lanes)(size_t n, size_t width)
{
    return (MAX_WIDTH == 1 || n > LANES ? (size_t)LANES : n) * width;
}

FA_INLINE void
ROW(clear)(ROW(lanes) *l, size_t used)
{
    for (size_t k = 0; k < used; k++)
        l->sum[k] = l->lost[k] = 0;
}

FA_INLINE void
ROW(add)(ROW(lanes) *l, size_t k, double term)
{
    const double sum = l->sum[k] + term;
    if (sizeof(T) == sizeof(double)) {
        const double seen = sum - l->sum[k];
        l->lost[k] += (l->sum[k] - (sum - seen)) + (term - seen);
    }
    l->sum[k] = sum;
}

/* The sum of each row. */
FA_INLINE void
ROW(totals)(ROW(lanes) *l, size_t n, size_t width, double *totals)
{
    const int keeps_losses = sizeof(T) == sizeof(double);
    size_t used = ROW(used_lanes)(n, width);
    for (size_t half = LANES / 2 * width; half >= width; half /= 2) {
        const size_t count = used > half ? used - half : 0;
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++) {
            if (keeps_losses)
                l->lost[k] += l->lost[k + half];
            ROW(add)(l, k, l->sum[k + half]);
        }
        used = used < half ? used : half;
    }
    /* Where a sum is infinite, what it lost is NaN (inf - inf). */
    for (size_t r = 0; r < width; r++)
        totals[r] = keeps_losses && isfinite(l->sum[r]) ? l->sum[r] + l->lost[r] : l->sum[r];
}

/* Repeat what is one per row. */
FA_INLINE void
ROW(repeat)(size_t used, size_t width, T *values)
{
    if (MAX_WIDTH > 1)
        for (size_t k = width; k < used; k++)
            values[k] = values[k - width];
}

/* How many elements of all rows can be run through in one flat loop: a period of the lanes where the rows lie side by
   side without gaps. */
FA_INLINE size_t
ROW(step)(size_t width, ptrdiff_t a, ptrdiff_t b, ptrdiff_t c)
{
    const ptrdiff_t gapless = (ptrdiff_t)width;
    return MAX_WIDTH == 1 || (a == gapless && b == gapless && c == gapless) ? LANES : 1;
}

/* Where the columns of a tile lie in a wider array, the processor does not foresee which lines come next. */
FA_INLINE void
ROW(prefetch)(size_t n, size_t width, size_t step, size_t i, const T *x, ptrdiff_t pitch)
{
    enum { ROWS_AHEAD = 8, LINE_BYTES = 64 };
    if (MAX_WIDTH > 1 && step == 1 && i + ROWS_AHEAD < n)
        for (size_t k = 0; k < width; k += LINE_BYTES / sizeof(T))
            __builtin_prefetch(x + (ptrdiff_t)(i + ROWS_AHEAD) * pitch + k);
}

FA_INLINE size_t
ROW(least)(size_t a, size_t b)
{
    return a < b ? a : b;
}

FA_INLINE T
ROW(larger)(T candidate, T largest, int keeps_nan)
{
    return candidate > largest || (keeps_nan && candidate != candidate) ? candidate : largest;
}

/* sign * max(sign * x) of each row. NaN is passed over, or kept. */
FA_INLINE void
ROW(extremes_of)(size_t n, size_t width, const T *x, ptrdiff_t pitch, T sign, int keeps_nan, T *extremes)
{
    const size_t used = ROW(used_lanes)(n, width), step = ROW(step)(width, pitch, pitch, pitch);
    T largest[MAX_PERIOD];
    for (size_t k = 0; k < used; k++)
        largest[k] = -(T)INFINITY;
    size_t i = 0;
    for (; i + step <= n; i += step) {
        const T *block = x + (ptrdiff_t)i * pitch;
        T *lanes = largest + i % LANES * width;
        FA_INDEPENDENT
        for (size_t k = 0; k < step * width; k++)
            lanes[k] = ROW(larger)(block[k] * sign, lanes[k], keeps_nan);
    }
    const T *rest = x + (ptrdiff_t)i * pitch;
    FA_INDEPENDENT
    for (size_t k = 0; k < (n - i) * width; k++)
        largest[k] = ROW(larger)(rest[k] * sign, largest[k], keeps_nan);
    size_t left = used;
    for (size_t half = LANES / 2 * width; half >= width; half /= 2) {
        const size_t count = left > half ? left - half : 0;
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            largest[k] = ROW(larger)(largest[k + half], largest[k], keeps_nan);
        left = left < half ? left : half;
    }
    for (size_t r = 0; r < width; r++)
        extremes[r] = largest[r] * sign;
}

/* The largest scale * x decides what is subtracted from a row: its maximum, or for a negative scale its minimum. NaN is
   passed over here and met again in the weights. */
FA_INLINE void
ROW(extremes)(size_t n, size_t width, const T *x, ptrdiff_t pitch, double scale, T *extremes)
{
    ROW(extremes_of)(n, width, x, pitch, scale < 0 ? -1 : 1, 0, extremes);
}

/* exp(scale * (x - extreme)) of a block. */
FA_INLINE void
ROW(weigh)(size_t count, const T *x, const T *extremes, double scale, T *y)
{
    const T factor = (T)scale;
    if (scale == 1) {
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            y[k] = STEP(row_weight)(x[k], extremes[OF_ROW(k)]);
    } else {
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            y[k] = STEP(row_weight_scaled)(x[k], extremes[OF_ROW(k)], factor);
    }
}

/* Weights exp(scale * (x - extreme)), into y unless it is NULL. `others` becomes their sum less 1, for the extreme
   itself has the weight 1: log1p of that keeps its digits where one element has nearly all the weight. NaN where the
   row holds a NaN, or infinities that win, or nothing but losing ones. `extremes` must have room for MAX_PERIOD. */
FA_INLINE void
ROW(weights)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, T *extremes, double scale, T *y, ptrdiff_t y_pitch,
             double *others)
{
    enum { BLOCK = MAX_WIDTH == 1 ? 512 : MAX_PERIOD }; /* weighed and summed while in the first-level cache */
    const size_t period = LANES * width, used = ROW(used_lanes)(n, width);
    const size_t step = MAX_WIDTH == 1 ? (size_t)BLOCK : ROW(step)(width, x_pitch, y_pitch, y_pitch);
    ROW(lanes) sums;
    T ones[MAX_PERIOD], block[BLOCK];
    ROW(clear)(&sums, used);
    for (size_t k = 0; k < used; k++)
        ones[k] = 0;
    ROW(repeat)(used, width, extremes);
    for (size_t i = 0; i < n; i += step) {
        const T *elements = x + (ptrdiff_t)i * x_pitch;
        const size_t count = ROW(least)(step, n - i) * width, first_lane = MAX_WIDTH == 1 ? 0 : i % LANES * width;
        size_t padded = count;
        if (MAX_WIDTH == 1 && count % LANES) { /* the end of a row goes through whole vectors, too */
            const size_t whole = count - count % LANES;
            T tail[LANES];
            for (size_t k = 0; k < LANES; k++)
                tail[k] = extremes[0];
            memcpy(tail, elements + whole, (count - whole) * sizeof *tail);
            ROW(weigh)(whole, elements, extremes, scale, block);
            ROW(weigh)(LANES, tail, extremes, scale, block + whole);
            padded = whole + LANES;
            for (size_t k = count; k < padded; k++)
                block[k] = 0;
        } else {
            ROW(weigh)(count, elements, extremes, scale, block);
        }
        if (y != NULL)
            memcpy(y + (ptrdiff_t)i * y_pitch, block, count * sizeof *y);
        for (size_t start = 0; start < padded; start += period) {
            const T *weights = block + start;
            const size_t lanes = MAX_WIDTH == 1 ? (size_t)LANES : count;
            FA_INDEPENDENT
            for (size_t k = 0; k < lanes; k++)
                ones[first_lane + k] += weights[k] == 1 ? (T)1 : (T)0;
            FA_INDEPENDENT
            for (size_t k = 0; k < lanes; k++)
                ROW(add)(&sums, first_lane + k, weights[k] == 1 ? (T)0 : weights[k]);
        }
    }
    size_t left = used;
    for (size_t half = LANES / 2 * width; half >= width; half /= 2) {
        for (size_t k = 0; k + half < left; k++)
            ones[k] += ones[k + half];
        left = left < half ? left : half;
    }
    ROW(totals)(&sums, n, width, others);
    for (size_t r = 0; r < width; r++)
        others[r] = isfinite(extremes[r]) ? others[r] + ((double)ones[r] - 1) : NAN;
}

/* Where in a row an infinite extreme stands, if it stands there only once and nothing is NaN: softmax has a limit then,
   with all weight there. Otherwise n. */
FA_INLINE size_t
ROW(sole_winner)(size_t n, const T *x, ptrdiff_t pitch, T extreme)
{
    size_t winners = 0, place = n;
    int has_nan = 0;
    for (size_t i = 0; i < n; i++) {
        const T element = x[(ptrdiff_t)i * pitch];
        has_nan |= element != element;
        if (element == extreme)
            place = i, winners++;
    }
    return !has_nan && winners == 1 ? place : n;
}

/* The results of rows with such a limit. */
static void
ROW(limits)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, double scale, const T *extremes, T *y,
            ptrdiff_t y_pitch, T winner, T other)
{
    for (size_t r = 0; r < width; r++) {
        if (!isinf(extremes[r]) || scale == 0 || (extremes[r] > 0) != (scale > 0))
            continue;
        const size_t place = ROW(sole_winner)(n, x + r, x_pitch, extremes[r]);
        for (size_t i = 0; place < n && i < n; i++)
            y[(ptrdiff_t)i * y_pitch + (ptrdiff_t)r] = i == place ? winner : other;
    }
}

/* Here and below the output must not be the input. */
static void
ROW(softmax)(size_t n, size_t given_width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
             ptrdiff_t y_pitch)
{
    const T *x = input;
    T *y = output, extremes[MAX_PERIOD], shares[MAX_PERIOD];
    double others[MAX_WIDTH];
    const size_t width = ROW(rows)(given_width);
    const size_t step = MAX_WIDTH == 1 ? n : ROW(step)(width, y_pitch, y_pitch, y_pitch);
    ROW(extremes)(n, width, x, x_pitch, scale, extremes);
    ROW(weights)(n, width, x, x_pitch, extremes, scale, y, y_pitch, others);
    for (size_t r = 0; r < width; r++)
        shares[r] = (T)(1 / (1 + others[r]));
    ROW(repeat)(ROW(used_lanes)(n, width), width, shares);
    for (size_t i = 0; i < n; i += step) {
        T *ys = y + (ptrdiff_t)i * y_pitch;
        const size_t count = ROW(least)(step, n - i) * width;
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            ys[k] = ys[k] * shares[OF_ROW(k)];
    }
    ROW(limits)(n, width, x, x_pitch, scale, extremes, y, y_pitch, 1, 0);
}

static void
ROW(softmin)(size_t n, size_t width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
             ptrdiff_t y_pitch)
{
    ROW(softmax)(n, width, input, x_pitch, -scale, output, y_pitch);
}

static void
ROW(log_softmax)(size_t n, size_t given_width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
                 ptrdiff_t y_pitch)
{
    const T *x = input;
    T *y = output, extremes[MAX_PERIOD], highs[MAX_PERIOD], lows[MAX_PERIOD];
    double others[MAX_WIDTH];
    const size_t width = ROW(rows)(given_width);
    const size_t step = MAX_WIDTH == 1 ? n : ROW(step)(width, x_pitch, y_pitch, y_pitch);
    const size_t used = ROW(used_lanes)(n, width);
    const T factor = (T)scale;
    ROW(extremes)(n, width, x, x_pitch, scale, extremes);
    ROW(weights)(n, width, x, x_pitch, extremes, scale, NULL, x_pitch, others);
    for (size_t r = 0; r < width; r++) {
        const double log_sum = log1p(others[r]);
        highs[r] = (T)log_sum;
        lows[r] = (T)(log_sum - (double)highs[r]);
    }
    ROW(repeat)(used, width, highs);
    ROW(repeat)(used, width, lows);
    for (size_t i = 0; i < n; i += step) {
        const T *xs = x + (ptrdiff_t)i * x_pitch;
        T *ys = y + (ptrdiff_t)i * y_pitch;
        const size_t count = ROW(least)(step, n - i) * width;
        if (scale == 1) {
            FA_INDEPENDENT
            for (size_t k = 0; k < count; k++)
                ys[k] = STEP(row_log_weight)(xs[k], extremes[OF_ROW(k)], highs[OF_ROW(k)], lows[OF_ROW(k)]);
        } else {
            FA_INDEPENDENT
            for (size_t k = 0; k < count; k++)
                ys[k] = STEP(row_log_weight_scaled)(xs[k], extremes[OF_ROW(k)], factor, highs[OF_ROW(k)],
                                                    lows[OF_ROW(k)]);
        }
    }
    ROW(limits)(n, width, x, x_pitch, scale, extremes, y, y_pitch, 0, -(T)INFINITY);
}

/* log(sum(exp(scale * x))): one result per row. */
static void
ROW(logsumexp)(size_t n, size_t given_width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
               ptrdiff_t y_pitch)
{
    const T *x = input;
    T *y = output, extremes[MAX_PERIOD];
    double others[MAX_WIDTH];
    const size_t width = ROW(rows)(given_width);
    (void)y_pitch;
    ROW(extremes)(n, width, x, x_pitch, scale, extremes);
    ROW(weights)(n, width, x, x_pitch, extremes, scale, NULL, x_pitch, others);
    for (size_t r = 0; r < width; r++) {
        const double largest = (double)extremes[r] * scale;
        int has_nan = 0;
        if (isfinite(extremes[r])) {
            y[r] = (T)(largest + log1p(others[r]));
            continue;
        }
        for (size_t i = 0; i < n; i++)
            has_nan |= isnan(x[(ptrdiff_t)i * x_pitch + (ptrdiff_t)r]);
        y[r] = has_nan ? (T)NAN : n == 0 ? -(T)INFINITY : (T)largest;
    }
}

/* dx = scale * dy * y, y the softmax; where y is 0, so is dx, whatever dy. One dy per row. */
static void
ROW(logsumexp_backward)(size_t n, size_t given_width, const void *gradient, ptrdiff_t dy_pitch, const void *softmax,
                        ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch)
{
    const T *dy = gradient, *y = softmax;
    T *dx = result, factors[MAX_PERIOD];
    const size_t width = ROW(rows)(given_width);
    const size_t step = MAX_WIDTH == 1 ? n : ROW(step)(width, y_pitch, dx_pitch, dx_pitch);
    (void)dy_pitch;
    for (size_t r = 0; r < width; r++)
        factors[r] = dy[r] * (T)scale;
    ROW(repeat)(ROW(used_lanes)(n, width), width, factors);
    for (size_t i = 0; i < n; i += step) {
        const T *ys = y + (ptrdiff_t)i * y_pitch;
        T *dxs = dx + (ptrdiff_t)i * dx_pitch;
        const size_t count = ROW(least)(step, n - i) * width;
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            dxs[k] = ys[k] == 0 ? 0 : factors[OF_ROW(k)] * ys[k];
    }
}

/* dx = scale * y * (dy - sum(dy * y)); where y is 0, so is dx, whatever dy. dx may be y. */
static void
ROW(softmax_backward)(size_t n, size_t given_width, const void *gradient, ptrdiff_t dy_pitch, const void *output,
                      ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch)
{
    const T *dy = gradient, *y = output, factor = (T)scale;
    T *dx = result, means[MAX_PERIOD];
    double totals[MAX_WIDTH];
    const size_t width = ROW(rows)(given_width), used = ROW(used_lanes)(n, width);
    const size_t step = ROW(step)(width, dy_pitch, y_pitch, dx_pitch), block = MAX_WIDTH == 1 ? n : step;
    ROW(lanes) sums;
    ROW(clear)(&sums, used);
    for (size_t i = 0; i < n; i += step) {
        const T *dys = dy + (ptrdiff_t)i * dy_pitch, *ys = y + (ptrdiff_t)i * y_pitch;
        const size_t count = ROW(least)(step, n - i) * width, first_lane = i % LANES * width;
        ROW(prefetch)(n, width, step, i, dy, dy_pitch);
        ROW(prefetch)(n, width, step, i, y, y_pitch);
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            ROW(add)(&sums, first_lane + k, ys[k] == 0 ? 0 : (double)dys[k] * (double)ys[k]);
    }
    ROW(totals)(&sums, n, width, totals);
    for (size_t r = 0; r < width; r++)
        means[r] = (T)totals[r];
    ROW(repeat)(used, width, means);
    for (size_t i = 0; i < n; i += block) {
        const T *dys = dy + (ptrdiff_t)i * dy_pitch, *ys = y + (ptrdiff_t)i * y_pitch;
        T *dxs = dx + (ptrdiff_t)i * dx_pitch;
        const size_t count = ROW(least)(block, n - i) * width;
        ROW(prefetch)(n, width, step, i, dx, dx_pitch);
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            dxs[k] = ys[k] == 0 ? 0 : factor * (ys[k] * (dys[k] - means[OF_ROW(k)]));
    }
}

static void
ROW(softmin_backward)(size_t n, size_t width, const void *gradient, ptrdiff_t dy_pitch, const void *output,
                      ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch)
{
    ROW(softmax_backward)(n, width, gradient, dy_pitch, output, y_pitch, -scale, result, dx_pitch);
}

/* dx = scale * (dy - exp(y) * sum(dy)); dx may be y. */
static void
ROW(log_softmax_backward)(size_t n, size_t given_width, const void *gradient, ptrdiff_t dy_pitch, const void *output,
                          ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch)
{
    const T *dy = gradient, *y = output, factor = (T)scale;
    T *dx = result, negated_sums[MAX_PERIOD];
    double totals[MAX_WIDTH];
    const size_t width = ROW(rows)(given_width), used = ROW(used_lanes)(n, width);
    const size_t step = ROW(step)(width, dy_pitch, y_pitch, dx_pitch), block = MAX_WIDTH == 1 ? n : step;
    ROW(lanes) sums;
    ROW(clear)(&sums, used);
    for (size_t i = 0; i < n; i += step) {
        const T *dys = dy + (ptrdiff_t)i * dy_pitch;
        const size_t count = ROW(least)(step, n - i) * width, first_lane = i % LANES * width;
        ROW(prefetch)(n, width, step, i, dy, dy_pitch);
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            ROW(add)(&sums, first_lane + k, dys[k]);
    }
    ROW(totals)(&sums, n, width, totals);
    for (size_t r = 0; r < width; r++)
        negated_sums[r] = -(T)totals[r];
    ROW(repeat)(used, width, negated_sums);
    for (size_t i = 0; i < n; i += block) {
        const T *dys = dy + (ptrdiff_t)i * dy_pitch, *ys = y + (ptrdiff_t)i * y_pitch;
        T *dxs = dx + (ptrdiff_t)i * dx_pitch;
        const size_t count = ROW(least)(block, n - i) * width;
        ROW(prefetch)(n, width, step, i, y, y_pitch);
        ROW(prefetch)(n, width, step, i, dx, dx_pitch);
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            dxs[k] = factor * STEP(fa_fma)(STEP(row_exp)(ys[k]), negated_sums[OF_ROW(k)], dys[k]);
    }
}

/* dx = scale * g * (dy - sum(g * dy) / sum(g)), g = y^0 on the support of sparsemax, y^(1/2) for entmax15; where y is
   0, so is dx, whatever dy. dx may be y. */
FA_INLINE void
ROW(sparse_backward)(size_t n, size_t width, const T *dy, ptrdiff_t dy_pitch, const T *y, ptrdiff_t y_pitch,
                     double scale, int root, T *dx, ptrdiff_t dx_pitch)
{
    const T factor = (T)scale;
    T means[MAX_PERIOD];
    double totals[MAX_WIDTH], sizes[MAX_WIDTH];
    const size_t used = ROW(used_lanes)(n, width);
    const size_t step = ROW(step)(width, dy_pitch, y_pitch, dx_pitch), block = MAX_WIDTH == 1 ? n : step;
    ROW(lanes) sums, slopes;
    ROW(clear)(&sums, used);
    ROW(clear)(&slopes, used);
    for (size_t i = 0; i < n; i += step) {
        const T *dys = dy + (ptrdiff_t)i * dy_pitch, *ys = y + (ptrdiff_t)i * y_pitch;
        const size_t count = ROW(least)(step, n - i) * width, first_lane = i % LANES * width;
        ROW(prefetch)(n, width, step, i, dy, dy_pitch);
        ROW(prefetch)(n, width, step, i, y, y_pitch);
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++) {
            const T p = ys[k];
            const double slope = root ? (double)STEP(fa_sqrt)(p) : p == 0 ? 0 : 1 + (double)(p - p); /* NaN stays */
            ROW(add)(&slopes, first_lane + k, slope);
            ROW(add)(&sums, first_lane + k, p == 0 ? 0 : slope * (double)dys[k]);
        }
    }
    ROW(totals)(&sums, n, width, totals);
    ROW(totals)(&slopes, n, width, sizes);
    for (size_t r = 0; r < width; r++)
        means[r] = (T)(totals[r] / sizes[r]);
    ROW(repeat)(used, width, means);
    for (size_t i = 0; i < n; i += block) {
        const T *dys = dy + (ptrdiff_t)i * dy_pitch, *ys = y + (ptrdiff_t)i * y_pitch;
        T *dxs = dx + (ptrdiff_t)i * dx_pitch;
        const size_t count = ROW(least)(block, n - i) * width;
        ROW(prefetch)(n, width, step, i, dx, dx_pitch);
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++) {
            const T slope = root ? STEP(fa_sqrt)(ys[k]) : 1;
            dxs[k] = ys[k] == 0 ? 0 : factor * (slope * (dys[k] - means[OF_ROW(k)]));
        }
    }
}

static void
ROW(sparsemax_backward)(size_t n, size_t width, const void *gradient, ptrdiff_t dy_pitch, const void *output,
                        ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch)
{
    ROW(sparse_backward)(n, ROW(rows)(width), gradient, dy_pitch, output, y_pitch, scale, 0, result, dx_pitch);
}

static void
ROW(entmax15_backward)(size_t n, size_t width, const void *gradient, ptrdiff_t dy_pitch, const void *output,
                       ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch)
{
    ROW(sparse_backward)(n, ROW(rows)(width), gradient, dy_pitch, output, y_pitch, scale, 1, result, dx_pitch);
}

/* Into the place of each row's first maximum of sign * x `winners[r]`, and `others[r]` elsewhere. NaN counts as the
   maximum. */
FA_INLINE void
ROW(mark_first)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, T sign, const T *extremes, const T *winners,
                const T *others, T *y, ptrdiff_t y_pitch)
{
    unsigned char found[MAX_WIDTH] = {0};
    for (size_t i = 0; i < n; i++) {
        const T *xs = x + (ptrdiff_t)i * x_pitch;
        T *ys = y + (ptrdiff_t)i * y_pitch;
        FA_INDEPENDENT
        for (size_t r = 0; r < width; r++) {
            const T element = xs[r] * sign;
            const int is_maximum = (element == extremes[r] * sign) | (element != element);
            const int hit = is_maximum & (found[r] == 0);
            found[r] |= (unsigned char)hit;
            ys[r] = hit ? winners[r] : others[r];
        }
    }
}

/* 1 at the first maximum of scale * x, 0 elsewhere. */
static void
ROW(hardmax)(size_t n, size_t given_width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
             ptrdiff_t y_pitch)
{
    T extremes[MAX_WIDTH], winners[MAX_WIDTH], others[MAX_WIDTH];
    const size_t width = ROW(rows)(given_width);
    const T sign = scale > 0 ? 1 : scale < 0 ? -1 : (T)scale;
    ROW(extremes_of)(n, width, input, x_pitch, sign, 1, extremes);
    for (size_t r = 0; r < width; r++) {
        others[r] = isnan(extremes[r]) ? (T)NAN : 0;
        winners[r] = isnan(extremes[r]) ? (T)NAN : 1;
    }
    ROW(mark_first)(n, width, input, x_pitch, sign, extremes, winners, others, output, y_pitch);
}

/* The derivative of a step function: 0. */
static void
ROW(hardmax_backward)(size_t n, size_t width, const void *gradient, ptrdiff_t dy_pitch, const void *output,
                      ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch)
{
    (void)gradient, (void)dy_pitch, (void)output, (void)y_pitch, (void)scale;
    T *dx = result;
    if (dx_pitch == (ptrdiff_t)width) {
        memset(dx, 0, n * width * sizeof(T));
        return;
    }
    for (size_t i = 0; i < n; i++)
        memset(dx + (ptrdiff_t)i * dx_pitch, 0, width * sizeof(T));
}

/* The maximum of each row. */
static void
ROW(maxout)(size_t n, size_t width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
            ptrdiff_t y_pitch)
{
    (void)scale, (void)y_pitch;
    ROW(extremes_of)(n, ROW(rows)(width), input, x_pitch, 1, 1, output);
}

/* The row's dy at its first maximum, 0 elsewhere. */
static void
ROW(maxout_backward)(size_t n, size_t given_width, const void *gradient, ptrdiff_t dy_pitch, const void *input,
                     ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch)
{
    T maxima[MAX_WIDTH], zeros[MAX_WIDTH] = {0};
    const size_t width = ROW(rows)(given_width);
    (void)scale, (void)dy_pitch;
    ROW(extremes_of)(n, width, input, y_pitch, 1, 1, maxima);
    ROW(mark_first)(n, width, input, y_pitch, 1, maxima, gradient, zeros, result, dx_pitch);
}

#undef OF_ROW
#undef MAX_PERIOD
#undef ROW
#undef STEP
#undef T
