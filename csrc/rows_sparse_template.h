/* sparsemax (Martins and Astudillo 2016) and entmax15 (Peters, Niculae and Martins 2019), for the precision REAL and one
   FORM of a tile; included four times by rows.h, see rows_template.h.

   Both are y = max(z - tau, 0)^power, with z the row (power 1) or half of it (power 2), and tau such that the sum is 1.
   The sum is a convex, decreasing function of tau. Newton's method from below its root therefore climbs to it without
   passing it; elements that tau has passed do not count any more. Some elements alone have a smaller sum, and so a smaller
   root: the first steps, from max(z) - 1, are taken with each lane's largest one, and leave few candidates. */
#define ROW(name) FA_PASTE(FA_PASTE(FA_PASTE(name, _), REAL), FA_PASTE(_, FORM))
#define T FA_PASTE(fa_, REAL)
#define OF_ROW(k) (ONE_ROW ? 0 : (k))
#define EPSILON (sizeof(T) == sizeof(float) ? (double)FLT_EPSILON : DBL_EPSILON)
#define MARGIN 0x1p-20 /* more than rounding errors of thresholds, which lie between -1 and 0 */

/* One projection of each row. */
typedef struct {
    double factor;       /* z is factor x */
    int power;
    T *extremes;         /* of x; the thresholds are relative to the largest z */
    double *thresholds;
    double *corrections; /* the last step, which is too small to move tau or goes back by its rounding */
} ROW(projection);

/* What cannot be a candidate. */
FA_INLINE T
ROW(lowest)(const ROW(projection) *p)
{
    return p->factor < 0 ? (T)INFINITY : -(T)INFINITY;
}

/* Collect the elements of the rows above the thresholds, or not far below; return the largest number in a row, to which
   the others are filled up. Where few are, they are looked for a word of flags at a time. */
FA_INLINE size_t
ROW(collect)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, const ROW(projection) *p, T *candidates,
             ptrdiff_t pitch, int are_few, char *scratch)
{
    enum { WORD = sizeof(uint64_t), AT_A_TIME = ONE_ROW ? 64 : 1 };
    const T sign = p->factor < 0 ? -1 : 1;
    const size_t room = (AT_A_TIME * width + WORD - 1) / WORD * WORD;
    ROOM(T, bounds, 1, width);
    ROOM(size_t, counts, 1, width);
    ROOM(unsigned char, flags, 64, room);
    for (size_t r = 0; r < width; r++) {
        const double distance = (MARGIN - p->thresholds[r]) / (p->factor * (double)sign);
        const double bound = (double)(sign * p->extremes[r]) - distance;
        bounds[r] = isfinite(p->extremes[r]) ? (T)(bound - fabs(bound) * (4 * EPSILON)) : (T)INFINITY;
        counts[r] = 0;
    }
    for (size_t i = 0; i < n; i += AT_A_TIME) {
        const T *xs = x + (ptrdiff_t)i * x_pitch;
        const size_t count = ONE_ROW ? ROW(least)(AT_A_TIME, n - i) : width;
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            flags[k] = sign * xs[k] > bounds[OF_ROW(k)];
        for (size_t k = count; k < room; k++)
            flags[k] = 0;
        for (size_t first = 0; first < count; first += WORD) {
            uint64_t word;
            memcpy(&word, flags + first, sizeof word);
            if (are_few && word == 0)
                continue;
            for (size_t k = first; k < ROW(least)(first + WORD, count); k++) {
                candidates[(ptrdiff_t)counts[OF_ROW(k)] * pitch + (ptrdiff_t)OF_ROW(k)] = xs[k];
                counts[OF_ROW(k)] += flags[k];
            }
        }
    }
    size_t most = n > 0; /* of no candidates there are no sums */
    for (size_t r = 0; r < width; r++)
        most = counts[r] > most ? counts[r] : most;
    for (size_t r = 0; r < width; r++)
        for (size_t i = counts[r]; i < most; i++)
            candidates[(ptrdiff_t)i * pitch + (ptrdiff_t)r] = ROW(lowest)(p);
    return most;
}

/* One step of Newton's method for all rows; returns whether any tau has moved. */
FA_INLINE int
ROW(climb)(size_t count, size_t width, const ROW(projection) *p, const T *candidates, ptrdiff_t pitch, char *scratch)
{
    const double factor = p->factor;
    const size_t step = ONE_ROW ? LANES : 1, used = ROW(used_lanes)(count, width);
    ROOM(double, totals, 1, width);
    ROOM(double, slope_totals, 1, width);
    SUMS(sums);
    SUMS(slopes);
    ROW(clear)(&sums, used);
    ROW(clear)(&slopes, used);
    for (size_t i = 0; i < count; i += step) {
        const T *some = candidates + (ptrdiff_t)i * pitch;
        const size_t lane = i % LANES * width;
        T tail[LANES];
        if (ONE_ROW && count - i < LANES) {
            for (size_t k = 0; k < LANES; k++)
                tail[k] = ROW(lowest)(p);
            memcpy(tail, some, (count - i) * sizeof *tail);
            some = tail;
        }
        FA_INDEPENDENT
        for (size_t k = 0; k < step * width; k++) {
            const size_t r = OF_ROW(k);
            const double above = factor * ((double)some[k] - (double)p->extremes[r]) - p->thresholds[r];
            const double value = p->power == 2 ? above * above : above, slope = p->power == 2 ? 2 * above : 1;
            ROW(add)(&sums, lane + k, above > 0 ? value : 0);
            ROW(add)(&slopes, lane + k, above > 0 ? slope : 0);
        }
    }
    ROW(totals)(&sums, count, width, totals);
    ROW(totals)(&slopes, count, width, slope_totals);
    int moved = 0;
    for (size_t r = 0; r < width; r++) {
        const double threshold = p->thresholds[r];
        p->corrections[r] = (totals[r] - 1) / slope_totals[r];
        if (threshold + p->corrections[r] > threshold) {
            p->thresholds[r] = threshold + p->corrections[r];
            moved = 1;
        }
    }
    return moved;
}

/* Climb with `count` candidates of each row, as far as it goes or at most so many steps. */
FA_INLINE void
ROW(solve)(size_t count, size_t width, const ROW(projection) *p, const T *candidates, ptrdiff_t pitch,
           size_t most_steps, char *scratch)
{
    for (size_t r = 0; r < width; r += FLAT_WIDTH) { /* the sums of so many rows stay in the first-level cache */
        const ROW(projection) some = {p->factor, p->power, p->extremes + r, p->thresholds + r, p->corrections + r};
        const size_t rows = ONE_ROW ? 1 : ROW(least)(FLAT_WIDTH, width - r);
        for (size_t steps = 0; steps < most_steps; steps++)
            if (!ROW(climb)(count, rows, &some, candidates + r, pitch, scratch))
                break;
    }
}

/* The output must not be the input: it holds the candidates first. */
ONCE_PER_TILE void
ROW(project)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, double scale, int power, T *y, ptrdiff_t y_pitch,
             char *scratch)
{
    enum { FIRST_STEPS = 2 };
    const int is_long = n >= 16 * LANES; /* enough for the steps with lanes to pay */
    const double factor = power == 2 ? scale / 2 : scale;
    const T sign = scale < 0 ? -1 : 1;
    const size_t used = ROW(used_lanes)(n, width);
    ROOM(T, largest, LANES, LANES * width);
    ROOM(T, starts, LANES, LANES * width);
    ROOM(T, extremes, 1, width);
    ROOM(double, thresholds, 1, width);
    ROOM(double, corrections, 1, width);
    ROOM(double, lowest, 1, width); /* result: NaN where there is no largest z */
    const ROW(projection) p = {factor, power, extremes, thresholds, corrections};
    ROW(largest_of_lanes)(all_lanes, n, width, x, x_pitch, sign, 1, largest);
    for (size_t k = 0; k < used; k++)
        starts[k] = largest[k] * sign;
    ROW(extremes_of_rows)(n, width, largest, sign, 1, extremes);
    for (size_t r = 0; r < width; r++) {
        thresholds[r] = -1;
        corrections[r] = 0;
        lowest[r] = isfinite(extremes[r]) && isfinite(factor) ? 0 : NAN;
    }
    if (is_long)
        ROW(solve)(LANES, width, &p, starts, (ptrdiff_t)width, FIRST_STEPS, scratch);
    for (size_t r = 0; r < width; r++)
        thresholds[r] -= MARGIN;
    const size_t count = ROW(collect)(n, width, x, x_pitch, &p, y, y_pitch, is_long, scratch);
    ROW(solve)(count, width, &p, y, y_pitch, SIZE_MAX, scratch);
    const size_t block = ONE_ROW ? n : 1;
    for (size_t i = 0; i < n; i += block) {
        const T *xs = x + (ptrdiff_t)i * x_pitch;
        T *ys = y + (ptrdiff_t)i * y_pitch;
        FA_INDEPENDENT
        for (size_t k = 0; k < block * width; k++) {
            const size_t r = OF_ROW(k);
            const double above = factor * ((double)xs[k] - (double)extremes[r]) - thresholds[r] - corrections[r];
            const double positive = above > 0 ? above : lowest[r];
            ys[k] = (T)(power == 2 ? positive * positive : positive);
        }
    }
    if (isfinite(factor))
        ROW(limits)(n, width, x, x_pitch, scale, extremes, y, y_pitch, 1, 0);
}

static void
ROW(sparsemax)(size_t n, size_t width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
               ptrdiff_t y_pitch, char *scratch)
{
    ROW(project)(n, ROW(rows)(width), input, x_pitch, scale, 1, output, y_pitch, scratch);
}

static void
ROW(entmax15)(size_t n, size_t width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
              ptrdiff_t y_pitch, char *scratch)
{
    ROW(project)(n, ROW(rows)(width), input, x_pitch, scale, 2, output, y_pitch, scratch);
}

#undef EPSILON
#undef MARGIN
#undef OF_ROW
#undef ROW
#undef T
