"""Every activation on handwritten digits: loss and accuracy curves, and a table.

    python examples/compare_all.py

The same small network, three hidden layers of 64 units, is trained with every
elementwise activation that needs no parameter, from weights of its own exact gain. Each
gets the learning rate, of four, that leaves it the least training loss, and three
seeds, over which curves and numbers are means.

What one sees: with first weights and a rate that fit, most activations reach the same
accuracy, within a percent or so (one image is 0.3 %). Those that stay behind do so for
reasons that one can name: step has no slope, and only the last layer learns;
thresholded_relu is 0 for most of its inputs; identity makes the network linear; what grows
like x^2 or exp(x) needs a small rate or diverges; and of sigmoid and its like the slope is
small and the mean is not 0, which a deep network unlearns slowly.

One task, one network of one size: no ranking of activations. It needs scikit-learn (whose
bundled scans are the data) and matplotlib.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from common import Network, parse, save
from digits import load_data

import fastact as fa
from fastact.formulas.entry import CATALOGUE

LAYERS = (64, 64, 64, 64, 10)  # pixels, hidden units, digits
BATCH = 64
MOMENTUM = 0.9
RATES = (0.003, 0.01, 0.03, 0.1)
SEEDS = 3
REFERENCE = "relu"  # drawn in every panel
COLUMNS = 6


def activations():
    """Those that one number is enough for, whatever the number."""
    return [
        name
        for name, entry in CATALOGUE.items()
        if np.isinf(entry.domain[0])
        and all(parameter.default is not None for parameter in entry.parameters)
    ]


class Run(NamedTuple):
    """What became of one activation: arrays of one number for each epoch."""

    rate: float
    losses: np.ndarray  # on the training images
    accuracies: np.ndarray  # on those held out


def train(name, rate, epochs, seed, data):
    """Losses and accuracies after each epoch; the rest are NaN if it diverges."""
    train_x, train_y, test_x, test_y = data
    rng = np.random.default_rng(seed)
    initialise = partial(fa.init.he_normal, rng=rng)
    network = Network(
        LAYERS, name, lambda s, through: initialise(s, activation=through)
    )
    values = [*network.weights, *network.biases]
    velocities = [np.zeros_like(value) for value in values]
    losses, accuracies = np.full((2, epochs), np.nan)
    with np.errstate(all="ignore"):  # of a rate that is too high
        for epoch in range(epochs):
            order = rng.permutation(len(train_x))
            total = 0.0
            for i in range(0, len(order), BATCH):
                x, labels = train_x[order[i : i + BATCH]], train_y[order[i : i + BATCH]]
                logits = network.forward(x)
                total += float(
                    fa.softmax_cross_entropy(logits, labels, reduction="sum")
                )
                gradient = fa.softmax_cross_entropy_backward(1.0, logits, labels)
                of_weights, of_biases, _ = network.backward(gradient)
                slopes = [*of_weights, *of_biases]
                for value, velocity, slope in zip(
                    values, velocities, slopes, strict=True
                ):
                    velocity *= MOMENTUM
                    velocity -= rate * slope
                    value += velocity
            if not np.isfinite(total):
                break
            losses[epoch] = total / len(train_x)
            accuracies[epoch] = np.mean(
                network.forward(test_x).argmax(axis=1) == test_y
            )
    return losses, accuracies


def best_run(name, epochs, seed, data):
    """The run at the rate with the least loss in the end, a mean over the seeds."""
    runs = []
    for rate in RATES:
        found = [train(name, rate, epochs, seed + i, data) for i in range(SEEDS)]
        losses, accuracies = np.mean(found, axis=0)
        runs.append(Run(rate, losses, accuracies))
    # NaN, a network that diverged, is never the least
    return min(runs, key=lambda run: np.nan_to_num(run.losses[-1], nan=np.inf))


def draw(runs):
    """A panel for each activation: loss on the left axis, accuracy on the right one."""
    from matplotlib.figure import Figure

    rows = -(-len(runs) // COLUMNS)
    figure = Figure(figsize=(13, 1.7 * rows), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, sharex=True, sharey=True).ravel()
    epochs = np.arange(1, len(runs[REFERENCE].losses) + 1)
    rights = []
    for axes, (name, run) in zip(grid, runs.items(), strict=False):
        right = axes.twinx()
        rights.append(right)
        for of, grey in ((runs[REFERENCE], "0.75"), (run, None)):
            axes.semilogy(epochs, of.losses, color=grey or "tab:blue", linewidth=1.8)
            right.plot(
                epochs,
                100 * of.accuracies,
                color=grey or "tab:orange",
                linewidth=1.8,
                linestyle="--",
            )
        right.set(ylim=(0, 105), yticks=(0, 50, 100))
        axes.set_title(name, fontsize="medium")
        axes.set(ylim=(3e-4, 10))
        last = len(rights) % COLUMNS == 0
        right.tick_params(labelright=last, length=3 if last else 0)
    for axes in grid[len(runs) :]:
        axes.set_visible(False)
    figure.supxlabel("epoch")
    figure.supylabel("training loss: blue, logarithmic", color="tab:blue")
    figure.suptitle(
        f"Accuracy on images held out, in %: orange, dashed, right. Grey: {REFERENCE}"
    )
    return figure


def table(runs):
    """Markdown: the best accuracy first."""
    lines = [
        "| activation | rate | loss | accuracy | epochs to 90 % |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]

    def accuracy(name):
        return np.nan_to_num(runs[name].accuracies[-1])

    for name in sorted(runs, key=lambda name: (-accuracy(name), name)):
        rate, losses, accuracies = runs[name]
        there = np.flatnonzero(accuracies >= 0.9)
        cells = (
            [f"{rate:g}", f"{losses[-1]:.4f}", f"{accuracies[-1]:.1%}"]
            if np.isfinite(losses[-1])
            else ["-", "diverges", "-"]
        )
        cells.append(str(there[0] + 1) if there.size else "-")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(argv=None):
    """The command line; returns a `Run` for each activation."""
    options = parse(argv, __doc__, epochs=20)
    data = load_data()
    runs = {
        name: best_run(name, options.epochs, options.seed, data)
        for name in activations()
    }
    text = table(runs)
    print(text)
    save(draw(runs), options.output, "compare_all")
    path = options.output / "compare_all.md"
    path.write_text(text)
    print(f"table: {path}")
    return runs


if __name__ == "__main__":
    main()
