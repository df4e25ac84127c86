"""Smooth activations made of square roots and hyperbolic functions."""

from __future__ import annotations

from collections.abc import Sequence

from ..elementary import (
    LN2,
    Pair,
    add_same_sign,
    around_root,
    divide,
    divide_by_one_plus,
    exp_of_minus_double,
    exp_value,
    fast_two_sum,
    finite_times_pair,
    fma_exact,
    half_of_one_minus_exp_pair,
    multiply,
    one_plus,
    one_plus_exp_of_double,
    pair,
    quotient,
    scale,
    split_at,
    tanh_of_size,
    total,
    two_product,
    two_sum,
    with_sign,
)
from ..entry import activation
from ..language import (
    INFINITY,
    Bool,
    Real,
    Value,
    by_dtype,
    clamp_high,
    clamp_low,
    copysign,
    correction,
    fma,
    horner,
    nan_from,
    polynomial,
    power_of_two,
    real,
    split,
    sqrt,
    to_last_digit,
    where,
)
from .sigmoidal import tanh

# ---------------------------------------------------------------- square roots


def square_plus_product(
    a: Value, b: Real, far: Bool = False, other: Real = 1.0
) -> Pair:
    """s + a r, s = a^2 + b = r^2, for a >= 0.

    Where `far` holds, the high part is another number, and the low part does not count.
    """
    square = fma(a, a, b)
    root = sqrt(square)
    if not to_last_digit():
        high, low = fma_exact(a, root, square)
        return Pair(where(far, other, high), low)
    # r (r + a); r + a is the rounded sum and the part of a that it lacks
    sum_of_both = root + a
    seen = sum_of_both - root
    unseen = a - seen
    high, low = two_product(root, sum_of_both)
    high = where(far, other, high)
    # s - r^2 = b - (r - a) (r + a), where r - seen is exact
    lost = fma(a + a, unseen, fma(seen - root, sum_of_both, b))
    # s with this has s + a r with 1 + a / 2r times this, and a / r = 1 - b / (s + a r).
    share = fma(-0.5 * real(b), 1.0 / high, 1.5)
    return Pair(high, fma(lost, share, fma(root, unseen, low)))


def squareplus_root(a: Value, b: Real) -> Value:
    """sqrt(a^2 + b), also where the square overflows."""
    root = sqrt(fma(a, a, b))
    return where(root < INFINITY, root, a)


@activation(
    formula="(x + sqrt(x^2 + b)) / 2",
    source="Barron 2021, arXiv:2112.11687",
    requires={"b": ">= 0"},
    plain="np.where(x > 0, (x + (r := np.sqrt(x * x + b))) / 2, b / (2 * (r - x)))",
    plain_backward="dy * np.where("
    "x > 0, (1 + x / (r := np.sqrt(x * x + b))) / 2, b / (2 * r * (r - x)))",
    notes="At b = 0 it is relu.",
)
def squareplus(x: Value, b: Real = 4.0) -> Value:
    """Squareplus, a smooth rectifier without exponentials."""
    # right of zero h = (|x| + r) / 2, left of it b / (4 h), r = sqrt(x^2 + b)
    a = abs(x)
    root = squareplus_root(a, b)
    h, h_low = fast_two_sum(0.5 * root, 0.5 * a)
    quarter = 0.25 * real(b)
    left = quarter / h
    # What r lacks is (x^2 + b - r^2) / 2r; here 1 / 4h stands for 1 / 2r, which it is
    # where it counts: where |x| is small.
    reciprocal = left * (1.0 / quarter)
    remainder = fma(a, a, fma(-root, root, b))
    h_low = fma(0.125 * remainder, reciprocal, h_low)
    left_low = fma(-left, h_low, fma(-left, h, quarter)) * reciprocal
    # It may be NaN far out, where it does not count, and where b has no reciprocal.
    far = a > power_of_two(by_dtype(40, 300))
    tiny = quarter < power_of_two(by_dtype(-126, -1022))
    lost = correction(where(far | tiny, 0.0, where(x < 0, left_low, h_low)))
    return where(real(b) == 0, clamp_low(x, 0.0), where(x < 0, left, h) + lost)


@squareplus.derivative
def squareplus_derivative(x: Value, b: Real) -> Value:
    """Left of zero b / (2 (s + |x| r)), s = r^2 = x^2 + b, and right 1 minus that.

    Scaled, so that the square does not overflow before the result is zero. With a small
    b that is zero earlier, and b would underflow.
    """
    shift = by_dtype(30, 256)
    small = real(b) < power_of_two(by_dtype(-40, -100))
    down = where(small, 1.0, power_of_two(-shift))
    lowered = real(b) * where(small, 1.0, power_of_two(-2 * shift))
    a = clamp_high(abs(x) * down, power_of_two(by_dtype(62, 510)))
    left = divide(pair(0.5 * lowered), square_plus_product(a, lowered))
    slope = where(x < 0, left, 1.0 - left)
    return where(real(b) == 0, nan_from(x, where(x > 0, 1.0, 0.0)), slope)


@squareplus.derivative_from_output
def squareplus_derivative_from_output(y: Value, b: Real) -> Value:
    bounded = clamp_high(y, by_dtype(1e18, 1e150))
    square = bounded * bounded
    slope = square / (square + 0.25 * real(b))
    return where(real(b) == 0, where(y > 0, 1.0, y), slope)


@squareplus.parameter_derivative("b")
def squareplus_by_b(x: Value, b: Real) -> Value:
    return 0.25 / squareplus_root(abs(x), b)


DISH_ROOT = "0.78615137775742328606955858584295892952312205783772"
# dish'(d - DISH_ROOT) = d DISH_SLOPE(d) for |d| <= 2^-10
DISH_SLOPE_FLOAT32 = (
    "2.07490519e-01",
    "3.70066702e-01",
    "3.26175153e-01",
)
DISH_SLOPE_FLOAT64 = (
    "2.0749052312284358e-01",
    "3.7006664343884066e-01",
    "3.1998011719522540e-01",
    "1.0120794962825992e-01",
    "-1.1499814785418934e-01",
    "-1.9258945436545061e-01",
)


@activation(
    formula="x (1 + x / sqrt(1 + x^2)) / 2",
    source="thinc, https://thinc.ai/docs/api-layers",
    derivative_roots=("-" + DISH_ROOT,),
    plain="0.5 * x * (1 + x / np.sqrt(1 + x * x))",
    plain_backward="dy * 0.5 * (1 + (s := x / np.sqrt(1 + x * x))) * (1 + s - s * s)",
)
def dish(x: Value) -> Value:
    """Dish: x times an algebraic sigmoid."""
    # max(x, 0) - a / (2 (s + a r)), a = |x|, s = r^2 = 1 + a^2; far out the quotient
    # is 1 / (4a) to the last digit, where the square may overflow
    a = abs(x)
    edge = power_of_two(by_dtype(20, 60))
    far = a > edge
    base = square_plus_product(clamp_high(a, edge), 1.0, far, a)
    high, low = quotient(pair(where(far, 0.25, 0.5 * a)), base)
    return where(x < 0, 0.0, x) - (high + where(far, 0.0, low))


@dish.derivative
def dish_derivative(x: Value) -> Value:
    """Derivative, around its root a polynomial.

    With a = |x|, s = r^2 = 1 + a^2 and p = a r, left of zero it is
    (1 - p) / (2 s (s + p)), and right of zero 1 minus that.
    Far out it is -1 / (4 a^2) to the last digit.
    """
    edge = by_dtype(2.0**15, 2.0**30)
    far = abs(x) > edge
    a = clamp_high(abs(x), edge)
    s = add_same_sign(two_product(a, a), pair(1.0))
    r = sqrt(s.high)
    p = scale(a, Pair(r, (fma(-r, r, s.high) + s.low) / (r + r)))
    base = multiply(s, add_same_sign(s, p))
    high, low = two_sum(0.5, -0.5 * p.high)
    # A clamp where the square has long been zero: an infinity would give NaN.
    size = clamp_high(abs(x), by_dtype(1e30, 1e200))
    q = quotient(
        Pair(where(far, 0.5, high), where(far, 0.0, fma(-0.5, p.low, low))),
        Pair(where(far, size, base.high), where(far, 0.0, base.low)),
    )
    left = where(far, -fma(q.high, q.high, 2.0 * q.high * q.low), total(q))
    slope = where(x < 0, left, 1.0 - left)
    series = by_dtype(DISH_SLOPE_FLOAT32, DISH_SLOPE_FLOAT64)
    return around_root("-" + DISH_ROOT, x, series, slope, 2.0**-10)


# ---------------------------------------------------------------- hyperbolic functions

# log(cosh(a)) = a^2/2 + a^4 LOGCOSH(a^2) for a <= 1
LOGCOSH_FLOAT32 = (
    "-8.33333135e-02",
    "2.22216621e-02",
    "-6.74082292e-03",
    "2.16393382e-03",
    "-6.83005317e-04",
    "1.78666814e-04",
    "-2.62908088e-05",
)
LOGCOSH_FLOAT64 = (
    "-8.3333333333331941e-02",
    "2.2222222222093736e-02",
    "-6.7460317418721093e-03",
    "2.1869487853781334e-03",
    "-7.3860229477009645e-04",
    "2.5657634585461768e-04",
    "-9.0971217203068472e-05",
    "3.2722193676694612e-05",
    "-1.1827987499430132e-05",
    "4.1928973006538451e-06",
    "-1.3773616909623066e-06",
    "3.7819772226874855e-07",
    "-7.3475096041896624e-08",
    "7.2524647368676130e-09",
)
# log1p(u) = u LOGCOSH_TAIL(u) for u <= e^-2, accurate beside log(cosh(1))
LOGCOSH_TAIL_FLOAT32 = (
    "1.00000000e+00",
    "-4.99992371e-01",
    "3.32953274e-01",
    "-2.43257403e-01",
    "1.47643372e-01",
)
LOGCOSH_TAIL_FLOAT64 = (
    "1.0000000000000000e+00",
    "-4.9999999999846434e-01",
    "3.3333333306134882e-01",
    "-2.4999998077860128e-01",
    "1.9999927055597339e-01",
    "-1.6664998420479532e-01",
    "1.4261512175950239e-01",
    "-1.2273953042296705e-01",
    "9.7735554629564292e-02",
    "-5.2477715795924459e-02",
)
# a - tanh(a) = a^3/3 + a^5 TANHSHRINK(a^2) for a <= 1
TANHSHRINK_FLOAT64 = (
    "-1.3333333333333319e-01",
    "5.3968253968236929e-02",
    "-2.1869488535439071e-02",
    "8.8632355146668930e-03",
    "-3.5921278429236784e-03",
    "1.4558327736799432e-03",
    "-5.9001810592455904e-04",
    "2.3909015000248194e-04",
    "-9.6795039559185962e-05",
    "3.8998717131949549e-05",
    "-1.5425221025380895e-05",
    "5.7858378593370233e-06",
    "-1.9272214530270595e-06",
    "5.1472637715242293e-07",
    "-9.4294740775111785e-08",
    "8.6173459629629779e-09",
)
# a - tanh(a) = a^3 / (3 + a^2 TANHSHRINK_DIVISOR(a^2)) for a <= 11/8
TANHSHRINK_DIVISOR_FLOAT32 = (
    "1.19999969e+00",
    "-5.71243418e-03",
    "2.50676094e-04",
    "-9.90174431e-06",
)
# tanh(a)^2 = a^2 / (1 + a^2 TANH_SQUARED_DIVISOR(a^2)) for a <= 21/16
TANH_SQUARED_DIVISOR_FLOAT32 = (
    "6.66666865e-01",
    "6.66640103e-02",
    "-1.05706574e-02",
    "1.45945407e-03",
    "-1.70552463e-04",
    "1.25318184e-05",
)
# x tanh(x) = a^2 + a^4 LISHT(a^2) for a <= 25/32
LISHT_FLOAT32 = (
    "-3.33333045e-01",
    "1.33324102e-01",
    "-5.38681969e-02",
    "2.13600863e-02",
    "-7.50163244e-03",
    "1.63944555e-03",
)
# lisht'(a) = 2a + a^3 LISHT_SLOPE(a^2) for a <= 17/32
LISHT_SLOPE_FLOAT32 = (
    "-1.33333182e+00",
    "7.99922705e-01",
    "-4.30455744e-01",
    "2.09149614e-01",
    "-7.29912966e-02",
)


@activation(
    formula="log(cosh(x))",
    source="NNlib.jl, https://github.com/FluxML/NNlib.jl",
    aliases=("log_cosh",),
    plain="np.log1p(2 * np.sinh(x / 2) ** 2)",
    plain_backward="dy * np.tanh(x)",
)
def logcosh(x: Value) -> Value:
    """Logarithm of the hyperbolic cosine: half a parabola, then |x| - log(2)."""
    a = abs(x)
    square = a * a
    scheme = by_dtype(horner, polynomial)
    curve = square * scheme(square, by_dtype(LOGCOSH_FLOAT32, LOGCOSH_FLOAT64))
    # a - log(2) + log(1 + e^-2a)
    u = exp_of_minus_double(clamp_high(a, 25.0))
    tail = scheme(u, by_dtype(LOGCOSH_TAIL_FLOAT32, LOGCOSH_TAIL_FLOAT64))
    if to_last_digit():
        # Both are rounded once but for small terms: the high part of log(2) has so few
        # bits that a - log(2) is exact.
        ln2_high, ln2_low = split_at(LN2, 6)
        near = fma(a, 0.5 * a, square * curve)
        far = (a - ln2_high) + fma(u, tail, -ln2_low)
    else:
        near = fma(square, curve, 0.5 * square)
        far = fma(u, tail, a - real(LN2))
    return where(a <= 1, near, far)


@logcosh.derivative
def logcosh_derivative(x: Value) -> Value:
    return tanh(x)


def square_and_divisor(
    constant: float, coefficients: Sequence[str], a: Value, near: Bool
) -> tuple[Pair, Pair]:
    """a^2 and constant + a^2 P(a^2) for a near zero; the latter 1 + e^2a elsewhere.

    In float32. So one division does for both.
    """
    square, square_low = two_product(a, a)
    series = horner(square, coefficients)
    base, base_low = fma_exact(square, series, real(constant))
    base_low = fma(square_low, series, base_low)
    base = where(near, base, one_plus_exp_of_double(clamp_high(a, 25.0)))
    return Pair(square, square_low), Pair(base, base_low)


@activation(
    formula="x - tanh(x)",
    source="PyTorch, torch.nn.Tanhshrink",
    aliases=("tanh_shrink",),
    plain="x - np.tanh(x)",
    plain_backward="dy * np.tanh(x) ** 2",
)
def tanhshrink(x: Value) -> Value:
    """Tanh shrinkage: x - tanh(x)."""
    a = abs(x)
    if by_dtype(True, False):
        near = a < 11 / 8
        square, base = square_and_divisor(3.0, TANHSHRINK_DIVISOR_FLOAT32, a, near)
        cubic = finite_times_pair(a, quotient(square, base))
        # (a - 1) + 2 / (1 + e^2a): the difference is exact
        far = fma(2.0, 1.0 / base.high, a - 1.0)
        return with_sign(where(near, cubic, far), x)
    third, third_low = split("0.333333333333333333333333333333333333333333333333333")
    square = two_product(a, a)
    cube, cube_low = scale(a, square)
    series = fma(square.high, polynomial(square.high, TANHSHRINK_FLOAT64), third_low)
    near = fma(cube, third, fma(cube, series, cube_low * third))
    # (a - 1) + 2e / (1 + e), e = e^-2a: the difference is exact
    e = exp_value(-2.0 * clamp_high(a, 25.0))
    return copysign(where(a <= 1, near, (a - 1.0) + divide_by_one_plus(e + e, e)), x)


@tanhshrink.derivative
def tanhshrink_derivative(x: Value) -> Value:
    a = abs(x)
    if to_last_digit():
        near = a < 21 / 16
        square, base = square_and_divisor(1.0, TANH_SQUARED_DIVISOR_FLOAT32, a, near)
        r = 2.0 * (1.0 / base.high)  # 1 - tanh(a)
        return where(near, divide(square, base), fma(-r, 2.0 - r, 1.0))
    t = tanh_of_size(a)
    return total(multiply(t, t))


@activation(
    formula="x tanh(x)",
    source="Roy et al. 2019, arXiv:1901.05894",
    plain="x * np.tanh(x)",
    plain_backward="dy * ((t := np.tanh(x)) + x * (1 - t * t))",
)
def lisht(x: Value) -> Value:
    """Linearly scaled hyperbolic tangent."""
    a = abs(x)
    # a times a pair, for a single number would be rounded twice
    if to_last_digit():
        square = a * a
        t = fma_exact(a * square, horner(square, LISHT_FLOAT32), a)
        bounded = clamp_high(a, 25.0)  # where tanh(a) has long been 1
        far = fma(-bounded, 2.0 / one_plus_exp_of_double(bounded), a)
        return where(a < 25 / 32, finite_times_pair(a, t), far)
    # tanh(a) = m / (1 - m)
    m = fast_two_sum(*half_of_one_minus_exp_pair(clamp_high(a, 25.0), None))
    high, low = quotient(m, one_plus(Pair(-m.high, -m.low)))
    return where(a > 25, a, fma(a, high, a * low))


@lisht.derivative
def lisht_derivative(x: Value) -> Value:
    a = clamp_high(abs(x), 25.0)
    if to_last_digit():
        square = a * a
        near = fma(a * square, horner(square, LISHT_SLOPE_FLOAT32), a + a)
        # tanh(a) + a (1 - tanh(a)^2) = 1 - r (1 - 2a + a r), r = 1 - tanh(a)
        r = 2.0 / one_plus_exp_of_double(a)
        far = fma(-r, fma(a, r, 1.0 - (a + a)), 1.0)
        return with_sign(where(a < 17 / 32, near, far), x)
    high, low = tanh_of_size(a)
    sech_squared = fma(-2.0 * high, low, fma(-high, high, 1.0))
    return copysign(high + fma(a, sech_squared, low), x)
