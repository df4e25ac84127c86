"""An activation of one's own: written as a formula, measured, and its parameter learnt.

    python examples/custom_activation.py

`fa.activation` makes of a Python function a ufunc with derivatives and gradients, compiled
by Numba. The formula here is x tanh(e^(a x)): a smooth rectifier that is the steeper the
larger a is. The example prints what `fa.check` finds, the errors of the value and of both
derivatives against multiprecision arithmetic, and trains a network on four blobs of points
with it: once with a kept at 1, and once with an a for each hidden unit, which
`rectifier.parameter_backward` gives the gradient of.

What one sees: the formula as it stands holds its digits but for the surroundings of the
derivatives' roots, where sums cancel (the catalogue's own telu, the same with a = 1, has
them there, too). With parameters that learn the loss falls faster.

It needs Numba, mpmath and matplotlib.
"""

from __future__ import annotations

import numpy as np
from common import Network, four_blobs, parse, save

import fastact as fa

UNITS = 16
LEARNING_RATE = 0.5
CURVES = (0.25, 1.0, 4.0)


@fa.activation
def rectifier(x, a=1.0):
    """Smooth rectifier of adjustable steepness."""
    return x * np.tanh(np.exp(a * x))


class Adjustable:
    """The rectifier with parameters that learn from the gradients it passes on."""

    def __init__(self, a, rate):
        self.a, self.rate = a, rate

    def __call__(self, x):
        return rectifier(x, self.a)

    def backward(self, dy, x):
        """The gradient of x; the parameters take their step."""
        dx, da = rectifier.parameter_backward(dy, x, self.a)
        self.a -= np.float32(self.rate) * da
        return dx


def train(rate, steps, seed):
    """The losses before each step, and the parameters at the end."""
    rng = np.random.default_rng(seed)
    x, labels = four_blobs(rng)
    activation = Adjustable(np.ones(UNITS, np.float32), rate)
    network = Network(
        (2, UNITS, 1),
        activation,
        lambda shape, _: fa.init.he_normal(shape, activation=rectifier, rng=rng),
    )
    losses = [network.descend(x, labels, LEARNING_RATE) for _ in range(steps)]
    return np.array(losses), activation.a


def draw(results):
    """Left the function and its derivative for some parameters, right the losses."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    x = np.linspace(-4, 3, 400, dtype=np.float32)
    for i, a in enumerate(CURVES):
        y, slope = rectifier.with_derivative(x, a)
        left.plot(x, y, color=f"C{i}", label=f"a = {a:g}", linewidth=2)
        left.plot(x, slope, color=f"C{i}", linestyle=":", linewidth=1.5)
    left.set(title="x tanh(exp(a x)); dotted: its derivative", xlabel="x")
    left.legend(frameon=False)
    for label, (losses, _) in results.items():
        right.semilogy(losses, label=label, linewidth=2)
    right.set(title="loss", xlabel="step")
    right.legend(frameon=False)
    return figure


def main(argv=None):
    """The command line; returns the report and what was learnt."""
    options = parse(argv, __doc__, steps=300)
    report = fa.check(rectifier, points=200)
    print(report, end="\n\n")
    results = {
        "a = 1": train(0.0, options.steps, options.seed),
        "a learnt": train(LEARNING_RATE, options.steps, options.seed),
    }
    for label, (losses, a) in results.items():
        print(f"{label:10} loss {losses[-1]:.4f}, a from {a.min():.2f} to {a.max():.2f}")
    save(draw(results), options.output, "custom_activation")
    return report, results


if __name__ == "__main__":
    main()
