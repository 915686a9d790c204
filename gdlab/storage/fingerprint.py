"""Fingerprints: a hash of a traced function that is the same in every process.

The text of a jaxpr shows the arrays that it closes over by shape alone, so their values are hashed as well, those of
nested jaxprs included.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np


def fingerprint(traced: Any) -> bytes:
    """A hash of a closed jaxpr and of all arrays that it closes over, at any depth.

    >>> import jax.numpy as jnp
    >>> def made(array):
    ...     return jax.make_jaxpr(jax.jit(lambda x: x + array))(jnp.zeros(2))
    >>> fingerprint(made(jnp.ones(2))) == fingerprint(made(jnp.zeros(2)))
    False
    """
    hashed = hashlib.sha256(text_of(traced.jaxpr).encode())
    for constant in _constants(traced.jaxpr, traced.consts):
        hashed.update(array_bytes(constant))
    return hashed.digest()


def text_of(jaxpr: Any) -> str:
    """The text of a program, the same in every process: operations and shapes, without the arrays it closes over."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(jaxpr))


def array_bytes(array: Any) -> bytes:
    """The numbers of an array or of PRNG keys."""
    keys = isinstance(array, jax.Array) and jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)
    return np.ascontiguousarray(jax.random.key_data(array) if keys else array).tobytes()


def _constants(jaxpr: Any, consts: Any) -> Iterator[Any]:
    yield from consts
    for equation in jaxpr.eqns:
        yield from (value.val for value in equation.invars if hasattr(value, "val"))
        for parameter in equation.params.values():
            for inner in parameter if isinstance(parameter, list | tuple) else (parameter,):
                if hasattr(inner, "consts"):
                    yield from _constants(inner.jaxpr, inner.consts)
                elif hasattr(inner, "eqns"):
                    yield from _constants(inner, ())
