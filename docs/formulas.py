r"""The formulas of docstrings in TeX: they are written once, as a terminal shows them, and set for the site.

    v <- decay v + eta g, m = v / eta: the previous movement ...     v \leftarrow \mathrm{decay} \, v + \eta g, ...

    formula  =  sum { relation sum }                           =  <-  ->  <=  >=  <  >  ~
    sum      =  [ "-" ] product { ("+" | "-") product }
    product  =  dot { ("*" | "/" | nothing) dot }              from the left: a / b c is (a / b) c
    dot      =  power { "." power }
    power    =  atom [ "^" [ "-" ] atom ]
    atom     =  ( number | name | function list | list | "|" sum "|" | "sum" dot ) { "'" | "_" name | list }
    list     =  "(" formula { "," formula } ")"                a name with a list right behind it is a function of it

A power is that of one atom: (1/2) where it is a fraction.  A sum takes the next factor, in sum_i b_i / sum_i c_i too.
Names are Greek, single letters with what stands below them, or arguments.  What is none of these is prose: it ends the
formula, and a docstring that opens with prose has none.  An indented block with formulas is a table of what stands two
spaces apart, with the formulas among its words set.
"""

import contextlib
import re
from collections.abc import Collection
from typing import Any

GREEK = set(
    re.findall(
        r"\w+", "alpha beta gamma delta epsilon eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega"
    )
)
AROUND = {"sqrt": (r"\sqrt{", "}"), "abs": ("|", "|"), "norm": (r"\|", r"\|"), "floor": (r"\lfloor ", r" \rfloor")}
FUNCTIONS = {"sign", "max", "min", "exp", "log", "cos", "sin", "clip", *AROUND}
WORDS = {"grad": r"\nabla", "eps": r"\varepsilon", "sum": r"\sum", "prod": r"\prod", "max": r"\max", "min": r"\min"}
TOKEN = re.compile(
    r"\s*(\d*\.?\d+(?:e-?\d+)?|[A-Za-z]\w*|_\w+|(?<=\s)\(x\)(?=\s)|<-|->|=>|<=|>=|\.\.\.|[-+*/^=(),<>~|.{}'])"
)
PROSE = re.compile(r" \((?=S\d|[A-Z][a-z]|equal)|; |\. |\.$|: | where | for ")
END = re.compile(r"\s*(?:$|,|with |from )")
RELATIONS = {"=": "=", "<-": r"\leftarrow", "->": r"\to", "=>": r"\Rightarrow"}
RELATIONS |= {"<=": r"\le", ">=": r"\ge", "<": "<", ">": ">", "~": r"\approx"}
APART = re.compile(r"\s+(" + "|".join(RELATIONS) + r")\s+|\s{2,}([-+*])\s{2,}")
SIGN = re.compile(r"[_^|/*+=<>~\[\]]")
LARGE = {"sum", "prod"}
OPERATORS = {"+": "+", "-": "-", "*": r"\,", ".": r"\cdot", "(x)": r"\otimes"}


def opening(doc: str, arguments: Collection[str] = ()) -> list[Any]:
    """The formulas that open a docstring, as trees; none where it opens with prose."""
    paragraph = " ".join(doc.partition("\n\n")[0].split())
    text = PROSE.split(paragraph)[0]
    start = re.search(r"^(?:[A-Z][\w' -]*(?: with|,) )?(?=\S+ (?:=|<-) )", text)
    text = text[start.end() :] if start else text
    found: list[Any] = []
    while text:
        parser = Parser(text, arguments)
        try:
            tree = parser.formula()
        except ValueError:
            break
        rest = text[parser.at :]
        if not END.match(rest) or (found and tree[0] not in RELATIONS) or not telling(tree):
            break
        found.append(tree)
        text = re.sub(r"^\s*,\s*", "", rest) if rest.lstrip().startswith(",") else ""
    return found


def block(lines: list[str], arguments: Collection[str] = ()) -> list[list[str]]:
    """The cells of an indented block as Markdown, in rows of one length; none without a formula."""
    if any(line.startswith(" ") for line in lines):
        return []
    # Two spaces part cells, but for those around an operator, and those after a comma.
    rows = [re.split(r"(?<![,;\s])\s{2,}", APART.sub(r" \1\2 ", line)) for line in lines]
    cells = [[words(" ".join(cell.split()), arguments) for cell in row] for row in rows]
    width = max(map(len, cells))
    return [row + [""] * (width - len(row)) for row in cells] if "$" in str(cells) else []


def words(text: str, arguments: Collection[str]) -> str:
    """Words as Markdown, with the formulas among them set; as they are where a sign of a formula would be left over."""
    said, at = "", 0
    while at < len(text):
        parser = Parser(text[at:], arguments)
        with contextlib.suppress(ValueError):
            tree = parser.formula()
            if SIGN.search(text[at : at + parser.at]) and re.match(r"[\s,;:]|$", text[at + parser.at :]):
                said += f"${tex(tree)}$"
                at += parser.at
        plain = re.match(r"\S*\s*", text[at:])[0]
        if SIGN.search(plain) and "`" not in text:
            return f"`{text}`"
        said += plain
        at += len(plain)
    return said


def telling(tree: Any) -> bool:
    """Whether a tree is a formula, and no two words that could be names: it relates something, or has a number."""
    return tree[0] in RELATIONS or "number" in re.findall(r"'(\w+)'", str(tree))


class Parser:
    """Reads one formula from the start of a text; `at` is where it ends."""

    def __init__(self, text: str, arguments: Collection[str]):
        """Begin at the start of the text."""
        self.text, self.arguments, self.at = text, arguments, 0
        self.inside = False  # of two bars, where the next one is the second

    def peek(self) -> str:
        """The next token, or nothing."""
        found = TOKEN.match(self.text, self.at)
        return found[1] if found else ""

    def take(self, *allowed: str) -> str:
        """The next token, which is one of those allowed."""
        token = self.peek()
        if allowed and token not in allowed:
            raise ValueError(f"expected one of {allowed} at {self.text[self.at :]!r}")
        self.at = TOKEN.match(self.text, self.at).end()
        return token

    def formula(self) -> Any:
        """Sums, related."""
        tree = self.sum()
        while self.peek() in RELATIONS:
            tree = (self.take(), tree, self.sum())
        return tree

    def sum(self) -> Any:
        """Products, added and subtracted."""
        tree = ("negative", self.product()) if self.peek() == "-" and self.take() else self.product()
        while self.peek() in ("+", "-"):
            tree = (self.take(), tree, self.product())
        return tree

    def product(self) -> Any:
        """Powers, multiplied and divided from the left."""
        tree = self.dot()
        while self.peek() in ("*", "/", "(x)") or self.begins():
            sign = self.take() if self.peek() in ("*", "/", "(x)") else "*"
            tree = (sign, tree, self.dot())
        return tree

    def dot(self) -> Any:
        """Inner products."""
        tree = self.power()
        while self.peek() == ".":
            tree = (self.take(), tree, self.power())
        return tree

    def power(self) -> Any:
        """An atom with its marks, and what it is raised to."""
        tree = self.atom()
        while self.peek() == "'" or self.peek().startswith("_") or self.applies(tree):
            token = self.take()
            marked = {"'": ("prime", tree), "(": ("of", tree)}.get(token) or ("below", tree, ("name", token[1:]))
            tree = (*marked, *self.within(")")) if token == "(" else marked
        if self.peek() == "^":
            self.take()
            negative = self.peek() == "-" and self.take()
            exponent = ("name", self.take()) if self.peek() == "+" else self.atom()
            tree = ("^", tree, ("negative", exponent) if negative else exponent)
        return tree

    def applies(self, tree: Any) -> bool:
        """Whether a list stands right behind a name."""
        return tree[0] in ("name", "below", "prime") and self.text.startswith("(", self.at)

    def begins(self) -> bool:
        """Whether an atom begins here."""
        token = self.peek()
        opens = token in ("(", "...") or (token == "|" and not self.inside)
        return opens or bool(re.match(r"\.?\d", token)) or self.known(token)

    def known(self, token: str) -> bool:
        """Whether a token is a function or a name of a formula."""
        head = token.partition("_")[0]
        return (
            token in FUNCTIONS
            or token in self.arguments
            or head.lower() in GREEK
            or (head in WORDS and token not in FUNCTIONS)
            or bool(re.fullmatch("[A-Za-z]\\d?", head))
        )

    def atom(self) -> Any:
        """A number, a name, a function of something, or a sum in brackets."""
        if not self.begins():
            raise ValueError(f"prose at {self.text[self.at :]!r}")
        token = self.take()
        if token == "...":
            return (token,)
        if token == "(":
            return ("()", *self.within(")"))
        if token == "|":
            return ("abs", *self.within("|"))
        if token in FUNCTIONS:
            self.take("(")
            return (token, *self.within(")"))
        if token.endswith("_"):  # what stands below is in brackets, as in mu_(t+1) and mu_{t+1}
            ends = {"(": ")", "{": "}"}[self.take("(", "{")]
            tree = ("below", ("name", token[:-1]), *self.within(ends))
        else:
            tree = ("number", token) if re.match(r"\.?\d", token) else ("name", token)
        return ("large", tree, self.dot()) if token.partition("_")[0] in LARGE else tree

    def within(self, end: str) -> list[Any]:
        """What stands before a closing bracket or bar, in parts between commas."""
        outside, self.inside = self.inside, end == "|"
        parts = [self.formula()]
        while self.peek() == ",":
            self.take()
            parts.append(self.formula())
        self.take(end)
        self.inside = outside
        return parts


def tex(tree: Any) -> str:
    """A tree in TeX."""
    kind, *parts = tree
    if kind == "...":
        return r"\ldots"
    if kind == "prime":
        return f"{tex(parts[0])}'"
    if kind == "number":
        return re.sub(r"e(-?\d+)", r" \\cdot 10^{\1}", parts[0]).removeprefix(r"1 \cdot ")
    if kind == "name":
        return name(parts[0])
    if kind == "large":
        return " ".join(map(tex, parts))
    if kind == "of":
        return tex(parts[0]) + tex(("()", *parts[1:]))
    if kind in RELATIONS:
        return f"{tex(parts[0])} {RELATIONS[kind]} {tex(parts[1])}"
    if kind in OPERATORS:
        return f"{tex(parts[0])} {OPERATORS[kind]} {tex(parts[1])}"
    if kind == "/":
        return rf"\frac{{{bare(parts[0])}}}{{{bare(parts[1])}}}"
    if kind == "^":
        return f"{{{tex(parts[0])}}}^{{{bare(parts[1])}}}"
    if kind == "negative":
        return f"-{tex(parts[0])}"
    if kind == "below":
        return f"{tex(parts[0])}_{{{tex(parts[1])}}}"
    if kind == "()":
        return r"\left(" + ", ".join(map(tex, parts)) + r"\right)"
    before, after = AROUND.get(kind, (rf"\mathrm{{{kind}}}\left(", r"\right)"))
    return before + ", ".join(map(tex, parts)) + after


def bare(tree: Any) -> str:
    """A tree in TeX, without the brackets around it, where a bar or a place tells what belongs together."""
    return tex(tree[1]) if tree[0] == "()" else tex(tree)


def name(token: str) -> str:
    r"""A name in TeX.

    >>> print(name("eta_t"), name("b1"), name("rho_inf"), name("max_rate"))
    \eta_{t} b_{1} \rho_{\infty} \mathrm{max\_rate}
    """
    head, _, below = token.partition("_")
    if not below and re.fullmatch(r"[A-Za-z]\d", token):
        head, below = token
    if head.lower() in GREEK or head in WORDS or len(head) == 1:
        letter = WORDS.get(head) or (f"\\{head}" if head.lower() in GREEK else head)
        below = {"inf": r"\infty"}.get(below, below if len(below) < 2 else rf"\mathrm{{{below}}}")
        return f"{letter}_{{{below}}}" if below else letter
    return r"\mathrm{" + token.replace("_", r"\_") + "}"
