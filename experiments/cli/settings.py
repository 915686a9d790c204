"""The settings of each command: what can be set, and its defaults.

A command's settings are a frozen dataclass; the command line is made from it, and `config.json` is its fields.  This
file imports nothing heavy, so that `--help` answers at once.
"""

import errno
import json
import math
import os
import shlex
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

ROOM = Path(__file__).parents[1]
PACKAGE = __name__.partition(".")[0]  # `experiments` in a checkout, `gdlab_experiments` where it is installed
LAUNCHER = "GDLAB_LAUNCHER"  # the variable in which lab.py says how it was called
LECTURE_OPTIMIZERS = ("gd", "momentum", "adagrad", "rmsprop", "adam")


class InputError(ValueError):
    """Bad input from the user: one sentence that names the argument, what came and what is allowed."""


def command() -> str:
    """How the user called the command line: `gdlab` as installed, `lab.py`, which says so, or the module itself."""
    if Path(sys.argv[0]).stem.removesuffix("-script") == "gdlab":
        return "gdlab"
    return os.environ.get(LAUNCHER, f"python -m {PACKAGE}")


def module_of(name: str) -> str:
    """The dotted name of the module that answers a command.

    >>> module_of("race"), module_of("taylor")
    ('experiments.commands.race', 'experiments.lectures.taylor')
    """
    return f"{PACKAGE}.{file_of(name).parent.name}.{name}"


def file_of(name: str) -> Path:
    """The file that answers a command; a question is answered among the lectures, unless it is a benchmark."""
    places = [ROOM / room / f"{name}.py" for room in ("commands", "benchmarks")]
    return next((file for file in places if file.exists()), ROOM / "lectures" / f"{name}.py")


def in_one_line(text: str, longest: int = 300) -> str:
    r"""A text as one line, whose middle is left out where it is too long to be read.

    >>> print(in_one_line("one\ntwo"), in_one_line("0123456789", 7))
    one\ntwo 01...89
    """
    line = r"\n".join(text.strip().splitlines())
    half = (longest - 3) // 2
    return line if len(line) <= longest else f"{line[:half]}...{line[-half:]}"


@dataclass(frozen=True)
class OnProblem:
    """What is run: a problem, optimizers, learning rates and starts."""

    target: str | None = None
    """A surface's name, or FILE.py:FUNCTION, a loss of your own; it takes the place of --problem and --surface."""
    params: Path | None = None
    """Parameters from a .npz or .safetensors file, the first start, for a loss of your own."""
    spread: float = 1.0
    """The standard deviation of the other starts around the parameters."""
    problem: Literal["surface", "pokemon", "digits"] = "surface"
    """What is raced on: a surface, the lecture's Pokemon regression, or a small network on handwritten digits."""
    surface: str = "six_hump_camel"
    """A surface's name, for --problem surface; `problems` lists them."""
    optimizers: tuple[str, ...] = LECTURE_OPTIMIZERS
    """Names from gdlab (adam), optax (optax.adam) or optax.contrib, with hyperparameters or without (adam(b1=.5)), or
    FILE.py:make_optimizer, separated by spaces or commas."""
    lr: str | None = None
    """Learning rates, lo:hi:n, spaced evenly on a log scale; by default 40 of them in a range that fits the problem."""
    starts: int | None = None
    """How many starts, the first of them on and beside the saddles; by default 16 (digits: 4)."""
    seed: int = 0
    """The seed of the starts and of the order of the data."""
    steps: int | None = None
    """How many steps; by default what the problem needs."""
    config: Path | None = None
    """Take the settings from the config.json of an earlier run; other flags override them."""
    pgf: bool = False
    """Write the figure as PGF too, for LaTeX; it takes an installed xelatex."""
    json: bool = False
    """Print one JSON object instead of the table."""
    progress: bool = True
    """Draw bars on stderr (never where that is no terminal)."""


@dataclass(frozen=True)
class Race(OnProblem):
    """Race optimizers over learning rates and starts; see where each stops, and the way out of the saddles."""

    out: Path = Path("runs/race")
    """The folder to write, which must not exist yet."""
    quick: bool = False
    """A smaller race: an eighth of the learning rates, a quarter of the starts and steps."""
    page: bool = False
    """Write page.html too: the race to play with in a browser, by learning rate, step and optimizer."""
    plane: Literal["paths", "hessian"] = "paths"
    """What is drawn of more than two parameters: the two main directions of the paths, or of highest curvature."""
    through: tuple[Path, ...] = ()
    """Three files of parameters, as --params takes them: the plane through these points is drawn instead."""


@dataclass(frozen=True)
class Sweep(OnProblem):
    """Sweep optimizers over learning rates and starts, in parts that survive a kill and that machines can share."""

    every: int | None = None
    """Record the loss every so many steps; by default 100 times."""
    chunk: int | None = None
    """How many runs of each optimizer are computed between two looks of the host; at most 65536 by default."""
    store: Path | None = None
    """A folder that keeps each finished chunk: the same command goes on from it after a kill."""
    shard: str | None = None
    """i/n, from 1/n to n/n: compute one of n shares, into the store; `merge` joins the n stores."""
    out: Path = Path("runs/sweep")
    """The folder to write, which must not exist yet."""


CONTESTANTS = (
    *("sgd", "momentum", "adam", "adamw", "lion", "adagrad", "rmsprop", "nadam"),
    *("muon", "soap", "prodigy", "schedule_free(rmsprop)"),
)


@dataclass(frozen=True)
class Contest:
    """Which optimizer to take where: many on many small tasks, tuned by some runs, judged by others, and how sure."""

    optimizers: tuple[str, ...] = CONTESTANTS
    """Names from gdlab (adam), optax (optax.adam) or optax.contrib, with hyperparameters or without (adam(b1=.5)), or
    FILE.py:make_optimizer, separated by spaces or commas; at least two."""
    tasks: tuple[str, ...] = ()
    """Names of tasks, separated by spaces or commas; all fourteen by default."""
    tuning: int = 8
    """How many rates are tried, with one seed."""
    seeds: int = 5
    """How many runs with new seeds judge the best rate; at least two."""
    lr: str | None = None
    """The range of rates, lo:hi; by default what fits each task."""
    match_rms: bool = False
    """Take a rate as the root mean square of an optimizer's updates, so that all try updates of the same sizes."""
    steps: int | None = None
    """How many steps; by default what each task needs."""
    seed: int = 0
    """The seed of everything random."""
    store: Path | None = None
    """A folder that keeps each finished part: the same command goes on from it after a kill."""
    shard: str | None = None
    """i/n, from 1/n to n/n: compute one of n shares, into the store; `merge` joins the n stores."""
    out: Path = Path("runs/contest")
    """The folder to write, which must not exist yet."""
    config: Path | None = None
    """Take the settings from the config.json of an earlier run; other flags override them."""
    pgf: bool = False
    """Write the figure as PGF too, for LaTeX; it takes an installed xelatex."""
    json: bool = False
    """Print one JSON object instead of the table."""
    progress: bool = True
    """Draw bars on stderr (never where that is no terminal)."""


@dataclass(frozen=True)
class Merge:
    """Join the stores of all shards of one sweep or contest, and write what the whole would have written."""

    stores: tuple[Path, ...]
    """The stores, one for each shard."""
    out: Path = Path("runs/merge")
    """The folder to write, which must not exist yet."""
    pgf: bool = False
    """Write the figure as PGF too, for LaTeX; it takes an installed xelatex."""
    json: bool = False
    """Print one JSON object instead of the table."""


@dataclass(frozen=True)
class Problems:
    """List the surfaces to race on, with their formulas and critical points."""

    json: bool = False
    """Print one JSON object instead of the table."""


@dataclass(frozen=True)
class Playground:
    """Write one page to play with on every surface of the catalogue, for any static host."""

    optimizers: tuple[str, ...] = LECTURE_OPTIMIZERS
    """Names as `race` takes them, separated by spaces or commas."""
    out: Path = Path("docs/playground/index.html")
    """The file to write, which must not exist yet."""


@dataclass(frozen=True)
class Accelerator:
    """Measure this device: laws and verdicts against the CPU's float64, speed against optax and the device's limits."""

    store: Path = Path("runs/accelerator")
    """The folder that keeps each finished piece, the JSON and the table; the same command measures what is missing."""
    pieces: tuple[str, ...] = ()
    """Names of pieces, separated by spaces or commas; all by default, and the limits always."""
    minutes: float | None = None
    """Begin no piece after so many minutes; a piece takes five at most on an accelerator."""
    quick: bool = False
    """A dry run: smaller sizes, a few minutes of two CPU cores."""
    json: bool = False
    """Print one JSON object instead of the table."""
    progress: bool = True
    """Draw bars on stderr (never where that is no terminal)."""


@dataclass(frozen=True)
class Experiment:
    """The settings of every experiment."""

    out: Path | None = None
    """The folder to write, which must not exist yet; runs/NAME by default."""
    quick: bool = False
    """A smaller size, a few seconds long, where the experiment has one; its programs are compiled for one use."""
    pgf: bool = False
    """Write the figure as PGF too, for LaTeX; it takes an installed xelatex."""
    json: bool = False
    """Print one JSON object instead of the table."""
    progress: bool = True
    """Draw bars on stderr (never where that is no terminal)."""


@dataclass(frozen=True)
class All(Experiment):
    """Run all experiments: a table of verdicts, status 1 when a check fails; the same command goes on after a stop."""

    out: Path | None = None
    """The folder of their folders; runs/all by default, runs/quick with --quick."""
    jobs: int = min(os.cpu_count() or 1, 4)
    """How many run at once, each in a process of its own; each takes a core and up to 6 GiB."""


@dataclass(frozen=True)
class Experiments:
    """List the experiments; `experiments run NAME` runs one, `experiments run all` all of them."""

    json: bool = False
    """Print one JSON object instead of the table."""


def experiments() -> list[str]:
    """The names of the experiments: the files of `lectures` and of `benchmarks`.

    >>> experiments()[0], experiments()[-1]
    ('adabound', 'sweep_speed')
    """
    files = (file for room in ("lectures", "benchmarks") for file in sorted((ROOM / room).glob("[!_]*.py")))
    return [file.stem for file in files]


def question(name: str) -> str:
    """The question of an experiment, and its items of the lectures: the first paragraph of its file.

    >>> question("taylor")
    'Why does the gradient point the way, and how far may one go? (S54, S66-S72)'
    """
    docstring = file_of(name).read_text(encoding="utf-8").split('"""')[1]
    return " ".join(docstring.partition("\n\n")[0].split())


@dataclass(frozen=True)
class OnFolder:
    """Make one HTML page of finished runs: figures, tables, verdicts, and every claim by its number."""

    folder: Path
    """The folder of a run, or of several."""
    out: Path | None = None
    """The file to write, which must not exist yet; report.html in the folder by default."""


@dataclass(frozen=True)
class Verify:
    """Run again what a page of `report` shows, and compare; status 1 where a number or a verdict differs."""

    file: Path
    """The page."""
    json: bool = False
    """Print one JSON object instead of the table."""
    progress: bool = True
    """Draw bars on stderr (never where that is no terminal)."""


@dataclass(frozen=True)
class OnTarget:
    """The settings of every command on a target."""

    target: str
    """A surface's name (`problems` lists them), or FILE.py:FUNCTION, a loss of your own; the file is run."""
    params: Path | None = None
    """Parameters from a .npz or .safetensors file, or FILE.py:MODEL; a surface has a start of its own."""
    out: Path | None = None
    """The folder to write, which must not exist yet; runs/COMMAND by default."""
    seed: int = 0
    """The seed of the random directions and starts."""
    page: bool = False
    """Write page.html too: the loss to play with in a browser, with runs of five optimizers from these parameters."""
    config: Path | None = None
    """Take the settings from the config.json of an earlier run; other flags override them."""
    pgf: bool = False
    """Write the figure as PGF too, for LaTeX; it takes an installed xelatex."""
    json: bool = False
    """Print one JSON object instead of the words."""


@dataclass(frozen=True)
class OnData(OnTarget):
    """The settings of a command on a target whose data may be fetched batch by batch."""

    data: str | None = None
    """FILE.py:BATCHES, which yields batches or returns what does; the loss is the mean of loss(params, batch)."""


@dataclass(frozen=True)
class Classify(OnData):
    """Classify a point: index, inertia, certificate, and slices along the eigenvectors (S52-S57)."""


@dataclass(frozen=True)
class Escape(OnData):
    """Step out of a saddle along negative curvature, then descend to a point whose kind is certain (S57)."""


@dataclass(frozen=True)
class Prove(OnTarget):
    """Prove that a ball at the parameters holds exactly one critical point, and its index; status 1 where it is not.

    With --box: every critical point in a box, each with its proof, and the proof that there are no others.
    """

    box: str | None = None
    """LOW:HIGH of each parameter, such as --box=-6:6,-6:6; one pair stands for all of them."""
    store: Path | None = None
    """A folder that keeps how far the search of the box is: the same command goes on from it after a kill."""
    progress: bool = True
    """Show a bar on stderr, where that is a terminal."""


@dataclass(frozen=True)
class Check:
    """Replay the record of a proof from its file alone; status 1 where it does not hold."""

    file: Path
    """The proof.json of `prove`, or a file that `Proof.save` wrote."""
    loss: str | None = None
    """A surface, or FILE.py:FUNCTION, a loss of one array; the program of the record is compared with it."""
    json: bool = False
    """Print one JSON object instead of the words."""


@dataclass(frozen=True)
class Map(OnTarget):
    """Search for critical points from many starts, and say which minima each saddle joins (S53, S59)."""

    starts: int = 400
    """How many starts: in the surface's window, or around the parameters."""
    spread: float = 1.0
    """The standard deviation of starts around the parameters, for a loss of your own."""
    proof: bool = False
    """Prove each point, as `prove` does, and write the records."""


@dataclass(frozen=True)
class Landscape(OnTarget):
    """Find all minima and the saddles that join them, and draw the disconnectivity graph (S53, S57, S59).

    The target may also be lennard_jones_N, a cluster of N atoms.
    """

    starts: int = 400
    """How many starts, at most: in the surface's window, around the parameters, or random clusters."""
    spread: float = 1.0
    """The standard deviation of starts around the parameters, for a loss of your own."""
    symmetry: str | None = None
    """NAME:D with the coordinates D of a point, such as atoms:3 or rotations:2,reflections:2; an orbit counts once."""
    patience: int | None = None
    """Stop after so many starts in a row that led to nothing new."""
    searches: int | None = None
    """Stop after so many searches, for a landscape of more points than there is time for."""
    page: bool = False
    """Write page.html too: the graph to look through in a browser, and the point, or cluster, that is picked."""
    store: Path | None = None
    """A folder that keeps what is finished: the same command goes on from it when it was killed."""
    progress: bool = True
    """Show a bar on stderr, where that is a terminal."""


PLACED = ("target", "folder", "file", "stores")  # settings that may come first, without their flag
COMMANDS: dict[str, type] = {
    "race": Race,
    "sweep": Sweep,
    "contest": Contest,
    "merge": Merge,
    **dict.fromkeys(experiments(), Experiment),
    "experiments": Experiments,
    "all": All,
    "report": OnFolder,
    "verify": Verify,
    "classify": Classify,
    "escape": Escape,
    "map": Map,
    "landscape": Landscape,
    "prove": Prove,
    "check": Check,
    "problems": Problems,
    "playground": Playground,
    "accelerator": Accelerator,
}


def help_of(name: str) -> str:
    """What a command does, in one sentence: the question of an experiment, or the docstring of the settings."""
    kind = COMMANDS[name]
    return question(name) if kind is Experiment else (kind.__doc__ or "").splitlines()[0]


def command_line(name: str, settings: Any) -> str:
    """The command line that repeats a run, without where it writes and what it prints.

    >>> command_line("race", Race(surface="himmelblau", starts=3))
    'race --surface=himmelblau --starts=3'
    """
    placed: list[str] = []
    flags: list[str] = []
    for field in fields(settings):
        value, flag = getattr(settings, field.name), field.name.replace("_", "-")
        if field.name in PLACED and value is not None:
            placed += map(str, value if isinstance(value, tuple) else [value])
        elif field.name not in ("out", "config", "pgf", "json", "progress") and value != field.default:
            if isinstance(value, tuple) and isinstance(value[0], Path):
                flags += [f"--{flag}", *map(str, value)]
                continue
            text = ",".join(value) if isinstance(value, tuple) else value
            flags.append(("--" if value else "--no-") + flag if isinstance(value, bool) else f"--{flag}={text}")
    return shlex.join([name, *placed, *flags])


def learning_rates(text: str) -> tuple[float, float, int]:
    """The range that `lo:hi:n` names.

    >>> learning_rates("1e-3:1:4")
    (0.001, 1.0, 4)
    """
    allowed = "lr must be lo:hi:n with 0 < lo <= hi, both finite, and a whole n from 1 to 10^7, such as 1e-4:1:40"
    try:
        first, last, number = text.split(":")
        low, high, count = float(first), float(last), int(number)
    except ValueError:
        raise InputError(f"{allowed}; got {text!r}") from None
    if not (0 < low <= high < math.inf and 1 <= count <= 10**7):
        raise InputError(f"{allowed}; got {text!r}")
    return low, high, count


def share(text: str) -> tuple[int, int]:
    """The share that `i/n` names, counted from 0.

    >>> share("1/4")
    (0, 4)
    """
    allowed = "shard must be i/n with whole numbers 1 <= i <= n, such as 1/4"
    try:
        number, parts = (int(part) for part in text.split("/"))
    except ValueError:
        raise InputError(f"{allowed}; got {text!r}") from None
    if not 1 <= number <= parts:
        raise InputError(f"{allowed}; got {text!r}")
    return number - 1, parts


def at_least_one(name: str, value: int) -> int:
    """The value, when it is at least 1 and can be counted to in 32 bits."""
    if not 1 <= value < 2**31:
        raise InputError(f"{name} must be a whole number, at least 1 and below 2^31; got {value}")
    return value


def deviation(value: float) -> float:
    """The standard deviation of starts, when it is one."""
    if not 0 <= value < math.inf:
        raise InputError(f"spread must be a finite number, at least 0; got {value}")
    return value


def countable_seed(value: int) -> int:
    """The seed, when JAX and NumPy both take it."""
    if not 0 <= value < 2**63:
        raise InputError(f"seed must be a whole number, at least 0 and below 2^63; got {value}")
    return value


def as_json(settings: Any) -> dict[str, Any]:
    """The settings as a config.json holds them."""
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {name: _plain(value) for name, value in values.items() if name != "config"}


def _plain(value):
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def regular_file(path: Path) -> Path:
    """The path, unless it is a device, which has no end to read to.

    Raises:
        OSError: for a device.
    """
    if path.is_char_device():
        raise OSError(errno.EINVAL, "a device is no file")
    return path


def from_json(kind: type, path: Path) -> Any:
    """The settings that a config.json holds."""
    try:
        values = json.loads(regular_file(Path(path)).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"config must be the config.json of an earlier run; got {path}: {error}") from None
    return from_values(kind, values, path)


def from_values(kind: type, values: Any, path: Path) -> Any:
    """The settings from the JSON value of a file."""
    hints = get_type_hints(kind)
    if not isinstance(values, dict) or not values.keys() <= hints.keys():
        unknown = ", ".join(sorted(values.keys() - hints.keys())) if isinstance(values, dict) else type(values).__name__
        raise InputError(f"config must hold settings of {kind.__name__.lower()}; got {path} with {unknown}")
    return kind(**{name: _value(name, value, hints[name], path) for name, value in values.items()})


def _value(name, value, hint, path):
    """A value from JSON as the type of its field: paths come as strings, tuples as lists."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if Path in kinds and isinstance(value, str):
        return Path(value)
    if get_origin(hint) is tuple and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(map(Path, value)) if Path in get_args(hint) else tuple(value)
    if value in get_args(hint) or type(value) in kinds:
        return value
    raise InputError(f"config must hold a setting of type {hint} for {name}; got {value!r} in {path}")
