"""Functions of two arrays: an activated gate times a value; and concatenated relu.

The activated array always comes first. `packed_gate` says which half of a packed array
is the activated one, as in the function's origin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..elementary import chain
from ..entry import Activation, Fused, fused
from ..language import Real, Value, clamp_high, clamp_low, nan_from, where
from ..logistic import logistic_and_slope, silu_and_slope
from .normal import gelu
from .piecewise import identity, relu
from .self_gated import gelu_tanh, silu, swish
from .sigmoidal import sigmoid

SHAZEER = "Shazeer 2020, arXiv:2002.05202"


def gate_with(
    activation: Activation,
    name: str,
    summary: str,
    *,
    formula: str,
    plain: str,
    plain_backward: str,
    with_slope: Callable[[Value], tuple[Value, Value]] | None = None,
    source: str = SHAZEER,
    packed_gate: str = "first",
    kinks: Mapping[str, str] | None = None,
    notes: str = "",
) -> Fused:
    """Enter the gate that multiplies a value by an activation of the gate.

    `with_slope` computes the activation and its derivative, where these have much in
    common; not to the same last bits as the activation by itself.
    """

    def forward(gate: Value, value: Value) -> Value:
        return activation(gate) * value

    def both(gate: Value) -> tuple[Value, Value]:
        assert activation.derivative_formula is not None
        return activation(gate), activation.derivative_formula(gate)

    def gradient(dy: Value, gate: Value, value: Value) -> tuple[Value, Value]:
        activated, slope = (with_slope or both)(gate)
        return chain(dy, value * slope), chain(dy, activated)

    forward.__name__, forward.__doc__ = name, summary
    entry = fused(
        arrays=2,
        formula=formula,
        source=source,
        plain=plain,
        plain_backward=plain_backward,
        packed_gate=packed_gate,
        kinks=kinks,
        notes=notes,
    )(forward)
    entry.gradient(gradient)
    return entry


gate_with(
    identity,
    "bilinear",
    "Bilinear gate: a product.",
    formula="gate value",
    plain="gate * value",
    plain_backward="dy * value, dy * gate",
)
gate_with(
    sigmoid,
    "glu",
    "Gated linear unit.",
    with_slope=logistic_and_slope,
    formula="sigmoid(gate) value",
    source="Dauphin et al. 2016, arXiv:1612.08083",
    packed_gate="second",
    plain="value / (1 + np.exp(-gate))",
    plain_backward="(dy * value * (s := 1 / (1 + np.exp(-gate))) * (1 - s), dy * s)",
)
gate_with(
    relu,
    "reglu",
    "Gate with relu.",
    formula="max(gate, 0) value",
    kinks={"gate = 0": "0"},
    plain="np.maximum(gate, 0) * value",
    plain_backward="dy * value * (gate > 0), dy * np.maximum(gate, 0)",
)
gate_with(
    silu,
    "swiglu",
    "Gate with silu.",
    with_slope=silu_and_slope,
    formula="silu(gate) value",
    plain="gate / (1 + np.exp(-gate)) * value",
    plain_backward="(dy * value * (s := 1 / (1 + np.exp(-gate)))"
    " * (1 + gate * (1 - s)), dy * gate * s)",
)
gate_with(
    gelu,
    "geglu",
    "Gate with gelu.",
    formula="gelu(gate) value",
    plain="0.5 * gate * (1 + erf(gate / 2**0.5)) * value",
    plain_backward="(dy * value * ((p := 0.5 * (1 + erf(gate / 2**0.5)))"
    " + gate * np.exp(-0.5 * gate * gate) * 0.3989422804014327), dy * gate * p)",
    notes="With the exact gelu; implementations with the tanh form are geglu_tanh.",
)
gate_with(
    gelu_tanh,
    "geglu_tanh",
    "Gate with gelu_tanh.",
    formula="gelu_tanh(gate) value",
    plain="0.5 * gate * (1 + np.tanh("
    "0.7978845608028654 * (gate + 0.044715 * gate * gate * gate))) * value",
    plain_backward="(dy * value * 0.5 * (1 + (t := np.tanh("
    "0.7978845608028654 * (gate + 0.044715 * gate * gate * gate)))"
    " + gate * (1 - t * t) * 0.7978845608028654 * (1 + 0.134145 * gate * gate)),"
    " dy * 0.5 * gate * (1 + t))",
)


@fused(
    arrays=2,
    formula="swish(min(gate, limit), alpha) (clip(value, -limit, limit) + 1)",
    source="OpenAI 2025, gpt-oss model card, arXiv:2508.10925",
    packed_gate="first",
    kinks={"gate = limit": "0", "value = -limit": "0", "value = limit": "0"},
    requires={"limit": "> 0"},
    plain="(g := np.minimum(gate, limit)) / (1 + np.exp(-alpha * g))"
    " * (np.clip(value, -limit, limit) + 1)",
    plain_backward="(dy * (np.clip(value, -limit, limit) + 1) * (gate < limit)"
    " * (s := 1 / (1 + np.exp(-alpha * (g := np.minimum(gate, limit)))))"
    " * (1 + alpha * g * (1 - s)), dy * g * s * (np.abs(value) < limit))",
    notes="gpt-oss packs it interleaved: swiglu_oai_packed(x, interleaved=True).",
)
def swiglu_oai(
    gate: Value, value: Value, limit: Real = 7.0, alpha: Real = 1.702
) -> Value:
    """Gate with swish, both sides clipped."""
    return swish(clamp_high(gate, limit), alpha) * oai_factor(value, limit)


def oai_factor(value: Value, limit: Real) -> Value:
    """What the swish is multiplied by."""
    return clamp_low(clamp_high(value, limit), -limit) + 1.0


@swiglu_oai.gradient
def swiglu_oai_gradient(
    dy: Value, gate: Value, value: Value, limit: Real, alpha: Real
) -> tuple[Value, Value]:
    clipped = clamp_high(gate, limit)
    assert swish.derivative_formula is not None
    slope = where(gate < limit, swish.derivative_formula(clipped, alpha), 0.0)
    by_gate = nan_from(gate, slope) * oai_factor(value, limit)
    inside = nan_from(value, where(abs(value) < limit, 1.0, 0.0))
    return chain(dy, by_gate), chain(dy, swish(clipped, alpha) * inside)


@fused(
    arrays=1,
    results=("positive", "negative"),
    formula="(max(x, 0), max(-x, 0))",
    source="Shang et al. 2016, arXiv:1603.05201",
    kinks={"x = 0": "0"},
    plain="np.maximum(x, 0), np.maximum(-x, 0)",
    plain_backward="dpositive * (x > 0) - dnegative * (x < 0)",
    notes="crelu joins the two results along an axis.",
    errors="Exact.",
)
def crelu_parts(x: Value) -> tuple[Value, Value]:
    """The two halves of concatenated relu."""
    return relu(x), relu(-x)


@crelu_parts.gradient
def crelu_parts_gradient(
    dpositive: Value, dnegative: Value, x: Value
) -> tuple[Value, ...]:
    inside = where(x > 0, dpositive, where(x < 0, -dnegative, 0.0))
    return (nan_from(x, inside),)
