"""Losses made from losses, so that every function here serves other matrices and larger data as well.

Each has the value and the gradient of what it was made from; what differs is its Hessian, or how it is computed.

| function | its Hessian | what it takes |
|---|---|---|
| `gauss_newton` | J^T (criterion'') J, J the Jacobian of the model's outputs | params, inputs, *targets |
| `empirical_fisher` | mean over the examples of g g^T | params, *data |
| `preconditioned` | sigma^(-1/2) H sigma^(-1/2) (its gradient: sigma^(-1/2) g) | params, sigma, *args |
| `partial_loss` | the block of the leaves that `split` chose | chosen, rest, *args |
| `microbatched` | H, summed over micro-batches: the memory of one | params, *data |
| `pooled` | H of the mean over batches of unequal sizes | params, batches |
| `data_parallel` | H, with the data spread over the devices of a mesh | params, *data |

The first three hold at the point where they are evaluated: they are for spectra, not for walking along.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gdlab.ground.checks import function, whole
from gdlab.ground.leaves import chosen_of, shown
from hessian.models import free_part
from hessian.precision import Tree, first, scalar, working_dtype
from hessian.product import Loss, Params, pushed

Value = TypeVar("Value")  # what a loss returns
Mean = Callable[..., jax.Array]  # mean(params, *args) -> scalar


@dataclass(frozen=True)
class _Made:
    """A loss that is equal to another made alike of the same parts, so that it is traced once."""

    function: Callable[..., jax.Array]
    parts: tuple

    def __call__(self, params, *args):
        return self.function(*self.parts, params, *args)


def gauss_newton(model: Callable[..., Any], criterion: Loss) -> Mean:
    """A loss whose Hessian is the Gauss-Newton matrix J^T C J of criterion(model(params, inputs), *targets).

    Where the criterion is a negative log-likelihood in natural parameters (squares, softmax or logistic cross-entropy),
    this is the Fisher information matrix (Martens 2020).  It is positive semidefinite where the criterion is convex.

    Args:
        model: `model(params, inputs) -> outputs`.
        criterion: `criterion(outputs, *targets) -> scalar`.

    Returns:
        `loss(params, inputs, *targets)`.

    >>> loss = gauss_newton(lambda w, x: jnp.sin(w) * x, lambda z, y: jnp.sum((z - y) ** 2))
    >>> float(jax.hessian(loss)(0.0, 3.0, 1.0))  # 2 (3 cos 0)^2
    18.0
    """
    return _Made(_gauss_newton, (function("model", model), function("criterion", criterion)))


def _about(params):
    """The differentiated part of params, a constant; how far params are from it, which is 0; what makes the whole."""
    free, whole = free_part(params)
    here = jax.lax.stop_gradient(free)
    return here, jax.tree.map(jnp.subtract, free, here), whole


def _gauss_newton(model, criterion, params, inputs, *targets):
    here, moved, whole = _about(params)
    outputs, change = pushed(lambda free: model(whole(free), inputs), here, moved)
    return criterion(jax.tree.map(jnp.add, outputs, change), *targets)


def empirical_fisher(losses: Callable[..., jax.Array]) -> Mean:
    """A loss whose Hessian is mean_i g_i g_i^T for the gradients g_i of the losses of single examples.

    Args:
        losses: `losses(params, *data)` -> one loss per example, shape (N,).

    Returns:
        `loss(params, *data)`, their mean.

    >>> loss = empirical_fisher(lambda w, x: w * x)
    >>> float(jax.hessian(loss)(0.0, jnp.array([1.0, 3.0])))  # (1 + 9) / 2
    5.0
    """
    return _Made(_empirical_fisher, (function("losses", losses),))


def _empirical_fisher(losses, params, *data):
    here, moved, whole = _about(params)
    values, change = pushed(lambda free: losses(whole(free), *data), here, moved)
    if jnp.ndim(values) != 1:
        msg = f"losses must return one loss per example, shape (N,); got shape {jnp.shape(values)}"
        raise ValueError(msg)
    return jnp.mean(values + change + change**2 / 2)


def preconditioned(loss: Callable[..., Value]) -> Callable[..., Value]:
    """A loss whose Hessian is sigma^(-1/2) H sigma^(-1/2), which an optimizer that divides by sigma sees.

    Its largest eigenvalue times the rate is what must stay below 2 (Cohen et al. 2022).

    Returns:
        `loss(params, sigma, *args)`, sigma a pytree like params of positive sizes, such as sqrt(nu) + eps of Adam.

    >>> float(jax.hessian(preconditioned(lambda w: 3 * w**2))(0.0, 4.0))
    1.5
    """
    return _Made(_preconditioned, (function("loss", loss),))


def _preconditioned(loss, params, sigma, *args):
    here, moved, whole = _about(params)
    sigma = free_part(sigma)[0]
    return loss(whole(jax.tree.map(lambda h, d, s: h + d / jnp.sqrt(s), here, moved, sigma)), *args)


def split(params: Tree, chosen: Any) -> tuple[Tree, Tree]:
    """(leaves that are chosen, the rest), with None where a leaf is in the other.

    Args:
        params: any pytree.
        chosen: a pytree of bools like params or a prefix of it, or a function of a leaf's path, such as "['out']".

    >>> split({"a": 1.0, "b": 2.0}, {"a": True, "b": False})
    ({'a': 1.0, 'b': None}, {'a': None, 'b': 2.0})
    """
    mask = chosen_of("chosen", params, chosen)
    return (
        jax.tree.map(lambda leaf, yes: leaf if yes else None, params, mask),
        jax.tree.map(lambda leaf, yes: None if yes else leaf, params, mask),
    )


def partial_loss(loss: Callable[..., Value]) -> Callable[..., Value]:
    """The loss as a function of the leaves that `split` chose: `loss(chosen, rest, *args)`.

    >>> chosen, rest = split({"a": 1.0, "b": 2.0}, lambda path: path == "['a']")
    >>> float(jax.grad(partial_loss(lambda p: p["a"] * p["b"]))(chosen, rest)["a"])
    2.0
    """
    return _Made(_partial_loss, (function("loss", loss),))


def _partial_loss(loss, chosen, rest, *args):
    whole = jax.tree.map(lambda a, b: b if a is None else a, chosen, rest, is_leaf=lambda leaf: leaf is None)
    return loss(whole, *args)


def microbatched(loss: Loss, size: int) -> Mean:
    """The mean loss over micro-batches of `size` examples, weighted by how many each holds: the memory of one.

    Args:
        loss: `loss(params, *data)`, a mean over the examples along the first axis of each array in data.
        size: examples in a micro-batch, >= 1; the last one takes what is left.

    Raises:
        ValueError: where size is below 1, or the arrays in data hold different numbers of examples.

    >>> loss = microbatched(lambda w, x: jnp.mean(w * x), 2)
    >>> float(loss(1.0, jnp.array([1.0, 2.0, 6.0])))
    3.0
    """
    return _Made(_microbatched, (function("loss", loss), whole("size", size)))


def _of_free_part(loss, params):
    """The value of a loss as a function of the differentiated part of params, and that part."""
    free, whole = free_part(params)
    return (lambda free, *data: first(loss(whole(free), *data))), free


def _microbatched(loss, size, params, *data):
    examples = _examples(data)
    whole = examples // size
    # Only its inputs are kept of a micro-batch; they are made again on the way back.
    value, params = _of_free_part(loss, params)
    one = jax.checkpoint(value)
    dtype = scalar("loss", jax.eval_shape(value, params, *jax.tree.map(lambda x: x[:size], data)))
    total = jnp.zeros((), working_dtype(dtype))
    if whole:
        batches = jax.tree.map(lambda x: x[: whole * size].reshape(whole, size, *x.shape[1:]), data)
        add = lambda total, batch: (total + size * one(params, *batch).astype(total.dtype), None)  # noqa: E731
        total = jax.lax.scan(add, total, batches)[0]
    left = examples - whole * size
    if left:
        total = total + left * one(params, *jax.tree.map(lambda x: x[whole * size :], data)).astype(total.dtype)
    return (total / examples).astype(dtype)


def pooled(loss: Loss) -> Mean:
    """The mean loss over batches of unequal sizes, each weighted by its own: `loss(params, batches)`.

    `batches` is a sequence of tuples of data; the mean of their means would be another function where sizes differ.

    >>> float(pooled(lambda w, x: jnp.mean(w * x))(1.0, [(jnp.array([1.0, 2.0]),), (jnp.array([6.0]),)]))
    3.0
    """
    return _Made(_pooled, (function("loss", loss),))


def _pooled(loss: Loss, params: Params, batches: Sequence[tuple]) -> jax.Array:
    sizes = [_examples(batch) for batch in batches]
    loss, params = _of_free_part(loss, params)
    values = [jax.checkpoint(loss)(params, *batch) for batch in batches]
    return _mean(sizes, values)


def data_parallel(loss: Loss, mesh: Mesh) -> Mean:
    """The loss with its examples spread over all devices of a mesh; one sum over them per product.

    The mesh is made with automatic axes: `jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))`.
    Examples that do not fill all devices are computed by each of them.  Inside `jit` it works across processes, each
    of which passes all of the data.

    Args:
        loss: `loss(params, *data)`, a mean over the examples along the first axis of each array in data.
        mesh: the devices.

    >>> mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> float(data_parallel(lambda w, x: jnp.mean(w * x), mesh)(1.0, jnp.array([1.0, 2.0, 6.0])))
    3.0
    """
    if not isinstance(mesh, Mesh):
        msg = f"mesh must be a jax.sharding.Mesh, such as jax.make_mesh gives; got {shown(mesh)}"
        raise TypeError(msg)
    return _Made(_data_parallel, (function("loss", loss), mesh))


def _data_parallel(loss, mesh, params, *data):
    examples = _examples(data)
    spread = examples - examples % mesh.size
    over_devices = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    sizes, values = [], []
    if spread:
        even = jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x[:spread], over_devices), data)
        sizes.append(spread)
        values.append(loss(params, *even))
    if spread < examples:
        sizes.append(examples - spread)
        values.append(loss(params, *jax.tree.map(lambda x: x[spread:], data)))
    return _mean(sizes, values)


def _mean(sizes, values):
    """The mean of values, each weighted by its size; summed in at least float32, where half precision overflows."""
    dtype = [scalar("loss", value) for value in values][-1]
    total = sum(size * value.astype(working_dtype(dtype)) for size, value in zip(sizes, values, strict=True))
    return (total / sum(sizes)).astype(dtype)


def _examples(data: Any) -> int:
    """How many examples the arrays in data hold along their first axis."""
    sizes = {jnp.shape(x)[0] if jnp.ndim(x) else None for x in jax.tree.leaves(data)}
    if len(sizes) != 1 or None in sizes or 0 in sizes:
        got = sorted(str(jnp.shape(x)) for x in jax.tree.leaves(data))
        msg = f"data must be arrays of one number of examples >= 1 along their first axes; got shapes {', '.join(got)}"
        raise ValueError(msg)
    return next(size for size in sizes if size)
