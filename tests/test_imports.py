"""What an import costs: the packages bring what most programs use, and the rest where it is first asked for."""

import inspect
import subprocess
import sys

import pytest

import gdlab
import hessian

ROOMS = (gdlab, hessian)
# Libraries and parts that the two packages must not bring along: each is imported where it is used.
LATER = ("scipy.optimize", "scipy.stats", "matplotlib", "xarray", "h5py", "flint", "hessian.proofs", "gdlab.problems")
LATER += ("jax.extend.core", "jax._src.pallas.core")


def said(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@pytest.mark.full
def test_the_packages_bring_no_library_that_most_programs_do_not_use():
    asked = f"import sys, jax, optax, gdlab, hessian; print([name for name in {LATER} if name in sys.modules])"
    assert said(asked).strip() == "[]"


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_public_name_is_there_when_it_is_asked_for(room):
    values = {name: getattr(room, name) for name in dir(room)}
    assert set(room.__all__) <= set(values)
    homes = {name: value.__module__ for name, value in values.items() if inspect.isfunction(value)}
    assert all(home.startswith(f"{room.__name__}.") for home in homes.values())
    assert getattr(room, room.__all__[-1]) is values[room.__all__[-1]]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_a_module_is_there_as_well_and_another_name_is_not(room):
    assert inspect.ismodule(room.arguments)
    with pytest.raises(AttributeError, match=f"module '{room.__name__}' has no attribute 'clasify'"):
        room.clasify  # noqa: B018
    assert not hasattr(room, "__wrapped__")


@pytest.mark.full
def test_a_package_that_is_first_used_within_a_transformation_keeps_nothing_of_it():
    program = (
        "import jax, jax.numpy as jnp\n"
        "def kind(w):\n"
        "    import gdlab, hessian\n"
        "    return gdlab.minimize(jnp.sum, gdlab.gd(0.1), w, 2).params, hessian.hvp(jnp.sum, w)(w)\n"
        "jax.jit(kind)(jnp.ones(2))\n"
        "from gdlab.ground import compilers\n"
        "print(compilers.is_alone())\n"
    )
    assert said(program).strip() == "True"
