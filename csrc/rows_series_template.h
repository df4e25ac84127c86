/* Softmax, log_softmax and gradients of several short rows, one after another, for the precision REAL; included twice by
   rows.h, after rows_template.h for one row; the loss is in rows_loss_template.h. Every step is done for all rows before
   the next one: a short row by itself would wait for its sum, and then for what is computed of that. What is one per row is
   computed for several at once, and exponentials of rows without gaps in one go. Sums are those of rows_template.h, and so
   have the same bits; rows that need care, or factors of their own, go through the kernels for one row. `pitch` is the
   distance from row to row. */
#define ROW(name) FA_PASTE(FA_PASTE(FA_PASTE(name, _), REAL), FA_PASTE(_, FORM))
#define SERIES(name) FA_PASTE(ROW(name), _series)
#define STEP(name) FA_PASTE(FA_PASTE(name, _), REAL)
#define T FA_PASTE(fa_, REAL)

/* The powers, with one factor for all, of elements without gaps. The end goes through a whole block, too: the last
   elements once more, or with copies. */
FA_INLINE void
ROW(weigh_run)(size_t count, const T *x, double scale, T *y)
{
    static const ROW(start) common = {NULL, NULL, NULL, NULL};
    const size_t whole = count - count % LANES;
    T block[LANES];
    ROW(weigh)(whole, x, &common, 0, scale, y);
    if (whole == count)
        return;
    if (whole > 0) {
        ROW(weigh)(LANES, x + count - LANES, &common, 0, scale, y + count - LANES);
        return;
    }
    ROW(pad)(count, x, block);
    ROW(weigh)(LANES, block, &common, 0, scale, block);
    memcpy(y, block, count * sizeof *y);
}

FA_INLINE void
ROW(weigh_series)(size_t n, size_t rows, const T *x, ptrdiff_t x_pitch, double scale, T *y, ptrdiff_t y_pitch)
{
    const int has_gaps = x_pitch != (ptrdiff_t)n || y_pitch != (ptrdiff_t)n;
    if (!has_gaps)
        ROW(weigh_run)(n * rows, x, scale, y);
    for (size_t r = 0; has_gaps && r < rows; r++)
        ROW(weigh_run)(n, x + (ptrdiff_t)r * x_pitch, scale, y + (ptrdiff_t)r * y_pitch);
}

/* The sum of a row as one number, and what is lost of it. */
typedef struct {
    double total, rest;
} ROW(row_sum);

/* term(a, b) of each element of a row, summed in lanes, and these together. */
FA_INLINE ROW(row_sum)
ROW(sum_terms)(size_t n, const T *a, const T *b, ROW(term) *term, const ROW(lanes) *sums)
{
    const size_t rest = n % LANES;
    size_t i = 0;
    ROW(clear)(sums, LANES);
    for (; i + AT_ONCE * LANES <= n; i += AT_ONCE * LANES) {
        const T *as = a + i, *bs = b + i;
        FA_INDEPENDENT
        for (size_t k = 0; k < LANES; k++) {
            const ROW(lane) sum = ROW(get)(sums, k);
            ROW(put)(sums, k, ROW(plus_four)(sum, term(as[k], bs[k]), term(as[k + LANES], bs[k + LANES]),
                                             term(as[k + 2 * LANES], bs[k + 2 * LANES]),
                                             term(as[k + 3 * LANES], bs[k + 3 * LANES])));
        }
    }
    for (; i + LANES <= n; i += LANES) {
        const T *as = a + i, *bs = b + i;
        FA_INDEPENDENT
        for (size_t k = 0; k < LANES; k++)
            ROW(add)(sums, k, term(as[k], bs[k]));
    }
    if (rest > 0) {
        const T *as = a + i, *bs = b + i;
        FA_GUARDED
        for (size_t k = 0; k < LANES; k++)
            ROW(add)(sums, k, k < rest ? term(as[k], bs[k]) : 0);
    }
    const ROW(lane) total = ROW(total)(sums);
    const double rounded = ROW(rounded)(total);
    return (ROW(row_sum)){rounded, ROW(rest)(total, rounded)};
}

/* The sums of terms of all rows. */
FA_INLINE void
ROW(sum_series)(size_t n, size_t rows, const T *a, ptrdiff_t a_pitch, const T *b, ptrdiff_t b_pitch, ROW(term) *term,
                double *totals)
{
    for (size_t r = 0; r < rows; r++) {
        double sum[LANES], lost[LANES];
        const ROW(lanes) sums = {sum, lost};
        totals[r] = ROW(sum_terms)(n, a + (ptrdiff_t)r * a_pitch, b + (ptrdiff_t)r * b_pitch, term, &sums).total;
    }
}

/* Whether these sums of powers of a row's are what the kernel for one row would have used, too. */
FA_INLINE int
ROW(suits)(size_t n, const T *x, double scale, double total)
{
    return ROW(are_moderate)(1, &total) && ROW(look_moderate)(n, 1, x, 1, scale);
}

static void
SERIES(softmax)(size_t n, size_t rows, const void *input, ptrdiff_t x_pitch, double scale, void *output,
                ptrdiff_t y_pitch, char *scratch)
{
    const T *x = input;
    T *y = output, shares[FA_SERIES], lows[FA_SERIES];
    double totals[FA_SERIES];
    const int is_begun = ROW(look_moderate)(n, 1, x, 1, scale);
    if (is_begun) {
        ROW(weigh_series)(n, rows, x, x_pitch, scale, y, y_pitch);
        ROW(sum_series)(n, rows, y, y_pitch, y, y_pitch, ROW(itself), totals);
        ROW(shares)(rows, totals, shares, lows);
    }
    for (size_t r = 0; r < rows; r++) {
        const T *xs = x + (ptrdiff_t)r * x_pitch;
        T *ys = y + (ptrdiff_t)r * y_pitch;
        if (is_begun && ROW(suits)(n, xs, scale, totals[r]))
            ROW(divide)(all_lanes, n, 1, n, shares + r, lows + r, ys, 1);
        else
            ROW(softmax)(n, 1, xs, 1, scale, ys, 1, scratch);
    }
}

static void
SERIES(softmax_backward)(size_t n, size_t rows, const void *gradient, ptrdiff_t dy_pitch, const void *output,
                         ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch, char *scratch)
{
    const T *dy = gradient, *y = output;
    T *dx = result, means[FA_SERIES];
    double totals[FA_SERIES];
    ROW(sum_series)(n, rows, dy, dy_pitch, y, y_pitch, ROW(product), totals);
    for (size_t r = 0; r < rows; r++)
        means[r] = (T)totals[r];
    for (size_t r = 0; r < rows; r++) {
        const T *dys = dy + (ptrdiff_t)r * dy_pitch, *ys = y + (ptrdiff_t)r * y_pitch;
        T *dxs = dx + (ptrdiff_t)r * dx_pitch;
        if (ROW(need_no_care)(1, totals + r))
            ROW(softmax_slopes)(all_lanes, n, 1, n, dys, 1, ys, 1, (T)scale, means + r, 0, dxs, 1);
        else
            ROW(softmax_backward)(n, 1, dys, 1, ys, 1, scale, dxs, 1, scratch);
    }
}

static void
SERIES(softmax_from_input)(size_t n, size_t rows, const void *gradient, ptrdiff_t dy_pitch, const void *input,
                           ptrdiff_t x_pitch, double scale, void *result, ptrdiff_t dx_pitch, char *scratch)
{
    const T *dy = gradient, *x = input;
    T *dx = result, shares[FA_SERIES], means[FA_SERIES];
    double totals[FA_SERIES], dy_totals[FA_SERIES];
    const int is_begun = ROW(look_moderate)(n, 1, x, 1, scale);
    if (is_begun) {
        ROW(weigh_series)(n, rows, x, x_pitch, scale, dx, dx_pitch);
        ROW(sum_series)(n, rows, dx, dx_pitch, dx, dx_pitch, ROW(itself), totals);
        ROW(sum_series)(n, rows, dy, dy_pitch, dx, dx_pitch, ROW(product), dy_totals);
        ROW(means_of_powers)(rows, totals, dy_totals, shares, means);
    }
    for (size_t r = 0; r < rows; r++) {
        const T *dys = dy + (ptrdiff_t)r * dy_pitch, *xs = x + (ptrdiff_t)r * x_pitch;
        T *dxs = dx + (ptrdiff_t)r * dx_pitch;
        if (is_begun && ROW(suits)(n, xs, scale, totals[r]) && ROW(need_no_care)(1, dy_totals + r))
            ROW(slopes_of_powers)(all_lanes, n, 1, n, dys, 1, scale, shares + r, means + r, dxs, 1);
        else
            ROW(softmax_from_input)(n, 1, dys, 1, xs, 1, scale, dxs, 1, scratch);
    }
}

static void
SERIES(softmin)(size_t n, size_t rows, const void *input, ptrdiff_t x_pitch, double scale, void *output,
                ptrdiff_t y_pitch, char *scratch)
{
    SERIES(softmax)(n, rows, input, x_pitch, -scale, output, y_pitch, scratch);
}

static void
SERIES(softmin_backward)(size_t n, size_t rows, const void *gradient, ptrdiff_t dy_pitch, const void *output,
                         ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch, char *scratch)
{
    SERIES(softmax_backward)(n, rows, gradient, dy_pitch, output, y_pitch, -scale, result, dx_pitch, scratch);
}

static void
SERIES(softmin_from_input)(size_t n, size_t rows, const void *gradient, ptrdiff_t dy_pitch, const void *input,
                           ptrdiff_t x_pitch, double scale, void *result, ptrdiff_t dx_pitch, char *scratch)
{
    SERIES(softmax_from_input)(n, rows, gradient, dy_pitch, input, x_pitch, -scale, result, dx_pitch, scratch);
}

/* What all others of a row have beside an element that leads, from powers: see others_beside. Its lane is summed again, in
   the order of lane_without; `sums` are those of all elements. */
static double
ROW(others_of_series)(size_t n, const T *x, double scale, const T *powers, size_t leader, const ROW(lanes) *sums,
                      double none)
{
    const double few = (double)n * (KEEPS_LOSSES ? 0x1p-1040 : 0x1p-120);
    const size_t of_leader = leader % LANES;
    const T power = powers[leader];
    double sum[LANES], lost[LANES];
    const ROW(lanes) others = {sum, lost};
    ROW(lane) lane = {0, 0};
    for (size_t i = of_leader; n > LANES && i < n; i += AT_ONCE * LANES) {
        T some[AT_ONCE];
        for (size_t k = 0; k < AT_ONCE; k++) {
            const size_t place = i + k * LANES;
            some[k] = place < n && place != leader ? powers[place] : 0;
        }
        lane = ROW(plus_four)(lane, some[0], some[1], some[2], some[3]);
    }
    /* All are copied: a vector of which a part has just been written could not be forwarded from the store to the load. */
    FA_INDEPENDENT
    for (size_t k = 0; k < LANES; k++) {
        const ROW(lane) other = ROW(get)(sums, k);
        ROW(put)(&others, k, (ROW(lane)){k == of_leader ? lane.sum : other.sum, k == of_leader ? lane.lost : other.lost});
    }
    const double ratio = ROW(rounded)(ROW(total)(&others)) / (double)power;
    return ratio <= none ? 0 : ratio < few ? ROW(few_beside)(n, x, 1, scale, x[leader]) : ratio;
}

static void
SERIES(log_softmax)(size_t n, size_t rows, const void *input, ptrdiff_t x_pitch, double scale, void *output,
                    ptrdiff_t y_pitch, char *scratch)
{
    const T *x = input, sign = scale < 0 ? -1 : 1;
    T *y = output, powers[FA_SERIES_BYTES / sizeof(T)], extremes[FA_SERIES], powers_of_ones[FA_SERIES];
    T highs[FA_SERIES], lows[FA_SERIES], leads[FA_SERIES];
    double totals[FA_SERIES], rests[FA_SERIES], ratios[FA_SERIES];
    static const ROW(start) common = {NULL, NULL, NULL, NULL};
    const int is_begun = ROW(look_moderate)(n, 1, x, 1, scale);
    for (size_t r = 0; is_begun && r < rows; r++)
        ROW(extremes_of)(n, 1, x + (ptrdiff_t)r * x_pitch, 1, sign, 0, extremes + r, scratch);
    if (is_begun) {
        ROW(weigh_series)(n, rows, x, x_pitch, scale, powers, (ptrdiff_t)n);
        ROW(weigh)(rows, extremes, &common, 0, scale, powers_of_ones);
    }
    for (size_t r = 0; is_begun && r < rows; r++) {
        const T *of_row = powers + r * n;
        double sum[LANES], lost[LANES];
        const ROW(lanes) sums = {sum, lost};
        const ROW(row_sum) sum_of_row = ROW(sum_terms)(n, of_row, of_row, ROW(itself), &sums);
        totals[r] = sum_of_row.total;
        rests[r] = sum_of_row.rest;
        ratios[r] = 0;
        if (ROW(leads)(powers_of_ones[r], totals[r])) {
            const size_t leader = ROW(place_of)(n, of_row, powers_of_ones[r]);
            ratios[r] = ROW(others_of_series)(n, x + (ptrdiff_t)r * x_pitch, scale, of_row, leader, &sums,
                                              KEEPS_LOSSES ? 0 : 0x1p-151);
        }
    }
    if (is_begun) {
        FA_INDEPENDENT
        for (size_t r = 0; r < rows; r++) {
            const two_parts whole = log_in_two_parts(totals[r], rests[r], STEP(row_common_exponent)());
            highs[r] = (T)whole.high;
            lows[r] = (T)((whole.high - (double)highs[r]) + whole.low);
            leads[r] = (T)(0 - log1p_of_sum(ratios[r]));
        }
    }
    for (size_t r = 0; r < rows; r++) {
        const T *xs = x + (ptrdiff_t)r * x_pitch;
        T *ys = y + (ptrdiff_t)r * y_pitch;
        if (!is_begun || !ROW(do_extremes_suit)(1, extremes + r, scale) || !ROW(are_moderate)(1, totals + r)) {
            ROW(log_softmax)(n, 1, xs, 1, scale, ys, 1, scratch);
            continue;
        }
        T high = highs[r], low = lows[r], lead = leads[r];
        T leader = ROW(leads)(powers_of_ones[r], totals[r]) ? extremes[r] : (T)NAN;
        const ROW(logs) logs = {&high, &low, &leader, &lead};
        ROW(subtract_logs)(all_lanes, n, 1, n, xs, 1, scale, NULL, &logs, ys, 1);
    }
}

static void
SERIES(log_softmax_backward)(size_t n, size_t rows, const void *gradient, ptrdiff_t dy_pitch, const void *output,
                             ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch, char *scratch)
{
    const T *dy = gradient, *y = output;
    T *dx = result, negated_sums[FA_SERIES];
    double totals[FA_SERIES];
    (void)scratch;
    ROW(sum_series)(n, rows, dy, dy_pitch, dy, dy_pitch, ROW(itself), totals);
    for (size_t r = 0; r < rows; r++)
        negated_sums[r] = -(T)totals[r];
    for (size_t r = 0; r < rows; r++)
        ROW(log_softmax_slopes)(all_lanes, n, 1, n, dy + (ptrdiff_t)r * dy_pitch, 1, y + (ptrdiff_t)r * y_pitch, 1,
                                (T)scale, negated_sums + r, dx + (ptrdiff_t)r * dx_pitch, 1);
}

#undef ROW
#undef SERIES
#undef STEP
#undef T
