"""Whether a device computes what the CPU does in float64: steps, runs, products with the Hessian, kinds of points.

    error  =  |x_device - x_cpu| / |x_cpu|  /  eps of the device's dtype  /  steps

A step rounds a handful of times: the new average, its quotient and the sum with the parameters.  So `PER_STEP` eps a
step is what may be lost; a matrix product in reduced precision, or a moment in the wrong dtype, loses thousands.

| function | what it measures |
|---|---|
| `laws` | optimizers along given gradients, sweeps on a bowl, products with the Hessian, against the CPU's float64 |
| `verdicts` | kinds of declared critical points in float32, beside those of the CPU in float64 |
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdlab
import hessian
from gdlab.problems import network, network_loss, surface
from hessian.verdicts.classify import Kind

from ..cli.settings import InputError
from ..workloads.measured import Row

PER_STEP = 4.0  # eps that a step may lose
RATE, STEPS, LANES = 0.01, 20, 64
SMOOTH: dict[str, Callable[[Any], Any]] = {  # rules that are continuous in the gradient
    "gd": gdlab.gd, "momentum": gdlab.momentum, "nesterov": gdlab.nesterov, "adagrad": gdlab.adagrad,
    "rmsprop": gdlab.rmsprop, "adam": gdlab.adam, "adamw": partial(gdlab.adamw, weight_decay=0.1),
    "amsgrad": gdlab.amsgrad, "nadam": gdlab.nadam, "radam": gdlab.radam, "adabelief": gdlab.adabelief,
    "adamax": gdlab.adamax, "optax.adam": optax.adam, "optax.sgd": partial(optax.sgd, momentum=0.9),
}  # fmt: skip
FEW = ("momentum", "adam", "radam", "optax.adam")


def on_cpu() -> Any:
    """The place of the reference: the CPU, whatever else there is."""
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:
        msg = "accelerator needs JAX's CPU beside the device, for float64; set JAX_PLATFORMS to nothing, or to cuda,cpu"
        raise InputError(msg) from None


def walked(make: Callable[[Any], Any], dtype: Any, grads: Any) -> Any:
    """How far an optimizer gets from zero along given gradients, in this dtype."""
    optimizer, grads = make(RATE), jnp.asarray(grads, dtype)
    start = jnp.zeros(grads.shape[1:], dtype)

    def step(carry, g):
        params, state = carry
        updates, state = optimizer.update(g, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (start, optimizer.init(start)), grads)[0][0]


def descended(dtype: Any, lr: Any) -> Any:
    """Where momentum ends on a bowl."""
    slopes = jnp.asarray([0.5, 1.0, 2.0], dtype)
    start = jnp.ones(3, dtype)
    return gdlab.minimize(lambda x: jnp.sum(slopes * x**2), gdlab.momentum(lr), start, STEPS, record=()).params


def product(params: Any, data: Any) -> Any:
    """A product with the Hessian of the network's loss, along its own parameters."""
    return hessian.hvp(network_loss, params, data)(params)


def error(here: Any, there: Any, dtype: Any, steps: int = 1) -> float:
    """The distance from the reference, relative, in eps of the dtype, a step."""
    x, exact = (np.concatenate([np.ravel(_plain(leaf)) for leaf in jax.tree.leaves(tree)]) for tree in (here, there))
    return float(np.linalg.norm(x - exact) / np.linalg.norm(exact) / float(jnp.finfo(dtype).eps) / steps)


def _plain(leaf):
    return np.asarray(leaf).astype(np.float64)


def laws(names: Sequence[str]) -> list[Row]:
    """The errors of a step of each optimizer in float32 and bfloat16, of a sweep, and of a product with the Hessian."""
    drawn = np.random.default_rng(0).normal(size=(STEPS, 256)).astype(jnp.bfloat16)  # gradients that all dtypes hold
    rows = []
    for name in names:
        run = jax.jit(partial(walked, SMOOTH[name]), static_argnums=0)
        with on_cpu():
            exact = run(jnp.float64, drawn)
        for dtype in (jnp.float32, jnp.bfloat16):
            lost = error(run(dtype, drawn), exact, dtype, STEPS)
            rows.append(_judged(f"{name}, {jnp.dtype(dtype).name}", f"{STEPS} steps of 256", lost, PER_STEP, " a step"))
    return [*rows, _swept(), _product()]


def _judged(what, size, lost, most, each=""):
    return Row(
        what=what, size=size, value=lost, unit=f"eps{each}", beside="at most", other=most, passed=bool(lost <= most)
    )


def _swept():
    """A sweep on the device against runs of the CPU."""
    rates = np.geomspace(1e-3, 1e-1, LANES, dtype=np.float32)
    ended = gdlab.sweep(partial(descended, jnp.float32), lr=rates)["value"].values
    with on_cpu():
        exact = jax.jit(jax.vmap(partial(descended, jnp.float64)))(jnp.asarray(rates, jnp.float64))
    lost = error(ended, exact, jnp.float32, STEPS)
    return _judged("a sweep of momentum, float32", f"{LANES} lanes, {STEPS} steps", lost, PER_STEP, " a step")


def _product():
    """A product in float32, which reduced precision of the device's matrix units would spoil a thousandfold."""
    examples = np.random.default_rng(1).normal(size=(64, 64)), np.arange(64) % 10
    with on_cpu():
        params = network(jax.random.key(0), (64, 32, 10))
        exact = jax.jit(product)(params, examples)
    single = lambda tree: jax.tree.map(lambda x: np.asarray(x, np.float32), tree)  # noqa: E731
    found = jax.jit(product)(single(params), (single(examples[0]), examples[1]))
    # Sums over 64 examples and 64 inputs, each in four passes, whose roundings add up like a random walk or better.
    return _judged("a product with the Hessian, float32", "2,410 weights", error(found, exact, jnp.float32), 64.0)


def verdicts(names: Sequence[str]) -> list[Row]:
    """How many declared critical points get their kind; none may get another one."""
    rows = []
    for name in names:
        known = surface(name)
        points = np.array([point.x for point in known.critical_points])
        declared = np.array([point.kind for point in known.critical_points])
        judge = jax.jit(jax.vmap(partial(_kind, known.loss)))
        with on_cpu():
            exact = kinds_of(judge(points))
        found = kinds_of(judge(points.astype(np.float32)))
        right = int((found == declared).sum())
        claimed = np.isin(found, ("minimum", "maximum", "saddle"))
        sound = not (claimed & (found != declared)).any()
        beside = "kinds right", "the CPU in float64:", float((exact == declared).sum())
        rows.append(Row(f"classify on {name}, float32", f"{len(points)} points", right, *beside, passed=bool(sound)))
    return rows


def _kind(loss, x):
    return hessian.classify(loss, x).code


def kinds_of(codes: Any) -> np.ndarray:
    """The kinds in words."""
    return np.asarray(Kind.words_of(codes))
