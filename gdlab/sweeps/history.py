"""The history of a run as a dataset."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from gdlab.sweeps.axes import path_name

if TYPE_CHECKING:
    import xarray


def dataset_of(
    history: Mapping[str, Any], lead: Sequence[str], step: np.ndarray, about: Mapping[str, Any]
) -> "xarray.Dataset":
    """What was recorded as one labelled dataset.

    Args:
        history: pytrees of arrays by name; their leading axes are those of `lead`.
        lead: the names of these axes, "step" among them.
        step: the coordinate of that axis.
        about: attributes of the dataset.
    """
    import xarray

    variables = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(dict(history)):
        name = path_name(path)
        inner = [f"{name}_{i}" for i in range(np.ndim(leaf) - len(lead))]
        variables[name] = ([*lead, *inner], np.asarray(leaf))
    return xarray.Dataset(variables, {"step": step}, dict(about))
