"""Batching: one function at many points (lanes), compiled once, in blocks that fit the cache, over all devices.

    results  =  for each device, or core of a CPU:  for each block of lanes:  vmap(point)(block)

What is compiled is one block, the same for any number of devices, cores and processes, which only share the blocks.
On a CPU, blocks are faster than one wide vmap as soon as the loop state of all lanes exceeds the cache; the
block size is chosen so that its loop state fits.  Runs over a few numbers become one kernel per block.  All arrays that
the function closes over are arguments of the compiled program, never constants in it.
"""

import concurrent.futures
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh

from gdlab.ground.jaxprs import ClosedJaxpr
from gdlab.storage.fingerprint import fingerprint, text_of
from gdlab.storage.store import digest
from gdlab.sweeps.algebra import simplified
from gdlab.sweeps.elementary import in_vectors
from gdlab.sweeps.fusion import as_kernel, fits_kernel
from gdlab.sweeps.lanes import Value, along_last
from gdlab.sweeps.ways import Task, Way, carried_bytes, operations, timed
from gdlab.sweeps.workers import Work, place_of, shared

# The widest vectors of the machine; and no matrix product from a library, which a kernel cannot call.
KERNEL_OPTIONS = {"xla_cpu_prefer_vector_width": 512, "xla_cpu_experimental_ynn_fusion_type": ""}
LONG = 2**18  # bytes of results of a block, which is then a call of its own: each costs some 40 us
AXIS = "lanes"  # the axis of the devices


class Prepared(NamedTuple):
    """A function of lanes, traced and ready to compile."""

    compute: Callable[..., list[Any]]  # compute(constants, first lane, leaves) -> leaves with lanes along `axes`
    constants: list[Any]  # the arrays that the function closes over
    results: Any  # the tree of one result: shapes and dtypes
    way: Way  # how lanes are computed, and how many at once on each device
    program: bytes  # its fingerprint, the same for the same program and data in every process
    axes: list[int]  # the axis of lanes in each leaf


class Traced(NamedTuple):
    """A function of lanes, `point(lane, numeric)`, of whose numeric axes only shapes were read."""

    program: Any  # a closed jaxpr of the lane and the leaves of the axes
    results: Any  # the tree of one result: shapes and dtypes
    task: Task
    axes: list[int]  # the axis of lanes in each leaf

    def of_lanes(self, lanes: int) -> "Traced":
        """The same function, of which so many lanes are computed."""
        return self._replace(task=self.task._replace(lanes=lanes))


def all_devices() -> Mesh | None:
    """A mesh over every device, of all processes; None where there is one."""
    count = jax.device_count()
    return jax.make_mesh((count,), (AXIS,), axis_types=(AxisType.Auto,)) if count > 1 else None


def traced(point: Callable[..., Any], numeric: Any, lanes: int) -> Traced:
    """Trace `point(lane, numeric)`, to be computed at so many lanes, which are cut into blocks."""
    leaves, tree = jax.tree.flatten(numeric)
    shapes = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)

    def flat(lane, *leaves):
        return point(lane, jax.tree.unflatten(tree, leaves))

    program, results = jax.make_jaxpr(flat, return_shape=True)(jax.ShapeDtypeStruct((), jnp.int32), *shapes)
    each = lambda lane, *leaves: jax.core.eval_jaxpr(program.jaxpr, program.consts, lane, *leaves)  # noqa: E731
    batched = jax.make_jaxpr(jax.vmap(each, (0, *[None] * len(shapes))))
    small = fits_kernel(batched(jax.ShapeDtypeStruct((1,), jnp.int32), *shapes).jaxpr)
    task = Task(
        program=digest(text_of(program.jaxpr).encode()),
        small=small,
        carried=carried_bytes(program.jaxpr),
        results=sum(aval.size * aval.dtype.itemsize for aval in program.out_avals),
        operations=operations(program.jaxpr),
        lanes=lanes,
    )
    # A scan writes its history one step at a time, so steps stay the leading axis and lanes come second.
    axes = [len(aval.shape) if small else min(1, len(aval.shape)) for aval in program.out_avals]
    return Traced(program, results, task, axes)


def prepare(made: Traced, chunk: int, way: Way, mesh: Mesh | None) -> Prepared:
    """The program of a chunk of lanes, computed in this way."""
    jaxpr, axes = made.program.jaxpr, made.axes

    def together(program, lanes, leaves):
        each = lambda lane: jax.core.eval_jaxpr(program.jaxpr, program.consts, lane, *leaves)  # noqa: E731
        return jax.vmap(each, out_axes=axes)(lanes)

    def last(program, lanes, leaves):
        return along_last(program, [Value(lanes, True), *(Value(leaf, False) for leaf in leaves)], len(lanes))

    def of(act, shorten):
        return lambda constants, *args: act(shorten(ClosedJaxpr(jaxpr, constants)), *args)

    alone = way.block * made.task.results >= LONG and jax.default_backend() == "cpu"
    whole = alone or min(chunk, made.task.lanes) <= way.block
    programs = [_blocks(of(together, lambda program: program), axes, way.block, whole, {})]
    if way.name != "vmap":  # which takes its place where a compiler cannot make a kernel
        act = in_vectors(of(together if way.name == "kernel" else last, simplified))
        programs.insert(0, _blocks(as_kernel(act), axes, way.block, whole, KERNEL_OPTIONS))
    work = Work(
        lanes=chunk,
        block=way.block,
        once=not alone,
        operations=made.task.operations * way.block,
        avals=made.program.out_avals,
        axes=axes,
    )
    return Prepared(
        compute=shared(_first_able(programs), work, place_of(mesh)),
        constants=jax.device_put(list(made.program.consts)),  # once, not in each call
        results=made.results,
        way=way,
        program=fingerprint(made.program),
        axes=axes,
    )


def seconds_of(made: Traced, leaves: list[Any], way: Way) -> float:
    """How long one block of lanes takes in this way, for each lane."""
    prepared = prepare(made, way.block, way, None)
    return timed(lambda: jax.block_until_ready(prepared.compute(prepared.constants, 0, leaves))) / way.block


def lanes_to_cut(chunk: int, block: int | None, mesh: Mesh | None) -> int:
    """The lanes from which blocks are cut: all of them, so that the block does not depend on the number of devices.

    On an accelerator, whose blocks are as large as possible, it is the share of one device unless a block is given.
    """
    return chunk if mesh is None or block or jax.default_backend() == "cpu" else -(-chunk // mesh.size)


def _blocks(together, axes, block, whole, options):
    """`together(constants, lanes, leaves)`, whose results have lanes along these axes, block by block or all.

    The number of blocks is not a constant of the program, so that a block is compiled alike for any share of them.
    """

    def blocks(constants, lanes, leaves, turns):
        filled = lanes.reshape(-1, block)

        def turn(i, results):
            new = together(constants, filled[i], leaves)
            place = jax.lax.dynamic_update_slice_in_dim
            return [place(old, rows, i * block, axis) for old, rows, axis in zip(results, new, axes, strict=True)]

        if whole:
            return together(constants, filled[0], leaves)
        shapes = jax.eval_shape(together, constants, filled[0], leaves)
        longer = [
            (*row.shape[:axis], len(lanes), *row.shape[axis + 1 :]) for row, axis in zip(shapes, axes, strict=True)
        ]
        empty = [jnp.zeros(shape, row.dtype) for shape, row in zip(longer, shapes, strict=True)]
        return jax.lax.fori_loop(0, turns, turn, empty)

    return jax.jit(blocks, compiler_options=options)


def _first_able(programs):
    """The first program that this compiler can build for a device; for a kernel only trying tells."""
    made: dict[Any, Callable[..., Any]] = {}

    def able(arguments):
        while missing := [device for device in arguments if device not in made]:
            lowered = [programs[0].lower(*arguments[device]) for device in missing]
            try:
                with concurrent.futures.ThreadPoolExecutor(len(missing)) as threads:
                    made.update(zip(missing, threads.map(lambda one: one.compile(), lowered), strict=True))
            except jax.errors.JaxRuntimeError:
                if len(programs) == 1:
                    raise
                programs.pop(0)
        return made

    return able
