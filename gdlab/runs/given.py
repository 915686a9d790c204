"""The arguments of a run, checked.

| function | what it returns |
|---|---|
| `data_of` | what the loss is computed on |
| `validation_of` | how a run validates, and on what |
| `limits_of` | when a run may stop early |
| `countable` | the number of steps |
| `traced_or_static` | an optimizer as an argument of the compiled program, or as a part of it |
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gdlab.arguments import any_array, hyperparameter
from gdlab.ground.checks import prng_key, whole, within_bits
from gdlab.ground.leaves import as_array, shown
from gdlab.runs.data import fitting
from gdlab.runs.foreign import taken_apart
from gdlab.runs.loop import Data

COUNTABLE = 2**31 - 1  # steps: counts are int32


def countable(steps: int, taken: ArrayLike = 0) -> int:
    """The number of steps of a run; ValueError where an int32 cannot count them and those taken before."""
    steps = whole("steps", steps, 1, COUNTABLE)
    if not isinstance(taken, jax.core.Tracer) and steps > (left := COUNTABLE - int(np.asarray(taken).max())):
        msg = f"steps must be at most {left}, as {COUNTABLE - left} were taken before; got {steps}"
        raise ValueError(msg)
    return steps


def limits_of(tolerance: ArrayLike | None, patience: ArrayLike | None, min_delta: ArrayLike = 0.0) -> tuple | None:
    """Tolerance, patience and least fall of a run that may stop early; None for one that may not."""
    least_fall = hyperparameter("min_delta", min_delta, 0)
    if patience is None and not (isinstance(least_fall, float) and least_fall == 0):
        msg = f"min_delta must come with a patience, for which it says what a fall is; got {shown(min_delta)} without"
        raise ValueError(msg)
    if tolerance is None and patience is None:
        return None
    for name, limit in (("tolerance", tolerance), ("patience", patience), ("min_delta", min_delta)):
        if limit is not None and jnp.ndim(limit):
            msg = f"{name} must be one number, of all runs side by side too; got {shown(limit)}"
            raise ValueError(msg)
    return (
        -1.0 if tolerance is None else hyperparameter("tolerance", tolerance, 0),
        jnp.inf if patience is None else hyperparameter("patience", patience, 1),
        least_fall,
    )


def validation_of(validation: Any, args: Any, batches: Any) -> tuple[Callable | bool, Any]:
    """(how a run validates, the held-out data): a function of the model, or data in the place of the run's own."""
    if validation is None or callable(validation):
        return validation or False, None
    data = jax.tree.map(lambda leaf: any_array("validation", leaf, "a function, or a pytree of arrays"), validation)
    if batches is None and (not isinstance(data, tuple) or len(data) != len(args)):
        what = f"a tuple of {len(args)} in the place of args" if args else "a function of the parameters"
        msg = f"validation must be {what}, as there are no batches; got {shown(validation)}"
        raise TypeError(msg)
    return True, data


def traced_or_static(optimizer: Any, params: Any = None, state: Any = None) -> tuple[Any, Any]:
    """(traced, static): what of the optimizer is an argument of the compiled program, and what is a part of it.

    An optimizer of another library is its numbers and its program, given the params (and the state) of a run, or else
    static.
    """
    transformation(optimizer)
    if not any(_foreign(leaf) for leaf in jax.tree.leaves(optimizer)):
        return optimizer, None
    apart = None if params is None else taken_apart(optimizer, params, state)
    return (None, optimizer) if apart is None else apart


def _foreign(leaf):
    """Whether a leaf of an optimizer is not a number, but a function of another library."""
    return not isinstance(leaf, jax.Array | np.ndarray | np.number | float | int)


def data_of(args: Sequence[Any], batches: Any, key: jax.Array | None, steps: int, batched: Sequence[str] = ()) -> Data:
    """The data of a run of `steps` steps, checked; `batched` names the arguments with a leading axis of runs."""
    if not isinstance(args, Sequence) or isinstance(args, str):
        msg = f"args must be a tuple of further arguments of the loss; got {shown(args)}"
        raise TypeError(msg)
    if key is not None:
        prng_key("key", key, int("key" in batched))
    return Data(
        tuple(_arrays(f"args[{i}]", arg) for i, arg in enumerate(args)),
        fitting(batches, steps, lanes="batches" in batched),
        key,
    )


def _arrays(name, arg):
    """An argument of the loss, its leaves as arrays; TypeError where one cannot be."""

    def array(path, leaf):
        at = name + jax.tree_util.keystr(path)
        leaf = as_array(at, leaf)
        within_bits(at, leaf)
        if isinstance(leaf, jax.Array | np.ndarray | np.generic | bool | int | float | complex):
            return leaf
        msg = f"{at} must be an array, as it is traced; got {shown(leaf)}: bind it to the loss by functools.partial"
        raise TypeError(msg)

    return jax.tree_util.tree_map_with_path(array, arg)


def transformation(optimizer: Any) -> None:
    """Raise TypeError for what lacks `init` or `update`."""
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        msg = f"optimizer must be optax-compatible, such as gdlab.adam(1e-3); got {shown(optimizer)}"
        raise TypeError(msg)
