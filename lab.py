#!/usr/bin/env python3
"""Set up what gdlab needs, inside this folder only, then run it.

    python3 lab.py race ...     an experiment: the same as  python -m experiments race ...
    python3 lab.py test ...     the tests: the same as  python -m pytest ...; all of them on every core
    python3 lab.py test --fast  the quick ones: units, examples, and the laws on one optimizer of each kind of state
    python3 lab.py docs         the documentation as a site: guides with their output, a gallery, every public name

With uv on PATH, uv makes the environment. Otherwise it is a private .venv made with pip, and made again
only when pyproject.toml, the Python, or the place of this folder changes; until then no network is needed.
GDLAB_EXTRAS=cuda in front of a command adds the extra named cuda, which runs on NVIDIA GPUs.
"""
# Standard library only, and syntax of Python 3.6, so that an old Python can still say what is missing.

import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

ROOT = os.path.dirname(os.path.realpath(__file__))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, *(["Scripts", "python.exe"] if os.name == "nt" else ["bin", "python"]))
STAMP = os.path.join(VENV, "gdlab-stamp")


def say(sentence):
    print("lab.py: " + sentence, file=sys.stderr, flush=True)


def extras(asked):
    """The extras to install: always test, docs where they are asked for, and what GDLAB_EXTRAS names."""
    named = set(re.findall(r"[^\s,]+", os.environ.get("GDLAB_EXTRAS", "")))
    return sorted({"test"} | named | ({"docs"} if asked == "docs" else set()))


def fingerprint():
    """A hash of all that the environment depends on: the dependencies, the Python and the folder."""
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        return hashlib.sha256(file.read() + repr((sys.version, sys.base_prefix, ROOT)).encode()).hexdigest()


def is_set_up(needed=("test",)):
    try:
        with open(STAMP) as file:
            stamp = file.read().split()
    except OSError:
        return False
    return os.path.exists(PYTHON) and stamp[:1] == [fingerprint()] and set(needed) <= set(stamp[1:])


def set_up(needed=("test",)):
    """Make .venv from nothing; the stamp comes last, so that an interrupted set-up is done again."""
    say("setting up .venv with pip, once; this takes a minute or two")
    make = [getattr(sys, "_base_executable", None) or sys.executable, "-m", "venv", "--clear"]
    pip = [PYTHON, "-m", "pip"]
    if subprocess.call([*make, VENV], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) != 0:
        # A Python without ensurepip cannot put pip into .venv, but its own pip can install from outside.
        subprocess.check_call([*make, "--without-pip", VENV], stdout=sys.stderr)
        pip = [sys.executable, "-m", "pip", "--python", PYTHON]
    # Without --no-compile pip spends half of its time on byte code that Python writes at first import.
    pip += ["install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    pip += ["--editable", f".[{','.join(needed)}]"]
    subprocess.check_call(pip, cwd=ROOT, env=dict(os.environ, PIP_USER="0"), stdout=sys.stderr)
    with open(STAMP, "w") as file:
        file.write("\n".join([fingerprint(), *needed]))


def tests(arguments):
    """What pytest is asked for: all tests, the quick ones, or what the arguments say."""
    if arguments not in ([], ["--fast"]):
        return arguments
    quick = ["-m", "not full"] if arguments else []
    return [*quick, "-n", "auto", "--maxprocesses", "4", "--dist", "worksteal"]


def command(arguments):
    """The command line that does what the arguments ask for, set up first where that is needed."""
    needed = extras(arguments[0])
    if arguments[0] == "test":
        module = ["-m", "pytest", *tests(arguments[1:])]
    elif arguments[0] == "docs":
        module = [os.path.join(ROOT, "docs", "build.py"), *arguments[1:]]
    else:
        module = ["-m", "experiments", *arguments]
    uv = shutil.which("uv")  # Asked before the Python's version, because uv can supply a newer Python.
    if uv:
        if not os.path.isdir(VENV):
            say("setting up .venv with uv, once; this takes a minute or two")
        named = [word for extra in needed for word in ("--extra", extra)]
        return [uv, "run", "--quiet", "--project", ROOT, *named, "python", *module]
    if sys.version_info < (3, 11):
        say("gdlab needs Python 3.11 or newer, or uv on PATH; this is Python {}.{}.".format(*sys.version_info))
        sys.exit(2)
    if not is_set_up(needed):
        set_up(needed)
    return [PYTHON, *module]


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0
    try:
        words = command(arguments)
    except subprocess.CalledProcessError as error:
        say("the set-up failed. It needs pip or uv, a network the first time, and write access to " + ROOT + ".")
        return error.returncode
    except KeyboardInterrupt:
        say("the set-up was interrupted; the next command does it again.")
        return 130
    if arguments[0] == "test":
        os.chdir(ROOT)  # Paths given to the tests are those of this folder; experiments write where they are called.
    variables = dict(os.environ, GDLAB_LAUNCHER="python3 " + shlex.quote(sys.argv[0]))  # Messages name what was called.
    if os.name == "posix":
        os.execve(words[0], words, variables)  # The same process goes on: signals and the exit status need no care.
    process = subprocess.Popen(words, env=variables)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the child too, and the child decides.
    return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
