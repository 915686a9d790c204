"""One critical point: that a ball holds exactly one, and what its index is.

    x          Newton's method, to stagnation; the ball |x_i' - x_i| <= r_i, r_i = rho sqrt((|H|^-1)_ii)
    Krawczyk   x - Y g(x) + (I - Y H(X)) (X - x) inside X  =>  X holds exactly one zero of g, and no H in H(X) is
               singular, whatever the approximate inverse Y                        (Krawczyk 1969; Neumaier 1990)
    inertia    the pivots of V' H(x) V, eliminated in balls, have the signs of the eigenvalues of H(x) (Sylvester);
               those of every H on X have them too, as none between is singular

What is approximate (x, Y, V, r) may be as wrong as it likes: a wrong one proves nothing.
"""

from fractions import Fraction
from typing import Any

import numpy as np

from hessian.proofs.kernels import arb as judge
from hessian.proofs.kernels import points
from hessian.proofs.kernels.arb import Jet, bits
from hessian.proofs.orbit import OrbitSlice
from hessian.proofs.program import NotProved, Program, Refused
from hessian.proofs.record import MANY, Ball

PRECISIONS = (53, 106, 212, 424)  # bits, tried one after another
TURNS = 12  # Newton steps at most
FAR = 0.1  # how far they may lead, against 1 + |x|: what is further away was not asked about
BALLS = 12  # radii that are tried at most
FIRST = 1e-3  # the first radius, against 1 + |x|
ROWS = 12  # parameters from which on balls over arrays are tried first


def proved_at(program: Program, start: np.ndarray, precisions: tuple[int, ...] = PRECISIONS) -> Ball:
    """A ball around the critical point that Newton's method finds from a start.

    Raises:
        NotProved: with the reason: the point is degenerate, a comparison is undecided beside it, more bits are needed.
    """
    reason = ""
    if len(start) >= ROWS:
        try:
            return _by_rows(program, start)
        except NotProved:
            if len(start) > MANY:
                raise
    for precision in precisions:
        with bits(precision):
            try:
                return _ball(program, start, precision)
            except Refused as error:
                raise NotProved(str(error)) from None
            except NotProved as error:
                reason = str(error)
    msg = f"{reason}; with {precisions[-1]} bits"
    raise NotProved(msg)


def transverse(orbit: OrbitSlice, ball: Ball, precision: int) -> bool:
    """Whether the fields of an orbit lead off its slice, all of them, wherever x lies in the ball."""
    with bits(precision):
        x = [judge.arb(pair, r) for pair, r in zip(ball.center, ball.radius, strict=True)] + [judge.arb(1)]
        moves = []
        for field in orbit.fields:
            move = [judge.arb(0)] * len(ball.center)
            for i, j, number in field:
                move[i] += judge.arb(number) * x[j]
            moves.append(move)
        rows = judge.arb_mat([[judge.arb(number) for number in row] for row in orbit.rows])
        angles = judge.arb_mat(moves) * rows.transpose()
        # Multiplied by nearly its inverse the matrix is nearly 1, whose determinant is enclosed well.
        try:
            return not bool((angles.mid().inv().mid() * angles).det().contains(0))
        except ZeroDivisionError:
            return False


def holds(program: Program, ball: Ball, precision: int) -> bool:
    """Whether the statement of a ball comes out again, from nothing but the program, the ball and the index.

    Raises:
        NotProved, Refused: where it cannot even be asked, and why.
    """
    with bits(precision):
        center = [judge.arb(pair) for pair in ball.center]
        thin = judge.jet(program, center)
        inverse = _approximate_inverse(thin)
        step = inverse * thin.gradient
        growth = _growth(program, center, list(map(float, ball.radius)), inverse, step)
        return growth < 1 and _index(thin) == ball.index


def confirmed(program: Program, ball: Ball) -> Ball:
    """A ball inside that Arb proves as well, whose enclosures of some losses are wider than those over arrays.

    Raises:
        NotProved: where it proves none.
    """
    for _ in range(BALLS):
        if ball.kernel == "arb" or len(ball.center) > MANY or holds(program, ball, 2 * ball.bits):
            return ball
        ball = ball._replace(radius=tuple(r / 4 for r in ball.radius))
    msg = "the two kernels do not agree on any ball"
    raise NotProved(msg)


def holds_by_rows(program: Program, ball: Ball) -> bool:
    """The same, by balls over arrays; raises where the center is no doubles, too."""
    ratios = [Fraction(m) * Fraction(2) ** e for m, e in ball.center]
    center = np.array([float(one) for one in ratios])
    if center.tolist() != ratios:
        msg = "the center is not made of doubles"
        raise NotProved(msg)
    return points.holds(program, points.Point(center, np.array(ball.radius), ball.index))


def _by_rows(program, start):
    """A ball by balls over arrays, which cost n times less for n parameters and have the bits of doubles."""
    found = points.proved_at(program, start)
    _refuse_far(found.center - start, start)
    ratios = [x.as_integer_ratio() for x in found.center.tolist()]
    center = tuple((top, 1 - bottom.bit_length()) for top, bottom in ratios)
    return Ball(center, tuple(found.radius.tolist()), found.index, PRECISIONS[0], "balls")


def _ball(program, start, precision):
    """A ball at one precision."""
    center, thin = _newton(program, start)
    inverse = _approximate_inverse(thin)
    step, lengths = inverse * thin.gradient, _lengths(thin)
    sizes = np.array([1 + abs(float(x)) for x in center])
    rho = FIRST / np.max(lengths / sizes)
    for _ in range(BALLS):
        radius = [float(rho * length) for length in lengths]
        try:
            growth = _growth(program, center, radius, inverse, step)
        except Refused as error:
            growth, reason = np.inf, str(error)
        else:
            reason = ""
            if growth < 1:
                exact = tuple((int(m), int(e)) for m, e in (x.man_exp() for x in center))
                return Ball(exact, tuple(radius), _index(thin), precision)
        if any(step[i, 0].abs_lower() > r for i, r in enumerate(radius)):
            break  # Newton's step leaves every smaller ball
        rho *= 0.01 if growth > 50 else 0.5 / growth
    if reason:
        raise Refused(reason)
    msg = "the Hessian changes too much over any ball that rounding allows: degenerate, or in need of more bits"
    raise NotProved(msg)


def _newton(program: Program, start: np.ndarray) -> tuple[list[Any], Jet]:
    """Newton's method from a start to stagnation: the last point, exact, and the jet there."""
    x = [judge.arb(float(number)) for number in start]
    shortest, found = judge.arb.pos_inf(), (x, judge.jet(program, x))
    for turn in range(TURNS):
        thin = judge.jet(program, x) if turn else found[1]
        step = _approximate_inverse(thin) * thin.gradient.mid()
        length = max(abs(step[i, 0].mid()) / judge.arb(unit) for i, unit in enumerate(_lengths(thin)))
        if turn and length > shortest / 2:
            break
        shortest, found = length, (x, thin)
        x = [(a - step[i, 0]).mid() for i, a in enumerate(x)]
    center, thin = found
    _refuse_far(np.array([float(x - judge.arb(float(at))) for x, at in zip(center, start, strict=True)]), start)
    return center, thin


def _refuse_far(moved, start):
    """Raise where Newton's method leads to a point that was not asked about."""
    if not np.linalg.norm(moved) <= FAR * (1 + np.linalg.norm(start)):
        msg = f"no critical point beside these parameters: Newton's method goes {np.linalg.norm(moved):.2g} away"
        raise NotProved(msg)


def _approximate_inverse(thin):
    try:
        return thin.hessian.mid().inv().mid()
    except ZeroDivisionError:
        msg = "the Hessian is singular as far as can be told: degenerate, or in need of more bits"
        raise NotProved(msg) from None


def _growth(program, center, radius, inverse, step):
    """How far Krawczyk's operator reaches, in radii: below 1 it maps the ball into its inside."""
    n = len(center)
    ball = [judge.arb(x, r) for x, r in zip(center, radius, strict=True)]
    change = inverse * judge.jet(program, ball).hessian
    reach = []
    for i in range(n):
        total = step[i, 0].abs_upper()
        for j in range(n):
            total += (change[i, j] - int(i == j)).abs_upper() * judge.arb(radius[j])
        reach.append(total / judge.arb(radius[i]))
    largest = reach[0]
    for one in reach[1:]:
        largest = largest.max(one)
    upper = float(largest.upper())
    return max(upper, 1.0) if not largest < 1 else min(upper, np.nextafter(1.0, 0.0))


def _middle(thin):
    """The Hessian's midpoints as doubles, divided by the largest."""
    table = thin.hessian.mid().tolist()
    largest = max((abs(one) for row in table for one in row), key=float)
    return np.array([[float(one / largest) if largest != 0 else 0.0 for one in row] for row in table])


def _lengths(thin):
    """The square roots of the diagonal of |H|^-1, up to a common factor."""
    sizes, vectors = np.linalg.eigh(_middle(thin))
    sizes = np.maximum(np.abs(sizes), 1e-30)
    return np.sqrt(np.sum(vectors**2 / sizes, axis=1))


def _index(thin):
    """How many eigenvalues of the Hessian are negative, from pivots whose signs are certain.

    Raises:
        NotProved: where one of them may be zero.
    """
    sizes, vectors = np.linalg.eigh(_middle(thin))
    vectors = vectors[:, np.argsort(-np.abs(sizes))]
    n = len(sizes)
    basis = judge.arb_mat([[judge.arb(float(one)) for one in row] for row in vectors])
    rest = (basis.transpose() * thin.hessian * basis).tolist()
    negative = 0
    for k in range(n):
        pivot = rest[k][k]
        if not pivot > 0 and not pivot < 0:
            msg = "an eigenvalue of the Hessian may be zero: degenerate, or in need of more bits"
            raise NotProved(msg)
        negative += bool(pivot < 0)
        for i in range(k + 1, n):
            factor = rest[i][k] / pivot
            for j in range(i, n):
                rest[i][j] = rest[j][i] = rest[i][j] - factor * rest[k][j]
    return negative
