"""A run that goes on: where it stood, and what it cannot go on with.

| function | what it returns |
|---|---|
| `resumable` | nothing; raises for a run of other params, another state of the model or another validation |
| `carry_of` | where a run goes on |
| `alike` | the same; raises where the optimizer or the batches keep other arrays than those of the run |
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import keystr

from gdlab.ground.leaves import is_array, is_floating, shown
from gdlab.models import partition
from gdlab.runs.loop import Carry, Loop, LoopState
from gdlab.runs.objective import Start


def resumable(run: Any, params: Any, model_state: Any, validates: bool | None) -> None:
    """Raise ValueError where a run goes on from one of other params, another state of the model or another validation.

    Whether this one validates matters only where both look at the lowest loss: else it is None.
    """
    if jnp.ndim(run.steps):
        msg = f"state must be one run; got {jnp.size(run.steps)} side by side, which go on within jax.vmap"
        raise ValueError(msg)
    for name, given in (("params", params), ("model_state", model_state)):
        there, came = _shapes(getattr(run, name)), _shapes(given)
        if given is not None and came != there:
            msg = f"{name} must be like that of the run to go on from, of shapes {there}; got shapes {came}"
            raise ValueError(msg)
    if validates is not None and run.history and ("validation" in run.history) != validates:
        msg = "validation must be given where the run to go on from had one, and only there, as they share one lowest "
        msg += f"loss; got {'one' if validates else 'none'}"
        raise ValueError(msg)


def _shapes(tree):
    """The shapes of the arrays of a pytree."""
    return [jnp.shape(leaf) for leaf in jax.tree.leaves(tree) if is_array(leaf) or is_floating(leaf)]


def carry_of(run: Any, start: Start, trainable: Any) -> Carry:
    """Where a run goes on."""
    best = run.rest.best
    if best is not None:
        best = best._replace(params=partition("params", best.params, trainable)[0])
    at = LoopState(run.steps, start.params, run.state, run.rest.stream, start.carried)
    return Carry(at, run.rest.watch, best, run.rest.recorders)


def alike(carry: Carry, loop: Loop, start: Start) -> Carry:
    """The carry of a run that goes on; ValueError where the optimizer or the batches of the loop keep other arrays."""
    begins = jax.eval_shape(loop.stepper.init, start)
    for name, part in (("batches", "stream"), ("optimizer", "state")):
        there, came = _parts(getattr(carry.at, part)), _parts(getattr(begins, part))
        if there != came:
            wanted, got = ", ".join(sorted(there - came)) or "none", ", ".join(sorted(came - there)) or "none"
            msg = f"{name} must keep the arrays that the run to go on from kept, {wanted}; got {got}"
            raise ValueError(msg)
    return carry


def _parts(tree):
    """The arrays of a pytree, each by its path, dtype and shape, and where it has none, itself."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named = {f"{keystr(path).lstrip('.')} {jnp.result_type(leaf)}{[*jnp.shape(leaf)]}" for path, leaf in leaves}
    return named or {shown(tree)}
