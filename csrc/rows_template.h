/* The row algorithms for the precision REAL and one FORM of a tile; included four times by rows.h. A tile of `width`
   rows of n elements is interleaved: element i of row r stands at i * pitch + r. FORM is `row` for one row, where the
   width is known to be 1 and vectors run along the row, and `columns` for any number of rows, where they run across the
   rows as well.

   Sums go through partial sums of each row, its lanes: LANES of them, or FEW_LANES in rows of up to LANES elements. Of
   L lanes element i is in lane i % L. Four elements of a lane at a time are added to each other, the last ones with zeros
   for those that are not there, and then to the lane, in double precision. The lanes are added in a fixed order: the
   result depends neither on the form, the width nor on vectors and threads. Sums that are of less importance for speed
   (few_beside, those of weighted losses, of sparsemax's steps) have LANES lanes in any row, and add one element at a time. */
#define ROW(name) FA_PASTE(FA_PASTE(FA_PASTE(name, _), REAL), FA_PASTE(_, FORM))
#define STEP(name) FA_PASTE(FA_PASTE(name, _), REAL)
/* Of the form for one row, whatever the form. */
#define SINGLE(name) FA_PASTE(FA_PASTE(name, _), FA_PASTE(REAL, _row))
#define T FA_PASTE(fa_, REAL)
/* What is one per row is repeated for the elements of a block of a tile, so that a loop over the block is flat. */
#define OF_ROW(k) (ONE_ROW ? 0 : (k))

/* Sums, lane by lane of each row, and what their roundings lost (Neumaier): rows may have millions of elements. Terms
   that are floats leave double precision so much room that nothing needs to be kept of the roundings. */
typedef struct {
    double *sum, *lost;
} ROW(lanes);

typedef struct {
    double sum, lost;
} ROW(lane);

FA_INLINE size_t
ROW(rows)(size_t width)
{
    return ONE_ROW ? 1 : width;
}

/* Whether a tile's rows are so short that their sums may be those of sum_short: their lanes are never kept. */
FA_INLINE int
ROW(is_short)(size_t n)
{
    return !ONE_ROW && n > 0 && n * sizeof(T) <= FA_SHORT_COLUMN_BYTES;
}

/* How many lanes each row has. */
FA_INLINE size_t
ROW(lane_count)(size_t n)
{
    return n > LANES ? LANES : FEW_LANES;
}

/* How many lanes of all rows may hold anything. */
FA_INLINE size_t
ROW(used_lanes)(size_t n, size_t width)
{
    return (ONE_ROW || n > LANES ? (size_t)LANES : n) * width;
}

FA_INLINE void
ROW(clear)(const ROW(lanes) *l, size_t used)
{
    for (size_t k = 0; k < used; k++) {
        l->sum[k] = 0;
        if (KEEPS_LOSSES)
            l->lost[k] = 0;
    }
}

FA_INLINE ROW(lane)
ROW(get)(const ROW(lanes) *l, size_t k)
{
    return (ROW(lane)){l->sum[k], KEEPS_LOSSES ? l->lost[k] : 0};
}

FA_INLINE void
ROW(put)(const ROW(lanes) *l, size_t k, ROW(lane) lane)
{
    l->sum[k] = lane.sum;
    if (KEEPS_LOSSES)
        l->lost[k] = lane.lost;
}

FA_INLINE ROW(lane)
ROW(plus)(ROW(lane) lane, double term)
{
    const double sum = lane.sum + term;
    if (KEEPS_LOSSES) {
        const double seen = sum - lane.sum;
        lane.lost += (lane.sum - (sum - seen)) + (term - seen);
    }
    lane.sum = sum;
    return lane;
}

FA_INLINE void
ROW(add)(const ROW(lanes) *l, size_t k, double term)
{
    ROW(put)(l, k, ROW(plus)(ROW(get)(l, k), term));
}

FA_INLINE ROW(lane)
ROW(plus_lane)(ROW(lane) a, ROW(lane) b)
{
    a.lost += b.lost;
    return ROW(plus)(a, b.sum);
}

/* Half of the lanes of a row, and the other half added to them. */
FA_INLINE void
ROW(fold)(const ROW(lanes) *l, size_t half, const ROW(lanes) *folded)
{
    FA_INDEPENDENT
    for (size_t k = 0; k < half; k++)
        ROW(put)(folded, k, ROW(plus_lane)(ROW(get)(l, k), ROW(get)(l, k + half)));
}

/* All lanes of a row, LANES or FEW_LANES, in the order of `totals`. */
FA_INLINE ROW(lane)
ROW(total)(const ROW(lanes) *l, size_t count)
{
    double sum[LANES / 2], lost[LANES / 2];
    const ROW(lanes) folded = {sum, lost};
    if (count > FEW_LANES) {
        ROW(fold)(l, LANES / 2, &folded);
        ROW(fold)(&folded, LANES / 4, &folded);
        l = &folded;
    }
    ROW(fold)(l, FEW_LANES / 2, &folded);
    return ROW(plus_lane)(ROW(get)(&folded, 0), ROW(get)(&folded, 1));
}

/* A lane as one number; where a sum is infinite, what it lost is NaN (inf - inf). And what is lost of it then. */
FA_INLINE double
ROW(rounded)(ROW(lane) lane)
{
    return KEEPS_LOSSES && isfinite(lane.sum) ? lane.sum + lane.lost : lane.sum;
}

FA_INLINE double
ROW(rest)(ROW(lane) lane, double rounded)
{
    return KEEPS_LOSSES ? (lane.sum - rounded) + lane.lost : 0;
}

/* The sum of each row. */
ONCE_PER_TILE void
ROW(totals)(const ROW(lanes) *l, size_t n, size_t width, double *totals)
{
    size_t used = ROW(used_lanes)(n, width);
    if (ONE_ROW)
        ROW(put)(l, 0, ROW(total)(l, LANES));
    for (size_t half = LANES / 2 * width; !ONE_ROW && half >= width; half /= 2) {
        const size_t count = used > half ? used - half : 0;
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            ROW(put)(l, k, ROW(plus_lane)(ROW(get)(l, k), ROW(get)(l, k + half)));
        used = used < half ? used : half;
    }
    for (size_t r = 0; r < width; r++)
        totals[r] = ROW(rounded)(ROW(get)(l, r));
}

/* What a sum of a row was before its lanes were added, unless rows are short, and what is lost of it as one number. */
typedef struct {
    ROW(lanes) lanes;
    double *lost;
} ROW(parts);

/* The same, and the parts of the sums unless `parts` is NULL. */
FA_INLINE void
ROW(totals_and_parts)(const ROW(lanes) *l, size_t n, size_t width, double *totals, const ROW(parts) *parts)
{
    const size_t bytes = ROW(used_lanes)(n, width) * sizeof(double);
    if (parts != NULL && !ROW(is_short)(n)) {
        memcpy(parts->lanes.sum, l->sum, bytes);
        if (KEEPS_LOSSES)
            memcpy(parts->lanes.lost, l->lost, bytes);
    }
    ROW(totals)(l, n, width, totals);
    for (size_t r = 0; parts != NULL && r < width; r++)
        parts->lost[r] = ROW(rest)(ROW(get)(l, r), totals[r]);
}

/* Room for this many elements is enough for any block. */
FA_INLINE size_t
ROW(repeated)(size_t width)
{
    return width <= FLAT_WIDTH ? LANES * width : width;
}

/* Repeat what is one per row, for a block of `step` elements of each. */
FA_INLINE void
ROW(repeat)(size_t step, size_t width, T *values)
{
    if (!ONE_ROW)
        for (size_t k = width; k < step * width; k++)
            values[k] = values[k - width];
}

/* How many elements of all rows are run through in one flat loop: a period of the lanes where the rows are few and lie
   side by side without gaps. */
FA_INLINE size_t
ROW(step)(size_t width, ptrdiff_t a, ptrdiff_t b, ptrdiff_t c)
{
    const ptrdiff_t gapless = (ptrdiff_t)width;
    const int is_flat = width <= FLAT_WIDTH && a == gapless && b == gapless && c == gapless;
    return ONE_ROW || is_flat ? LANES : 1;
}

/* The same for loops without sums: one row is one block. */
FA_INLINE size_t
ROW(block)(size_t n, size_t width, ptrdiff_t a, ptrdiff_t b, ptrdiff_t c)
{
    return ONE_ROW ? n : ROW(step)(width, a, b, c);
}

/* The order in which a last pass goes through a tile: after `done` elements of its rows, which is next. From the end
   back to the start, for what was read or written last is still in cache; but in runs, which the processor foresees. */
FA_INLINE size_t
ROW(backwards)(size_t n, size_t done)
{
    const size_t place = done % LANES, left = n - (done - place);
    return ONE_ROW ? done : (left > LANES ? left - LANES : 0) + place;
}

/* Where the columns of a tile lie in a wider array, the processor does not foresee which lines come next. Nothing is
   fetched for a `row` that is out of range. */
FA_INLINE void
ROW(prefetch)(size_t n, size_t width, size_t row, const T *x, ptrdiff_t pitch)
{
    if (!ONE_ROW && width <= FORESEEN_WIDTH && pitch != (ptrdiff_t)width && row < n)
        for (size_t k = 0; k < width; k += FA_LINE / sizeof(T))
            __builtin_prefetch(x + (ptrdiff_t)row * pitch + k);
}

/* Fetch what a row, or the next one, holds ROW_DISTANCE bytes after AT_ONCE elements of each lane: where exponentials are
   computed, processors do it too late by themselves. Of a second array, or where there is nothing but sums, it costs time. */
FA_INLINE void
ROW(fetch)(const T *x)
{
    for (size_t k = 0; ONE_ROW && k < AT_ONCE * LANES; k += FA_LINE / sizeof(T))
        __builtin_prefetch((const char *)(x + k) + ROW_DISTANCE);
}

FA_INLINE size_t
ROW(least)(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Whether the block that begins with element i of the rows is among these lanes. */
FA_INLINE int
ROW(is_in)(fa_lanes lanes, size_t i)
{
    return i % LANES >= lanes.first && i % LANES < lanes.end;
}

typedef T ROW(term)(T a, T b);

FA_INLINE T
ROW(itself)(T dy, T y)
{
    (void)y;
    return dy;
}

FA_INLINE T
ROW(product)(T dy, T y)
{
    return dy * y;
}

/* Add four terms of a lane to it, after they have been added to each other: there is one conversion to double precision
   for all of them, or one rounding that is kept. */
FA_INLINE ROW(lane)
ROW(plus_four)(ROW(lane) lane, T a, T b, T c, T d)
{
    return ROW(plus)(lane, (a + b) + (c + d));
}

/* Four elements of a lane, or of several lanes that lie side by side, or of all rows; of one row at even distances. */
typedef struct {
#if ONE_ROW
    const T *first;
    ptrdiff_t next;
#else
    const T *of[AT_ONCE];
#endif
} ROW(four);

FA_INLINE T
ROW(element)(const ROW(four) *four, size_t e, size_t k)
{
#if ONE_ROW
    return four->first[(ptrdiff_t)k + (ptrdiff_t)e * four->next];
#else
    return four->of[e][k];
#endif
}

FA_INLINE ROW(four)
ROW(four_from)(const T *first, ptrdiff_t next)
{
#if ONE_ROW
    return (ROW(four)){first, next};
#else
    return (ROW(four)){{first, first + next, first + 2 * next, first + 3 * next}};
#endif
}

#if !ONE_ROW
static const T ROW(zeros)[SUMMED];

/* Element `first` of rows, and others that are `next` elements further each, or zeros. */
FA_INLINE ROW(four)
ROW(last_four)(size_t n, size_t first, size_t next, const T *x, ptrdiff_t pitch)
{
    ROW(four) four;
    FA_UNROLLED
    for (size_t e = 0; e < AT_ONCE; e++) {
        const size_t i = first + e * next;
        four.of[e] = i < n ? x + (ptrdiff_t)i * pitch : ROW(zeros);
    }
    return four;
}
#endif

/* Add term(a, b) of four elements to lanes, and other_term(a, b) to others unless it is NULL. */
FA_INLINE void
ROW(add_four)(size_t count, const ROW(four) *a, const ROW(four) *b, const ROW(lanes) *sums, ROW(term) *term,
              const ROW(lanes) *others, ROW(term) *other_term, size_t lane)
{
    const ROW(four) as = *a, bs = *b;
    FA_INDEPENDENT
    for (size_t k = 0; k < count; k++) {
        const T a0 = ROW(element)(&as, 0, k), a1 = ROW(element)(&as, 1, k), a2 = ROW(element)(&as, 2, k);
        const T b0 = ROW(element)(&bs, 0, k), b1 = ROW(element)(&bs, 1, k), b2 = ROW(element)(&bs, 2, k);
        const T a3 = ROW(element)(&as, 3, k), b3 = ROW(element)(&bs, 3, k);
        const ROW(lane) sum = ROW(get)(sums, lane + k);
        ROW(put)(sums, lane + k, ROW(plus_four)(sum, term(a0, b0), term(a1, b1), term(a2, b2), term(a3, b3)));
        if (other_term == NULL)
            continue;
        const ROW(lane) other = ROW(get)(others, lane + k);
        ROW(put)(others, lane + k, ROW(plus_four)(other, other_term(a0, b0), other_term(a1, b1), other_term(a2, b2),
                                                  other_term(a3, b3)));
    }
}

#if ONE_ROW
/* term(a, b) of up to two elements of each lane, added to each other. */
FA_INLINE void
ROW(add_pairs)(size_t count, const T *a, const T *b, ROW(term) *term, T *pairs)
{
    if (count == 2 * LANES) {
        FA_INDEPENDENT
        for (size_t k = 0; k < LANES; k++)
            pairs[k] = term(a[k], b[k]) + term(a[k + LANES], b[k + LANES]);
        return;
    }
    if (count > LANES) {
        FA_GUARDED
        for (size_t k = 0; k < LANES; k++)
            pairs[k] = term(a[k], b[k]) + (k + LANES < count ? term(a[k + LANES], b[k + LANES]) : 0);
        return;
    }
    FA_GUARDED
    for (size_t k = 0; k < LANES; k++)
        pairs[k] = k < count ? term(a[k], b[k]) : 0;
}

/* term(a, b) of up to four elements of each lane, in the order of plus_four. */
FA_INLINE void
ROW(add_last_terms)(size_t count, const T *a, const T *b, ROW(term) *term, T *terms)
{
    T others[LANES];
    ROW(add_pairs)(ROW(least)(count, 2 * LANES), a, b, term, terms);
    if (count <= 2 * LANES)
        return;
    ROW(add_pairs)(count - 2 * LANES, a + 2 * LANES, b + 2 * LANES, term, others);
    FA_INDEPENDENT
    for (size_t k = 0; k < LANES; k++)
        terms[k] += others[k];
}

/* Terms of all elements of a row of up to LANES, to its lanes. */
FA_INLINE void
ROW(add_to_few)(const T *terms, const ROW(lanes) *sums)
{
    FA_INDEPENDENT
    for (size_t k = 0; k < FEW_LANES; k++)
        ROW(put)(sums, k, ROW(plus_four)(ROW(get)(sums, k), terms[k], terms[k + FEW_LANES], terms[k + 2 * FEW_LANES],
                                         terms[k + 3 * FEW_LANES]));
}

/* term(a, b) of the last elements of a row of n, fewer than four for each lane. */
FA_INLINE void
ROW(add_end)(size_t n, size_t count, const T *a, const T *b, ROW(term) *term, const ROW(lanes) *sums)
{
    T terms[LANES];
    ROW(add_last_terms)(count, a, b, term, terms);
    if (n <= LANES) {
        ROW(add_to_few)(terms, sums);
        return;
    }
    FA_INDEPENDENT
    for (size_t k = 0; k < LANES; k++)
        ROW(add)(sums, k, terms[k]);
}
#endif

/* The same of the last elements of rows, from i on. Of no elements a term is 0. */
FA_INLINE void
ROW(add_last)(fa_lanes lanes, size_t i, size_t n, size_t width, const T *a, ptrdiff_t a_pitch, const T *b,
              ptrdiff_t b_pitch, const ROW(lanes) *sums, ROW(term) *term, const ROW(lanes) *others,
              ROW(term) *other_term)
{
#if ONE_ROW
    if (i < n)
        ROW(add_end)(n, n - i, a + i, b + i, term, sums);
    if (i < n && other_term != NULL)
        ROW(add_end)(n, n - i, a + i, b + i, other_term, others);
    (void)lanes, (void)width, (void)a_pitch, (void)b_pitch;
#else
    const size_t next = ROW(lane_count)(n), end = ROW(least)(ROW(least)(lanes.end, next), n - i);
    for (size_t lane = lanes.first; lane < end; lane++)
        for (size_t from = 0; from < width; from += SUMMED) {
            const ROW(four) as = ROW(last_four)(n, i + lane, next, a + from, a_pitch);
            const ROW(four) bs = ROW(last_four)(n, i + lane, next, b + from, b_pitch);
            ROW(add_four)(ROW(least)(SUMMED, width - from), &as, &bs, sums, term, others, other_term,
                          lane * width + from);
        }
#endif
}

/* Add term(a, b) of every element of some lanes to them, and other_term(a, b) to other lanes unless it is NULL: of each
   lane AT_ONCE elements at a time, for the sums of a wide tile are too large for the first-level cache. */
FA_INLINE void
ROW(add_terms_of)(fa_lanes lanes, size_t n, size_t width, size_t step, const T *a, ptrdiff_t a_pitch, const T *b,
                  ptrdiff_t b_pitch, const ROW(lanes) *sums, ROW(term) *term, const ROW(lanes) *others,
                  ROW(term) *other_term)
{
    const ptrdiff_t p = ONE_ROW ? 1 : a_pitch, q = ONE_ROW ? 1 : b_pitch;
    size_t i = 0;
    for (size_t lane = lanes.first; i + AT_ONCE * LANES <= n;) {
        const ptrdiff_t place = (ptrdiff_t)(i + lane);
        const ROW(four) as = ROW(four_from)(a + place * p, LANES * p), bs = ROW(four_from)(b + place * q, LANES * q);
        const size_t first_lane = lane * width;
        i += lane + step >= lanes.end ? AT_ONCE * LANES : 0;
        lane = lane + step >= lanes.end ? lanes.first : lane + step;
        for (size_t k = 0; k < AT_ONCE; k++) {
            ROW(prefetch)(n, width, i + lane + k * LANES, a, a_pitch);
            if (b != a)
                ROW(prefetch)(n, width, i + lane + k * LANES, b, b_pitch);
        }
        ROW(add_four)(step * width, &as, &bs, sums, term, others, other_term, first_lane);
    }
    ROW(add_last)(lanes, i, n, width, a, p, b, q, sums, term, others, other_term);
}

/* The same of all lanes. */
FA_INLINE void
ROW(add_terms)(size_t n, size_t width, size_t step, const T *a, ptrdiff_t a_pitch, const T *b, ptrdiff_t b_pitch,
               const ROW(lanes) *sums, ROW(term) *term, const ROW(lanes) *others, ROW(term) *other_term)
{
    ROW(add_terms_of)(all_lanes, n, width, step, a, a_pitch, b, b_pitch, sums, term, others, other_term);
}

FA_INLINE int
ROW(shares_sets)(ptrdiff_t pitch)
{
    return pitch != 0 && pitch * (ptrdiff_t)sizeof(T) % FA_FEW_SETS == 0;
}

/* Whether lines of an array that are read at the same time take each other's places in the cache. */
FA_INLINE int
ROW(are_crowded)(size_t lines, ptrdiff_t pitch)
{
    return lines > FEW_LINES && ROW(shares_sets)(pitch);
}

/* Elements from element to element of a row, in room for a tile's. */
FA_INLINE size_t
ROW(pitch_of_room)(size_t width)
{
    return ROW(shares_sets)((ptrdiff_t)width) ? width + LANES : width;
}

#if !ONE_ROW
/* Up to four terms of a lane of one row, added to each other; unless `leaders` is NULL without those equal to its leader. */
FA_INLINE T
ROW(sum_of_four)(size_t most, const ROW(four) *a, const ROW(four) *b, size_t k, ROW(term) *term, const T *leaders)
{
    T terms[AT_ONCE] = {0};
    FA_UNROLLED
    for (size_t e = 0; e < most; e++) {
        terms[e] = term(ROW(element)(a, e, k), ROW(element)(b, e, k));
        terms[e] = leaders != NULL && terms[e] == leaders[k] ? 0 : terms[e];
    }
    return most > 2 ? (terms[0] + terms[1]) + (terms[2] + terms[3]) : terms[0] + terms[1];
}

/* What fours of a lane of some rows begin with: the first of two, if there are two, and the last, of up to `most`. */
typedef struct {
    ROW(four) first, last;
} ROW(fours);

FA_INLINE ROW(fours)
ROW(fours_of)(size_t fours, size_t n, size_t lane, const T *x, ptrdiff_t pitch)
{
    const size_t before = (fours - 1) * AT_ONCE * LANES;
    ROW(fours) of_lane = {.last = ROW(last_four)(n, before + lane, ROW(lane_count)(n), x, pitch)};
    if (fours > 1)
        of_lane.first = ROW(four_from)(x + (ptrdiff_t)lane * pitch, LANES * pitch);
    return of_lane;
}

FA_INLINE ROW(lane)
ROW(sum_of_fours)(size_t fours, size_t most, const ROW(fours) *a, const ROW(fours) *b, size_t k, ROW(term) *term,
                  const T *leaders)
{
    const T last = ROW(sum_of_four)(most, &a->last, &b->last, k, term, leaders);
    if (fours == 1)
        return (ROW(lane)){last, 0};
    return ROW(plus)((ROW(lane)){ROW(sum_of_four)(AT_ONCE, &a->first, &b->first, k, term, leaders), 0}, last);
}

/* Each fourth lane of some rows, added to each other in the order of `totals`: `lanes` of them. */
FA_INLINE void
ROW(sum_quarter)(size_t lanes, size_t fours, size_t most, size_t n, size_t quarter, size_t count, const T *a,
                 ptrdiff_t a_pitch, const T *b, ptrdiff_t b_pitch, ROW(term) *term, const T *leaders,
                 const ROW(lanes) *sums)
{
    ROW(fours) as[LANES / FEW_LANES], bs[LANES / FEW_LANES];
    for (size_t q = 0; q < lanes; q++) {
        as[q] = ROW(fours_of)(fours, n, quarter + q * FEW_LANES, a, a_pitch);
        bs[q] = ROW(fours_of)(fours, n, quarter + q * FEW_LANES, b, b_pitch);
    }
    FA_INDEPENDENT
    for (size_t k = 0; k < count; k++) {
        ROW(lane) sum = ROW(sum_of_fours)(fours, most, &as[0], &bs[0], k, term, leaders);
        if (lanes > 1) {
            const ROW(lane) second = ROW(sum_of_fours)(fours, most, &as[1], &bs[1], k, term, leaders);
            const ROW(lane) third = ROW(sum_of_fours)(fours, most, &as[2], &bs[2], k, term, leaders);
            const ROW(lane) fourth = ROW(sum_of_fours)(fours, most, &as[3], &bs[3], k, term, leaders);
            sum = ROW(plus_lane)(ROW(plus_lane)(sum, third), ROW(plus_lane)(second, fourth));
        }
        ROW(put)(sums, k, sum);
    }
}

#define QUARTER(lanes, fours, most) \
    ROW(sum_quarter)(lanes, fours, most, n, q, count, as, a_pitch, bs, b_pitch, term, led, &sums)

/* The sums of term(a, b) of short rows, and unless `rests` is NULL what is lost of them:
   with the bits of lanes in memory. If they are those beside `leaders`, terms equal to their row's are left out; that is rare
   enough to have fewer forms. */
FA_INLINE void
ROW(sum_short)(size_t n, size_t width, const T *a, ptrdiff_t a_pitch, const T *b, ptrdiff_t b_pitch, ROW(term) *term,
               int are_beside, const T *leaders, double *totals, double *rests)
{
    const size_t fours = n > AT_ONCE * LANES ? 2 : 1, next = ROW(lane_count)(n);
    const size_t most = (n - (fours - 1) * AT_ONCE * LANES + next - 1) / next; /* elements in a lane's last four */
    double sum[FEW_LANES * SUMMED], lost[KEEPS_LOSSES ? FEW_LANES * SUMMED : 1];
    for (size_t first = 0; first < width; first += SUMMED) {
        const size_t count = ROW(least)(SUMMED, width - first);
        const T *as = a + first, *bs = b + first, *led = are_beside ? leaders + first : NULL;
        for (size_t q = 0; q < FEW_LANES; q++) {
            const ROW(lanes) sums = {sum + q * SUMMED, KEEPS_LOSSES ? lost + q * SUMMED : NULL};
            if (are_beside) {
                if (n <= LANES && most <= 2)
                    QUARTER(1, 1, 2);
                else if (n <= LANES)
                    QUARTER(1, 1, 4);
                else if (fours == 1)
                    QUARTER(4, 1, 4);
                else
                    QUARTER(4, 2, 4);
                continue;
            }
            if (n <= LANES && most <= 2)
                QUARTER(1, 1, 2);
            else if (n <= LANES && most == 3)
                QUARTER(1, 1, 3);
            else if (n <= LANES)
                QUARTER(1, 1, 4);
            else if (fours == 1 && most == 2)
                QUARTER(4, 1, 2);
            else if (fours == 1 && most == 3)
                QUARTER(4, 1, 3);
            else if (fours == 1)
                QUARTER(4, 1, 4);
            else if (most <= 2)
                QUARTER(4, 2, 2);
            else
                QUARTER(4, 2, 4);
        }
        const ROW(lanes) sums = {sum, lost};
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++) {
            const ROW(lane) even = ROW(plus_lane)(ROW(get)(&sums, k), ROW(get)(&sums, k + 2 * SUMMED));
            const ROW(lane) odd = ROW(plus_lane)(ROW(get)(&sums, k + SUMMED), ROW(get)(&sums, k + 3 * SUMMED));
            const ROW(lane) total = ROW(plus_lane)(even, odd);
            const double rounded = ROW(rounded)(total) + 0.0; /* lanes begin with +0 */
            totals[first + k] = rounded;
            if (rests != NULL)
                rests[first + k] = ROW(rest)(total, rounded);
        }
    }
}
#undef QUARTER

/* The same of terms that have been written. */
static FA_NOINLINE void
ROW(sum_written)(size_t n, size_t width, const T *terms, ptrdiff_t pitch, double *totals, double *rests)
{
    ROW(sum_short)(n, width, terms, pitch, terms, pitch, ROW(itself), 0, NULL, totals, rests);
}

/* The same without those that are equal to their row's leader. */
static FA_NOINLINE void
ROW(sum_written_beside)(size_t n, size_t width, const T *terms, ptrdiff_t pitch, const T *leaders, double *totals)
{
    ROW(sum_short)(n, width, terms, pitch, terms, pitch, ROW(itself), 1, leaders, totals, NULL);
}

/* The sums of products of short rows; if the lines of an array are crowded, the products are first written where they are
   not. */
static FA_NOINLINE void
ROW(sum_short_products)(size_t n, size_t width, const T *a, ptrdiff_t a_pitch, const T *b, ptrdiff_t b_pitch,
                        double *totals, char *scratch)
{
    const size_t lines = a == b ? n : 2 * n;
    if (!ROW(are_crowded)(lines, a_pitch) && !ROW(are_crowded)(lines, b_pitch)) {
        ROW(sum_short)(n, width, a, a_pitch, b, b_pitch, ROW(product), 0, NULL, totals, NULL);
        return;
    }
    const size_t pitch = ROW(pitch_of_room)(width);
    ROOM(T, products, 1, n * pitch);
    for (size_t i = 0; i < n; i++) {
        const T *as = a + (ptrdiff_t)i * a_pitch, *bs = b + (ptrdiff_t)i * b_pitch;
        T *of_place = products + i * pitch;
        FA_INDEPENDENT
        for (size_t r = 0; r < width; r++)
            of_place[r] = as[r] * bs[r];
    }
    ROW(sum_written)(n, width, products, (ptrdiff_t)pitch, totals, NULL);
}
#endif

/* The sums of term(a, b) of all rows; `sums` is room for their lanes. To write the elements of one crowded array first would
   take longer than its lanes in memory. */
FA_INLINE void
ROW(sum_terms_of_rows)(size_t n, size_t width, size_t step, const T *a, ptrdiff_t a_pitch, const T *b,
                       ptrdiff_t b_pitch, ROW(term) *term, const ROW(lanes) *sums, double *totals, char *scratch)
{
#if !ONE_ROW
    if (ROW(is_short)(n) && !(a == b && ROW(are_crowded)(n, a_pitch))) {
        if (term == ROW(itself))
            ROW(sum_written)(n, width, a, a_pitch, totals, NULL);
        else
            ROW(sum_short_products)(n, width, a, a_pitch, b, b_pitch, totals, scratch);
        return;
    }
#endif
    (void)scratch;
    ROW(clear)(sums, ROW(used_lanes)(n, width));
    ROW(add_terms)(n, width, step, a, a_pitch, b, b_pitch, sums, term, NULL, NULL);
    ROW(totals)(sums, n, width, totals);
}

FA_INLINE T
ROW(larger)(T candidate, T largest, int keeps_nan)
{
    return candidate > largest || (keeps_nan && candidate != candidate) ? candidate : largest;
}

/* The same of four elements that are `next` apart. */
FA_INLINE T
ROW(largest_of_four)(const T *x, ptrdiff_t next, T sign, int keeps_nan, T largest)
{
    largest = ROW(larger)(x[0] * sign, largest, keeps_nan);
    largest = ROW(larger)(x[next] * sign, largest, keeps_nan);
    largest = ROW(larger)(x[2 * next] * sign, largest, keeps_nan);
    return ROW(larger)(x[3 * next] * sign, largest, keeps_nan);
}

/* max(sign * x) of some lanes of each row. NaN is passed over, or kept. */
ONCE_PER_TILE void
ROW(largest_of_lanes)(fa_lanes lanes, size_t n, size_t width, const T *x, ptrdiff_t pitch, T sign, int keeps_nan,
                      T *largest)
{
    const size_t flat = ROW(step)(width, pitch, pitch, pitch);
    const size_t step = ROW(least)(flat, lanes.end - lanes.first);
    for (size_t k = lanes.first * width; k < lanes.end * width; k++)
        largest[k] = -(T)INFINITY;
    size_t i = 0;
    for (size_t lane = lanes.first; !ONE_ROW && i + AT_ONCE * LANES <= n;) {
        const T *block = x + (ptrdiff_t)(i + lane) * pitch;
        const ptrdiff_t next = LANES * pitch; /* the next element of a lane */
        T *of_lane = largest + lane * width;
        i += lane + step >= lanes.end ? AT_ONCE * LANES : 0;
        lane = lane + step >= lanes.end ? lanes.first : lane + step;
        FA_INDEPENDENT
        for (size_t k = 0; k < step * width; k++)
            of_lane[k] = ROW(largest_of_four)(block + k, next, sign, keeps_nan, of_lane[k]);
    }
    for (; i < n; i += step) {
        if (!ROW(is_in)(lanes, i))
            continue;
        const T *block = x + (ptrdiff_t)i * pitch;
        T *of_lane = largest + i % LANES * width;
        const size_t count = ROW(least)(step, n - i) * width;
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            of_lane[k] = ROW(larger)(block[k] * sign, of_lane[k], keeps_nan);
    }
}

/* Some elements, not none, and copies of the first one, a block in all. */
FA_INLINE void
ROW(pad)(size_t count, const T *x, T *block)
{
    const T first = x[0];
    FA_GUARDED
    for (size_t k = 0; k < LANES; k++)
        block[k] = k < count ? x[k] : first;
}

/* Half of the lanes' maxima, of which the other half is taken into account. */
FA_INLINE void
ROW(fold_largest)(T *lanes, size_t half, int keeps_nan)
{
    FA_INDEPENDENT
    for (size_t k = 0; k < half; k++)
        lanes[k] = ROW(larger)(lanes[k + half], lanes[k], keeps_nan);
}

/* max(sign * x) of a row of at least one block: the last block overlaps the one before. */
FA_INLINE T
ROW(largest_of_row)(size_t n, const T *x, T sign, int keeps_nan, size_t block)
{
    T lanes[AT_ONCE * LANES];
    size_t done = 0;
    for (size_t k = 0; k < block; k++)
        lanes[k] = -(T)INFINITY;
    for (; done + AT_ONCE * block <= n; done += AT_ONCE * block) {
        const T *from = x + done;
        FA_INDEPENDENT
        for (size_t k = 0; k < block; k++)
            lanes[k] = ROW(largest_of_four)(from + k, (ptrdiff_t)block, sign, keeps_nan, lanes[k]);
    }
    for (; done < n; done += block) {
        const T *from = x + (done + block <= n ? done : n - block);
        FA_INDEPENDENT
        for (size_t k = 0; k < block; k++)
            lanes[k] = ROW(larger)(from[k] * sign, lanes[k], keeps_nan);
    }
    for (size_t half = block / 2; half >= LANES; half /= 2)
        ROW(fold_largest)(lanes, half, keeps_nan);
    ROW(fold_largest)(lanes, LANES / 2, keeps_nan);
    ROW(fold_largest)(lanes, LANES / 4, keeps_nan);
    ROW(fold_largest)(lanes, LANES / 8, keeps_nan);
    return ROW(larger)(lanes[1], lanes[0], keeps_nan);
}

/* sign * max(sign * x) of each row, from what the lanes have. */
FA_INLINE void
ROW(extremes_of_rows)(size_t n, size_t width, T *largest, T sign, int keeps_nan, T *extremes)
{
    size_t left = ROW(used_lanes)(n, width);
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

FA_INLINE void
ROW(extremes_of)(size_t n, size_t width, const T *x, ptrdiff_t pitch, T sign, int keeps_nan, T *extremes, char *scratch)
{
    if (ONE_ROW && n >= LANES) {
        if (n < LONG_ROW)
            extremes[0] = sign * ROW(largest_of_row)(n, x, sign, keeps_nan, LANES);
        else
            extremes[0] = sign == 1 ? ROW(largest_of_row)(n, x, 1, keeps_nan, AT_ONCE * LANES)
                                    : sign * ROW(largest_of_row)(n, x, sign, keeps_nan, AT_ONCE * LANES);
        return;
    }
    if (ONE_ROW && n > 0) {
        T padded[LANES];
        ROW(pad)(n, x, padded);
        extremes[0] = sign * ROW(largest_of_row)(LANES, padded, sign, keeps_nan, LANES);
        return;
    }
    ROOM(T, largest, LANES, LANES * width);
    ROW(largest_of_lanes)(all_lanes, n, width, x, pitch, sign, keeps_nan, largest);
    ROW(extremes_of_rows)(n, width, largest, sign, keeps_nan, extremes);
}

/* The same of short rows. */
FA_INLINE void
ROW(extremes_of_short)(size_t n, size_t width, const T *x, ptrdiff_t pitch, T sign, T *extremes)
{
    size_t i = 1;
    for (size_t r = 0; r < width; r++)
        extremes[r] = ROW(larger)(x[r] * sign, -(T)INFINITY, 0);
    for (; i + AT_ONCE <= n; i += AT_ONCE) {
        const T *from = x + (ptrdiff_t)i * pitch;
        FA_INDEPENDENT
        for (size_t r = 0; r < width; r++)
            extremes[r] = ROW(largest_of_four)(from + r, pitch, sign, 0, extremes[r]);
    }
    for (; i < n; i++) {
        const T *from = x + (ptrdiff_t)i * pitch;
        FA_INDEPENDENT
        for (size_t r = 0; r < width; r++)
            extremes[r] = ROW(larger)(from[r] * sign, extremes[r], 0);
    }
    for (size_t r = 0; r < width; r++)
        extremes[r] *= sign;
}

/* The largest scale * x decides what is subtracted from a row: its maximum, or for a negative scale its minimum. NaN is
   passed over here and met again in the weights. */
FA_INLINE void
ROW(extremes)(size_t n, size_t width, const T *x, ptrdiff_t pitch, double scale, T *extremes, char *scratch)
{
    ROW(extremes_of)(n, width, x, pitch, scale < 0 ? -1 : 1, 0, extremes, scratch);
}

/* The same, and in `largest` what finds the lane that holds it, unless rows are short; see lane_of_extreme. */
FA_INLINE void
ROW(extremes_and_lanes)(size_t n, size_t width, const T *x, ptrdiff_t pitch, double scale, T *largest, T *extremes,
                        char *scratch)
{
    const T sign = scale < 0 ? -1 : 1;
    if (ONE_ROW) {
        ROW(extremes_of)(n, width, x, pitch, sign, 0, extremes, scratch);
        return;
    }
    if (ROW(is_short)(n)) {
        ROW(extremes_of_short)(n, width, x, pitch, sign, extremes);
        return;
    }
    ROW(largest_of_lanes)(all_lanes, n, width, x, pitch, sign, 0, largest);
    ROW(extremes_of_rows)(n, width, largest, sign, 0, extremes);
}

/* Where a row has this value first. */
FA_INLINE size_t
ROW(place_of)(size_t n, const T *x, T value)
{
    enum { AT_A_TIME = 64 };
    size_t i = 0;
    for (int found = 0; i + AT_A_TIME <= n; i += AT_A_TIME) {
        for (size_t k = 0; k < AT_A_TIME; k++)
            found |= x[i + k] == value;
        if (found)
            break;
    }
    while (i + 1 < n && x[i] != value)
        i++;
    return i;
}

/* The lane of a row's extreme, which is there once. The lanes of a tile's rows were folded upon each other: unless the upper
   one of two holds it, the lower one did. */
FA_INLINE size_t
ROW(lane_of_extreme)(size_t n, size_t width, const T *x, T extreme, T sign, const T *largest, size_t r)
{
    size_t lane = 0;
    if (ONE_ROW)
        return ROW(place_of)(n, x, extreme) % ROW(lane_count)(n);
    FA_UNROLLED
    for (size_t half = 1; half < LANES; half *= 2)
        lane += largest[(lane + half) * width + r] == extreme * sign ? half : 0;
    return lane;
}

/* What weights start from: one per row, and room for them to be repeated. */
typedef struct {
    T *extremes;                  /* NULL: powers with one factor for all rows */
    T *offsets, *floors, *magics; /* of powers with each row's own; NULL: weights exp(scale * (x - extreme)) */
} ROW(start);

/* Weights of elements that are `next` apart. */
FA_INLINE void
ROW(weigh_apart)(size_t count, const T *x, ptrdiff_t next, const ROW(start) *start, size_t first, double scale, T *y)
{
    const T factor = (T)scale;
    if (start->extremes == NULL) {
        T lowest = STEP(row_common_lowest)(), highest = STEP(row_common_highest)();
        FA_OPAQUE(lowest); /* between two constants gcc 12 selects by masks, not by minimum and maximum */
        FA_OPAQUE(highest);
        if (scale == 1) {
            FA_INDEPENDENT
            for (size_t k = 0; k < count; k++)
                y[k] = STEP(row_common_power)(x[(ptrdiff_t)k * next], lowest, highest);
        } else {
            FA_INDEPENDENT
            for (size_t k = 0; k < count; k++)
                y[k] = STEP(row_common_power_scaled)(x[(ptrdiff_t)k * next], lowest, highest, factor);
        }
        return;
    }
    const T *extremes = start->extremes + OF_ROW(first);
    if (start->offsets != NULL) {
        const T *offsets = start->offsets + OF_ROW(first), *floors = start->floors + OF_ROW(first);
        const T *magics = start->magics + OF_ROW(first);
        if (scale == 1) {
            FA_INDEPENDENT
            for (size_t k = 0; k < count; k++)
                y[k] = STEP(row_power)(x[(ptrdiff_t)k * next], offsets[OF_ROW(k)], floors[OF_ROW(k)], magics[OF_ROW(k)]);
        } else {
            FA_INDEPENDENT
            for (size_t k = 0; k < count; k++)
                y[k] = STEP(row_power_scaled)(x[(ptrdiff_t)k * next], offsets[OF_ROW(k)], floors[OF_ROW(k)],
                                              magics[OF_ROW(k)], factor);
        }
    } else if (scale == 1) {
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            y[k] = STEP(row_weight)(x[(ptrdiff_t)k * next], extremes[OF_ROW(k)]);
    } else {
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            y[k] = STEP(row_weight_scaled)(x[(ptrdiff_t)k * next], extremes[OF_ROW(k)], factor);
    }
}

FA_INLINE void
ROW(weigh)(size_t count, const T *x, const ROW(start) *start, size_t first, double scale, T *y)
{
    ROW(weigh_apart)(count, x, 1, start, first, scale, y);
}

/* The weights of a row's elements, or some. The last ones go through a whole block, too: once more with those before, or
   with copies. */
FA_INLINE void
ROW(weigh_run)(size_t count, const T *x, const ROW(start) *start, double scale, T *y)
{
    const size_t whole = count - count % LANES;
    T block[LANES];
    ROW(weigh)(whole, x, start, 0, scale, y);
    if (whole == count)
        return;
    if (whole > 0) {
        ROW(weigh)(LANES, x + count - LANES, start, 0, scale, y + count - LANES);
        return;
    }
    ROW(pad)(count, x, block);
    ROW(weigh)(LANES, block, start, 0, scale, block);
    memcpy(y, block, count * sizeof *y);
}

/* What is summed of weights, lane by lane. */
typedef struct {
    T *ones;                     /* how many are 1; NULL: they are powers, of which none is counted */
    const ROW(lanes) *sums;      /* of the weights that are not counted */
    const ROW(lanes) *products;  /* of weights times dy, or NULL */
} ROW(sum);

/* A weight as it is added if those that are 1 are counted. */
FA_INLINE T
ROW(unless_one)(T weight, T same)
{
    (void)same;
    return weight == 1 ? 0 : weight;
}

FA_INLINE void
ROW(sum_up)(const ROW(sum) *sum, size_t count, const ROW(four) *weights, const ROW(four) *dys, size_t lane)
{
    T *ones = sum->ones;
    if (ones == NULL) {
        ROW(add_four)(count, weights, weights, sum->sums, ROW(itself), NULL, NULL, lane);
    } else {
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++) {
            T found = ones[lane + k];
            FA_UNROLLED
            for (size_t e = 0; e < AT_ONCE; e++)
                found += ROW(element)(weights, e, k) == 1 ? (T)1 : (T)0;
            ones[lane + k] = found;
        }
        ROW(add_four)(count, weights, weights, sum->sums, ROW(unless_one), NULL, NULL, lane);
    }
    if (sum->products != NULL)
        ROW(add_four)(count, weights, dys, sum->products, ROW(product), NULL, NULL, lane);
}

/* The weights of some lanes of all rows, into y unless it is NULL, and what is summed of them. */
ONCE_PER_TILE void
ROW(weigh_lanes)(fa_lanes lanes, size_t n, size_t width, const T *x, ptrdiff_t x_pitch, const ROW(start) *start,
                 double scale, T *y, ptrdiff_t y_pitch, const T *dy, ptrdiff_t dy_pitch, const ROW(sum) *sum)
{
    const int with_dy = sum->products != NULL;
#if ONE_ROW
    _Static_assert(WEIGHED % (AT_ONCE * LANES) == 0, "only a row's end is no whole four of each lane");
    T buffer[WEIGHED];
    (void)lanes, (void)width, (void)x_pitch, (void)y_pitch, (void)dy_pitch;
    for (size_t i = 0; i < n; i += WEIGHED) {
        const size_t count = ROW(least)(WEIGHED, n - i);
        T *block = y != NULL ? y + i : buffer;
        const T *dys = with_dy ? dy + i : block;
        ROW(weigh_run)(count, x + i, start, scale, block);
        size_t from = 0;
        for (; from + AT_ONCE * LANES <= count; from += AT_ONCE * LANES) {
            const ROW(four) weights = ROW(four_from)(block + from, LANES), some = ROW(four_from)(dys + from, LANES);
            ROW(fetch)(x + i + from);
            ROW(sum_up)(sum, LANES, &weights, &some, 0);
        }
        if (from < count && sum->ones == NULL)
            ROW(add_end)(n, count - from, block + from, block + from, ROW(itself), sum->sums);
        if (from < count && sum->ones != NULL)
            ROW(add_end)(n, count - from, block + from, block + from, ROW(unless_one), sum->sums);
        if (from < count && with_dy)
            ROW(add_end)(n, count - from, block + from, dys + from, ROW(product), sum->products);
        for (; sum->ones != NULL && from < count; from++)
            sum->ones[from % LANES] += block[from] == 1 ? (T)1 : (T)0;
    }
#else
    T buffer[AT_ONCE * SUMMED];
    const size_t flat = ROW(step)(width, x_pitch, y_pitch, with_dy ? dy_pitch : y_pitch);
    for (size_t i = 0, lane = lanes.first; i + lanes.first < n;) {
        const int is_whole = i + AT_ONCE * LANES <= n;
        const size_t step = is_whole ? ROW(least)(flat, lanes.end - lanes.first) : 1;
        const size_t next = is_whole ? LANES : ROW(lane_count)(n), row = i + lane;
        for (size_t from = 0; from < step * width; from += SUMMED) {
            const size_t length = ROW(least)(SUMMED, step * width - from);
            ROW(four) weights, dys;
            for (size_t e = 0; e < AT_ONCE; e++) {
                const size_t place = row + e * next;
                T *of_lane = y != NULL ? y + (ptrdiff_t)place * y_pitch + from : buffer + e * SUMMED;
                weights.of[e] = dys.of[e] = ROW(zeros);
                if (place >= n)
                    continue;
                ROW(weigh)(length, x + (ptrdiff_t)place * x_pitch + from, start, from, scale, of_lane);
                weights.of[e] = of_lane;
                if (with_dy)
                    dys.of[e] = dy + (ptrdiff_t)place * dy_pitch + from;
            }
            ROW(sum_up)(sum, length, &weights, &dys, lane * width + from);
        }
        const int was_last = lane + step >= lanes.end || row + step >= n || lane + step >= next;
        lane = was_last ? lanes.first : lane + step;
        i += was_last ? AT_ONCE * next : 0;
    }
#endif
}

#if !ONE_ROW
/* The weights of all rows, if they are short. */
FA_INLINE void
ROW(weigh_short)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, const ROW(start) *start, double scale, T *y,
                 ptrdiff_t y_pitch)
{
    const ptrdiff_t gapless = (ptrdiff_t)width;
    const int is_one = start->extremes == NULL && x_pitch == gapless && y_pitch == gapless;
    const size_t count = is_one ? n * width : width;
    for (size_t i = 0; i < (is_one ? 1 : n); i++)
        ROW(weigh)(count, x + (ptrdiff_t)i * x_pitch, start, 0, scale, y + (ptrdiff_t)i * y_pitch);
}
#endif

/* The weights of all rows, into y unless it is NULL, and their sums: of powers all, else but those that are 1, which are
   counted. Unless dy_totals is NULL, also the sums of weights times dy. Unless `parts` is NULL, what the sums are of. */
ONCE_PER_TILE void
ROW(weigh_rows)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, const ROW(start) *start, double scale, T *y,
                ptrdiff_t y_pitch, T *ones, double *totals, const ROW(parts) *parts, const T *dy, ptrdiff_t dy_pitch,
                double *dy_totals, char *scratch)
{
    const size_t used = ROW(used_lanes)(n, width);
    const int with_dy = dy_totals != NULL;
#if !ONE_ROW
    if (ones == NULL && ROW(is_short)(n) && !ROW(are_crowded)(n, y_pitch)) {
        ROW(weigh_short)(n, width, x, x_pitch, start, scale, y, y_pitch);
        ROW(sum_written)(n, width, y, y_pitch, totals, parts != NULL ? parts->lost : NULL);
        if (with_dy)
            ROW(sum_short_products)(n, width, dy, dy_pitch, y, y_pitch, dy_totals, scratch);
        return;
    }
#endif
    SUMS(sums);
    SUMS(products);
    const ROW(sum) sum = {ones, &sums, with_dy ? &products : NULL};
    ROW(clear)(&sums, used);
    if (with_dy)
        ROW(clear)(&products, used);
    ROW(weigh_lanes)(all_lanes, n, width, x, x_pitch, start, scale, y, y_pitch, dy, dy_pitch, &sum);
    ROW(totals_and_parts)(&sums, n, width, totals, parts);
    if (with_dy)
        ROW(totals)(&products, n, width, dy_totals);
}

/* To the sums of weights that are not 1, how many are 1 in all lanes, less the extreme's own. */
FA_INLINE void
ROW(count_others)(size_t n, size_t width, const T *extremes, T *ones, double *others)
{
    size_t left = ROW(used_lanes)(n, width);
    for (size_t half = LANES / 2 * width; half >= width; half /= 2) {
        for (size_t k = 0; k + half < left; k++)
            ones[k] += ones[k + half];
        left = left < half ? left : half;
    }
    for (size_t r = 0; r < width; r++)
        others[r] = isfinite(extremes[r]) ? others[r] + ((double)ones[r] - 1) : NAN;
}

/* The sum of weights exp(scale * (x - extreme)), less 1, into `others`, for the extreme itself has the weight 1:
   log1p_of_sum of that keeps its digits where one element has nearly all the weight. NaN where the row holds a NaN, or
   infinities that win, or nothing but losing ones. `extremes` must have room to be repeated. */
FA_INLINE void
ROW(weights)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, T *extremes, double scale, double *others,
             char *scratch)
{
    const size_t used = ROW(used_lanes)(n, width);
    const ROW(start) start = {extremes, NULL, NULL, NULL};
    ROOM(T, ones, LANES, LANES * width);
    for (size_t k = 0; k < used; k++)
        ones[k] = 0;
    ROW(repeat)(ROW(step)(width, x_pitch, x_pitch, x_pitch), width, extremes);
    ROW(weigh_rows)(n, width, x, x_pitch, &start, scale, NULL, x_pitch, ones, others, NULL, NULL, 0, NULL, scratch);
    ROW(count_others)(n, width, extremes, ones, others);
}

/* The powers exp(scale * x) of rows, each row's times a power of two, which cancels where they are divided by their sum. */
typedef struct {
    ROW(start) start;        /* room for what rows with factors of their own need */
    int are_own;             /* whether they have; then their extremes are known */
    T *exponents;            /* exp(scale * (x - offset)) is a power times two to this */
    double *totals;          /* their sums; NaN as of `weights` */
    const ROW(parts) *parts; /* of these, or NULL */
    T *room;                 /* for the powers of short rows, if there are parts */
    const T *kept;           /* where they are */
    ptrdiff_t pitch;
} ROW(powers);

/* Where the powers go: into y, or if that is NULL and rows are short, into the room for them. */
FA_INLINE T *
ROW(keep_powers)(size_t n, size_t width, T *y, ptrdiff_t y_pitch, ROW(powers) *powers)
{
    const int is_kept = y == NULL && ROW(is_short)(n);
    T *const kept = is_kept ? powers->room : y;
    powers->kept = kept;
    powers->pitch = is_kept ? (ptrdiff_t)ROW(pitch_of_room)(width) : y_pitch;
    return kept;
}

FA_INLINE ROW(start)
ROW(start_of)(const ROW(powers) *powers)
{
    return powers->are_own ? powers->start : (ROW(start)){NULL, NULL, NULL, NULL};
}

/* For each row a factor of its own: its largest power is about the lifting factor. For blocks of `step` elements. */
FA_INLINE void
ROW(choose_factors)(size_t step, size_t width, double scale, ROW(powers) *powers)
{
    const ROW(start) *start = &powers->start;
    powers->are_own = 1;
    for (size_t r = 0; r < width; r++) {
        const T peak = (T)scale * start->extremes[r];
        /* Beyond, the reduction of exponents would lose digits, and differences from the extreme are exact. */
        const int is_far = fabs((double)peak) > FAR;
        start->offsets[r] = is_far ? start->extremes[r] : 0;
        start->floors[r] = STEP(row_peak_floor)(is_far ? 0 : peak);
        start->magics[r] = STEP(row_peak_magic)(is_far ? 0 : peak);
        powers->exponents[r] = STEP(row_peak_exponent)(is_far ? 0 : peak);
    }
    ROW(repeat)(step, width, start->offsets);
    ROW(repeat)(step, width, start->floors);
    ROW(repeat)(step, width, start->magics);
}

/* Sum powers with these factors. */
ONCE_PER_TILE void
ROW(sum_own_powers)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, double scale, T *y, ptrdiff_t y_pitch,
                    const T *dy, ptrdiff_t dy_pitch, double *dy_totals, ROW(powers) *powers, char *scratch)
{
    const size_t step = ROW(step)(width, x_pitch, y_pitch, dy_totals != NULL ? dy_pitch : y_pitch);
    const ROW(start) *start = &powers->start;
    T *const kept = ROW(keep_powers)(n, width, y, y_pitch, powers);
    ROW(choose_factors)(step, width, scale, powers);
    ROW(weigh_rows)(n, width, x, x_pitch, start, scale, kept, powers->pitch, NULL, powers->totals, powers->parts, dy,
                    dy_pitch, dy_totals, scratch);
    for (size_t r = 0; r < width; r++)
        powers->totals[r] = isfinite(start->extremes[r]) ? powers->totals[r] : NAN;
}

/* Whether all rows may have moderate sums of powers: of one that is far off as a whole, a few elements tell. */
FA_INLINE int
ROW(look_moderate)(size_t n, size_t width, const T *x, ptrdiff_t pitch, double scale)
{
    const T factor = (T)scale;
    int are_moderate = 1;
    for (size_t r = 0; n > 0 && r < width; r++) {
        const T *row = x + r;
        T largest = row[0] * factor;
        largest = ROW(larger)(row[(ptrdiff_t)(n / 2) * pitch] * factor, largest, 0);
        largest = ROW(larger)(row[(ptrdiff_t)(n - 1) * pitch] * factor, largest, 0);
        are_moderate &= !(largest < -16 || largest >= STEP(row_common_highest)());
    }
    return are_moderate;
}

/* Whether these sums of powers are such that no result lacks digits. */
FA_INLINE int
ROW(are_moderate)(size_t width, const double *totals)
{
    int are_moderate = 1;
    for (size_t r = 0; r < width; r++)
        are_moderate &= totals[r] >= STEP(row_common_least)() && totals[r] < STEP(row_common_limit)();
    return are_moderate;
}

/* Sum powers whose power of two is one for all rows, without a look at their largest elements. Returns whether no result
   lacks digits then. */
FA_INLINE int
ROW(sum_common_powers)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, double scale, T *y, ptrdiff_t y_pitch,
                       const T *dy, ptrdiff_t dy_pitch, double *dy_totals, ROW(powers) *powers, char *scratch)
{
    static const ROW(start) common = {NULL, NULL, NULL, NULL};
    T *const kept = ROW(keep_powers)(n, width, y, y_pitch, powers);
    powers->are_own = 0;
    ROW(weigh_rows)(n, width, x, x_pitch, &common, scale, kept, powers->pitch, NULL, powers->totals, powers->parts, dy,
                    dy_pitch, dy_totals, scratch);
    return ROW(are_moderate)(width, powers->totals);
}

/* Powers, into y unless it is NULL, and their sums; with dy, also the sums of powers times dy. They have one factor for all
   rows unless that is known not to suit, or turns out so: a row has the same results either way, unless powers times dy
   overflow (|dy| > 1e12). */
ONCE_PER_TILE void
ROW(find_powers)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, double scale, int may_be_moderate, T *y,
                ptrdiff_t y_pitch, const T *dy, ptrdiff_t dy_pitch, double *dy_totals, ROW(powers) *powers,
                char *scratch)
{
    if (may_be_moderate && ROW(look_moderate)(n, width, x, x_pitch, scale) &&
        ROW(sum_common_powers)(n, width, x, x_pitch, scale, y, y_pitch, dy, dy_pitch, dy_totals, powers, scratch))
        return;
    ROW(extremes)(n, width, x, x_pitch, scale, powers->start.extremes, scratch);
    ROW(sum_own_powers)(n, width, x, x_pitch, scale, y, y_pitch, dy, dy_pitch, dy_totals, powers, scratch);
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

/* 1 / total of each row, with what it lacks, so that an only element's is 1. */
FA_INLINE void
ROW(shares)(size_t width, const double *totals, T *shares, T *lows)
{
    for (size_t r = 0; r < width; r++) {
        const double share = 1 / totals[r];
        shares[r] = (T)share;
        lows[r] = (T)(fa_fma_f64(-share, totals[r], 1) * share + (share - (double)shares[r]));
    }
}

/* Softmax, from powers. */
FA_INLINE void
ROW(divide)(fa_lanes lanes, size_t n, size_t width, size_t block, const T *shares, const T *lows, T *y,
            ptrdiff_t y_pitch)
{
    for (size_t done = 0; done < n; done += block) {
        const size_t i = ROW(backwards)(n, done), count = ROW(least)(block, n - done) * width;
        T *ys = y + (ptrdiff_t)i * y_pitch;
        if (!ROW(is_in)(lanes, i))
            continue;
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            ys[k] = STEP(fa_fma)(ys[k], shares[OF_ROW(k)], ys[k] * lows[OF_ROW(k)]);
    }
}

/* Here and below the output must not be the input. */
static FA_NOINLINE void
ROW(softmax)(size_t n, size_t given_width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
             ptrdiff_t y_pitch, char *scratch)
{
    const T *x = input;
    T *y = output;
    const size_t width = ROW(rows)(given_width), block = ROW(block)(n, width, y_pitch, y_pitch, y_pitch);
    ROOM(T, shares, 1, block * width);
    ROOM(T, lows, 1, block * width);
    POWERS(powers, NULL);
    ROW(find_powers)(n, width, x, x_pitch, scale, 1, y, y_pitch, NULL, 0, NULL, &powers, scratch);
    ROW(shares)(width, powers.totals, shares, lows);
    ROW(repeat)(block, width, shares);
    ROW(repeat)(block, width, lows);
    ROW(divide)(all_lanes, n, width, block, shares, lows, y, y_pitch);
    if (powers.are_own)
        ROW(limits)(n, width, x, x_pitch, scale, powers.start.extremes, y, y_pitch, 1, 0);
}

static void
ROW(softmin)(size_t n, size_t width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
             ptrdiff_t y_pitch, char *scratch)
{
    ROW(softmax)(n, width, input, x_pitch, -scale, output, y_pitch, scratch);
}

#if ONE_ROW
/* The sum of a lane of one row, of any pitch, but for the element that has this value and power. */
static ROW(lane)
ROW(lane_without)(size_t n, const T *x, ptrdiff_t pitch, const ROW(start) *start, double scale, size_t lane, T value,
                  T power)
{
    enum { BLOCK = 2 * AT_ONCE };
    const size_t lanes = ROW(lane_count)(n);
    const ptrdiff_t next = (ptrdiff_t)lanes * pitch;
    const T *from = x + (ptrdiff_t)lane * pitch;
    ROW(lane) sum = {0, 0};
    for (size_t i = lane; i < n; i += BLOCK * lanes, from += BLOCK * next) {
        T powers[BLOCK];
        if (i + (BLOCK - 1) * lanes < n) {
            ROW(weigh_apart)(BLOCK, from, next, start, 0, scale, powers);
        } else {
            T elements[BLOCK];
            for (size_t k = 0; k < BLOCK; k++)
                elements[k] = i + k * lanes < n ? from[(ptrdiff_t)k * next] : value;
            ROW(weigh)(BLOCK, elements, start, 0, scale, powers);
        }
        FA_INDEPENDENT
        for (size_t k = 0; k < BLOCK; k++)
            powers[k] = powers[k] == power ? 0 : powers[k];
        for (size_t k = 0; k < BLOCK; k += AT_ONCE)
            sum = ROW(plus_four)(sum, powers[k], powers[k + 1], powers[k + 2], powers[k + 3]);
    }
    return sum;
}

/* What all others have beside one, however little it is: of many elements that powers have clamped the sum would not be 0. */
static double
ROW(few_beside)(size_t n, const T *x, ptrdiff_t pitch, double scale, T value)
{
    const double floor = row_peak_floor_f64(0), magic = row_peak_magic_f64(0);
    double sum[LANES], lost[LANES], powers[LANES];
    const ROW(lanes) lanes = {sum, lost};
    ROW(clear)(&lanes, LANES);
    for (size_t i = 0; i < n; i += LANES) {
        for (size_t k = 0; k < LANES; k++)
            powers[k] = i + k < n ? (double)x[(ptrdiff_t)(i + k) * pitch] : (double)value;
        FA_INDEPENDENT
        for (size_t k = 0; k < LANES; k++) {
            const int counts = powers[k] != (double)value && scale * (powers[k] - (double)value) > floor;
            powers[k] = row_power_scaled_f64(powers[k], (double)value, floor, magic, scale);
            ROW(add)(&lanes, k, counts ? powers[k] : 0);
        }
    }
    const ROW(lane) total = ROW(total)(&lanes, LANES);
    return ldexp(total.sum + total.lost, (int)row_peak_exponent_f64(0));
}
#endif

/* Whether an element has most of its row's sum: what the others have is then not the sum less its power, which would
   cancel. */
FA_INLINE int
ROW(leads)(T power, double total)
{
    return (double)power > total / 2;
}

/* One element of each row: its value, its power and its lane. */
typedef struct {
    T *values, *powers;
    unsigned char *lanes; /* of those that lead */
} ROW(ones);

FA_INLINE int
ROW(do_any_lead)(size_t width, const T *powers_of_ones, const double *totals)
{
    int do_any = 0;
    for (size_t r = 0; r < width; r++)
        do_any |= ROW(leads)(powers_of_ones[r], totals[r]);
    return do_any;
}

/* What all others have beside those that lead: the sums of their lanes without them, and all other lanes; 0 if that is no
   more than `none`. Of other rows it is of no use. Of short rows x may have more than these: those at `places`. */
ONCE_PER_TILE void
ROW(others_beside)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, double scale, const uint32_t *places,
                   const ROW(powers) *powers, const ROW(ones) *ones, double none, double *ratios)
{
    const double few = (double)n * (KEEPS_LOSSES ? 0x1p-1040 : 0x1p-120);
    const ROW(start) *start = &powers->start;
    const ROW(lanes) *sums = &powers->parts->lanes;
    const int is_short = ROW(is_short)(n);
    for (size_t r = 0; r < width && !is_short; r++) {
        SINGLE(start) of_row = {NULL, NULL, NULL, NULL};
        if (!ROW(leads)(ones->powers[r], powers->totals[r]))
            continue;
        if (powers->are_own)
            of_row = (SINGLE(start)){start->extremes + r, start->offsets + r, start->floors + r, start->magics + r};
        const SINGLE(lane) lane = SINGLE(lane_without)(n, x + r, x_pitch, &of_row, scale, ones->lanes[r],
                                                       ones->values[r], ones->powers[r]);
        ROW(put)(sums, ones->lanes[r] * width + r, (ROW(lane)){lane.sum, lane.lost});
    }
#if !ONE_ROW
    if (is_short)
        ROW(sum_written_beside)(n, width, powers->kept, powers->pitch, ones->powers, ratios);
#endif
    if (!is_short)
        ROW(totals)(sums, n, width, ratios);
    int are_any_few = 0;
    FA_INDEPENDENT
    for (size_t r = 0; r < width; r++) {
        const double ratio = ratios[r] / (double)ones->powers[r];
        ratios[r] = ratio <= none ? 0 : ratio;
        are_any_few |= ratio > none && ratio < few;
    }
    for (size_t r = 0; are_any_few && r < width; r++)
        if (ratios[r] > 0 && ratios[r] < few && ROW(leads)(ones->powers[r], powers->totals[r]))
            ratios[r] = SINGLE(few_beside)(n, x + (places == NULL ? r : places[r]), x_pitch, scale, ones->values[r]);
}

/* log(2^exponent (total + rest)) */
FA_INLINE two_parts
ROW(log_of_sum_of_powers)(double total, double rest, double exponent)
{
    return STEP(log_in_two_parts)(total, KEEPS_LOSSES ? rest / total : 0, exponent);
}

/* The logarithms of rows' sums of powers, as if these had no factors. The exponents are NULL if that is common. */
FA_INLINE two_parts
ROW(log_of_powers)(const ROW(powers) *powers, const T *exponents, size_t r)
{
    const double exponent = exponents != NULL ? (double)exponents[r] : STEP(row_common_exponent)();
    return ROW(log_of_sum_of_powers)(powers->totals[r], powers->parts->lost[r], exponent);
}

/* What is subtracted from the elements of each row: the logarithm of its sum of exponentials, in two parts. */
typedef struct {
    T *highs, *lows;
    T *leaders; /* the elements that lead, else NAN */
    T *leads;   /* log(softmax) of these */
} ROW(logs);

/* That but for those that lead; in how many rows one does, and for each row whether. */
FA_INLINE size_t
ROW(find_whole_logs)(size_t width, const ROW(powers) *powers, const T *exponents, const T *powers_of_ones,
                     const ROW(logs) *logs, uint32_t *do_lead)
{
    uint32_t count = 0;
    FA_INDEPENDENT
    for (size_t r = 0; r < width; r++) {
        const two_parts whole = ROW(log_of_powers)(powers, exponents, r);
        const double high = exponents == NULL || isfinite(powers->totals[r]) ? whole.high : NAN;
        do_lead[r] = ROW(leads)(powers_of_ones[r], powers->totals[r]);
        logs->highs[r] = (T)high;
        logs->lows[r] = (T)((high - (double)logs->highs[r]) + whole.low);
        logs->leaders[r] = do_lead[r] ? powers->start.extremes[r] : (T)NAN;
        logs->leads[r] = 0;
        count += do_lead[r];
    }
    return count;
}

#if !ONE_ROW
/* log(softmax) of those that lead, in a few of a tile's short rows: of a tile of these alone. */
FA_INLINE void
ROW(find_few_leads)(size_t n, size_t width, size_t count, const uint32_t *do_lead, const T *x, ptrdiff_t x_pitch,
                    double scale, const ROW(powers) *powers, const ROW(ones) *ones, double none, T *leads, char *scratch)
{
    ROOM(uint32_t, places, 1, width);
    ROOM(T, kept, 1, n * count);
    ROOM(T, values, 1, count);
    ROOM(T, powers_of_ones, 1, count);
    ROOM(double, totals, 1, count);
    ROOM(double, ratios, 1, count);
    for (size_t r = 0, k = 0; r < width; r++) {
        places[k] = (uint32_t)r;
        k += do_lead[r];
    }
    for (size_t k = 0; k < count; k++) {
        values[k] = ones->values[places[k]];
        powers_of_ones[k] = ones->powers[places[k]];
        totals[k] = powers->totals[places[k]];
        for (size_t i = 0; i < n; i++)
            kept[i * count + k] = powers->kept[(ptrdiff_t)i * powers->pitch + (ptrdiff_t)places[k]];
    }
    const ROW(powers) few = {.totals = totals, .parts = powers->parts, .kept = kept, .pitch = (ptrdiff_t)count};
    const ROW(ones) few_ones = {values, powers_of_ones, NULL};
    ROW(others_beside)(n, count, x, x_pitch, scale, places, &few, &few_ones, none, ratios);
    for (size_t k = 0; k < count; k++)
        leads[places[k]] = (T)(0 - STEP(log1p_of_ratio)(ratios[k]));
}
#endif

/* That, where extremes are known; beside one that leads, its logarithm would cancel, and log1p of what the others have beside
   it is taken. */
ONCE_PER_TILE void
ROW(find_logs)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, double scale, const ROW(powers) *powers,
               const T *largest, const ROW(logs) *logs, char *scratch)
{
    const ROW(start) start = ROW(start_of)(powers);
    T *const extremes = powers->start.extremes, sign = scale < 0 ? -1 : 1;
    ROOM(T, powers_of_ones, 1, width);
    ROOM(uint32_t, do_lead, 1, width);
    ROOM(unsigned char, lanes, 1, width);
    ROOM(double, ratios, 1, width);
    const double none = KEEPS_LOSSES ? 0 : 0x1p-151;
    const ROW(ones) ones = {extremes, powers_of_ones, lanes};
    ROW(weigh)(width, extremes, &start, 0, scale, powers_of_ones);
    const size_t count =
        powers->are_own ? ROW(find_whole_logs)(width, powers, powers->exponents, powers_of_ones, logs, do_lead)
                        : ROW(find_whole_logs)(width, powers, NULL, powers_of_ones, logs, do_lead);
    if (count == 0)
        return;
#if !ONE_ROW
    if (ROW(is_short)(n) && count <= width / 4) {
        ROW(find_few_leads)(n, width, count, do_lead, x, x_pitch, scale, powers, &ones, none, logs->leads, scratch);
        return;
    }
#endif
    for (size_t r = 0; r < width && !ROW(is_short)(n); r++)
        lanes[r] =
            do_lead[r] ? (unsigned char)ROW(lane_of_extreme)(n, width, x + r, extremes[r], sign, largest, r) : 0;
    ROW(others_beside)(n, width, x, x_pitch, scale, NULL, powers, &ones, none, ratios);
    FA_INDEPENDENT
    for (size_t r = 0; r < width; r++)
        logs->leads[r] = (T)(0 - STEP(log1p_of_ratio)(ratios[r]));
}

/* log(softmax). The offsets are NULL if they are 0; the leaders if that of theirs is set elsewhere. */
FA_INLINE void
ROW(subtract_logs)(fa_lanes lanes, size_t n, size_t width, size_t block, const T *x, ptrdiff_t x_pitch, double scale,
                   const T *offsets, const ROW(logs) *logs, T *y, ptrdiff_t y_pitch)
{
    const T factor = (T)scale;
    for (size_t done = 0; done < n; done += block) {
        const size_t i = ROW(backwards)(n, done), count = ROW(least)(block, n - done) * width;
        const T *xs = x + (ptrdiff_t)i * x_pitch;
        T *ys = y + (ptrdiff_t)i * y_pitch;
        if (!ROW(is_in)(lanes, i))
            continue;
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++) {
            const T distance = offsets == NULL ? xs[k] : xs[k] - offsets[OF_ROW(k)];
            const T less = STEP(fa_fma)(factor, distance, -logs->highs[OF_ROW(k)]) - logs->lows[OF_ROW(k)];
            if (logs->leaders == NULL) {
                ys[k] = less;
                continue;
            }
            const T leader = logs->leaders[OF_ROW(k)], lead = logs->leads[OF_ROW(k)];
            ys[k] = xs[k] == leader ? lead : less;
        }
    }
}

/* Whether sums of common powers are neither too small nor, by one element, too large. */
FA_INLINE int
ROW(do_extremes_suit)(size_t width, const T *extremes, double scale)
{
    int do_suit = 1;
    for (size_t r = 0; r < width; r++) {
        const T peak = (T)scale * extremes[r];
        do_suit &= peak >= -6 && peak < STEP(row_common_highest)();
    }
    return do_suit;
}

static void
ROW(log_softmax)(size_t n, size_t given_width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
                 ptrdiff_t y_pitch, char *scratch)
{
    const T *x = input;
    T *y = output;
    const size_t width = ROW(rows)(given_width), block = ROW(block)(n, width, x_pitch, y_pitch, y_pitch);
    ROOM(T, largest, 1, ROW(is_short)(n) ? 0 : LANES * width);
    ROOM(T, highs, 1, block * width);
    ROOM(T, lows, 1, block * width);
    ROOM(T, leaders, 1, block * width);
    ROOM(T, leads, 1, block * width);
    PARTS(parts);
    POWERS(powers, &parts);
    const ROW(logs) logs = {highs, lows, leaders, leads};
    T *const extremes = powers.start.extremes;
    ROW(extremes_and_lanes)(n, width, x, x_pitch, scale, largest, extremes, scratch);
    if (!ROW(do_extremes_suit)(width, extremes, scale) ||
        !ROW(sum_common_powers)(n, width, x, x_pitch, scale, NULL, x_pitch, NULL, 0, NULL, &powers, scratch))
        ROW(sum_own_powers)(n, width, x, x_pitch, scale, NULL, x_pitch, NULL, 0, NULL, &powers, scratch);
    ROW(find_logs)(n, width, x, x_pitch, scale, &powers, largest, &logs, scratch);
    ROW(repeat)(block, width, highs);
    ROW(repeat)(block, width, lows);
    ROW(repeat)(block, width, leaders);
    ROW(repeat)(block, width, leads);
    if (powers.are_own)
        ROW(subtract_logs)(all_lanes, n, width, block, x, x_pitch, scale, powers.start.offsets, &logs, y, y_pitch);
    else
        ROW(subtract_logs)(all_lanes, n, width, block, x, x_pitch, scale, NULL, &logs, y, y_pitch);
    if (powers.are_own)
        ROW(limits)(n, width, x, x_pitch, scale, extremes, y, y_pitch, 0, -(T)INFINITY);
}

FA_INLINE T
ROW(log_of_sum)(T extreme, double scale, double others)
{
    return (T)((double)extreme * scale + log1p_of_sum(others));
}

/* log(sum(exp(scale * x))): one result per row. By weights, for with powers the result would have twice the error. */
static void
ROW(logsumexp)(size_t n, size_t given_width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
               ptrdiff_t y_pitch, char *scratch)
{
    const T *x = input;
    T *y = output;
    const size_t width = ROW(rows)(given_width);
    ROOM(T, extremes, 1, ROW(repeated)(width));
    ROOM(double, others, 1, width);
    (void)y_pitch;
    ROW(extremes)(n, width, x, x_pitch, scale, extremes, scratch);
    ROW(weights)(n, width, x, x_pitch, extremes, scale, others, scratch);
    for (size_t r = 0; r < width; r++) {
        int has_nan = 0;
        if (isfinite(extremes[r])) {
            y[r] = ROW(log_of_sum)(extremes[r], scale, others[r]);
            continue;
        }
        for (size_t i = 0; i < n; i++)
            has_nan |= isnan(x[(ptrdiff_t)i * x_pitch + (ptrdiff_t)r]);
        y[r] = has_nan ? (T)NAN : n == 0 ? -(T)INFINITY : (T)((double)extremes[r] * scale);
    }
}

/* dx = scale * dy * y, y the softmax; where y is 0, so is dx, whatever dy. One dy per row. */
static void
ROW(logsumexp_backward)(size_t n, size_t given_width, const void *gradient, ptrdiff_t dy_pitch, const void *softmax,
                        ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch, char *scratch)
{
    const T *dy = gradient, *y = softmax;
    T *dx = result;
    const size_t width = ROW(rows)(given_width), block = ROW(block)(n, width, y_pitch, dx_pitch, dx_pitch);
    ROOM(T, factors, 1, block * width);
    (void)dy_pitch;
    for (size_t r = 0; r < width; r++)
        factors[r] = dy[r] * (T)scale;
    ROW(repeat)(block, width, factors);
    for (size_t done = 0; done < n; done += block) {
        const size_t i = ROW(backwards)(n, done), count = ROW(least)(block, n - done) * width;
        const T *ys = y + (ptrdiff_t)i * y_pitch;
        T *dxs = dx + (ptrdiff_t)i * dx_pitch;
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            dxs[k] = ys[k] == 0 ? 0 : factors[OF_ROW(k)] * ys[k];
    }
}

FA_INLINE T
ROW(product_on_support)(T dy, T y)
{
    return y == 0 ? 0 : dy * y;
}

/* scale * y * (dy - mean) for all elements; if it is `careful`, 0 where y is 0 and this is NaN. */
FA_INLINE void
ROW(softmax_slopes)(fa_lanes lanes, size_t n, size_t width, size_t block, const T *dy, ptrdiff_t dy_pitch, const T *y,
                    ptrdiff_t y_pitch, T factor, const T *means, int careful, T *dx, ptrdiff_t dx_pitch)
{
    for (size_t done = 0; done < n; done += block) {
        const size_t i = ROW(backwards)(n, done), count = ROW(least)(block, n - done) * width;
        const T *dys = dy + (ptrdiff_t)i * dy_pitch, *ys = y + (ptrdiff_t)i * y_pitch;
        T *dxs = dx + (ptrdiff_t)i * dx_pitch;
        if (!ROW(is_in)(lanes, i))
            continue;
        ROW(prefetch)(n, width, ROW(backwards)(n, done + ROWS_AHEAD), dx, dx_pitch);
        if (factor == 1 && !careful) {
            FA_INDEPENDENT
            for (size_t k = 0; k < count; k++)
                dxs[k] = ys[k] * (dys[k] - means[OF_ROW(k)]);
            continue;
        }
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++) {
            const T slope = factor * (ys[k] * (dys[k] - means[OF_ROW(k)]));
            dxs[k] = careful && ys[k] == 0 && slope != slope ? 0 : slope;
        }
    }
}

/* Slopes of all elements; the variant, a constant, is whether they are `careful`, or by a `root`. */
typedef void ROW(slopes)(fa_lanes lanes, size_t n, size_t width, size_t block, const T *dy, ptrdiff_t dy_pitch, const T *y,
                         ptrdiff_t y_pitch, T factor, const T *means, int variant, T *dx, ptrdiff_t dx_pitch);

/* All slopes of a tile. Those of one row with scratch memory go through it past the caches, block by block: all at once
   they would take the place of dy and y in the first-level cache. Every block but the first begins with a line. */
FA_INLINE void
ROW(write_slopes)(ROW(slopes) *slopes, size_t n, size_t width, size_t block, const T *dy, ptrdiff_t dy_pitch, const T *y,
                  ptrdiff_t y_pitch, T factor, const T *means, int variant, T *dx, ptrdiff_t dx_pitch, char *scratch)
{
    if (!ONE_ROW || scratch == NULL) {
        slopes(all_lanes, n, width, block, dy, dy_pitch, y, y_pitch, factor, means, variant, dx, dx_pitch);
        return;
    }
    T *const room = (T *)scratch;
    for (size_t i = 0, count; i < n; i += count) {
        const size_t in_line = (uintptr_t)(dx + i) % FA_LINE;
        count = ROW(least)((FA_STREAMED_BYTES - in_line) / sizeof(T), n - i);
        slopes(all_lanes, count, 1, count, dy + i, 1, y + i, 1, factor, means, variant, room, 1);
        stream(count * sizeof(T), room, dx + i);
    }
}

/* What rounding takes from the largest number is more. */
static const double ROW(moderate) = KEEPS_LOSSES ? 0x1p900 : 0x1p100;

/* Whether no difference from any of these may overflow, and none is NaN. */
FA_INLINE int
ROW(need_no_care)(size_t width, const double *totals)
{
    int all = 1;
    for (size_t r = 0; r < width; r++)
        all &= fabs(totals[r]) < ROW(moderate);
    return all;
}

/* dx = scale * y * (dy - sum(dy * y)); where y is 0, so is dx, whatever dy. dx may be y. Only in rows whose sum is not
   finite, or so large that a difference from it may overflow, can a dy make more than 0 of a y of 0. */
static FA_NOINLINE void
ROW(softmax_backward)(size_t n, size_t given_width, const void *gradient, ptrdiff_t dy_pitch, const void *output,
                      ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch, char *scratch)
{
    const T *dy = gradient, *y = output, factor = (T)scale;
    T *dx = result;
    const size_t width = ROW(rows)(given_width), used = ROW(used_lanes)(n, width);
    const size_t step = ROW(step)(width, dy_pitch, y_pitch, dx_pitch), block = ONE_ROW ? n : step;
    ROOM(T, means, 1, block * width);
    ROOM(double, totals, 1, width);
    SUMS(sums);
    ROW(sum_terms_of_rows)(n, width, step, dy, dy_pitch, y, y_pitch, ROW(product), &sums, totals, scratch);
    const int careful = !ROW(need_no_care)(width, totals);
    if (careful) {
        ROW(clear)(&sums, used);
        ROW(add_terms)(n, width, step, dy, dy_pitch, y, y_pitch, &sums, ROW(product_on_support), NULL, NULL);
        ROW(totals)(&sums, n, width, totals);
    }
    for (size_t r = 0; r < width; r++)
        means[r] = (T)totals[r];
    ROW(repeat)(block, width, means);
    if (careful)
        ROW(write_slopes)(ROW(softmax_slopes), n, width, block, dy, dy_pitch, y, y_pitch, factor, means, 1, dx, dx_pitch,
                          scratch);
    else
        ROW(write_slopes)(ROW(softmax_slopes), n, width, block, dy, dy_pitch, y, y_pitch, factor, means, 0, dx, dx_pitch,
                          scratch);
}

/* What powers and dy are multiplied by and lack in the gradient; dy_totals become means of dy. */
FA_INLINE void
ROW(means_of_powers)(size_t width, const double *totals, double *dy_totals, T *shares, T *means)
{
    for (size_t r = 0; r < width; r++) {
        dy_totals[r] /= totals[r];
        means[r] = (T)dy_totals[r];
        shares[r] = (T)(1 / totals[r]);
    }
}

/* scale * y * (dy - mean), from powers in dx. */
ONCE_PER_TILE void
ROW(slopes_of_powers)(fa_lanes lanes, size_t n, size_t width, size_t block, const T *dy, ptrdiff_t dy_pitch,
                      double scale, const T *shares, const T *means, T *dx, ptrdiff_t dx_pitch)
{
    const T factor = (T)scale;
    for (size_t done = 0; done < n; done += block) {
        const size_t i = ROW(backwards)(n, done), count = ROW(least)(block, n - done) * width;
        const T *dys = dy + (ptrdiff_t)i * dy_pitch;
        T *dxs = dx + (ptrdiff_t)i * dx_pitch;
        if (!ROW(is_in)(lanes, i))
            continue;
        ROW(prefetch)(n, width, ROW(backwards)(n, done + ROWS_AHEAD), dy, dy_pitch);
        if (scale == 1) {
            FA_INDEPENDENT
            for (size_t k = 0; k < count; k++)
                dxs[k] = dxs[k] * shares[OF_ROW(k)] * (dys[k] - means[OF_ROW(k)]);
        } else {
            FA_INDEPENDENT
            for (size_t k = 0; k < count; k++)
                dxs[k] = factor * (dxs[k] * shares[OF_ROW(k)] * (dys[k] - means[OF_ROW(k)]));
        }
    }
}

/* The same, from x: y is not stored between its sum and the slopes. Where one element has nearly all the weight, its
   slope may be a rounding error of dy for that; of an only element it is 0. */
static void
ROW(softmax_from_input)(size_t n, size_t given_width, const void *gradient, ptrdiff_t dy_pitch, const void *input,
                        ptrdiff_t x_pitch, double scale, void *result, ptrdiff_t dx_pitch, char *scratch)
{
    const T *dy = gradient, *x = input;
    T *dx = result;
    const size_t width = ROW(rows)(given_width), block = ROW(block)(n, width, dy_pitch, dx_pitch, dx_pitch);
    if (n == 1) {
        ROW(softmax)(n, width, x, x_pitch, scale, dx, dx_pitch, scratch);
        ROW(softmax_backward)(n, width, dy, dy_pitch, dx, dx_pitch, scale, dx, dx_pitch, scratch);
        return;
    }
    ROOM(T, shares, 1, block * width);
    ROOM(T, means, 1, block * width);
    ROOM(double, dy_totals, 1, width);
    POWERS(powers, NULL);
    ROW(find_powers)(n, width, x, x_pitch, scale, 1, dx, dx_pitch, dy, dy_pitch, dy_totals, &powers, scratch);
    ROW(means_of_powers)(width, powers.totals, dy_totals, shares, means);
    ROW(repeat)(block, width, means);
    ROW(repeat)(block, width, shares);
    ROW(slopes_of_powers)(all_lanes, n, width, block, dy, dy_pitch, scale, shares, means, dx, dx_pitch);
    /* What needs care needs y. */
    for (size_t r = 0; r < width; r++) {
        if (fabs(dy_totals[r]) < ROW(moderate))
            continue;
        ROW(softmax)(n, 1, x + r, x_pitch, scale, dx + r, dx_pitch, scratch);
        ROW(softmax_backward)(n, 1, dy + r, dy_pitch, dx + r, dx_pitch, scale, dx + r, dx_pitch, scratch);
    }
}

static void
ROW(softmin_from_input)(size_t n, size_t width, const void *gradient, ptrdiff_t dy_pitch, const void *input,
                        ptrdiff_t x_pitch, double scale, void *result, ptrdiff_t dx_pitch, char *scratch)
{
    ROW(softmax_from_input)(n, width, gradient, dy_pitch, input, x_pitch, -scale, result, dx_pitch, scratch);
}

static void
ROW(softmin_backward)(size_t n, size_t width, const void *gradient, ptrdiff_t dy_pitch, const void *output,
                      ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch, char *scratch)
{
    ROW(softmax_backward)(n, width, gradient, dy_pitch, output, y_pitch, -scale, result, dx_pitch, scratch);
}

/* scale * (dy - exp(y) * sum(dy)) */
ONCE_PER_TILE void
ROW(log_softmax_slopes)(fa_lanes lanes, size_t n, size_t width, size_t block, const T *dy, ptrdiff_t dy_pitch,
                        const T *y, ptrdiff_t y_pitch, T factor, const T *negated_sums, T *dx, ptrdiff_t dx_pitch)
{
    for (size_t done = 0; done < n; done += block) {
        const size_t i = ROW(backwards)(n, done), count = ROW(least)(block, n - done) * width;
        const T *dys = dy + (ptrdiff_t)i * dy_pitch, *ys = y + (ptrdiff_t)i * y_pitch;
        T *dxs = dx + (ptrdiff_t)i * dx_pitch;
        if (!ROW(is_in)(lanes, i))
            continue;
        ROW(prefetch)(n, width, ROW(backwards)(n, done + ROWS_AHEAD), y, y_pitch);
        ROW(prefetch)(n, width, ROW(backwards)(n, done + ROWS_AHEAD), dx, dx_pitch);
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++)
            dxs[k] = factor * STEP(fa_fma)(STEP(row_exp)(ys[k]), negated_sums[OF_ROW(k)], dys[k]);
    }
}

/* dx as above; it may be y. */
static void
ROW(log_softmax_backward)(size_t n, size_t given_width, const void *gradient, ptrdiff_t dy_pitch, const void *output,
                          ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch, char *scratch)
{
    const T *dy = gradient, *y = output;
    T *dx = result;
    const size_t width = ROW(rows)(given_width);
    const size_t step = ROW(step)(width, dy_pitch, y_pitch, dx_pitch), block = ONE_ROW ? n : step;
    ROOM(T, negated_sums, 1, block * width);
    ROOM(double, totals, 1, width);
    SUMS(sums);
    ROW(sum_terms_of_rows)(n, width, step, dy, dy_pitch, dy, dy_pitch, ROW(itself), &sums, totals, scratch);
    for (size_t r = 0; r < width; r++)
        negated_sums[r] = -(T)totals[r];
    ROW(repeat)(block, width, negated_sums);
    ROW(log_softmax_slopes)(all_lanes, n, width, block, dy, dy_pitch, y, y_pitch, (T)scale, negated_sums, dx, dx_pitch);
}

/* g below, NaN where y is. */
FA_INLINE T
ROW(on_support)(T dy, T y)
{
    (void)dy;
    return y == 0 ? 0 : 1 + (y - y);
}

FA_INLINE T
ROW(root)(T dy, T y)
{
    (void)dy;
    return STEP(fa_sqrt)(y);
}

FA_INLINE T
ROW(gradient_on_support)(T dy, T y)
{
    return y == 0 ? 0 : ROW(on_support)(dy, y) * dy;
}

FA_INLINE T
ROW(gradient_by_root)(T dy, T y)
{
    return y == 0 ? 0 : ROW(root)(dy, y) * dy;
}

/* scale * g * (dy - mean) for all elements, with the g below. */
FA_INLINE void
ROW(sparse_slopes)(fa_lanes lanes, size_t n, size_t width, size_t block, const T *dy, ptrdiff_t dy_pitch, const T *y,
                   ptrdiff_t y_pitch, T factor, const T *means, int root, T *dx, ptrdiff_t dx_pitch)
{
    (void)lanes;
    for (size_t done = 0; done < n; done += block) {
        const size_t i = ROW(backwards)(n, done), count = ROW(least)(block, n - done) * width;
        const T *dys = dy + (ptrdiff_t)i * dy_pitch, *ys = y + (ptrdiff_t)i * y_pitch;
        T *dxs = dx + (ptrdiff_t)i * dx_pitch;
        ROW(prefetch)(n, width, ROW(backwards)(n, done + ROWS_AHEAD), dx, dx_pitch);
        FA_INDEPENDENT
        for (size_t k = 0; k < count; k++) {
            const T slope = root ? STEP(fa_sqrt)(ys[k]) : 1;
            dxs[k] = ys[k] == 0 ? 0 : factor * (slope * (dys[k] - means[OF_ROW(k)]));
        }
    }
}

/* dx = scale * g * (dy - sum(g * dy) / sum(g)), g = y^0 on the support of sparsemax, y^(1/2) for entmax15; where y is
   0, so is dx, whatever dy. dx may be y. */
FA_INLINE void
ROW(sparse_backward)(size_t n, size_t width, const T *dy, ptrdiff_t dy_pitch, const T *y, ptrdiff_t y_pitch,
                     double scale, int root, T *dx, ptrdiff_t dx_pitch, char *scratch)
{
    const size_t used = ROW(used_lanes)(n, width);
    const size_t step = ROW(step)(width, dy_pitch, y_pitch, dx_pitch), block = ONE_ROW ? n : step;
    ROOM(T, means, 1, block * width);
    ROOM(double, totals, 1, width);
    ROOM(double, sizes, 1, width);
    SUMS(sums);
    SUMS(slopes);
    ROW(clear)(&sums, used);
    ROW(clear)(&slopes, used);
    if (root)
        ROW(add_terms)(n, width, step, dy, dy_pitch, y, y_pitch, &slopes, ROW(root), &sums, ROW(gradient_by_root));
    else
        ROW(add_terms)(n, width, step, dy, dy_pitch, y, y_pitch, &slopes, ROW(on_support), &sums,
                       ROW(gradient_on_support));
    ROW(totals)(&sums, n, width, totals);
    ROW(totals)(&slopes, n, width, sizes);
    for (size_t r = 0; r < width; r++)
        means[r] = (T)(totals[r] / sizes[r]);
    ROW(repeat)(block, width, means);
    ROW(write_slopes)(ROW(sparse_slopes), n, width, block, dy, dy_pitch, y, y_pitch, (T)scale, means, root, dx, dx_pitch,
                      scratch);
}

static void
ROW(sparsemax_backward)(size_t n, size_t width, const void *gradient, ptrdiff_t dy_pitch, const void *output,
                        ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch, char *scratch)
{
    ROW(sparse_backward)(n, ROW(rows)(width), gradient, dy_pitch, output, y_pitch, scale, 0, result, dx_pitch, scratch);
}

static void
ROW(entmax15_backward)(size_t n, size_t width, const void *gradient, ptrdiff_t dy_pitch, const void *output,
                       ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch, char *scratch)
{
    ROW(sparse_backward)(n, ROW(rows)(width), gradient, dy_pitch, output, y_pitch, scale, 1, result, dx_pitch, scratch);
}

/* Into the place of each row's first maximum of sign * x `winners[r]`, and `others[r]` elsewhere. NaN counts as the
   maximum. */
FA_INLINE void
ROW(mark_first)(size_t n, size_t width, const T *x, ptrdiff_t x_pitch, T sign, const T *extremes, const T *winners,
                const T *others, T *y, ptrdiff_t y_pitch, char *scratch)
{
    if (ONE_ROW) {
        for (size_t i = 0; i < n; i++)
            y[i] = others[0];
        for (size_t i = 0; i < n; i++)
            if (x[i] * sign == extremes[0] * sign || x[i] != x[i]) {
                y[i] = winners[0];
                return;
            }
        return;
    }
    ROOM(unsigned char, found, 1, width);
    for (size_t r = 0; r < width; r++)
        found[r] = 0;
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
             ptrdiff_t y_pitch, char *scratch)
{
    const size_t width = ROW(rows)(given_width);
    ROOM(T, extremes, 1, width);
    ROOM(T, winners, 1, width);
    ROOM(T, others, 1, width);
    const T sign = scale > 0 ? 1 : scale < 0 ? -1 : (T)scale;
    ROW(extremes_of)(n, width, input, x_pitch, sign, 1, extremes, scratch);
    for (size_t r = 0; r < width; r++) {
        others[r] = isnan(extremes[r]) ? (T)NAN : 0;
        winners[r] = isnan(extremes[r]) ? (T)NAN : 1;
    }
    ROW(mark_first)(n, width, input, x_pitch, sign, extremes, winners, others, output, y_pitch, scratch);
}

/* The maximum of each row. */
static void
ROW(maxout)(size_t n, size_t width, const void *input, ptrdiff_t x_pitch, double scale, void *output,
            ptrdiff_t y_pitch, char *scratch)
{
    (void)scale, (void)y_pitch;
    ROW(extremes_of)(n, ROW(rows)(width), input, x_pitch, 1, 1, output, scratch);
}

/* The row's dy at its first maximum, 0 elsewhere. */
static void
ROW(maxout_backward)(size_t n, size_t given_width, const void *gradient, ptrdiff_t dy_pitch, const void *input,
                     ptrdiff_t y_pitch, double scale, void *result, ptrdiff_t dx_pitch, char *scratch)
{
    const size_t width = ROW(rows)(given_width);
    ROOM(T, maxima, 1, width);
    ROOM(T, zeros, 1, width);
    (void)scale, (void)dy_pitch;
    for (size_t r = 0; r < width; r++)
        zeros[r] = 0;
    ROW(extremes_of)(n, width, input, y_pitch, 1, 1, maxima, scratch);
    ROW(mark_first)(n, width, input, y_pitch, 1, maxima, gradient, zeros, result, dx_pitch, scratch);
}

#undef OF_ROW
#undef ROW
#undef STEP
#undef SINGLE
#undef T
