"""Vanishing and exploding gradients: signal and gradient through thirty layers.

    python examples/vanishing_and_exploding_gradients.py

Each layer multiplies the size of the signal, on the way to the output, and that of the
gradient, on the way back. Factors other than 1 pile up: half the gain thirty times is 1e-9,
twice the gain 1e9. What one sees, by layer, of a network that is not trained yet:

- Glorot is right for the identity; all activations but selu, whose gain is 1, shrink.
- The exact gain, 1 / sqrt(E f(z)^2), keeps the signal at 1, but for chance, a few per
  cent per layer. gelu does not forgive that: it passes on more where the signal is
  larger, so that the error grows from layer to layer (and is still the smallest by far).
- The gradient's factor is sqrt(E f'(z)^2 / E f(z)^2) per layer. It is exactly 1 for relu,
  a little more for tanh, gelu and selu, and 0.39 for sigmoid: no variance will save a
  deep network of sigmoids. (What is measured agrees, but for gelu, whose signal grew.)

It needs matplotlib.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from common import Network, parse, save

import fastact as fa

ACTIVATIONS = ("relu", "tanh", "gelu", "selu", "sigmoid")
WIDTH = 256  # of all layers
EXAMPLES = 128


def scaled(factor, rng, shape, activation):
    """He initialisation, but for this factor on the exact gain."""
    return np.float32(factor) * fa.init.he_normal(shape, activation=activation, rng=rng)


INITIALISATIONS = {
    "half the gain": partial(scaled, 0.5),
    "Glorot": lambda rng, shape, _: fa.init.glorot_normal(shape, rng=rng),
    "exact gain (He)": partial(scaled, 1.0),
    "twice the gain": partial(scaled, 2.0),
}


def sizes_by_layer(activation, initialisation, depth, seed):
    """Root mean squares of each layer's value, before the activation, and gradient."""
    rng = np.random.default_rng(seed)
    initialise = partial(INITIALISATIONS[initialisation], rng)
    network = Network([WIDTH] * (depth + 1), activation, initialise)
    network.forward(rng.standard_normal((EXAMPLES, WIDTH), np.float32))
    gradient = rng.standard_normal((EXAMPLES, WIDTH), np.float32)
    _, _, gradients = network.backward(gradient)
    return tuple(
        np.array([np.sqrt(np.mean(np.square(a, dtype=np.float64))) for a in arrays])
        for arrays in (network.before, gradients)
    )


def expected_factor(activation):
    """What a layer multiplies the gradient by, with the exact gain."""
    function = fa.get(activation)
    # The gain of the derivative is 1 / sqrt(E f'(z)^2).
    return fa.gain(function) / fa.gain(function.derivative)


def draw(sizes, depth):
    """Above, the signal by layer; below, the gradient; a column for each activation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.6), layout="constrained")
    panels = figure.subplots(2, len(ACTIVATIONS), sharex=True, sharey="row")
    layers = np.arange(1, depth + 1)
    for column, activation in zip(panels.T, ACTIVATIONS, strict=True):
        for name, width in zip(INITIALISATIONS, (2, 4, 2.5, 2), strict=True):
            for panel, size in zip(column, sizes[activation, name], strict=True):
                panel.semilogy(layers, size, linewidth=width, label=name)
        column[0].set(title=f"{activation}, gain {fa.gain(activation):.3f}")
        column[1].set(xlabel="layer")
    panels[0, 0].set(ylabel="signal (root mean square)")
    panels[1, 0].set(ylabel="gradient (root mean square)")
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(INITIALISATIONS),
        frameon=False,
    )
    return figure


def main(argv=None):
    """The command line; returns the sizes by layer of signals and gradients."""
    options = parse(argv, __doc__, layers=30)
    depth = options.layers
    sizes = {
        (activation, name): sizes_by_layer(activation, name, depth, options.seed)
        for activation in ACTIVATIONS
        for name in INITIALISATIONS
    }
    print(f"signal after {depth} layers, and its gradient back at the first\n")
    print(f"{'':8}" + "".join(f"{name:>20}" for name in INITIALISATIONS))
    for activation in ACTIVATIONS:
        rows = (sizes[activation, name] for name in INITIALISATIONS)
        cells = (f"{signal[-1]:.0e}, {gradient[0]:.0e}" for signal, gradient in rows)
        print(f"{activation:8}" + "".join(f"{cell:>20}" for cell in cells))
    print("\nfactor per layer of the gradient, exact gain: expected, measured\n")
    for activation in ACTIVATIONS:
        _, gradient = sizes[activation, "exact gain (He)"]
        measured = (gradient[0] / gradient[-1]) ** (1 / max(depth - 1, 1))
        print(f"{activation:8}{expected_factor(activation):8.3f}{measured:8.3f}")
    print()
    save(draw(sizes, depth), options.output, "vanishing_and_exploding_gradients")
    return sizes


if __name__ == "__main__":
    main()
