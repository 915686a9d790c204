"""Which leaves hold matrices, and those as a stack and back."""

import jax.numpy as jnp
import numpy as np
import pytest

from gdlab.matrices import RULES, View, each_matrix, merged, only_matrices, rule_of, without_matrices

X = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("rows", "columns", "stacked"),
    [
        ((2,), (3,), X.reshape(6, 4, 5)),
        ((3,), (2,), X.transpose(0, 1, 3, 2).reshape(6, 5, 4)),
        ((0,), (1,), X.transpose(2, 3, 0, 1).reshape(20, 2, 3)),
        ((0, 1, 2), (3,), X.reshape(1, 24, 5)),
        ((1, 0), (3,), X.transpose(2, 1, 0, 3).reshape(4, 6, 5)),
        ((2,), (0, 3), X.transpose(1, 2, 0, 3).reshape(3, 4, 10)),
    ],
)
def test_matrices_of_an_array_are_numbered_by_the_axes_left_over_and_go_back_to_their_places(rows, columns, stacked):
    view, leaf = View(rows, columns), jnp.asarray(X)
    np.testing.assert_array_equal(view.stack(leaf), stacked)
    np.testing.assert_array_equal(view.unstack(jnp.asarray(stacked), leaf), X)
    assert view.sizes(X.shape) == stacked.shape[1:]


def test_a_wide_view_has_no_more_rows_than_columns():
    assert View((0,), (1,)).wide((2, 3)) == View((0,), (1,)) and View((0,), (1,)).wide((3, 3)) == View((0,), (1,))
    assert View((0,), (1,)).wide((4, 3)) == View((1,), (0,))


def test_a_rule_finds_the_rows_and_columns_of_a_leaf_by_its_shape_and_its_name():
    for name, shape, view in (
        ("last two", (), None), ("last two", (3,), None), ("last two", (3, 4), ((0,), (1,))),
        ("last two", (2, 3, 4), ((1,), (2,))), ("flattened", (3,), None), ("flattened", (3, 4), ((0,), (1,))),
        ("flattened", (5, 2, 3, 4), ((0, 1, 2), (3,))), ("rank two", (3,), None), ("rank two", (3, 4), ((0,), (1,))),
        ("rank two", (2, 3, 4), None),
    ):  # fmt: skip
        assert RULES[name]("['w']", shape) == (None if view is None else View(*view))
    assert RULES["last two"]("['Embedding']", (3, 4)) is None and RULES["rank two"]("['embed']", (3, 4)) is not None


def test_a_rule_is_kept_as_the_word_or_the_function_that_it_is():
    assert [rule_of("matrices", name) for name in RULES] == [*RULES]
    assert rule_of("matrices", len) is len
    with pytest.raises(ValueError, match="matrices must be 'last two', 'flattened' or 'rank two'; got 'rows'"):
        rule_of("matrices", "rows")


def test_a_tree_is_its_matrices_and_the_rest():
    tree = {"w": jnp.ones((2, 3)), "b": jnp.ones(3), "none": jnp.ones((0, 3)), "embed": jnp.ones((4, 2))}
    held, rest = only_matrices("last two", tree), without_matrices("last two", tree)
    assert [name for name, leaf in held.items() if leaf is not None] == ["w"]
    assert [name for name, leaf in rest.items() if leaf is not None] == ["b", "embed", "none"]
    assert all(merged(held, rest)[name] is leaf for name, leaf in tree.items())
    found = each_matrix("rank two", lambda view, leaf, by: (view, leaf.shape, by), tree, dict.fromkeys(tree, 7))
    assert found == {
        "w": (View((0,), (1,)), (2, 3), 7),
        "b": None,
        "none": None,
        "embed": (View((0,), (1,)), (4, 2), 7),
    }
