"""The types of what a run returns, for those who read it: of whatever type the params are, and the state of the model.

| type | what it is |
|---|---|
| `Loss` | what `minimize` takes: a function to a scalar, or to (scalar, aux) |
| `ArrayTree` | a pytree of arrays, such as the state of an optimizer |
| `ModelState` | the type of the state of a model that is given: None where none is |
| `RecorderWithState` | a recorder that keeps something from one recorded step to the next |
| `Unpacked` | what a run unpacks into, where a type checker looks for it: in a tuple |
| `History` | a dictionary from the names of recorders to arrays, with a row for each recorded step |
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, overload

import jax
from jax.typing import ArrayLike

from gdlab.numerics import Tree

Loss: TypeAlias = Callable[..., ArrayLike | tuple[ArrayLike, Any]]
ArrayTree: TypeAlias = jax.Array | Mapping[str, "ArrayTree"] | Iterable["ArrayTree"]


class RecorderWithState(Protocol):
    """A recorder that keeps what it needs from one recorded step to the next."""

    def init(self, params: Any) -> Any:
        """The state before the first step."""

    def __call__(self, snapshot: Any, state: Any, /) -> tuple[Any, Any]:
        """What is recorded of a step, and the next state."""


if TYPE_CHECKING:
    from typing import Self

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

    class Unpacked(tuple[Tree, ArrayTree, History[Tree]], Generic[Tree, ModelState]):
        def __new__(cls, *fields: Any, **named: Any) -> Self: ...

else:
    from typing import TypeVar

    ModelState = TypeVar("ModelState")
    History = dict

    class Unpacked(Generic[Tree, ModelState]):
        pass
