"""Compilation of this package's programs: hundreds of small operations, of which a user waits for the compiler alone.

Fusion emitters would gain nothing here, where the loss decides how long a run takes.  Where the loss itself is light
the compiler need not improve the kernels either.  The options, those of `gdlab.ground.compilers`, are given where
this package calls the compiler itself, on a CPU: never inside another program, and on no other platform.

    light    where    n * (numbers that the loss computes)  <=  20,000,    about a millisecond for a Hessian
             or                                             <=  500,000 (equations of the loss - 8)
             or       products * (numbers that the loss computes)  <=  1e9,    a few seconds for n > 1024

A program of light kernels runs a quarter to half as fast, and is compiled in a third to a fifth of the time.  The
second is for models: a verdict waits a tenth of a second less for each equation, and 7 ns more for each number, so that
20 and more of them gain; a program whose products are not bounded, such as a search, may cost a fifth of that.  The
third is for programs that make so many products with the Hessian of a large model, and no more.

| function | what it is |
|---|---|
| `compiled` | `jax.jit`, compiled quickly on a CPU |
| `work` | how many numbers a program computes |
| `equations` | of how many equations it is made |
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import jax

from gdlab.ground.compilers import LIGHT, QUICK, compiled_with, is_alone
from gdlab.ground.jaxprs import jaxprs_in_params
from gdlab.ground.kept import Keeper, is_keeping, renamed
from hessian.limits import DENSE_SPECTRUM

OF_LOSS = ("loss", "params", "args")
LIGHT_WORK = 20_000
FEW = 8  # equations of a loss whose programs are compiled soon
LIGHT_WORK_OF_EQUATION = 500_000
SEARCH = 5  # how many times less of it where the products are not bounded: a search may compute many Hessians
LIGHT_PRODUCTS = 1e9


def compiled(
    products: float = math.inf, kept_by: Callable[..., Any] | None = None, **static: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator like `jax.jit`, with its static arguments; of loss, params and args it sees what the loss costs.

    `products` is how many products with the Hessian the program makes at most where it needs no matrix.  The program is
    kept on disk where JAX's cache is turned on, for other processes, where `kept_by(loss, params, args)` gives all that
    it reads of the loss; its static arguments are then the first ones, the loss before the others.
    """

    def decorated(fn):
        plain, named = jax.jit(fn, **static), inspect.signature(fn)
        keeper = Keeper(f"{fn.__module__}.{fn.__qualname__}")
        quick, light = (
            functools.cache(functools.partial(compiled_with, options, fn, **static)) for options in (QUICK, LIGHT)
        )

        def traced(name, given, args):
            options = LIGHT if _is_light(given, products) else QUICK
            return compiled_with(options, renamed(fn, name), **static).trace(*args)

        @functools.wraps(fn)
        def called(*args, **keyed):
            if not _is_alone():
                return plain(*args, **keyed)
            given = named.bind(*args, **keyed).arguments
            if kept_by is not None and not keyed and is_keeping():
                fixed = len(jax.tree.leaves(static))
                first, rest = args[:fixed], args[fixed:]
                words = lambda: (first[1:], kept_by(*(given[name] for name in OF_LOSS)))  # noqa: E731
                if (program := keeper.program(first, rest, words, lambda name: traced(name, given, args))) is not None:
                    return program(*rest)
            return (light if _is_light(given, products) else quick)()(*args, **keyed)

        called.lower = plain.lower  # type: ignore[attr-defined]
        return called

    return decorated


def _is_alone():
    """Whether the program that is called here is compiled by itself, on a CPU."""
    return is_alone() and jax.default_backend() == "cpu"


def _is_light(given, products):
    """Whether the loss is light among the arguments of this package's program."""
    if not set(OF_LOSS) <= set(given):
        return False
    leaves, structure = jax.tree.flatten((given["params"], *given["args"]))
    shapes = tuple(jax.typeof(leaf) for leaf in leaves)
    return _is_light_at(given["loss"], structure, shapes, products)


@functools.lru_cache(maxsize=256)
def _is_light_at(loss, structure, shapes, products):
    n = sum(leaf.size for leaf in jax.tree.leaves(jax.tree.unflatten(structure, shapes)[0]))
    given = [jax.ShapeDtypeStruct(one.shape, one.dtype, weak_type=one.weak_type) for one in shapes]
    program = jax.make_jaxpr(loss)(*jax.tree.unflatten(structure, given)).jaxpr
    share = 1 / SEARCH if products == math.inf else 1
    of_loss, most = work(program), LIGHT_WORK + share * LIGHT_WORK_OF_EQUATION * max(equations(program) - FEW, 0)
    return n * of_loss <= most or (n > DENSE_SPECTRUM and products * of_loss <= LIGHT_PRODUCTS)


def work(jaxpr: Any) -> float:
    """How many numbers a program reads or computes, whatever is more, by equations; infinite for a while loop."""
    return sum(_work_of(equation) for equation in jaxpr.eqns)


def equations(jaxpr: Any) -> int:
    """How many equations a program has, within its loops and branches as well."""
    within = (getattr(one, "jaxpr", one) for equation in jaxpr.eqns for one in jaxprs_in_params(equation.params))
    return len(jaxpr.eqns) + sum(map(equations, within))


def _work_of(equation):
    if equation.primitive.name == "while":
        return math.inf
    inner = sum(work(getattr(one, "jaxpr", one)) for one in jaxprs_in_params(equation.params))
    largest = max((getattr(x.aval, "size", 1) for x in [*equation.invars, *equation.outvars]), default=0)
    return largest + equation.params.get("length", 1) * inner
