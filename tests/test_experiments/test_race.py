"""The race: every number in its dataset is checked by another way of knowing."""

import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import gdlab
import hessian
from experiments.__main__ import main
from experiments.commands.race import WIDTH, _who_won, legend_shape, summary_text
from gdlab.problems import network_loss, surface

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raced") / "race"
    flags = ["--surface", "linear_net_ridge", "--lr", "1e-2:1e-1:4", "--starts", "6", "--steps", "500"]
    assert main(["race", *flags, "--out", str(folder)]) == 0
    return xarray.open_dataset(folder / "results.nc", engine="h5netcdf"), json.loads(
        (folder / "summary.json").read_text()
    )


def test_the_dataset_is_labelled(raced):
    dataset, _ = raced
    assert [str(name) for name in dataset["optimizer"].values] == ["gd", "momentum", "adagrad", "rmsprop", "adam"]
    assert dict(dataset.sizes)["lr"] == 4
    np.testing.assert_allclose(dataset["lr"], np.geomspace(1e-2, 1e-1, 4))
    assert dataset["loss"].dims == ("optimizer", "lr", "start", "step")
    assert dataset["step"].values[-1] == 500


def test_some_starts_are_on_the_saddle_and_within_1e_6_of_it(raced):
    dataset, _ = raced
    starts = dataset["path"].values[0, 0, :, 0]
    distances = np.sort(np.linalg.norm(starts, axis=1))
    assert distances[0] == 0
    assert np.sum(distances <= 1.0000001e-6) >= 3
    for optimizer in range(5):
        np.testing.assert_array_equal(dataset["path"].values[optimizer, :, :, 0], np.stack([starts] * 4))


def test_runs_are_those_of_a_loop_in_numpy(raced):
    dataset, _ = raced
    theta = dataset["path"].values[0, 2, 5, 0]
    rate = dataset["lr"].values[2]
    for _ in range(500):
        w1, w2 = theta
        theta = theta - rate * (2 * (1 - w1 * w2) * np.array([-w2, -w1]) + 0.2 * theta)
    np.testing.assert_allclose(dataset["end"].values[0, 2, 5], theta, rtol=1e-9)


def test_the_loss_recorded_last_is_the_loss_at_the_end(raced):
    dataset, _ = raced
    loss = surface("linear_net_ridge").loss
    ends = dataset["end"].values.reshape(-1, 2)
    np.testing.assert_allclose(
        [float(loss(jnp.array(e))) for e in ends], dataset["loss"].values[..., -1].ravel(), rtol=1e-12
    )


def test_only_runs_that_start_on_the_saddle_or_its_stable_manifold_stop_there(raced):
    dataset, summary = raced
    stuck = dataset["kind"].values == hessian.Kind.SADDLE
    assert stuck[:, :, 0].all()
    np.testing.assert_allclose(dataset["end"].values[stuck], 0, atol=1e-6)
    (way,) = summary["saddles"]
    assert way["index"] == 1
    assert sum(way["runs"].values()) == stuck.sum()
    assert way["loss_after"] < way["loss_before"]
    assert way["end_kind"] == "minimum"
    np.testing.assert_allclose(np.abs(way["end"]), np.sqrt(0.9), atol=1e-6)  # 2 (w^2 - 1) + .2 = 0


def test_what_is_called_a_minimum_is_one(raced):
    dataset, _ = raced
    minima = dataset["end"].values[dataset["kind"].values == hessian.Kind.MINIMUM]
    assert len(minima) > 0
    np.testing.assert_allclose(np.abs(minima), np.sqrt(0.9), atol=1e-6)


def test_the_lectures_surface_ends_degenerate_never_minimum(tmp_path):
    assert (
        main(["race", "--surface", "linear_net", "--lr", "0.1:0.1:1", "--starts", "8", "--out", str(tmp_path / "r")])
        == 0
    )
    dataset = xarray.open_dataset(tmp_path / "r" / "results.nc", engine="h5netcdf")
    kinds = {hessian.Kind(code).words for code in dataset["kind"].values.ravel()}
    assert kinds <= {"saddle", "degenerate", "not critical"}
    assert {"saddle", "degenerate"} <= kinds


def test_an_unbounded_surface_diverges_as_data(tmp_path, capsys):
    flags = ["--surface", "monkey_saddle", "--optimizers", "gd", "--lr", "0.1:1:3", "--starts", "6", "--steps", "300"]
    assert main(["race", *flags, "--out", str(tmp_path / "r"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["optimizers"]["gd"]["diverged_share"] > 0.3
    assert summary["saddles"] == []


def test_pokemon_races_too(tmp_path, capsys):
    flags = ["--problem", "pokemon", "--optimizers", "adagrad", "--lr", "1:10:3", "--starts", "2", "--steps", "30000"]
    assert main(["race", *flags, "--out", str(tmp_path / "r"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["optimizers"]["adagrad"]["kinds"] == {"minimum": 2}


def test_digits_race_in_minibatches(tmp_path, capsys):
    flags = [
        "--problem",
        "digits",
        "--optimizers",
        "optax.adam",
        "adam",
        "--lr",
        "0.01:0.02:2",
        "--starts",
        "1",
        "--steps",
        "60",
    ]
    assert main(["race", *flags, "--out", str(tmp_path / "r"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["optimizers"]
    assert rows["adam"]["median_loss"] == pytest.approx(rows["optax.adam"]["median_loss"], rel=1e-6)
    dataset = xarray.open_dataset(tmp_path / "r" / "results.nc", engine="h5netcdf")
    params = gdlab.problems.network(__import__("jax").random.key(0), (64, 10, 10))
    flat, unravel = __import__("jax").flatten_util.ravel_pytree(params)
    at_end = network_loss(unravel(jnp.asarray(dataset["end"].values[1, 0, 0])), gdlab.problems.digits())
    assert float(at_end) == pytest.approx(float(dataset["loss"].values[1, 0, 0, -1]), rel=1e-12)
    assert flat.shape == (760,)


def test_the_words_of_a_race_begin_with_who_won(raced):
    _, summary = raced
    said = summary_text(summary, SimpleNamespace(steps=500, lr="1e-2:1e-1:4"))[1][0]
    losses = {name: row["median_loss"] for name, row in summary["optimizers"].items()}
    assert min(losses, key=losses.__getitem__) in said
    assert f"{min(losses.values()):.6g}" in said
    lost = {"a": {"median_loss": np.inf}, "b": {"median_loss": np.inf}}
    assert "diverged" in _who_won(lost)


@pytest.mark.parametrize("count, letters", [(8, 8), (12, 8), (116, 38), (3, 300)])
def test_a_legend_is_no_wider_than_its_figure(count, letters):
    from experiments.reporting.figures import plt

    labels = [("scale_by_optimistic_gradient " * 11)[:letters]] * count
    columns, rows = legend_shape(labels, WIDTH)
    assert count <= columns * rows < count + columns
    figure = plt.figure(figsize=(WIDTH, 30))
    lines = [plt.Line2D([], []) for _ in labels]
    legend = figure.legend(lines, labels, loc="outside lower center", ncols=columns, fontsize=8)
    figure.draw_without_rendering()
    assert columns == 1 or legend.get_window_extent().width <= figure.bbox.width
    plt.close(figure)
