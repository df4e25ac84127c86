"""The elementwise steps of the row functions (softmax and its like).

The row algorithms themselves need loops and sums; they are in csrc/rows_template.h. What
the documentation says of them is here.
"""

from __future__ import annotations

from dataclasses import dataclass

from .elementary import Pair, exp_value, lift, lower, lowest_exponent, two_sum
from .elementary import scale as scale_pair
from .language import Value, clamp_low, where

INFINITY = float("inf")


@dataclass(frozen=True)
class RowFunction:
    """What the documentation says of a function along an axis."""

    summary: str
    gradient: str
    excluded: str
    notes: str


ROW_FUNCTIONS = {
    "softmax": RowFunction(
        summary="Softmax along one axis: exp(scale x) / sum(exp(scale x)).",
        gradient="scale y (dy - sum(dy y)), y = softmax(scale x); 0 where y is 0, "
        "whatever dy",
        excluded="get 0. A row with nothing included gives zeros",
        notes="The rounding error of x - max(x) is carried along, so that results stay "
        "within\n4 ULP for any spread of the row.",
    ),
    "log_softmax": RowFunction(
        summary="Logarithm of the softmax along one axis.",
        gradient="scale (dy - softmax(scale x) sum(dy))",
        excluded="get -inf",
        notes="Uses log1p of the sum of all weights but the largest, which keeps its "
        "digits\nwhere one element dominates; within 4 ULP.",
    ),
}


def distance(x: Value, extreme: Value, scale: Value | None) -> Pair:
    """scale (x - extreme): the rounding of the difference is most of a softmax's error."""
    high, low = two_sum(x, -extreme)
    if scale is not None:
        high, low = scale_pair(scale, Pair(high, low))
    return Pair(high, low)


def row_weight_of(x: Value, extreme: Value, scale: Value | None) -> Value:
    """exp(scale (x - extreme)), for an exponent that is not positive."""
    high, low = distance(x, extreme, scale)
    # Where the exponent is infinite, its low part is NaN.
    low = where(high > lowest_exponent(), low, 0.0)
    lifted = exp_value(clamp_low(high, lowest_exponent()), low, shift=lift())
    return lifted * lower()


def row_weight(x: Value, extreme: Value) -> Value:
    """exp(x - extreme)."""
    return row_weight_of(x, extreme, None)


def row_weight_scaled(x: Value, extreme: Value, scale: Value) -> Value:
    """exp(scale (x - extreme))."""
    return row_weight_of(x, extreme, scale)


def row_log_weight_of(
    x: Value, extreme: Value, scale: Value | None, log_high: Value, log_low: Value
) -> Value:
    """scale (x - extreme) - (log_high + log_low)."""
    high, low = distance(x, extreme, scale)
    first, rest = two_sum(high, -log_high)
    exact = first + (rest + (low - log_low))
    return where(abs(high) < INFINITY, exact, high - log_high)


def row_log_weight(x: Value, extreme: Value, log_high: Value, log_low: Value) -> Value:
    """x - extreme - (log_high + log_low)."""
    return row_log_weight_of(x, extreme, None, log_high, log_low)


def row_log_weight_scaled(
    x: Value, extreme: Value, scale: Value, log_high: Value, log_low: Value
) -> Value:
    """scale (x - extreme) - (log_high + log_low)."""
    return row_log_weight_of(x, extreme, scale, log_high, log_low)


def row_exp(x: Value) -> Value:
    """exp(x) for x <= 0."""
    return exp_value(clamp_low(x, lowest_exponent()), shift=lift()) * lower()


ROW_FORMULAS = (
    row_weight,
    row_weight_scaled,
    row_log_weight,
    row_log_weight_scaled,
    row_exp,
)
