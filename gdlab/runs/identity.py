"""What determines the program of a run, for other processes to find it.

    program  =  f(plan, rows, shapes;   loss,  its gradient  and  its products with a vector)

An optimizer that takes the loss itself makes a program of many operations, whose trace takes longer than what is kept
takes to load; it reads no derivative beyond these.  Other runs are traced each time.

| name | what it is |
|---|---|
| `kept_by` | what determines the program; `Unsaid` where it is not kept |
"""

from inspect import signature
from typing import Any

import jax

from gdlab.ground.words import Unsaid
from gdlab.runs.loop import RECORDERS


def kept_by(plan: Any, rows: int, given: tuple, steps: Any) -> tuple:
    """The plan by its words, and the programs of the loss: raises `Unsaid` for a run that is not kept."""
    optimizer, start, data, *_ = given
    recorded = [name for name, recorder in plan.recorders if RECORDERS.get(name) is recorder]
    simple = data.batches is None and data.key is None and data.held_out is None
    if plan.static is not None or not simple or len(recorded) < len(plan.recorders):
        raise Unsaid("data")
    if "value_fn" not in signature(optimizer.update).parameters:
        raise Unsaid("an optimizer that does not take the loss")
    objective = plan.objective
    try:
        programs = _second_order(objective, start, data.args)
    except Exception as error:  # whatever a loss raises, it raises again where the run is traced
        raise Unsaid("the loss") from error
    return plan._replace(objective=None, recorders=()), recorded, rows, objective.model, objective.stateful, programs


def _second_order(objective, start, args):
    """The programs of the loss, and of its gradient with a product."""

    def value(params, carried, args):
        return objective(params, carried, *args)

    def both(params, vector, carried, args):
        return jax.jvp(jax.grad(lambda p: value(p, carried, args)[0]), (params,), (vector,))

    at = start.carried, args
    return jax.make_jaxpr(value)(start.params, *at), jax.make_jaxpr(both)(start.params, start.params, *at)
