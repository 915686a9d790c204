"""What does a run cost, ours beside the scripts that others write?

| script | what it does |
|---|---|
| natural | optax in one jitted step per rate, and a loop over the steps in Python |
| expert | optax under `vmap` of a `scan`, the rate traced |
| torch | `torch.optim` in a loop, one rate at a time; only where torch is installed |
| torch.func | `vmap(grad)` over all rates, Adam written by hand for all of them; likewise |
| ours | `gdlab.sweep`, its dataset included |

All are timed in turns, round after round, in float32 on one device; the table gives ratios of medians and the figure
medians with their quartiles.  What must come out is that in double precision ours, optax
in a scan and the natural script end at the same losses, and that a lane of a sweep
costs less than a run of the natural script, as it does on a loaded machine as well; the ratios stand in a table, beside
what the project aims at.  The natural script and torch are timed over fewer steps and rates, as each of them
costs the same.  The floor is the longer of two: the multiply-adds of a step at the rate of a loop in the nearest cache,
and reading and writing the state of Adam, six numbers a lane, in a loop over as many lanes.
"""

import importlib
import importlib.util
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdlab
from gdlab.problems import digits, network, network_loss, rosenbrock

from ..cli.settings import Experiment
from ..reporting.checks import at_most, conclude
from ..reporting.run_folder import Table
from ..workloads.measured import clocked, in_turns

QUESTION = "What does a run cost, ours beside the scripts that others write?"
RATES = (1e-4, 1e-2)
START = np.array([-1.2, 1.0], np.float32)
FEW = 200  # steps of a script whose every step costs the same
LANES = (1, 16, 256, 4096, 65536)
SIZES = (2, 16, 128, 1024)  # parameters
NETWORK = (64, 32, 10)
NO_ITEM = "-"  # of the lectures: they time batches, not scripts


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "sweep_speed", QUESTION, lambda: measure(settings.quick), heavy=True)


def measure(quick):
    """The checks and the figure."""
    with jax.enable_x64(False):
        steps, rounds, lanes = (2000, 3, (1, 256, 4096)) if quick else (4000, 9, LANES)
        curves = {count: surface(count, steps, rounds) for count in lanes}
        sizes = {size: dimension(size, steps // 8, rounds) for size in (SIZES[:2] if quick else SIZES)}
        network_ = on_network(16 if quick else 64, 100 if quick else 500, max(rounds // 2, 1))
        records, recorded = recording(256, 2000 if quick else 20_000, rounds)
        floors = {count: floor(count) for count in lanes}
    ends = same_ends(steps, 100 if quick else 500)
    cheaper = {  # by how much, of two medians
        "one lane of 256 than a run of the natural script": ratio(curves, 256, "natural"),
        "256 lanes than 256 natural scripts, with compilation": whole(curves, 256, steps),
        "4096 lanes than 4096 natural scripts, with compilation": whole(curves, 4096, steps),
        "one lane of 256 than a lane alone": per(curves, 1) / per(curves, 256),
    }
    if not quick:  # a few short runs are all compilation
        cheaper["networks than natural scripts, with compilation"] = network_["whole natural"] / network_["whole ours"]
    checks = [
        # In double precision: what is left is the rounding of some thousand steps.
        *(at_most(NO_ITEM, f"{name}: losses of ours over those of optax, less 1", off, 1e-9) for name, off in ends),
        *(at_most(NO_ITEM, f"{name}: seconds over", 1 / value, 1.0) for name, value in cheaper.items()),
    ]
    aims = [
        *(
            (f"{lanes} lanes, steady: {name} / ours", ratio(curves, lanes, name), aim)
            for lanes, name, aim in (
                (1, "natural", 100),
                (256, "natural", 5000),
                (4096, "expert", 2.5),
                (256, "torch", 100),
                (256, "torch.func", 100),
            )
            if name in curves[lanes]
        ),
        *(
            (f"{lanes} lanes, compilation counted: natural / ours", whole(curves, lanes, steps), aim)
            for lanes, aim in ((256, 50), (4096, 1000))
        ),
        ("network, steady: natural / ours", median(network_["natural"]) / median(network_["ours"]), 5),
        ("network, steady: expert / ours", median(network_["expert"]) / median(network_["ours"]), 1.8),
        ("network, compiled per rate: natural / ours", network_["whole natural"] / network_["whole ours"], 40),
        *((f"recording every step, {name} / writing as many bytes", value, 1.3) for name, value in recorded.items()),
        (f"a step of a lane, {lanes[-1]} lanes / 256", per(curves, lanes[-1]) / per(curves, 256), 1.3),
        ("a step of a lane, 4096 lanes / floor", per(curves, 4096) / floors[4096], 1),
    ]
    shown = [[name, f"{value:.4g}", f"{aim:g}"] for name, value, aim in aims]
    table = Table("Ratios of medians, not judged", ("ratio", "measured", "aim"), shown)
    return checks, lambda: draw(curves, sizes, records, floors), table


def ratio(curves, lanes, name):
    """How many times as long a step takes elsewhere."""
    return median(curves[lanes][name]) / per(curves, lanes)


def whole(curves, lanes, steps):
    """The same with compilation: the natural script compiles for each rate, ours once."""
    once = curves[lanes]
    natural = lanes * (once["natural compiles"] + steps * median(once["natural"]))
    return natural / (once["ours compiles"] + lanes * steps * per(curves, lanes))


def per(curves, lanes):
    """Seconds of ours per lane and step."""
    return median(curves[lanes]["ours"])


def median(seconds):
    """The middle one."""
    return float(np.median(seconds))


# ---------------------------------------------------------------------------------------------- on Rosenbrock's valley


def ours(lr, start, steps):
    """The parameters after a run of ours."""
    return gdlab.minimize(rosenbrock, gdlab.adam(lr), start, steps, record=()).params


def theirs(lr, start, steps, make=optax.adam):
    """The parameters after a run of optax in a scan."""
    optimizer = make(lr)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(rosenbrock)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (start, optimizer.init(start)), None, steps)[0][0]


def natural(lr, loss=rosenbrock, make=optax.adam):
    """An optimizer and its jitted step for one rate, as one finds them in most scripts."""
    optimizer = make(lr)

    @jax.jit
    def step(params, state, *batch):
        updates, state = optimizer.update(jax.grad(loss)(params, *batch), state, params)
        return optax.apply_updates(params, updates), state

    return optimizer, step


def looped(made, params, batches):
    """That step in a loop."""
    optimizer, step = made
    state = optimizer.init(params)
    for batch in batches:
        params, state = step(params, state, *batch)
    return params


def surface(lanes, steps, rounds):
    """Seconds per lane and step of every script, for this many rates at once."""
    rates, start = np.geomspace(*RATES, lanes, dtype=np.float32), jnp.asarray(START)
    run, expert = _runs(steps)
    made = natural(1e-3)
    compiles = clocked(lambda: looped(made, start, [()]))
    first = clocked(lambda: gdlab.sweep(run, lr=rates)["value"].values)
    contenders = {
        "ours": (lambda: gdlab.sweep(run, lr=rates)["value"].values, lanes * steps),
        "expert": (lambda: expert(rates), lanes * steps),
        "natural": (lambda: looped(made, start, [()] * FEW), FEW),
        **torches(rates),
    }
    timed = in_turns(contenders, rounds)
    return {
        **timed,
        "natural compiles": compiles,
        "ours compiles": max(first - lanes * steps * median(timed["ours"]), 0),
    }


def _runs(steps):
    start = jnp.asarray(START)
    return partial(_ours_from, START.tobytes(), steps), jax.jit(jax.vmap(lambda lr: theirs(lr, start, steps)))


def _ours_from(start, steps, lr):
    return ours(lr, jnp.asarray(np.frombuffer(start, np.float32)), steps)


def torches(rates):
    """The same in torch, where it is installed."""
    if importlib.util.find_spec("torch") is None:
        return {}
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)  # its idle threads would go on spinning while the next script is timed

    def loss(x):
        return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

    def loop():
        x = torch.tensor(START, requires_grad=True)
        optimizer = torch.optim.Adam([x], 1e-3)
        for _ in range(FEW):
            optimizer.zero_grad()
            loss(x).backward()
            optimizer.step()

    gradients, lr = torch.func.vmap(torch.func.grad(loss)), torch.tensor(rates)[:, None]

    def batched():
        x = torch.tensor(START).repeat(len(rates), 1)
        m, v = torch.zeros_like(x), torch.zeros_like(x)
        for t in range(1, FEW + 1):
            g = gradients(x)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            x = x - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)

    return {"torch": (loop, FEW), "torch.func": (batched, FEW * len(rates))}


def dimension(size, steps, rounds):
    """Seconds per lane and step for this many parameters, ours and the expert's."""
    lanes, start = max(4096 // size, 4), jnp.tile(jnp.asarray(START), size // 2)
    rates = np.geomspace(*RATES, lanes, dtype=np.float32)
    run = jax.tree_util.Partial(_tiled, size, steps)
    expert = jax.jit(jax.vmap(lambda lr: theirs(lr, start, steps)))
    count = lanes * steps
    return in_turns(
        {
            "ours": (lambda: gdlab.sweep(run, lr=rates)["value"].values, count),
            "expert": (lambda: expert(rates), count),
        },
        rounds,
    )


def _tiled(size, steps, lr):
    return ours(lr, jnp.tile(jnp.asarray(START), size // 2), steps)


def same_ends(steps, on_digits):
    """How far apart the losses of ours and of optax end in double precision, relatively, and those of the loop."""
    with jax.enable_x64(True):
        start, ends = jnp.asarray(START, float), {}
        for name, make, mine in (("Adam", optax.adam, gdlab.adam), ("descent", optax.sgd, gdlab.gd)):
            end = gdlab.minimize(rosenbrock, mine(1e-3), start, steps, record=()).params
            ends[name] = rosenbrock(end), rosenbrock(theirs(1e-3, start, steps, make))
        end = gdlab.minimize(rosenbrock, gdlab.adam(1e-3), start, FEW, record=()).params
        ends["Adam, natural script"] = rosenbrock(end), rosenbrock(looped(natural(1e-3), start, [()] * FEW))
        data, *drawn = of_digits(on_digits, float)
        trained, experts = (jax.jit(run)(1e-3) for run in runs_on_digits(data, *drawn))
        ends["Adam on the network"] = network_loss(trained, data), network_loss(experts, data)
        return [(name, abs(float(ours_ / other - 1))) for name, (ours_, other) in ends.items()]


# ----------------------------------------------------------------------------------------------------- on a network


def of_digits(steps, dtype=jnp.float32):
    """The digits, a network, batches of 64 as a stream, and which examples are in each."""
    x, y = digits()
    data, params = (jnp.asarray(x, dtype), y), network(jax.random.key(0), NETWORK)
    stream = gdlab.minibatches(data, 64, key=jax.random.key(1))
    return data, params, stream, batches_of(stream, steps)


def runs_on_digits(data, params, stream, order):
    """Ours and the expert's, of a rate."""

    def run(lr):
        return gdlab.minimize(network_loss, gdlab.adam(lr), params, len(order), batches=stream, record=()).params

    def expert(lr):
        optimizer = optax.adam(lr)

        def step(carry, index):
            params, state = carry
            batch = jax.tree.map(lambda part: part[index], data)
            updates, state = optimizer.update(jax.grad(network_loss)(params, batch), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), order)[0][0]

    return run, expert


def on_network(lanes, steps, rounds):
    """Seconds per lane and step on the digits, and whole seconds with compilation."""
    data, params, stream, order = of_digits(steps)
    rates = np.geomspace(1e-4, 1e-2, lanes, dtype=np.float32)
    held = [(tuple(np.asarray(part)[index] for part in data),) for index in np.asarray(order[:FEW])]
    run, expert = runs_on_digits(data, params, stream, order)
    made, all_at_once = natural(1e-3, network_loss), jax.jit(jax.vmap(expert))
    compiles = clocked(lambda: looped(made, params, held[:1]))
    first = clocked(lambda: gdlab.sweep(run, lr=rates))
    contenders = {
        "ours": (lambda: gdlab.sweep(run, lr=rates), lanes * steps),
        "expert": (lambda: all_at_once(rates), lanes * steps),
        "natural": (lambda: looped(made, params, held), len(held)),
    }
    timed: dict[str, Any] = {**in_turns(contenders, rounds)}
    timed["whole ours"] = first
    timed["whole natural"] = lanes * (compiles + steps * median(timed["natural"]))
    return timed


def batches_of(stream, steps):
    """The indices of the examples of each batch of a stream."""
    counted = gdlab.minibatches(jnp.arange(stream.examples), stream.size, key=stream.key)
    return jax.jit(lambda: jax.lax.scan(lambda state, _: counted.next(state)[::-1], counted.init(), None, steps)[1])()


# ------------------------------------------------------------------------------------------------------ recording


def recording(lanes, steps, rounds):
    """Seconds of runs of momentum that record nothing, every tenth and every loss, and of writing as many bytes."""
    rates, start = jnp.geomspace(1e-5, 1e-3, lanes, dtype=jnp.float32), jnp.asarray(START)
    buffer, row = np.empty((steps, lanes), np.float32), np.ones(lanes, np.float32)

    def write():
        buffer[:] = row

    def run(every, lr):
        return gdlab.minimize(rosenbrock, gdlab.momentum(lr), start, steps, every=every).history

    def long(every):
        how = {"batched": "optimizer", "chunk": steps // 10, "every": every}
        return gdlab.long_run(rosenbrock, gdlab.momentum(rates), start, steps, **how).history

    none = steps // 10  # a row per chunk
    partials = {every: jax.tree_util.Partial(run, every) for every in (1, none)}
    contenders = {
        "nothing": (lambda: long(none), 1),
        "every 10th": (lambda: long(10), 1),
        "every step": (lambda: long(1), 1),
        "sweep, nothing": (lambda: gdlab.sweep(partials[none], lr=rates), 1),
        "sweep, every step": (lambda: gdlab.sweep(partials[1], lr=rates), 1),
        "writing": (write, 1),
    }
    timed = in_turns(contenders, rounds)
    nothing, bytes_ = median(timed["nothing"]), median(timed["writing"])
    ratios = {
        "a long run": median(timed["every step"]) / (nothing + bytes_),
        "a sweep": median(timed["sweep, every step"]) / (median(timed["sweep, nothing"]) + bytes_),
    }
    return timed, ratios


def floor(lanes):
    """Seconds per lane and step below which no loop over lanes can be: its arithmetic, or its state in memory."""
    step = jax.jit(lambda lr: theirs(lr, jnp.asarray(START), 1)).lower(jnp.float32(1e-3)).compile()
    return max(float((step.cost_analysis() or {})["flops"]) / 2 * per_number(2048), 6 * per_number(6 * lanes))


def per_number(size):
    """Seconds to read, multiply, add and write one number of an array of this size, again and again."""
    work, repeats = jnp.ones(size, jnp.float32), max(2**24 // size, 8)
    spin = jax.jit(lambda x: jax.lax.fori_loop(0, repeats, lambda _, x: x * 0.999 + 0.001, x))
    spin(work)
    return min(clocked(lambda: spin(work)) for _ in range(5)) / repeats / size


def draw(curves, sizes, records, floors):
    """Cost against lanes, against parameters, and of recording."""
    from ..reporting.figures import PALETTE, plt

    figure, axes = plt.subplots(1, 3, figsize=(12.5, 4.2))
    names = [name for name in curves[max(curves)] if not name.endswith("compiles")]
    colour = dict(zip(names, PALETTE, strict=False))
    for panel, groups in ((axes[0], curves), (axes[1], sizes)):
        for name in names:
            if name in groups[max(groups)]:
                spread = 1e9 * np.array([np.quantile(group[name], (0.25, 0.5, 0.75)) for group in groups.values()])
                panel.plot(list(groups), spread[:, 1], "o-", color=colour[name], label=name, markersize=3)
                panel.fill_between(list(groups), spread[:, 0], spread[:, 2], color=colour[name], alpha=0.2, linewidth=0)
        panel.set(xscale="log", yscale="log", ylabel="ns per lane and step")
    axes[0].plot(list(floors), [1e9 * value for value in floors.values()], ":", color="black", label="floor")
    axes[0].set(xlabel="lanes", title="Adam on two parameters")
    axes[1].set(xlabel="parameters", title="Adam on more parameters")
    axes[1].set_xticks(list(sizes), map(str, sizes))
    axes[1].xaxis.set_minor_formatter("")
    axes[0].legend(fontsize=7)
    bars = {name: 1e3 * median(value) for name, value in records.items()}
    axes[2].barh(list(bars)[::-1], list(bars.values())[::-1], color=PALETTE[0])
    axes[2].set(xlabel="ms", title="recording the losses of 256 runs")
    return figure
