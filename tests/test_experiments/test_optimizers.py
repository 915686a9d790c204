"""Optimizers by name: all of optax and optax.contrib, hyperparameters, files, and what is refused."""

import inspect

import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import gdlab
from experiments.cli.settings import InputError
from experiments.workloads.optimizers import named_optimizers, tried

pytestmark = pytest.mark.full


def of_optax():
    """Every function of optax and optax.contrib that returns a transformation, or a function that makes one."""
    for library in (optax, optax.contrib):
        for name, value in sorted(vars(library).items()):
            returned = inspect.signature(value).return_annotation if inspect.isfunction(value) else None
            if "Transformation" in str(returned) and not name.startswith("_"):
                yield f"{library.__name__}.{name}"


@pytest.mark.filterwarnings("ignore:Specifying a key", "ignore::DeprecationWarning")
def test_nine_in_ten_optimizers_of_optax_run_by_name_and_the_others_say_what_they_want():
    names, refused = list(of_optax()), {}
    for name in names:
        try:
            tried(name)
        except InputError as error:
            refused[name] = str(error)
    assert len(names) > 80
    assert len(refused) <= len(names) / 10
    for name, said in refused.items():
        assert f"{name} needs {name}(" in said or f"{name} wants " in said
        assert "\n" not in said


def ran(optimizer, steps=3):
    return gdlab.minimize(lambda x: jnp.sum(x**4), optimizer, jnp.array([1.0, -2.0]), steps).params


SAME = {
    "adam(b1=.5)": lambda rate: gdlab.adam(rate, 0.5),
    "adam(.5)": lambda rate: gdlab.adam(rate, 0.5),
    "optax.adam(b2=0.9, nesterov=True)": lambda rate: optax.adam(rate, b2=0.9, nesterov=True),
    "optax.scale_by_adam": lambda rate: optax.adam(rate),
    "optax.trace(decay=.9)": lambda rate: optax.sgd(rate, 0.9),
    "optax.trace": lambda rate: optax.sgd(rate, 0.9),
    "optax.chain(optax.clip(2.), optax.sgd)": lambda rate: optax.chain(optax.clip(2.0), optax.sgd(rate)),
    "optax.chain(optax.clip(2.), optax.trace)": lambda rate: optax.chain(optax.clip(2.0), optax.sgd(rate, 0.9)),
    "optax.apply_if_finite(optax.adam)": optax.adam,
    "optax.inject_hyperparams(optax.adam)": optax.adam,
    "optax.partition": optax.sgd,
    "lookahead": lambda rate: gdlab.lookahead(gdlab.sgd(rate)),
    "lookahead(momentum(.5))": lambda rate: gdlab.lookahead(gdlab.momentum(rate, 0.5)),
    "optax.contrib.schedule_free(optax.sgd, weight_lr_power=1.)": lambda rate: optax.contrib.schedule_free(
        optax.sgd(rate), rate, weight_lr_power=1.0
    ),
    "swats": gdlab.swats,
    "muon": gdlab.muon,
    "schedule_free(rmsprop(.9))": lambda rate: gdlab.schedule_free(gdlab.rmsprop(rate, 0.9)),
}


@pytest.mark.parametrize("name", SAME)
def test_a_name_is_the_optimizer_that_it_names(name):
    np.testing.assert_array_equal(ran(tried(name)(0.01)), ran(SAME[name](0.01)))


@pytest.mark.parametrize("name", ["optax.contrib.sam(optax.sgd, optax.sgd, opaque_mode=True)", "optax.contrib.sophia"])
def test_optimizers_that_ask_for_the_loss_or_its_gradient_get_them(name):
    if not hasattr(optax.contrib, name.split("(")[0].rpartition(".")[2]):
        pytest.skip("this optax has none")
    ends = [ran(tried(name)(0.01), steps) for steps in (1, 20)]
    assert np.isfinite(ends[1]).all()
    assert jnp.sum(ends[1] ** 4) < jnp.sum(ends[0] ** 4)


def test_names_are_separated_by_commas_outside_of_brackets_and_files_name_functions(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("import optax\n\ndef make_optimizer(learning_rate):\n    return optax.sgd(learning_rate, 0.5)\n")
    found = named_optimizers(["adam(b1=.5,b2=.9),gd", f"{file}:make_optimizer"])
    assert list(found) == ["adam(b1=.5,b2=.9)", "gd", f"{file}:make_optimizer"]
    np.testing.assert_array_equal(ran(found[f"{file}:make_optimizer"](0.01)), ran(optax.sgd(0.01, 0.5)))


REFUSED = {
    "adma": "did you mean adamax",
    "optax.lbgfs": r"did you mean optax.lbfgs\?$",
    "optax.contrib.moun": r"did you mean optax.contrib.muon\?$",
    "adam(b3=1)": r"^adam must get hyperparameters among learning_rate, b1, .*; got 'b3': did you mean b2\?$",
    "adam(": r"^optimizers must be names, such as adam or adam\(b1=.5\); got 'adam\('$",
    "optax.clip(1, 2)": "^optax.clip must get at most 1 hyperparameters; got 2$",
    "optax.chain": r"optax.chain needs optax.chain\(one, another, ...\)$",
    "optax.stateless": r"optax.stateless needs optax.stateless\(f=...\)",
    "optax.contrib.dpsgd(1., 1., 0)": "dpsgd wants the gradient of each example",
    "adam(b1=2.)": r"^optimizers must be usable by name; adam\(b1=2.\) raised ValueError b1 must lie in",
    "os.system": "^optimizers must be names among",
    "": "^optimizers must name at least one optimizer",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_optimizer_is_refused_in_one_sentence(text):
    with pytest.raises(InputError, match=REFUSED[text]) as caught:
        named_optimizers([text])
    assert "\n" not in str(caught.value)
