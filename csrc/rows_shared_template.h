/* Softmax, log_softmax, logsumexp and gradients of one tile of columns on several threads; included twice by rows.h, after
   rows_template.h for columns. In every step each thread takes some of the lanes of all rows; between the steps one thread
   settles what the next one needs of each row. The lanes of a row have nothing to do with each other until their sums are
   added, so that the bits are those of one thread. */
#define ROW(name) FA_PASTE(FA_PASTE(FA_PASTE(name, _), REAL), FA_PASTE(_, FORM))
#define T FA_PASTE(fa_, REAL)

/* What is kept of the rows. */
typedef struct {
    T *shares, *means;
    T *of_lanes; /* maxima, then how many weights are 1 */
    T *extremes, *leads, *highs, *lows, *are_others; /* see logs */
    double *totals, *dy_totals;
    ROW(lanes) sums, products;
} ROW(kept);

FA_INLINE ROW(kept)
ROW(kept_of)(const fa_shared_tile *tile)
{
    const size_t width = tile->width;
    char *scratch = tile->scratch;
    ROOM(T, shares, 1, width);
    ROOM(T, means, 1, width);
    ROOM(T, of_lanes, 1, LANES * width);
    ROOM(T, extremes, 1, ROW(repeated)(width));
    ROOM(T, leads, 1, width);
    ROOM(T, highs, 1, width);
    ROOM(T, lows, 1, width);
    ROOM(T, are_others, 1, width);
    ROOM(double, totals, 1, width);
    ROOM(double, dy_totals, 1, width);
    SUMS(sums);
    SUMS(products);
    return (ROW(kept)){shares, means,      of_lanes, extremes,  leads, highs,
                       lows,   are_others, totals,   dy_totals, sums,  products};
}

FA_INLINE void
ROW(clear_lanes)(fa_lanes lanes, size_t width, const ROW(lanes) *sums)
{
    const size_t first = lanes.first * width;
    const ROW(lanes) some = {sums->sum + first, KEEPS_LOSSES ? sums->lost + first : NULL};
    ROW(clear)(&some, lanes.end * width - first);
}

/* Into y unless it is NULL. */
FA_INLINE void
ROW(sum_powers_of)(const fa_shared_tile *tile, fa_lanes lanes, T *y)
{
    static const ROW(start) common = {NULL, NULL, NULL, NULL};
    const ROW(kept) kept = ROW(kept_of)(tile);
    const ROW(sum) sum = {NULL, &kept.sums, NULL};
    ROW(clear_lanes)(lanes, tile->width, &kept.sums);
    ROW(weigh_lanes)(lanes, tile->n, tile->width, tile->x, tile->x_pitch, &common, tile->scale, y,
                     y != NULL ? tile->y_pitch : tile->x_pitch, NULL, 0, &sum);
}

static void
ROW(sum_powers)(const fa_shared_tile *tile, fa_lanes lanes)
{
    ROW(sum_powers_of)(tile, lanes, tile->y);
}

static int
ROW(settle_powers)(const fa_shared_tile *tile)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    ROW(totals)(&kept.sums, tile->n, tile->width, kept.totals);
    ROW(shares)(tile->width, kept.totals, kept.shares, kept.lows);
    return ROW(look_moderate)(tile->n, tile->width, tile->x, tile->x_pitch, tile->scale) &&
           ROW(are_moderate)(tile->width, kept.totals);
}

static void
ROW(finish_softmax)(const fa_shared_tile *tile, fa_lanes lanes)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    ROW(divide)(lanes, tile->n, tile->width, 1, kept.shares, kept.lows, tile->y, tile->y_pitch);
}

static void
ROW(sum_powers_and_products)(const fa_shared_tile *tile, fa_lanes lanes)
{
    static const ROW(start) common = {NULL, NULL, NULL, NULL};
    const ROW(kept) kept = ROW(kept_of)(tile);
    const ROW(sum) sum = {NULL, &kept.sums, &kept.products};
    ROW(clear_lanes)(lanes, tile->width, &kept.sums);
    ROW(clear_lanes)(lanes, tile->width, &kept.products);
    ROW(weigh_lanes)(lanes, tile->n, tile->width, tile->x, tile->x_pitch, &common, tile->scale, tile->y, tile->y_pitch,
                     tile->dy, tile->dy_pitch, &sum);
}

static int
ROW(settle_from_input)(const fa_shared_tile *tile)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    ROW(totals)(&kept.products, tile->n, tile->width, kept.dy_totals);
    const int are_moderate = ROW(settle_powers)(tile);
    ROW(means_of_powers)(tile->width, kept.totals, kept.dy_totals, kept.shares, kept.means);
    return are_moderate && ROW(need_no_care)(tile->width, kept.dy_totals);
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
    ROW(totals)(&kept.sums, tile->n, tile->width, kept.totals);
    for (size_t r = 0; r < tile->width; r++)
        kept.means[r] = (T)kept.totals[r];
    return ROW(need_no_care)(tile->width, kept.totals);
}

static void
ROW(finish_backward)(const fa_shared_tile *tile, fa_lanes lanes)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    ROW(softmax_slopes)(lanes, tile->n, tile->width, 1, tile->dy, tile->dy_pitch, tile->x, tile->x_pitch,
                        (T)tile->scale, kept.means, 0, tile->y, tile->y_pitch);
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
    int are_finite = 1;
    ROW(extremes_of_rows)(tile->n, tile->width, kept.of_lanes, tile->scale < 0 ? -1 : 1, 0, kept.extremes);
    for (size_t r = 0; r < tile->width; r++)
        are_finite &= isfinite(kept.extremes[r]) != 0;
    ROW(repeat)(ROW(repeated)(tile->width) / tile->width, tile->width, kept.extremes);
    return are_finite;
}

static void
ROW(sum_powers_for_logs)(const fa_shared_tile *tile, fa_lanes lanes)
{
    ROW(find_extremes)(tile, lanes);
    ROW(sum_powers_of)(tile, lanes, NULL);
}

FA_INLINE ROW(logs)
ROW(logs_of)(const ROW(kept) *kept)
{
    return (ROW(logs)){kept->extremes, kept->leads, kept->highs, kept->lows, kept->are_others};
}

static int
ROW(settle_logs)(const fa_shared_tile *tile)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    const ROW(logs) logs = ROW(logs_of)(&kept);
    if (!ROW(settle_extremes)(tile))
        return 0;
    ROW(totals)(&kept.sums, tile->n, tile->width, kept.totals);
    return ROW(find_logs)(tile->n, tile->width, tile->x, tile->x_pitch, tile->scale, &kept.sums, kept.totals, &logs) == 0;
}

static void
ROW(finish_log_softmax)(const fa_shared_tile *tile, fa_lanes lanes)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    const ROW(logs) logs = ROW(logs_of)(&kept);
    ROW(subtract_logs)(lanes, tile->n, tile->width, 1, tile->x, tile->x_pitch, tile->scale, &logs, 1, tile->y,
                       tile->y_pitch);
}

static void
ROW(sum_weights)(const fa_shared_tile *tile, fa_lanes lanes)
{
    const ROW(kept) kept = ROW(kept_of)(tile);
    const ROW(start) start = {kept.extremes, NULL, NULL, NULL};
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
    ROW(totals)(&kept.sums, tile->n, tile->width, kept.totals);
    ROW(count_others)(tile->n, tile->width, kept.extremes, kept.of_lanes, kept.totals);
    for (size_t r = 0; r < tile->width; r++)
        y[r] = ROW(log_of_sum)(kept.extremes[r], tile->scale, kept.totals[r]);
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
    ROW(totals)(&kept.sums, tile->n, tile->width, kept.totals);
    for (size_t r = 0; r < tile->width; r++)
        kept.means[r] = -(T)kept.totals[r];
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
