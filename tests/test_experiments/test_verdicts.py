"""The experiments of the lectures come out, and their verdict can fail."""

import pytest

from experiments.__main__ import main
from experiments.cli.settings import experiments
from experiments.reporting.checks import Check, at_most, exactly, is_true, printed

pytestmark = pytest.mark.full


@pytest.mark.parametrize("name", experiments())
def test_every_check_of_the_lectures_passes(name, comes_out):
    comes_out(name)


def test_a_number_as_printed_is_met_to_half_a_unit_of_its_last_digit():
    assert printed("S1", "", 1.23449, "1.234").passed
    assert not printed("S1", "", 1.23451, "1.234").passed
    assert printed("S1", "", 1.7468e6, "1.7468e6").tolerance == pytest.approx(50)
    assert printed("S1", "", -188.4, "-188.4").passed


@pytest.mark.parametrize("digits", ["1", "-4", "63"])
def test_a_whole_number_of_one_or_two_digits_is_no_printed_one(digits):
    with pytest.raises(ValueError, match="digits must show a fraction or three figures"):
        printed("S1", "", float(digits), digits)


def test_checks_fail_on_wrong_numbers_and_on_nan():
    assert not exactly("S1", "", 2.0 + 1e-9, 2.0).passed
    assert not at_most("S1", "", 2e-3, 1e-3).passed
    assert not is_true("S1", "", False).passed
    assert not Check("S1", "", float("nan"), 0.0, 1e9).passed


@pytest.mark.parametrize(
    ("expected", "tolerance", "passes"),
    [(2.0, 2.0, True), (2.0, 2.1, False), (0.0, 2.1, True), (2.0, float("inf"), False)],
)
def test_a_tolerance_with_which_0_and_a_wrong_sign_would_pass_is_no_check(expected, tolerance, passes):
    assert Check("S1", "near enough", 2.05, expected, tolerance).passed == passes


def test_a_failed_check_is_exit_status_1(tmp_path, monkeypatch, capsys):
    from experiments.lectures import saddle

    measure = saddle.measure
    monkeypatch.setattr(
        saddle, "measure", lambda: ([is_true("S57", "the moon is made of cheese", False)], measure()[1])
    )
    assert main(["saddle", "--out", str(tmp_path / "s")]) == 1
    assert "FAILED" in capsys.readouterr().out
