"""Activations and initialisations: which pairs learn, and which do not.

    python examples/activations_and_initialisation.py

Four blobs of points, two classes, opposite corners alike: no straight line separates
them, so a network has to use its hidden layers. The same small network learns them with
several activations, each from four kinds of first weights. What one sees:

- Too small: each layer shrinks the signal and the gradient until nothing arrives. The
  loss stays at log 2, that of a coin, with every activation.
- Glorot: the variance is right for the identity. Activations shrink the signal, so all
  of them start late, and sigmoid does not start at all.
- He, with the exact gain of the activation (`fastact.gain`): they learn at once. Only
  sigmoid does not: most of its mean square is its mean, which tells nothing, and a gain
  that takes it for signal is too small.
- Too large: the network is sure of itself before it knows anything. It soon gets the
  points right that it is shown, by heart; on others, whose loss is the one drawn, it is
  left to luck (try another --seed). For sigmoid it is the best of the four.

It needs matplotlib.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from common import Network, four_blobs, parse, save

import fastact as fa

ACTIVATIONS = ("relu", "tanh", "gelu", "silu", "sigmoid")
WIDTHS = (2, 32, 32, 32, 1)
LEARNING_RATE = 0.05
SHOWN_EVERY = 4  # steps

# From random numbers, the shape of a weight and the activation that its inputs have come
# through, the weight.
INITIALISATIONS = {
    "too small (std 0.01)": lambda rng, shape, _: fa.init.normal(shape, 0.01, rng=rng),
    "Glorot": lambda rng, shape, _: fa.init.glorot_normal(shape, rng=rng),
    "He, exact gain": lambda rng, shape, activation: fa.init.he_normal(
        shape, activation=activation, rng=rng
    ),
    "too large (std 1.5)": lambda rng, shape, _: fa.init.normal(shape, 1.5, rng=rng),
}


def held_out_losses(activation, initialisation, steps, seed):
    """Train one network; its losses on points that it never sees."""
    rng = np.random.default_rng(seed)
    x, labels = four_blobs(rng)
    held_out = four_blobs(rng)
    initialise = INITIALISATIONS[initialisation]
    network = Network(WIDTHS, activation, partial(initialise, rng))
    losses = []
    for step in range(steps):
        if step % SHOWN_EVERY == 0:
            losses.append(network.loss(*held_out))
        network.descend(x, labels, LEARNING_RATE)
    return [*losses, network.loss(*held_out)]


def draw(losses, steps):
    """One panel for each activation, one curve for each initialisation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.6), layout="constrained")
    panels = figure.subplots(1, len(ACTIVATIONS), sharex=True, sharey=True)
    for panel, activation in zip(panels, ACTIVATIONS, strict=True):
        # Curves that lie on each other show all the same: the first ones are thick.
        for name, width in zip(INITIALISATIONS, (5, 3.5, 2, 2), strict=True):
            curve = losses[activation, name]
            x = np.linspace(0, steps, len(curve))
            panel.semilogy(x, curve, linewidth=width, label=name)
        panel.set(title=f"{activation}, gain {fa.gain(activation):.3f}", xlabel="step")
    panels[0].set(ylabel="held-out loss", ylim=(0.01, 20))
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(INITIALISATIONS),
        frameon=False,
    )
    return figure


def main(argv=None):
    """The command line; returns the held-out losses at the end."""
    options = parse(argv, __doc__, steps=400)
    losses = {
        (activation, name): held_out_losses(
            activation, name, options.steps, options.seed
        )
        for activation in ACTIVATIONS
        for name in INITIALISATIONS
    }
    print(f"held-out loss after {options.steps} steps (a coin: {np.log(2):.3f})\n")
    print(f"{'':8}" + "".join(f"{name:>22}" for name in INITIALISATIONS))
    for activation in ACTIVATIONS:
        row = (losses[activation, name][-1] for name in INITIALISATIONS)
        print(f"{activation:8}" + "".join(f"{loss:22.3f}" for loss in row))
    print()
    save(draw(losses, options.steps), options.output, "activations_and_initialisation")
    return {pair: curve[-1] for pair, curve in losses.items()}


if __name__ == "__main__":
    main()
