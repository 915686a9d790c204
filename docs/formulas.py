r"""The formula that opens a docstring, in TeX: it is written once, as a terminal shows it, and set for the site.

    v <- decay v + eta g, m = v / eta: the previous movement ...     v \leftarrow \mathrm{decay} \, v + \eta g, ...

    formula  =  sum { ("=" | "<-") sum }
    sum      =  [ "-" ] product { ("+" | "-") product }
    product  =  power { ("*" | "/" | nothing) power }          from the left: a / b c is (a / b) c
    power    =  atom [ "^" [ "-" ] atom ]
    atom     =  number | name | function "(" sum { "," sum } ")" | "(" sum ")"

Names are Greek, single letters with what stands below them, or arguments.  What is none of these is prose: it ends the
formula, and a docstring that opens with prose has none.
"""

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
TOKEN = re.compile(r"\s*(\d*\.?\d+|[A-Za-z]\w*|<-|[-+*/^=(),])")
PROSE = re.compile(r" \((?=S\d|[A-Z][a-z]|equal)|; |\. |\.$|: | where | for ")
END = re.compile(r"\s*(?:$|,|with |from )")
RELATIONS = {"=": "=", "<-": r"\leftarrow"}


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


def telling(tree: Any) -> bool:
    """Whether a tree is a formula, and no two words that could be names: it relates something, or has a number."""
    return tree[0] in RELATIONS or "number" in re.findall(r"'(\w+)'", str(tree))


class Parser:
    """Reads one formula from the start of a text; `at` is where it ends."""

    def __init__(self, text: str, arguments: Collection[str]):
        """Begin at the start of the text."""
        self.text, self.arguments, self.at = text, arguments, 0

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
        tree = self.power()
        while self.peek() in ("*", "/") or self.begins():
            sign = self.take() if self.peek() in ("*", "/") else "*"
            tree = (sign, tree, self.power())
        return tree

    def power(self) -> Any:
        """An atom, and what it is raised to."""
        tree = self.atom()
        if self.peek() == "^":
            self.take()
            negative = self.peek() == "-" and self.take()
            exponent = self.atom()
            tree = ("^", tree, ("negative", exponent) if negative else exponent)
        return tree

    def begins(self) -> bool:
        """Whether an atom begins here."""
        token = self.peek()
        return token == "(" or bool(re.match(r"[\d.]", token)) or self.known(token)

    def known(self, token: str) -> bool:
        """Whether a token is a function or a name of a formula."""
        head = token.partition("_")[0]
        return (
            token in FUNCTIONS or token in self.arguments or head in GREEK or bool(re.fullmatch("[A-Za-z]\\d?", head))
        )

    def atom(self) -> Any:
        """A number, a name, a function of something, or a sum in brackets."""
        if not self.begins():
            raise ValueError(f"prose at {self.text[self.at :]!r}")
        token = self.take()
        if token == "(":
            tree = ("()", self.sum())
            self.take(")")
            return tree
        if token in FUNCTIONS:
            self.take("(")
            inside = [self.sum()]
            while self.peek() == ",":
                self.take()
                inside.append(self.sum())
            self.take(")")
            return (token, *inside)
        if token.endswith("_"):  # what stands below is in brackets, as in mu_(t+1)
            self.take("(")
            below = self.sum()
            self.take(")")
            return ("below", ("name", token[:-1]), below)
        return ("number", token) if re.match(r"[\d.]", token) else ("name", token)


def tex(tree: Any) -> str:
    """A tree in TeX."""
    kind, *parts = tree
    if kind == "number":
        return parts[0]
    if kind == "name":
        return name(parts[0])
    if kind in RELATIONS:
        return f"{tex(parts[0])} {RELATIONS[kind]} {tex(parts[1])}"
    if kind in ("+", "-"):
        return f"{tex(parts[0])} {kind} {tex(parts[1])}"
    if kind == "*":
        return rf"{tex(parts[0])} \, {tex(parts[1])}"
    if kind == "/":
        return rf"\frac{{{bare(parts[0])}}}{{{bare(parts[1])}}}"
    if kind == "^":
        return f"{{{tex(parts[0])}}}^{{{bare(parts[1])}}}"
    if kind == "negative":
        return f"-{tex(parts[0])}"
    if kind == "below":
        return f"{tex(parts[0])}_{{{tex(parts[1])}}}"
    if kind == "()":
        return rf"\left({tex(parts[0])}\right)"
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
    if head in GREEK or len(head) == 1:
        letter = f"\\{head}" if head in GREEK else head
        below = {"inf": r"\infty"}.get(below, below if len(below) < 2 else rf"\mathrm{{{below}}}")
        return f"{letter}_{{{below}}}" if below else letter
    return r"\mathrm{" + token.replace("_", r"\_") + "}"
