"""What a comparison decides, and what it leaves open, is the same for Arb, for intervals and for balls over arrays."""

import numpy as np
import pytest

pytestmark = pytest.mark.full

flint = pytest.importorskip("flint")
pytest.importorskip("ival")

from hessian.proofs.kernels import adjoint, arrays  # noqa: E402
from hessian.proofs.kernels import arb as judge  # noqa: E402
from hessian.proofs.kernels.balls import Balls  # noqa: E402
from hessian.proofs.program import Operation, Program, Refused  # noqa: E402


def by_arb(program, low, high):
    with judge.bits(53):
        made = judge.jet(program, [flint.arb((low + high) / 2, (high - low) / 2)])
    value, slope = made.value, made.gradient[0, 0]
    return [float(one) for one in (value.lower(), value.upper(), slope.lower(), slope.upper())]


def by_intervals(program, low, high):
    every = arrays.enclose(program, arrays.intervals(np.array([[-7.0], [low]]), np.array([[-7.0], [high]])))
    if not every.smooth[1]:
        raise Refused
    assert every.smooth[0] or low == high  # the box beside it is decided for itself
    value, slope = every.value[1:], every.gradient[1:, 0]
    return [value.lo[0], value.hi[0], slope.lo[0], slope.hi[0]]


def by_balls(program, low, high):
    at = Balls(np.array([(low + high) / 2]), np.array([(high - low) / 2])) if low < high else Balls(np.array([low]))
    slope, bend = adjoint.derivatives(program, at)
    assert bend.mid.shape == (1, 1)
    return [None, None, slope.low.item(), slope.high.item()]


KERNELS = {"Arb": by_arb, "intervals": by_intervals, "balls": by_balls}


def program_of(*operations):
    return Program((Operation("input", (), 1, (1,)), *(Operation(*one) for one in operations)))


def constant(value):
    return "constant", (), 1, (float(value),)


def chosen(name, left, right):
    """5 x where the comparison is true, else 3 x."""
    ends = [constant(right if left is None else left)] if None in (left, right) else [constant(left), constant(right)]
    inputs = {(False, False): (1, 2), (True, False): (0, 1), (False, True): (1, 0)}[left is None, right is None]
    k = len(ends)
    return program_of(
        *ends, (name, inputs, 1), constant(3), ("mul", (0, k + 2), 1), constant(5), ("mul", (0, k + 4), 1),
        ("select", (k + 1, k + 3, k + 5), 1),
    )  # fmt: skip


CONSTANTS = [
    ("less", 1, 2, 5),
    ("less", 1, 1, 3),
    ("less", 2, 1, 3),
    ("equal", 1, 1, 5),
    ("equal", 1, 2, 3),
    ("equal", 2, 1, 3),
]
INPUTS = [  # a comparison with the input as None, the ends of the input, and the slope, None where it is refused
    ("less", None, 1, 0.25, 0.75, 5),
    ("less", None, 1, 1.25, 1.75, 3),
    ("less", None, 1, 0.5, 1.5, None),
    ("less", None, 1, 0.5, 1.0, None),
    ("less", None, 1, 1.0, 1.5, None),
    ("less", None, 1, 1.0, 1.0, None),
    ("less", 1, None, 1.25, 1.75, 5),
    ("less", 1, None, 0.25, 0.75, 3),
    ("less", 1, None, 1.0, 1.0, None),
    ("equal", None, 1, 0.25, 0.75, 3),
    ("equal", 1, None, 1.25, 1.75, 3),
    ("equal", None, 1, 1.0, 1.0, None),
    ("equal", None, 1, 0.5, 1.5, None),
]


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_tie_is_decided_of_constants_and_of_no_input(kernel):
    for name, left, right, slope in CONSTANTS:
        made = KERNELS[kernel](chosen(name, left, right), 0.5, 1.5)
        assert made[2:] == pytest.approx([slope, slope], rel=1e-14)
    for name, left, right, low, high, slope in INPUTS:
        program = chosen(name, left, right)
        if slope is None:
            with pytest.raises(Refused):
                KERNELS[kernel](program, low, high)
        else:
            assert KERNELS[kernel](program, low, high)[2:] == pytest.approx([slope, slope], rel=1e-14)


KINKS = [  # an operation with the constant 1, the ends of x, and those of value and slope
    ("max", 0.25, 0.75, [1, 1, 0, 0]),
    ("max", 1.25, 1.75, [1.25, 1.75, 1, 1]),
    ("min", 0.25, 0.75, [0.25, 0.75, 1, 1]),
    ("min", 1.25, 1.75, [1, 1, 0, 0]),
    ("max", 0.5, 1.5, None),
    ("min", 0.5, 1.5, None),
    ("max", 1.0, 1.0, None),
    ("min", 1.0, 1.0, None),
    ("max", 0.5, 1.0, None),
    ("min", 1.0, 1.5, None),
]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("swapped", [False, True])
def test_the_larger_and_the_smaller_of_two_have_the_slope_of_the_one_that_is_certain(kernel, swapped):
    for name, low, high, expected in KINKS:
        program = program_of(constant(1), (name, (1, 0) if swapped else (0, 1), 1))
        if expected is None:
            with pytest.raises(Refused):
                KERNELS[kernel](program, low, high)
        else:
            made = KERNELS[kernel](program, low, high)
            for one, exact in zip(made, expected, strict=True):
                assert one is None or one == pytest.approx(exact, abs=1e-8)  # Arb's radii have 30 bits


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kink_that_only_an_unused_choice_has_is_no_matter(kernel):
    kink = program_of(
        constant(1), ("max", (0, 1), 1), ("square", (0,), 1), constant(9), ("less", (0, 4), 1), ("select", (5, 2, 3), 1)
    )
    low, high = KERNELS[kernel](kink, 0.5, 1.5)[2:]  # 2 x
    assert (low, high) == pytest.approx((1, 3), rel=1e-6)
    used = program_of(
        constant(1), ("max", (0, 1), 1), ("square", (0,), 1), constant(9), ("less", (4, 0), 1), ("select", (5, 2, 3), 1)
    )
    with pytest.raises(Refused):
        KERNELS[kernel](used, 0.5, 1.5)
