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

from gdlab.ground.compilers import LIGHT, compiled_with, is_alone
from gdlab.ground.jaxprs import jaxprs_in_params
from gdlab.ground.kept import Keeper, is_keeping, renamed

MANY = 400  # operations of a step: twice as many as any optimizer of gdlab makes of a loss of few operations
FEW = 4096  # numbers in an array

Sample = tuple[Callable[..., Any], tuple, tuple]  # a function, its static arguments, and the others


def fitting(
    fn: Callable[..., Any], statics: int, sample: Callable[..., Sample], kept_by: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """A function compiled as its program asks for; its first arguments, so many, are static.

    `sample` gives, of the arguments, the part of the program that decides: the same for all that must agree to the bit.
    `kept_by` gives what determines the program, by which `gdlab.ground.kept` finds it, or raises `Unsaid`.
    """
    numbers = tuple(range(statics))
    usual = jax.jit(fn, static_argnums=numbers)
    quick = functools.cache(lambda: compiled_with(LIGHT, fn, static_argnums=numbers))
    keeper = Keeper(f"{fn.__module__}.{fn.__qualname__}")

    def is_quick(*args):
        if jax.default_backend() != "cpu" or not is_alone():  # the options are those of a whole program
            return False
        part, static, rest = sample(*args)
        leaves, structure = jax.tree.flatten(rest)
        return _is_intricate(part, static, structure, tuple(map(jax.typeof, leaves)))

    def program_for(*args):
        return quick() if is_quick(*args) else usual

    def traced(name, args):
        options = LIGHT if is_quick(*args) else {}
        return compiled_with(options, renamed(fn, name), static_argnums=numbers).trace(*args)

    def called(*args):
        if kept_by is not None and is_alone() and is_keeping():
            static, rest = args[:statics], args[statics:]
            program = keeper.program(static, rest, lambda: kept_by(*args), lambda name: traced(name, args))
            if program is not None:
                return program(*rest)
        return program_for(*args)(*args)

    called.programs, called.program_for = (usual, quick), program_for  # type: ignore[attr-defined]
    return called


@functools.lru_cache(maxsize=256)
def _is_intricate(part, static, structure, shapes):
    """Whether a program has many operations on few numbers."""
    given = [jax.ShapeDtypeStruct(one.shape, one.dtype, weak_type=one.weak_type) for one in shapes]
    traced = jax.make_jaxpr(functools.partial(part, *static))(*jax.tree.unflatten(structure, given))
    sizes = list(_sizes(traced.jaxpr))
    return len(sizes) > MANY and max(sizes) <= FEW


def _sizes(jaxpr: Any) -> Iterator[int]:
    """The largest array of each operation of a program, and of all that it calls."""
    for equation in jaxpr.eqns:
        yield max((getattr(x.aval, "size", 1) for x in [*equation.invars, *equation.outvars]), default=1)
        for inner in jaxprs_in_params(equation.params):
            yield from _sizes(getattr(inner, "jaxpr", inner))
