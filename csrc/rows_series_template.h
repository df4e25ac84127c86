/* Softmax, log_softmax, the loss of labels and gradients of several short rows, one after another, for the precision REAL;
   included twice by rows.h, after the templates for one row and for columns. Every step is done for all rows before
   the next one: a short row by itself would wait for its sum, and then for what is computed of that. What is one per row is
   computed for several at once, and exponentials of rows without gaps in one go. Sums are those of rows_template.h, and so
   have the same bits; rows that need care, or factors of their own, go through the kernels for one row. `pitch` is the
   distance from row to row. */
#define ROW(name) FA_PASTE(FA_PASTE(FA_PASTE(name, _), REAL), FA_PASTE(_, FORM))
#define SERIES(name) FA_PASTE(ROW(name), _series)
/* Of the form for any number of rows. */
#define COLUMNS(name) FA_PASTE(FA_PASTE(name, _), FA_PASTE(REAL, _columns))
#define STEP(name) FA_PASTE(FA_PASTE(name, _), REAL)
#define T FA_PASTE(fa_, REAL)

enum { STEP(SPREAD) = FA_SERIES_BYTES / sizeof(T) + LANES };

/* Whether rows of up to `longest` elements follow each other without gaps. Then the last pass goes through all of them as one,
   with what is one per row repeated for every element: they leave no ends that are shorter than a vector. */
FA_INLINE int
ROW(is_one_run)(size_t n, size_t longest, ptrdiff_t a_pitch, ptrdiff_t b_pitch, ptrdiff_t c_pitch)
{
    const ptrdiff_t gapless = (ptrdiff_t)n;
    return n <= longest && a_pitch == gapless && b_pitch == gapless && c_pitch == gapless;
}

/* Each row's value for every one of its elements. */
FA_INLINE void
ROW(spread)(size_t n, size_t rows, const T *of_rows, T *of_elements)
{
    for (size_t r = 0; r < rows; r++) {
        const T value = of_rows[r];
        for (size_t i = 0; i < n; i += LANES) {
            T *to = of_elements + r * n + i;
            FA_INDEPENDENT
            for (size_t k = 0; k < LANES; k++)
                to[k] = value;
        }
    }
}

FA_INLINE void
ROW(weigh_series)(size_t n, size_t rows, const T *x, ptrdiff_t x_pitch, double scale, T *y, ptrdiff_t y_pitch)
{
    static const ROW(start) common = {NULL, NULL, NULL, NULL};
    const int has_gaps = x_pitch != (ptrdiff_t)n || y_pitch != (ptrdiff_t)n;
    if (!has_gaps)
        ROW(weigh_run)(n * rows, x, &common, scale, y);
    for (size_t r = 0; has_gaps && r < rows; r++)
        ROW(weigh_run)(n, x + (ptrdiff_t)r * x_pitch, &common, scale, y + (ptrdiff_t)r * y_pitch);
}

/* The sum of a row as one number, and what is lost of it. */
typedef struct {
    double total, rest;
} ROW(row_sum);

/* term(a, b) of each element of a row, summed in lanes, and these together. */
FA_INLINE ROW(row_sum)
ROW(sum_terms)(size_t n, const T *a, const T *b, ROW(term) *term, const ROW(lanes) *sums)
{
    const size_t rest = n % (AT_ONCE * LANES), lanes = ROW(lane_count)(n);
    const ROW(lane) none = {0, 0};
    T terms[LANES];
    if (n <= LANES) {
        ROW(clear)(sums, FEW_LANES);
        ROW(add_pairs)(n, a, b, term, terms);
        ROW(add_to_few)(terms, sums);
    } else if (n < AT_ONCE * LANES) {
        ROW(add_last_terms)(n, a, b, term, terms);
        FA_INDEPENDENT
        for (size_t k = 0; k < LANES; k++)
            ROW(put)(sums, k, ROW(plus)(none, terms[k]));
    } else {
        ROW(clear)(sums, LANES);
        /* As add_four, for which gcc would compute eight addresses. */
        for (size_t i = 0; i + AT_ONCE * LANES <= n; i += AT_ONCE * LANES) {
            const T *as = a + i, *bs = b + i;
            FA_INDEPENDENT
            for (size_t k = 0; k < LANES; k++) {
                const ROW(lane) sum = ROW(get)(sums, k);
                ROW(put)(sums, k, ROW(plus_four)(sum, term(as[k], bs[k]), term(as[k + LANES], bs[k + LANES]),
                                                 term(as[k + 2 * LANES], bs[k + 2 * LANES]),
                                                 term(as[k + 3 * LANES], bs[k + 3 * LANES])));
            }
        }
        if (rest > 0) {
            ROW(add_last_terms)(rest, a + (n - rest), b + (n - rest), term, terms);
            FA_INDEPENDENT
            for (size_t k = 0; k < LANES; k++)
                ROW(add)(sums, k, terms[k]);
        }
    }
    const ROW(lane) total = ROW(total)(sums, lanes);
    const double rounded = ROW(rounded)(total);
    return (ROW(row_sum)){rounded, ROW(rest)(total, rounded)};
}

FA_INLINE void
ROW(sum_series_of)(size_t n, size_t rows, const T *a, ptrdiff_t a_pitch, const T *b, ptrdiff_t b_pitch,
                   ROW(term) *term, double *totals)
{
    for (size_t r = 0; r < rows; r++) {
        double sum[LANES], lost[LANES];
        const ROW(lanes) sums = {sum, lost};
        totals[r] = ROW(sum_terms)(n, a + (ptrdiff_t)r * a_pitch, b + (ptrdiff_t)r * b_pitch, term, &sums).total;
    }
}

/* The sums of terms of all rows. */
FA_INLINE void
ROW(sum_series)(size_t n, size_t rows, const T *a, ptrdiff_t a_pitch, const T *b, ptrdiff_t b_pitch, ROW(term) *term,
                double *totals)
{
    BY_LENGTH(n, ROW(sum_series_of)(n, rows, a, a_pitch, b, b_pitch, term, totals));
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
    const int is_one_run = ROW(is_one_run)(n, LANES, dy_pitch, y_pitch, dx_pitch);
    if (is_one_run) {
        T every_mean[STEP(SPREAD)];
        ROW(spread)(n, rows, means, every_mean);
        COLUMNS(softmax_slopes)(all_lanes, 1, n * rows, 1, dy, 0, y, 0, (T)scale, every_mean, 0, dx, 0);
    }
    for (size_t r = 0; r < rows; r++) {
        const T *dys = dy + (ptrdiff_t)r * dy_pitch, *ys = y + (ptrdiff_t)r * y_pitch;
        T *dxs = dx + (ptrdiff_t)r * dx_pitch;
        if (!ROW(need_no_care)(1, totals + r))
            ROW(softmax_backward)(n, 1, dys, 1, ys, 1, scale, dxs, 1, scratch);
        else if (!is_one_run)
            ROW(softmax_slopes)(all_lanes, n, 1, n, dys, 1, ys, 1, (T)scale, means + r, 0, dxs, 1);
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

/* The sum of powers of up to LANES elements but for one. */
FA_INLINE ROW(lane)
ROW(sum_of_others)(size_t n, const T *powers, size_t leader)
{
    double sum[FEW_LANES], lost[FEW_LANES];
    const ROW(lanes) sums = {sum, lost};
    T others[LANES];
    FA_GUARDED
    for (size_t k = 0; k < LANES; k++)
        others[k] = k < n && k != leader ? powers[k] : 0;
    ROW(clear)(&sums, FEW_LANES);
    ROW(add_to_few)(others, &sums);
    return ROW(total)(&sums, FEW_LANES);
}

/* That of more elements: the leader's lane is summed again, in the order of lane_without; `sums` are those of all. */
FA_INLINE ROW(lane)
ROW(sum_of_other_lanes)(size_t n, const T *powers, size_t leader, const ROW(lanes) *sums)
{
    const size_t of_leader = leader % LANES;
    double sum[LANES], lost[LANES];
    const ROW(lanes) others = {sum, lost};
    ROW(lane) lane = {0, 0};
    for (size_t i = of_leader; i < n; i += AT_ONCE * LANES) {
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
    return ROW(total)(&others, LANES);
}

/* What all others of a row have beside an element that leads, from powers: see others_beside. */
static double
ROW(others_of_series)(size_t n, const T *x, double scale, const T *powers, size_t leader, const ROW(lanes) *sums,
                      double none)
{
    const double few = (double)n * (KEEPS_LOSSES ? 0x1p-1040 : 0x1p-120);
    const ROW(lane) others = n > LANES ? ROW(sum_of_other_lanes)(n, powers, leader, sums)
                                       : ROW(sum_of_others)(n, powers, leader);
    const double ratio = ROW(rounded)(others) / (double)powers[leader];
    return ratio <= none ? 0 : ratio < few ? ROW(few_beside)(n, x, 1, scale, x[leader]) : ratio;
}

/* Of each row: the sum of its powers and what is lost of it; the place of the element that leads, or n, and what the others
   have beside it. */
typedef struct {
    double *totals, *rests, *ratios;
    size_t *leaders;
} ROW(all_sums);

FA_INLINE void
ROW(sum_and_lead)(size_t n, size_t rows, const T *x, ptrdiff_t x_pitch, double scale, const T *powers,
                  const T *powers_of_ones, const ROW(all_sums) *all)
{
    for (size_t r = 0; r < rows; r++) {
        const T *of_row = powers + r * n;
        double sum[LANES], lost[LANES];
        const ROW(lanes) sums = {sum, lost};
        const ROW(row_sum) sum_of_row = ROW(sum_terms)(n, of_row, of_row, ROW(itself), &sums);
        all->totals[r] = sum_of_row.total;
        all->rests[r] = sum_of_row.rest;
        all->ratios[r] = 0;
        all->leaders[r] = n;
        if (ROW(leads)(powers_of_ones[r], sum_of_row.total)) {
            all->leaders[r] = ROW(place_of)(n, of_row, powers_of_ones[r]);
            all->ratios[r] = ROW(others_of_series)(n, x + (ptrdiff_t)r * x_pitch, scale, of_row, all->leaders[r], &sums,
                                                   KEEPS_LOSSES ? 0 : 0x1p-151);
        }
    }
}

static void
SERIES(log_softmax)(size_t n, size_t rows, const void *input, ptrdiff_t x_pitch, double scale, void *output,
                    ptrdiff_t y_pitch, char *scratch)
{
    const T *x = input, sign = scale < 0 ? -1 : 1;
    T *y = output, powers[FA_SERIES_BYTES / sizeof(T)], extremes[FA_SERIES], powers_of_ones[FA_SERIES];
    T highs[FA_SERIES], lows[FA_SERIES], leads[FA_SERIES];
    size_t leaders[FA_SERIES]; /* their places, or n */
    double totals[FA_SERIES], rests[FA_SERIES], ratios[FA_SERIES];
    static const ROW(start) common = {NULL, NULL, NULL, NULL};
    const int is_begun = ROW(look_moderate)(n, 1, x, 1, scale);
    if (is_begun) {
        const ROW(all_sums) all = {totals, rests, ratios, leaders};
        for (size_t r = 0; r < rows; r++)
            ROW(extremes_of)(n, 1, x + (ptrdiff_t)r * x_pitch, 1, sign, 0, extremes + r, scratch);
        ROW(weigh_series)(n, rows, x, x_pitch, scale, powers, (ptrdiff_t)n);
        ROW(weigh)(rows, extremes, &common, 0, scale, powers_of_ones);
        BY_LENGTH(n, ROW(sum_and_lead)(n, rows, x, x_pitch, scale, powers, powers_of_ones, &all));
        FA_INDEPENDENT
        for (size_t r = 0; r < rows; r++) {
            const two_parts whole = ROW(log_of_sum_of_powers)(totals[r], rests[r], STEP(row_common_exponent)());
            highs[r] = (T)whole.high;
            lows[r] = (T)((whole.high - (double)highs[r]) + whole.low);
            leads[r] = (T)(0 - STEP(log1p_of_ratio)(ratios[r]));
        }
    }
    for (size_t r = 0; r < rows; r++) {
        const T *xs = x + (ptrdiff_t)r * x_pitch;
        T *ys = y + (ptrdiff_t)r * y_pitch;
        if (!is_begun || !ROW(do_extremes_suit)(1, extremes + r, scale) || !ROW(are_moderate)(1, totals + r)) {
            ROW(log_softmax)(n, 1, xs, 1, scale, ys, 1, scratch);
            continue;
        }
        const ROW(logs) logs = {highs + r, lows + r, NULL, NULL};
        ROW(subtract_logs)(all_lanes, n, 1, n, xs, 1, scale, NULL, &logs, ys, 1);
        if (leaders[r] < n)
            ys[leaders[r]] = leads[r];
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
    const int is_one_run = ROW(is_one_run)(n, RUN, dy_pitch, y_pitch, dx_pitch);
    if (is_one_run) {
        T every_sum[STEP(SPREAD)];
        ROW(spread)(n, rows, negated_sums, every_sum);
        COLUMNS(log_softmax_slopes)(all_lanes, 1, n * rows, 1, dy, 0, y, 0, (T)scale, every_sum, dx, 0);
    }
    for (size_t r = 0; !is_one_run && r < rows; r++)
        ROW(log_softmax_slopes)(all_lanes, n, 1, n, dy + (ptrdiff_t)r * dy_pitch, 1, y + (ptrdiff_t)r * y_pitch, 1,
                                (T)scale, negated_sums + r, dx + (ptrdiff_t)r * dx_pitch, 1);
}

/* Labels of several rows: their values and powers, and the sums of all powers; where a label leads, what the others have
   beside it. Returns whether any does. */
FA_INLINE int
ROW(sum_labels_of)(size_t n, size_t rows, const T *x, ptrdiff_t x_pitch, const T *powers, ptrdiff_t pitch,
                const size_t *labels, T *values, T *powers_of_labels, double *totals, double *rests, double *ratios)
{
    int do_any_lead = 0;
    for (size_t r = 0; r < rows; r++) {
        const T *xs = x + (ptrdiff_t)r * x_pitch, *of_row = powers + (ptrdiff_t)r * pitch;
        double sum[LANES], lost[LANES];
        const ROW(lanes) sums = {sum, lost};
        const ROW(row_sum) sum_of_row = ROW(sum_terms)(n, of_row, of_row, ROW(itself), &sums);
        totals[r] = sum_of_row.total;
        rests[r] = sum_of_row.rest;
        values[r] = xs[labels[r]];
        powers_of_labels[r] = of_row[labels[r]];
        const int leads = ROW(leads)(powers_of_labels[r], totals[r]);
        ratios[r] = leads ? ROW(others_of_series)(n, xs, 1, of_row, labels[r], &sums, 0) : 0;
        do_any_lead |= leads;
    }
    return do_any_lead;
}

static int
ROW(sum_labels)(size_t n, size_t rows, const T *x, ptrdiff_t x_pitch, const T *powers, ptrdiff_t pitch,
                const size_t *labels, T *values, T *powers_of_labels, double *totals, double *rests, double *ratios)
{
    int do_any_lead;
    BY_LENGTH(n, do_any_lead = ROW(sum_labels_of)(n, rows, x, x_pitch, powers, pitch, labels, values, powers_of_labels,
                                                  totals, rests, ratios));
    return do_any_lead;
}

/* Their losses. */
static void
SERIES(cross_entropy)(size_t n, size_t rows, const void *input, ptrdiff_t x_pitch, const fa_targets *targets,
                          double *losses, char *scratch)
{
    const T *x = input;
    T powers[FA_SERIES_BYTES / sizeof(T)], values[FA_SERIES], powers_of_labels[FA_SERIES];
    double totals[FA_SERIES], rests[FA_SERIES], ratios[FA_SERIES];
    const int is_begun = ROW(look_moderate)(n, 1, x, 1, 1);
    if (is_begun) {
        ROW(weigh_series)(n, rows, x, x_pitch, 1, powers, (ptrdiff_t)n);
        const int do_any_lead = ROW(sum_labels)(n, rows, x, x_pitch, powers, (ptrdiff_t)n, targets->labels, values,
                                                powers_of_labels, totals, rests, ratios);
        FA_INDEPENDENT
        for (size_t r = 0; r < rows; r++)
            losses[r] = ROW(loss_of_sum)(ROW(log_of_sum_of_powers)(totals[r], rests[r], STEP(row_common_exponent)()),
                                         (double)values[r]);
        if (do_any_lead)
            ROW(losses_beside)(rows, powers_of_labels, totals, ratios, losses);
    }
    for (size_t r = 0; r < rows; r++) {
        const T *xs = x + (ptrdiff_t)r * x_pitch;
        if (!is_begun || !ROW(suits)(n, xs, 1, totals[r]))
            ROW(losses_of_labels)(n, 1, xs, 1, targets->labels + r, losses + r, scratch);
    }
}

/* And gradients. */
static void
SERIES(cross_entropy_backward)(size_t n, size_t rows, const void *input, ptrdiff_t x_pitch,
                                   const fa_targets *targets, const double *factors, void *result, ptrdiff_t dx_pitch,
                                   char *scratch)
{
    const T *x = input;
    T *dx = result;
    const double smoothing = targets->smoothing, everywhere = smoothing / (double)n;
    T values[FA_SERIES], powers_of_labels[FA_SERIES], shares[FA_SERIES], lows[FA_SERIES], offsets[FA_SERIES];
    double totals[FA_SERIES], rests[FA_SERIES], ratios[FA_SERIES], missing[FA_SERIES];
    const int is_begun = ROW(look_moderate)(n, 1, x, 1, 1);
    if (is_begun) {
        ROW(weigh_series)(n, rows, x, x_pitch, 1, dx, dx_pitch);
        ROW(sum_labels)(n, rows, x, x_pitch, dx, dx_pitch, targets->labels, values, powers_of_labels, totals, rests,
                        ratios);
        ROW(missing_at_labels)(rows, powers_of_labels, totals, ratios, missing);
        FA_INDEPENDENT
        for (size_t r = 0; r < rows; r++) {
            ROW(share_of_gradient)(factors[r], totals[r], &shares[r], &lows[r]);
            offsets[r] = (T)(factors[r] * everywhere);
        }
    }
    for (size_t r = 0; r < rows; r++) {
        const fa_targets of_row = {.labels = targets->labels + r, .smoothing = smoothing};
        const T *xs = x + (ptrdiff_t)r * x_pitch;
        T *dxs = dx + (ptrdiff_t)r * dx_pitch;
        if (!is_begun || !ROW(suits)(n, xs, 1, totals[r])) {
            ROW(cross_entropy_backward)(n, 1, xs, 1, &of_row, factors + r, dxs, 1, scratch);
            continue;
        }
        ROW(keep_digits)(n, factors[r], totals[r], dxs, 1, shares + r, lows + r);
        ROW(gradient_of_labels)(n, 1, n, shares + r, lows + r, offsets + r, dxs, 1);
        dxs[*of_row.labels] = (T)(factors[r] * ((smoothing - everywhere) - missing[r]));
    }
}

#undef ROW
#undef COLUMNS
#undef SERIES
#undef STEP
#undef T
