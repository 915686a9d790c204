"""A network of tanh or ReLU units and its descent in NumPy, in double precision: another way of knowing."""

import numpy as np


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
    weights = [np.asarray(layer[name], float) for layer in layers for name in "wb"]
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


def accuracy(weights, images, labels):
    """The share of the images that are read as their labels."""
    return (outputs(images, *weights)[1].argmax(1) == np.asarray(labels)).mean()
