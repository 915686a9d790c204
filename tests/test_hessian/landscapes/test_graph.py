"""The graph of a landscape: trees, paths and files, on data that can be checked by hand."""

import itertools
from xml.etree import ElementTree

import numpy as np
import pytest

from hessian.landscapes.disconnectivity import disconnectivity
from hessian.landscapes.graph import Landscape, Points


def points(losses, index):
    k = len(losses)
    eigenvalues = np.ones((k, 2)) * ([-1.0, 1.0] if index else 1.0)
    flat = np.zeros(k, int)
    return Points(
        np.zeros((k, 2)), np.array(losses), np.full(k, index), flat, eigenvalues, flat * 0.0, flat + 1, flat + 1.0
    )


def landscape(minima, saddles, joins):
    others = Points(*(column[:0] for column in points([0.0], 2)))
    return Landscape(
        points(minima, 0),
        points(saddles, 1),
        others,
        np.array(joins),
        np.ones(len(minima), int),
        9,
        3,
        {"minimum": 9},
        0,
        1,
    )


def test_a_landscape_alone_in_a_cell_is_its_table():
    found = landscape([0.0, 0.5], [1.0], [[0, 1]])
    assert repr(found) == str(found)
    assert repr(found).splitlines()[0] == "2 minima, 1 saddles of index 1, 9 starts"


# Minima 0 - 3 in a chain, a second way 0 - 1, a loop at 2, a way into nothing, and 4 alone.
CHAIN = landscape(
    [0.0, 1.0, 0.5, 0.25, 0.75],
    [2.0, 3.0, 2.5, 4.0, 5.0, 1.5],
    [[0, 1], [1, 2], [2, 3], [0, 1], [2, 2], [-1, 0]],
)


def test_a_barrier_is_the_lowest_highest_saddle_of_all_paths():
    rng = np.random.default_rng(0)
    for _ in range(20):
        k = int(rng.integers(2, 7))
        joins = rng.integers(-1, k, size=(9, 2))
        heights = rng.normal(size=9) + 5
        tree = disconnectivity(rng.normal(size=k), heights, joins)
        barrier = np.full((k, k), np.inf)
        for (i, j), height in zip(joins, heights, strict=True):
            if min(i, j) >= 0:
                barrier[i, j] = barrier[j, i] = min(barrier[i, j], height)
        for middle in range(k):  # Floyd and Warshall
            barrier = np.minimum(barrier, np.maximum(barrier[:, middle, None], barrier[None, middle]))
        for i, j in itertools.combinations(range(k), 2):
            assert tree.barrier(i, j) == barrier[i, j]
            level = 5.0
            assert (tree.basins(level)[i] == tree.basins(level)[j]) == (barrier[i, j] <= level)


def test_a_minimum_stands_where_its_branch_ends():
    rng = np.random.default_rng(1)
    for _ in range(20):
        k = int(rng.integers(1, 9))
        joins, loss = rng.integers(-1, k, size=(9, 2)), rng.normal(size=k)
        tree = disconnectivity(loss, rng.normal(size=9) + 5, joins)
        places = tree.places()
        assert sorted(places.tolist()) == list(range(k))
        ends = {(x[1], y[1]) for x, y in tree.lines() if x[0] == x[1]}
        assert {*zip(places.astype(float).tolist(), loss.tolist(), strict=True)} <= ends


def test_a_drawing_has_the_number_of_each_minimum_below_its_branch(ax):
    tree = CHAIN.disconnectivity()
    tree.draw(ax)
    numbers = {text.get_text(): text.xy for text in ax.texts}
    assert numbers == {str(i): (x, loss) for i, (x, loss) in enumerate(zip(tree.places(), tree.loss, strict=True))}


def test_minima_below_the_lowest_level_of_a_drawing_are_drawn_too():
    loss = np.array([0.0, 0.01, 3.0])
    tree = disconnectivity(loss, np.array([0.02, 10.0]), np.array([[0, 1], [1, 2]]))
    ends = [(x[1], y[1]) for x, y in tree.lines()]
    assert {*zip(tree.places().astype(float).tolist(), loss.tolist(), strict=True)} <= {*ends}


def test_the_corners_of_a_drawing_are_those_of_a_sketch_by_hand():
    two = disconnectivity(np.array([0.0, 1.0]), np.array([3.0]), np.array([[0, 1]]))  # levels 3.5, 2.5, 1.5 and 0.5
    assert two.lines(3) == [
        ([0.5, 0.0], [3.5, 2.5]), ([0.0, 0.0], [2.5, 1.0]), ([0.5, 1.0], [3.5, 2.5]), ([1.0, 1.0], [2.5, 0.0]),
    ]  # fmt: skip
    assert two.places(3).tolist() == [1, 0]
    three = disconnectivity(np.array([0.0, 0.01, 3.0]), np.array([0.02, 10.0]), np.array([[0, 1], [1, 2]]))
    assert three.lines(2) == [  # levels 12.5, 7.5 and 2.5; two minima leave the last one together
        ([1.0, 0.0], [12.5, 7.5]), ([0.0, 0.0], [7.5, 3.0]), ([1.0, 1.5], [12.5, 7.5]), ([1.5, 1.5], [7.5, 2.5]),
        ([1.5, 1], [2.5, 0.0]), ([1.5, 2], [2.5, 0.01]),
    ]  # fmt: skip
    assert three.places(2).tolist() == [1, 2, 0]
    alone = disconnectivity(np.array([2.0]), np.zeros(0), np.zeros((0, 2), int))
    assert alone.lines(4) == [([0.0, 0.0], [2.5, 2.0])]
    apart = disconnectivity(np.array([2.0, 0.0]), np.zeros(0), np.zeros((0, 2), int))
    assert apart.lines(1) == [([0.0, 0.0], [3.0, 2.0]), ([1.0, 1.0], [3.0, 0.0])]
    nothing = disconnectivity(np.zeros(0), np.zeros(0), np.zeros((0, 2), int))
    assert (nothing.lines(), nothing.places().tolist()) == ([], [])


def test_of_saddles_of_one_loss_the_first_merges_and_its_own_level_opens_it():
    tree = disconnectivity(np.array([0.0, 1.0, 0.5]), np.array([4.0, 2.0, 2.0]), np.array([[0, 2], [0, 1], [1, 0]]))
    assert (tree.saddles.tolist(), tree.heights.tolist()) == ([1, 0], [2.0, 4.0])
    assert tree.merged.tolist() == [[0, 1], [3, 2]]
    assert tree.basins(2.0).tolist() == [0, 0, 1]
    assert tree.basins(np.nextafter(2.0, 0)).tolist() == [0, 1, 2]
    assert tree.basins(4.0).tolist() == [0, 0, 0]
    assert [tree.barrier(i, i) for i in range(3)] == [0.0, 1.0, 0.5]


def test_numbers_are_drawn_for_up_to_forty_minima_and_each_has_half_a_place_beside_it(ax):
    for count in (40, 41):
        ax.clear()
        disconnectivity(np.arange(float(count)), np.zeros(0), np.zeros((0, 2), int)).draw(ax, levels=2)
        assert len(ax.texts) == (count if count <= 40 else 0)
        assert ax.get_xlim() == (-0.5, count - 0.5)


def test_the_share_of_what_is_missing_is_that_of_minima_that_one_start_led_to():
    assert CHAIN._replace(drawn=np.array([1, 1, 2, 0, 3])).missing_mass == 2 / 7
    assert np.isnan(CHAIN._replace(drawn=np.zeros(5, int)).missing_mass)


def test_the_path_over_the_lowest_barrier_has_the_fewest_saddles():
    path = CHAIN.path(0, 3)
    assert path.minima == [0, 1, 2, 3] and path.saddles == [0, 1, 2] and path.barrier == 3.0
    assert CHAIN.path(0, 4) is None
    assert CHAIN.path(2, 2) == ([2], [], 0.5)
    assert CHAIN.path(3, 1) == ([3, 2, 1], [2, 1], 3.0)
    detour = landscape([0.0, 0.0, 0.0], [1.0, 2.0, 2.0, 2.5], [[0, 1], [1, 2], [0, 2], [0, 2]])
    assert detour.path(0, 2) == ([0, 2], [2], 2.0)  # as high as over 1, and shorter
    with pytest.raises(ValueError, match="minima from 0 to 4; got -1"):
        CHAIN.path(-1, 0)
    with pytest.raises(ValueError, match="minima from 0 to 4; got 5"):
        CHAIN.path(0, 5)


def test_barriers_are_measured_from_both_minima():
    np.testing.assert_array_equal(CHAIN.barriers[1], [2.0, 2.5])
    assert np.isnan(CHAIN.barriers[5]).tolist() == [True, False]


def test_graphml_keeps_loops_and_parallel_edges(tmp_path):
    text = CHAIN.to_graphml(tmp_path / "net.graphml")
    root = ElementTree.fromstring((tmp_path / "net.graphml").read_text(encoding="utf-8"))
    space = "{http://graphml.graphdrawing.org/xmlns}"
    edges = [(edge.get("source"), edge.get("target")) for edge in root.iter(f"{space}edge")]
    assert edges == [("m0", "m1"), ("m1", "m2"), ("m2", "m3"), ("m0", "m1"), ("m2", "m2")]
    assert len(list(root.iter(f"{space}node"))) == 5 and text.startswith("<?xml")
    values = [[float(one.text) for one in edge] for edge in root.iter(f"{space}edge")]
    assert values == [[2.0, 0], [3.0, 1], [2.5, 2], [4.0, 3], [5.0, 4]]
    assert [float(node[0].text) for node in root.iter(f"{space}node")] == CHAIN.minima.loss.tolist()
    half_known = CHAIN._replace(joins=np.array([[0, 1], [2, -1], [-1, 3], [-1, -1], [0, 0], [1, 2]])).to_graphml()
    assert half_known.count("<edge ") == 3


def test_the_dataset_holds_the_table():
    table = CHAIN.to_dataset()
    assert table.sizes == {"saddle": 6, "side": 2, "minimum": 5, "other": 0, "coordinate": 2, "mode": 2}
    np.testing.assert_array_equal(table.joins, CHAIN.joins)
    np.testing.assert_array_equal(table.barrier, CHAIN.barriers)
    np.testing.assert_array_equal(table.saddle_eigenvalue, CHAIN.saddles.eigenvalues)
    assert table.attrs == {"starts": 9, "starts_since_new": 3, "highest": 1}


def test_every_branch_ends_at_its_minimum_and_no_two_at_one_place():
    lines = CHAIN.disconnectivity().lines()
    ends = sorted((y[1], x[1]) for x, y in lines if x[0] == x[1] and y[1] in CHAIN.minima.loss)
    assert [end[0] for end in ends] == sorted(CHAIN.minima.loss)
    assert sorted(end[1] for end in ends) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_what_is_not_known_has_no_euler_characteristic():
    assert CHAIN.euler_characteristic is None
    assert CHAIN._replace(highest=2).euler_characteristic == 5 - 6
    assert CHAIN._replace(highest=2, degenerate=1).euler_characteristic is None
    assert CHAIN._replace(highest=2, others=points([9.0, 9.0], 2)).euler_characteristic == 5 - 6 + 2
    filled = CHAIN.saddles._replace(flat=np.eye(6, dtype=int)[3])
    assert CHAIN._replace(highest=2, saddles=filled).euler_characteristic is None


def test_the_table_names_each_end_and_what_is_not_known():
    rows = str(CHAIN).splitlines()
    assert [row.split() for row in (rows[1], rows[6], rows[11])] == [
        ["minimum", "0", "0"],
        ["saddle", "0", "2", "joins", "0", "-", "1"],
        ["saddle", "5", "1.5", "joins", "?", "-", "0"],
    ]  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 8, 9])
def test_points_have_as_many_as_their_losses_and_are_replaced_field_by_field(count):
    some = points([0.5] * count, 0)
    moved = some._replace(loss=some.loss + 1)
    assert isinstance(moved, Points) and len(moved) == count
    np.testing.assert_array_equal(moved.loss, [1.5] * count)
    assert all(new is old for name, new, old in zip(Points._fields, moved, some, strict=True) if name != "loss")
    with pytest.raises((TypeError, ValueError)):
        some._replace(height=0)
