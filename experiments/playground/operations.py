"""The expression of every operation on numbers, and the reductions, products and choices that are made of them."""

import math
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..playground.script import WRAPS, Big, Refused, Script, shaped

# One number to one, of floats.
FUNCTIONS = {
    **{name: f"Math.{name}({{}})" for name in ("exp", "expm1", "log", "log1p", "sin", "cos", "tan", "asin", "acos")},
    **{name: f"Math.{name}({{}})" for name in ("atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sqrt")},
    **{name: f"Math.{name}({{}})" for name in ("cbrt", "floor", "ceil", "sign", "abs")},
    "neg": "-{}",
    "square": "{0}*{0}",
    "one_minus_square": "(1-{0})*(1+{0})",
    "rsqrt": "1/Math.sqrt({})",
    "exp2": "Math.pow(2,{})",
    "logistic": "1/(1+Math.exp(-{}))",
    "is_finite": "Number.isFinite({})",
}
PAIRS = {"add": "{}+{}", "add_any": "{}+{}", "sub": "{}-{}", "mul": "{}*{}", "div": "{}/{}", "rem": "{}%{}"}
FLOATS = {
    "max": "Math.max({},{})",
    "min": "Math.min({},{})",
    "pow": "F_.pow({},Number({}))",
    "atan2": "Math.atan2({},{})",
}
BITS = {"and": "{}&{}", "or": "{}|{}", "xor": "{}^{}", "not": "~{}"}
TRUTHS = {"and": "{}&&{}", "or": "{}||{}", "xor": "{}!=={}", "not": "!{}", "max": "{}||{}", "min": "{}&&{}"}
TRUTHS |= {"mul": "{}&&{}", "add": "{}||{}"}
COMPARED = {"eq": "{}==={}", "ne": "{}!=={}", "lt": "{}<{}", "le": "{}<={}", "gt": "{}>{}", "ge": "{}>={}"}
# By the order in which arrays are sorted: -0 before 0, and after all numbers what is none.
COMPARED["lt_to"] = "{0}<{1}||({1}!=={1}&&{0}==={0})||({0}===0&&{1}===0&&1/Number({0})<1/Number({1}))"
COMPARED["le_to"] = "{0}<{1}||{1}!=={1}||({0}==={1}&&!({0}===0&&1/Number({0})>1/Number({1})))"
WHOLE = {
    "max": "{0}>{1}?{0}:{1}",
    "min": "{0}<{1}?{0}:{1}",
    "abs": "{0}<0?-{0}:{0}",
    "sign": "Math.sign({})",
    "square": "{0}*{0}",
}
RANGES = {"int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1), "int64": (-(2**63), 2**63 - 1)}
RANGES |= {"uint64": (0, 2**64 - 1)}
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # of threefry2x32 (Salmon et al. 2011)
PARITY = 0x1BD11BDA


class Operations:
    """What is made of atoms, one operation after another."""

    def __init__(self, script: Script):
        self.script = script

    def wrapped(self, kind: str, text: str, *atoms: Any) -> Any:
        """The variable that holds an expression of a type."""
        return self.script.make(WRAPS[kind].format(text) if WRAPS[kind] != "{}" else text, *atoms)

    def choose(self, which: Any, yes: Any, no: Any) -> Any:
        """Arrays of atoms: the one or the other, by a truth, which may be one for each."""
        whiches = np.broadcast_to(np.asarray(which, object), yes.shape).flat
        made = [
            (a if w else b) if not isinstance(w, str) else a if _same(a, b) else self.script.make("{}?{}:{}", w, a, b)
            for w, a, b in zip(whiches, yes.flat, no.flat, strict=True)
        ]
        return shaped(made, yes.shape)

    def add(self, kind: str, a: Any, b: Any) -> Any:
        """The sum of two atoms; what is nothing is not added, as XLA does."""
        return self.pair("add", kind, a, b)

    def pair(self, name: str, kind: str, a: Any, b: Any) -> Any:
        """One atom of two."""
        if name in ("add", "add_any") and _is(a, 0):
            return b
        if name in ("add", "add_any", "sub") and _is(b, 0):
            return a
        if name == "mul" and (_is(a, 1) or _is(b, 1)):
            return b if _is(a, 1) else a
        if name == "div" and _is(b, 1):
            return a
        return self.wrapped(kind, self.expression(name, kind), a, b)

    def expression(self, name: str, kind: str) -> str:
        """The expression of an operation on numbers of a type; `Refused` where it has none."""
        floats = kind.startswith("float")
        tables: list[dict[str, str]] = [FUNCTIONS, FLOATS, PAIRS] if floats else [WHOLE, BITS, PAIRS]
        tables = [TRUTHS] if kind == "bool" else tables
        text = next((table[name] for table in tables if name in table), None)
        if not floats and kind != "bool":
            if name == "neg":
                text = "-{}"
            if name == "mul" and not kind.endswith("64"):
                text = "Math.imul({},{})"
            if name == "sign" and kind.endswith("64"):
                text = "BigInt(({0}>0n)-({0}<0n))"
            zero, ones = ("0n", "-1n") if kind.endswith("64") else ("0", "-1")
            if name == "div":
                text = f"{{1}}==={zero}?{ones}:{{0}}/{{1}}"
            if name == "rem":
                text = f"{{1}}==={zero}?{{0}}:{{0}}%{{1}}"
        if text is None:
            msg = f"{name} has no rule here"
            raise Refused(msg)
        return text

    def elementwise(self, equation: Any, inputs: list[np.ndarray]) -> np.ndarray:
        """An operation that makes one number of one or two, number by number."""
        name, kind = equation.primitive.name, jnp.dtype(equation.outvars[0].aval.dtype).name
        of = jnp.dtype(equation.invars[0].aval.dtype).name
        shape = equation.outvars[0].aval.shape
        try:
            inputs = [np.broadcast_to(one, shape) for one in inputs]
        except ValueError:  # it is not made number by number
            inputs = []
        if len(inputs) not in (1, 2) or len(equation.outvars) > 1:
            msg = f"{name} has no rule here"
            raise Refused(msg)
        rows = list(zip(*(one.flat for one in inputs), strict=True))
        if name in COMPARED:
            made = [self.script.make(COMPARED[name], *row) for row in rows]
        elif name == "is_finite":
            made = [self.script.make(FUNCTIONS[name], *row) for row in rows]
        elif name == "pow" and not kind.startswith("float"):
            msg = f"{name} of whole numbers has no rule here"
            raise Refused(msg)
        elif len(inputs) == 2:
            made = [self.pair(name, kind, *row) for row in rows]
        else:
            made = [self.wrapped(kind, self.expression(name, of), *row) for row in rows]
        return shaped(made, shape)

    # -------------------------------------------------------------------------------- operations with a parameter

    def _integer_pow(self, equation, one):
        power, kind = equation.params["y"], jnp.dtype(equation.outvars[0].aval.dtype).name
        made = shaped([self._power(kind, a, abs(power)) for a in one.flat], one.shape)
        if power < 0:
            made = shaped([self.wrapped(kind, "1/{}", a) for a in made.flat], one.shape)
        return made

    def _power(self, kind, atom, power):
        """By repeated squares."""
        out: Any = 1.0 if kind.startswith("float") else 1
        while power:
            out = self.pair("mul", kind, out, atom) if power & 1 else out
            power >>= 1
            atom = self.pair("mul", kind, atom, atom) if power else atom
        return out

    def _polynomial(self, equation, one, *coefficients):
        """By Horner's rule; the constant comes first."""
        kind, shape = jnp.dtype(equation.outvars[0].aval.dtype).name, equation.outvars[0].aval.shape
        one, *terms = (np.broadcast_to(given, shape) for given in (one, *coefficients))
        out = terms[-1]
        for more in terms[-2::-1]:
            rows = zip(out.flat, one.flat, more.flat, strict=True)
            out = shaped([self.add(kind, self.pair("mul", kind, a, x), b) for a, x, b in rows], shape)
        return out

    def _round(self, equation, one):
        text = "F_.even({})" if int(equation.params["rounding_method"]) else "F_.away({})"
        return shaped([self.script.make(text, a) for a in one.flat], one.shape)

    def _convert_element_type(self, equation, one):
        old, new = (jnp.dtype(v.aval.dtype).name for v in (equation.invars[0], equation.outvars[0]))
        return shaped([self._converted(old, new, a) for a in one.flat], one.shape)

    def _converted(self, old, new, atom):
        if old == new or (new == "float64" and old in ("float32", "int32", "uint32")):
            return atom
        if new == "bool":
            return self.script.make("{}!==0n" if old.endswith("64") and "int" in old else "{}!==0", atom)
        big, was_big = new in ("int64", "uint64"), old in ("int64", "uint64")
        if old.startswith("float") and not new.startswith("float"):
            low, high = RANGES[new]
            return self.script.make(f"F_.{'big' if big else 'whole'}({{}},{low}{'n' * big},{high}{'n' * big})", atom)
        if big:
            return self.wrapped(new, "BigInt({})" if not was_big else "{}", atom)
        if was_big and not new.startswith("float"):
            return self.script.make(f"Number(BigInt.{'asIntN' if new == 'int32' else 'asUintN'}(32,{{}}))", atom)
        return self.wrapped(new, "Number({})" if was_big or old == "bool" else "{}", atom)

    def _bitcast_convert_type(self, equation, one):
        old, new = (jnp.dtype(v.aval.dtype).name for v in (equation.invars[0], equation.outvars[0]))
        signed = int(not new.startswith("u"))
        texts = {"64": (f"F_.bits({{}},{signed})", "F_.real({})"), "32": (f"F_.bits32({{}},{signed})", "F_.real32({})")}
        if old[-2:] != new[-2:] or old[-2:] not in texts:
            msg = f"bitcast_convert_type from {old} to {new} has no rule here"
            raise Refused(msg)
        if old.startswith("float") == new.startswith("float"):
            return shaped([self.wrapped(new, "{}", a) for a in one.flat], one.shape)
        return shaped([self.script.make(texts[old[-2:]][new.startswith("float")], a) for a in one.flat], one.shape)

    def _shift(self, equation, one, by, text, beyond):
        kind = jnp.dtype(equation.outvars[0].aval.dtype).name
        one, by = np.broadcast_arrays(one, by)
        if not kind.endswith("64"):
            text = f"{{1}}>>>0>31?{beyond}:{text}"
        return shaped([self.wrapped(kind, text, a, b) for a, b in zip(one.flat, by.flat, strict=True)], one.shape)

    def _shift_left(self, equation, one, by):
        return self._shift(equation, one, by, "{0}<<{1}", "0")

    def _shift_right_arithmetic(self, equation, one, by):
        return self._shift(equation, one, by, "{0}>>{1}", "{0}>>31")

    def _shift_right_logical(self, equation, one, by):
        big = jnp.dtype(equation.outvars[0].aval.dtype).name.endswith("64")
        return self._shift(equation, one, by, "BigInt.asUintN(64,{0})>>{1}" if big else "{0}>>>{1}", "0")

    def _clamp(self, equation, low, one, high):
        kind = jnp.dtype(equation.outvars[0].aval.dtype).name
        low, high = (np.broadcast_to(edge, one.shape) for edge in (low, high))
        made = [
            self.pair("min", kind, self.pair("max", kind, a, b), c)
            for a, b, c in zip(low.flat, one.flat, high.flat, strict=True)
        ]
        return shaped(made, one.shape)

    def _select_n(self, equation, which, *given):
        cases = [np.broadcast_to(one, equation.outvars[0].aval.shape) for one in given]
        made = cases[-1]
        if jnp.dtype(equation.invars[0].aval.dtype).name == "bool":
            return self.choose(which, cases[1], cases[0])
        for k in range(len(cases) - 2, -1, -1):
            truths = [a <= k if not isinstance(a, str) else self.script.make("{}<={}", a, k) for a in which.flat]
            made = self.choose(shaped(truths, which.shape), cases[k], made)
        return made

    # -------------------------------------------------------------------------------------- several into one

    def _reduced(self, equation, one, name):
        axes, kind = equation.params["axes"], jnp.dtype(equation.outvars[0].aval.dtype).name
        moved = np.moveaxis(one, axes, range(len(axes))).reshape(-1, *equation.outvars[0].aval.shape)
        if not len(moved):
            msg = f"{equation.primitive.name} of nothing has no rule here"
            raise Refused(msg)
        return shaped([self._folded(name, kind, moved[(slice(None), *k)]) for k in np.ndindex(moved.shape[1:])],
                      moved.shape[1:])  # fmt: skip

    def _folded(self, name, kind, atoms):
        out = atoms[0]
        for one in atoms[1:]:
            out = self.pair(name, kind, out, one)
        return out

    def _reduce_sum(self, equation, one):
        return self._reduced(equation, one, "add")

    def _reduce_prod(self, equation, one):
        return self._reduced(equation, one, "mul")

    def _reduce_max(self, equation, one):
        return self._reduced(equation, one, "max")

    def _reduce_min(self, equation, one):
        return self._reduced(equation, one, "min")

    def _reduce_and(self, equation, one):
        return self._reduced(equation, one, "and")

    def _reduce_or(self, equation, one):
        return self._reduced(equation, one, "or")

    def _argmax(self, equation, one):
        return self._extreme(equation, one, "{0}>{1}||({0}!=={0}&&{1}==={1})")

    def _argmin(self, equation, one):
        return self._extreme(equation, one, "{0}<{1}||({0}!=={0}&&{1}==={1})")

    def _extreme(self, equation, one, beats):
        (axis,), kind = equation.params["axes"], jnp.dtype(equation.outvars[0].aval.dtype).name
        moved = np.moveaxis(one, axis, 0)
        made = []
        for k in np.ndindex(moved.shape[1:]):
            column = moved[(slice(None), *k)]
            best, at = column[0], _whole(kind, 0)
            for i, atom in enumerate(column[1:], 1):
                better = self.script.make(beats, atom, best)
                best = self.script.make("{}?{}:{}", better, atom, best)
                at = self.script.make("{}?{}:{}", better, _whole(kind, i), at)
            made.append(at)
        return shaped(made, moved.shape[1:])

    def _cumulated(self, equation, one, name):
        axis, kind = equation.params["axis"], jnp.dtype(equation.outvars[0].aval.dtype).name
        moved = np.moveaxis(one.copy(), axis, 0)
        order = range(len(moved))[:: -1 if equation.params["reverse"] else 1]
        for before, i in pairwise(order):
            for k in np.ndindex(moved.shape[1:]):
                moved[(i, *k)] = self.pair(name, kind, moved[(before, *k)], moved[(i, *k)])
        return np.moveaxis(moved, 0, axis)

    def _cumsum(self, equation, one):
        return self._cumulated(equation, one, "add")

    def _cumprod(self, equation, one):
        return self._cumulated(equation, one, "mul")

    def _cummax(self, equation, one):
        return self._cumulated(equation, one, "max")

    def _cummin(self, equation, one):
        return self._cumulated(equation, one, "min")

    def _dot_general(self, equation, left, right):
        (summed, batch), kind = equation.params["dimension_numbers"], jnp.dtype(equation.outvars[0].aval.dtype).name
        parts, rests = [], []
        for one, along, over in zip((left, right), summed, batch, strict=True):
            rest = [axis for axis in range(one.ndim) if axis not in (*along, *over)]
            moved = one.transpose([*over, *rest, *along])
            sizes = [math.prod(one.shape[a] for a in axes) for axes in (over, rest, along)]
            parts.append(moved.reshape(sizes))
            rests.append(sizes)
        a, b = parts
        made = [
            self._folded("add", kind, [self.pair("mul", kind, x, y) for x, y in zip(a[i, j], b[i, k], strict=True)])
            for i in range(rests[0][0])
            for j in range(rests[0][1])
            for k in range(rests[1][1])
        ]
        return shaped(made, equation.outvars[0].aval.shape)

    def _threefry2x32(self, equation, k0, k1, x0, x1):
        lanes = zip(*(np.broadcast_to(one, x0.shape).flat for one in (k0, k1, x0, x1)), strict=True)
        made = [self._block(*lane) for lane in lanes]
        return [shaped([one[i] for one in made], x0.shape) for i in range(2)]

    def _block(self, k0, k1, x, y):
        def make(text, *atoms):
            return self.script.make(WRAPS["uint32"].format(text), *atoms)

        keys = [k0, k1, make("{}^{}^{}", k0, k1, PARITY)]
        x, y = make("{}+{}", x, k0), make("{}+{}", y, k1)
        for turn in range(5):
            for by in ROTATIONS[turn % 2]:
                x = make("{}+{}", x, y)
                y = make("({0}<<{1}|{0}>>>{2})^{3}", y, by, 32 - by, x)
            x = make("{}+{}", x, keys[(turn + 1) % 3])
            y = make("{}+{}+{}", y, keys[(turn + 2) % 3], turn + 1)
        return x, y


def _whole(kind, number):
    return Big(number) if kind.endswith("64") else number


def _is(atom, number):
    """Whether an atom is known to be a number that is no truth; the sign of nothing does not count, as in XLA."""
    return not isinstance(atom, str | bool | np.bool_) and atom == number


def _same(a, b):
    """Whether two atoms are one variable, or one known number."""
    return a is b or (type(a) is type(b) and a == b and a != 0) or (isinstance(a, str) and a == b)
