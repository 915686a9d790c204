"""The ground on which every test and doctest stands: float64, the CPU unless another device is asked for, no window."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["MPLBACKEND"] = "Agg"
# Its threads wait for each other by turning: beside other work eigh takes a hundred times as long with two as with one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("GDLAB_CACHE", "off")  # programs that tests start leave the user's cache alone

import contextlib
import functools
import gc
import importlib.util
import itertools
import shutil
import signal
import threading
from pathlib import Path

import hypothesis
import jax
import pytest
from jax._src import compiler  # no public name changes the options of what JAX compiles by itself
from jax._src.interpreters import mlir

from experiments.cli.compiling import compiled_quickly
from gdlab.ground.compilers import ONCE, known

# Not through the environment: programs that tests start must choose their own precision, as they do for a user.
jax.config.update("jax_enable_x64", True)

# A shell that starts the tests in the background lets interrupts be ignored, and every program inherits that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The first example of a law compiles, so a deadline would measure the compiler; and a run finds the same every time.
hypothesis.settings.register_profile("gdlab", deadline=None, derandomize=True)
hypothesis.settings.load_profile("gdlab")

SLOW_EXAMPLES = ("hessian.landscapes", "hessian.saddles", "hessian.verdicts", "hessian.spectra", "hessian.steps")
SLOW_EXAMPLES += ("experiments.workloads",)

# Folders and files whose tests compare programs bit for bit, or bound what they round: compiled as they are for users.
ROUNDING = {"storage", "sweeps", "proofs", "test_faults", "test_moments", "test_named", "test_peers", "test_precision"}
ROUNDING |= {"test_roundoff", "test_feed", "test_foreign", "test_long_run", "test_objective", "test_resumed"}
ROUNDING |= {"test_points"}  # whose programs run for longer than they compile

TESTS = Path(__file__).parent / "tests"
SHARING = 20  # files whose examples share what is compiled
CONTEXT = 50  # programs that are written down in one context of MLIR, a tenth of the time of small ones
EXAMPLES: dict = {"quick": None, "files": 0}  # by whose examples what is compiled now was, and how

# torch is another witness of our formulas, too large to ask every contributor to install.
collect_ignore = [] if importlib.util.find_spec("torch") else ["tests/test_gdlab/test_torch.py"]
# A browser is not everyone's either; where GDLAB_BROWSER is set, as in .ci/run, its absence is an error instead.
if not (importlib.util.find_spec("playwright") and shutil.which("chromium")) and "GDLAB_BROWSER" not in os.environ:
    collect_ignore += [f"tests/test_experiments/test_{name}.py" for name in ("emit", "live", "page")]


def pytest_configure(config):
    """Keep what is compiled from one run to the next, for tests are mostly compilation.

    Not through the environment here either: a program that tests start, and kill, leaves nothing half written.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and hasattr(config, "cache"):
        jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if not hasattr(mlir, "_create_ir_context"):  # a later JAX has contexts of several programs of its own
        mlir.make_ir_context = in_turn(mlir.make_ir_context, CONTEXT)


def in_turn(make, count):
    """What `make` makes, `count` times the same in each thread."""
    kept = threading.local()

    @functools.wraps(make)
    def shared():
        kept.turns = getattr(kept, "turns", itertools.count())
        if next(kept.turns) % count == 0:
            kept.made = make()
        return kept.made

    return shared


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Import all tests; the garbage collector need not look through them, for they stay: neither now nor later."""
    gc.disable()
    try:
        with for_tests(True):  # what modules compute when they are imported
            return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items):
    """The examples of whole searches, verdicts and steps compile for seconds each: the quick loop leaves them out."""
    for item in items:
        if isinstance(item, pytest.DoctestItem) and str(item.name).startswith(SLOW_EXAMPLES):
            item.add_marker(pytest.mark.full)


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly_and_forgotten(request):
    """Tests are mostly compilation: what only makes programs faster is left out where no rounding is judged.

    Hundreds of compiled programs take gigabytes, and no file of tests needs those of another; files whose examples are
    run have few, and share them.
    """
    quick = not ROUNDING & set(request.path.with_suffix("").parts)
    tests = request.path.is_relative_to(TESTS)
    if tests or EXAMPLES["quick"] is not quick or EXAMPLES["files"] == SHARING:
        jax.clear_caches()
        EXAMPLES["files"] = 0
    with for_tests(quick):
        yield
    if tests:
        jax.clear_caches()
    else:
        EXAMPLES.update(quick=quick, files=EXAMPLES["files"] + 1)


@contextlib.contextmanager
def for_tests(quick):
    """A block in which what is compiled is compiled quickly, also by XLA's flags, or as for users."""
    with compiled_quickly(quick), pytest.MonkeyPatch.context() as patch:
        if quick:
            patch.setattr(compiler, "get_compile_options", quickly(compiler.get_compile_options, known(ONCE)))
        yield


def quickly(plain, options):
    """The options of a compilation, with these for all."""

    @functools.wraps(plain)
    def with_options(*args, env_options_overrides=None, **named):
        return plain(*args, env_options_overrides={**(env_options_overrides or {}), **options}, **named)

    return with_options


@pytest.fixture
def ax():
    """Axes to draw on."""
    plt = pytest.importorskip("matplotlib.pyplot")
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)
