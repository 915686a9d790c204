"""Fusion: a small program, with all of its loops, compiled to one kernel.

On a CPU each operation of a loop's body is a kernel of its own, and each call costs about 50 ns per iteration.  Runs
over a few numbers spend most of their time there; as one kernel they run at the speed of loops written in C.  Large
arrays and matrix products are better off with the kernels of the library, which know the cache and all cores.

| function | what it does |
|---|---|
| `fits_kernel` | whether a program is better as one kernel |
| `as_kernel` | the function, marked to be compiled as one |
"""

import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata

from gdlab.ground.jaxprs import jaxprs_in_params

LARGEST_ARRAY = 2**12  # numbers in one array of a kernel
LARGEST_PRODUCT = 16  # multiplications in one matrix product, whose loops are plain in a kernel

# Operations that call a library, which a kernel cannot, by a word of their names.
# fmt: off
OF_LIBRARIES = frozenset((
    "callback", "cholesky", "conv", "cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "eig", "eigh",
    "ffi", "fft", "hessenberg", "householder", "infeed", "lu", "outfeed", "qr", "rng", "scatter", "schur",
    "sort", "svd", "top", "triangular", "tridiagonal", "window",
))
# fmt: on


def fits_kernel(jaxpr: Any) -> bool:
    """Whether a program on a CPU is better as one kernel: it loops, over small arrays, with simple operations only."""
    equations = list(_equations(jaxpr))
    loops = any(looped for _, looped in equations)
    return loops and jax.default_backend() == "cpu" and all(itertools.starmap(_is_simple, equations))


def _equations(jaxpr: Any, looped: bool = False) -> Iterator[tuple[Any, bool]]:
    """The equations of a program and of all that it calls, and whether they stand in a loop."""
    for equation in jaxpr.eqns:
        yield equation, looped
        inside = looped or equation.primitive.name in ("scan", "while")
        for inner in jaxprs_in_params(equation.params):
            yield from _equations(getattr(inner, "jaxpr", inner), inside)


def _is_simple(equation, looped):
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        lengths = [equation.invars[0].aval.shape[axis] for axis in contracted]
        return math.prod(lengths) * equation.outvars[0].aval.size <= LARGEST_PRODUCT
    small = not looped or all(getattr(v.aval, "size", 1) <= LARGEST_ARRAY for v in equation.outvars)
    return small and OF_LIBRARIES.isdisjoint(re.split("[-_]", equation.primitive.name))


def as_kernel(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function, marked to be compiled as one kernel; elsewhere than on a CPU the mark says nothing.

    The fused call also returns its inputs, because XLA's CPU compiler crashes when simplification leaves one unused.
    """
    called = jax.jit(lambda *args: (fn(*args), args))

    def marked(*args):
        both = set_xla_metadata(called(*args), xla_cpu_small_call="true", inlineable="false")
        return jax.lax.optimization_barrier(both)[0]  # without it the returned inputs would be removed

    return marked
