"""A workload: a loss, the starts that all optimizers share, and the ranges that fit it.

| problem | parameters | starts |
|---|---|---|
| `surface` | a point of a surface of `gdlab.problems` | on a saddle, 1e-6 beside it, declared, random |
| `pokemon` | (b, w) of the lectures' regression (section 2.1) | the lectures' start, then random in their box |
| `digits` | weights of a 64-10-10 network | random initialisations; mini-batches of 64 |
| FILE.py:FUNCTION | the user's own, any pytree | the user's, then random around them |
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gdlab import minibatches
from gdlab.problems import (
    POKEMON_START,
    digits,
    network,
    network_loss,
    pokemon,
    pokemon_loss,
    surface,
)

from ..cli.settings import InputError, OnProblem, at_least_one, deviation, learning_rates
from ..workloads.user_loss import target

FEW = 10  # parameters
MOST_STARTS = 10**7


class Workload(NamedTuple):
    """A loss with all that a race on it needs."""

    name: str
    loss: Callable[..., jax.Array]  # loss(params, *args), on all data
    args: tuple[Any, ...]  # the data
    starts: Any  # pytree with a leading axis of starts
    seen_as: list[str]  # a name for each start
    batches: Callable[[jax.Array], Any] | None  # key -> mini-batches, which take the place of args
    lr: str  # default range
    steps: int  # default number of steps
    box: Sequence[Sequence[float]] | None  # the window to draw; None where it is no surface over two parameters
    points: list[tuple[tuple[float, ...], str]]  # known critical points and their kinds

    @property
    def unravel(self) -> Callable[[jax.Array], Any]:
        """From a flat vector to parameters."""
        return ravel_pytree(jax.tree.map(lambda leaf: leaf[0], self.starts))[1]

    def flat_loss(self, theta: jax.Array) -> jax.Array:
        """The loss of a flat vector, on all data."""
        return self.loss(self.unravel(theta), *self.args)

    @property
    def few(self) -> bool:
        """Whether there are few enough parameters to classify and draw every run."""
        return sum(leaf[0].size for leaf in jax.tree.leaves(self.starts)) <= FEW


def load(settings: OnProblem) -> Workload:
    """The workload that the settings ask for.

    Raises:
        InputError: for an unknown surface, a loss or parameters that cannot be used, or too many starts.
    """
    if (settings.starts or 1) > MOST_STARTS:
        raise InputError(f"starts must be at most {MOST_STARTS}, as each start has a name; got {settings.starts}")
    deviation(settings.spread)
    if settings.target is not None:
        return _own(settings)
    return {"surface": _surface, "pokemon": _pokemon, "digits": _digits}[settings.problem](settings)


def rates_of(settings: OnProblem, workload: Workload) -> tuple[float, float, int]:
    """The range of learning rates that the settings ask for, or that fits the workload: lowest, highest, how many.

    Raises:
        InputError: for a range that is none, or more runs of an optimizer than 32 bits count.
    """
    low, high, count = learning_rates(workload.lr if settings.lr is None else settings.lr)
    at_least_one("lr times starts", count * len(workload.seen_as))
    return low, high, count


def _surface(settings):
    try:
        chosen = surface(settings.surface)
    except ValueError as error:
        raise InputError(str(error)) from None
    starts, seen_as = _surface_starts(chosen, settings.starts or 16, np.random.default_rng(settings.seed))
    return Workload(
        name=chosen.name,
        loss=chosen.loss,
        args=(),
        starts=starts,
        seen_as=seen_as,
        batches=None,
        lr="1e-4:1:40",
        steps=2000,
        box=chosen.box if chosen.dim == 2 else None,
        points=[(point.x, point.kind) for point in chosen.critical_points],
    )


def _own(settings):
    chosen = target(settings)
    if chosen.surface is not None and settings.params is None:
        return _surface(replace(settings, surface=chosen.name))
    theta, unravel = ravel_pytree(chosen.params)
    few = theta.size <= FEW
    count = settings.starts or (16 if few else 4)
    around = settings.spread * np.random.default_rng(settings.seed).normal(size=(count - 1, theta.size))
    starts = jnp.concatenate([theta[None], theta + jnp.asarray(around, theta.dtype)])
    if not np.isfinite(float(jnp.max(jnp.abs(starts))) + 3 * settings.spread):
        raise InputError(f"spread must keep the starts within finite numbers; got {settings.spread}")
    return Workload(
        name=chosen.name,
        loss=chosen.loss,
        args=(),
        starts=jax.vmap(unravel)(starts),
        seen_as=["the params", *["random"] * (count - 1)],
        batches=None,
        lr="1e-4:1:40" if few else "1e-4:1:12",
        steps=2000 if few else 400,
        box=[_window(float(x), settings.spread) for x in theta] if theta.size == 2 else None,
        points=[],
    )


def _window(x, spread):
    """What is drawn around a parameter: three deviations, and as much as floating-point numbers can tell apart."""
    half = max(3 * spread, 1e-3 * abs(x)) or 1.0
    return x - half, x + half


def _surface_starts(chosen, count, rng):
    low, high = np.array(chosen.box).T
    trap = _trap(chosen.critical_points)
    places = [np.array(trap.x)] if trap else []
    name = trap and {"saddle": "the saddle", "degenerate": "the degenerate point"}[trap.kind]
    starts = [(place, f"on {name}") for place in places]
    for place in places * 2:
        toward = rng.normal(size=chosen.dim)
        starts.append((place + 1e-6 * toward / np.linalg.norm(toward), f"1e-6 beside {name}"))
    starts += [(np.array(start), "declared") for start in chosen.starts if not any(_near(start, p) for p in places)]
    starts = starts[: max(count - 1, 1)]
    starts += [(rng.uniform(low, high), "random") for _ in range(count - len(starts))]
    return jnp.array([start for start, _ in starts]), [name for _, name in starts]


def _trap(points):
    """The critical point on and beside which races start: the first saddle, else the highest degenerate one, if any."""
    saddles = [point for point in points if point.kind == "saddle"]
    degenerate = [point for point in points if point.kind == "degenerate"]
    return saddles[0] if saddles else max(degenerate, key=lambda point: point.value, default=None)


def _near(a, b):
    return np.linalg.norm(np.asarray(a) - np.asarray(b)) < 1e-6


def _pokemon(settings):
    rng = np.random.default_rng(settings.seed)
    count = settings.starts or 16
    box = ((-200.0, -100.0), (-5.0, 5.0))
    low, high = np.array(box).T
    others = rng.uniform(low, high, size=(count - 1, 2))
    return Workload(
        name="pokemon",
        loss=pokemon_loss,
        args=(pokemon(),),
        starts=jnp.concatenate([jnp.array([POKEMON_START]), jnp.array(others)]),
        seen_as=["the lectures' start", *["random"] * (count - 1)],
        batches=None,
        lr="1e-8:10:40",
        steps=20_000,
        box=box,
        points=[],
    )


def _digits(settings):
    count = settings.starts or 4
    data = digits()
    keys = jax.random.split(jax.random.key(settings.seed), count)
    return Workload(
        name="digits",
        loss=network_loss,
        args=(data,),
        starts=jax.jit(jax.vmap(lambda key: network(key, (64, 10, 10))))(keys),
        seen_as=["random"] * count,
        batches=lambda key: minibatches(data, 64, key=key),
        lr="1e-3:1:12",
        steps=400,
        box=None,
        points=[],
    )


def spaced(low: float, high: float, count: int) -> jax.Array:
    """Learning rates, evenly on a log scale."""
    return jnp.geomspace(low, high, count) if count > 1 else jnp.array([low])
