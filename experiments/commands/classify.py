"""What kind of point is this? The verdict, the evidence for it, and slices along the extreme eigenvectors (S52-S57)."""

import jax

import hessian

from ..cli.settings import Classify
from ..commands.race import play
from ..reporting.target_report import Report, extreme_slices, publish_report, shown
from ..workloads.user_loss import Target, target


def main(settings: Classify) -> int:
    """Classify, print the verdict, write the folder; the exit status."""
    chosen = target(settings)
    return publish_report(settings, "classify", lambda: _report(chosen, settings))


def _report(chosen: Target, settings: Classify) -> Report:
    point = hessian.classify(chosen.loss, chosen.params, key=jax.random.key(settings.seed))
    least, most = (int(bound) for bound in point.index_bounds)
    index = str(least) if least == most else f"from {least} to {most}"
    inertia = {sign: int(count) for sign, count in point.inertia._asdict().items()}
    name = "Index" if point.kind == "not critical" else "Morse index"
    value = float(chosen.loss(chosen.params))
    words = [
        *chosen.words,
        f"At {shown(chosen.params)} the loss is {value:.10g}.",
        f"Verdict: {point.certificate}.",
        f"{name} {index}; eigenvalues with a certain sign: {inertia['positive']} positive,"
        f" {inertia['negative']} negative; {inertia['zero']} without.",
    ]
    rows = [
        [name, f"{float(end.low):.6g}", f"{float(end.value):.6g}", f"{float(end.high):.6g}"]
        for name, end in (("lowest eigenvalue", point.lowest), ("highest eigenvalue", point.highest))
    ]
    summary = {
        "target": chosen.name, "loss": value, "kind": point.kind, "certificate": point.certificate,
        "index": [least, most], "inertia": inertia, "gradient_norm": float(point.gradient_norm),
        "gradient_tol": float(point.gradient_tol), "lowest": float(point.lowest.value),
        "highest": float(point.highest.value), "confidence": float(point.confidence),
        "products": int(point.num_matvecs),
    }  # fmt: skip
    columns = ["", "at least", "estimate", "at most"]

    title = f"What {chosen.name} is like here"

    def draw():
        return extreme_slices(chosen.loss, chosen.params, point)

    return Report(
        title=title,
        words=words,
        columns=columns,
        rows=rows,
        summary=summary,
        draw=draw,
        play=lambda: play(settings, title),
    )
