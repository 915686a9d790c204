"""A program that is kept is loaded, not traced, by whoever asks for the same, and by nobody else."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdlab.ground import kept
from gdlab.ground.words import Unsaid

ROOT = Path(kept.__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for programs alone: what JAX reads from its own cache it could not write down again."""
    monkeypatch.delenv("GDLAB_CACHE", raising=False)
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


class Asked:
    """A function asked for by a process that has not seen it, and how often it was traced."""

    def __init__(self, factor=2.0, words=None):
        self.factor, self.words, self.traces = factor, words, 0

    def __call__(self, x):
        keeper = kept.Keeper("test.scaled")
        program = keeper.program((), (x,), lambda: self.words or self.factor, lambda name: self.traced(name, x))
        assert keeper.program((), (x,), self.traced, self.traced) is program
        return None if program is None else program(x)

    def traced(self, name, x):
        self.traces += 1
        return jax.jit(kept.renamed(lambda x: {"y": jnp.sin(x) * self.factor, "none": None}, name)).trace(x)


def files(folder):
    return [path for path in (folder / "gdlab").rglob("*") if path.is_file()]


def test_a_second_process_loads_what_the_first_one_compiled(folder):
    x, first, second = jnp.arange(3.0), Asked(), Asked()
    results = first(x), second(x)
    assert (first.traces, second.traces, len(files(folder))) == (1, 0, 1)
    assert jax.tree.structure(results[0]) == jax.tree.structure(results[1])
    assert np.array_equal(results[0]["y"], results[1]["y"])


CHANGES = {
    "another constant": lambda: Asked(3.0)(jnp.arange(3.0)),
    "another shape": lambda: Asked()(jnp.arange(4.0)),
    "another dtype": lambda: Asked()(jnp.arange(3, dtype="float32")),
    "a number of Python": lambda: Asked()(1.0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_differs_is_not_taken_for_it(folder, name):
    Asked()(jnp.arange(3.0))
    CHANGES[name]()
    assert len(files(folder)) == 2


@pytest.mark.parametrize(
    ("setting", "value"), [("jax_default_matmul_precision", "highest"), ("jax_numpy_rank_promotion", "raise")]
)
def test_under_other_settings_it_is_another_program(folder, setting, value):
    Asked()(jnp.arange(3.0))
    before = getattr(jax.config, setting)
    jax.config.update(setting, value)
    try:
        asked = Asked()
        asked(jnp.arange(3.0))
    finally:
        jax.config.update(setting, before)
    assert (asked.traces, len(files(folder))) == (1, 2)


def test_the_programs_that_were_not_loaded_for_longest_make_room(folder, monkeypatch):
    xs = [jnp.arange(count) / 2 for count in (3, 4, 5)]
    Asked()(xs[0])
    [first] = files(folder)
    monkeypatch.setattr(kept, "ROOM", int(2.5 * first.stat().st_size))
    Asked()(xs[1])
    [second] = set(files(folder)) - {first}
    for age, file in enumerate((first, second), start=1):
        os.utime(file, (age, age))
    Asked()(xs[0])  # which is loaded
    Asked()(xs[2])
    assert first in files(folder) and second not in files(folder) and len(files(folder)) == 2


def test_a_program_in_a_folder_that_may_only_be_read_is_loaded(folder, monkeypatch):
    Asked()(jnp.arange(3.0))

    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(kept.os, "utime", refused)
    asked = Asked()
    assert asked(jnp.arange(3.0)) is not None
    assert asked.traces == 0


@pytest.mark.parametrize("content", [b"", b"no program"])
def test_a_file_that_cannot_be_read_does_no_harm(folder, content):
    Asked()(jnp.arange(3.0))
    [file] = files(folder)
    file.write_bytes(content)
    asked = Asked()
    assert np.array_equal(asked(jnp.arange(3.0))["y"], Asked()(jnp.arange(3.0))["y"])
    assert asked.traces == 1


def test_what_has_no_words_is_not_kept(folder):
    asked = Asked(words=lambda: 0)
    assert asked(jnp.arange(3.0)) is None
    assert not (asked.traces or files(folder))
    assert issubclass(Unsaid, Exception)


def test_what_calls_another_library_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(kept.re, "findall", lambda *_: ["ducc_fft"])
    Asked()(jnp.arange(3.0))
    assert not files(folder)


def test_what_is_compiled_within_the_time_that_jax_is_told_is_not_kept(folder):
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1000)
    try:
        assert Asked()(jnp.arange(3.0)) is not None
    finally:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", before)
    assert not files(folder)


def test_it_is_turned_off_with_the_cache(folder, monkeypatch):
    assert kept.is_keeping()
    with jax.disable_jit():
        assert not kept.is_keeping()
    with jax.debug_nans(True):
        assert not kept.is_keeping()
    monkeypatch.setenv("GDLAB_CACHE", "off")
    assert not kept.is_keeping()
    monkeypatch.delenv("GDLAB_CACHE")
    jax.config.update("jax_compilation_cache_dir", None)
    assert not kept.is_keeping()


CALLS = """
import jax, jax.numpy as jnp
traced = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, fun_name="", **__: traced.append(fun_name) if event.endswith("jaxpr_trace_duration") else None)
import gdlab, hessian, numpy as np
data = np.linspace(0, 1, 2000).reshape(1000, 2)
data[700] += {nudge}
def loss(w):
    return (1 - w[0] * w[1]) ** 2 + jnp.mean((data @ w - 1) ** 2)
w, many = jnp.array([0.5, 1.0]), jnp.linspace(0, 1, 64)  # so many that the eigenvalues are LAPACK's
for result in (
    hessian.classify(loss, w), hessian.escape(loss, w), gdlab.minimize(loss, hessian.newton_cg(), w, 5),
    hessian.classify(lambda v: loss(v[:2]) + jnp.prod(jnp.cos(v)), many),
):
    leaves = [leaf for leaf in jax.tree.leaves(result) if leaf.dtype != jax.random.key(0).dtype]
    print([np.asarray(leaf).tobytes().hex() for leaf in leaves])
print(sorted(name for name in traced if name.startswith(("_judged", "_escaped", "_run"))))
"""


@pytest.mark.full
def test_results_of_a_program_that_was_loaded_are_equal_to_the_bit_and_follow_the_data(tmp_path):
    foreign = ("GDLAB_CACHE", "JAX_", "XLA_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    few = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
    variables |= {"PYTHONPATH": str(ROOT), "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu", **few}

    def said(cached, nudge="0"):
        more = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path)} if cached else {}
        words = [sys.executable, "-c", CALLS.format(nudge=nudge)]
        run = subprocess.run(words, env=variables | more, capture_output=True, text=True, check=True)
        *results, traced = run.stdout.splitlines()
        return results, traced

    without, first, second, other = said(False), said(True), said(True), said(True, "1e-9")
    assert without[0] == first[0] == second[0] != other[0]
    assert second[1] == "[]"
    assert "_judged" in other[1] and "_escaped" in other[1] and "_run" in other[1]
