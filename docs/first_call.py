"""How long does a user wait for the first call, beside the same job written by hand?

    python docs/first_call.py [--write docs/performance.md]      writes the table in its place on that page

Each job runs in processes of its own, in processor seconds after the imports: *cold* with nothing compiled before,
*warm* with what the cold one left in JAX's compilation cache.  By hand is what a practitioner would write in JAX for
this job on this loss, without checks and without a certificate.
"""

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import gdlab
import hessian

JOBS = (
    "minimize",
    "classify",
    "classify, lanczos",
    "escape",
    "find_minimum",
    "newton_cg",
    "find_critical_points",
    "prove",
)
TABLE = re.compile(r"\| First call of .*?\n\nMeasured with [^\n]*", re.DOTALL)  # its place in the page


def loss(w: jax.Array) -> jax.Array:
    return (1 - w[0] * w[1]) ** 2 + 0.1 * w[0] ** 2


def product(w: jax.Array, v: jax.Array) -> jax.Array:
    """The Hessian times v."""
    return jax.jvp(jax.grad(loss), (w,), (v,))[1]


@jax.jit
def descent(w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gradient descent by hand."""

    def step(w, _):
        value, slope = jax.value_and_grad(loss)(w)
        return w - 0.1 * slope, value

    return jax.lax.scan(step, w, length=100)


@jax.jit
def spectrum(w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The gradient and all eigenpairs by hand."""
    values, vectors = jnp.linalg.eigh(jax.hessian(loss)(w))
    return jax.grad(loss)(w), values, vectors


@jax.jit
def lanczos(w: jax.Array) -> jax.Array:
    """Ritz values by hand."""

    def grow(carry, _):
        before, here, coupling = carry
        image = product(w, here) - coupling * before
        alpha = image @ here
        image = image - alpha * here
        beta = jnp.linalg.norm(image)
        return (here, image / jnp.where(beta > 0, beta, 1), beta), (alpha, beta)

    first = jax.random.normal(jax.random.key(0), w.shape)
    begin = jnp.zeros_like(w), first / jnp.linalg.norm(first), jnp.zeros(())
    alphas, betas = jax.lax.scan(grow, begin, length=24)[1]
    return jnp.linalg.eigvalsh(jnp.diag(alphas) + jnp.diag(betas[:-1], 1) + jnp.diag(betas[:-1], -1))


@jax.jit
def way_out(w: jax.Array) -> jax.Array:
    """The best of twenty lengths along the lowest eigenvector, on both sides, by hand."""
    direction = jnp.linalg.eigh(jax.hessian(loss)(w))[1][:, 0]
    lengths = 2.0 ** -jnp.arange(20)
    tried = jnp.concatenate([w + lengths[:, None] * direction, w - lengths[:, None] * direction])
    return tried[jnp.argmin(jax.vmap(loss)(tried))]


@jax.jit
def newton(w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Newton's method with absolute eigenvalues by hand, and the eigenvalues at its end."""

    def going(carry):
        return (jnp.linalg.norm(jax.grad(loss)(carry[0])) > 1e-9) & (carry[1] < 50)

    def step(carry):
        values, vectors = jnp.linalg.eigh(jax.hessian(loss)(carry[0]))
        return carry[0] - vectors @ (vectors.T @ jax.grad(loss)(carry[0]) / jnp.abs(values)), carry[1] + 1

    end, _ = jax.lax.while_loop(going, step, (w, 0))
    return end, jnp.linalg.eigvalsh(jax.hessian(loss)(end))


@jax.jit
def conjugate(w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Newton's method by conjugate gradients by hand."""

    def step(w, _):
        newton_step = jax.scipy.sparse.linalg.cg(lambda v: product(w, v), jax.grad(loss)(w), maxiter=20)[0]
        return w - newton_step, loss(w)

    return jax.lax.scan(step, w, length=20)


def jobs() -> dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]]:
    """By name, the job with this package and by hand, each a function without arguments."""
    start, starts = jnp.array([0.5, 1.0]), jnp.array([[0.5, 1.0], [1.5, 2.0]])
    many = jax.jit(jax.vmap(newton))
    return {
        "minimize": (lambda: gdlab.minimize(loss, gdlab.gd(0.1), start, 100), lambda: descent(start)),
        "classify": (lambda: hessian.classify(loss, start), lambda: spectrum(start)),
        "classify, lanczos": (lambda: hessian.classify(loss, start, method="lanczos"), lambda: lanczos(start)),
        "escape": (lambda: hessian.escape(loss, start), lambda: way_out(start)),
        "find_minimum": (lambda: hessian.find_minimum(loss, start), lambda: newton(start)),
        "newton_cg": (lambda: gdlab.minimize(loss, hessian.newton_cg(), start, 20), lambda: conjugate(start)),
        "find_critical_points": (lambda: hessian.find_critical_points(loss, starts), lambda: many(starts)),
        "prove": (lambda: hessian.prove(loss, jnp.zeros(2)), None),
    }


def measured(name: str, by_hand: bool) -> None:
    """Print the processor seconds of the first call in this process."""
    jax.config.update("jax_enable_x64", True)
    job = jobs()[name][by_hand]
    began = time.process_time()
    jax.block_until_ready(jax.tree.leaves(job()))
    print(time.process_time() - began)


def seconds(words: list[str], folder: str, cached: bool = False) -> float:
    """What a process of its own prints for these words; what Python and JAX compile is kept in this folder."""
    foreign = ("JAX_COMP", "JAX_PERS", "PYTHONDONTWRITEBYTECODE")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    variables["PYTHONPYCACHEPREFIX"] = folder
    if cached:
        few = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
        variables |= {"JAX_COMPILATION_CACHE_DIR": folder, **few}
    run = subprocess.run([sys.executable, *words], env=variables, capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


def row(name: str, folder: str) -> str:
    """The row of a job: ours cold and warm, by hand cold, and the ratio."""
    this = [__file__, "--job", name]
    cold, warm = seconds(this, folder, cached=True), seconds(this, folder, cached=True)
    if name == "prove":
        return f"| {name} | {cold:.2f} | {warm:.2f} | | |"
    hand = seconds([*this, "--by-hand"], folder)
    return f"| {name} | {cold:.2f} | {warm:.2f} | {hand:.2f} | {cold / hand:.1f} |"


def imports(folder: str) -> str:
    """The row of the imports, each the median of ten in turn."""
    said = (
        "import time; import jax, optax; a = time.process_time(); import gdlab, hessian; print(time.process_time() - a)"
    )
    base = "import time; a = time.process_time(); import jax, optax; print(time.process_time() - a)"
    measured = [(seconds(["-c", said], folder), seconds(["-c", base], folder)) for _ in range(11)]
    above, below = (statistics.median(column) for column in zip(*measured[1:], strict=True))
    return f"| `import gdlab, hessian`, above jax and optax | {above:.2f} | | {below:.2f} | |"


def main() -> None:
    """Measure all jobs, or one in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--job", choices=JOBS)
    parser.add_argument("--by-hand", action="store_true")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    if asked.job:
        measured(asked.job, asked.by_hand)
        return
    lines = ["| First call of | cold | warm | by hand, cold | cold / by hand |", "|---|---|---|---|---|"]
    every_name = "import gdlab, hessian; [getattr(room, n) for room in (gdlab, hessian) for n in dir(room)]; print(0)"
    with tempfile.TemporaryDirectory() as folder:
        seconds(["-c", every_name], folder)  # Python compiles its modules once, at their installation
        lines += [imports(folder), *(row(name, folder) for name in JOBS)]
    where = f"Measured with jax {jax.__version__} on {platform.machine()}, {os.cpu_count()} cores."
    table = "\n".join([*lines, "", where])
    print(table)
    if asked.write:
        asked.write.write_text(TABLE.sub(lambda _: table, asked.write.read_text()))


if __name__ == "__main__":
    main()
