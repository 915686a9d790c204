"""Is it proved? One critical point in a ball, or all of a box, by ball arithmetic, and the record to check it."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import hessian

from ..cli.console import growing_bar
from ..cli.settings import InputError, Prove
from ..commands.race import play
from ..reporting import figures
from ..reporting.figures import plt
from ..reporting.target_report import Report, extreme_slices, publish_report, shown
from ..workloads.user_loss import Target, target

SHOWN = 12  # coordinates in the table
LISTED = 100  # points in the table


def main(settings: Prove) -> int:
    """Prove, print the statement, write the record; 0 where it is proved, else 1."""
    chosen = target(settings)
    if settings.box is None:
        return publish_report(settings, "prove", lambda: _report(chosen, settings))
    box = _box(settings.box, len(ravel_pytree(chosen.params)[0]))
    return publish_report(settings, "prove", lambda: _report_of_all(chosen, box, settings))


def _box(text: str, n: int) -> list[tuple[float, float]]:
    """The sides of the box."""
    try:
        sides = [(float(low), float(high)) for low, high in (side.split(":") for side in text.split(","))]
    except ValueError:
        sides = []
    if len(sides) not in (1, n) or not all(-np.inf < low < high < np.inf for low, high in sides):
        raise InputError(f"box must be LOW:HIGH for each of the {n} parameters, or one pair for all; got {text!r}")
    return sides * n if len(sides) == 1 else sides


def _report_of_all(chosen: Target, box: list[tuple[float, float]], settings: Prove) -> Report:
    _, unravel = ravel_pytree(chosen.params)
    try:
        with growing_bar(settings.progress, "boxes") as report:
            loss = lambda flat: chosen.loss(unravel(flat))  # noqa: E731
            found = hessian.prove_all(loss, box, progress=report, store=settings.store)
    except (ImportError, ValueError, OSError) as error:
        raise InputError(str(error)) from None
    points = sorted(found.points, key=lambda point: (point.index, np.asarray(point.center).tolist()))
    words = [*chosen.words, f"In the box {found.box.tolist()}: {found.statement}."]
    words.append(f"{found.boxes} boxes were examined.")
    words += [f"The table has the first {LISTED} points, the record all of them."] if len(points) > LISTED else []
    rows = [
        [point.kind, str(point.index), shown(np.asarray(point.center)), f"{np.max(np.asarray(point.radius)):.3g}"]
        for point in points[:LISTED]
    ]
    summary = {
        "target": chosen.name, "complete": found.complete, "statement": found.statement, "box": found.box.tolist(),
        "points": [{"kind": p.kind, "index": p.index, "center": np.asarray(p.center).tolist()} for p in points],
        "undecided": found.undecided[:LISTED].tolist(), "boxes": found.boxes, "reason": found.reason,
    }  # fmt: skip

    def save(folder: Path) -> None:
        if found.complete:
            found.save(folder / "proof.json")

    title = f"What is proved of {chosen.name} in a box"
    columns = ["kind", "index", "center", "radius"]
    known = [(tuple(np.asarray(point.center).tolist()), point.kind) for point in points]

    def draw():
        return _draw_all(chosen, found)

    def made():
        return play(settings, title, known, points)

    return Report(
        title=title,
        words=words,
        columns=columns,
        rows=rows,
        summary=summary,
        draw=draw,
        save=save,
        passed=found.complete,
        play=made,
    )


def _draw_all(chosen, found):
    _, unravel = ravel_pytree(chosen.params)
    figure, axes = plt.subplots(figsize=(6.5, 5))
    if len(found.box) == 2:
        figures.contours(lambda flat: chosen.loss(unravel(flat)), found.box.tolist(), ax=axes)
        figures.critical_points([(point.center, point.kind) for point in found.points], ax=axes)
        figures.proved([point.center for point in found.points], ax=axes)
        for (left, right), (bottom, top) in found.undecided[: 10 * LISTED]:
            axes.add_patch(plt.Rectangle((left, bottom), right - left, top - bottom, fill=False, color="0.3"))
        if len(found.undecided):
            axes.plot([], [], "s", color="none", markeredgecolor="0.3", label="undecided")
    else:
        for kind, (mark, colour) in figures.MARKS.items():
            of_kind = [point for point in found.points if point.kind == kind]
            losses = figures.drawable([float(chosen.loss(unravel(jnp.asarray(point.center)))) for point in of_kind])
            name = kind if of_kind else None
            axes.plot([p.index for p in of_kind], losses, mark, color=colour, markeredgecolor="black", label=name)
        axes.set(xlabel="index: negative eigenvalues", ylabel="loss")
    axes.set_title(f"{figures.plain(chosen.name)}: proved critical points")
    figures.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False, ax=axes)
    return figure


def _report(chosen: Target, settings: Prove) -> Report:
    try:
        proof = hessian.prove(chosen.loss, chosen.params)
    except ImportError as error:
        raise InputError(str(error)) from None
    words = [*chosen.words, f"Beside {shown(chosen.params)}: {proof.statement}."]
    rows = []
    if proof.ball is not None:
        words.append(f"The center is {proof.distance:.3g} away; {proof.ball.bits} bits were enough.")
        pairs = list(zip(np.asarray(proof.center), proof.ball.radius, strict=True))
        rows = [[str(i), repr(float(x)), f"{r:.3g}"] for i, (x, r) in enumerate(pairs[:SHOWN])]
        if len(pairs) > SHOWN:
            words.append(f"The table has the first {SHOWN} of {len(pairs)} coordinates, the record all of them.")
    summary = {
        "target": chosen.name, "proved": proof.proved, "kind": proof.kind, "index": proof.index,
        "reason": proof.reason, "distance": proof.distance, "statement": proof.statement,
        "center": np.asarray(proof.center).tolist(), "radius": np.asarray(proof.radius).tolist(),
    }  # fmt: skip

    def save(folder: Path) -> None:
        if proof.proved:
            proof.save(folder / "proof.json")

    title = f"What is proved of {chosen.name} here"
    columns = ["coordinate", "center", "radius"]
    known = [(tuple(np.asarray(proof.center).tolist()), proof.kind)] if proof.proved else []

    def draw():
        return _draw(chosen, settings.seed)

    def made():
        return play(settings, title, known, [proof])

    return Report(
        title=title,
        words=words,
        columns=columns,
        rows=rows,
        summary=summary,
        draw=draw,
        save=save,
        passed=proof.proved,
        play=made,
    )


def _draw(chosen, seed):
    point = hessian.classify(chosen.loss, chosen.params, key=jax.random.key(seed))
    return extreme_slices(chosen.loss, chosen.params, point)
