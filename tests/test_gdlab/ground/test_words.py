"""What a value is, in words: equal where values are equal in every process, different where programs are."""

import dataclasses
import enum
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdlab.ground.words import Unsaid, words_of

FINE = np.linspace(0, 1, 2000)


def program(fn, *args):
    return jax.make_jaxpr(fn)(*(args or (jnp.ones(3),)))


def nudged(x):
    return x * jnp.asarray(np.where(np.arange(2000) == 700, np.nextafter(FINE, 2), FINE))[:3]


DIFFERENT = {  # all words of these differ, whatever their `repr` leaves out
    "one": 1, "one as a float": 1.0, "true": True, "text": "1", "bytes": b"1", "none": None,
    "nearly": float(np.nextafter(1.0, 2)), "a single": np.float32(1), "a double": np.float64(1),
    "a tuple": (1, 2), "a list": [1, 2], "nested": ((1,), 2), "a dict": {"a": 1}, "another": {"a": 2},
    "an array": FINE, "in another shape": FINE[None],
    "by a bit": np.where(np.arange(2000) == 700, np.nextafter(FINE, 2), FINE),
    "a dtype": np.dtype("float32"), "a function": jnp.sin, "a partial": functools.partial(jnp.sin, 1),
    "a structure": jax.tree.structure((1, 2)), "with none": jax.tree.structure((1, None)),
    "with a dict": jax.tree.structure((1, {"a": 2})), "of another name": jax.tree.structure((1, {"b": 2})),
    "sin": program(jnp.sin), "cos": program(jnp.cos), "two": program(lambda x: x * 2),
    "three": program(lambda x: x * 3),
    "x - y": program(lambda x, y: x - y, 1.0, 2.0), "y - x": program(lambda x, y: y - x, 1.0, 2.0),
    "of singles": program(jnp.sin, jnp.ones(3, "float32")), "weak": program(jnp.sin, 1.0),
    "with data": program(lambda x: x * jnp.asarray(FINE)[:3]), "with data, by a bit": program(nudged),
    "a branch": program(lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x)),
    "the other branch": program(lambda x: jax.lax.cond(x[0] > 0, jnp.cos, jnp.sin, x)),
    "a loop": program(lambda x: jax.lax.fori_loop(0, 3, lambda _, x: x * 2, x)),
    "a longer loop": program(lambda x: jax.lax.fori_loop(0, 4, lambda _, x: x * 2, x)),
    "a rule": program(jax.nn.relu), "its derivative": program(lambda x: jax.jvp(jax.nn.relu, (x,), (x,))[1]),
}  # fmt: skip


def test_different_values_have_different_words():
    words = {name: words_of(value) for name, value in DIFFERENT.items()}
    assert len(set(words.values())) == len(words)


def test_a_program_that_is_traced_again_has_the_same_words():
    fns = [lambda x: jnp.sum(jnp.tanh(x) ** 2) for _ in range(2)]
    first, second = (words_of(program(jax.hessian(fn))) for fn in fns)
    assert first == second


class Color(enum.IntEnum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Mine:
    number: int


@jax.custom_vjp
def ruled(x):
    return x


ruled.defvjp(lambda x: (x, None), lambda _, g: (g,))


def called_back(x):
    return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)


UNSAID = {
    "a function of a user": lambda: called_back,
    "a lambda": lambda: lambda x: x,
    "a class of a user": lambda: Mine(1),
    "an enumeration of a user": lambda: Color.RED,
    "a method": lambda: [].append,
    "an object": object,
    "a structure of a user": lambda: jax.tree.structure(jax.tree_util.Partial(called_back, 1.0)),
    "a callback": lambda: program(called_back),
    "a rule in reverse": lambda: program(ruled),
    "an effect": lambda: program(lambda x: jax.debug.print("{}", x)),
    "one in a loop": lambda: program(lambda x: jax.lax.fori_loop(0, 2, lambda _, x: called_back(x), x)),
    "a key": lambda: jax.random.key(0),
    "objects": lambda: np.array([None]),
}


@pytest.mark.parametrize("name", UNSAID)
def test_what_another_process_may_not_know_has_no_words(name):
    with pytest.raises(Unsaid):
        words_of(UNSAID[name]())
