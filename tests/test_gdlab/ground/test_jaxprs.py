"""Where a version of JAX has moved the classes of a program, its public names stand for them."""

import runpy

import jax.extend.core
import jax.numpy as jnp
from jax._src import core

from gdlab.ground import jaxprs


def test_without_the_private_names_the_public_ones_are_taken(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(core, "ClosedJaxpr", "moved", raising=False)
        patch.delattr(core, "Jaxpr")
        names = runpy.run_path(jaxprs.__file__)
    assert [names[name] for name in jaxprs.__all__] == [getattr(jaxprs, name) for name in jaxprs.__all__]
    assert isinstance(jax.make_jaxpr(jnp.sin)(1.0), names["ClosedJaxpr"])
