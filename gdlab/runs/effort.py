"""How much effort the compiler makes: little for a program of many operations on few numbers.

Such a program, as a second-order optimizer on a small loss, takes microseconds a step, and the compiler seconds.  On a
CPU, called by itself, as far as the compiler knows the options, it is compiled without fusion emitters and without
improving the kernels; a program of few operations, or one of large arrays, is compiled as always.

| function | what it is |
|---|---|
| `fitting` | `jax.jit`, with the effort that fits the program |
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import jaxprs_in_params

from gdlab.ground.compilers import LIGHT, known

MANY = 500  # operations: more than any optimizer of gdlab makes of a loss of few operations
FEW = 4096  # numbers in an array


def fitting(
    fn: Callable[..., Any], statics: int, judged: Callable[..., tuple] = lambda *args: args
) -> Callable[..., Any]:
    """A function compiled as its program asks for; its first arguments, so many, are static.

    `judged` gives the arguments whose program decides: programs that must agree to the bit are judged by one of them.
    """
    numbers = tuple(range(statics))
    usual = jax.jit(fn, static_argnums=numbers)
    quick = functools.cache(lambda: jax.jit(fn, static_argnums=numbers, compiler_options=known(LIGHT)))

    @functools.lru_cache(maxsize=256)
    def is_intricate(static, structure, shapes):
        given = [jax.ShapeDtypeStruct(one.shape, one.dtype, weak_type=one.weak_type) for one in shapes]
        jaxpr = usual.trace(*static, *jax.tree.unflatten(structure, given)).jaxpr.jaxpr
        sizes = list(_sizes(jaxpr))
        return len(sizes) > MANY and max(sizes) <= FEW

    def program_for(*args):
        if jax.default_backend() != "cpu":
            return usual
        given = judged(*args)
        leaves, structure = jax.tree.flatten(given[statics:])
        return quick() if is_intricate(given[:statics], structure, tuple(map(jax.typeof, leaves))) else usual

    def called(*args):
        return program_for(*args)(*args)

    called.programs, called.program_for = (usual, quick), program_for  # type: ignore[attr-defined]
    return called


def _sizes(jaxpr: Any) -> Iterator[int]:
    """The largest array of each operation of a program, and of all that it calls."""
    for equation in jaxpr.eqns:
        yield max((getattr(x.aval, "size", 1) for x in [*equation.invars, *equation.outvars]), default=1)
        for inner in jaxprs_in_params(equation.params):
            yield from _sizes(getattr(inner, "jaxpr", inner))
