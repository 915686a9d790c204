"""The intervals over arrays contain what Arb finds at 200 bits, and would be caught if they were one ulp too narrow."""

import numpy as np
import pytest

pytestmark = pytest.mark.full

flint = pytest.importorskip("flint")
pytest.importorskip("ival")

from hessian.proofs.kernels import arb as judge  # noqa: E402
from hessian.proofs.kernels import arrays  # noqa: E402
from hessian.proofs.program import FUNCTIONS, Operation, Program  # noqa: E402

COUNT = 400
ABOVE = {"log": 0, "sqrt": 0, "rsqrt": 0, "acosh": 1, "log1p": -1}  # what has values above a number alone
BETWEEN_ONES = ("asin", "acos", "atanh")
AWAY_FROM_ZERO = ("abs", "sign", "cbrt")
ONES = {**{name: (name, ()) for name in FUNCTIONS}, **{f"power {k}": ("power", (k,)) for k in (-3, -2, -1, 0, 1, 3, 4)}}


def arguments(name, rng):
    """Numbers of all sizes in the domain of a function, and others a little above them."""
    if name in BETWEEN_ONES:
        ends = np.sort(rng.uniform(-1, 1, (COUNT, 2)), axis=1)
        return ends[:, 0], ends[:, 1]
    sizes = 10 ** rng.uniform(-3, 1, COUNT)
    if name in ABOVE:
        low = ABOVE[name] + sizes
        return low, low + sizes * rng.uniform(0, 1, COUNT)
    if name in AWAY_FROM_ZERO or name.startswith("power -"):
        low, signs = sizes, rng.choice([-1, 1], COUNT)
        ends = np.sort(np.stack([signs * low, signs * (low + sizes)]), axis=0)
        return ends[0], ends[1]
    if name == "floor":
        low = rng.integers(-9, 9, COUNT) + rng.uniform(0.01, 0.5, COUNT)
        return low, low + rng.uniform(0, 0.4, COUNT)
    if name == "tan":
        return np.sort(rng.uniform(-1.5, 1.5, (2, COUNT)), axis=0)
    low = sizes * rng.choice([-1, 1], COUNT)
    return low, low + 10 ** rng.uniform(-3, 1, COUNT)


def missed(made, exact):
    """Whether an interval misses a ball of 200 bits altogether: each of three parts, low and high."""
    return [
        (bool(exact[part] < flint.arb(float(low))), bool(exact[part] > flint.arb(float(high))))
        for part, (low, high) in enumerate(made)
    ]


def misses(name, detail, poison=False):
    """How often f, f' and f'' on thin and wide intervals miss the exact values, below and above."""
    label = name if name != "power" else f"power {detail[0]}"
    low, high = arguments(label, np.random.default_rng(0))
    count = np.zeros((3, 2), int)
    for ends in ((low, low), (low, high)):
        made = arrays.derivatives(name, arrays.intervals(*ends), detail)
        if poison:
            made = [arrays.intervals(np.nextafter(one.lo, np.inf), np.nextafter(one.hi, -np.inf)) for one in made]
        with judge.bits(200):
            for at in {id(one): one for one in (*ends, ends[0] / 2 + ends[1] / 2)}.values():
                for i, x in enumerate(at):
                    exact = judge.derivatives(name, flint.arb(float(x)), detail)
                    count += missed([(one.lo[i], one.hi[i]) for one in made], exact)
    return count


@pytest.mark.parametrize("label", ONES)
def test_a_function_contains_what_arb_finds_at_200_bits_and_one_ulp_inward_would_not(label):
    name, detail = ONES[label]
    assert not misses(name, detail).any()
    assert misses(name, detail, poison=True)[0].all()  # below and above; f' and f'' are made of such values


def test_the_constant_of_erf_is_within_its_interval():
    made = arrays.VALUES.two_over_root_pi()
    with judge.bits(200):
        exact = 2 / flint.arb.pi().sqrt()
        assert flint.arb(made.lo) < exact < flint.arb(made.hi)
    assert made.hi - made.lo < 1e-15


def pair(name):
    return Program((Operation("input", (), 2, (2,)), *_halves(), Operation(name, (1, 2), 1)))


def _halves():
    return Operation("take", (0,), 1, (0,)), Operation("take", (0,), 1, (1,))


PROGRAMS = {
    **{name: pair(name) for name in ("add", "sub", "mul", "div")},
    "sum": Program((Operation("input", (), 5, (5,)), Operation("square", (0,), 5), Operation("sum", (1,), 1, (5,)))),
    "matmul": Program(
        (
            Operation("input", (), 4, (4,)),
            Operation("constant", (), 4, (0.1, -0.7, 1.3, 0.3)),
            Operation("matmul", (0, 1), 4, (1, 2, 2, 2)),
            Operation("matmul", (2, 0), 4, (1, 2, 2, 2)),
            Operation("take", (3,), 1, (2,)),
        )
    ),
    "max, min and select": Program(
        (
            Operation("input", (), 2, (2,)),
            *_halves(),
            Operation("square", (1,), 1),
            Operation("max", (3, 2), 1),
            Operation("min", (3, 2), 1),
            Operation("less", (1, 2), 1),
            Operation("not", (6,), 1),
            Operation("select", (7, 4, 5), 1),
            Operation("exp", (8,), 1),
        )
    ),
}


def misses_of(program, poison):
    """How often value, gradient and Hessian on thin and wide boxes miss those of their corners and points."""
    rng, n = np.random.default_rng(1), program.inputs
    low = rng.normal(size=(200, n))
    count = np.zeros(2, int)
    for width in (np.zeros(n), 0.03 * rng.uniform(size=(200, n))):
        boxes = arrays.intervals(low, low + width)
        made = arrays.enclose(program, boxes)
        ends = [
            np.concatenate([one.reshape(200, -1) for one in side], axis=1) for side in zip(*_ends(made), strict=True)
        ]
        if poison:
            ends = [np.nextafter(ends[0], np.inf), np.nextafter(ends[1], -np.inf)]
        for at in (boxes.lo, boxes.hi):
            for i in np.flatnonzero(made.smooth):
                exact = jet(program, at[i])
                for k, (below, above) in enumerate(zip(ends[0][i], ends[1][i], strict=True)):
                    count += bool(exact[k] < flint.arb(float(below))), bool(exact[k] > flint.arb(float(above)))
    return count


def _ends(made):
    return [(one.lo, one.hi) for one in (made.value, made.gradient, made.hessian)]


def jet(program, x):
    """Value, gradient and Hessian at a point, of 200 bits, one after another."""
    with judge.bits(200):
        made = judge.jet(program, [flint.arb(float(one)) for one in x])
    return [made.value, *made.gradient.entries(), *made.hessian.entries()]


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_operation_contains_what_arb_finds_at_200_bits_and_one_ulp_inward_would_not(name):
    assert not misses_of(PROGRAMS[name], poison=False).any()
    assert misses_of(PROGRAMS[name], poison=True).all()


OUTSIDE = {
    "a logarithm": ("log", -0.1, 0.5),
    "a root": ("sqrt", -0.1, 0.5),
    "a root of what is negative": ("sqrt", -0.5, -0.1),
    "a root at its end": ("sqrt", 0.0, 0.5),
    "an inverse sine": ("asin", 0.9, 1.1),
    "an inverse sine at its end": ("asin", 0.9, 1.0),
    "an inverse cosine": ("acos", -2.0, 2.0),
    "an inverse hyperbolic cosine": ("acosh", 0.5, 2.0),
    "an inverse hyperbolic tangent": ("atanh", 0.5, 1.5),
    "log1p": ("log1p", -1.5, 1.0),
    "a pole": ("tan", 1.0, 2.0),
    "a kink": ("abs", -0.1, 0.2),
    "a jump": ("sign", -0.1, 0.2),
    "a step": ("floor", 0.9, 1.1),
    "a step at its end": ("floor", 1.0, 1.1),
    "a cube root": ("cbrt", -0.1, 0.2),
    "an inverse root": ("rsqrt", -0.1, 0.2),
}


@pytest.mark.parametrize("label", OUTSIDE)
def test_only_the_boxes_that_leave_a_domain_are_refused(label):
    name, low, high = OUTSIDE[label]
    inside = 1.5 if name == "acosh" else 0.3
    boxes = arrays.intervals(np.array([[low], [inside]]), np.array([[high], [inside + 0.01]]))
    program = Program((Operation("input", (), 1, (1,)), Operation(name, (0,), 1)))
    assert arrays.enclose(program, boxes).smooth.tolist() == [False, True]
    assert arrays.enclose(program, boxes, order=1).smooth.tolist() == [False, True]


def test_the_value_of_a_constant_outside_of_a_domain_is_refused_too():
    for name, number in (("sqrt", -2.0), ("asin", 1.5), ("acosh", 0.5), ("log", -1.0), ("log", 0.0)):
        program = Program(
            (
                Operation("input", (), 1, (1,)),
                Operation("constant", (), 1, (number,)),
                Operation(name, (1,), 1),
                Operation("mul", (0, 2), 1),
            )
        )
        assert not arrays.enclose(program, arrays.intervals(*np.ones((2, 1, 1)))).smooth.any()
