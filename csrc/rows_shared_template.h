/* Softmax, log_softmax, logsumexp and gradients of one tile of columns on several threads; included twice by rows.h, after
   rows_template.h for columns. In every step each thread takes some of the lanes of all rows; between the steps one thread
   settles what the next one needs of each row. The lanes of a row have nothing to do with each other until their sums are
   added, so that the bits are those of one thread. */
#define ROW(name) FA_PASTE(FA_PASTE(FA_PASTE(name, _), REAL), FA_PASTE(_, FORM))
#define T FA_PASTE(fa_, REAL)

/* What is kept of the rows. */
typedef struct {
    T *shares, *means;
    T *of_lanes;       /* maxima, then how many weights are 1 */
    ROW(powers) powers;
    ROW(logs) logs;
    double *dy_totals;
    ROW(lanes) sums, products;
    ROW(parts) parts;
    char *scratch;     /* what is left of it */
} ROW(kept);

FA_INLINE ROW(kept)
ROW(kept_of)(const fa_shared_tile *tile)
{
    const size_t n = tile->n, width = tile->width;
    char *scratch = tile->scratch;
    ROOM(T, shares, 1, width);
    ROOM(T, means, 1, width);
    ROOM(T, of_lanes, 1, LANES * width);
    ROOM(T, highs, 1, width);
    ROOM(T, lows, 1, width);
    ROOM(T, leaders, 1, width);
    ROOM(T, leads, 1, width);
    ROOM(double, dy_totals, 1, width);
    SUMS(sums);
    SUMS(products);
    PARTS(parts);
    POWERS(powers, NULL);
    return (ROW(kept)){
        .shares = shares,
        .means = means,
        .of_lanes = of_lanes,
        .powers = powers,
        .logs = {highs, lows, leaders, leads},
        .dy_totals = dy_totals,
        .sums = sums,
        .products = products,
        .parts = parts,
        .scratch = scratch,
    };
}

FA_INLINE void
ROW(clear_lanes)(fa_lanes lanes, size_t width, const ROW(lanes) *sums)
{
    const size_t first = lanes.first * width;
    const ROW(lanes) some = {sums->sum + first, KEEPS_LOSSES ? sums->lost + first : NULL};
    ROW(clear)(&some, lanes.end * width - first);
}

/* Powers, with one factor for all rows or each row's own, into y unless it is NULL, and their sums; with dy, also those of
   products. */
FA_INLINE void
ROW(sum_powers_of)(const fa_shared_tile *tile, fa_lanes lanes, int are_own, T *y, const T *dy)
{
    ROW(kept) kept = ROW(kept_of)(tile);
    const ROW(sum) sum = {NULL, &kept.sums, dy != NULL ? &kept.products : NULL};
    const ptrdiff_t y_pitch = y != NULL ? tile->y_pitch : tile->x_pitch;
    kept.powers.are_own = are_own;
    const ROW(start) start = ROW(start_of)(&kept.powers);
    ROW(clear_lanes)(lanes, tile->width, &kept.sums);
    if (dy != NULL)
        ROW(clear_lanes)(lanes, tile->width, &kept.products);
    ROW(weigh_lanes)(lanes, tile->n, tile->width, tile->x, tile->x_pitch, &start, tile->scale, y, y_pitch, dy,
                     tile->dy_pitch, &sum);
}

static void
ROW(sum_powers)(const fa_shared_tile *tile, fa_lanes lanes)
{
    ROW(sum_powers_of)(tile, lanes, 0, tile->y, NULL);
}

static void
ROW(sum_own_powers_of_lanes)(const fa_shared_tile *tile, fa_lanes lanes)
{
    ROW(sum_powers_of)(tile, lanes, 1, tile->y, NULL);
}

static void
ROW(sum_powers_and_products)(const fa_shared_tile *tile, fa_lanes lanes)
{
    ROW(sum_powers_of)(tile, lanes, 0, tile->y, tile->dy);
}

static void
ROW(sum_own_powers_and_products)(const fa_shared_tile *tile, fa_lanes lanes)
{
    ROW(sum_powers_of)(tile, lanes, 1, tile->y, tile->dy);
}

/* Whether the factor of all rows may suit them. */
static int
ROW(may_be_common)(const fa_shared_tile *tile)
{
    return ROW(look_moderate)(tile->n, tile->width, tile->x, tile->x_pitch, tile->scale);
}

static void
ROW(find_extremes)(const fa_shared_tile *tile, fa_lanes lanes)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    const T sign = tile->scale < 0 ? -1 : 1;
    ROW(largest_of_lanes)(lanes, tile->n, tile->width, tile->x, tile->x_pitch, sign, 0, kept.of_lanes);
}

static int
ROW(settle_extremes)(const fa_shared_tile *tile)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    T *const extremes = kept.powers.start.extremes;
    int are_finite = 1;
    ROW(extremes_of_rows)(tile->n, tile->width, kept.of_lanes, tile->scale < 0 ? -1 : 1, 0, extremes);
    for (size_t r = 0; r < tile->width; r++)
        are_finite &= isfinite(extremes[r]) != 0;
    ROW(repeat)(ROW(repeated)(tile->width) / tile->width, tile->width, extremes);
    return are_finite;
}

static int
ROW(settle_factors)(const fa_shared_tile *tile)
{
    ROW(kept) kept = ROW(kept_of)(tile);
    const int are_finite = ROW(settle_extremes)(tile);
    ROW(choose_factors)(ROW(repeated)(tile->width) / tile->width, tile->width, tile->scale, &kept.powers);
    return are_finite;
}

static int
ROW(settle_powers)(const fa_shared_tile *tile)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    double *const totals = kept.powers.totals;
    ROW(totals)(&kept.sums, tile->n, tile->width, totals);
    ROW(shares)(tile->width, totals, kept.shares, kept.logs.lows);
    return ROW(are_moderate)(tile->width, totals);
}

static int
ROW(settle_own_powers)(const fa_shared_tile *tile)
{
    ROW(settle_powers)(tile);
    return 1;
}

static void
ROW(finish_softmax)(const fa_shared_tile *tile, fa_lanes lanes)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    ROW(divide)(lanes, tile->n, tile->width, 1, kept.shares, kept.logs.lows, tile->y, tile->y_pitch);
}

static int
ROW(settle_own_from_input)(const fa_shared_tile *tile)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    double *const totals = kept.powers.totals;
    ROW(totals)(&kept.sums, tile->n, tile->width, totals);
    ROW(totals)(&kept.products, tile->n, tile->width, kept.dy_totals);
    ROW(means_of_powers)(tile->width, totals, kept.dy_totals, kept.shares, kept.means);
    return ROW(need_no_care)(tile->width, kept.dy_totals);
}

static int
ROW(settle_from_input)(const fa_shared_tile *tile)
{
    const int need_no_care = ROW(settle_own_from_input)(tile);
    return ROW(are_moderate)(tile->width, ROW(kept_of)(tile).powers.totals) && need_no_care;
}

static void
ROW(finish_from_input)(const fa_shared_tile *tile, fa_lanes lanes)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    ROW(slopes_of_powers)(lanes, tile->n, tile->width, 1, tile->dy, tile->dy_pitch, tile->scale, kept.shares,
                          kept.means, tile->y, tile->y_pitch);
}

static void
ROW(sum_products)(const fa_shared_tile *tile, fa_lanes lanes)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    ROW(clear_lanes)(lanes, tile->width, &kept.sums);
    ROW(add_terms_of)(lanes, tile->n, tile->width, 1, tile->dy, tile->dy_pitch, tile->x, tile->x_pitch, &kept.sums,
                      ROW(product), NULL, NULL);
}

static int
ROW(settle_backward)(const fa_shared_tile *tile)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    ROW(totals)(&kept.sums, tile->n, tile->width, kept.powers.totals);
    for (size_t r = 0; r < tile->width; r++)
        kept.means[r] = (T)kept.powers.totals[r];
    return ROW(need_no_care)(tile->width, kept.powers.totals);
}

static void
ROW(finish_backward)(const fa_shared_tile *tile, fa_lanes lanes)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    ROW(softmax_slopes)(lanes, tile->n, tile->width, 1, tile->dy, tile->dy_pitch, tile->x, tile->x_pitch,
                        (T)tile->scale, kept.means, 0, tile->y, tile->y_pitch);
}

static void
ROW(sum_powers_for_logs)(const fa_shared_tile *tile, fa_lanes lanes)
{
    ROW(find_extremes)(tile, lanes);
    ROW(sum_powers_of)(tile, lanes, 0, NULL, NULL);
}

static void
ROW(sum_own_powers_for_logs)(const fa_shared_tile *tile, fa_lanes lanes)
{
    ROW(sum_powers_of)(tile, lanes, 1, NULL, NULL);
}

/* Whether the sums are such that no result lacks digits. */
FA_INLINE int
ROW(settle_logs_of)(const fa_shared_tile *tile, int are_own)
{
    ROW(kept) kept = ROW(kept_of)(tile);
    kept.powers.are_own = are_own;
    kept.powers.parts = &kept.parts;
    ROW(totals_and_parts)(&kept.sums, tile->n, tile->width, kept.powers.totals, &kept.parts);
    if (!are_own && !ROW(are_moderate)(tile->width, kept.powers.totals))
        return 0;
    ROW(find_logs)(tile->n, tile->width, tile->x, tile->x_pitch, tile->scale, &kept.powers, kept.of_lanes, &kept.logs,
                   kept.scratch);
    return 1;
}

static int
ROW(settle_logs)(const fa_shared_tile *tile)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    return ROW(settle_extremes)(tile) &&
           ROW(do_extremes_suit)(tile->width, kept.powers.start.extremes, tile->scale) &&
           ROW(settle_logs_of)(tile, 0);
}

static int
ROW(settle_own_logs)(const fa_shared_tile *tile)
{
    return ROW(settle_logs_of)(tile, 1);
}

FA_INLINE void
ROW(finish_logs_of)(const fa_shared_tile *tile, fa_lanes lanes, int are_own)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    ROW(subtract_logs)(lanes, tile->n, tile->width, 1, tile->x, tile->x_pitch, tile->scale,
                       are_own ? kept.powers.start.offsets : NULL, &kept.logs, tile->y, tile->y_pitch);
}

static void
ROW(finish_logs)(const fa_shared_tile *tile, fa_lanes lanes)
{
    ROW(finish_logs_of)(tile, lanes, 0);
}

static void
ROW(finish_own_logs)(const fa_shared_tile *tile, fa_lanes lanes)
{
    ROW(finish_logs_of)(tile, lanes, 1);
}

static void
ROW(sum_weights)(const fa_shared_tile *tile, fa_lanes lanes)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    const ROW(start) start = {kept.powers.start.extremes, NULL, NULL, NULL};
    const ROW(sum) sum = {kept.of_lanes, &kept.sums, NULL};
    ROW(clear_lanes)(lanes, tile->width, &kept.sums);
    for (size_t k = lanes.first * tile->width; k < lanes.end * tile->width; k++)
        kept.of_lanes[k] = 0;
    ROW(weigh_lanes)(lanes, tile->n, tile->width, tile->x, tile->x_pitch, &start, tile->scale, NULL, tile->x_pitch,
                     NULL, 0, &sum);
}

static int
ROW(settle_logsumexp)(const fa_shared_tile *tile)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    T *y = tile->y;
    ROW(totals)(&kept.sums, tile->n, tile->width, kept.powers.totals);
    ROW(count_others)(tile->n, tile->width, kept.powers.start.extremes, kept.of_lanes, kept.powers.totals);
    for (size_t r = 0; r < tile->width; r++)
        y[r] = ROW(log_of_sum)(kept.powers.start.extremes[r], tile->scale, kept.powers.totals[r]);
    return 1;
}

static void
ROW(sum_dy)(const fa_shared_tile *tile, fa_lanes lanes)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    ROW(clear_lanes)(lanes, tile->width, &kept.sums);
    ROW(add_terms_of)(lanes, tile->n, tile->width, 1, tile->dy, tile->dy_pitch, tile->dy, tile->dy_pitch, &kept.sums,
                      ROW(itself), NULL, NULL);
}

static int
ROW(settle_log_backward)(const fa_shared_tile *tile)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    ROW(totals)(&kept.sums, tile->n, tile->width, kept.powers.totals);
    for (size_t r = 0; r < tile->width; r++)
        kept.means[r] = -(T)kept.powers.totals[r];
    return 1;
}

static void
ROW(finish_log_backward)(const fa_shared_tile *tile, fa_lanes lanes)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    ROW(log_softmax_slopes)(lanes, tile->n, tile->width, 1, tile->dy, tile->dy_pitch, tile->x, tile->x_pitch,
                            (T)tile->scale, kept.means, tile->y, tile->y_pitch);
}

#undef ROW
#undef T
