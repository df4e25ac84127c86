"""Train a network on handwritten digits, with gradients by autograd.

    python examples/autograd_digits.py

The loss is ordinary code on autograd's NumPy, of which `autograd.grad` makes the gradient.
It runs twice: with swish and the cross-entropy written out in NumPy's functions, which
autograd differentiates one by one, and with fastact's primitives, which bring their
derivatives along. Each unit has a beta of its own for swish, learnt with the weights.

What one sees: the same losses, in somewhat less time: matrix products and autograd's own
work remain. In the end both give the second derivatives of the loss by some of the betas,
too: fastact's are those of its formulas.

It needs autograd and scikit-learn (whose bundled scans are the data).
"""

from __future__ import annotations

from statistics import median
from time import perf_counter

import autograd.numpy as anp
import numpy as np
from autograd import grad, hessian
from common import parse
from digits import load_data

import fastact as fa
import fastact.integrations.autograd as fag

UNITS = 256
BATCH = 64
LEARNING_RATE = 0.2


def swish(x, beta):
    """x sigmoid(beta x), of NumPy's functions; exp would overflow."""
    return x * (0.5 + 0.5 * anp.tanh(0.5 * beta * x))


def softmax_cross_entropy(logits, labels):
    """The mean of -log(softmax) at the labels, of NumPy's functions."""
    shifted = logits - anp.max(logits, axis=1, keepdims=True)
    log_sums = anp.log(anp.sum(anp.exp(shifted), axis=1))
    return anp.mean(log_sums - shifted[anp.arange(len(labels)), labels])


IMPLEMENTATIONS = {
    "NumPy": (swish, softmax_cross_entropy),
    "fastact": (fag.swish, fag.softmax_cross_entropy),
}


def first_parameters(seed):
    """Weights and biases of two layers, and a beta for each hidden unit."""
    rng = np.random.default_rng(seed)
    return [
        fa.init.he_normal((64, UNITS), activation="identity", rng=rng),
        np.zeros(UNITS, np.float32),
        np.ones(UNITS, np.float32),
        fa.init.he_normal((UNITS, 10), activation="swish", rng=rng),
        np.zeros(10, np.float32),
    ]


def logits_of(activation, parameters, x):
    """What the network says of images."""
    w, b, beta, v, c = parameters
    return activation(x @ w + b, beta) @ v + c


def make_loss(activation, cross_entropy):
    """The loss as a function of the parameters, for autograd."""

    def loss(parameters, x, labels):
        return cross_entropy(logits_of(activation, parameters, x), labels)

    return loss


def train_epoch(gradient, parameters, x, labels, rng):
    """Gradient descent, every image once."""
    order = rng.permutation(len(x))
    for begin in range(0, len(x), BATCH):
        batch = order[begin : begin + BATCH]
        slopes = gradient(parameters, x[batch], labels[batch])
        for value, slope in zip(parameters, slopes, strict=True):
            value -= LEARNING_RATE * slope


def curvature(loss, parameters, x, labels, count=4):
    """Second derivatives of the loss by the betas of some units, in float64."""
    *before, beta, v, c = (value.astype(np.float64) for value in parameters)

    def of_some(some):
        return loss([*before, anp.concatenate([some, beta[count:]]), v, c], x, labels)

    return hessian(of_some)(beta[:count])


def main(argv=None):
    """The command line; returns losses, accuracies, times and curvatures."""
    options = parse(argv, __doc__, picture=False, epochs=10)

    train_x, train_y, test_x, test_y = load_data()
    losses = {name: make_loss(*found) for name, found in IMPLEMENTATIONS.items()}
    parameters = {name: first_parameters(options.seed) for name in losses}
    seconds = {name: [] for name in losses}
    for epoch in range(options.epochs):
        for name, loss in losses.items():
            rng = np.random.default_rng(epoch)
            start = perf_counter()
            train_epoch(grad(loss), parameters[name], train_x, train_y, rng)
            seconds[name].append(perf_counter() - start)

    results = {}
    print(f"{'':8} {'loss':>8} {'accuracy':>10} {'ms per epoch':>14}")
    for name, loss in losses.items():
        final = float(loss(parameters[name], train_x, train_y))
        said = logits_of(IMPLEMENTATIONS[name][0], parameters[name], test_x)
        accuracy = float(np.mean(said.argmax(axis=1) == test_y))
        time = 1000 * median(seconds[name])
        bent = curvature(loss, parameters["fastact"], test_x, test_y)
        results[name] = final, accuracy, bent
        print(f"{name:8} {final:8.4f} {accuracy:10.1%} {time:14.1f}")
    beta = parameters["fastact"][2]
    print(f"betas from {beta.min():.2f} to {beta.max():.2f}")
    return results


if __name__ == "__main__":
    main()
