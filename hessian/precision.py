"""What a loss and its parameters must be, and in which precision one computes with them.

    storage precision    the dtype of each leaf of params, in which what is like params comes back
    working precision    that of all leaves together, at least float32: losses, gradients, curvatures, eigenvalues

Half precision stores parameters and is never computed in: a loss at parameters rounded to bfloat16 is a staircase, on
which neither a slope nor a curvature below 1/256 is to be seen.  So the loss is called at the parameters in the working
precision, and its value is brought to it, too: whatever dtypes the leaves and the data have, one is left behind this
floor.  Where a loss of float64 parameters comes in float32, float32 is all that is known of it.

| function | what it returns |
|---|---|
| `working` | loss, params and args in the working precision, and the way back to what was given |
| `once` | a function of such a loss, traced once |
| `separated` | them without what cannot be differentiated |
| `first` | the value of a loss that returns (value, aux) |
| `check` | the parameters as arrays; raises for other than floating arrays, and for a loss that is no scalar |
| `scalar` | the dtype of what a loss returned; raises in words where that is no real number |
| `rounded` | an array in another dtype |
| `working_dtype` | the dtype of the working precision |
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from gdlab.ground.checks import function, miscalled
from gdlab.ground.leaves import shown
from hessian.models import Model, WholeLoss, partition

Params = Any  # any pytree with floating arrays
Tree = TypeVar("Tree")  # the type of the params that are given, which those of a result have too
Loss = Callable[..., Any]  # loss(params, *args) -> scalar, or (scalar, aux)

UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


class TracedOnce:
    """A loss that keeps what was traced of it: a program takes that as often as it is called.  See `once`."""

    @cached_property
    def traces(self) -> dict[Any, Any]:
        """What was traced of it."""
        return {}


def once(fn: Callable[..., Any], loss: Loss, *static: Any) -> Callable[..., Any]:
    """The function `fn(loss, *static, ...)`, traced once: tracing takes longer than compiling."""
    if not isinstance(loss, TracedOnce):
        return partial(fn, loss, *static)
    made = loss.traces.get((fn, *static))
    if made is None:
        made = loss.traces[fn, *static] = jax.jit(partial(fn, loss, *static), inline=True)
    return made


@dataclass(frozen=True)
class WorkingLoss(TracedOnce):
    """A loss whose value has the dtype of its parameters; equal for equal losses, so that it is traced once."""

    loss: Loss

    def __call__(self, params, *args):
        return once(_valued, self)(params, *args)


def _valued(loss, params, *args):
    return jnp.asarray(first(loss.loss(params, *args)), jax.tree.leaves(params)[0].dtype)


@dataclass(frozen=True)
class Storage:
    """The dtypes of the leaves of params, and the one in which they are computed with."""

    dtypes: tuple
    working: Any
    model: Model | None = None  # what params are beside the floating arrays that are differentiated

    def __call__(self, tree: Any) -> Any:
        """What is like params, with leading axes or without, in the dtypes of params."""
        leaves, structure = jax.tree.flatten(tree)
        return jax.tree.unflatten(structure, map(rounded, leaves, self.dtypes))

    def whole(self, params: Any, args: tuple) -> Any:
        """Params as they were given, of their differentiated part and the args that `working` returned."""
        return params if self.model is None else self.model.combine(params, args[0])

    def landed(self, tree: Any) -> Any:
        """Params of the working precision as they are after they were stored."""
        return self.carried(self(tree)) if self.rounds else tree

    def carried(self, params: Any) -> Any:
        """Params in the working precision."""
        return jax.tree.map(lambda leaf: rounded(leaf, self.working), params)

    @property
    def frozen(self) -> int:
        """How many floating numbers of the parameters are held where they are."""
        return 0 if self.model is None else self.model.frozen

    @property
    def rounds(self) -> bool:
        """Whether something is lost on the way to the storage precision."""
        return any(dtype != self.working for dtype in self.dtypes)


def working(
    loss: Loss, params: Params, *args: Any, names: tuple[str, str] = ("loss", "params"), trainable: Any = None
) -> tuple[WorkingLoss, Params, tuple, Storage]:
    """Loss, params and args in the working precision, and what brings results like params back to the dtypes of params.

    Params are the floating arrays of what is given, with None in the place of other leaves.  These are in the loss and
    in front of the args; `stored.whole` puts them back.  Of a loss that returns (value, aux) it is the value.

    Raises:
        TypeError: where params hold no real floating arrays, or args no arrays.
        ValueError: where the loss is no real scalar, or one in half precision.
    """
    loss, params, args, model = separated(loss, params, args, names, trainable)
    params = floating(params, names[1])
    stored, dtype = storage(params), working_dtype(params)
    value = _value(loss, stored.carried(params), args, names, stored if stored.rounds else None)
    if value.itemsize < 4:
        msg = (
            f"{names[0]} must return at least float32; at params in {dtype} it returned {value}, whose rounding hides"
            " the curvature: leave out its casts, or compute it in float32"
        )
        raise ValueError(msg)
    stored = Storage(stored.dtypes, min(dtype, value, key=lambda one: one.itemsize), model)
    return loss if isinstance(loss, WorkingLoss) else WorkingLoss(loss), stored.carried(params), args, stored


def separated(
    loss: Loss, params: Params, args: tuple, names: tuple[str, str] = ("loss", "params"), trainable: Any = None
) -> tuple[Loss, Params, tuple, Model | None]:
    """Loss, params and args, where params are the floating arrays alone of the pytree that is given."""
    function(names[0], loss)
    args = tuple(jax.tree.map(_array, arg) for arg in args)
    params, rest, model = partition(params, trainable)
    return (loss, params, args, None) if model is None else (WholeLoss(loss, model), params, (rest, *args), model)


def first(value: Any) -> Any:
    """The value of a loss that returned (value, aux), or that alone."""
    return value[0] if isinstance(value, tuple) and len(value) == 2 else value


def check(loss: Loss, params: Params, *args: Any, names: tuple[str, str] = ("loss", "params")) -> Params:
    """The parameters as arrays, after a look at the arguments, called by these names, that costs no computation."""
    params = floating(params, names[1])
    _value(loss, params, args, names)
    return params


def storage(params: Params) -> Storage:
    """The storage of params, whose leaves are arrays."""
    return Storage(tuple(leaf.dtype for leaf in jax.tree.leaves(params)), working_dtype(params))


def working_dtype(params: Params) -> Any:
    """The widest dtype of the leaves, at least float32."""
    wide = any(jnp.result_type(leaf) == jnp.float64 for leaf in jax.tree.leaves(params))
    return jnp.dtype(jnp.float64 if wide else jnp.float32)


def rounded(leaf: Any, dtype: Any) -> jax.Array:
    """The values in another dtype, and no finer than that: XLA leaves out a cast that is followed by its reverse."""
    leaf, there = jnp.asarray(leaf), jnp.finfo(dtype)
    if there.bits < jnp.finfo(leaf.dtype).bits:
        leaf = jax.lax.reduce_precision(leaf, there.nexp, there.nmant)
    return leaf.astype(dtype)


def floating(params: Params, name: str) -> Params:
    """The parameters as arrays; TypeError where they are something else."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        msg = f"{name} must hold at least one floating array; got an empty pytree"
        raise TypeError(msg)
    others = {jax.tree_util.keystr(path): leaf for path, leaf in leaves if not _isfloating(leaf)}
    if others:
        where, leaf = next(iter(others.items()))
        kind = getattr(leaf, "dtype", None)
        msg = f"{name} must be a pytree of real floating arrays; got {shown(leaf) if kind is None else kind}"
        msg += f" at {name}{where}"
        if kind is None and len(others) == len(leaves):
            msg += ": partition a module, and pass a pytree of its arrays with a loss that puts them back"
        raise TypeError(msg)
    params = jax.tree.map(jnp.asarray, params)
    if sum(leaf.size for leaf in jax.tree.leaves(params)) == 0:
        msg = f"{name} must hold at least one value; got arrays of size 0"
        raise TypeError(msg)
    return params


def _isfloating(leaf):
    try:
        return not isinstance(leaf, str) and jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    except TypeError:
        return False


def _value(loss, params, args, names, stored=None):
    """The dtype of the loss at params, without computing it; raises where it is no real scalar."""
    name = names[0]
    function(name, loss)
    for i, arg in enumerate(args):
        for path, leaf in jax.tree_util.tree_leaves_with_path(arg):
            if not _is_array(leaf):
                msg = (
                    f"args must be arrays, as they are traced; got {shown(leaf)} at args[{i}]"
                    f"{jax.tree_util.keystr(path)}: bind it to {name} by functools.partial or a lambda, or name it by"
                    " keyword where it is an option"
                )
                if isinstance(leaf, Iterable) and not isinstance(leaf, str):
                    msg += f"; a loader of batches goes into hessian.streamed({name}, batches)"
                raise TypeError(msg)
    plain = loss.loss if isinstance(loss, WorkingLoss) else loss
    if hasattr(plain, "check") and not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(params)):
        plain.check(params)  # a loss of another program, which is seen where it is called
    try:
        value = jax.eval_shape(lambda *given: first(plain(*given)), params, *args)
    except UNTRACEABLE as error:
        numbers = [shown(leaf) for leaf in jax.tree.leaves(args) if isinstance(leaf, bool | int | float)]
        what = "use jax.numpy, or hessian.foreign_loss for a function with its own gradient"
        if numbers:
            what = f"bind {', '.join(numbers)} to it by functools.partial or a lambda"
        msg = (
            f"{name} must take traced arrays, whose values Python cannot read: {what}; it raised {type(error).__name__}"
        )
        raise TypeError(msg) from error
    except Exception as error:
        if "not a valid JAX type" in str(error):
            msg = f"{name} must return a scalar; got {str(error).partition('value of type ')[2].partition(' at ')[0]}"
            raise ValueError(msg) from None
        if (msg := _refused(error, plain, params, args, names, stored)) is not None:
            raise TypeError(msg) from error
        raise
    return scalar(name, value)


def _refused(error, loss, params, args, names, stored):
    """What is wrong with how the loss was called, where that is why it raised this; else None."""
    name, of, given = names[0], loss, (params, *args)
    if isinstance(loss, WholeLoss):
        of, given = loss.loss, (params, *args[1:])
    if isinstance(error, TypeError) and (takes := miscalled(of, *given)) is not None:
        count = f"{len(given)} argument{'s'[: len(given) != 1]}"
        msg = f"{name} must take {count}, {names[1]} and each of args; got {name}{takes}"
        more = ": bind what else it takes, such as a key, by functools.partial or a lambda"
        return msg + more if len(takes.parameters) > len(given) else msg
    if stored is not None and _takes(loss, stored(params), args):
        return (
            f"{name} must take {names[1]} in {stored.working}, in which curvature is computed, as well as in"
            f" {', '.join(sorted({str(dtype) for dtype in stored.dtypes}))}; it raised {type(error).__name__}:"
            f" {str(error).strip().splitlines()[0]}"
        )
    return None


def _takes(loss, params, args):
    try:
        jax.eval_shape(loss, params, *args)
    except Exception:  # the loss of a user may raise anything
        return False
    return True


def _array(leaf):
    """The leaf, as an array of NumPy where it is one of a library that is not JAX."""
    if _is_array(leaf) or isinstance(leaf, np.ndarray | type) or not hasattr(leaf, "__array__"):
        return leaf
    try:
        return np.asarray(leaf)
    except Exception:  # another library may raise anything
        return leaf


def _is_array(leaf):
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.dtype.kind not in "USOMm"  # text, objects and dates
    numeric = isinstance(leaf, jax.Array | jax.ShapeDtypeStruct | bool | int | float | complex)
    return numeric or hasattr(leaf, "__jax_array__")


def scalar(name: str, value: Any) -> Any:
    """The dtype of what the loss returned; raises in words where that is no real number."""
    if getattr(value, "shape", None) == () and jnp.issubdtype(value.dtype, jnp.floating):
        return jnp.dtype(value.dtype)
    if value is None:
        got, mend = "a NoneType", ": does it end in a return?"
    elif isinstance(value, dict):
        got = f"a dict of {', '.join(map(repr, value)) or 'nothing'}"
        entry = "loss" if "loss" in value else next(iter(value), "loss")
        mend = f": pass lambda *args: {name}(*args)[{entry!r}]"
    elif isinstance(value, tuple | list):
        got, mend = f"a {type(value).__name__} of {len(value)}", f": pass lambda *args: {name}(*args)[0]"
    elif not hasattr(value, "shape"):
        got, mend = f"a {type(value).__name__}", ""
    elif value.shape:
        got, mend = f"shape {value.shape}", ": take its mean or its sum"
    else:
        got, mend = f"dtype {value.dtype}", ", which is not real and floating"
    msg = f"{name} must return a scalar; got {got}{mend}"
    raise ValueError(msg)
