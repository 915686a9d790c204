"""Names of a package that are imported where they are first asked for, because most programs use few of them."""

import ast
import functools
import importlib
import linecache
from collections.abc import Callable
from typing import Any

__all__ = ["asked_for"]


def asked_for(package: dict[str, Any]) -> Callable[[str], Any]:
    """The `__getattr__` of a package, given its globals: what it imports for type checkers alone, and its modules."""
    own = package["__name__"]

    def __getattr__(name: str) -> Any:
        home = _homes(package["__file__"]).get(name, own)
        module = f"{own}.{name}" if home == own else home
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:  # a library that is missing
                raise
            msg = f"module {own!r} has no attribute {name!r}"
            raise AttributeError(msg) from None
        return package.setdefault(name, found if home == own else getattr(found, name))

    return __getattr__


@functools.cache
def _homes(file: str) -> dict[str, str]:
    """The module of each name that a file imports, read off there: so it stands once."""
    tree = ast.parse("".join(linecache.getlines(file)))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in found for alias in node.names}
