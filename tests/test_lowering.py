"""Every public function that can be traced is lowered for GPUs and TPUs, in float32, without either at hand.

Lowering writes the program that a device's compiler gets; it does not compile.  A function that asks for an operation
which a platform lacks, for float64, or for something of the CPU alone fails here.  A public name that stands in none
of the tables fails as well.
"""

import inspect
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
import hessian
from gdlab.ground.jaxprs import jaxprs_in_params
from gdlab.sweeps import batching, ways, workers
from hessian.verdicts import search

pytestmark = pytest.mark.full

PLATFORMS = ("cuda", "tpu")
# What no program for these may contain: double precision, a way back to Python, marks and options of the CPU alone.
FOREIGN = re.compile(r"f64>|callback|xla_cpu\w*|lapack\w*")
PLANE = np.array([0.5, -1.5], "float32")
START = {"w": np.ones((2, 3), "float32"), "b": np.float32(0.3)}


def saddle(w, *args):
    return (1 - w[0] * w[1]) ** 2 + 0.1 * w[0] ** 2


def bowl(params):
    return jnp.sum(params["w"] ** 2) + (params["b"] - 1) ** 2


def traced(fn, *args):
    return jax.jit(fn).trace(*args)


def text_of(program):
    """The program for all platforms at once."""
    return program.lower(lowering_platforms=PLATFORMS).as_text()


def equations(jaxpr):
    """How many equations a program has, those of its loops and branches included."""
    within = (jaxprs_in_params(equation.params) for equation in jaxpr.eqns)
    return len(jaxpr.eqns) + sum(equations(getattr(one, "jaxpr", one)) for each in within for one in each)


def step_of(optimizer, params, **extra):
    """One step from the first state."""

    def step(params, grads):
        return optimizer.update(grads, optimizer.init(params), params, **extra)

    return step, params, params


def run_of(rule):
    """Two steps of a rule of optax that looks at the loss."""
    return (lambda w: gdlab.minimize(saddle, rule, w, 2).params), PLANE


# ------------------------------------------------------------------------------------------------ gdlab


DECAYS = {"with_weight_decay": (0.1,), "with_independent_weight_decay": (0.1,)}


def of_rates(fn):
    """An optimizer of a rate, or one that wraps another: by the name of its first argument."""
    first = next(iter(inspect.signature(fn).parameters))
    made = fn(gdlab.adam(0.1), *DECAYS.get(fn.__name__, ())) if first == "optimizer" else fn(0.1)
    return step_of(made, START, value=1.0, grad=START, value_fn=bowl)


def averaged(params):
    optimizer = gdlab.schedule_free(gdlab.gd(0.1))
    return gdlab.schedule_free_average(optimizer, optimizer.init(params), params)


def followed(params):
    batches = gdlab.minibatches(np.ones((6, 2), "float32"), 3, key=jax.random.key(0))
    return gdlab.minimize(lambda w, x: jnp.sum((x @ w) ** 2), gdlab.gd(0.1), params, 2, batches=batches).params


def stopped(params):
    run = gdlab.minimize(saddle, gdlab.gd(0.1), params, 9, tolerance=1e-3, keep_best=True, every=2, record=["params"])
    return run.best, run.history


GDLAB = {
    "chain": lambda: step_of(gdlab.chain(optax.clip(0.5), gdlab.adam(0.1)), START),
    "descent": lambda: step_of(gdlab.descent(gdlab.directions.Ema(0.9), gdlab.scales.Unit(), 0.1), START),
    "inspect": lambda: step_of(gdlab.inspect(optax.adam(0.1)), START),
    "minibatches": lambda: (followed, PLANE),
    "minimize": lambda: (stopped, PLANE),
    "polyak": lambda: step_of(gdlab.polyak(1.0), START, value=1.0, grad=START),
    "schedule_free_average": lambda: (averaged, START),
    "standardize": lambda: (lambda x: gdlab.standardize(x)[0], np.ones((4, 2), "float32")),
}
# Their compiled parts are `gdlab.runs.chunks`, `gdlab.runs.minimize` and `gdlab.sweeps.batching`.
HOST_OF_GDLAB = {
    "compare": "statistics of a finished table, in NumPy",
    "draws": "values of an axis, in NumPy",
    "hyperparameters": "reads the numbers of an optimizer",
    "long_run": "drives compiled chunks from the host",
    "lr_range_test": "reads where a compiled run diverges",
    "merge": "joins files",
    "read_history": "reads files",
    "runs_needed": "statistics, in Python",
    "seeds": "values of an axis",
    "sweep": "drives compiled chunks from the host; test_a_sweep_takes_nothing_of_the_cpu_to_other_platforms",
    "trials": "asks a study of optuna",
    "tune": "drives compiled gradients from the host",
}

# ------------------------------------------------------------------------------------------------ hessian


def searched(starts):
    """The compiled part of `hessian.find_critical_points`."""
    return search.seek_critical_points(saddle, starts, steps=3, batch=2)


def watched(params):
    """A run that records its curvature, from the second row on with what the first one found."""
    recorder = hessian.curvature_recorder(num_matvecs=6, first=8)
    return gdlab.minimize(saddle, gdlab.gd(0.1), params, 2, record={"curvature": recorder}).history


def densities(params):
    """A run that records the density of its eigenvalues."""
    recorder = hessian.density_recorder(steps=2)
    return gdlab.minimize(saddle, gdlab.gd(0.1), params, 2, record={"density": recorder}).history["density"].nodes


def per_example(w, x):
    return (x @ w) ** 2


DATA = np.ones((4, 2), "float32")
MESH = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def mean_square(w, x):
    return jnp.mean(per_example(w, x))


def product_of(made, *data):
    """A product with the Hessian of what a transform made of a loss."""
    return lambda: (lambda w: hessian.hvp(made, w, *data)(w), PLANE)


def part_of(w):
    chosen, rest = hessian.split({"a": w, "b": w}, lambda path: path == "['a']")
    return hessian.hvp(hessian.partial_loss(lambda p: jnp.sum(p["a"] * p["b"])), chosen, rest)(chosen)


def at_plane(fn, *args, **keyed):
    return lambda: (lambda w: jax.tree.leaves(fn(saddle, w, *args, **keyed)), PLANE)


def direction_of(rule):
    return lambda: run_of(rule())


HESSIAN = {
    "classify": at_plane(hessian.classify),
    "classify, lanczos": at_plane(hessian.classify, method="lanczos"),
    "condition_number": lambda: (hessian.condition_number, PLANE),
    "connect": at_plane(hessian.connect),
    "cubic_regularization": direction_of(hessian.cubic_regularization),
    "curvature": lambda: (lambda params: hessian.curvature(bowl, params, num_matvecs=8)[:5], START),
    "curvature_recorder": lambda: (watched, PLANE),
    "data_parallel": product_of(hessian.data_parallel(mean_square, MESH), DATA),
    "density": at_plane(hessian.density, steps=2, probes=2),
    "density_recorder": lambda: (densities, PLANE),
    "diagonal": at_plane(hessian.diagonal, num_matvecs=6),
    "empirical_fisher": product_of(hessian.empirical_fisher(per_example), DATA),
    "escape": at_plane(hessian.escape),
    "escape_time": lambda: (lambda offset: hessian.escape_time(-2.0, 0.5, offset), PLANE[:1]),
    "escape_trajectory": at_plane(hessian.escape_trajectory, optimizer=optax.sgd(0.1), steps=2),
    "extremal": at_plane(hessian.extremal),
    "find_critical_points": lambda: (searched, np.stack([PLANE, PLANE])),
    "find_minimum": at_plane(hessian.find_minimum, steps=3),
    "gauss_newton": product_of(hessian.gauss_newton(lambda w, x: x @ w, lambda out: jnp.sum(out**2)), DATA),
    "hvp": lambda: (lambda w: hessian.hvp(saddle, w)(w), PLANE),
    "inertia": lambda: (hessian.inertia, PLANE),
    "microbatched": product_of(hessian.microbatched(mean_square, 2), DATA),
    "minimum_ratio": at_plane(hessian.minimum_ratio),
    "multiplicity": lambda: (lambda params: hessian.multiplicity(bowl, params, block=2, num_matvecs=6)[:5], START),
    "newton": direction_of(hessian.newton),
    "newton, krylov": direction_of(lambda: hessian.newton(krylov=2)),
    "newton_cg": direction_of(hessian.newton_cg),
    "newton_step_length": at_plane(hessian.newton_step_length),
    "partial_loss": lambda: (part_of, PLANE),
    "perturbed_gd": direction_of(lambda: hessian.perturbed_gd(0.1, radius=0.1, threshold=0.1)),
    "pooled": product_of(hessian.pooled(mean_square), [(DATA,), (DATA,)]),
    "preconditioned": product_of(hessian.preconditioned(saddle), np.ones(2, "float32")),
    "quadratic_model": lambda: (lambda w: hessian.quadratic_model(saddle, w)(w), PLANE),
    "saddle_free_newton": direction_of(hessian.saddle_free_newton),
    "sharpness": at_plane(hessian.sharpness),
    "spectrum": at_plane(hessian.spectrum),
    "taylor": lambda: (lambda w: hessian.taylor(saddle, w)(w), PLANE),
    "trace": at_plane(hessian.trace, num_matvecs=6),
    "trust_region": direction_of(hessian.trust_region),
    "trust_region_step": at_plane(hessian.trust_region_step, radius=0.5),
    "with_saddle_escape": direction_of(lambda: hessian.with_saddle_escape(gdlab.gd(0.1), every=1)),
}
HOST_OF_HESSIAN = {
    "foreign_loss": "calls a function on the host",
    "landscape": "goes round by round on the host; what it compiles are `classify` and the searches",
    "prove": "encloses on the host, never by XLA",
    "prove_all": "encloses on the host, never by XLA",
    "prove_saddle": "encloses on the host, never by XLA",
    "split": "takes a pytree apart",
    "streamed": "fetches batches on the host",
}


def names_of(module):
    """The public functions of a package."""
    return [name for name in module.__all__ if inspect.isfunction(getattr(module, name))]


def is_of_rates(name):
    return next(iter(inspect.signature(getattr(gdlab, name)).parameters)) in ("learning_rate", "optimizer")


def cases():
    """What is lowered: the tables, and all optimizers of gdlab by their first argument."""
    of_rate = [name for name in names_of(gdlab) if is_of_rates(name) and name not in {**GDLAB, **HOST_OF_GDLAB}]
    yield from ((f"gdlab.{name}", partial(of_rates, getattr(gdlab, name))) for name in of_rate)
    yield from ((f"gdlab.{name}", case) for name, case in GDLAB.items())
    yield from ((f"hessian.{name}", case) for name, case in HESSIAN.items())


CASES = dict(cases())

# The equations of a program are what a user waits for at the first call.  Each bound is a tenth above the program of
# November 2026: one that grows beyond it takes longer for everybody, which wants a reason.
BOUNDS = {
    "gdlab": 335,
    "hessian": 690,
    "hessian.classify": 1310,
    "hessian.classify, lanczos": 2160,
    "hessian.connect": 5720,
    "hessian.curvature_recorder": 840,
    "hessian.escape_trajectory": 840,
    "hessian.find_critical_points": 3130,
    "hessian.find_minimum": 3050,
    "hessian.newton_cg": 1110,
    "hessian.with_saddle_escape": 1140,
}


def test_every_public_function_stands_in_one_table():
    lowered = {name.partition(",")[0] for name in CASES}
    host = {f"gdlab.{name}" for name in HOST_OF_GDLAB} | {f"hessian.{name}" for name in HOST_OF_HESSIAN}
    public = {f"gdlab.{name}" for name in names_of(gdlab)} | {f"hessian.{name}" for name in names_of(hessian)}
    assert lowered | host == public
    assert not lowered & host


@pytest.mark.parametrize("name", CASES)
def test_it_is_lowered_for_gpus_and_tpus_in_float32_and_is_no_larger_than_its_bound(name):
    with jax.enable_x64(False):
        fn, *args = CASES[name]()
        program = traced(fn, *args)
        assert not FOREIGN.findall(text_of(program))
        assert equations(program.jaxpr.jaxpr) <= BOUNDS.get(name, BOUNDS[name.partition(".")[0]])


def test_a_sweep_takes_nothing_of_the_cpu_to_other_platforms(monkeypatch):
    """No compiler option, no mark of a kernel and no thread of the host, with a loop that is a kernel on a CPU."""
    made, blocks = [], batching._blocks
    monkeypatch.setattr(batching, "_blocks", lambda *given: made.append(given) or blocks(*given))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with jax.enable_x64(False):
        rates, lanes = jnp.ones(4, "float32"), jnp.arange(4)
        point = lambda lane, rates: gdlab.minimize(saddle, gdlab.gd(rates[lane]), PLANE, 3).params  # noqa: E731
        traced = batching.traced(point, rates, 4)
        prepared = batching.prepare(traced, 4, ways.by_rule(traced.task), None)
        [(*_, block, whole, options)] = made
        program = blocks(*made[0]).trace(prepared.constants, lanes, [rates], np.int32(1))
        assert not FOREIGN.findall(text_of(program))
    assert (options, block, whole, workers._cores()) == ({}, 4, True, 1)
