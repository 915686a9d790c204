"""A function as the call that made it: its name, and the numbers and functions that it holds.

    optax.cosine_decay_schedule(0.1, 100)   ->   cosine_decay_schedule(alpha=0.0, decay_steps=100, ...)

What Python shows of a function is an address, which says nothing and is another one in every process.

| name | what it is |
|---|---|
| `as_call` | the call |
"""

import functools
import re
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

__all__ = ["as_call"]

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
DEEPEST = 4  # calls within calls
SAID = (bool, int, float, complex, str, tuple, list, dict, jax.Array, np.ndarray)
ADAPTER = "with_extra_args_support"  # of optax: it changes nothing


def as_call(function: Callable[..., Any]) -> str:
    """The call that made a function or an optimizer; the repr of another callable, without addresses.

    >>> import optax
    >>> as_call(optax.cosine_decay_schedule(0.5, 100))
    'cosine_decay_schedule(alpha=0.0, decay_steps=100, exponent=1.0, init_value=0.5)'
    """
    return _call(function, DEEPEST)


def _call(value, depth):
    while hasattr(value, "fun") or hasattr(value, "update"):  # within a `jax.tree_util.Partial`; an optimizer
        value = value.fun if hasattr(value, "fun") else value.update
    value = getattr(value, "__self__", value)
    if isinstance(value, functools.partial):
        named = [f"{name}={_part(one, depth)}" for name, one in value.keywords.items()]
        given = [*(_part(one, depth) for one in value.args), *named]
        return f"{_call(value.func, depth)}({', '.join(given)})" if given else _call(value.func, depth)
    if not isinstance(value, types.FunctionType):
        return ADDRESS.sub("", repr(value))
    name, held = value.__qualname__.split(".<locals>")[0], dict(_held(value))
    alone = next(iter(held.values())) if len(held) == 1 else None
    if name == ADAPTER and alone is not None:
        return _call(alone, depth)
    if not depth:
        return name
    if type(alone) in (tuple, list):  # a chain
        return f"{name}({_part(alone, depth)[1:-1]})"
    said = {label: _part(one, depth - 1) for label, one in held.items() if isinstance(one, SAID) or callable(one)}
    # What begins with its own name is a helper, defined beside it.
    said = {label: text for label, text in said.items() if text.split("(")[0] != name}
    return f"{name}({', '.join(f'{label}={text}' for label, text in said.items())})" if said else name


def _held(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """The names and values of the closure of a function."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if cell != types.CellType():
            yield name, cell.cell_contents


def _part(value, depth):
    if isinstance(value, jax.Array | np.ndarray):
        concrete = value.size == 1 and not isinstance(value, jax.core.Tracer)
        return repr(value.item()) if concrete else f"{value.dtype}{list(value.shape)}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_part(one, depth)}" for key, one in value.items()) + "}"
    if isinstance(value, tuple | list) and not hasattr(value, "update"):
        return f"[{', '.join(_part(one, depth) for one in value)}]"
    return _call(value, depth)
