"""An activation of one's own: written as a formula, measured, and its parameter learnt.

    python examples/custom_activation.py

`fa.activation` makes of a Python function a ufunc with derivatives and gradients, compiled
by Numba. The formula here is x tanh(e^(a x)): a smooth rectifier that is the steeper the
larger a is. The example prints what `fa.check` finds, the errors of the value and of both
derivatives against multiprecision arithmetic. Then it makes noisy points on the curve of
some a, and finds that a by gradient descent, from several others:
`rectifier.parameter_backward` gives the gradient, summed over all points.

What one sees: the formula as it stands loses digits where e^(a x) is a subnormal number,
around the root of the derivative, where a sum cancels, and in the derivative by a where
tanh is nearly 1. For training none of this matters; for the catalogue's own telu, the same
with a = 1, it is made up for. Descent finds the a of the points, whatever the start; from
large a it takes long, because there the curve hardly changes with it any more.

It needs Numba, mpmath and matplotlib.
"""

from __future__ import annotations

import numpy as np
from common import parse, save

import fastact as fa

POINTS = 2000
NOISE = 0.05
TEACHER = 1.5
STARTS = (0.5, 1.0, 3.0)
LEARNING_RATE = 2.0


@fa.activation
def rectifier(x, a=1.0):
    """Smooth rectifier of adjustable steepness."""
    return x * np.tanh(np.exp(a * x))


def make_points(seed):
    """Points around the teacher's curve."""
    rng = np.random.default_rng(seed)
    x = 2 * rng.standard_normal(POINTS, np.float32)
    noise = np.float32(NOISE) * rng.standard_normal(POINTS, np.float32)
    return x, rectifier(x, TEACHER) + noise


def learn(x, y, a, steps):
    """The parameter before each step of gradient descent on the mean squared error."""
    history = []
    for _ in range(steps):
        history.append(a)
        difference = rectifier(x, a) - y
        _, gradient = rectifier.parameter_backward(2 * difference / len(x), x, a)
        a -= LEARNING_RATE * float(gradient)
    return history


def draw(x, y, histories):
    """Left the points and curves, dotted their derivatives; right the parameters."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.scatter(x, y, s=2, color="0.75")
    grid = np.linspace(-4, 3, 400, dtype=np.float32)
    for i, history in enumerate(histories.values()):
        value, slope = rectifier.with_derivative(grid, history[0])
        left.plot(grid, value, f"C{i}", label=f"a = {history[0]:g}", linewidth=2)
        left.plot(grid, slope, f"C{i}:", linewidth=1.5)
        right.plot(history, f"C{i}", linewidth=2)
    left.set(title="x tanh(exp(a x)), where a starts", xlabel="x", xlim=(-4, 3))
    left.set(ylim=(-1.6, 3.2))
    left.legend(frameon=False)
    right.axhline(TEACHER, color="0.4", linestyle=":")
    right.set(title="a (dotted: that of the points)", xlabel="step")
    return figure


def main(argv=None):
    """The command line; returns the report and how the parameters were learnt."""
    options = parse(argv, __doc__, steps=300)
    report = fa.check(rectifier, points=200)
    print(report, end="\n\n")
    x, y = make_points(options.seed)
    histories = {start: learn(x, y, start, options.steps) for start in STARTS}
    print(f"points with a = {TEACHER:g}")
    for start, history in histories.items():
        print(f"  from {start:<5g} learnt a = {history[-1]:.3f}")
    save(draw(x, y, histories), options.output, "custom_activation")
    return report, histories


if __name__ == "__main__":
    main()
