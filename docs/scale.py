"""What would a sweep of 10^9 runs, and Lanczos on 10^10 parameters, cost on a cluster?

    python docs/scale.py [--processes 1024] [--write docs/scale.md]

Three measurements on this machine: processor seconds of a lane and step; the bookkeeping of so many processes, each
with its shard and its store, run for real one after the other, some of them interrupted and resumed, then merged; and
what programs over eight devices exchange and hold, read from the compiled programs.  The rest is arithmetic.
"""

import argparse
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUNS, STEPS, CORES = 10**9, 10**4, 1024
WEIGHTS, PRODUCTS, EXAMPLES = 10**10, 100, 1024
LANES, CHUNKS = 512, 2  # of a chunk, and of a process
KILLED = 16  # every so many processes one was interrupted
DEVICES = 8
BYTES = {"f32": 4, "s32": 4, "u32": 4, "f64": 8, "pred": 1}

GUIDE = """# Scale

What a sweep of 10^9 runs and a Lanczos run on 10^10 parameters cost on a cluster, from what one machine measures: the
output of `python docs/scale.py`.  Put the rates of your own device, from `python3 lab.py accelerator`, in their place.

## Bookkeeping, run for real

{processes:,} shards of one sweep of {lanes:,} runs, each with a store of its own, were computed one after the other in
one process, as {processes:,} processes would; one in {killed} lost a chunk and left a half-written file, and was called
again.  The {processes:,} stores were then merged.

| | measured |
|---|---|
| a shard: opening its store, its {chunks} chunks of {chunk} runs, its dataset | {shard:.1f} ms |
| a resumed shard, with one chunk to compute again | {resumed:.1f} ms |
| a store on disk | {store:,} bytes |
| merging, a chunk read and its checksums verified | {read:.2f} ms |
| merged equals one sweep, bit for bit | {equal} |

## A sweep of 10^9 runs

A point has two parameters, a run {steps:,} steps, and returns the two numbers where it ends.  A sweep has fewer than
2^31 points, and a store keeps the labels of all axes: 10^9 runs are a product of axes, such as 1,000 rates, 1,000
decays and 1,000 keys, not one axis of 10^9 labels.

| | momentum | Adam |
|---|---|---|
| a lane and step on one core | {momentum:.2f} ns | {adam:.2f} ns |
| core hours | {momentum_hours:.1f} | {adam_hours:.1f} |
| on {cores:,} cores | {momentum_seconds:.0f} s | {adam_seconds:.0f} s |

| | |
|---|---|
| chunks of 65,536 runs | {all_chunks:,}, {chunks_each} for each of {cores:,} processes |
| bytes between processes while they compute | none |
| bytes of results, in {cores:,} stores | {results:.0f} GB |
| bookkeeping of a process: its store and its chunks | {books:.2f} s |
| merging, by one process | at least {merging:.0f} s, and {merged:.0f} GB of memory: all chunks and the dataset |
| memory of a process | {held:.0f} GB: the dataset of a shard has a place for every run of the sweep |

The last row is what limits such a sweep, not its arithmetic: make it a sweep for each value of one axis, and the memory
falls by the length of that axis.  The network of `sweep_speed`, 2,410 weights in place of two, takes thousands of times
as long; nothing else in this table changes.

## Lanczos on 10^10 parameters

{products} products with the Hessian of a dense network in float32, {examples:,} examples, {cores:,} devices.  What a
device receives and holds was read from programs compiled for {devices} devices, in multiples of the bytes of the
parameters.

| | parameters on every device | parameters in shares |
|---|---|---|
| a device receives in a product, by collectives | {whole_product:.1f} | {shared_product:.1f} |
| it holds during a product, beside the parameters | {whole_temp:.1f} | {shared_temp:.1f} |
| it holds during Lanczos of 8 products | {whole_lanczos:.1f} | {shared_lanczos:.1f} |

| at 10^10 parameters | |
|---|---|
| the parameters | {weights:.0f} GB |
| flops of a product: 12 for each parameter and example | {flops:.2g} |
| {products} products on {cores:,} cores like this one, {rate:.0f} GFLOP/s each | {product_seconds:.0f} s |
| received by each device in {products} products, parameters in shares | {moved:.0f} TB |
| the basis of {products} vectors | {basis:.0f} TB, {basis_share:.1f} GB for each of {cores:,} devices |
| reading it at least twice for each product, to keep it orthogonal | {reread:.0f} TB on all devices together |

As the third row of the upper table says, a device holds the whole basis, wherever the parameters are: eight vectors
take more than eight times the parameters.  So {products} products on 10^10 parameters are out of reach until the basis
lies in shares as the parameters do; as far as {products} vectors fit into the memory of one device, about 10^8
parameters on 80 GB, nothing stands in the way.

Measured with jax {jax} on {machine}, {processor_cores} cores.
"""


def squared(a: Any, b: Any, c: Any) -> Any:
    """What a run of the simulation computes."""
    return a * b + c


def grid(lanes: int) -> dict[str, Any]:
    """Three axes of so many points together."""
    import numpy as np

    first = 2 ** (int(math.log2(lanes)) // 3)
    sizes = first, first, lanes // first**2
    return {name: np.linspace(1, 2, size, dtype=np.float32) for name, size in zip("abc", sizes, strict=True)}


def bookkeeping(processes: int, folder: Path) -> dict[str, Any]:
    """The seconds of each part of the bookkeeping of so many processes, and whether the result is the whole sweep."""
    import gdlab

    lanes = processes * CHUNKS * LANES
    axes = grid(lanes)

    def shard(i):
        gdlab.sweep(squared, chunk=LANES, store=folder / str(i), shard=(i, processes), **axes)

    shard(0)  # compiles
    seconds = sum(clocked(lambda i=i: shard(i)) for i in range(1, processes))
    again = range(0, processes, KILLED)
    for i in again:
        (folder / str(i) / f"chunk-{i:05d}.npz").unlink()
        (folder / str(i) / ".chunk.npz-left.partial").write_bytes(b"half")
    resumed = sum(clocked(lambda i=i: shard(i)) for i in again)
    merged: list[Any] = []
    stores = [folder / str(i) for i in range(processes)]
    joined = clocked(lambda: merged.append(gdlab.merge(*stores)))
    whole = gdlab.sweep(squared, chunk=LANES, **axes)
    left = sum(file.name.endswith(".partial") for one in stores for file in one.iterdir())
    return {
        "processes": processes, "lanes": lanes, "killed": KILLED, "chunks": CHUNKS, "chunk": LANES,
        "shard": 1e3 * seconds / max(processes - 1, 1), "resumed": 1e3 * resumed / len(again),
        "read": 1e3 * joined / (processes * CHUNKS),
        "store": sum(file.stat().st_size for file in stores[0].iterdir()),
        "equal": "yes" if merged[0].equals(whole) and not left else "NO",
    }  # fmt: skip


def clocked(act: Callable[[], Any]) -> float:
    """The seconds on the clock, since disks take no processor time."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def rates() -> dict[str, float]:
    """Processor nanoseconds of a lane and step, and the rate of a matrix product."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import gdlab

    def least(act, count):
        act()
        taken = []
        for _ in range(5):
            began = time.process_time()
            jax.block_until_ready(act())
            taken.append((time.process_time() - began) / count)
        return min(taken)

    found, lanes, start = {}, np.geomspace(1e-5, 1e-3, 4096, dtype=np.float32), np.array([-1.2, 1.0], np.float32)
    for name, make in {"momentum": gdlab.momentum, "adam": gdlab.adam}.items():

        def run(lr, make=make):
            return gdlab.minimize(gdlab.problems.rosenbrock, make(lr), start, 2000, record=()).params

        found[name] = 1e9 * least(lambda run=run: gdlab.sweep(run, lr=lanes)["value"].values, 4096 * 2000)
    product, square = jax.jit(jnp.matmul), jnp.ones((1024, 1024), jnp.float32)
    return {**found, "rate": 1e-9 / least(lambda: product(square, square), 2 * 1024**3)}


COLLECTIVE = re.compile(r"= (.*?) (?:all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(")


def received(text: str) -> int:
    """The bytes that the collectives of a compiled program give to each device, those of a loop once."""
    total = 0
    for line in text.splitlines():
        found = COLLECTIVE.search(line)
        for kind, shape in re.findall(r"(\w+)\[([\d,]*)\]", found[1]) if found else ():
            total += BYTES.get(kind, 4) * math.prod(int(size) for size in shape.split(",") if size)
    return total


def over_devices() -> dict[str, float]:
    """What products and Lanczos over several devices exchange and hold, in multiples of the parameters."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    import hessian
    from gdlab.problems import network, network_loss

    mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(AxisType.Auto,))
    params, data = network(jax.random.key(0), (64, 512, 512, 10)), (jnp.ones((256, 64)), jnp.arange(256) % 10)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))

    def placed(tree, divided):
        where = lambda x: PartitionSpec(*["data"] * (divided and x.shape[0] % DEVICES == 0))  # noqa: E731
        return jax.tree.map(lambda x: jax.device_put(x, NamedSharding(mesh, where(x))), tree)

    found, divided = {}, placed(data, True)
    for name, weights in {"whole": placed(params, False), "shared": placed(params, True)}.items():
        product = jax.jit(lambda p, d: hessian.hvp(network_loss, p, d)(p)).lower(weights, divided).compile()
        lanczos = jax.jit(lambda p, d: hessian.extremal(network_loss, p, d, num_matvecs=8).eigenvalues)
        found[f"{name}_product"] = received(product.as_text()) / size
        found[f"{name}_temp"] = product.memory_analysis().temp_size_in_bytes / size
        held = lanczos.lower(weights, divided).compile().memory_analysis()
        found[f"{name}_lanczos"] = held.temp_size_in_bytes / size
    return found


def derived(found: dict[str, Any]) -> dict[str, Any]:
    """The arithmetic of the guide."""
    chunks, weights, flops = -(-RUNS // 2**16), 4 * WEIGHTS, 12 * WEIGHTS * EXAMPLES
    return {
        "steps": STEPS, "cores": CORES, "products": PRODUCTS, "examples": EXAMPLES, "devices": DEVICES,
        **{f"{name}_hours": 1e-9 * found[name] * RUNS * STEPS / 3600 for name in ("momentum", "adam")},
        **{f"{name}_seconds": 1e-9 * found[name] * RUNS * STEPS / CORES for name in ("momentum", "adam")},
        "all_chunks": chunks, "chunks_each": -(-chunks // CORES), "results": 1e-9 * 8 * RUNS,
        "books": 1e-3 * found["shard"] / CHUNKS * -(-chunks // CORES), "merging": 1e-3 * found["read"] * chunks,
        "merged": 1e-9 * RUNS * (2 * 8 + 1), "held": 1e-9 * RUNS * (8 + 2),
        "weights": 1e-9 * weights, "flops": flops,
        "product_seconds": PRODUCTS * flops / (1e9 * found["rate"]) / CORES,
        "moved": 1e-12 * PRODUCTS * weights * found["shared_product"],
        "basis": 1e-12 * PRODUCTS * weights, "basis_share": 1e-9 * PRODUCTS * weights / CORES,
        "reread": 1e-12 * 2 * weights * PRODUCTS**2,
    }  # fmt: skip


def main() -> None:
    """Measure, print the guide, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=1024)
    parser.add_argument("--devices", action="store_true", help="only what eight devices exchange, as one line")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    if asked.devices:
        print(json.dumps(over_devices()))
        return
    import jax

    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}", "JAX_PLATFORMS": "cpu"}
    said = subprocess.run(
        [sys.executable, __file__, "--devices"], env=os.environ | flags, capture_output=True, text=True, check=True
    )
    found = {**json.loads(said.stdout), **rates()}
    with tempfile.TemporaryDirectory() as folder:
        found |= bookkeeping(asked.processes, Path(folder))
    about = {"jax": jax.__version__, "machine": platform.machine(), "processor_cores": os.cpu_count()}
    guide = GUIDE.format(**found, **derived(found), **about)
    print(guide)
    if asked.write:
        asked.write.write_text(guide, encoding="utf-8")


if __name__ == "__main__":
    main()
