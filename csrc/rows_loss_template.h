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

/* The losses of labels alone, from powers: log(total) - x of the label; or where that would cancel, as the label has most
   of the weight, log1p of what the others have beside it. Of rows whose powers do not suit, `is_other` is 1 and the loss is
   not known. Returns whether there are such rows. */
FA_INLINE int
ROW(losses_by_powers)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, const size_t *labels, double *losses,
                      T *is_other, char *scratch)
{
    static const ROW(start) common = {NULL, NULL, NULL, NULL};
    ROOM(T, at_labels, 1, width);
    ROOM(T, powers, 1, width);
    ROOM(double, ratios, 1, width);
    ROOM(double, totals, 1, width);
    SUMS(sums);
    const ROW(sum) sum = {NULL, &sums, NULL};
    size_t others_count = 0;
    for (size_t r = 0; r < width; r++) {
        at_labels[r] = x[(ptrdiff_t)labels[r] * x_pitch + (ptrdiff_t)r];
        const int is_moderate = ROW(look_moderate)(n, 1, x + r, x_pitch, 1) && ROW(is_low)(at_labels[r]);
        is_other[r] = is_moderate ? 0 : 1;
        others_count += !is_moderate;
    }
    if (others_count == width)
        return 1;
    ROW(clear)(&sums, ROW(used_lanes)(n, width));
    ROW(weigh_lanes)(all_lanes, n, width, x, x_pitch, &common, 1, NULL, x_pitch, NULL, 0, &sum);
    ROW(totals)(&sums, n, width, totals);
    ROW(weigh)(width, at_labels, &common, 0, 1, powers);
    for (size_t r = 0; r < width; r++) {
        ratios[r] = 0;
        if (is_other[r] == 0 && !ROW(are_moderate)(1, totals + r)) {
            is_other[r] = 1;
            others_count++;
        }
        if (is_other[r] != 0 || (double)powers[r] <= totals[r] / 2)
            continue;
        const double others = ROW(sum_less_one)(n, x + r, x_pitch, 0, 1, labels[r], sums.sum[r], ROW(lost)(&sums, r));
        ratios[r] = others / (double)powers[r];
    }
    FA_INDEPENDENT
    for (size_t r = 0; r < width; r++) {
        const int leads = (double)powers[r] > totals[r] / 2;
        const two_parts whole = ROW(log_of_powers)(totals[r], sums.sum[r], ROW(lost)(&sums, r));
        losses[r] = leads ? log1p_of_sum(ratios[r]) : (whole.high - (double)at_labels[r]) + whole.low;
    }
    return others_count > 0;
}

/* -sum(p log(softmax(x))), p = (1 - smoothing) probabilities + smoothing / n. No term cancels another. */
static void
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

/* The same; of labels alone by powers, where they suit. */
static void
ROW(cross_entropy)(size_t n, size_t width, const void *input, ptrdiff_t x_pitch, const fa_targets *targets,
                   double *losses, char *scratch)
{
    if (targets->probabilities != NULL || targets->smoothing != 0) {
        ROW(cross_entropy_of_weights)(n, width, input, x_pitch, targets, losses, scratch);
        return;
    }
    ROOM(T, is_other, 1, width);
    ROOM(double, other_losses, 1, width);
    if (!ROW(losses_by_powers)(n, ROW(rows)(width), input, x_pitch, targets->labels, losses, is_other, scratch))
        return;
    ROW(cross_entropy_of_weights)(n, width, input, x_pitch, targets, other_losses, scratch);
    for (size_t r = 0; r < width; r++)
        losses[r] = is_other[r] != 0 ? other_losses[r] : losses[r];
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
    ROOM(T, extremes, 1, ROW(repeated)(width));
    ROOM(T, shares, 1, block * width);
    ROOM(T, lows, 1, block * width);
    ROOM(T, kept, 1, block * width);
    ROOM(T, offsets, 1, block * width);
    ROOM(double, weights, 1, width);
    ROOM(double, totals, 1, width);
    ROOM(double, at_labels, 1, width);
    int are_low = 1;
    for (size_t r = 0; probabilities == NULL && r < width; r++)
        are_low &= ROW(is_low)(x[(ptrdiff_t)targets->labels[r] * x_pitch + (ptrdiff_t)r]);
    if (ROW(powers)(n, width, x, x_pitch, 1, are_low, dx, dx_pitch, weights, NULL, 0, NULL, extremes, scratch)) {
        ROW(limits)(n, width, x, x_pitch, 1, extremes, dx, dx_pitch, 1, 0);
        for (size_t r = 0; r < width; r++)
            if (isinf(extremes[r]) && extremes[r] > 0 && ROW(sole_winner)(n, x + r, x_pitch, extremes[r]) < n)
                weights[r] = 1;
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
        const double wanted = factors[r] * totals[r], share = wanted / weights[r];
        const double low = fa_fma_f64(-share, weights[r], wanted) / weights[r];
        shares[r] = (T)share;
        lows[r] = isfinite(share) ? (T)((share - (double)shares[r]) + low) : 0;
        kept[r] = (T)(factors[r] * (1 - smoothing));
        offsets[r] = (T)(factors[r] * everywhere);
        at_labels[r] = 0;
    }
    ROW(repeat)(block, width, shares);
    ROW(repeat)(block, width, lows);
    ROW(repeat)(block, width, kept);
    ROW(repeat)(block, width, offsets);
    for (size_t r = 0; probabilities == NULL && r < width; r++) {
        const double weight = (double)dx[(ptrdiff_t)targets->labels[r] * dx_pitch + (ptrdiff_t)r];
        double others = weights[r] - weight;
        /* In float64 the sum lacks what its rounding lost. */
        if (weight > weights[r] / 2 && KEEPS_LOSSES)
            others = ROW(sum_of_others)(n, dx + r, dx_pitch, 1, 1, targets->labels[r]);
        else if (weight > weights[r] / 2)
            others = ROW(sum_less_one)(n, dx + r, dx_pitch, 1, 1, targets->labels[r], weights[r], 0);
        at_labels[r] = factors[r] * ((smoothing - everywhere) - others / weights[r]);
    }
    for (size_t done = 0; done < n; done += block) {
        const size_t i = ROW(backwards)(n, done), count = ROW(least)(block, n - done) * width;
        T *dxs = dx + (ptrdiff_t)i * dx_pitch;
        if (probabilities == NULL) {
            FA_INDEPENDENT
            for (size_t k = 0; k < count; k++)
                dxs[k] = STEP(fa_fma)(dxs[k], shares[OF_ROW(k)],
                                      STEP(fa_fma)(dxs[k], lows[OF_ROW(k)], -offsets[OF_ROW(k)]));
        } else {
            const T *given = probabilities + (ptrdiff_t)i * p_pitch;
            FA_INDEPENDENT
            for (size_t k = 0; k < count; k++) {
                const T wanted = STEP(fa_fma)(kept[OF_ROW(k)], given[k], offsets[OF_ROW(k)]);
                dxs[k] = STEP(fa_fma)(dxs[k], shares[OF_ROW(k)], STEP(fa_fma)(dxs[k], lows[OF_ROW(k)], -wanted));
            }
        }
    }
    for (size_t r = 0; r < width; r++) {
        if (probabilities == NULL)
            dx[(ptrdiff_t)targets->labels[r] * dx_pitch + (ptrdiff_t)r] = (T)at_labels[r];
        for (size_t i = 0; isnan(weights[r]) && i < n; i++)
            dx[(ptrdiff_t)i * dx_pitch + (ptrdiff_t)r] = (T)NAN;
    }
}

#undef OF_ROW
#undef ROW
#undef STEP
#undef T
