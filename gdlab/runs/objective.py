"""The loss of a run, in the one form that its loop knows.

    value, (carried, aux)  =  objective(params, carried, ...)         carried = (rest, model_state)

A loss may return its value alone, or (value, aux).  With a state of the model it takes that behind the parameters and
returns the next one, (value, model_state) or (value, (model_state, aux)).  A module whose variables change in place, as
those of a BatchNorm do, needs no state: what changed is read off.

| name | what it is |
|---|---|
| `Objective` | the loss in this form |
| `Start` | what a run starts from: the trained part, and what is carried |
| `begun` | both, of the arguments of a run |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax

from gdlab.arguments import any_array
from gdlab.ground.checks import function
from gdlab.ground.leaves import shown
from gdlab.models import Model, like, partition
from gdlab.runs.gradients import number, traced


class Start(NamedTuple):
    """What a run starts from."""

    params: Any  # the trained part
    carried: tuple  # (arrays of the model that are not trained, its state)


@dataclass(frozen=True)
class Objective:
    """A loss that takes and returns what is carried; equal for equal losses, so that it is traced once."""

    loss: Callable[..., Any]
    model: Model | None = None
    stateful: bool = False

    def __call__(self, params: Any, carried: tuple, *args: Any, **keyed: Any) -> tuple[jax.Array, tuple]:
        """The value, and (what is carried on, aux)."""
        rest, state = carried
        whole = self.whole(params, carried)
        given = (whole, state) if self.stateful else (whole,)
        value, aux = parted(traced(self.loss, "loss")(*given, *args, **keyed), pair=self.stateful)
        if self.model is not None:
            rest = self.model.carried(whole, rest)
        if self.stateful:
            state, aux = _next(aux, state)
        return value, ((rest, state), aux)

    def whole(self, params: Any, carried: tuple) -> Any:
        """The model, as the loss takes it."""
        return params if self.model is None else self.model.combine(params, carried[0])

    def explained(self, recorders: Sequence[tuple[str, Callable]]) -> Sequence[tuple[str, Callable]]:
        """The recorders; what one raises has a note where the parameters that it sees are not all of the model."""
        return recorders if self.model is None else [(name, partial(_noted, one)) for name, one in recorders]


def begun(loss: Callable[..., Any], params: Any, trainable: Any, model_state: Any) -> tuple[Objective, Start]:
    """The objective and the start of a run."""
    function("loss", loss, "loss(params, ...) -> scalar")
    params, rest, model = partition("params", params, trainable)
    state = jax.tree.map(lambda leaf: any_array("model_state", leaf, "a pytree of arrays"), model_state)
    return Objective(loss, model, model_state is not None), Start(params, (rest, state))


def _noted(recorder, *args):
    """What a recorder of a part of a model returns."""
    try:
        return recorder(*args)
    except Exception as error:  # a recorder of a user may raise anything
        error.add_note("In a recorder step.params is the trained part alone; step.model is the whole model.")
        raise


def parted(out: Any, name: str = "loss", pair: bool = False) -> tuple[jax.Array, Any]:
    """(value, aux) of what a loss returned; aux is None where that is a number."""
    is_pair = isinstance(out, tuple) and len(out) == 2
    if pair and not is_pair:
        msg = f"{name} must return (value, model_state) where model_state is given; got {shown(out)}"
        raise ValueError(msg)
    return (number(out[0], name), out[1]) if is_pair else (number(out, name), None)


def _next(aux, state):
    """The state after a step, and what else the loss returned."""
    structure: Any = jax.tree.structure(state)
    if structure == jax.tree.structure(aux):
        new, aux = aux, None
    elif isinstance(aux, tuple) and len(aux) == 2 and structure == jax.tree.structure(aux[0]):
        new, aux = aux
    else:
        msg = "loss must return (value, model_state) or (value, (model_state, aux)), the state like the one given, "
        msg += f"{structure}; got {jax.tree.structure(aux)}"
        raise ValueError(msg)

    def kept(path, new, old):
        return like(f"model_state{jax.tree_util.keystr(path)}", new, old)

    return jax.tree_util.tree_map_with_path(kept, new, state), aux
