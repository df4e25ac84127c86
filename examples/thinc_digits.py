"""Train a thinc model on handwritten digits, with thinc's activations and fastact's.

    python examples/thinc_digits.py

The model is plain thinc: two hidden layers and a softmax. It is made twice from the same
seed, once under `use_ops("numpy")` and once under `use_ops("fastact")`; nothing else
differs. The two take turns, an epoch each.

What one sees: the same accuracy, and less time. How much less depends on the share of the
activations, which is large here because the layers have few inputs.

It needs thinc and scikit-learn (whose bundled scans are the data).
"""

from __future__ import annotations

from statistics import median
from time import perf_counter

import numpy as np
from common import parse
from digits import load_data
from thinc.api import Adam, Gelu, Mish, Softmax, chain, fix_random_seed, use_ops

# Where fastact is installed thinc finds the backend without this line.
import fastact.integrations.thinc  # noqa: F401

WIDTH = 512
BATCH = 128


def make_model(ops, seed, x, y):
    """A thinc model that belongs to a backend."""
    fix_random_seed(seed)
    with use_ops(ops):
        model = chain(Mish(WIDTH), Gelu(WIDTH // 4), Softmax())
        model.initialize(X=x[:BATCH], Y=y[:BATCH])
    return model


def train_epoch(model, optimizer, x, y):
    """One pass over the images, in thinc's way."""
    for images, truth in model.ops.multibatch(BATCH, x, y, shuffle=True):
        probabilities, backprop = model.begin_update(images)
        backprop((probabilities - truth) / len(images))
        model.finish_update(optimizer)


def train(epochs, seed):
    """The models, and the seconds of every epoch, by backend."""
    x, labels, _, _ = load_data()
    y = np.eye(10, dtype=np.float32)[labels]
    models = {ops: make_model(ops, seed, x, y) for ops in ("numpy", "fastact")}
    optimizers = {ops: Adam(0.002) for ops in models}
    seconds = {ops: [] for ops in models}
    for epoch in range(epochs):
        for ops, model in models.items():
            fix_random_seed(seed + epoch)  # of the order of the images
            start = perf_counter()
            train_epoch(model, optimizers[ops], x, y)
            seconds[ops].append(perf_counter() - start)
    return models, seconds


def main(argv=None):
    """The command line; returns accuracies and the seconds of an epoch, by backend."""
    options = parse(argv, __doc__, picture=False, epochs=10)

    models, seconds = train(options.epochs, options.seed)
    _, _, x, labels = load_data()
    results = {}
    print(f"{'':8} {'accuracy':>10} {'ms per epoch':>14}")
    for ops, model in models.items():
        accuracy = float(np.mean(model.predict(x).argmax(axis=1) == labels))
        results[ops] = accuracy, median(seconds[ops])
        print(f"{ops:8} {accuracy:10.1%} {1000 * results[ops][1]:14.1f}")
    return results


if __name__ == "__main__":
    main()
