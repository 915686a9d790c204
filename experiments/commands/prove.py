"""Is it proved? One critical point in a ball, its index by ball arithmetic, and the record that anyone can check."""

from pathlib import Path

import jax
import numpy as np

import hessian
from experiments.cli.settings import InputError, Prove
from experiments.reporting.target_report import Report, extreme_slices, publish_report, shown
from experiments.workloads.user_loss import Target, target

SHOWN = 12  # coordinates in the table


def main(settings: Prove) -> int:
    """Prove, print the statement, write the record; 0 where it is proved, else 1."""
    chosen = target(settings)
    return publish_report(settings, "prove", lambda: _report(chosen, settings.seed))


def _report(chosen: Target, seed: int) -> Report:
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
    return Report(title, words, columns, rows, summary, lambda: _draw(chosen, seed), save, proof.proved)


def _draw(chosen, seed):
    point = hessian.classify(chosen.loss, chosen.params, key=jax.random.key(seed))
    return extreme_slices(chosen.loss, chosen.params, point)
