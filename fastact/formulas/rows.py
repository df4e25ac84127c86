"""The elementwise steps of the row functions (softmax and its like).

The row algorithms themselves need loops and sums; they are in csrc/rows_template.h.
"""

from __future__ import annotations

from .elementary import (
    Pair,
    exp_lifted,
    lower,
    lowest_exponent,
    reduce_exp,
    total,
    two_sum,
)
from .elementary import scale as scale_pair
from .language import Value, clamp_low, where

INFINITY = float("inf")


def scaled_distance(x: Value, extreme: Value, scale: Value) -> Pair:
    """scale (x - extreme): the rounding of the difference is most of a softmax's error."""
    return scale_pair_of(scale, two_sum(x, -extreme))


def scale_pair_of(scale: Value, a: Pair) -> Pair:
    """scale a; where a is infinite its low part is worthless."""
    high, low = scale_pair(scale, a)
    return Pair(high, where(abs(high) < INFINITY, low, 0.0))


def row_weight(x: Value, extreme: Value, scale: Value) -> Value:
    """exp(scale (x - extreme)), for an exponent that is not positive."""
    high, low = scaled_distance(x, extreme, scale)
    low = where(high > lowest_exponent(), low, 0.0)
    reduced = reduce_exp(clamp_low(high, lowest_exponent()), low)
    return total(exp_lifted(reduced)) * lower()


def row_log_weight(
    x: Value, extreme: Value, scale: Value, log_high: Value, log_low: Value
) -> Value:
    """scale (x - extreme) - (log_high + log_low)."""
    high, low = scaled_distance(x, extreme, scale)
    first, rest = two_sum(high, -log_high)
    return where(abs(high) < INFINITY, first + (rest + (low - log_low)), high)


def row_exp(x: Value) -> Value:
    """exp(x) for x <= 0."""
    return total(exp_lifted(reduce_exp(clamp_low(x, lowest_exponent())))) * lower()


ROW_FORMULAS = (row_weight, row_log_weight, row_exp)
