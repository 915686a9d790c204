"""The types of what a run returns, for those who read it: of whatever type the params are, and the state of the model.

| type | what it is |
|---|---|
| `Loss` | what `minimize` takes: a function to a scalar, or to (scalar, aux) |
| `ArrayTree` | a pytree of arrays, such as the state of an optimizer |
| `ModelState` | the type of the state of a model that is given: None where none is |
| `History` | a dictionary from the names of recorders to arrays, with a row for each recorded step |
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, overload

import jax
from jax.typing import ArrayLike

from gdlab.numerics import Tree

Loss: TypeAlias = Callable[..., ArrayLike | tuple[ArrayLike, Any]]
ArrayTree: TypeAlias = jax.Array | Mapping[str, "ArrayTree"] | Iterable["ArrayTree"]

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    ModelState = TypeVar("ModelState", default=None)

    class History(dict[str, jax.Array], Generic[Tree]):
        """What was recorded; a recorder that returns a pytree has one of such arrays under its name."""

        @overload
        def __getitem__(self, name: Literal["params", "m", "update"]) -> Tree: ...  # type: ignore[overload-overlap]
        @overload
        def __getitem__(self, name: Literal["extras"]) -> dict[str, jax.Array]: ...  # type: ignore[overload-overlap]
        @overload
        def __getitem__(self, name: str) -> jax.Array: ...
        def __getitem__(self, name: str) -> object: ...

else:
    from typing import TypeVar

    ModelState = TypeVar("ModelState")
    History = dict
