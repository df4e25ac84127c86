/* softmax_cross_entropy of rows and its gradient, for the precision REAL and one FORM of a tile (see rows_template.h);
   included four times by rows.h. */
#define ROW(name) FA_PASTE(FA_PASTE(FA_PASTE(name, _), REAL), FA_PASTE(_, FORM))
#define STEP(name) FA_PASTE(FA_PASTE(name, _), REAL)
#define T FA_PASTE(fa_, REAL)
#define OF_ROW(k) (ONE_ROW ? 0 : (k))

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

/* The elements whose softmax is 1 though they are infinite, one for each row; n where there is none. */
static void
ROW(infinite_winners)(size_t n, size_t width, const T *x, ptrdiff_t pitch, const T *extremes, size_t *winners)
{
    for (size_t r = 0; r < width; r++)
        winners[r] = isinf(extremes[r]) && extremes[r] > 0 ? ROW(sole_winner)(n, x + r, pitch, extremes[r]) : n;
}

/* Whether a label's x is none that makes a sum of powers too large by itself. */
FA_INLINE int
ROW(is_low)(T x)
{
    return !(x >= STEP(row_common_highest)());
}

/* The elements that labels name; `at` is x, or powers, of the same pitch. */
FA_INLINE void
ROW(take_labels)(size_t width, const T *at, ptrdiff_t pitch, const size_t *labels, T *values)
{
    for (size_t r = 0; r < width; r++)
        values[r] = at[(ptrdiff_t)labels[r] * pitch + (ptrdiff_t)r];
}

FA_INLINE int
ROW(are_low)(size_t width, const T *values)
{
    int are_low = 1;
    for (size_t r = 0; r < width; r++)
        are_low &= ROW(is_low)(values[r]);
    return are_low;
}

/* What all others have beside the labels that lead. Returns whether any does. */
FA_INLINE int
ROW(others_beside_labels)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, const size_t *labels,
                          const ROW(powers) *powers, T *values, T *powers_of_labels, double *ratios, char *scratch)
{
    ROOM(unsigned char, lanes, 1, width);
    const ROW(ones) ones = {values, powers_of_labels, lanes};
    const int do_any_lead = ROW(do_any_lead)(width, powers_of_labels, powers->totals);
    for (size_t r = 0; r < width; r++) {
        lanes[r] = (unsigned char)(labels[r] % ROW(lane_count)(n));
        ratios[r] = 0;
    }
    if (do_any_lead)
        ROW(others_beside)(n, width, x, x_pitch, 1, NULL, powers, &ones, 0, ratios);
    return do_any_lead;
}

/* -sum(p log(softmax(x))), p = (1 - smoothing) probabilities + smoothing / n. No term cancels another. */
static FA_NOINLINE void
ROW(cross_entropy_of_weights)(size_t n, size_t given_width, const void *input, ptrdiff_t x_pitch,
                              const fa_targets *targets, double *losses, char *scratch)
{
    const T *x = input, *probabilities = targets->probabilities;
    const double kept = 1 - targets->smoothing, everywhere = targets->smoothing / (double)n;
    const ptrdiff_t p_pitch = probabilities == NULL ? x_pitch : targets->pitch;
    const size_t width = ROW(rows)(given_width), used = ROW(used_lanes)(n, width);
    const size_t step = ROW(step)(width, x_pitch, p_pitch, p_pitch);
    ROOM(T, extremes, 1, ROW(repeated)(width));
    ROOM(double, log_sums, 1, step * width);
    ROOM(double, others, 1, width);
    ROOM(double, totals, 1, width);
    ROOM(size_t, winners, 1, width);
    ROW(extremes)(n, width, x, x_pitch, 1, extremes, scratch);
    ROW(infinite_winners)(n, width, x, x_pitch, extremes, winners);
    ROW(weights)(n, width, x, x_pitch, extremes, 1, others, scratch);
    FA_INDEPENDENT
    for (size_t r = 0; r < width; r++)
        log_sums[r] = log1p_of_sum(winners[r] < n ? 0 : others[r]);
    for (size_t r = 0; r < width; r++) {
        losses[r] = 0;
        if (probabilities == NULL) {
            const T at_label = x[(ptrdiff_t)targets->labels[r] * x_pitch + (ptrdiff_t)r];
            losses[r] = ROW(expected)(kept, ROW(surprisal)(at_label, extremes[r], log_sums[r]));
        }
    }
    if (probabilities == NULL && everywhere == 0)
        return;
    SUMS(sums);
    ROW(clear)(&sums, used);
    if (!ONE_ROW)
        for (size_t k = width; k < step * width; k++)
            log_sums[k] = log_sums[k - width];
    for (size_t i = 0; i < n; i += step) {
        const T *xs = x + (ptrdiff_t)i * x_pitch;
        const T *given = probabilities == NULL ? xs : probabilities + (ptrdiff_t)i * p_pitch;
        const size_t count = ROW(least)(step, n - i) * width, first_lane = i % LANES * width;
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++) {
            const double probability = probabilities == NULL ? 0 : (double)given[k];
            const double surprisal = ROW(surprisal)(xs[k], extremes[OF_ROW(k)], log_sums[OF_ROW(k)]);
            ROW(add)(&sums, first_lane + k, ROW(expected)(kept * probability + everywhere, surprisal));
        }
    }
    ROW(totals)(&sums, n, width, totals);
    for (size_t r = 0; r < width; r++)
        losses[r] += totals[r];
}

/* The logarithm of a row's sum less its label's x. */
FA_INLINE double
ROW(loss_of_sum)(two_parts log_of_sum, double x)
{
    return (log_of_sum.high - x) + log_of_sum.low;
}

/* The losses of labels that lead, from what the others have beside them. */
FA_INLINE void
ROW(losses_beside)(size_t width, const T *powers_of_labels, const double *totals, const double *ratios, double *losses)
{
    FA_INDEPENDENT
    for (size_t r = 0; r < width; r++) {
        const double beside = STEP(log1p_of_ratio)(ratios[r]);
        losses[r] = ROW(leads)(powers_of_labels[r], totals[r]) ? beside : losses[r];
    }
}

/* The same, of labels alone: the logarithm of the sum of powers less x; or where that would cancel, as the label has most
   of the weight, log1p of what the others have beside it. */
static FA_NOINLINE void
ROW(losses_of_labels)(size_t n, size_t given_width, const T *x, ptrdiff_t x_pitch, const size_t *labels, double *losses,
                      char *scratch)
{
    const size_t width = ROW(rows)(given_width);
    ROOM(T, values, 1, width);
    ROOM(T, powers_of_labels, 1, width);
    ROOM(double, ratios, 1, width);
    PARTS(parts);
    POWERS(powers, &parts);
    ROW(take_labels)(width, x, x_pitch, labels, values);
    const int are_low = ROW(are_low)(width, values);
    ROW(find_powers)(n, width, x, x_pitch, 1, are_low, NULL, x_pitch, NULL, 0, NULL, &powers, scratch);
    const ROW(start) start = ROW(start_of)(&powers);
    ROW(weigh)(width, values, &start, 0, 1, powers_of_labels);
    const T *const exponents = powers.are_own ? powers.exponents : NULL;
    for (size_t r = 0; r < width; r++) {
        const double offset = powers.are_own ? (double)start.offsets[r] : 0;
        losses[r] = ROW(loss_of_sum)(ROW(log_of_powers)(&powers, exponents, r), (double)values[r] - offset);
    }
    if (ROW(others_beside_labels)(n, width, x, x_pitch, labels, &powers, values, powers_of_labels, ratios, scratch))
        ROW(losses_beside)(width, powers_of_labels, powers.totals, ratios, losses);
    for (size_t r = 0; r < width; r++) {
        const fa_targets targets = {.labels = labels + r};
        if (!isfinite(powers.totals[r]))
            ROW(cross_entropy_of_weights)(n, 1, x + r, x_pitch, &targets, losses + r, scratch);
    }
}

static void
ROW(cross_entropy)(size_t n, size_t width, const void *input, ptrdiff_t x_pitch, const fa_targets *targets,
                   double *losses, char *scratch)
{
    if (targets->probabilities == NULL && targets->smoothing == 0)
        ROW(losses_of_labels)(n, width, input, x_pitch, targets->labels, losses, scratch);
    else
        ROW(cross_entropy_of_weights)(n, width, input, x_pitch, targets, losses, scratch);
}

/* 1 - softmax of each label: what all others have. */
FA_INLINE void
ROW(missing_at_labels)(size_t width, const T *powers_of_labels, const double *totals, const double *ratios,
                       double *missing)
{
    FA_INDEPENDENT
    for (size_t r = 0; r < width; r++) {
        const double power = (double)powers_of_labels[r];
        const int leads = ROW(leads)(powers_of_labels[r], totals[r]);
        missing[r] = (leads ? ratios[r] * power : totals[r] - power) / totals[r];
    }
}

/* What powers are multiplied by, in two parts, so that they become `wanted` times softmax. */
FA_INLINE void
ROW(share_of_gradient)(double wanted, double total, T *share, T *low)
{
    const double whole = wanted / total, lost = fa_fma_f64(-whole, total, wanted) / total;
    *share = (T)whole;
    *low = isfinite(whole) ? (T)((whole - (double)*share) + lost) : 0;
}

/* Where the share would be so small that the lower part lacks digits, or both do: the powers in dx are made smaller, and the
   share larger. */
FA_INLINE void
ROW(keep_digits)(size_t n, double wanted, double total, T *dx, ptrdiff_t dx_pitch, T *share, T *low)
{
    const double least = KEEPS_LOSSES ? 0x1p-1000 : 0x1p-110, smaller = 1 / (double)STEP(row_common_limit)();
    if (wanted == 0 || !(fabs((double)*share) < least))
        return;
    for (size_t i = 0; i < n; i++)
        dx[(ptrdiff_t)i * dx_pitch] *= (T)smaller;
    ROW(share_of_gradient)(wanted, total * smaller, share, low);
}

/* The gradient but at the labels, from powers in dx. */
FA_INLINE void
ROW(gradient_of_labels)(size_t n, size_t width, size_t block, const T *shares, const T *lows, const T *offsets, T *dx,
                        ptrdiff_t dx_pitch)
{
    for (size_t done = 0; done < n; done += block) {
        const size_t i = ROW(backwards)(n, done), count = ROW(least)(block, n - done) * width;
        T *dxs = dx + (ptrdiff_t)i * dx_pitch;
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            dxs[k] = STEP(fa_fma)(dxs[k], shares[OF_ROW(k)],
                                  STEP(fa_fma)(dxs[k], lows[OF_ROW(k)], -offsets[OF_ROW(k)]));
    }
}

/* dx = factor * (softmax(x) sum(p) - p), p as above; dx is not x. Of a label softmax(x) - 1 is what all others have, which
   keeps its digits where the label has nearly all the weight. */
static void
ROW(cross_entropy_backward)(size_t n, size_t given_width, const void *input, ptrdiff_t x_pitch,
                            const fa_targets *targets, const double *factors, void *result, ptrdiff_t dx_pitch,
                            char *scratch)
{
    const T *x = input, *probabilities = targets->probabilities;
    T *dx = result;
    const double smoothing = targets->smoothing, everywhere = smoothing / (double)n;
    const ptrdiff_t p_pitch = probabilities == NULL ? dx_pitch : targets->pitch;
    const size_t width = ROW(rows)(given_width), used = ROW(used_lanes)(n, width);
    const size_t step = ROW(step)(width, dx_pitch, p_pitch, p_pitch), block = ONE_ROW ? n : step;
    ROOM(T, shares, 1, block * width);
    ROOM(T, lows, 1, block * width);
    ROOM(T, kept, 1, block * width);
    ROOM(T, offsets, 1, block * width);
    ROOM(T, values, 1, width);
    ROOM(T, powers_of_labels, 1, width);
    ROOM(double, ratios, 1, width);
    ROOM(double, totals, 1, width);
    ROOM(double, at_labels, 1, width); /* 1 - softmax */
    PARTS(parts);
    POWERS(powers, probabilities == NULL ? &parts : NULL);
    for (size_t r = 0; r < width; r++) {
        values[r] = probabilities == NULL ? x[(ptrdiff_t)targets->labels[r] * x_pitch + (ptrdiff_t)r] : 0;
        at_labels[r] = 0;
    }
    const int are_low = probabilities != NULL || ROW(are_low)(width, values);
    ROW(find_powers)(n, width, x, x_pitch, 1, are_low, dx, dx_pitch, NULL, 0, NULL, &powers, scratch);
    double *const weights = powers.totals;
    if (probabilities == NULL) {
        ROW(take_labels)(width, dx, dx_pitch, targets->labels, powers_of_labels);
        ROW(others_beside_labels)(n, width, x, x_pitch, targets->labels, &powers, values, powers_of_labels, ratios,
                                  scratch);
        ROW(missing_at_labels)(width, powers_of_labels, weights, ratios, at_labels);
    }
    if (powers.are_own) {
        const T *extremes = powers.start.extremes;
        ROW(limits)(n, width, x, x_pitch, 1, extremes, dx, dx_pitch, 1, 0);
        for (size_t r = 0; r < width; r++) {
            const int may_win = isinf(extremes[r]) && extremes[r] > 0;
            const size_t winner = may_win ? ROW(sole_winner)(n, x + r, x_pitch, extremes[r]) : n;
            if (winner == n)
                continue;
            weights[r] = 1;
            at_labels[r] = probabilities == NULL && targets->labels[r] != winner;
        }
    }
    if (probabilities == NULL) {
        for (size_t r = 0; r < width; r++)
            totals[r] = 1;
    } else {
        SUMS(sums);
        ROW(clear)(&sums, used);
        ROW(add_terms)(n, width, step, probabilities, p_pitch, probabilities, p_pitch, &sums, ROW(itself), NULL, NULL);
        ROW(totals)(&sums, n, width, totals);
        for (size_t r = 0; r < width; r++)
            totals[r] = (1 - smoothing) * totals[r] + smoothing;
    }
    for (size_t r = 0; r < width; r++) {
        ROW(share_of_gradient)(factors[r] * totals[r], weights[r], &shares[r], &lows[r]);
        ROW(keep_digits)(n, factors[r] * totals[r], weights[r], dx + r, dx_pitch, &shares[r], &lows[r]);
        kept[r] = (T)(factors[r] * (1 - smoothing));
        offsets[r] = (T)(factors[r] * everywhere);
    }
    ROW(repeat)(block, width, shares);
    ROW(repeat)(block, width, lows);
    ROW(repeat)(block, width, kept);
    ROW(repeat)(block, width, offsets);
    if (probabilities == NULL)
        ROW(gradient_of_labels)(n, width, block, shares, lows, offsets, dx, dx_pitch);
    for (size_t done = 0; probabilities != NULL && done < n; done += block) {
        const size_t i = ROW(backwards)(n, done), count = ROW(least)(block, n - done) * width;
        T *dxs = dx + (ptrdiff_t)i * dx_pitch;
        const T *given = probabilities + (ptrdiff_t)i * p_pitch;
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++) {
            const T wanted = STEP(fa_fma)(kept[OF_ROW(k)], given[k], offsets[OF_ROW(k)]);
            dxs[k] = STEP(fa_fma)(dxs[k], shares[OF_ROW(k)], STEP(fa_fma)(dxs[k], lows[OF_ROW(k)], -wanted));
        }
    }
    for (size_t r = 0; r < width; r++) {
        if (probabilities == NULL)
            dx[(ptrdiff_t)targets->labels[r] * dx_pitch + (ptrdiff_t)r] =
                (T)(factors[r] * ((smoothing - everywhere) - at_labels[r]));
        for (size_t i = 0; isnan(weights[r]) && i < n; i++)
            dx[(ptrdiff_t)i * dx_pitch + (ptrdiff_t)r] = (T)NAN;
    }
}

#undef OF_ROW
#undef ROW
#undef STEP
#undef T
