"""Learning the parameters of activations: prelu's slopes and swish's betas.

    python examples/learning_parameters.py

A teacher, one layer of units and their sum, makes the data: y = f(x W; parameters) v. A
student with the same W has to find v and the parameters, one for each unit, by gradient
descent. `fa.prelu_parameter_backward` and `fa.swish_parameter_backward` give in one pass
the gradient of the input and those of the parameters, summed to the parameters' shape.
(There are as many units as inputs: with more, several sets of parameters would fit.)

What one sees: the parameters go from where all start (prelu's 0.25, swish's 1) towards
the teacher's, and the error goes down to the noise. Large betas take longest: they make
swish nearly relu, and it hardly matters any more how nearly. A student that keeps the
parameters where they start, and learns v alone, is stuck with a larger error.

It needs matplotlib.
"""

from __future__ import annotations

import numpy as np
from common import parse, save

import fastact as fa

EXAMPLES, UNITS = 1000, 5
NOISE = 0.1
LEARNING_RATE = 0.2
# The functions, where the parameters start, between what the teacher's are, and how much
# faster they learn: the output depends less on a beta than on a slope.
ACTIVATIONS = {
    "prelu": (fa.prelu, fa.prelu_parameter_backward, 0.25, (0.0, 1.0), 1),
    "swish": (fa.swish, fa.swish_parameter_backward, 1.0, (0.3, 3.0), 8),
}


def make_problem(activation, low, high, seed):
    """The values before the activation, the teacher's y and the teacher's parameters."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((EXAMPLES, UNITS), np.float32)
    z = x @ fa.init.orthogonal((UNITS, UNITS), rng=rng)
    parameters = rng.uniform(low, high, UNITS).astype(np.float32)
    v = rng.choice(np.float32([-1, 1]), (UNITS, 1))
    noise = rng.standard_normal((EXAMPLES, 1), np.float32)
    return z, activation(z, parameters) @ v + np.float32(NOISE) * noise, parameters


def learn(name, z, y, steps, learn_parameters):
    """Gradient descent; the parameters and the loss before each step."""
    activation, parameter_backward, start, _, speed = ACTIVATIONS[name]
    parameters = np.full(UNITS, start, np.float32)
    v = np.zeros((UNITS, 1), np.float32)
    history, losses = [], []
    for _ in range(steps):
        hidden = activation(z, parameters)
        difference = hidden @ v - y
        history.append(parameters.copy())
        losses.append(float(np.mean(difference**2)))

        gradient = 2 * difference / len(y)
        _, of_parameters = parameter_backward(gradient @ v.T, z, parameters)
        v -= LEARNING_RATE * hidden.T @ gradient
        if learn_parameters:
            parameters -= LEARNING_RATE * speed * of_parameters
    return np.array(history), np.array(losses)


def draw(results):
    """Left the parameters by step, right the losses; a row for each activation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    panels = figure.subplots(len(results), 2, sharex=True)
    for (left, right), (name, result) in zip(panels, results.items(), strict=True):
        steps = np.arange(1, len(result["history"]) + 1)
        for i, (curve, target) in enumerate(
            zip(result["history"].T, result["teacher"], strict=True)
        ):
            left.plot(steps, curve, color=f"C{i}", linewidth=2)
            left.axhline(target, color=f"C{i}", linestyle=":", linewidth=1.2)
        left.set(title=f"{name}: one parameter per unit (dotted: the teacher's)")
        for label in ("parameters kept", "parameters learnt"):
            right.loglog(steps, result[label], label=label, linewidth=2)
        right.axhline(NOISE**2, color="0.4", linestyle=":", label="noise")
        right.set(title=f"{name}: mean squared error")
        right.legend(frameon=False)
    for panel in panels[-1]:
        panel.set(xlabel="step", xscale="log")
    return figure


def main(argv=None):
    """The command line; returns what was learnt, by activation."""
    options = parse(argv, __doc__, steps=1000)
    results = {}
    for name, (activation, _, _, ends, _) in ACTIVATIONS.items():
        z, y, teacher = make_problem(activation, *ends, options.seed)
        history, losses = learn(name, z, y, options.steps, learn_parameters=True)
        _, fixed = learn(name, z, y, options.steps, learn_parameters=False)
        results[name] = {
            "teacher": teacher,
            "history": history,
            "parameters learnt": losses,
            "parameters kept": fixed,
        }
    for name, result in results.items():
        print(f"{name}: mean squared error (noise alone: {NOISE**2:.4f})")
        for label in ("parameters kept", "parameters learnt"):
            print(f"  {label:20}{result[label][-1]:.4f}")
        for label, values in (
            ("teacher", result["teacher"]),
            ("learnt", result["history"][-1]),
        ):
            print(f"  {label:20}" + " ".join(f"{value:6.3f}" for value in values))
        print()
    save(draw(results), options.output, "learning_parameters")
    return results


if __name__ == "__main__":
    main()
