"""The operations of a program while it is made: numbers and truths that are not known yet, and what is done to them."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from hessian.proofs.program import NotProved, Operation


class Uncovered(NotProved):
    """An operation for which there is no rule."""


class Real(NamedTuple):
    """Numbers that are not known here: the operation that makes them, and their shape."""

    place: int
    shape: tuple[int, ...]


class Truth(NamedTuple):
    """Truths that depend on numbers."""

    place: int
    shape: tuple[int, ...]


class Tape:
    """The operations so far, and the rules that add to them."""

    def __init__(self, inputs, narrow=False):
        self.narrow = narrow  # whether 64 bits are off for whoever asks
        self.guarded: list[int] = []  # operations that must have values, though no other may need them
        self.operations = [Operation("input", (), inputs, (inputs,))]

    def emit(self, name, inputs, shape, detail=(), kind=Real):
        size = math.prod(shape)
        self.operations.append(Operation(name, tuple(one.place for one in inputs), size, tuple(detail)))
        return kind(len(self.operations) - 1, tuple(shape))

    def real(self, value):
        """Numbers as an operation; those that are known become constants, of which `lowered` refuses inf and NaN."""
        if isinstance(value, Real):
            return value
        if isinstance(value, Truth):
            msg = "truths that depend on numbers have no such rule"
            raise Uncovered(msg)
        value = np.asarray(value)
        if not np.iscomplexobj(value):
            given = value.astype(np.float64) if floats(value) else value  # bfloat16, too, is no type of NumPy's own
            numbers = [float(one) for one in given.reshape(-1).tolist()]
            pairs = zip(numbers, given.reshape(-1).tolist(), strict=True)
            if all(number == exact or number != number for number, exact in pairs):
                return self.emit("constant", [], value.shape, numbers)
        msg = "a constant must be a real double"
        raise Uncovered(msg)

    def truth(self, value):
        if isinstance(value, Truth):
            return value
        return self.emit("truth", [], np.shape(value), np.asarray(value, bool).reshape(-1).tolist(), Truth)

    def pair(self, name, a, b):
        for one, other in ((a, b), (b, a)):  # max with -inf, as in logsumexp, is the other
            if name in ("max", "min") and not isinstance(one, Real):
                worst = -math.inf if name == "max" else math.inf
                if np.all(np.asarray(one) == worst):
                    return self.broadcast(self.real(other), np.broadcast_shapes(np.shape(one), shape_of(other)))
        a, b = self.real(a), self.real(b)
        shape = np.broadcast_shapes(a.shape, b.shape)
        a, b = self.broadcast(a, shape), self.broadcast(b, shape)
        if name == "mul" and a.place == b.place:
            return self.emit("square", [a], shape)
        return self.emit(name, [a, b], shape)

    def broadcast(self, value, shape):
        if tuple(value.shape) == tuple(shape):
            return value
        places = np.broadcast_to(np.arange(math.prod(value.shape)).reshape(value.shape), shape)
        return self.taken([value], places)

    def function(self, name, x):
        return self.emit(name, [self.real(x)], np.shape(x) if not isinstance(x, Real) else x.shape)

    def compared(self, name, a, b):
        """Whether a < b, or a = b, entry by entry."""
        if floats(a) and floats(b):
            return np.less(a, b) if name == "less" else np.equal(a, b)
        shape = np.broadcast_shapes(shape_of(a), shape_of(b))
        for one, beyond in ((a, -math.inf), (b, math.inf)):  # every number lies between the two
            if floats(one) and np.isinf(one).all():
                return np.broadcast_to((one == beyond) & (name == "less"), shape)
        return self.emit(name, [self.broadcast(self.real(one), shape) for one in (a, b)], shape, kind=Truth)

    def joined(self, name, a, b):
        """Whether both are true, or one is, entry by entry."""
        shape = np.broadcast_shapes(shape_of(a), shape_of(b))
        return self.emit(name, [self.broadcast(self.truth(one), shape) for one in (a, b)], shape, kind=Truth)

    def grouped(self, x, axes):
        """The numbers with the axes that are reduced last, how many those hold, and the shape of the rest."""
        x = self.real(x)
        rest = [axis for axis in range(len(x.shape)) if axis not in axes]
        places = np.arange(math.prod(x.shape)).reshape(x.shape).transpose([*rest, *axes])
        length = math.prod(x.shape[axis] for axis in axes)
        return self.taken([x], places), length, tuple(x.shape[axis] for axis in rest)

    def taken(self, values, places):
        """The numbers at these places of values, put one after another; values of which none is taken are left out."""
        sizes = np.array([math.prod(one.shape) for one in values])
        of = np.searchsorted(np.cumsum(sizes), places, side="right")
        kept = np.unique(of) if places.size else np.zeros(1, int)
        unused = np.where(np.isin(np.arange(len(values)), kept), 0, sizes)
        values, places = [values[i] for i in kept], places - np.cumsum(unused)[of]
        count = math.prod(values[0].shape)
        if len(values) == 1 and places.size == count and np.array_equal(places.reshape(-1), np.arange(count)):
            return values[0]._replace(shape=places.shape)
        name, kind = ("pick", Truth) if isinstance(values[0], Truth) else ("take", Real)
        return self.emit(name, values, places.shape, np.asarray(places).reshape(-1).tolist(), kind)


def floats(value: Any) -> bool:
    """Whether these are numbers that are known and were floating."""
    return isinstance(value, np.ndarray) and jnp.issubdtype(value.dtype, jnp.inexact)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of numbers, truths and what is known."""
    return value.shape if isinstance(value, Real | Truth) else np.shape(value)
