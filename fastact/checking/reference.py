"""The textbook definition of every activation, in mpmath.

This is the independent truth of the accuracy tests. It shares nothing with
``fastact/formulas``: a definition is one line, and the truth of a derivative is
a difference of two values of that line, so no derivative is written by hand.
"""

from collections.abc import Callable, Sequence
from typing import Any

from mpmath import mp

Number = Any  # mpmath has no types; every Number here is an mp.mpf

# The bits a definition may lose to its own arithmetic. The largest loss among the
# results that a float64 can tell from 0 is that of exp at -745, about 11 bits.
LOST_BITS = 16
# The step of a difference, relative to the argument. Below 2**-53, so that no kink
# that is a float lies inside it, and small enough that its square, even divided by
# the 2**-108 to which a derivative sinks beside a double root, stays below 2**-70; and so
# does the square of its ratio to the 2**-53 between logit's pole and its neighbour.
STEP_BITS = 92
# What results are good for: relative bits, and bits below the smallest subnormal.
RELATIVE_BITS = 70
BITS_BELOW_FLOOR = 12


class _References(dict[str, Callable[..., Number]]):
    def __missing__(self, name: str) -> Callable[..., Number]:
        raise KeyError(
            f"no reference for {name!r}: add one line, its textbook definition, "
            "to REFERENCES in fastact/checking/reference.py"
        )


SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717
# exp and ncdf of anything smaller are 0 to a million bits, and take milliseconds.
CUT = mp.mpf(-(10**6))


def _cut(x: Number) -> Number:
    return max(x, CUT)


def _exp(x: Number) -> Number:
    """e^x; beyond any dtype's range its tangent, whose differences overflow as well."""
    bounded = min(_cut(x), -CUT)
    return mp.exp(bounded) * (1 + max(x - bounded, mp.zero))


def _softplus(x: Number) -> Number:
    return max(x, mp.zero) + mp.log1p(mp.exp(_cut(-abs(x))))


def _tanhshrink(x: Number) -> Number:
    # x^3 / 3 near 0: as many more bits as cancel
    with mp.workprec(mp.prec + 10 - 2 * min(mp.mag(x) if x else 0, 0)):
        return x - mp.tanh(x)


def _logcosh(x: Number) -> Number:
    if abs(x) < 1:
        return mp.log1p(2 * mp.sinh(x / 2) ** 2)
    return abs(x) - mp.ln2 + mp.log1p(mp.exp(_cut(-2 * abs(x))))


def _gelu_tanh_inner(x: Number) -> Number:
    return mp.sqrt(2 / mp.pi) * (x + mp.mpf(44715) / 10**6 * x**3)


def _dyt(x: Number, alpha: Number, gamma: Number, beta: Number) -> Number:
    z = alpha * x
    if abs(z) < 1:
        return gamma * mp.tanh(z) + beta
    # over a common denominator, because gamma = beta leaves e^-2|z| in one tail
    e = mp.exp(_cut(-2 * abs(z)))
    gamma = mp.sign(z) * gamma
    return (beta + gamma + (beta - gamma) * e) / (1 + e)


def _logit(x: Number) -> Number:
    if x < 0.25:
        return mp.log(x / (1 - x))
    return mp.log1p((2 * x - 1) / (1 - x))


# A definition takes (x, *params) as mp.mpf, x finite, and is written such that its
# relative error stays near the working precision everywhere: expm1, log1p, erfc
# instead of differences that cancel. Constants are built at the precision of the
# call (mp.mpf(44715) / 10**6): those made at import have 53 bits. Only selu's are
# float64 by definition, as PyTorch's are.
REFERENCES: dict[str, Callable[..., Number]] = _References(
    {
        "identity": lambda x: x,
        "step": lambda x: mp.mpf(x >= 0),
        "relu": lambda x: max(x, mp.zero),
        "leaky_relu": lambda x, negative_slope: x if x >= 0 else negative_slope * x,
        "prelu": lambda x, weight: x if x >= 0 else weight * x,
        "elu": lambda x, alpha: x if x >= 0 else alpha * mp.expm1(_cut(x)),
        "selu": lambda x: (
            SELU_SCALE * (x if x >= 0 else SELU_ALPHA * mp.expm1(_cut(x)))
        ),
        "sigmoid": lambda x: 1 / (1 + mp.exp(_cut(-x))),
        "logsigmoid": lambda x: -_softplus(-x),
        "tanh": lambda x: mp.tanh(x),
        "scaled_tanh": lambda x, alpha, beta: alpha * mp.tanh(beta * x),
        "softcap": lambda x, cap: cap * mp.tanh(x / cap),
        "dyt": _dyt,
        "logit": _logit,
        "softsign": lambda x: x / (1 + abs(x)),
        "softplus": lambda x, beta: _softplus(beta * x) / beta,
        "silu": lambda x: x / (1 + mp.exp(_cut(-x))),
        "swish": lambda x, beta: x / (1 + mp.exp(_cut(-beta * x))),
        "gelu": lambda x: x * mp.ncdf(_cut(x)),
        "ndtr": lambda x: mp.ncdf(_cut(x)),
        "erf": lambda x: mp.erf(x),
        "laplace": lambda x, mu, sigma: mp.ncdf(_cut((x - mu) / sigma)),
        "gaussian": lambda x: mp.exp(_cut(-x * x)),
        # (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)), which does not cancel
        "gelu_tanh": lambda x: x / (1 + mp.exp(_cut(-2 * _gelu_tanh_inner(x)))),
        "quick_gelu": lambda x: x / (1 + mp.exp(_cut(-mp.mpf(1702) / 1000 * x))),
        # tanh(e^30) is 1 to a million bits
        "telu": lambda x: x * mp.tanh(mp.exp(_cut(min(x, mp.mpf(30))))),
        # x + sqrt(x^2 + 1) = exp(asinh(x)), which does not cancel
        "squareplus": lambda x, b: (
            mp.sqrt(b) * mp.exp(mp.asinh(x / mp.sqrt(b))) / 2 if b else max(x, mp.zero)
        ),
        "dish": lambda x: x / (1 + mp.exp(-2 * mp.asinh(x))),
        "logcosh": _logcosh,
        "tanhshrink": _tanhshrink,
        "lisht": lambda x: x * mp.tanh(x),
        "snake": lambda x, a: x + mp.sin(a * x) ** 2 / a if a else x,
        "mish": lambda x: x * mp.tanh(_softplus(x)),
        "bilinear": lambda gate, value: gate * value,
        "glu": lambda gate, value: value / (1 + mp.exp(_cut(-gate))),
        "reglu": lambda gate, value: max(gate, mp.zero) * value,
        "swiglu": lambda gate, value: gate / (1 + mp.exp(_cut(-gate))) * value,
        "geglu": lambda gate, value: gate * mp.ncdf(_cut(gate)) * value,
        "geglu_tanh": lambda gate, value: (
            gate / (1 + mp.exp(_cut(-2 * _gelu_tanh_inner(gate)))) * value
        ),
        "swiglu_oai": lambda gate, value, limit, alpha: (
            min(gate, limit)
            / (1 + mp.exp(_cut(-alpha * min(gate, limit))))
            * (max(-limit, min(value, limit)) + 1)
        ),
        "hardswish": lambda x: x * min(max(x + 3, mp.zero), mp.mpf(6)) / 6,
        "relu6": lambda x: min(max(x, mp.zero), mp.mpf(6)),
        "threshold": lambda x, threshold, value: x if x > threshold else value,
        "thresholded_relu": lambda x, theta: x if x > theta else mp.zero,
        "hardtanh": lambda x, min_val, max_val: min(max(x, min_val), max_val),
        "clipped_linear": lambda x, slope, offset, min_val, max_val: min(
            max(mp.fdot([(slope, x), (offset, 1)]), min_val), max_val
        ),
        "hardsigmoid": lambda x: min(max(x + 3, mp.zero), mp.mpf(6)) / 6,
        "sparse_sigmoid": lambda x: min(max((x + 1) / 2, mp.zero), mp.one),
        "sparse_plus": lambda x: x if x >= 1 else max((x + 1) / 2, mp.zero) ** 2,
        "hardmish": lambda x: x / 2 * min(max(x + 2, mp.zero), mp.mpf(2)),
        "hardshrink": lambda x, lambd: x if abs(x) > lambd else mp.zero,
        "softshrink": lambda x, lambd: mp.sign(x) * max(abs(x) - lambd, mp.zero),
        "relu_squared": lambda x: max(x, mp.zero) ** 2,
        "star_relu": mp.extraprec(64)(
            lambda x, scale, bias: scale * max(x, mp.zero) ** 2 + bias
        ),
        "exp": _exp,
        "celu": lambda x, alpha: x if x >= 0 else alpha * mp.expm1(_cut(x / alpha)),
        "pelu": lambda x, a, b: a * (x / b if x >= 0 else mp.expm1(_cut(x / b))),
        "xielu": mp.extraprec(64)(
            lambda x, ap, an, beta, eps: (
                ap * x**2 + beta * x
                if x > 0
                else an * mp.expm1(_cut(min(x, eps))) + (beta - an) * x
            )
        ),
    }
)


def value(name: str, arguments: Sequence[float]) -> Number:
    """Return the activation's value, to `RELATIVE_BITS`.

    Parameters
    ----------
    name : str
        A key of `REFERENCES`.
    arguments : sequence of float
        x and the parameters.

    Returns
    -------
    mpmath.mpf
    """
    function = REFERENCES[name]
    with mp.workprec(RELATIVE_BITS + LOST_BITS + 10):
        return mp.mpf(function(*map(mp.mpf, arguments)))


def partial(name: str, arguments: Sequence[float], index: int, floor: int) -> Number:
    """Return a partial derivative, by a central difference at high precision.

    The precision grows until the result is good to `RELATIVE_BITS` (less the
    truncation error, see `STEP_BITS`) or to 2**(floor - `BITS_BELOW_FLOOR`), whichever
    is reached first: the derivative of sigmoid at 1e6 takes a million bits
    otherwise. At a kink the result means nothing.

    Parameters
    ----------
    name : str
        A key of `REFERENCES`.
    arguments : sequence of float
        x and the parameters.
    index : int
        Which argument to differentiate by: 0 is x, 1 the first parameter.
    floor : int
        log2 of the smallest magnitude of interest, usually of a subnormal.

    Returns
    -------
    mpmath.mpf
    """
    function = REFERENCES[name]
    below = [mp.mpf(argument) for argument in arguments]
    above = below.copy()
    middle = below[index]
    exponent = max(mp.mag(middle), floor) - STEP_BITS
    step = mp.ldexp(1, exponent)
    tolerance = floor - BITS_BELOW_FLOOR + exponent + 1
    bits = STEP_BITS + RELATIVE_BITS + LOST_BITS + 14
    while True:
        with mp.workprec(bits):
            below[index], above[index] = middle - step, middle + step
            low, high = function(*below), function(*above)
            difference = high - low
            error = max(mp.mag(low), mp.mag(high)) + LOST_BITS - bits
            if error <= max(mp.mag(difference) - RELATIVE_BITS, tolerance):
                return difference / (2 * step)
        bits *= 2
