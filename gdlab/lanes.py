"""Lanes: one function at many points, compiled once, in blocks that stay in the cache, over all devices.

    results  =  for each device:  for each block of lanes:  vmap(point)(block)

On a CPU lanes in blocks are faster than one wide vmap, once what the loops of all lanes carry outgrows the cache; the
block is chosen so that what one block carries fits.  Whatever arrays the function closes over are arguments
of what is compiled, never constants in it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gdlab.programs import fingerprint

# Bytes that the loops of one block may carry on a CPU.  Adam on 1024 networks of 2410 weights, 43 kB each, measured:
# 64 lanes at once 2.26 s, 16 2.71 s, all of them 2.74 s, 4 3.58 s.
CACHE = 2**22
AXIS = "lanes"  # the axis of the devices


class Prepared(NamedTuple):
    """A function of lanes, traced and ready to compile."""

    compute: Callable[..., list[jax.Array]]  # compute(constants, lanes, leaves) -> leaves with a leading axis of lanes
    constants: list[Any]  # the arrays that the function closes over
    structure: Any  # the tree of one result
    block: int  # lanes at once on each device
    program: bytes  # its fingerprint, the same for the same program and data in every process


def all_devices() -> Mesh | None:
    """A mesh over every device, of all processes; None where there is one."""
    count = jax.device_count()
    return jax.make_mesh((count,), (AXIS,), axis_types=(AxisType.Auto,)) if count > 1 else None


def prepare(point: Callable[..., Any], numeric: Any, chunk: int, block: int | None, mesh: Mesh | None) -> Prepared:
    """Trace `point(lane, numeric)`, and choose the block.

    Equal points (hashable, with the same shapes) are traced and compiled once for all sweeps.
    """
    leaves, tree = jax.tree.flatten(numeric)
    shapes = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
    try:
        return _prepare(point, tree, shapes, chunk, block, mesh)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        return _prepare.__wrapped__(point, tree, shapes, chunk, block, mesh)


@functools.lru_cache(maxsize=16)
def _prepare(point, tree, shapes, chunk, block, mesh):
    def flat(lane, *leaves):
        return point(lane, jax.tree.unflatten(tree, leaves))

    traced, results = jax.make_jaxpr(flat, return_shape=True)(jax.ShapeDtypeStruct((), jnp.int32), *shapes)
    structure = jax.tree.structure(results)
    devices = 1 if mesh is None else mesh.size
    each = -(-chunk // devices)
    block = min(each, block or fitting_block(traced, each))

    def compute(constants, lanes, leaves):
        def one(lane):
            return jax.core.eval_jaxpr(traced.jaxpr, constants, lane, *leaves)

        return jax.vmap(one)(lanes) if block == each else jax.lax.map(one, lanes, batch_size=block)

    if mesh is not None:
        spread, same = PartitionSpec(mesh.axis_names), PartitionSpec()
        sharded = jax.shard_map(compute, mesh=mesh, in_specs=(same, spread, same), out_specs=spread, check_vma=False)
        lanes_first = NamedSharding(mesh, spread)
        compute = jax.jit(sharded, in_shardings=(None, lanes_first, None), out_shardings=lanes_first)
    else:
        compute = jax.jit(compute)
    return Prepared(compute, list(traced.consts), structure, block, fingerprint(traced))


def fitting_block(traced: Any, lanes: int) -> int:
    """How many lanes fit in the cache: all on an accelerator, on a CPU a power of two by what the loops carry."""
    if jax.default_backend() != "cpu":
        return lanes
    carried = carried_bytes(traced.jaxpr)
    if carried * lanes <= CACHE:
        return lanes
    return int(min(lanes, max(4, 2 ** int(np.log2(max(CACHE // carried, 1))))))


def carried_bytes(jaxpr: Any) -> int:
    """The bytes that the largest loop of a program hands from turn to turn, nested loops included; at least 1."""
    largest = 1
    for equation in jaxpr.eqns:
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            inner = getattr(inner, "jaxpr", inner)
            if equation.primitive.name in ("scan", "while"):
                shaped: list[Any] = [v.aval for v in inner.outvars if hasattr(v.aval, "size")]
                largest = max(largest, sum(aval.size * aval.dtype.itemsize for aval in shaped))
            largest = max(largest, carried_bytes(inner))
    return largest


def gathered(results: list[jax.Array]) -> list[np.ndarray]:
    """The results on this host, those of other processes included."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        return [np.asarray(multihost_utils.process_allgather(leaf, tiled=True)) for leaf in results]
    return [np.asarray(leaf) for leaf in results]
