"""Dying relus: units that no example moves any more, and what helps.

    python examples/dying_relu.py

relu's derivative is 0 below 0. A unit that is below 0 for every example gets no gradient
and stays as it is: it is dead. Here, of one hidden layer of 64 units, those count as dead
whose derivative is below 0.001 for all examples. What one sees, on four blobs of points:

- Left, units start dead, because their biases are -3. relu's stay dead, and the few that
  are alive have to do it alone. The others have no dead units. elu, whose derivative is
  the largest there, learns after some wild steps; with a slope of 0.1, and with gelu, it
  takes long all the same: not to be dead is not yet to learn. The cure is a better start.
- Right, units die while the network learns, because the learning rate is ten times too
  high: one step too far, and there is no way back. The loss does not show it; the network
  has just become smaller than one thinks. The others' units survive, and so do relu's
  with a tenth of the rate.

It needs matplotlib.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from common import Network, four_blobs, parse, save

import fastact as fa

UNITS = 64
DEAD = 1e-3  # the largest derivative of a dead unit, over all examples
ACTIVATIONS = {
    "relu": fa.relu,
    "leaky_relu, slope 0.1": fa.get("leaky_relu", negative_slope=0.1),
    "elu": fa.elu,
    "gelu": fa.gelu,
}
# For each scenario where the biases start, and the learning rate; then a cure for relu.
SCENARIOS = {
    "biases start at -3": {"bias": -3, "rate": 1.0},
    "learning rate 5": {"bias": 0, "rate": 5.0},
}
CURES = {
    "biases start at -3": ("relu, biases at 0", {"bias": 0, "rate": 1.0}),
    "learning rate 5": ("relu, rate 0.5", {"bias": 0, "rate": 0.5}),
}


def dead_share(network):
    """The share of hidden units that are dead, after `forward` of all examples."""
    derivative = network.activation.derivative(network.before[0])
    return float(np.mean(np.abs(derivative).max(axis=0) < DEAD))


def train(activation, bias, rate, steps, seed):
    """The share of dead units, and the loss, before each step."""
    rng = np.random.default_rng(seed)
    x, labels = four_blobs(rng)
    initialise = partial(fa.init.he_normal, rng=rng)
    network = Network(
        (2, UNITS, 1), activation, lambda s, through: initialise(s, activation=through)
    )
    network.biases[0] += bias
    history = []
    for _ in range(steps):
        loss = network.descend(x, labels, rate)
        history.append((dead_share(network), loss))
    return np.array(history)


def draw(histories):
    """Above, the share of dead units; below, the loss; a column for each scenario."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    panels = figure.subplots(2, len(SCENARIOS), sharex=True, sharey="row")
    for column, scenario in zip(panels.T, SCENARIOS, strict=True):
        for name, history in histories[scenario].items():
            cure = name not in ACTIVATIONS
            look = {"color": "black", "linestyle": "--"} if cure else {}
            for panel, values in zip(column, history.T, strict=True):
                panel.plot(values, linewidth=2, label=name, **look)
        column[0].set(title=scenario)
        column[1].set(xlabel="step", yscale="log", ylim=(5e-3, 10))
        column[1].legend(frameon=False, fontsize="small", ncols=2)
    panels[0, 0].set(ylabel="share of dead units", ylim=(-0.03, 1))
    panels[1, 0].set(ylabel="training loss")
    return figure


def main(argv=None):
    """The command line; returns the share of dead units at the end."""
    options = parse(argv, __doc__, steps=300)
    histories = {}
    for scenario, setting in SCENARIOS.items():
        cure, cured_setting = CURES[scenario]
        runs = {name: (f, setting) for name, f in ACTIVATIONS.items()}
        runs[cure] = (fa.relu, cured_setting)
        histories[scenario] = {
            name: train(activation, **chosen, steps=options.steps, seed=options.seed)
            for name, (activation, chosen) in runs.items()
        }
    for scenario, runs in histories.items():
        print(f"{scenario:24}{'dead at first':>15}{'dead at last':>15}{'loss':>10}")
        for name, history in runs.items():
            (first, _), (last, loss) = history[0], history[-1]
            print(f"  {name:22}{first:15.0%}{last:15.0%}{loss:10.4f}")
        print()
    save(draw(histories), options.output, "dying_relu")
    return {
        (scenario, name): history[-1, 0]
        for scenario, runs in histories.items()
        for name, history in runs.items()
    }


if __name__ == "__main__":
    main()
