"""How a jaxpr is entered: what is inside a call, and how a scan divides its inputs, whatever the version of JAX."""

from typing import Any


def opened(inner: Any) -> tuple[Any, Any]:
    """A jaxpr, closed or not, and its constants."""
    return getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())


def scan_parts(equation: Any) -> tuple[int, int]:
    """How many inputs of a scan are the same in every turn, and how many are carried from turn to turn.

    What is scanned, in and out, has one axis more outside than within; versions of JAX count the rest differently.
    """
    body = opened(equation.params["jaxpr"])[0]
    carried = sum(
        len(out.aval.shape) == len(within.aval.shape)
        for out, within in zip(equation.outvars, body.outvars, strict=True)
    )
    scanned = sum(
        len(x.aval.shape) > len(within.aval.shape) for x, within in zip(equation.invars, body.invars, strict=True)
    )
    return len(equation.invars) - scanned - carried, carried
