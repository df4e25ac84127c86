"""Train on data that are larger than memory, with dask on several worker processes.

    python examples/larger_than_memory.py

Scans of handwritten digits, shifted and with noise, make as many images as one likes: by
default 1.7 GB in 640 files, while the two workers may use 0.8 GB together (dask ends a
worker that uses more). No process ever holds more than a few of the files. Each step of
gradient descent takes the next of them: every worker computes the gradients of its own,
the sums of gradients are added up in a tree, and only those travel. What one sees: the
loss falls, and scans that no network was shown are recognised.

The same program runs on several machines: `Client("tcp://scheduler:8786")` instead of the
LocalCluster, and a folder that all of them can read. Each worker process has one thread,
for fastact too: there are as many processes as there are cores to work on.

It needs dask with distributed, scikit-learn (whose bundled scans are the data) and
matplotlib.
"""

from __future__ import annotations

import resource
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import dask
import dask.array as da
import numpy as np
from common import Network, parse, save
from dask.distributed import Client, LocalCluster
from digits import load_data

import fastact as fa

WIDTHS = (64, 128, 10)  # pixels, hidden units, digits
FILES_PER_STEP = 8
LEARNING_RATE = 1.0
MOMENTUM = 0.9
FAN_IN = 4  # how many sums one task of the tree adds up


def make_file(folder, number, count, images, labels, seed):
    """Write a file of scans, each shifted by up to a pixel, and with noise."""
    rng = np.random.default_rng((seed, number))
    chosen = rng.integers(len(images), size=count)
    canvas = np.pad(images.reshape(-1, 8, 8)[chosen], ((0, 0), (1, 1), (1, 1)))
    down, right = rng.integers(3, size=(2, count, 1, 1))
    image = np.arange(count)[:, np.newaxis, np.newaxis]
    row, column = np.arange(8)[:, np.newaxis], np.arange(8)
    shifted = canvas[image, row + down, column + right]
    shifted += np.float32(0.1) * rng.standard_normal(shifted.shape, np.float32)
    np.save(folder / f"images-{number}.npy", shifted.reshape(count, WIDTHS[0]))
    np.save(folder / f"labels-{number}.npy", labels[chosen])


def open_files(folder, count):
    """The images of each file and their labels, not loaded before they are needed."""
    load = dask.delayed(np.load)
    return [
        (load(folder / f"images-{i}.npy"), load(folder / f"labels-{i}.npy"))
        for i in range(count)
    ]


def sums(network, x, labels):
    """Sums over the images: how many, their loss, gradients of weights and biases."""
    logits = network.forward(x)
    loss = fa.softmax_cross_entropy(logits, labels, reduction="sum")
    gradient = fa.softmax_cross_entropy_backward(1, logits, labels, reduction="sum")
    of_weights, of_biases, _ = network.backward(gradient)
    return [len(x), float(loss), *of_weights, *of_biases]


def add_up(parts):
    """The sum of several of them, number by number and array by array."""
    return [sum(terms) for terms in zip(*parts, strict=True)]


def in_a_tree(parts):
    """One lazy sum of many: no task gets more than a few."""
    while len(parts) > 1:
        groups = [parts[i : i + FAN_IN] for i in range(0, len(parts), FAN_IN)]
        parts = [dask.delayed(add_up)(group) for group in groups]
    return parts[0]


def train(client, network, files, passes):
    """Gradient descent with momentum; the loss before each step."""
    values = network.weights + network.biases
    velocities = [np.zeros_like(value) for value in values]
    losses = []
    for _ in range(passes):
        for begin in range(0, len(files), FILES_PER_STEP):
            everywhere = client.scatter(network, broadcast=True, hash=False)
            parts = [
                dask.delayed(sums)(everywhere, x, labels)
                for x, labels in files[begin : begin + FILES_PER_STEP]
            ]
            count, loss, *slopes = client.compute(in_a_tree(parts)).result()
            losses.append(loss / count)
            for value, velocity, slope in zip(values, velocities, slopes, strict=True):
                velocity *= MOMENTUM
                velocity -= LEARNING_RATE / count * slope
                value += velocity
    return losses


def probabilities(network, x):
    """Those of the digits, as a dask array: nothing is computed yet."""
    (first, second), (a, b) = network.weights, network.biases
    return fa.softmax(network.activation(x @ first + a) @ second + b)


def peak_memory():
    """The most memory that this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def draw(losses):
    """The loss by step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.semilogy(range(1, len(losses) + 1), losses, linewidth=2)
    axes.set(xlabel="step", ylabel="training loss (cross-entropy)")
    return figure


def main(argv=None):
    """The command line; returns the losses and the accuracy."""
    options = parse(
        argv, __doc__, files=640, rows=10_000, passes=1, workers=2, megabytes=400
    )
    train_x, train_y, test_x, test_y = load_data()
    initialise = partial(fa.init.he_normal, rng=np.random.default_rng(options.seed))
    network = Network(
        WIDTHS, "gelu", lambda s, through: initialise(s, activation=through)
    )

    # Before a worker starts: it may import fastact at once.
    one_thread = {"distributed.nanny.pre-spawn-environ.FASTACT_NUM_THREADS": 1}
    with (
        TemporaryDirectory() as temporary,
        dask.config.set(one_thread),
        LocalCluster(
            n_workers=options.workers,
            threads_per_worker=1,
            memory_limit=f"{options.megabytes}MB",
            dashboard_address=":0",  # any free port
        ) as cluster,
        Client(cluster) as client,
    ):
        folder = Path(temporary)
        images, labels = client.scatter([train_x, train_y], broadcast=True)
        make, rows, seed = dask.delayed(make_file), options.rows, options.seed
        dask.compute(
            [make(folder, i, rows, images, labels, seed) for i in range(options.files)]
        )
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(
            f"data: {size / 1e9:.2f} GB in {options.files} files; workers: "
            f"{options.workers} processes of {options.megabytes / 1e3:.2f} GB"
        )
        files = open_files(folder, options.files)
        losses = train(client, network, files, options.passes)
        peaks = client.run(peak_memory).values()
        scans = da.from_array(test_x, chunks=(100, -1))
        found = probabilities(network, scans).argmax(axis=1).compute()
    print(f"most memory that a worker had: {max(peaks):.2f} GB")
    for step in range(0, len(losses), max(1, len(losses) // 8)):
        print(f"step {step + 1:4}  loss {losses[step]:.3f}")
    accuracy = float(np.mean(found == test_y))
    print(f"accuracy on {len(test_y)} scans held out: {accuracy:.1%}")
    save(draw(losses), options.output, "larger_than_memory")
    return losses, accuracy


if __name__ == "__main__":
    main()
