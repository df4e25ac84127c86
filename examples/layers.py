"""A trainer of layers on handwritten digits, with `fa.Activation` objects.

    python examples/layers.py

Each activation is an object that remembers what its gradient needs, so that the network is
a list of layers, gone through forward and then backward. The first activation, prelu, has
a slope for each unit and learns them with the weights; the second, mish, keeps its
derivative instead of its input. Both use their arrays again from step to step.

What one sees: the loss goes down, and the slopes spread around the 0.25 where they start.
In the end `state_dict` takes them to a new object, which recognises the digits with them.

It needs scikit-learn (whose bundled scans are the data).
"""

from __future__ import annotations

import numpy as np
from common import parse
from digits import load_data

import fastact as fa

BATCH = 64
LEARNING_RATE = 0.3


class Linear:
    """x W + b, with the methods of an `fa.Activation`."""

    def __init__(self, inputs, outputs, activation, rng):
        shape = (inputs, outputs)
        weight = fa.init.he_normal(shape, activation=activation, rng=rng)
        self.parameters = {"weight": weight, "bias": np.zeros(outputs, np.float32)}
        self.gradients = {}

    def __call__(self, x, save="input"):
        self.x = x if save else None
        return x @ self.parameters["weight"] + self.parameters["bias"]

    def backward(self, dy):
        self.gradients = {"weight": self.x.T @ dy, "bias": dy.sum(axis=0)}
        return dy @ self.parameters["weight"].T


def make_layers(rng):
    """Pixels, two hidden layers of 128 and 64 units, ten digits."""
    slopes = np.full(128, 0.25, np.float32)
    return [
        Linear(64, 128, "identity", rng),
        fa.Activation("prelu", weight=slopes, learn=True, reuse_buffers=True),
        Linear(128, 64, fa.get("prelu", weight=0.25), rng),
        fa.Activation("mish", save="derivative", reuse_buffers=True),
        Linear(64, 10, "mish", rng),
    ]


def train_batch(layers, x, labels):
    """One step of gradient descent; returns the cross-entropy before it."""
    for layer in layers:
        x = layer(x)
    loss = fa.softmax_cross_entropy(x, labels)
    gradient = fa.softmax_cross_entropy_backward(1.0, x, labels)
    for layer in reversed(layers):
        gradient = layer.backward(gradient)
    for layer in layers:
        for name, slope in layer.gradients.items():
            layer.parameters[name] -= LEARNING_RATE * slope
    return float(loss)


def accuracy(layers, x, labels):
    """Share of the images whose digit is recognised; nothing is kept for gradients."""
    for layer in layers:
        x = layer(x, save=None)
    return float(np.mean(x.argmax(axis=1) == labels))


def main(argv=None):
    """The command line; returns the losses, the accuracy and the slopes."""
    options = parse(argv, __doc__, picture=False, epochs=15)

    rng = np.random.default_rng(options.seed)
    train_x, train_y, test_x, test_y = load_data()
    layers = make_layers(rng)
    losses = []
    for epoch in range(options.epochs):
        order = rng.permutation(len(train_x))
        batches = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        losses.append(
            np.mean([train_batch(layers, train_x[b], train_y[b]) for b in batches])
        )
        print(f"epoch {epoch + 1:2}: loss {losses[-1]:.4f}")

    slopes = layers[1].state_dict()
    again = fa.Activation("prelu", weight=np.zeros(128))
    again.load_state_dict(slopes)
    layers[1] = again
    share = accuracy(layers, test_x, test_y)
    low, high = slopes["weight"].min(), slopes["weight"].max()
    print(f"accuracy {share:.1%}; slopes from {low:.3f} to {high:.3f}")
    return losses, share, slopes["weight"]


if __name__ == "__main__":
    main()
