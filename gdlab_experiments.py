"""The folder `experiments` under the name by which it is installed: a user's own `experiments` never hides it."""

from pathlib import Path

__path__ = [str(Path(__file__).parent / "experiments")]
