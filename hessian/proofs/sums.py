"""Rules of what adds up: reductions, running sums, products of matrices, convolutions, windows, scattered sums.

Which numbers meet is a matter of places, and places are moved by NumPy and JAX themselves.
"""

import itertools
import math

import jax
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hessian.proofs.tape import Real, Tape, Uncovered


class Sums(Tape):
    """A rule takes the parameters of the operation, then its inputs."""

    def _reduce_sum(self, params, x):
        x, length, shape = self.grouped(x, params["axes"])
        return self.emit("sum", [x], shape, [length]) if length else self.real(np.zeros(shape))

    def _reduced(self, name, params, x):
        x, length, shape = self.grouped(x, params["axes"])
        if not length:
            msg = f"{name} of nothing has no rule here"
            raise Uncovered(msg)
        places = np.arange(math.prod(x.shape)).reshape(*shape, length)
        parts = [self.taken([x], places[..., i]) for i in range(length)]
        while len(parts) > 1:
            paired = [self.pair(name, *parts[i : i + 2]) for i in range(0, len(parts) - 1, 2)]
            parts = paired + parts[2 * len(paired) :]
        return parts[0]

    def _reduce_max(self, params, x):
        return self._reduced("max", params, x)

    def _reduce_min(self, params, x):
        return self._reduced("min", params, x)

    def _reduce_prod(self, params, x):
        return self._reduced("mul", params, x)

    def _cumsum(self, params, x):
        x, axis = self.real(x), params["axis"]
        length = x.shape[axis]
        upper = np.triu(np.ones((length, length)))
        back = {"axes": (axis,)}
        last, _, rest = self.grouped(x, back["axes"])
        count = math.prod(rest)
        steps = self.real(upper.T if params["reverse"] else upper)
        made = self.emit("matmul", [last, steps], (*rest, length), [1, count, length, length])
        return self.taken([made], np.moveaxis(np.arange(math.prod(x.shape)).reshape(*rest, length), -1, axis))

    def _running(self, name, params, x):
        """The sums, products or largest numbers of the first entries along an axis."""
        x, axis = self.real(x), params["axis"]
        places = np.moveaxis(np.arange(math.prod(x.shape)).reshape(x.shape), axis, 0)
        rows = [self.taken([x], row) for row in (places[::-1] if params["reverse"] else places)]
        for i in range(1, len(rows)):
            rows[i] = self.pair(name, rows[i - 1], rows[i])
        order = rows[::-1] if params["reverse"] else rows
        return self.taken(order, np.moveaxis(np.arange(places.size).reshape(places.shape), 0, axis))

    def _cumprod(self, params, x):
        return self._running("mul", params, x)

    def _cummax(self, params, x):
        return self._running("max", params, x)

    def _cummin(self, params, x):
        return self._running("min", params, x)

    def _cumlogsumexp(self, params, x):
        return self.function("log", self._cumsum(params, self.function("exp", x)))

    def _dot_general(self, params, a, b):
        a, b = self.real(a), self.real(b)
        (inner_a, inner_b), (batch_a, batch_b) = params["dimension_numbers"]
        free_a = [i for i in range(len(a.shape)) if i not in (*inner_a, *batch_a)]
        free_b = [i for i in range(len(b.shape)) if i not in (*inner_b, *batch_b)]
        places_a = np.arange(math.prod(a.shape)).reshape(a.shape).transpose([*batch_a, *free_a, *inner_a])
        places_b = np.arange(math.prod(b.shape)).reshape(b.shape).transpose([*batch_b, *inner_b, *free_b])
        shape = [a.shape[i] for i in (*batch_a, *free_a)] + [b.shape[i] for i in free_b]
        sizes = [
            math.prod(of.shape[i] for i in axes) for of, axes in ((a, batch_a), (a, free_a), (a, inner_a), (b, free_b))
        ]
        if not sizes[2]:
            return self.real(np.zeros(shape))
        return self.emit("matmul", [self.taken([a], places_a), self.taken([b], places_b)], shape, sizes)

    # ------------------------------------------------------------------------------------------------- windows

    def _conv_general_dilated(self, params, x, kernel):
        x, kernel = self.real(x), self.real(kernel)
        if params["batch_group_count"] != 1:
            msg = "conv_general_dilated with groups of batches has no rule here"
            raise Uncovered(msg)
        numbers, groups = params["dimension_numbers"], params["feature_group_count"]
        spread = np.arange(math.prod(x.shape)).reshape(x.shape).transpose(numbers.lhs_spec)
        taps = np.arange(math.prod(kernel.shape)).reshape(kernel.shape).transpose(numbers.rhs_spec)
        made, inner, *window = taps.shape
        near = _windows(
            spread, (1, 1, *window), (1, 1, *params["window_strides"]), ((0, 0), (0, 0), *params["padding"]),
            (1, 1, *params["lhs_dilation"]), (1, 1, *params["rhs_dilation"]),
        )  # fmt: skip
        batch, _, *outside = near.shape[: spread.ndim]
        near = near.reshape(batch, groups, inner, math.prod(outside), -1).transpose(1, 0, 3, 2, 4)
        taps = taps.reshape(groups, made // groups, -1).transpose(0, 2, 1)
        sizes = [groups, batch * math.prod(outside), taps.shape[1], made // groups]
        product = self.emit(
            "matmul", [self._padded(x, near), self.taken([kernel], taps)], (math.prod(sizes) // sizes[2],), sizes
        )
        places = np.arange(math.prod(product.shape)).reshape(groups, batch, *outside, made // groups)
        places = np.moveaxis(places, (1, 0, -1), (0, 1, 2)).reshape(batch, made, *outside)
        return self.taken([product], places.transpose(np.argsort(numbers.out_spec)))

    def _reduce_window_sum(self, params, x):
        x, near = self._near(params, x)
        return self._reduce_sum({"axes": (near.ndim - 1,)}, self._padded(x, near))

    def _reduce_window_max(self, params, x):
        return self._extreme("max", params, x)

    def _reduce_window_min(self, params, x):
        return self._extreme("min", params, x)

    def _extreme(self, name, params, x):
        """Windows that see equally many numbers are taken together."""
        x, near = self._near(params, x)
        windows = near.reshape(-1, near.shape[-1])
        counts = (windows >= 0).sum(axis=1)
        parts = []
        for count in np.unique(counts).tolist():
            seen = windows[counts == count]
            parts.append(self._reduced(name, {"axes": (1,)}, self.taken([x], seen[seen >= 0].reshape(-1, count))))
        order = np.argsort(np.argsort(counts, kind="stable"), kind="stable")
        return self.taken(parts, order.reshape(near.shape[:-1]))

    def _near(self, params, x):
        """The numbers, and the places of those in each window, -1 beyond the edge: shape (*out, window)."""
        x = self.real(x)
        shape = params["window_dimensions"]
        near = _windows(
            np.arange(math.prod(x.shape)).reshape(x.shape), shape, params["window_strides"], params["padding"],
            params["base_dilation"], params["window_dilation"],
        )  # fmt: skip
        return x, near.reshape(*near.shape[: len(shape)], -1)

    def _padded(self, x, places):
        """The numbers at these places; zero where a place is -1."""
        if not (places < 0).any():
            return self.taken([x], places)
        return self.taken([x, self.real(np.zeros(1))], np.where(places < 0, math.prod(x.shape), places))

    def _scatter_add(self, params, x, indices, updates):
        if isinstance(indices, Real):
            msg = "scatter-add to places that are not known has no rule here"
            raise Uncovered(msg)
        x, updates = self.real(x), self.real(updates)
        to = _destinations(params, x.shape, indices, updates.shape)
        order = np.argsort(to, kind="stable")[np.sum(to < 0) :]
        first = np.searchsorted(to[order], np.arange(math.prod(x.shape) + 1))
        most = int(np.max(np.diff(first), initial=0))
        places = np.full((math.prod(x.shape), most + 1), math.prod(x.shape) + to.size)
        places[:, 0] = np.arange(len(places))
        for place, (start, end) in enumerate(itertools.pairwise(first)):
            places[place, 1 : 1 + end - start] = len(places) + order[start:end]
        terms = self.taken([x, updates, self.real(np.zeros(1))], places)
        return self.emit("sum", [terms], x.shape, [most + 1])


def _windows(places, window, strides, padding, base, dilation):
    """What each window sees, shape (*out, *window): places, -1 between dilated ones and beyond the edge."""
    for axis, (spread, (low, high)) in enumerate(zip(base, padding, strict=True)):
        places = np.moveaxis(places, axis, 0)
        wide = np.full(((len(places) - 1) * spread + 1, *places.shape[1:]), -1)
        wide[::spread] = places
        wide = np.pad(wide, [(max(low, 0), max(high, 0)), *[(0, 0)] * (wide.ndim - 1)], constant_values=-1)
        places = np.moveaxis(wide[max(-low, 0) : len(wide) - max(-high, 0)], 0, axis)
    lengths = [(length - 1) * step + 1 for length, step in zip(window, dilation, strict=True)]
    seen = sliding_window_view(places, lengths)
    return seen[tuple(slice(None, None, step) for step in (*strides, *dilation))]


def _destinations(params, shape, indices, updated):
    """The place that each update is added to, in order; -1 where it is dropped."""
    numbers = params["dimension_numbers"]
    single = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    window = iter(updated[axis] for axis in numbers.update_window_dims)
    gathered = jax.lax.gather(
        np.arange(math.prod(shape)).reshape(shape),
        indices,
        jax.lax.GatherDimensionNumbers(
            offset_dims=numbers.update_window_dims,
            collapsed_slice_dims=numbers.inserted_window_dims,
            start_index_map=numbers.scatter_dims_to_operand_dims,
            operand_batching_dims=numbers.operand_batching_dims,
            start_indices_batching_dims=numbers.scatter_indices_batching_dims,
        ),
        slice_sizes=[1 if axis in single else next(window) for axis in range(len(shape))],
        mode=params["mode"],
        fill_value=-1,
    )
    return np.asarray(gathered).reshape(-1)
