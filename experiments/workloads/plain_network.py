"""A network of one hidden layer of tanh and its descent in NumPy, in double precision: another way of knowing."""

import numpy as np


def outputs(images, w1, b1, w2, b2):
    """The hidden units and the probabilities of the classes."""
    h = np.tanh(images @ w1 + b1)
    raised = np.exp(h @ w2 + b2)
    return h, raised / raised.sum(1, keepdims=True)


def descended(layers, batches, rate, inertia=0.0):
    """The weights (w1, b1, w2, b2) after a step on each of the batches, and the loss before each."""
    weights = [np.asarray(layer[name], float) for layer in layers for name in "wb"]
    speeds, losses = [0.0] * 4, []
    for images, labels in batches:
        h, p = outputs(images, *weights)
        rows = np.arange(len(labels))
        losses.append(-np.log(p[rows, labels]).mean())
        p[rows, labels] -= 1  # the gradient at the logits, times the size
        back = (p @ weights[2].T) * (1 - h**2)
        gradients = (images.T @ back, back.sum(0), h.T @ p, p.sum(0))
        speeds = [inertia * v - rate * g / len(labels) for v, g in zip(speeds, gradients, strict=True)]
        weights = [w + v for w, v in zip(weights, speeds, strict=True)]
    return weights, np.array(losses)


def accuracy(weights, images, labels):
    """The share of the images that are read as their labels."""
    return (outputs(np.asarray(images), *weights)[1].argmax(1) == np.asarray(labels)).mean()
