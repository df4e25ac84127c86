"""What the examples share: a network in plain NumPy, a problem, the command line."""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

import fastact as fa


class Network:
    """Fully connected layers with the same activation after each but the last.

    Parameters
    ----------
    widths : sequence of int
        Numbers of inputs, of the units of each hidden layer, and of outputs.
    activation : str or callable
        A name, or one of fastact's functions, or what `fastact.get` returns.
    initialise : callable
        Gives the first weight of a layer from its shape, (inputs, outputs), and from the
        activation that its inputs have come through.
    """

    def __init__(self, widths, activation, initialise):
        self.activation = (
            fa.get(activation) if isinstance(activation, str) else activation
        )
        # The first layer takes the data as they are.
        through = ["identity"] + [self.activation] * (len(widths) - 2)
        self.weights = list(map(initialise, pairwise(widths), through))
        self.biases = [np.zeros(width, np.float32) for width in widths[1:]]

    def forward(self, x):
        """What each layer gives before the activation; the last is the output."""
        self.inputs, self.before = [x], []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            if self.before:
                self.inputs.append(self.activation(self.before[-1]))
            self.before.append(self.inputs[-1] @ weight + bias)
        return self.before[-1]

    def backward(self, gradient):
        """Go back from the gradient of the output, after `forward`.

        Returns the gradients of the weights, the biases and the values before the
        activations, each a list with one array for each layer.
        """
        gradients = [gradient]
        for i in reversed(range(1, len(self.weights))):
            gradient = gradients[0] @ self.weights[i].T  # of this layer's input
            gradients.insert(0, self.activation.backward(gradient, self.before[i - 1]))
        of_weights = [x.T @ g for x, g in zip(self.inputs, gradients, strict=True)]
        of_biases = [g.sum(axis=0) for g in gradients]
        return of_weights, of_biases, gradients

    def loss(self, x, labels):
        """Mean of -log(probability of the right class), of two classes 0 and 1."""
        logits = self.forward(x)  # the probability of class 1 is sigmoid(logit)
        return float(np.mean(fa.softplus(logits) - labels * logits))

    def descend(self, x, labels, rate):
        """One step of gradient descent; returns the loss before it."""
        loss = self.loss(x, labels)
        gradient = (fa.sigmoid(self.before[-1]) - labels) / len(x)  # of the logits
        of_weights, of_biases, _ = self.backward(gradient)
        for values, slopes in ((self.weights, of_weights), (self.biases, of_biases)):
            for value, slope in zip(values, slopes, strict=True):
                value -= rate * slope
        return loss


def four_blobs(rng, count=400):
    """Points around the corners of a square; opposite corners are of one class (XOR)."""
    corner = rng.choice(np.float32([-1, 1]), (count, 2))
    labels = (corner[:, :1] * corner[:, 1:] > 0).astype(np.float32)
    return corner + np.float32(0.35) * rng.standard_normal(
        (count, 2), np.float32
    ), labels


def parse(argv, description, *, picture=True, **counts):
    """The command line of an example: a seed, how many of what, a folder for a picture."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    for unit, default in counts.items():
        parser.add_argument(
            f"--{unit}",
            type=int,
            default=default,
            metavar="N",
            help="default: %(default)s",
        )
    if picture:
        parser.add_argument(
            "--output",
            type=Path,
            default=Path("results"),
            metavar="FOLDER",
            help="where the picture goes (default: %(default)s)",
        )
    options = parser.parse_args(argv)
    for unit in counts:
        if getattr(options, unit) < 1:
            parser.error(f"--{unit} must be at least 1")
    return options


def save(figure, folder, name):
    """Write a picture, with the look that all of them share, and say where it is."""
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=150)
    print(f"picture: {path}")
