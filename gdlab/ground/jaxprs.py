"""What programs of JAX are made of, without the rest of `jax.extend`: that imports Pallas, half the time of ours.

| name | what it is |
|---|---|
| `Jaxpr`, `ClosedJaxpr`, `Var`, `Literal`, `Primitive` | the classes of a program and its parts |
| `jaxprs_in_params` | the programs within an equation |
| `get_opaque_trace_state` | which transformations are under way |
"""

from typing import Any

try:
    from jax._src import core
    from jax._src.core import Jaxpr, Literal, Primitive, Var, get_opaque_trace_state, jaxprs_in_params
except ImportError:  # where a version of JAX has moved them
    from jax.extend import core  # type: ignore[no-redef]
    from jax.extend.core import Jaxpr, Literal, Primitive, Var, get_opaque_trace_state, jaxprs_in_params

ClosedJaxpr: Any = getattr(core, "ClosedJaxpr", Jaxpr)  # one class in newer versions

__all__ = ["ClosedJaxpr", "Jaxpr", "Literal", "Primitive", "Var", "get_opaque_trace_state", "jaxprs_in_params"]
