"""A network of tanh or ReLU units and its descent in NumPy, in double precision: another way of knowing."""

import numpy as np


def named(layers):
    """The arrays of layers in their order here: w, b, w, b ..."""
    return [layer[name] for layer in layers for name in "wb"]


def outputs(images, *weights, rectified=False):
    """The units of each layer, the images first, and the probabilities of the classes; weights are w, b, w, b ..."""
    units = [np.asarray(images, float)]
    for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        z = units[-1] @ w + b
        units.append(np.maximum(z, 0) if rectified else np.tanh(z))
    raised = np.exp(units[-1] @ weights[-2] + weights[-1])
    return units, raised / raised.sum(1, keepdims=True)


def gradients(weights, units, back, rectified=False):
    """The gradients of w, b, w, b ... from the units of each layer and the gradient at the sums of the last."""
    found: list[np.ndarray] = []
    for w, h in zip(weights[-2::-2], units[::-1], strict=True):
        found = [h.T @ back, back.sum(0), *found]
        back = (back @ w.T) * (h > 0 if rectified else 1 - h**2)
    return found


def descended(layers, batches, rate, inertia=0.0, penalty=0.0, rectified=False):
    """The weights (w, b, w, b ...) after a step on each of the batches, and the loss before each, less the penalty."""
    weights = [np.asarray(part, float) for part in named(layers)]
    speeds, losses = [0.0] * len(weights), []
    for images, labels in batches:
        units, back = outputs(images, *weights, rectified=rectified)
        rows = np.arange(len(labels))
        losses.append(-np.log(back[rows, labels]).mean())
        back[rows, labels] -= 1  # the gradient at the logits, times the number of examples
        slopes = gradients(weights, units, back / len(labels), rectified)
        pulls = [g + penalty * w for g, w in zip(slopes, weights, strict=True)]
        speeds = [inertia * v - rate * g for v, g in zip(speeds, pulls, strict=True)]
        weights = [w + v for w, v in zip(weights, speeds, strict=True)]
    return weights, np.array(losses)


def walked(begun, slopes, move, updates):
    """The weights before each update and at the end, by a rule in NumPy.

    Args:
        begun: the arrays at the start.
        slopes: a function of the weights and of how many updates were made, to the gradients.
        move: a function of the count, from 1, a gradient and what it kept, 0.0 at first; what it keeps, and the step.
    """
    weights = [np.asarray(part, float) for part in begun]
    kept, path = [0.0] * len(weights), [weights]
    for t in range(updates):
        found = [move(t + 1, g, k) for g, k in zip(slopes(weights, t), kept, strict=True)]
        kept, weights = [k for k, _ in found], [w - step for w, (_, step) in zip(weights, found, strict=True)]
        path.append(weights)
    return path


def adaptive(rates, b2, debiased=True):
    """Adam's move for `walked`, by a function of the count to its rate: decays .9 and b2, 1e-8 beside the root."""

    def move(t, g, kept):
        m, v = kept or (0.0, 0.0)
        m, v = 0.9 * m + 0.1 * g, b2 * v + (1 - b2) * g * g
        first, second = (1 - 0.9**t, 1 - b2**t) if debiased else (1, 1)
        return (m, v), rates(t) * m / first / (np.sqrt(v / second) + 1e-8)

    return move


def accuracy(weights, images, labels):
    """The share of the images that are read as their labels."""
    return (outputs(images, *weights)[1].argmax(1) == np.asarray(labels)).mean()
