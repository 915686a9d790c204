"""Where does the way down lead from here? The step out of a saddle, and on to a point whose kind is certain (S57).

First one step along the most negative curvature, where there is one; then `hessian.find_minimum` from the same start.
"""

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

import hessian

from ..cli.settings import Escape
from ..commands.race import play
from ..reporting import figures
from ..reporting.figures import plt
from ..reporting.run_folder import write_arrays, write_json
from ..reporting.target_report import Report, publish_report, shown
from ..workloads.user_loss import Target, target


def main(settings: Escape) -> int:
    """Escape, print how, write the folder; the exit status."""
    chosen = target(settings)
    return publish_report(settings, "escape", lambda: _report(chosen, settings))


def _report(chosen: Target, settings: Escape) -> Report:
    key = jax.random.key(settings.seed)
    way = hessian.escape(chosen.loss, chosen.params, key=key)
    end = hessian.find_minimum(chosen.loss, chosen.params, key=key)
    words = [
        *chosen.words,
        f"At {shown(chosen.params)} the loss is {float(way.loss_before):.10g}, the lowest curvature"
        f" {float(way.curvature):.6g}.",
        f"One step: {way.reason}; of length {float(way.step):.6g}, to a loss of {float(way.loss_after):.10g}.",
        f"All the way: {end.certificate}.",
        f"It ended at {shown(end.params)} with a loss of {float(end.loss):.10g}; steps: {int(end.steps)},"
        f" gradients: {int(end.gradients)}, products with the Hessian: {int(end.num_matvecs)}.",
    ]
    rows = [
        ["start", f"{float(way.loss_before):.10g}", ""],
        ["one step out", f"{float(way.loss_after):.10g}", f"{float(way.step):.6g}"],
        ["at the end", f"{float(end.loss):.10g}", ""],
    ]
    summary = {
        "target": chosen.name, "loss_before": float(way.loss_before), "loss_after": float(way.loss_after),
        "curvature": float(way.curvature), "step": float(way.step), "reason": way.reason,
        "end": {
            "reason": end.reason, "arrived": bool(end.converged), "loss": float(end.loss), "kind": end.point.kind,
            "certificate": end.certificate, "steps": int(end.steps), "gradients": int(end.gradients),
            "products": int(end.num_matvecs),
        },
    }  # fmt: skip

    def save(folder):
        arrays = end.params if isinstance(end.params, dict) else {"params": end.params}
        if all(hasattr(array, "dtype") for array in arrays.values()):
            write_arrays(folder / "params.npz", {str(k): np.asarray(array) for k, array in arrays.items()})
        flat = ravel_pytree(end.params)[0]
        if flat.size <= 1000:
            write_json(folder / "params.json", np.asarray(flat, float).tolist())

    title = f"The way down on {chosen.name}"
    return Report(
        title=title,
        words=words,
        columns=["where", "loss", "step"],
        rows=rows,
        summary=summary,
        draw=lambda: _draw(chosen, way, end),
        save=save,
        play=lambda: play(settings, title),
    )


def _draw(chosen, way, end):
    figure, axes = plt.subplots(figsize=(7, 4.4))
    surface, unravel = chosen.surface, ravel_pytree(chosen.params)[1]
    flat = [np.asarray(ravel_pytree(one)[0]) for one in (chosen.params, way.direction, way.params, end.params)]
    if len(flat[0]) == 2:
        box = figures.around(np.stack([flat[0], *flat[2:]])) if surface is None else surface.box
        figures.contours(lambda x: chosen.loss(unravel(x)), box, ax=axes)
        known = [] if surface is None else surface.critical_points
        figures.critical_points([(point.x, point.kind) for point in known], ax=axes)
        figures.way_out(*flat, ax=axes)
        figures.legend(fontsize=7, ax=axes, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=5, frameon=False)
    else:
        curvature = float(way.curvature)
        pairs = [("lowest", way.direction, curvature)] if np.isfinite(curvature) else []
        figures.slices(chosen.loss, chosen.params, pairs, ax=axes)
    return figure
