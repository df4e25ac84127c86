"""Train a small network on handwritten digits: plain NumPy against fastact.

    python examples/digits.py gelu

The same code trains the same network twice: once with the activation of
`fastact.plain`, the one-liner that one would write in NumPy, and once with fastact's.
It needs scikit-learn (whose bundled scans are the data), SciPy, matplotlib and rich.
"""

from __future__ import annotations

import argparse
import difflib
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

import fastact
import fastact.plain
from fastact.formulas.entry import CATALOGUE

LAYERS = (64, 2048, 128, 10)  # pixels, hidden units, digits
BATCH = 64
LEARNING_RATE = 0.02
MOMENTUM = 0.9
IMPLEMENTATIONS = {"NumPy": fastact.plain, "fastact": fastact}

# By default glibc hands freed memory back to the system at once, and asking for it anew
# can cost more than the activations. Freeing one large block makes it keep more, so that
# chance does not decide which network pays for this.
np.empty(30 * 2**20, np.uint8)


def load_data():
    """1797 scans of 8 x 8 pixels: (train_x, train_y, test_x, test_y), a fifth held out."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)  # pixels are 0 to 16
    order = np.random.default_rng(0).permutation(len(images))
    test, train = np.split(order, [len(order) // 5])
    return images[train], labels[train], images[test], labels[test]


class Network:
    """Fully connected layers, trained by gradient descent with momentum.

    Parameters
    ----------
    functions : module
        Where the activation and log_softmax come from: fastact or fastact.plain.
    activation : str
        Name of the activation of the hidden layers.
    seed : int
        For the first weights and the order of the batches.
    """

    def __init__(self, functions, activation, seed=0):
        self.forward = getattr(functions, activation)
        self.backward = getattr(functions, activation + "_backward")
        self.log_softmax = functions.log_softmax
        self.log_softmax_backward = functions.log_softmax_backward
        parameters = CATALOGUE[activation].parameters
        self.parameters = [0.25 for p in parameters if p.default is None]

        self.rng = np.random.default_rng(seed)
        self.layers = []
        for n, m in pairwise(LAYERS):
            weight = self.rng.normal(0, np.sqrt(2 / n), (n, m))  # He initialisation
            self.layers.append((weight.astype(np.float32), np.zeros(m, np.float32)))
        self.velocities = [tuple(map(np.zeros_like, layer)) for layer in self.layers]
        self.activation_seconds = 0.0

    def timed(self, function, *arguments):
        """Call one of the functions that are compared, and add up the time."""
        start = perf_counter()
        result = function(*arguments)
        self.activation_seconds += perf_counter() - start
        return result

    def logits(self, x):
        """The output for x, and each layer's input and the value it came from."""
        inputs, before = [x], [None]  # before[i] is inputs[i] before the activation
        for weight, bias in self.layers[:-1]:
            before.append(inputs[-1] @ weight + bias)
            inputs.append(self.timed(self.forward, before[-1], *self.parameters))
        weight, bias = self.layers[-1]
        return inputs[-1] @ weight + bias, inputs, before

    def train_batch(self, x, y):
        """One step of gradient descent; returns the cross-entropy before it."""
        logits, inputs, before = self.logits(x)
        log_probabilities = self.timed(self.log_softmax, logits)
        truth = np.eye(LAYERS[-1], dtype=np.float32)[y]
        loss = -np.sum(truth * log_probabilities) / len(x)

        # Back from the loss: the gradient of a layer's output gives those of its
        # weight and bias, and that of its input, the output of the layer before.
        gradient = self.timed(self.log_softmax_backward, -truth / len(x), logits)
        for i in reversed(range(len(self.layers))):
            slopes = (inputs[i].T @ gradient, gradient.sum(axis=0))
            if i > 0:
                gradient = gradient @ self.layers[i][0].T
                gradient = self.timed(
                    self.backward, gradient, before[i], *self.parameters
                )
            self.update(i, slopes)
        return float(loss)

    def update(self, i, slopes):
        """Move weight and bias of layer i downhill, with momentum."""
        for value, velocity, slope in zip(
            self.layers[i], self.velocities[i], slopes, strict=True
        ):
            velocity *= MOMENTUM
            velocity -= LEARNING_RATE * slope
            value += velocity

    def train_epoch(self, x, y):
        """Show every image once, in random order; returns the mean loss."""
        order = self.rng.permutation(len(x))
        batches = [order[i : i + BATCH] for i in range(0, len(x), BATCH)]
        return float(np.mean([self.train_batch(x[b], y[b]) for b in batches]))

    def accuracy(self, x, y):
        """Share of the images whose digit is recognised."""
        return float(np.mean(self.logits(x)[0].argmax(axis=1) == y))


def train(activation, epochs, seed):
    """Train one network per implementation, an epoch of each in turn."""
    from rich.progress import Progress

    train_x, train_y, _, _ = load_data()
    networks = {
        name: Network(functions, activation, seed)
        for name, functions in IMPLEMENTATIONS.items()
    }
    losses = {name: [] for name in networks}
    seconds = {name: [] for name in networks}
    with Progress() as progress:
        task = progress.add_task(f"training with {activation}", total=epochs)
        for epoch in range(epochs):
            # Whoever goes first changes, so that nobody always finds warm caches.
            for name in sorted(networks, reverse=epoch % 2 == 0):
                start = perf_counter()
                losses[name].append(networks[name].train_epoch(train_x, train_y))
                seconds[name].append(perf_counter() - start)
            progress.advance(task)
    return networks, losses, seconds


def draw(path, activation, losses, seconds):
    """Write a picture of the losses: the same by epoch, not by time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    by_epoch, by_time = figure.subplots(1, 2, sharey=True)
    styles = {"NumPy": ("tab:orange", "-", 4), "fastact": ("tab:blue", "--", 2)}
    for name, (colour, line, width) in styles.items():
        look = {"color": colour, "linestyle": line, "linewidth": width, "label": name}
        by_epoch.semilogy(range(1, len(losses[name]) + 1), losses[name], **look)
        by_time.semilogy(np.cumsum(seconds[name]), losses[name], **look)
    by_epoch.set(xlabel="epoch", ylabel="training loss (cross-entropy)")
    by_epoch.xaxis.get_major_locator().set_params(integer=True)
    by_time.set(xlabel="seconds")
    for axes in (by_epoch, by_time):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.suptitle(f"Handwritten digits with {activation}: NumPy and fastact")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def activation_name(text):
    """Check a name from the command line; other systems' names are translated."""
    names = {
        name: entry.name
        for entry in CATALOGUE.values()
        for name in (entry.name, *entry.aliases)
    }
    if text not in names:
        near = difflib.get_close_matches(text.lower(), names) or sorted(CATALOGUE)
        raise argparse.ArgumentTypeError(
            f"no activation is called {text!r}; try {', '.join(near)}"
        )
    return names[text]


def main(argv=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Train a network on handwritten digits, with NumPy and with fastact."
    )
    parser.add_argument(
        "activation", nargs="?", default="gelu", type=activation_name, help="its name"
    )
    parser.add_argument("--epochs", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results"),
        metavar="FOLDER",
        help="where the picture goes (default: %(default)s)",
    )
    options = parser.parse_args(argv)
    if options.epochs < 1:
        parser.error("--epochs must be at least 1")

    networks, losses, seconds = train(options.activation, options.epochs, options.seed)

    _, _, test_x, test_y = load_data()
    print(f"{'':8} {'accuracy':>10} {'ms per epoch':>14} {'in activations':>16}")
    for name, network in networks.items():
        share = network.activation_seconds / sum(seconds[name])
        accuracy = network.accuracy(test_x, test_y)
        epoch = median(seconds[name])
        print(f"{name:8} {accuracy:10.1%} {1000 * epoch:14.1f} {share:16.0%}")

    picture = options.output / f"digits-{options.activation}.png"
    draw(picture, options.activation, losses, seconds)
    print(f"loss curves: {picture}")


if __name__ == "__main__":
    main()
