"""The target of a command: a surface by its name, or a loss of your own with parameters from a file.

    himmelblau                                     a surface of gdlab.problems, at its start on a saddle if any
    my_loss.py:loss --params params.npz            the function `loss(params) -> scalar` of that file, which is run
    my_loss.py:loss --params params.safetensors    the same
    my_loss.py:loss --data my_loss.py:batches      its mean over batches, in `classify` and `escape`
    my_loss.py:loss --params my_loss.py:model      a module or any other pytree of that file, or what a function returns

Arrays by name become a dictionary of arrays; a single array called `params` or `arr_0` is taken as it is, and so is one
of another name for a loss that takes no dictionary.  Half precision is how arrays are stored: they are read as float32.
"""

import functools
import importlib.util
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gdlab.ground.leaves import shown
from gdlab.problems import Surface, surfaces
from hessian.models import free_part
from hessian.precision import first
from hessian.streams import streamed

from ..cli.settings import InputError, OnData, OnProblem, OnTarget, regular_file

TARGET = "the name of a surface (`problems` lists them) or FILE.py:FUNCTION"
SAFETENSORS = {"F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(jnp.bfloat16)}


class Target(NamedTuple):
    """A loss and the parameters at which it is looked at."""

    name: str
    loss: Callable[..., jax.Array]
    params: Any
    surface: Surface | None  # where it is one

    def starts(self, count: int, spread: float, seed: int) -> Any:
        """So many starts: uniform in the window of a surface, else normal around the parameters, of this deviation."""
        theta, unravel = ravel_pytree(self.params)
        rng = np.random.default_rng(seed)
        if self.surface is None:
            places = np.asarray(theta) + spread * rng.normal(size=(count, theta.size))
        else:
            low, high = np.array(self.surface.box).T
            places = rng.uniform(low, high, size=(count, theta.size))
        return jax.vmap(unravel)(jnp.asarray(places, theta.dtype))

    words: tuple[str, ...] = ()  # what a reader of the report must know about the parameters


def target(settings: OnTarget | OnProblem) -> Target:
    """The target that the settings name.

    Raises:
        InputError: for an unknown name, a file that cannot be read, or parameters that are none.
    """
    name = settings.target or ""
    if name in surfaces:
        chosen = surfaces[name]
        saddles = {point.x for point in chosen.critical_points if point.index}
        start = next((x for x in chosen.starts if x in saddles), chosen.starts[0])
        params = jnp.array(start) if settings.params is None else parameters(settings.params)
        found = Target(chosen.name, chosen.loss, params, chosen)
    else:
        loss = function_of(name)
        if isinstance(settings, OnData) and settings.data is not None:
            loss = _over_data(loss, settings.data)
        found = Target(name, loss, parameters(settings.params), None)
        if ".py:" in str(settings.params):
            found = _of_free_part(found)
    refused = _refusal(found)
    if refused and isinstance(found.params, dict) and len(found.params) == 1:
        ((label, array),) = found.params.items()
        alone = found._replace(
            params=array, words=(f"The loss takes {label}, the only array of {settings.params}, itself.",)
        )
        refused_alone = _refusal(alone)
        if not refused_alone:
            return alone
        if "string index" not in refused_alone:  # it looks for no array by its name, so it is no loss of a dictionary
            refused = refused_alone
    if refused:
        raise InputError(refused)
    return found


def _over_data(loss, name):
    """The mean loss over the batches that FILE.py:NAME yields, or that what it returns does."""
    batches = _named(name, "data must be FILE.py:BATCHES")
    try:
        return streamed(loss, batches)
    except Exception as error:  # the user's own code may raise anything
        raise InputError(f"data must be batches of arrays; {name} raised {type(error).__name__}: {error}") from None


def _of_free_part(found):
    """The same target as a function of the floating arrays of its model alone; of (value, aux) it is the value."""
    free, whole = free_part(found.params)
    return found._replace(loss=lambda free: first(found.loss(whole(free))), params=free)


def _refusal(found):
    """Why the loss does not take the params, or returns no number, in one sentence; "" where it does and is one."""
    try:
        value = jax.eval_shape(found.loss, found.params)
    except Exception as error:  # the user's own code may raise anything
        said = " ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
        what = "an array" if jax.tree_util.all_leaves([found.params]) else f"a {type(found.params).__name__}"
        if isinstance(found.params, dict):
            what = f"a dictionary of arrays with the names {', '.join(map(repr, found.params))}"
        return f"target must take the params, {what}, as its one argument; {found.name} raised {said}"
    if getattr(value, "shape", None) == () and jnp.issubdtype(value.dtype, jnp.floating):
        return ""
    return f"target must return one number, real and floating; {found.name} returned {shown(value)}"


def function_of(name: str, what: str = "target", allowed: str = TARGET) -> Callable[..., Any]:
    """The function that FILE.py:FUNCTION names; its file is run, and errors call it `what`."""
    function = _named(name, f"{what} must be {allowed}")
    if not callable(function):
        file, _, attribute = name.rpartition(":")
        raise InputError(f"{what} must name a function; {file} has no function {attribute}")
    return function


@functools.cache  # so that a loss and its parameters come from one run of a file, and their classes are the same
def _run(path, changed):
    """The module that a file is when it is run, as it was last changed."""
    spec = importlib.util.spec_from_file_location(f"target_of_the_command_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} must be a file of Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.resolve().parent))  # so that it can import its neighbours
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"{path} must be a file that runs; it raised {type(error).__name__}: {error}") from None
    finally:
        sys.path.pop(0)
    return module


def _named(name, allowed=f"target must be {TARGET}"):
    """What FILE.py:NAME names; its file is run."""
    file, colon, attribute = name.rpartition(":")
    if not colon or not file.endswith(".py") or not attribute.isidentifier():
        raise InputError(f"{allowed}; got {name!r}")
    path = Path(file)
    if not path.is_file():
        raise InputError(f"{allowed}; there is no file {file}")
    return getattr(_run(path, path.stat().st_mtime_ns), attribute, None)


def _model(name):
    """The pytree that FILE.py:NAME names, or that the function of that name returns."""
    found = _named(name)
    is_module = not jax.tree_util.all_leaves([found])
    try:
        found = found() if callable(found) and not is_module else found
    except Exception as error:  # the user's own code may raise anything
        raise InputError(f"params must be what {name}() returns; it raised {type(error).__name__}: {error}") from None
    arrays = [leaf for leaf in jax.tree.leaves(found) if hasattr(leaf, "dtype")]
    if not any(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in arrays):
        raise InputError(f"params must hold a floating array; {name} holds none")
    return found


def parameters(path: Path | None) -> Any:
    """The parameters in a file, .npz or .safetensors.

    Raises:
        InputError: for another file, one that cannot be read, or arrays that are no finite floating numbers.
    """
    if path is None:
        raise InputError("params must name a file of arrays, .npz or .safetensors, for a loss from a file; got none")
    if ".py:" in str(path):
        return _model(str(path))
    readers = {".npz": _npz, ".safetensors": _safetensors}
    if path.suffix not in readers:
        raise InputError(f"params must be a file that ends in .npz or .safetensors; got {path}")
    try:
        arrays = readers[path.suffix](regular_file(path))
    except OSError as error:
        raise InputError(f"params must be a file that can be read; {path}: {error.strerror or error}") from None
    except Exception as error:  # whatever is wrong with the bytes
        raise InputError(f"params must be a sound {path.suffix} file of plain arrays; {path}: {error}") from None
    nameless = [name for name, array in arrays.items() if array.dtype == np.dtype("V2")]
    if nameless:  # NumPy writes the bytes of bfloat16, and not what they are
        raise InputError(
            "params must be stored as float32, or as bfloat16 in .safetensors, which .npz does not know; got"
            f" {', '.join(nameless)} of dtype V2 in {path}"
        )
    wrong = [name for name, array in arrays.items() if not jnp.issubdtype(array.dtype, jnp.floating)]
    if wrong or not arrays:
        raise InputError(
            f"params must hold floating arrays only, at least one; got {', '.join(wrong) or 'none'} in {path}"
        )
    if not any(array.size for array in arrays.values()):
        raise InputError(f"params must hold at least one number; got empty arrays in {path}")
    broken = [name for name, array in arrays.items() if not jnp.all(jnp.isfinite(jnp.asarray(array)))]
    if broken:
        raise InputError(f"params must hold finite numbers; {', '.join(broken)} in {path} does not")
    arrays = {
        name: jnp.asarray(array, jnp.float32 if array.dtype.itemsize < 4 else array.dtype)
        for name, array in arrays.items()
    }
    return next(iter(arrays.values())) if list(arrays) in (["params"], ["arr_0"]) else arrays


def _npz(path):
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _safetensors(path):
    raw = path.read_bytes()
    (size,) = struct.unpack_from("<Q", raw)
    header, body = json.loads(raw[8 : 8 + size]), memoryview(raw)[8 + size :]
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            if entry["dtype"] not in SAFETENSORS:
                raise ValueError(f"{name} has dtype {entry['dtype']}, none of {', '.join(SAFETENSORS)}")
            begin, end = entry["data_offsets"]
            arrays[name] = np.frombuffer(body[begin:end], SAFETENSORS[entry["dtype"]]).reshape(entry["shape"])
    return arrays
