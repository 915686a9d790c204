"""What arguments may be: the values at the edge, those just beyond, and the sentence that is raised for them."""

import importlib
import inspect
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import hessian
from gdlab.ground.checks import number
from gdlab.ground.leaves import shown
from hessian.arguments import alike, tolerance, transformation

W = jnp.ones(2)


def loss(w):
    return w @ w


def test_a_tolerance_may_be_absent_and_arrays_go_through_unread():
    assert tolerance("x", None) is None
    assert tolerance("x", 0) == 0
    for beyond in (-1.0, math.inf):
        with pytest.raises(ValueError, match=re.escape(f"x must lie in [0, inf); got {beyond:g}")):
            tolerance("x", beyond)
    for array in (np.array([-1, 2]), jnp.array([jnp.nan])):
        assert number("x", array) is array


def test_an_optimizer_has_both_of_its_functions():
    transformation(optax.sgd(0.1))
    half = optax.GradientTransformation(None, optax.sgd(0.1).update)
    for other in (half, half._replace(init=half.update, update=None), "sgd"):
        with pytest.raises(TypeError, match=r"optimizer must be optax-compatible, such as optax.sgd\(0.1\); got "):
            transformation(other)


def test_a_tree_is_alike_where_structure_and_shapes_are_and_takes_their_dtypes():
    like = {"a": jnp.ones(2, jnp.float32)}
    assert alike("v", {"a": np.array([1, 2])}, like)["a"].dtype == jnp.float32
    for other in ({"a": jnp.ones(3)}, {"b": jnp.ones(2)}, [jnp.ones(2)]):
        with pytest.raises(ValueError, match=r"v must be like params, .*'a'.* with shapes \[\(2,\)\]; got "):
            alike("v", other, like)


# A call of one argument, its name, and the last value that it may not have.
EDGES = {
    "connect radius": (lambda v: hessian.connect(loss, W, radius=v), "radius", 0),
    "connect steps": (lambda v: hessian.connect(loss, W, steps=v), "steps", 0),
    "connect floor": (lambda v: hessian.connect(loss, W, floor=v), "floor", math.inf),
    "classify confidence": (lambda v: hessian.classify(loss, W, confidence=v), "confidence", 1),
    "classify gradient_tol": (lambda v: hessian.classify(loss, W, gradient_tol=v), "gradient_tol", -1),
    "classify curvature_tol": (lambda v: hessian.classify(loss, W, curvature_tol=v), "curvature_tol", -1),
    "classify products": (lambda v: hessian.classify(loss, W, num_matvecs=v), "num_matvecs", 9),
    "classify memory": (lambda v: hessian.classify(loss, W, memory=v), "memory", 0),
    "find_minimum finish": (lambda v: hessian.find_minimum(loss, W, finish=v), "finish", -1),
    "find_minimum radius": (lambda v: hessian.find_minimum(loss, W, radius=v), "radius", 0),
    "find_minimum reset": (lambda v: hessian.find_minimum(loss, W, reset=v), "reset", 1),
    "find_minimum floor": (lambda v: hessian.find_minimum(loss, W, floor=v), "floor", math.inf),
    "find_minimum method": (lambda v: hessian.find_minimum(loss, W, method=v), "method", "power"),
    "density steps": (lambda v: hessian.density(loss, W, steps=v), "steps", 0),
    "density memory": (lambda v: hessian.density(loss, W, memory=v), "memory", 0),
    "minimum_ratio probes": (lambda v: hessian.minimum_ratio(loss, W, probes=v), "probes", 0),
    "minimum_ratio steps": (lambda v: hessian.minimum_ratio(loss, W, steps=v), "steps", 0),
    "minimum_ratio tolerance": (lambda v: hessian.minimum_ratio(loss, W, curvature_tol=v), "curvature_tol", -1),
    "escape products": (lambda v: hessian.escape(loss, W, num_matvecs=v), "num_matvecs", 4),
    "escape tolerance": (lambda v: hessian.escape(loss, W, curvature_tol=v), "curvature_tol", -1),
    "escape_time curvature": (lambda v: hessian.escape_time(v, 0.1, 0.1), "curvature", 0),
    "escape_time rate": (lambda v: hessian.escape_time(-1, v, 0.1), "rate", 0),
    "escape_time projection": (lambda v: hessian.escape_time(-1, 0.1, v), "projection", 0),
    "escape_time radius": (lambda v: hessian.escape_time(-1, 0.1, 0.1, v), "radius", 0),
    "with_saddle_escape every": (lambda v: hessian.with_saddle_escape(optax.sgd(0.1), every=v), "every", 0.5),
    "with_saddle_escape reset": (lambda v: hessian.with_saddle_escape(optax.sgd(0.1), reset=v), "reset", None),
    "perturbed_gd rate": (lambda v: hessian.perturbed_gd(v, radius=1, threshold=1), "rate", 0),
    "perturbed_gd radius": (lambda v: hessian.perturbed_gd(1, radius=v, threshold=1), "radius", -1),
    "perturbed_gd threshold": (lambda v: hessian.perturbed_gd(1, radius=1, threshold=v), "threshold", -1),
    "perturbed_gd wait": (lambda v: hessian.perturbed_gd(1, radius=1, threshold=1, wait=v), "wait", 0),
    "newton rate": (lambda v: hessian.newton(v), "rate", 0),
    "newton krylov": (lambda v: hessian.newton(krylov=v), "krylov", True),
    "saddle_free_newton damping": (lambda v: hessian.saddle_free_newton(damping=v), "damping", -1),
    "trust_region radius": (lambda v: hessian.trust_region(v), "radius", 0),
    "trust_region krylov": (lambda v: hessian.trust_region(krylov=v), "krylov", 2.0),
    "cubic_regularisation weight": (lambda v: hessian.cubic_regularization(v), "weight", 0),
    "newton_cg products": (lambda v: hessian.newton_cg(num_matvecs=v), "num_matvecs", 1),
    "newton_cg accuracy": (lambda v: hessian.newton_cg(accuracy=v), "accuracy", 1),
    "newton_cg damping": (lambda v: hessian.newton_cg(damping=v), "damping", 0),
    "search index": (lambda v: hessian.find_critical_points(loss, W[None], index=v), "index", -1),
    "search steps": (lambda v: hessian.find_critical_points(loss, W[None], steps=v), "steps", 0),
    "search batch": (lambda v: hessian.find_critical_points(loss, W[None], batch=v), "batch", 0),
    "search radius": (lambda v: hessian.find_critical_points(loss, W[None], radius=v), "radius", 0),
    "search separation": (lambda v: hessian.find_critical_points(loss, W[None], separation=v), "separation", 0),
    "search starts": (lambda v: hessian.find_critical_points(loss, v), "starts", jnp.zeros((0, 2))),
    "search starts, a number": (lambda v: hessian.find_critical_points(loss, v), "starts", 1.0),
    "search starts, a word": (lambda v: hessian.find_critical_points(loss, v), "starts", "w"),
    "sharpness epsilon": (lambda v: hessian.sharpness(loss, W, epsilon=v), "epsilon", 0),
    "sharpness starts": (lambda v: hessian.sharpness(loss, W, starts=v), "starts", 0),
    "sharpness steps": (lambda v: hessian.sharpness(loss, W, steps=v), "steps", 0),
    "sharpness products": (lambda v: hessian.sharpness(loss, W, num_matvecs=v), "num_matvecs", 2),
    "extremal tol": (lambda v: hessian.extremal(loss, W, tol=v), "tol", 0),
    "extremal k": (lambda v: hessian.extremal(loss, W, k=v), "k", 3),
    "spectrum chunk": (lambda v: hessian.spectrum(loss, W, chunk=v), "chunk", 0),
    "inertia tolerance": (lambda v: hessian.inertia(W, v), "curvature_tol", -1),
    "trace products": (lambda v: hessian.trace(loss, W, method="hutchinson", num_matvecs=v), "num_matvecs", 1),
    "diagonal products": (lambda v: hessian.diagonal(loss, W, num_matvecs=v), "num_matvecs", 5),
    "taylor order": (lambda v: hessian.taylor(loss, W, order=v), "order", -1),
    "circle order": (lambda v: hessian.trust_region_step(loss, W, radius=1, order=v), "order", 0),
    "circle inside": (lambda v: hessian.trust_region_step(loss, W, radius=1, inside=v), "inside", 1),
    "circle radius": (lambda v: hessian.trust_region_step(loss, W, radius=v), "radius", 0),
}


@pytest.mark.parametrize("case", EDGES, ids=EDGES)
def test_every_function_names_what_lies_beyond_its_edge(case):
    call, name, beyond = EDGES[case]
    with pytest.raises((TypeError, ValueError), match=rf"^{name} must .*; got {re.escape(shown(beyond)[:30])}"):
        call(beyond)


def test_the_last_value_inside_every_edge_is_allowed():
    hessian.with_saddle_escape(optax.sgd(0.1), every=1, num_matvecs=2)
    hessian.perturbed_gd(1, radius=0, threshold=math.inf, wait=1)
    hessian.perturbed_gd(1, radius=0, threshold=0)
    hessian.newton(krylov=1)
    hessian.saddle_free_newton(damping=0)
    hessian.newton_cg(num_matvecs=2)
    hessian.taylor(loss, W, order=0)


DEFAULTS = {
    "find_minimum": {"rounds": 100, "steps": 50, "finish": 1000, "reset": True, "radius": 1.0, "method": "auto"},
    "classify": {"method": "auto", "confidence": 0.99, "num_matvecs": 200, "proof": False},
    "connect": {"radius": 0.02, "steps": 1000},
    "cubic_regularization": {"weight": 1.0},
    "density": {"probes": 8, "steps": 80, "memory": 2 * 2**30},
    "density_recorder": {"probes": 2, "steps": 40},
    "escape_trajectory": {"offset": 1e-6, "radius": 0.5},
    "diagonal": {"method": "hutch++", "num_matvecs": 99},
    "escape": {"num_matvecs": 100},
    "escape_time": {"radius": 1.0},
    "with_saddle_escape": {"every": 50, "reset": True, "num_matvecs": 40},
    "extremal": {"k": 1, "which": "lowest", "num_matvecs": 200, "memory": 2 * 2**30},
    "find_critical_points": {
        "method": "levenberg_marquardt", "index": 1, "steps": 200, "radius": 0.1, "batch": 4096,
    },
    "foreign_loss": {"accuracy": 1e-10},
    "landscape": {"highest": 1, "modes": 6, "steps": 200, "radius": 0.05, "strings": 16, "batch": 16},
    "minimum_ratio": {"probes": 8, "steps": 80},
    "newton": {"rate": 1.0},
    "newton_cg": {"accuracy": 1e-3, "weight": 1e-3, "num_matvecs": 100},
    "perturbed_gd": {"wait": 10},
    "saddle_free_newton": {"rate": 1.0, "damping": 0.0},
    "sharpness": {"measure": "eigenvalue", "epsilon": 1e-3, "starts": 4, "steps": 20, "num_matvecs": 60},
    "spectrum": {"chunk": 64, "memory": 8 * 2**30},
    "taylor": {"order": 2},
    "curvature": {"confidence": 0.99, "memory": 2 * 2**30},
    "curvature_recorder": {"num_matvecs": 20, "first": 70, "confidence": 0.99},
    "multiplicity": {"which": "lowest", "memory": 2 * 2**30},
    "trace": {"method": "hutch++", "num_matvecs": 99},
    "prove_saddle": {"radius": 0.0},
    "prove_all": {"smallest": 1e-7, "max_boxes": 10**6},
    "trust_region_step": {"order": 1, "inside": False},
    "trust_region": {"radius": 1.0},
}  # fmt: skip


def test_what_is_not_said_never_changes_unnoticed():
    for name, function in ((name, getattr(hessian, name)) for name in hessian.__all__):
        if inspect.isfunction(function):
            said = inspect.signature(function).parameters.values()
            given = {p.name: p.default for p in said if p.default not in (inspect.Parameter.empty, None)}
            assert given == DEFAULTS.get(name, {}), name


def test_what_is_expensive_is_compiled_once_for_all_points():
    homes = {
        "saddles.find_minimum": ["_find_minimum"],
        "saddles.connect": ["_connect"],
        "spectra.density": ["_quadrature", "_eigenvalues"],
        "saddles.escape": ["line_search_along"],
        "verdicts.evidence": ["dense"],
        "verdicts.krylov_evidence": ["matrix_free"],
        "verdicts.search": ["_search"],
        "landscapes.seek": ["seek_all"],
        "landscapes.strings": ["strung"],
        "spectra.sharpness": ["_keskar"],
        "spectra.spectrum": ["_spectrum", "_extremal"],
        "spectra.trace": ["_samples"],
    }
    for home, names in homes.items():
        module = importlib.import_module(f"hessian.{home}")
        assert all(hasattr(getattr(module, name), "lower") for name in names), home  # it has been given to jit


IDENTITY = optax.GradientTransformation(*map(jax.tree_util.Partial, optax.identity()))
METHODS = {
    "newton": hessian.newton(),
    "saddle_free_newton": hessian.saddle_free_newton(),
    "trust_region": hessian.trust_region(),
    "cubic_regularization": hessian.cubic_regularization(),
    "newton_cg": hessian.newton_cg(),
    "with_saddle_escape": hessian.with_saddle_escape(
        optax.GradientTransformation(*map(jax.tree_util.Partial, optax.identity()))
    ),
    "perturbed_gd": hessian.perturbed_gd(0.1, radius=0.1, threshold=0.1),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_itself_an_argument_of_what_is_compiled(name):
    traces = []

    @jax.jit
    def start(method):
        traces.append(name)
        return method.init(W)

    for _ in range(2):
        start(METHODS[name])
    assert traces == [name]
