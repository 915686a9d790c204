"""The page that computes as a widget, in Jupyter, marimo and VS Code; its state is read and set from Python.

from ..playground.widget import playground
seen = playground(lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, "gd adam", box=((-2, 2), (-2, 2)))
seen                                            shows it
seen.state["start"]                             where the start was dragged to
seen.state = {"start": [0.0, 0.1]}              moves it; what is not named stays
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdlab.problems import surface

from ..cli.settings import LECTURE_OPTIMIZERS
from ..playground import gallery
from ..playground.live import Scene, computing
from ..playground.plane import Plane
from ..workloads.optimizers import named_optimizers

try:
    import anywidget
    import traitlets
except ImportError as error:
    msg = "playground needs anywidget: install gdlab with its extra notebook"
    raise ImportError(msg) from error

HEIGHT, STEPS = 1000, 1000
WORDS = "Drag the start, turn a number, type a loss of your own."


class Playground(anywidget.AnyWidget):
    """The page as a widget."""

    _esm = Path(__file__).parent / "widget.js"
    _page = traitlets.Unicode().tag(sync=True)
    height = traitlets.Int(HEIGHT).tag(sync=True)  # in pixels
    state = traitlets.Dict().tag(sync=True)  # what the user chose


def playground(
    loss: str | Callable[[Any], jax.Array],
    optimizers: str | Sequence[str] | Mapping[str, Callable[[Any], Any]] = LECTURE_OPTIMIZERS,
    *,
    box: Sequence[Sequence[float]] = ((-2.0, 2.0), (-2.0, 2.0)),
    steps: int = STEPS,
) -> Playground:
    """The page of a loss in a notebook.

    Args:
        loss: a function of one array of two numbers, or the name of a surface of `gdlab.problems`.
        optimizers: names as `race` takes them, or functions of a learning rate by name.
        box: the window, (low, high) of each number; that of a surface is its own.
        steps: of each run, 1 to 5000; the page has a slider for it.

    Returns:
        The widget; `state` holds what is chosen on it, and can be set.

    Raises:
        ValueError: for a window that is none, an unknown name, or a loss or an optimizer that the page cannot compute.
    """
    if isinstance(optimizers, str):
        optimizers = optimizers.split()
    chosen = dict(optimizers) if isinstance(optimizers, Mapping) else named_optimizers(optimizers)
    return Playground(_page=computing("gdlab playground", [_scene(loss, box)], chosen, steps))


def _scene(loss, box):
    """The loss with nothing known about it: the page tunes the rates, and seeks the critical points."""
    if isinstance(loss, str):
        with jax.enable_x64(True):
            return gallery.scene(surface(loss))
    sides = np.asarray(box, float)
    if sides.shape != (2, 2) or not np.isfinite(sides).all() or not (sides[:, 0] < sides[:, 1]).all():
        msg = f"box must hold (low, high) of each of two numbers, low below high and both finite; got {box!r}"
        raise ValueError(msg)
    plane = Plane(jnp.zeros(2), jnp.eye(2), [(float(low), float(high)) for low, high in sides], ("θ₁", "θ₂"), "")
    return Scene(
        name=getattr(loss, "__name__", "loss"),
        words=WORDS,
        loss=loss,
        params=np.zeros(2),
        plane=plane,
        starts=[],
        points=None,
        rates=None,
        typed=True,
    )
