"""The elementwise steps of the row functions (softmax and its like).

The row algorithms themselves need loops and sums; they are in csrc/rows_template.h. What
the documentation says of them is here.
"""

from __future__ import annotations

from dataclasses import dataclass

from .elementary import (
    ARTANH_FLOAT32,
    ARTANH_FLOAT64,
    LN2,
    LOG_FLOAT32,
    Pair,
    exp_beside,
    exp_value,
    exponent_beside,
    lift,
    lower,
    lowest_exponent,
    magic_beside,
    split_at,
    two_product,
    two_sum,
)
from .elementary import scale as scale_pair
from .kernels import BACKWARD, BACKWARD_FROM_OUTPUT, FORWARD
from .language import (
    Value,
    by_dtype,
    clamp_high,
    clamp_low,
    fma,
    polynomial,
    power_of_two,
    real,
    where,
)

INFINITY = float("inf")


@dataclass(frozen=True)
class RowFunction:
    """What is known of a function along an axis.

    Parameters
    ----------
    summary, formula, gradient, excluded, notes
        What the documentation says; of excluded elements, what the function gives them.
    source
        Where the function comes from.
    excluded_value
        What an excluded element gets.
    from_output
        Whether the gradient can also be computed from the output.
    reduces
        Whether there is one result per row.
    kinks
        Where the derivative jumps, and what is returned there.
    pools
        Whether a row is a group of consecutive elements of the axis: then the function
        takes `pool_size`, but neither `where` nor `scale`.
    """

    summary: str
    formula: str
    gradient: str
    excluded: str
    notes: str
    source: str
    kinks: str = ""
    excluded_value: float = 0.0
    from_output: bool = True
    reduces: bool = False
    pools: bool = False

    @property
    def members(self) -> tuple[str, ...]:
        """Suffixes of the family's names."""
        return tuple(
            member
            for member in ROW_INPUTS
            if self.from_output or member != BACKWARD_FROM_OUTPUT
        )


# What the members of a family take.
ROW_INPUTS = {
    FORWARD: ("x",),
    BACKWARD: ("dy", "x"),
    BACKWARD_FROM_OUTPUT: ("dy", "y"),
}

_LIMIT = """One +inf in a row gives the limit (one-hot), several, or nothing but -inf, NaN.
An empty row gives an empty row."""
_ZEROS = "get 0. A row with nothing included gives zeros"
_BRIDLE = (
    "J. S. Bridle, Probabilistic interpretation of feedforward classification network "
    "outputs, 1990"
)

ROW_FUNCTIONS = {
    "softmax": RowFunction(
        summary="Softmax along one axis",
        formula="exp(scale x) / sum(exp(scale x))",
        gradient="scale y (dy - sum(dy y)), y = softmax(scale x); 0 where y is 0, "
        "whatever dy",
        excluded=_ZEROS,
        notes="Of exponentials of x itself, so that no difference is rounded before: "
        f"within 5 ULP\nfor any spread of the row.\n\n{_LIMIT}",
        source=_BRIDLE,
    ),
    "softmin": RowFunction(
        summary="Softmin along one axis, the softmax of -x",
        formula="exp(-scale x) / sum(exp(-scale x))",
        gradient="-scale y (dy - sum(dy y)), y = softmin(scale x); 0 where y is 0, "
        "whatever dy",
        excluded=_ZEROS,
        notes=f"Within 5 ULP for any spread of the row.\n\n{_LIMIT}".replace(
            "+inf", "-inf (the winner here)"
        ).replace("but -inf", "but +inf"),
        source=_BRIDLE,
    ),
    "log_softmax": RowFunction(
        summary="Logarithm of the softmax along one axis",
        formula="scale x - log(sum(exp(scale x)))",
        gradient="scale (dy - softmax(scale x) sum(dy))",
        excluded="get -inf",
        notes="Of an element with most of the weight, log1p of what all others have "
        f"beside it, which\nkeeps its digits; within 5 ULP.\n\n{_LIMIT}",
        source=_BRIDLE,
        excluded_value=-INFINITY,
    ),
    "logsumexp": RowFunction(
        summary="Logarithm of the sum of exponentials along one axis, without overflow",
        formula="log(sum(exp(scale x)))",
        gradient="dy scale softmax(scale x)",
        excluded="take no part. A row with nothing included, or of length 0, gives -inf",
        notes="The error is at most 2 ULP of the result or of the largest scale x, "
        "whichever is\ngreater: log(n) may cancel it. A row with +inf gives +inf, with "
        "nothing but -inf -inf.",
        source="P. Blanchard, D. J. Higham and N. J. Higham, Accurately computing the "
        "log-sum-exp and softmax functions, 2021",
        from_output=False,
        reduces=True,
    ),
    "sparsemax": RowFunction(
        summary="Sparsemax along one axis, the projection on the simplex",
        formula="max(scale x - tau, 0), tau such that the row sums to 1",
        gradient="scale (dy - the mean of dy where y > 0) where y > 0, else 0",
        excluded=_ZEROS,
        notes="tau is found by Newton's method in double precision, until it stands "
        f"still; within 2\nULP of 1, the largest possible y.\n\n{_LIMIT}",
        source="A. F. T. Martins and R. F. Astudillo, From softmax to sparsemax, 2016, "
        "arXiv:1602.02068",
        kinks="where scale x = tau the derivative is that of the excluded side",
    ),
    "entmax15": RowFunction(
        summary="1.5-entmax along one axis, between softmax and sparsemax",
        formula="max(scale x / 2 - tau, 0)^2, tau such that the row sums to 1",
        gradient="scale g (dy - sum(g dy) / sum(g)), g = sqrt(y); 0 where y is 0, "
        "whatever dy",
        excluded=_ZEROS,
        notes="tau is found by Newton's method in double precision, until it stands "
        f"still; within 2\nULP of 1, the largest possible y.\n\n{_LIMIT}",
        source="B. Peters, V. Niculae and A. F. T. Martins, Sparse sequence-to-sequence "
        "models, 2019, arXiv:1905.05702",
    ),
    "hardmax": RowFunction(
        summary="Hardmax along one axis",
        formula="1 for the first maximum of scale x, else 0",
        gradient="0 everywhere, for the function is constant where it is continuous; "
        "NaN in x makes no difference",
        excluded=_ZEROS,
        notes="Exact. NaN in a row makes the whole row NaN. An empty row gives an empty "
        "row.",
        source="ONNX, operator Hardmax",
        kinks="where another element becomes the maximum the function jumps; the "
        "derivative is 0 there, too",
    ),
    "maxout": RowFunction(
        summary="Maxout along one axis",
        formula="max(x) of each pool_size consecutive elements",
        gradient="dy at the first maximum of each group, 0 elsewhere",
        excluded="",
        notes="Exact. NaN in a group gives NaN, and counts as its first maximum.",
        source="I. J. Goodfellow et al., Maxout networks, 2013, arXiv:1302.4389",
        kinks="where elements are equal, the first of them has the gradient",
        from_output=False,
        reduces=True,
        pools=True,
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


def row_peak_magic(peak: Value) -> Value:
    """For `row_power`: the power of two that makes e^peak about 2^lift()."""
    return magic_beside(peak)


def row_peak_exponent(peak: Value) -> Value:
    """e^x is `row_power` times two to this."""
    return exponent_beside(peak)


def row_peak_floor(peak: Value) -> Value:
    """For `row_power`: the exponent from which on it is 0 beside e^peak."""
    return peak + lowest_exponent()


def row_power(x: Value, offset: Value, floor: Value, magic: Value) -> Value:
    """e^(x - offset) times a power of two, for an x - offset that is exact or too small.

    What softmax makes of it does not depend on the factor, which is chosen such that
    nothing overflows: the row's extreme need not be subtracted, which would round.
    """
    return exp_beside(clamp_low(x - offset, floor), None, magic)


def row_power_scaled(
    x: Value, offset: Value, floor: Value, magic: Value, scale: Value
) -> Value:
    """e^(scale (x - offset)) times a power of two."""
    high, low = two_product(scale, x - offset)
    low = where(high > floor, low, 0.0)  # it may be infinite elsewhere, or NaN
    return exp_beside(clamp_low(high, floor), low, magic)


def _common_shift() -> int:
    """For `row_common_power`: it gives e^x times two to this power.

    From 2^-126 (2^-1022) on they are normal numbers then, which is 2^-152 (2^-1150) of
    the least sum that is allowed: smaller ones make no result. The largest sum is far
    from overflow.
    """
    return int(by_dtype(36, 138))


def row_common_exponent() -> Value:
    """e^x is `row_common_power` times two to this."""
    return real(-float(_common_shift()))


def row_common_lowest() -> Value:
    """From here on down, `row_common_power` is 0 beside any sum that is large enough."""
    return real(by_dtype(-111.0, -790.0))


def row_common_highest() -> Value:
    """From here on up, `row_common_power` is too small, and at least the limit."""
    return real(37.0)


def row_common_least() -> Value:
    """Of a sum of `row_common_power`: below, results may lack digits."""
    return power_of_two(_common_shift() - 10)


def row_common_limit() -> Value:
    """Of a sum of `row_common_power`: from here on, an x may have been too large."""
    return power_of_two(_common_shift() + 52)


def _common_power(
    x: Value, x_low: Value | None, lowest: Value, highest: Value
) -> Value:
    within = clamp_high(clamp_low(x, lowest), highest)
    if x_low is not None:
        x_low = where(within == x, x_low, 0.0)  # elsewhere it may be large, or NaN
    return exp_value(within, x_low, shift=_common_shift())


def row_common_power(x: Value, lowest: Value, highest: Value) -> Value:
    """e^x times a power of two that is the same for any x: for moderate ones."""
    return _common_power(x, None, lowest, highest)


def row_common_power_scaled(
    x: Value, lowest: Value, highest: Value, scale: Value
) -> Value:
    """e^(scale x) times that power of two."""
    return _common_power(*two_product(scale, x), lowest, highest)


def row_log_of_parts(k: Value, f: Value, lost: Value) -> Value:
    """k log(2) + log(1 + f) + lost, for 1 + f within a factor sqrt(2) of 1, a small lost.

    With s = f / (2 + f), log(1 + f) = 2 artanh(s) = f - s (f - 2 s^2 ARTANH(s^2)): of f
    nothing is rounded but in a product that is at most a fifth of it.
    """
    ln2_high, ln2_low = row_ln2_high(), row_ln2_low()
    s = f / (f + 2.0)
    square = s * s
    series = by_dtype(ARTANH_FLOAT32, ARTANH_FLOAT64)
    rest = fma(square * -2.0, polynomial(square, series), f)
    return fma(k, ln2_high, f - (s * rest - fma(k, ln2_low, lost)))


def row_log_tail(f: Value) -> Value:
    """(log(1 + f) - f) / f^2 + 1/2 for 1 + f within a factor sqrt(2) of 1, as a float."""
    return f * polynomial(f, LOG_FLOAT32)


def row_ln2() -> Value:
    """log(2), rounded."""
    return real(LN2)


def row_ln2_high() -> Value:
    """log(2) to so few digits that a product with a small integer is exact."""
    return split_at(LN2, 32)[0]


def row_ln2_low() -> Value:
    """What that lacks."""
    return split_at(LN2, 32)[1]


def row_exp(x: Value) -> Value:
    """exp(x) for x <= 0."""
    return exp_value(clamp_low(x, lowest_exponent()), shift=lift()) * lower()


ROW_FORMULAS = (
    row_peak_magic,
    row_peak_exponent,
    row_peak_floor,
    row_common_exponent,
    row_common_lowest,
    row_common_highest,
    row_common_least,
    row_common_limit,
    row_common_power,
    row_common_power_scaled,
    row_power,
    row_power_scaled,
    row_weight,
    row_weight_scaled,
    row_log_of_parts,
    row_log_tail,
    row_ln2,
    row_ln2_high,
    row_ln2_low,
    row_exp,
)
