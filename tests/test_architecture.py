"""The house stands: every module has a floor, and imports only from floors below its own.

The rule is read off the syntax trees, so imports inside functions and under TYPE_CHECKING count as well.  Each package
has its own stairs, listed from the top floor down.  Two modules are compared on the stairs of the innermost package
that holds both: `gdlab.problems.saddles` and `gdlab.base` as `problems` and `base` on those of gdlab.  A package's
own `__init__` stands above all of its stairs.
"""

import ast
import functools
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A new module gets its name into one of these lines, above all it imports and below all that import it.
STAIRS = {
    "": ["experiments", "gdlab hessian"],
    "gdlab": [
        "runs comparisons plots",
        "optimizers sweeps",
        "equation",
        "directions scales problems storage",
        "schedules",
        "base progress",
        "operators",
        "pieces matrices models",
        "roots",
        "arguments numerics",
        "ground",
    ],
    "gdlab.ground": [
        "boxes callables checks kept results",
        "lazily compilers convolutions leaves caches words files",
        "jaxprs",
    ],
    "gdlab.runs": [
        "long_run tune",
        "minimize",
        "given chunks identity resumed",
        "loop",
        "objective feed",
        "data effort gradients foreign typed",
    ],
    "gdlab.optimizers": [
        "of_matrices recent",
        "named",
        "rescaled other_points prodigy",
        "wrappers swats inspect",
        "optax_sigmas",
    ],
    "gdlab.comparisons": ["compare", "table figures targets tuning scores", "pairs", "estimates"],
    "gdlab.sweeps": [
        "sweep trials",
        "plan",
        "dataset batching",
        "history algebra",
        "axes fusion elementary lanes template ways workers",
    ],
    "gdlab.scales": ["combinators kron", "matrices moments"],
    "gdlab.schedules": ["cycles of_count of_loss", "base"],
    "gdlab.storage": ["multihost", "store fingerprint"],
    "gdlab.problems": [
        "catalogue",
        "bowls classics clusters digits lattices linear_nets octopus pokemon recovery saddles spins valleys",
        "known_points",
        "landscape",
    ],
    "hessian": [
        "landscapes plots",
        "saddles local_models",
        "verdicts",
        "proofs",
        "steps symmetry",
        "bounds",
        "tolerances",
        "roundoff",
        "spectra",
        "transforms streams",
        "product",
        "precision jaxprs foreign",
        "models",
        "compiled",
        "arguments numerics results",
        "limits",
    ],
    "hessian.saddles": [
        "connect",
        "find_minimum trajectory",
        "rounds with_saddle_escape",
        "negative_curvature",
        "escape flat_directions box_steps perturbed_gd",
    ],
    "hessian.verdicts": [
        "search",
        "critical_points",
        "classify refinement",
        "krylov_evidence",
        "evidence certificate",
        "drift",
    ],
    "hessian.landscapes": ["landscape", "rounds", "graph", "catalogue seek strings", "disconnectivity"],
    "hessian.symmetry": [
        "alignment detection multiplicity slices",
        "congruence",
        "declared",
        "discrete points",
        "generators",
        "parts",
    ],
    "hessian.steps": ["newton_cg sr1_trust_region", "second_order", "trust_region", "acceptance eigenbasis"],
    "hessian.proofs": [
        "prove replay",
        "covered complete",
        "point curvature pauses",
        "record lowering kernels",
        "rules sums equations shifts orbit",
        "tape cover",
        "program",
    ],
    "hessian.proofs.kernels": ["points", "adjoint boxes", "taylor", "balls", "arb arrays", "calculus choices"],
    "hessian.spectra": ["curvature density multiplicity sharpness trace", "spectrum", "bounds", "lanczos", "eigh"],
    "experiments": ["__main__", "commands", "lectures benchmarks playground", "reporting", "workloads", "cli"],
    "experiments.commands": [
        "all experiments verify",  # commands on experiments
        "classify escape landscape map prove",  # commands on a target
        "race sweep merge problems playground report check contest accelerator",
    ],
    "experiments.lectures": [
        "saddle pokemon atlas learning_rates schedules adagrad feature_scaling minibatches taylor momentum adam "
        "amsgrad radam lookahead random_matrices weight_decay autoencoder curriculum exploration adam_or_sgdm "
        "saddle_escapes digits_saddle edge grid nadam batch_size flat_minima hard_to_reach sparse_features "
        "signs adabound switching warmup bias_correction decay_map noise",  # none imports another
    ],
    "experiments.benchmarks": ["sweep_speed"],
    "experiments.playground": [
        "widget",
        "page gallery landscape",
        "live replay",
        "plane template emit",
        "operations special",
        "script",
    ],
    "experiments.reporting": [
        "checks claims contest_report target_report standard_errors",
        "swept",
        "pages",
        "run_folder",
        "endpoints figures legends",
    ],
    "experiments.workloads": [
        "contest blocks",
        "workload optimizers plain_network device_speed device_accuracy",
        "measured tasks tuned_benchmark digits drawn cutest pokemon_valley user_loss",
    ],
    "experiments.cli": ["cache compiling console settings signals stdout"],
}

ROOMS = " ".join(STAIRS[""]).split()
GROUND = ("gdlab.ground", "gdlab.storage")  # on which every room stands

# Libraries that have one place; the modules below these names may import them, no others.
GUESTS = {
    "anywidget": ["experiments.playground.widget"],
    "flint": ["hessian.proofs.kernels"],
    "ival": ["hessian.proofs.kernels"],
    "matfree": ["hessian.spectra.spectrum"],
    "matplotlib": ["gdlab.comparisons.figures", "gdlab.plots", "hessian.plots", "experiments"],
    "xarray": [
        "gdlab.sweeps",
        "gdlab.comparisons",
        "gdlab.runs.minimize",
        "gdlab.plots",
        "hessian.landscapes.graph",
        "experiments",
    ],
}

# Lines of code in a file, and in a function, of gdlab or hessian; docstrings, comments and blank lines are free.
LONGEST = 250
LONGEST_FUNCTION = 60
BY_PLACE = 5  # values of a class that is made


def modules(root: Path) -> dict[str, Path]:
    """The modules of the house by their dotted name; a package is its `__init__`."""
    files = sorted(file for room in ROOMS for file in (root / room).rglob("*.py"))
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


@functools.cache
def parsed(source: str) -> ast.Module:
    """The tree of a source, which several checks look at."""
    return ast.parse(source)


def imports(name: str, house: dict[str, Path]) -> Iterator[str]:
    """The dotted names that a module imports, at any depth: modules of the house in full, and names from outside."""
    is_package = house[name].name == "__init__.py"
    for node in ast.walk(parsed(house[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: len(name.split(".")) - node.level + is_package] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{source}.{alias.name}"
                yield full if full in house else source
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in ("import_module", "__import__"):
                yield str(node.args[0].value)


def within(name: str, package: str) -> bool:
    return not package or name == package or name.startswith(package + ".")


def floor(name: str, package: str) -> int | None:
    """The height on the stairs of a package of the part that holds the module: 0 is the ground, None is nowhere."""
    part = name.removeprefix(package + ".").split(".")[0]
    heights = [height for height, names in enumerate(reversed(STAIRS.get(package, []))) if part in names.split()]
    return heights[0] if heights else None


def modules_without_a_floor(root: Path) -> list[str]:
    house = modules(root)
    lost = [name for name in house if floor(name, name.rpartition(".")[0]) is None]
    return [
        f"{name} has no floor: add {name.rpartition('.')[2]!r} to the stairs of {name.rpartition('.')[0]!r} "
        "in STAIRS of tests/test_architecture.py, above all it imports and below all that import it"
        for name in lost
    ]


def imports_that_climb(root: Path) -> list[str]:
    house = modules(root)
    found = []
    for name in house:
        for target in imports(name, house):
            package, is_ours = name, any(within(target, room) for room in ROOMS)
            while is_ours and not within(target, package):
                package = package.rpartition(".")[0]
            is_ground = package == "" and any(within(target, one) for one in GROUND)
            if not is_ours or (package == name and target != name) or is_ground:
                continue  # A library, what lies in the package of this `__init__`, or the ground of another room.
            here, there = floor(name, package), floor(target, package)
            if target == package:
                found.append(f"{name} imports {target}, the package it is part of")
            elif here is not None and there is not None and there >= here:
                found.append(f"{name} imports {target}, which is not on a lower floor")
    return found


def guests_out_of_place(root: Path) -> list[str]:
    house = modules(root)
    return [
        f"{name} imports {target}, which only {' and '.join(GUESTS[target.split('.')[0]])} may"
        for name in house
        for target in imports(name, house)
        if not any(within(name, place) for place in GUESTS.get(target.split(".")[0], [""]))
    ]


@functools.cache
def lines_of_code(source: str) -> set[int]:
    """The numbers of the lines that hold code: neither blank, nor comment alone, nor part of a docstring."""
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                lines -= set(range(first.lineno, first.end_lineno + 1))
    return lines


def files_too_long(root: Path) -> list[str]:
    counts = {name: len(lines_of_code(file.read_text(encoding="utf-8"))) for name, file in modules(root).items()}
    return [
        f"{name} has {count} lines of code, more than {LONGEST}: give its second thought a file of its own"
        for name, count in counts.items()
        if count > LONGEST and not within(name, "experiments")
    ]


def functions_too_long(root: Path) -> list[str]:
    found = []
    for name, file in modules(root).items():
        if within(name, "experiments"):
            continue
        source = file.read_text(encoding="utf-8")
        lines = lines_of_code(source)
        for node in ast.walk(parsed(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = len(lines & set(range(node.lineno, node.end_lineno + 1)))
                if count > LONGEST_FUNCTION:
                    found.append(f"{name}.{node.name} has {count} lines of code, more than {LONGEST_FUNCTION}")
    return found


def constructions_by_place(root: Path) -> list[str]:
    found = []
    for name, file in modules(root).items():
        for node in ast.walk(parsed(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and not any(isinstance(one, ast.Starred) for one in node.args):
                made = re.split(r"[.\[]", ast.unparse(node.func))[-1].lstrip("_")
                if made.isidentifier() and made[:1].isupper() and len(node.args) > BY_PLACE:
                    found.append(f"{name} makes {made} of {len(node.args)} values by their places: name them")
    return found


def files_misnamed(root: Path) -> list[str]:
    files = [*modules(root).values(), *(root / "tests").rglob("*.py")]
    paths = [file.relative_to(root) for file in files]
    vague = [path for path in paths if any(re.fullmatch(r"utils?(\.py)?", part) for part in path.parts)]
    shadows = [path for path in paths if path.parts[0] == "tests" and path.name == "__init__.py"]
    return [f"{path} is named by no noun: say what it holds" for path in vague] + [
        f"{path} would let a room of the tests hide the package of the same name: delete it" for path in shadows
    ]


CHECKS = [
    modules_without_a_floor,
    imports_that_climb,
    guests_out_of_place,
    files_too_long,
    functions_too_long,
    constructions_by_place,
    files_misnamed,
]


@pytest.mark.full
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_house_has_no(check):
    assert check(ROOT) == []


def test_no_name_stands_on_two_floors():
    for package, floors in STAIRS.items():
        names = " ".join(floors).split()
        assert len(names) == len(set(names)), package


# ------------------------------------------------------------------------------------- the checks, on built houses


def build(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


CODE = "x = 1\n" * LONGEST
FUNCTION = 'def f():\n    """Text."""\n    # comment\n' + "    x = 1\n" * (LONGEST_FUNCTION - 1)

SOUND = {
    "down a floor": {"gdlab/equation.py": "from gdlab.base import Step", "gdlab/base.py": ""},
    "down, as a module of a package": {
        "gdlab/optimizers/named.py": "from gdlab import scales",
        "gdlab/scales/__init__.py": "",
    },
    "down, by a relative path": {"gdlab/equation.py": "from .base import Step", "gdlab/base.py": ""},
    "a package that gathers its own": {
        "gdlab/__init__.py": "from gdlab.sweeps.sweep import sweep",
        "gdlab/sweeps/sweep.py": "",
    },
    "a package that gathers, relatively": {"gdlab/__init__.py": "from . import sweeps", "gdlab/sweeps/__init__.py": ""},
    "a package within a package": {"gdlab/problems/__init__.py": "from gdlab.problems.pokemon import loss"},
    "down, within that package": {"gdlab/problems/saddles.py": "from gdlab.problems.landscape import Surface"},
    "down, out of that package": {"gdlab/problems/saddles.py": "from gdlab.base import Params"},
    "down, into that package": {"gdlab/sweeps/sweep.py": "import gdlab.problems.saddles"},
    "an experiment on both": {
        "experiments/lectures/radam.py": "import gdlab, hessian\nfrom gdlab.sweeps.sweep import sweep"
    },
    "guests in their places": {
        "gdlab/sweeps/sweep.py": "def f():\n    import xarray",
        "hessian/spectra/spectrum.py": "from matfree import decomp",
        "experiments/reporting/figures.py": "import matplotlib.pyplot as plt\nimport xarray",
    },
    "five values, and the rest by name": {
        "gdlab/base.py": "x = Step(1, 2, 3, 4, 5, f=6)\ny = Step(*x, 1, 2, 3, 4, 5, 6)"
    },
    "a function as long as they may be": {"gdlab/base.py": FUNCTION},
    "a long file of one docstring": {"gdlab/base.py": '"""\n' + "text\n" * 400 + '"""\n# comment\n\n' + CODE},
}

BROKEN = {
    "gdlab on hessian": (
        imports_that_climb,
        {"gdlab/runs/minimize.py": "import hessian"},
        "gdlab.runs.minimize imports hessian",
    ),
    "hessian on gdlab": (
        imports_that_climb,
        {"hessian/saddles/escape.py": "from gdlab.runs.minimize import minimize"},
        "lower floor",
    ),
    "gdlab on experiments": (
        imports_that_climb,
        {"gdlab/runs/minimize.py": "import experiments.race"},
        "experiments.race",
    ),
    "up": (
        imports_that_climb,
        {"gdlab/base.py": "import gdlab.runs.minimize"},
        "gdlab.base imports gdlab.runs.minimize",
    ),
    "sideways": (
        imports_that_climb,
        {"gdlab/scales/moments.py": "from gdlab.directions import average"},
        "lower floor",
    ),
    "up, inside a function": (
        imports_that_climb,
        {"gdlab/base.py": "def f():\n    if x:\n        from gdlab.equation import descent"},
        "gdlab.equation",
    ),
    "up, as a module of a package": (
        imports_that_climb,
        {"gdlab/scales/moments.py": "from gdlab import runs", "gdlab/runs/__init__.py": ""},
        "gdlab.scales.moments imports gdlab.runs",
    ),
    "up, by a relative path": (
        imports_that_climb,
        {"hessian/product.py": "from .verdicts import classify"},
        "verdicts",
    ),
    "up, by name": (
        imports_that_climb,
        {"gdlab/base.py": "import importlib\nimportlib.import_module('gdlab.runs.minimize')"},
        "gdlab.runs.minimize",
    ),
    "its own package": (
        imports_that_climb,
        {"gdlab/runs/minimize.py": "from gdlab import adam"},
        "the package it is part of",
    ),
    "its own package, relatively": (
        imports_that_climb,
        {"gdlab/runs/minimize.py": "from . import adam"},
        "the package it is part",
    ),
    "sideways, in a package within": (
        imports_that_climb,
        {"gdlab/problems/bowls.py": "from gdlab.problems.saddles import monkey"},
        "gdlab.problems.saddles",
    ),
    "up, out of a package within": (
        imports_that_climb,
        {"gdlab/problems/bowls.py": "import gdlab.equation"},
        "equation",
    ),
    "up, from the package within": (
        imports_that_climb,
        {"gdlab/problems/__init__.py": "import gdlab.runs.minimize"},
        "gdlab.runs.minimize",
    ),
    "one experiment on another": (
        imports_that_climb,
        {"experiments/lectures/radam.py": "import experiments.lectures.saddle"},
        "saddle",
    ),
    "a helper on an experiment": (
        imports_that_climb,
        {"experiments/reporting/run_folder.py": "import experiments.commands.race"},
        "commands",
    ),
    "a module nobody knows": (
        modules_without_a_floor,
        {"gdlab/novelty.py": ""},
        "add 'novelty' to the stairs of 'gdlab'",
    ),
    "a package nobody knows": (
        modules_without_a_floor,
        {"hessian/extra/__init__.py": ""},
        "hessian.extra has no floor",
    ),
    "a module in such a package": (
        modules_without_a_floor,
        {"hessian/extra/one.py": ""},
        "the stairs of 'hessian.extra'",
    ),
    "xarray downstairs": (
        guests_out_of_place,
        {"gdlab/runs/loop.py": "import xarray as xr"},
        "only gdlab.sweeps and gdlab.comparisons and gdlab.runs.minimize and gdlab.plots and hessian.landscapes.graph",
    ),
    "matplotlib in gdlab": (
        guests_out_of_place,
        {"gdlab/sweeps/sweep.py": "from matplotlib import pyplot"},
        "only gdlab.comparisons.figures and gdlab.plots and hessian.plots and experiments",
    ),
    "matfree elsewhere": (
        guests_out_of_place,
        {"hessian/verdicts/search.py": "import matfree.funm"},
        "only hessian.spectra.spectrum",
    ),
    "too long a file": (files_too_long, {"hessian/product.py": CODE + "y = 2\n"}, "has 251 lines of code"),
    "too long a function": (
        functions_too_long,
        {"hessian/product.py": FUNCTION + "    y = 2\n"},
        "hessian.product.f has 61 lines of code",
    ),
    "too long a method": (
        functions_too_long,
        {"gdlab/base.py": "class A:\n" + textwrap.indent(FUNCTION, "    ") + "        y = 2\n"},
        "gdlab.base.f has 61 lines",
    ),
    "six values without a name": (
        constructions_by_place,
        {"hessian/verdicts/search.py": "x = _End(1, 2, 3, 4, 5, 6)"},
        "hessian.verdicts.search makes End of 6 values by their places",
    ),
    "a text that is no docstring": (
        files_too_long,
        {"gdlab/runs/data.py": 'x = """' + "\n" * LONGEST + '"""'},
        "251 lines",
    ),
    "a drawer": (files_misnamed, {"experiments/utils.py": ""}, "experiments/utils.py is named by no noun"),
    "a drawer in the tests": (files_misnamed, {"tests/test_gdlab/util.py": ""}, "is named by no noun"),
    "a room of the tests as a package": (files_misnamed, {"tests/test_gdlab/__init__.py": ""}, "delete it"),
}


@pytest.mark.parametrize("files", SOUND.values(), ids=SOUND)
def test_a_sound_house_passes(tmp_path, files):
    root = build(tmp_path, files)
    assert [complaint for check in CHECKS for complaint in check(root)] == []


@pytest.mark.parametrize(("check", "files", "complaint"), BROKEN.values(), ids=BROKEN)
def test_a_fault_is_found(tmp_path, check, files, complaint):
    (found,) = check(build(tmp_path, files))
    assert complaint in found
