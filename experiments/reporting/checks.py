"""The verdict of an experiment: named checks, each a measured number against what must come out.

An experiment ends by verifying itself: it prints its checks, writes them beside its figure, and returns 1 when one
fails.
"""

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..cli.compiling import compiled_quickly
from ..cli.console import bar
from ..cli.settings import Experiment
from ..reporting.pages import CHECKED
from ..reporting.run_folder import Extras, Findings, Table, publish

COLUMNS = (CHECKED, "verdict", "check", "measured", "must be", "within")


class Check(NamedTuple):
    """One number against what must come out."""

    item: str  # the lecture item, such as S57
    name: str
    measured: float
    expected: float
    tolerance: float  # absolute; half a unit of the last printed digit for numbers taken from the lectures

    @property
    def passed(self) -> bool:
        """Whether the measured number is the expected one, or within a tolerance that tells something.

        One without bound does not, nor one beyond what is expected: 0 would pass, and a number of the other sign.

        >>> Check("S1", "told", 3.0, 2.0, 2.0).passed, Check("S1", "not told", 3.0, 2.0, 2.5).passed
        (True, False)
        """
        tells = self.tolerance < np.inf and (self.expected == 0 or self.tolerance <= abs(self.expected))
        return self.measured == self.expected or (tells and abs(self.measured - self.expected) <= self.tolerance)


def printed(item: str, name: str, measured: Any, digits: str) -> Check:
    """The check against a number as it was printed: the tolerance is half a unit of its last digit.

    A whole number of one or two digits is refused: it is a count or an exact value, and 1 +- .5 would be no check.

    >>> printed("S57", "loss", 0.98011, ".9801").passed
    True
    """
    if re.fullmatch(r"-?\d\d?", digits):
        msg = f"digits must show a fraction or three figures, or the check be one of exactly(); got {digits!r}"
        raise ValueError(msg)
    mantissa, _, exponent = digits.partition("e")
    places = len(mantissa.partition(".")[2]) - int(exponent or 0)
    return Check(item, name, float(measured), float(digits), 0.5000001 * 10.0**-places)


def exactly(item: str, name: str, measured: Any, expected: float) -> Check:
    """The check against an exact value, to 1e-12 relative (absolute where it is 0)."""
    return Check(item, name, float(measured), expected, 1e-12 * (abs(expected) or 1))


def at_most(item: str, name: str, measured: Any, bound: float) -> Check:
    """The check that a size is at most a bound: what must come out is 0, within it.

    Of the difference from a formula or a loop in NumPy the bound is rounding: 1e-9 or less, some thousand to a million
    operations in float64.  Any other bound has its reason beside it.
    """
    return Check(item, name, float(measured), 0.0, bound)


def farthest(found: Any, due: Any) -> float:
    """The largest difference of what was found from what is due; NaN where any is.

    >>> farthest([1.0, 2.0, 2.5], [1.0, 2.5, 2.25]), farthest([1.0, float("nan")], 1.0)
    (0.5, nan)
    """
    return float(np.abs(np.asarray(found) - np.asarray(due)).max())


def is_proved(item: str, name: str, prove: Callable[[], Any], held: Callable[[Any], bool]) -> tuple[Check, ...]:
    """The check that a record says what `held` asks of it; no check where the extra `proof` is not installed."""
    try:
        proof = prove()
    except ImportError:
        return ()
    return (is_true(item, name, held(proof)),)


def is_true(item: str, name: str, held: Any) -> Check:
    """The check that a statement holds: 1 for true."""
    return Check(item, name, float(bool(held)), 1.0, 0.0)


def conclude(
    settings: Experiment,
    name: str,
    question: str,
    measure: Callable[[], tuple[Sequence[Check], Callable[[], Any], *tuple[Table, ...]]],
    *,
    heavy: bool = False,
) -> int:
    """Measure, print the verdict, write the folder; 0 where every check passed and the figure is there, else 1.

    Args:
        settings: where to write, and what to print.
        name: the experiment's name, which names its folder runs/NAME and its figure.
        question: what it asks, in one line.
        measure: a function that returns the checks, a function that draws the figure, and tables of what is shown but
            not judged; `lambda: measure(settings.quick)` where there is a smaller size.
        heavy: its programs are worth the compiler's time at the quick size, too: they run for long, or are timed.
    """

    def find(_: Extras) -> Findings:
        with bar(settings.progress, [name]) as advance:
            checks, draw, *tables = measure()
            advance()
        rows, passed = [_row(check) for check in checks], all(check.passed for check in checks)
        listed = [{**check._asdict(), "passed": check.passed} for check in checks]
        return Findings(
            title=question,
            summary={"experiment": name, "question": question, "passed": passed, "checks": listed},
            tables=[Table(_said(checks), COLUMNS, rows), *tables],
            printed=[Table(question, COLUMNS, rows), *tables],
            below=f"{_said(checks)}; ",
            draw=draw,
            words=_paragraphs(measure),
            caption=question,
            passed=passed,
        )

    with compiled_quickly(settings.quick and not heavy):
        return publish(settings, name, find)


def _said(checks):
    return f"{sum(check.passed for check in checks)} of {len(checks)} checks passed"


def _paragraphs(measure):
    """What the docstring of an experiment says after its question."""
    return (inspect.getdoc(sys.modules[measure.__module__]) or "").split("\n\n")[1:]


def _row(check):
    verdict = "passed" if check.passed else "FAILED"
    return [
        check.item,
        verdict,
        check.name,
        f"{check.measured:.10g}",
        f"{check.expected:.10g}",
        f"{check.tolerance:.1g}",
    ]
