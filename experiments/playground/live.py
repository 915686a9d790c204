"""The live page: a race whose loss and optimizers are JavaScript, so that a browser computes every run again.

    x = B (theta - theta_0)        where a run is drawn, as on the page that replays (`page`)

Nothing is written twice: value, gradient, Hessian, eigenvalues, the plane, and each step with its eta, sigma and m are
emitted from the functions that the race ran.  What the emitter refuses is `Refused`, and its page replays instead.
"""

import html
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gdlab.equation import Optimizer
from gdlab.optimizers.inspect import inspect
from gdlab.pieces import NONNEGATIVE, ranges
from hessian.proofs.program import as_data
from hessian.proofs.record import Proof, data_of_ball

from ..playground.emit import PRELUDE, Refused, emitted
from ..playground.plane import Plane
from ..playground.template import filled, script
from ..reporting import figures

ABOUT = "A loss and the runs of optimizers on it, computed in this page"
LARGEST = 300_000  # characters of all functions of a page
NAMES = ("embed", "project", "onto", "height", "slope", "look", "eigen")  # of the functions of the surface
SCRIPTS = (
    "draw.js",
    "live.js",
    "words.js",
    "models.js",
    "basins.js",
    "intervals.js",
    "proof.js",
    "svg.js",
    "controls.js",
)
RATE = 0.01  # of an optimizer that the page tunes
TYPED = """<label class="text">a loss of your own <input id="typed" type="text" spellcheck="false" autocomplete="off"
      placeholder="x^4 - 2x^2 + y^2" aria-describedby="said"></label><p id="said" role="status"></p>"""
ENDLESS = 1e300  # stands for a range without an end, which JSON has not


class Scene(NamedTuple):
    """A surface of a page that computes."""

    name: str
    words: str
    loss: Callable[[Any], jax.Array]
    params: Any  # parameters of these shapes
    plane: Plane
    starts: list[tuple[str, Any]]  # the name and the numbers of each, the first of which is chosen
    points: list[dict[str, Any]] | None  # critical points in the plane; None where the page seeks them
    rates: list[float] | None  # of the optimizers; None where the page tunes them
    typed: bool = False  # whether a loss of one's own may take its place
    proofs: Sequence[Proof] = ()


def computing(title: str, scenes: Sequence[Scene], optimizers: dict[str, Any], steps: int) -> str:
    """The page that computes every run, on one surface or on any of several.

    Raises:
        Refused: where a loss or an optimizer cannot be written as JavaScript, or the whole is too large.
    """
    with jax.enable_x64(True):
        text, cards, sizes = code(scenes, optimizers)
        shown = [_shown(scene, size) for scene, size in zip(scenes, sizes, strict=True)]
    for card, colour in zip(cards, figures.colors(list(optimizers)).values(), strict=True):
        card["colour"] = colour
    data = {
        "optimizers": cards,
        "kinds": {kind: colour for kind, (_, colour) in figures.MARKS.items()},
        "steps": steps,
        "surfaces": shown,
    }
    texts = {
        "words": html.escape(scenes[0].words),
        "typed": TYPED if any(scene.typed for scene in scenes) else "",
        "code": text,
        "shared": script("typed.js", "walk.js"),
        "script": script(*SCRIPTS),
    }
    return filled("live.html", title, data, texts, about=ABOUT, marks="data-live")


def _shown(scene, sizes):
    """What the page must know of a surface, beside its functions."""
    plane = scene.plane
    basis, origin = np.asarray(plane.basis), np.asarray(plane.origin)
    return {
        "name": scene.name,
        "words": scene.words,
        "size": basis.shape[1],
        "plain": basis.shape == (2, 2) and bool(np.all(basis == np.eye(2))),
        "axes": plane.axes,
        "box": plane.box,
        "starts": [{"name": name, "x": (basis @ (np.asarray(x) - origin)).tolist()} for name, x in scene.starts],
        "points": None if scene.points is None else [_with_record(point, scene.proofs) for point in scene.points],
        "rates": scene.rates,
        "typed": scene.typed,
        "states": sizes,
        "program": as_data(scene.proofs[0].program) if scene.proofs else None,
        "proofs": [
            {name: data_of_ball(one.ball)[name] for name in ("index", "center", "radius")} for one in scene.proofs
        ],
    }


def _with_record(point, proofs):
    """A point with the number of the proof whose ball holds it, if any."""
    theta = np.asarray(point["theta"])
    held = (k for k, one in enumerate(proofs) if np.all(np.abs(theta - one.center) <= one.radius))
    shown = {name: value for name, value in point.items() if name != "theta"}
    return {**shown, "record": next(held, None)}


def code(scenes: Sequence[Scene], optimizers: dict[str, Any]) -> tuple[str, list[Any], list[list[int]]]:
    """The functions of the surfaces of a page, its optimizers, and on each surface the sizes of their states.

    An optimizer is emitted once for all parameters of one structure.

    Raises:
        Refused: where a loss, an optimizer or the size of the whole does not fit a page.
    """
    texts, ends, sizes = [PRELUDE], [], []
    cards: list[Any] = []
    steppers: dict[str, tuple[str, list[int]]] = {}
    for scene in scenes:
        theta, unravel = ravel_pytree(jax.tree.map(jnp.asarray, scene.params))
        origin, basis = jnp.asarray(scene.plane.origin, float), jnp.asarray(scene.plane.basis, float)
        key = str(jax.tree.map(jnp.shape, scene.params))
        if key not in steppers:
            made, cards = [], []
            for i, (name, factory) in enumerate(optimizers.items()):
                rate = scene.rates[i] if scene.rates else RATE
                functions, card = stepper(i, factory, rate, theta, unravel)
                made += functions
                cards.append({"name": name, **card})
            listed = ",".join(f"{one}{i}" for i in range(len(cards)) for one in ("init", "step"))
            steppers[key] = (f"of{len(steppers)}", [card.pop("state") for card in cards])
            texts.append(f"const {steppers[key][0]}=(()=>{{{''.join(made)}return {{{listed}}}}})();")
        made = surface(lambda x, scene=scene, unravel=unravel: scene.loss(unravel(x)), origin, basis, theta)
        ends.append(f"{{...{steppers[key][0]},...(()=>{{{''.join(made)}return {{{','.join(NAMES)}}}}})()}}")
        sizes.append(steppers[key][1])
    text = "\n".join([*texts, f"return [{','.join(ends)}];"])
    if len(text) > LARGEST:
        msg = f"the functions of the page have {len(text)} characters; {LARGEST} fit"
        raise Refused(msg)
    return text, cards, sizes


def surface(loss: Any, origin: Any, basis: Any, theta: Any) -> list[str]:
    """The functions of the surface: to the plane and back, the loss there, and all there is to know of a point."""
    ab = jnp.zeros(2)

    def embedded(x):
        return origin + basis.T @ x

    def inside(x):
        return loss(embedded(x))

    return [
        emitted("embed", embedded, ab),
        emitted("project", lambda theta: basis @ (theta - origin), theta),
        emitted("onto", lambda way: basis @ way, theta),
        emitted("height", inside, ab),
        emitted("slope", jax.value_and_grad(loss), theta),
        emitted("look", lambda x: (*jax.value_and_grad(inside)(x), *eigen(jax.hessian(inside)(x))), ab),
        emitted("eigen", eigen, jnp.zeros((2, 2))),
    ]


def eigen(h: jax.Array) -> tuple[jax.Array, ...]:
    """The Hessian of two parameters, its eigenvalues, the lower first, and the eigenvectors of both, as rows."""
    middle, half, beside = (h[0, 0] + h[1, 1]) / 2, (h[0, 0] - h[1, 1]) / 2, (h[0, 1] + h[1, 0]) / 2
    size = jnp.maximum(jnp.abs(half), jnp.abs(beside))
    unit = jnp.where(size > 0, size, 1.0)
    radius = size * jnp.sqrt((half / unit) ** 2 + (beside / unit) ** 2)
    angle = jnp.arctan2(beside, half) / 2
    high = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    low = jnp.stack([-jnp.sin(angle), jnp.cos(angle)])
    return h, middle - radius, middle + radius, low, high


def stepper(i: int, factory: Any, rate: float, theta: Any, unravel: Any) -> tuple[list[str], dict[str, Any]]:
    """The functions of an optimizer: its first state, and a step of it; its hyperparameters and sizes.

    A step is made on the parameters as the loss takes them, for some optimizers ask where one array ends.
    """
    optimizer = factory(rate)
    if isinstance(optimizer, Optimizer):
        numbers, rebuild = jax.tree.flatten(optimizer)
        named = [(name, value, allowed) for name, value, allowed in ranges(optimizer) if value is not None]
    else:  # of optax only the rate is known
        numbers, rebuild, named = [rate], None, [("learning rate", rate, NONNEGATIVE)]
    if len(named) != len(numbers) or any(np.ndim(one) for one in numbers):
        msg = f"hyperparameters that are not numbers, of optimizer {i + 1}, have no place on a page that computes"
        raise Refused(msg)
    plain = theta.size == 2

    def of(hypers):
        return factory(hypers[0]) if rebuild is None else jax.tree.unflatten(rebuild, hypers)

    def step(hypers, state, theta, grads, value):
        one, params, grads = of(hypers), unravel(theta), unravel(grads)
        nothing = jnp.full(2, jnp.nan)
        try:
            made, state = inspect(one).step(grads, state, params, value=value, grad=grads)
        except ValueError:  # optax's own, of which eta, sigma and m are not known
            update, state = one.update(grads, state, params)
            update = ravel_pytree(update)[0]
            return state, jnp.nan, nothing, jnp.full_like(theta, jnp.nan), update, theta + update
        sizes = jax.tree.map(jnp.broadcast_to, made.sigma, jax.tree.map(jnp.shape, params)) if plain else nothing
        sigma, m, update = (ravel_pytree(tree)[0] for tree in (sizes, made.m, made.update))
        return state, jnp.mean(made.eta), sigma, m, update, theta + update

    hypers = [jnp.asarray(one, float) for one in numbers]
    try:
        state = of(hypers).init(unravel(theta))
        texts = [
            emitted(f"init{i}", lambda hypers, theta: of(hypers).init(unravel(theta)), hypers, theta),
            emitted(f"step{i}", step, hypers, state, theta, theta, theta[0]),
        ]
    except (TypeError, AttributeError) as error:  # a library that cannot be traced by its rate, or needs more
        msg = f"optimizer {i + 1} has no step that can be emitted"
        raise Refused(msg) from error
    size = sum(jnp.size(one) for one in jax.tree.leaves(state))
    rate_at = next((k for k, (name, *_) in enumerate(named) if name.endswith("rate")), -1)
    return texts, {"hypers": [_slider(*one) for one in named], "rate": rate_at, "state": size}


def _slider(name, value, allowed):
    """What a slider must know of a hyperparameter."""
    ends = [float(np.clip(end, -ENDLESS, ENDLESS)) for end in (allowed.low, allowed.high)]
    return {"name": name, "value": float(value), "low": ends[0], "high": ends[1]}


__all__ = ["Refused", "Scene", "computing"]
