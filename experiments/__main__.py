"""The command line: `gdlab COMMAND [flags]`, or `python -m experiments COMMAND [flags]`.

Flags are made from the settings of each command by tyro; a command's module is imported only when it runs, so that
`--help` answers without jax.  Results go to stdout, bars and sentences to stderr.  The exit status:

    0      all is well
    1      the results are written, but a check failed, or what only shows them, such as a figure, could not be made
    2      bad input, one sentence on stderr
    130    interrupted
"""

import contextlib
import difflib
import importlib
import io
import os
import re
import shutil
import sys
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from .cli import settings, signals
from .cli.cache import keep_compiled
from .cli.settings import COMMANDS, PLACED, InputError, in_one_line
from .cli.stdout import Output


def usage() -> str:
    """The commands with what each does, and the experiments with the question of each, in the terminal's width."""
    width = max(shutil.get_terminal_size((10_000, 1)).columns, 60)
    asked = settings.experiments()
    lines = [f"usage: {settings.command()} COMMAND [--help] [flags]", "", "commands:"]
    for name in (name for name in COMMANDS if name not in asked):
        lines += textwrap.wrap(f"  {name:16} {settings.help_of(name)}", width, subsequent_indent=" " * 19)
    lines += ["", "experiments:"]
    for name in asked:
        words = textwrap.shorten(settings.question(name), width - 19, placeholder=" ...")
        lines.append(f"  {name:16} {words}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    signals.listen()
    with contextlib.redirect_stdout(Output(sys.stdout)) as output, warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print("note:", in_one_line(str(message)), file=sys.stderr)
        status = run(argv)
    return output.closed_with(status)


def run(argv: Sequence[str]) -> int:
    """Run one command; what is wrong is one sentence on stderr."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    try:
        name, *flags = run_of(argv[2:]) if argv[:2] == ["experiments", "run"] else argv
        if name not in COMMANDS:
            near = difflib.get_close_matches(name, list(COMMANDS), 1)
            meant = f": did you mean {near[0]}?" if near else ""
            raise InputError(f"the command must be one of {', '.join(COMMANDS)}; got {name!r}{meant}")
        chosen = parse(name, flags)
        settings.countable_seed(getattr(chosen, "seed", 0))
        if getattr(chosen, "pgf", False) and not shutil.which("xelatex"):
            raise InputError("pgf must be left out where there is no xelatex: PGF is made by LaTeX")
        os.environ.setdefault("JAX_ENABLE_X64", "1")  # verdicts need float64
        keep_compiled()
        return importlib.import_module(settings.module_of(name)).main(chosen)
    except InputError as error:
        print("error:", in_one_line(str(error), 2000), file=sys.stderr)
        return 2
    except OSError as error:  # a name that is too long, a folder that vanished, a disk that fails
        name = str(error.filename or "")
        print(f"error: a file cannot be used; {name[:80]}: {str(error.strerror or error).lower()}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:  # JAX's own for too little memory is a RuntimeError
        if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print(f"error: this takes more memory than there is; {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"interrupted: {str(stop) or 'nothing was written'}", file=sys.stderr)
        return 130


def run_of(argv: Sequence[str]) -> Sequence[str]:
    """The command that `experiments run` and these words stand for: that of the experiment itself."""
    names = ("all", *settings.experiments())
    if not argv or argv[0] not in names:
        raise InputError(
            f"{settings.command()} experiments run takes one of {', '.join(names)}; got {argv[0] if argv else 'none'!r}"
        )
    return argv


def parse(name: str, flags: Sequence[str]) -> object:
    """The settings that the flags of a command say; those of `--config FILE` first, when it is there."""
    import tyro

    kind = COMMANDS[name]
    placed = [field.name for field in fields(kind) if field.name in PLACED]
    if placed and flags and not flags[0].startswith("-"):
        flags = [f"--{placed[0]}", *flags]
    default = None
    for i, flag in enumerate(flags):
        if flag == "--config" or flag.startswith("--config="):
            value = flag.partition("=")[2] or next(iter(flags[i + 1 :]), "")
            default = settings.from_json(kind, Path(value))
    said, called = io.StringIO(), f"{settings.command()} {name}"
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=list(flags), default=default, prog=called, description=settings.help_of(name))
    except SystemExit as end:
        if end.code == 0:  # --help
            raise
        known = [f"--{field.name.replace('_', '-')}" for field in fields(kind)]
        raise InputError(f"flags must be those of `{called} --help`; {_sentence(said.getvalue(), known)}") from None


def _sentence(box: str, known: Sequence[str]) -> str:
    """What a box of tyro says of flags, without its frame, its title, its hints and what each flag is for."""
    lines = [re.sub(r"[^\x20-\x7e]", " ", line).strip() for line in box.splitlines()]
    parts = re.split(r"\n-{5,}", "\n".join(line for line in lines if line and not re.fullmatch(r"[+| -]*", line)))
    words = " ".join(" ".join(parts[0].split("\n")[1:]).replace("|", " ").split())
    words = re.split(r" ?(?:For full helptext|Argument helptext|Got errors:)", words)[0]
    strangers = re.search(r"Unrecognized options: (.*?)(?= Perhaps you meant| Arguments similar|$)", words)
    wanted = re.search(r"Missing from (.*?)(?= Unrecognized options|$)", words)
    lacking = [flag for flag in re.findall(r"--[\w-]+", wanted[1]) if flag in known] if wanted else []
    said = [f"missing: {', '.join(lacking)}"] if lacking else []
    said += [f"unknown: {', '.join(_alike(word, known) for word in strangers[1].split(', '))}"] if strangers else []
    return "; ".join(said) or words or "they cannot be read"


def _alike(word: str, known: Sequence[str]) -> str:
    """A flag that there is not, with the one that may be meant."""
    near = difflib.get_close_matches(word, known, 1, 0.75) if word.startswith("--") else []
    return f"{word} (did you mean {near[0]}?)" if near else word


if __name__ == "__main__":
    sys.exit(main())
