"""What a notebook shows of a verdict: one sentence, a table, documented fields; and its figures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian


def saddle(w):
    return (1 - w[0] * w[1]) ** 2 + w[0] ** 4


FOUND = hessian.CriticalPoints(
    *(np.array([[0.0, 0.0], [1.0, 2.0]]), np.array([1.0, 0.5]), np.array([hessian.Kind.SADDLE, hessian.Kind.MINIMUM])),
    *(np.array([1, 0]), np.zeros(2, int), np.zeros(2), np.array([[-2.0, 2.0], [1.0, 3.0]]), np.array([3, 1])),
    *(np.arange(2), np.array([0, 0, 0, 1]), np.zeros(4, int), 1e-6, np.zeros(2, int)),
)


def test_a_verdict_says_its_sentence():
    point = hessian.classify(saddle, jnp.zeros(2))
    assert repr(point) == f"CriticalPoint: {point.certificate}"
    assert repr(point.inertia) == "Inertia: 1 positive, 0 zero, 1 negative"
    assert repr(point.lowest).startswith("Eigenpair: -2 in [")
    two = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), point)
    assert repr(two) == "CriticalPoint: 2 points: 2 saddle"
    assert repr(jax.tree.map(lambda _: None, point)).startswith("CriticalPoint(code=None")


def test_fields_are_documented_and_completion_shows_public_names():
    assert hessian.Escape.curvature.__doc__ == "the lowest eigenvalue"
    assert hessian.CriticalPoint.index.__doc__.startswith("Morse index")
    assert dir(hessian) == sorted(hessian.__all__)
    assert dir(hessian.plots) == sorted(hessian.plots.__all__)
    assert dir(hessian.symmetry) == sorted(hessian.symmetry.__all__)


def test_no_field_of_a_result_is_an_alias_for_a_number():
    results = [one for one in (getattr(hessian, name) for name in dir(hessian)) if hasattr(one, "_fields")]
    assert len(results) >= 15
    said = [getattr(one, name).__doc__ for one in results for name in one._fields]
    assert [words for words in said if words.startswith("Alias for")] == []


def test_a_list_of_points_is_a_table():
    assert repr(FOUND) == str(FOUND)
    assert FOUND._repr_html_().count("<tr>") == 3
    assert "<td>saddle</td><td>1</td><td>1</td>" in FOUND._repr_html_()


def test_points_are_drawn_where_they_are(ax):
    assert hessian.plots.critical_points(FOUND, ax=ax) is ax
    places = {part.get_label(): part.get_offsets().tolist() for part in ax.collections}
    assert places == {"saddle": [[0.0, 0.0]], "minimum": [[1.0, 2.0]]}
    assert hessian.plots.atlas(FOUND, ax=ax) is ax
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[0.0, 0.5]], [[1.0, 1.0]]]
    with pytest.raises(ValueError, match="points must have two parameters"):
        hessian.plots.critical_points(FOUND._replace(params=np.zeros((2, 3))), ax=ax)


def test_a_density_has_its_band_and_eigenvalues_their_edge(ax):
    found = hessian.Density(jnp.array([[0.0, 2.0], [0.0, 3.0]]), jnp.full((2, 2), 0.5), jnp.zeros((2, 2)), jnp.int32(4))
    assert hessian.plots.density(found, width=0.1, ax=ax) is ax
    x, y = ax.lines[0].get_data()
    value, error = found.pdf(x[100], 0.1)
    np.testing.assert_allclose(y[100], value, rtol=1e-5)
    assert float(error) >= 0
    ax.clear()
    hessian.plots.eigenvalues([0, 5], [[1.0, 2.0], [3.0, 4.0]], rate=0.1, ax=ax)
    assert [line.get_ydata().tolist() for line in ax.lines] == [[1.0, 3.0], [2.0, 4.0], [20.0, 20.0]]


def test_every_direction_has_its_slice(ax):
    pairs = [(str(i), jnp.eye(8)[i], 2.0 * i) for i in range(8)]
    hessian.plots.slices(lambda x: jnp.sum(jnp.arange(8) * x**2), jnp.zeros(8), pairs, ax=ax)
    curves = [line.get_ydata() for line in ax.lines if line.get_label().startswith("along")]
    np.testing.assert_allclose([curve[0] for curve in curves], np.arange(8) / 4, rtol=1e-5)


def test_a_way_out_keeps_the_limits_and_ends_at_its_star(ax):
    ax.set(xlim=(-1, 1), ylim=(-2, 2))
    hessian.plots.way_out([0, 0], [1, 0], [0.5, 0], [0.9, 0.1], ax=ax)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1), (-2, 2))
    assert ax.lines[-1].get_xydata().tolist() == [[0.9, 0.1]]


def test_a_legend_says_once_how_the_ways_out_of_several_saddles_are_drawn():
    """A step that ends where descent does has no line of its own for the descent, and no name for it."""
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    for height in (0.0, 0.5):
        hessian.plots.way_out([0, height], [1, 0], [0.5, height], [1, height], ax=axes)
    assert axes.get_legend_handles_labels()[1] == list(hessian.plots.WAY)
    axes = hessian.plots.way_out([0, 0], [1, 0], [0.5, 0], [0.5, 0], ax=Figure().subplots())
    assert "descent from there" not in axes.get_legend_handles_labels()[1]


def test_marks_and_the_edge_are_seen_on_dark_axes():
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    with plt.style.context("dark_background"):
        ax = hessian.plots.eigenvalues([0, 5], [1.0, 2.0], rate=0.1, ax=Figure().subplots())
        found = hessian.plots.atlas(FOUND, ax=Figure().subplots())
    assert ax.lines[-1].get_color() == "white"
    assert {line.get_markeredgecolor() for line in found.lines} == {"white"}
