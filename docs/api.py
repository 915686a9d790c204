"""The pages of the API: every public name of gdlab and hessian, from its docstring, grouped as the house is.

A page is a package or a file of a room, a section one of its modules, an entry a name: signature, what its docstring
says, the fields of its results with their comments, its methods.  Sphinx links each to its source.
"""

import ast
import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Collection, Iterator
from types import ModuleType
from typing import Any

import formulas  # beside this file

import gdlab
import hessian

ROOMS = (gdlab, hessian)
SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes):\n((?:[ ]{2,}.*\n?|\n)+)", re.MULTILINE)
ENTRY = re.compile(r"^    (\S.*?):(?: |$)(.*(?:\n(?:     +.*)?)*)", re.MULTILINE)
BLOCK = re.compile(r"(?<=\n)\n(?:    \S.*\n)+(?=\n|\Z)")
SAYS = {"Args": "Arguments", "Returns": "Returns", "Raises": "Raises", "Yields": "Yields", "Attributes": "Attributes"}


@functools.cache
def public() -> dict[str, Any]:
    """Every public name, dotted as it is called, with what it names; modules stand for the names in them."""
    found = {}
    for room in ROOMS:
        for name in room.__all__:
            value = getattr(room, name)
            if isinstance(value, ModuleType):
                found |= {f"{value.__name__}.{inner}": getattr(value, inner) for inner in value.__all__}
            else:
                found[f"{room.__name__}.{name}"] = value
    return found


def home(name: str, value: Any) -> str:
    """The module that a public name is defined in; that of a constant is the module that offers it."""
    defined = getattr(value, "__module__", "") or ""
    return defined if defined.split(".")[0] in ("gdlab", "hessian") else name.rpartition(".")[0]


def pages() -> dict[str, str]:
    """The Markdown of each page by its path, and of their index."""
    grouped: dict[str, dict[str, list[str]]] = {}
    names = public()
    for name, value in names.items():
        module = home(name, value)
        grouped.setdefault(".".join(module.split(".")[:2]), {}).setdefault(module, []).append(name)
    written = {f"api/{group}.md": page(group, modules, names) for group, modules in sorted(grouped.items())}
    return {"api/index.md": index(grouped), **written}


def index(grouped: dict[str, dict[str, list[str]]]) -> str:
    """The page that lists all names, by room and group."""
    lines = ["# API", "", "Every public name, grouped as the house is.", ""]
    for room in ROOMS:
        groups = sorted(group for group in grouped if group.split(".")[0] == room.__name__)
        lines += [f"## {room.__name__}", "", summary(inspect.getdoc(room) or ""), "", "| part | names |", "|---|---|"]
        for group in groups:
            inside = [name for module in grouped[group].values() for name in module]
            listed = ", ".join(f"{{py:obj}}`{name.rpartition('.')[2]} <{name}>`" for name in inside)
            lines.append(f"| [{group}]({group}.md) | {listed} |")
        lines += ["", "```{toctree}", ":hidden:", "", *groups, "```", ""]
    return "\n".join(lines)


def page(group: str, modules: dict[str, list[str]], names: dict[str, Any]) -> str:
    """The page of a part of a room."""
    said = [f"# {group}", ""]
    if group not in modules:
        said += [prose(inspect.getdoc(sys.modules[group]) or "", group.split(".")[0]), ""]
    for module in sorted(modules):
        if module != group:
            said += [f"## {module}", ""]
        said += [prose(inspect.getdoc(sys.modules[module]) or "", group.split(".")[0], names_in(module)), ""]
        said += [entry(name, names[name]) for name in sorted(modules[module], key=str.lower)]
    return "\n".join(said) + "\n"


def entry(name: str, value: Any) -> str:
    """A name with its signature and what is known of it."""
    module, _, short = name.rpartition(".")
    room = name.split(".")[0]
    if inspect.isclass(value):
        said = (inspect.getdoc(value) or "").partition("\n\nAttributes:\n")[0]  # the table of fields says them
        kind, words, inside = "class", f"{short}{signature(value)}", [prose(said, room)]
        inside += [fields(value), *members(value, room)]
    elif callable(value):
        kind, words, inside = "function", f"{short}{signature(value)}", [prose(inspect.getdoc(value) or "", room)]
    else:
        kind, words, inside = "data", short, [f"Its value is `{textwrap.shorten(repr(value), 200)}`."]
    inside.insert(0, formula(value))
    inside.append(elsewhere(name, value))
    source = aside(name, value)
    if source:  # a name whose module Sphinx is not told, so that it makes no link
        return directive(kind, f"{module}.{words}", "", "\n\n".join(filter(None, [*inside, source])), 6)
    return directive(kind, words, f":module: {module}\n", "\n\n".join(filter(None, inside)), 6)


def has_example(value: Any) -> bool:
    """Whether the docstring of a name shows it at work."""
    return ">>> " in (inspect.getdoc(value) or "")


def seen_in(name: str) -> list[str]:
    """The functions and classes with an example whose code has a name; else those that have what has it."""

    def shown(others: list[str]) -> list[str]:
        return [other for other in others if has_example(public()[other])]

    users = having(name)
    return shown(users) or sorted({further for user in users for further in shown(having(user))})


def having(name: str) -> list[str]:
    """The public names of the same room whose code has a name."""
    word = re.compile(rf"\b{name.rpartition('.')[2]}\b")
    others = [other for other in public() if other.split(".")[0] == name.split(".")[0] and other != name]
    return [other for other in others if word.search(code(other))]


@functools.cache
def code(name: str) -> str:
    """The source of a function or class without its docstring, nothing where there is none."""
    node = written(public()[name])
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        return ""
    node.body = node.body[1:] or node.body
    return ast.unparse(node)


def elsewhere(name: str, value: Any) -> str:
    """Links to where a name without an example of its own is seen at work."""
    if not callable(value) or has_example(value):
        return ""
    links = [f"{{py:obj}}`{other.rpartition('.')[2]} <{other}>`" for other in seen_in(name)[:4]]
    return f"At work in {', '.join(links)}."


def formula(value: Any) -> str:
    """The formula that opens a docstring, set; nothing where it opens with prose."""
    if not callable(value):
        return ""
    found = formulas.opening(inspect.getdoc(value) or "", list(inspect.signature(value).parameters))
    return "$$\n" + r", \quad ".join(map(formulas.tex, found)) + "\n$$" if found else ""


def aside(name: str, value: Any) -> str:
    """A link to the source of a name, where Sphinx makes none; elsewhere nothing.

    Sphinx knows one prefix for all names of a module, and some of `gdlab.base` are offered as `gdlab.scales.Scale` is.
    """
    prefixes = {full.rpartition(".")[0] for full, other in public().items() if home(full, other) == home(name, value)}
    if name.rpartition(".")[0] == min(prefixes, key=len) or not callable(value):
        return ""
    return f'<a href="../_modules/{home(name, value).replace(".", "/")}.html">[source]</a>\n'


def directive(kind: str, words: str, options: str, inside: str, colons: int) -> str:
    """A directive of Sphinx's Python domain."""
    fence = ":" * colons
    return f"{fence}{{py:{kind}}} {words}\n{options}\n{inside}\n{fence}\n"


def signature(value: Any) -> str:
    """The signature as it is written; that of a dataclass from its fields."""
    node = None if inspect.isclass(value) else written(value)
    if isinstance(node, ast.FunctionDef):
        return f"({ast.unparse(node.args)})" + (f" -> {ast.unparse(node.returns)}" if node.returns else "")
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in found.parameters.values()]
    if any(" object at 0x" in repr(one.default) for one in bare):
        bare = [one.replace(default=inspect.Parameter.empty) for one in bare]
    return str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def written(value: Any) -> ast.AST | None:
    """The syntax tree of a function or class, where it has a source."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value)))).body[0]
    except (OSError, TypeError, SyntaxError):
        return None


def fields(value: type) -> str:
    """The fields of a class with the comments beside them, which tell shapes and units."""
    node = written(value)
    if not isinstance(node, ast.ClassDef):
        return ""
    lines = textwrap.dedent(inspect.getsource(value)).splitlines()
    rows = []
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            comment = lines[part.end_lineno - 1][part.end_col_offset :].partition("#")[2]
            comment = re.sub(r"type: ignore\[[\w-]+\]\s*#?\s*", "", comment).strip()
            type_ = ast.unparse(part.annotation)
            rows.append(f"| `{part.target.id}` | `{type_.replace('|', 'or')}` | {cell(comment)} |")
        elif isinstance(part, ast.Assign) and isinstance(part.value, ast.Constant) and part.targets[0].id[0] != "_":
            rows.append(f"| `{part.targets[0].id}` | | {cell(str(part.value.value))} |")
    return "\n".join(["| field | type | |", "|---|---|---|", *rows]) if rows else ""


def cell(text: str) -> str:
    """A text that may stand in a table."""
    return text.replace("|", "\\|")


def members(value: type, room: str) -> Iterator[str]:
    """The public methods and properties that a class itself defines and documents."""
    for name, member in vars(value).items():
        said = inspect.getdoc(member) if not name.startswith("_") else None
        if isinstance(member, property) and said:
            yield directive("property", name, "", prose(said, room), 4)
        elif inspect.isfunction(member) and said and written(member) is not None:
            words = signature(member).replace("(self, ", "(").replace("(self)", "()")
            yield directive("method", f"{name}{words}", "", prose(said, room), 4)


def prose(doc: str, room: str = "", arguments: Collection[str] = ()) -> str:
    """A docstring as Markdown: its sections as lists, its examples as blocks with their output, its names as links."""
    doc = SECTION.sub(section, doc.strip() + "\n")
    doc = BLOCK.sub(lambda found: set_block(found[0], arguments), doc)
    doc = re.sub(r"(?<!`)`([\w.]+)(\([^`]*\))?`(?!`)", lambda found: linked(found, room), doc)
    return re.sub(r"^>>> (?:.*\n?)+?(?=\n|\Z)", lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", doc, flags=re.M)


def set_block(text: str, arguments: Collection[str]) -> str:
    """An indented block as a table of formulas, where it has some; one line of them as a paragraph."""
    rows = formulas.block(textwrap.dedent(text).strip("\n").split("\n"), arguments)
    if not rows:
        return text
    if len(rows) == 1:
        return "\n" + " \N{EM SPACE} ".join(rows[0]) + "\n"
    listed = "\n".join("* - " + "\n  - ".join(row) for row in rows)
    return f"\n::::{{list-table}}\n:class: formulas\n\n{listed}\n::::\n"


def names_in(module: str) -> set[str]:
    """The names of what the functions and classes of a module are given."""
    inside = [value for value in vars(sys.modules[module]).values() if getattr(value, "__module__", "") == module]
    return {name for value in inside if callable(value) for name in inspect.signature(value).parameters}


def section(found: re.Match) -> str:
    """A section of a docstring as a list."""
    name, body = found[1], found[2].rstrip()
    entries = ENTRY.findall(textwrap.indent(textwrap.dedent(body), "    ") + "\n")
    if name in ("Returns", "Yields") or not entries:
        return f"**{SAYS[name]}**\n\n{textwrap.dedent(body)}\n\n"
    listed = [f"- `{arg}`: {' '.join(text.split())}" for arg, text in entries]
    return f"**{SAYS[name]}**\n\n" + "\n".join(listed) + "\n\n"


def linked(found: re.Match, room: str) -> str:
    """A name in backticks as a link to its entry, where it is a public name of the room or of another one."""
    name = found[1]
    short = [full for full in public() if full.startswith(f"{room}.") and full.rpartition(".")[2] == name]
    targets = [name] if name in public() else short if room and len(short) == 1 else []
    return f"{{py:obj}}`{found[0][1:-1]} <{targets[0]}>`" if targets else found[0]


def summary(doc: str) -> str:
    """The first line of a docstring."""
    return doc.partition("\n")[0]
