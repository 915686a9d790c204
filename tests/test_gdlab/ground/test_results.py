"""What a notebook shows of a result: one sentence, documented fields, a dataset with its steps, public names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab


def bowl(params):
    return jnp.sum(params["w"] ** 2)


START = {"w": jnp.ones(2)}


def test_a_run_says_its_shape_its_steps_why_it_ended_and_its_losses():
    run = gdlab.minimize(bowl, gdlab.gd(0.25), START, 4, every=2)
    assert repr(run) == "Run: 2 parameters of shape (2,), 4 steps, ended by steps, loss 2 -> 0.125"
    many = gdlab.long_run(bowl, gdlab.gd(jnp.array([0.25, 0.5])), START, 4, batched=["optimizer"], every=2)
    assert "2 runs of 2 parameters of shape (2,), 4 steps" in repr(many)
    assert "loss 2 -> 0 to 0.125" in repr(many)


def test_a_stream_of_batches_says_its_sizes_and_not_its_data():
    assert (
        repr(gdlab.minibatches(jnp.arange(1797), 50, key=jax.random.key(0)))
        == "Minibatches: 1,797 examples, 50 a batch"
    )


def test_a_run_within_a_transformation_has_a_repr():
    seen = []
    jax.jit(lambda rate: seen.append(repr(gdlab.minimize(bowl, gdlab.gd(rate), START, 2))) or rate)(0.1)
    assert seen[0].startswith("Run(params=")


def test_histories_know_their_steps():
    first = gdlab.minimize(bowl, gdlab.gd(0.1), START, 10, every=3, record=("loss", "params"))
    more = gdlab.minimize(bowl, gdlab.gd(0.1), START, 5, every=3, record=("loss", "params"), state=first)
    whole = gdlab.minimize(bowl, gdlab.gd(0.1), START, 15, every=3)
    assert [*first.step.tolist(), *more.step.tolist()] == whole.step.tolist() == [0, 3, 6, 9, 12]
    dataset = first.to_dataset()
    assert dataset["loss"].sel(step=6) == first.history["loss"][2]
    assert dict(dataset.sizes) == {"step": 4, "params.w_0": 2}
    np.testing.assert_array_equal(dataset["params.w"].values, first.history["params"]["w"])
    assert dataset.attrs == {"steps": [10], "why": ["steps"]}


def test_runs_side_by_side_have_an_axis_of_runs():
    mapped = jax.vmap(lambda rate: gdlab.minimize(bowl, gdlab.gd(rate), START, 6, every=2))(jnp.array([0.1, 0.2]))
    assert mapped.to_dataset()["loss"].dims == ("run", "step")
    assert mapped.to_dataset()["step"].values.tolist() == [0, 2, 4]
    many = gdlab.long_run(bowl, gdlab.gd(jnp.array([0.1, 0.2])), START, 6, batched=["optimizer"], every=2)
    assert many.to_dataset()["loss"].dims == ("step", "run")
    np.testing.assert_allclose(many.to_dataset()["loss"].values.T, mapped.to_dataset()["loss"].values, rtol=1e-6)


def test_fields_are_documented_and_completion_shows_public_names():
    assert gdlab.Step.eta.__doc__ == "the rate: a scalar"
    assert "history: what was recorded" in gdlab.Run.__doc__
    assert dir(gdlab) == sorted(["__version__", *gdlab.__all__])


@pytest.mark.parametrize("name", ["directions", "plots", "problems", "scales", "schedules"])
def test_completion_of_a_part_shows_its_public_names(name):
    part = getattr(gdlab, name)
    assert dir(part) == sorted(part.__all__)


def test_runs_side_by_side_say_why_each_ended():
    ends = jax.vmap(lambda rate: gdlab.minimize(bowl, gdlab.gd(rate), START, 6, tolerance=0.1))(jnp.array([0.1, 0.5]))
    assert ends.why.tolist() == ["steps", "small gradient"]
    assert gdlab.minimize(bowl, gdlab.gd(0.5), START, 6, tolerance=0.1).why == "small gradient"


def test_what_is_no_run_is_not_drawn(ax):
    with pytest.raises(TypeError, match=r"^runs must be a Run, or a mapping from names to such; got 3"):
        gdlab.plots.losses(3, ax=ax)


def test_plots_draw_what_a_run_holds_on_the_axes_that_they_are_given(ax):
    run = gdlab.minimize(lambda x: jnp.sum(x**2), gdlab.gd(0.1), jnp.array([1.0, 2.0]), 5, record=("loss", "params"))
    assert gdlab.plots.losses({"gd": run}, ax=ax) is ax
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), run.history["loss"])
    assert ax.get_yscale() == "log"
    assert gdlab.plots.paths(run, ax=ax) is ax
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), run.history["params"])
    movie = gdlab.plots.animate({"gd": run}, frames=3, ax=ax)
    movie._func(2)
    np.testing.assert_array_equal(ax.lines[-2].get_xydata(), run.history["params"][:2])
    movie._draw_was_started = True
    with pytest.raises(ValueError, match='runs must have recorded "params"'):
        gdlab.plots.paths(gdlab.minimize(bowl, gdlab.gd(0.1), START, 2), ax=ax)


def test_a_plot_of_a_run_with_a_store_says_what_reads_its_history(ax, tmp_path):
    run = gdlab.long_run(bowl, gdlab.gd(0.1), START, 4, store=tmp_path / "run")
    with pytest.raises(ValueError, match=r'recorded "loss".*its store, which gdlab\.read_history reads'):
        gdlab.plots.losses(run, ax=ax)


def test_the_sensitivity_to_the_rate_is_the_median_of_the_final_losses(ax):
    import xarray

    losses = np.array([[1.0, 2.0, 4.0], [3.0, np.nan, 9.0]])  # rate, start
    dataset = xarray.Dataset({"loss": (("lr", "start"), losses)}, {"lr": [0.1, 1.0]})
    assert gdlab.plots.rate_sensitivity(dataset, ax=ax) is ax
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0.1, 2.0], [1.0, 6.0]])


def test_black_lines_are_seen_on_dark_axes():
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    for style, ink in (("default", "#000000"), ("dark_background", "#ffffff")):
        with plt.style.context(style):
            ax = gdlab.plots.band([1, 2], [[0.0], [1.0]], color=gdlab.plots.BLACK, ax=Figure().subplots())
        assert ax.lines[0].get_color() == ink


def test_every_line_is_seen_on_white_and_on_black():
    from matplotlib.colors import to_rgb

    for color in gdlab.plots.PALETTE[:-1]:  # the last is black, and light where the axes are dark
        c = np.array(to_rgb(color))
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        luminance = float(np.array([0.2126, 0.7152, 0.0722]) @ linear)
        assert 1.05 / (luminance + 0.05) > 2, color
        assert (luminance + 0.05) / 0.05 > 2, color


@pytest.mark.parametrize("module", [gdlab.plots, gdlab.directions])
def test_completion_shows_public_names(module):
    assert dir(module) == sorted(module.__all__)
