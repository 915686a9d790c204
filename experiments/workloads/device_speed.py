"""How fast a device is, and how near to its own limits: copies, products, sweeps, large leaves, Lanczos.

    limit of bytes  =  what must be read and written  /  the rate of a plain copy
    limit of flops  =  what must be multiplied and added  /  the rate of a plain matrix product

Both rates are measured in the same run.  All programs take and give arrays on the device; nothing here asks for a
platform, so that what holds on a CPU holds wherever JAX runs.

| function | what it measures |
|---|---|
| `limits` | the rates of a copy and of matrix products, and the cost of a call |
| `sweeps` | runs side by side, beside optax under jit(vmap(scan)) |
| `leaves` | steps of one large array, beside optax |
| `lanczos` | products with the Hessian of a network and eigenvalues from them, beside a product by hand |
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdlab
import hessian
from gdlab.problems import network, network_loss, rosenbrock

from ..workloads.measured import Row, in_turns

Rates = Mapping[str, float]  # bytes and flops a second
START = np.array([-1.2, 1.0], np.float32)
PAIRS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {  # ours and that of optax, the same rule
    "momentum": (lambda lr: gdlab.momentum(lr, decay=0.9), lambda lr: optax.sgd(lr, momentum=0.9)),
    "adam": (gdlab.adam, optax.adam),
}


def waves(x: jax.Array) -> jax.Array:
    """A loss of sines and exponentials."""
    return jnp.sin(3 * x[0]) * jnp.cos(x[1]) + 0.1 * jnp.sum(x**2) + jnp.exp(-jnp.sum(x**2))


LOSSES = {"a polynomial": rosenbrock, "sin, cos and exp": waves}


def limits(rounds: int, numbers: int, size: int) -> list[Row]:
    """The rates of the device: bytes a second, flops a second of three kinds, and the seconds of a call."""
    held, one = [jnp.ones(numbers, jnp.float32)], jnp.float32(1)
    negate, add = jax.jit(jnp.negative, donate_argnums=0), jax.jit(lambda x: x + 1)

    def copy():
        held[0] = negate(held[0])  # in its place: memory that is new would cost more than the copy
        return held[0]

    kinds = {"float32, in full": ("highest", jnp.float32), "float32, as JAX does by itself": ("default", jnp.float32)}
    kinds["bfloat16"] = ("default", jnp.bfloat16)
    contenders = {"copy": (copy, 8 * numbers), "call": (lambda: add(one), 1)}
    for name, (precision, dtype) in kinds.items():
        product, square = jax.jit(partial(jnp.matmul, precision=precision)), jnp.ones((size, size), dtype)
        contenders[name] = (partial(product, square, square), 2 * size**3)
    timed = {name: least(seconds) for name, seconds in in_turns(contenders, rounds).items()}
    rows = [Row("a copy", f"{numbers:,} numbers", 1e-9 / timed["copy"], "GB/s, read and written")]
    rows += [Row(f"a matrix product, {name}", f"{size} x {size}", 1e-9 / timed[name], "GFLOP/s") for name in kinds]
    return [*rows, Row("a call of the smallest program", "1 number", 1e6 * timed["call"], "us")]


def rates_of(rows: list[Row]) -> Rates:
    """What the other measurements need of those rows."""
    return {"bytes": 1e9 * rows[0].value, "flops": 1e9 * rows[1].value}


def least(seconds: np.ndarray) -> float:
    """The shortest: what else the machine does only ever adds."""
    return float(seconds.min())


# --------------------------------------------------------------------------------------------------------- sweeps


def ours(name: str, loss: Callable[..., Any], steps: int, lr: Any) -> Any:
    """Where a run of this package ends."""
    return gdlab.minimize(loss, PAIRS[name][0](lr), START, steps, record=()).params


def theirs(name: str, loss: Callable[..., Any], steps: int, lr: Any) -> Any:
    """Where a run of optax in a scan ends."""
    optimizer = PAIRS[name][1](lr)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    start = jnp.asarray(START)
    return jax.lax.scan(step, (start, optimizer.init(start)), None, steps)[0][0]


def sweeps(rates: Rates, rounds: int, lanes: int, steps: int) -> list[Row]:
    """Nanoseconds of a lane and step, a rate a lane."""
    rows = []
    for name in PAIRS:
        for words, loss in LOSSES.items():
            swept, expert = np.geomspace(1e-5, 1e-3, lanes, dtype=np.float32), jax.tree_util.Partial(theirs, name, loss)
            run, at_once = partial(ours, name, loss, steps), jax.jit(jax.vmap(partial(expert, steps)))
            contenders: dict[str, tuple[Callable[..., Any], int]] = {
                "ours": (lambda run=run, swept=swept: gdlab.sweep(run, lr=swept)["value"].values, lanes * steps),
                "optax": (lambda go=at_once, swept=swept: np.asarray(go(swept)), lanes * steps),
            }
            timed = {who: 1e9 * least(seconds) for who, seconds in in_turns(contenders, rounds).items()}
            limit = 1e9 * flops_of(partial(expert, 1), jnp.float32(1)) / rates["flops"]
            row = Row(
                what=f"{name} on {words}",
                size=f"lanes: {lanes:,}, steps: {steps:,}",
                value=timed["ours"],
                unit="ns a lane and step",
                beside="optax, jit(vmap(scan)):",
                other=timed["optax"],
                limit=limit,
            )
            rows.append(row)
    return rows


def flops_of(fn: Callable[..., Any], *args: Any) -> float:
    """The floating operations of a program, as its compiler counts them before it compiles."""
    return float((jax.jit(fn).lower(*args).cost_analysis() or {}).get("flops", 0.0))


# ---------------------------------------------------------------------------------------------------- large leaves


def step_of(optimizer: Any, params: Any, state: Any, grads: Any) -> Any:
    """One step with a given gradient."""
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state


def leaves(rates: Rates, rounds: int, size: int) -> list[Row]:
    """Milliseconds of a step of one array; the limit reads gradient, parameters and state, and writes the last two."""
    rows = []
    for name, pair in PAIRS.items():
        grads = jnp.full(size, 1e-3, jnp.float32)
        timed = {}
        for who, make in zip(("ours", "optax"), pair, strict=True):  # one after the other: both would not fit
            optimizer = make(1e-3)
            held = [(jnp.ones(size, jnp.float32), optimizer.init(grads))]
            step = jax.jit(partial(step_of, optimizer), donate_argnums=(0, 1))

            def act(step=step, held=held, grads=grads):
                held[0] = step(*held[0], grads)
                return held[0][0]

            timed[who] = 1e3 * least(in_turns({who: (act, 1)}, rounds)[who])
        state = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(pair[1](1e-3).init, grads)))
        limit = 1e3 * 4 * (3 * size + 2 * state) / rates["bytes"]
        about = f"a step of {name}", f"one leaf of {size:,}"
        rows.append(Row(*about, timed["ours"], "ms", "optax:", timed["optax"], limit))
    return rows


# --------------------------------------------------------------------------------------------------------- Lanczos


def by_hand(params: Any, data: Any, v: Any) -> Any:
    """A product with the Hessian of the network's loss, forward over reverse, in full precision as ours."""
    with jax.default_matmul_precision("highest"):
        return jax.jvp(jax.grad(lambda p: network_loss(p, data)), (params,), (v,))[1]


def of_ours(params: Any, data: Any, v: Any) -> Any:
    """The same by this package."""
    return hessian.hvp(network_loss, params, data)(v)


def lanczos(rates: Rates, rounds: int, units: int, batch: int, products: int) -> list[Row]:
    """Milliseconds of a product with the Hessian of a network, alone and of those that find its lowest eigenvalue."""
    params = network(jax.random.key(0), (64, units, units, units, 10))
    data = jax.random.normal(jax.random.key(1), (batch, 64)), jnp.arange(batch) % 10
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    hand, mine = jax.jit(by_hand), jax.jit(of_ours)

    def lowest():
        return hessian.extremal(network_loss, params, data, num_matvecs=products)

    made = int(lowest().num_matvecs)
    contenders = {
        "hand": (lambda: hand(params, data, params), 1),
        "ours": (lambda: mine(params, data, params), 1),
        "lanczos": (lambda: lowest().eigenvalues, made),
    }
    timed = {name: 1e3 * least(seconds) for name, seconds in in_turns(contenders, rounds).items()}
    # Twice a gradient, which is three times a forward pass, of two flops for each weight and example.
    limit = 1e3 * 12 * batch * size / rates["flops"]
    about = f"{size:,} parameters, {batch} examples"
    named = {"ours": "a product with the Hessian", "lanczos": f"the lowest eigenvalue, a product of {made}"}
    beside = "a product by hand:"
    return [
        Row(what=words, size=about, value=timed[who], unit="ms", beside=beside, other=timed["hand"], limit=limit)
        for who, words in named.items()
    ]
