"""JavaScript from a jaxpr: a function of JAX as straight-line code on numbers, without a library.

    emitted("grad", jax.grad(loss), theta)   ->   function grad(x,y){...}      reads the numbers x, writes the numbers y

Arrays are taken apart into their numbers.  What moves numbers (slice, gather, pad, ...) is done here, on their places;
what is known is worked out by JAX itself; the rest becomes one expression a number.  Loops and branches that depend on
numbers become loops and branches.  An operation without a rule is refused by name.

| module | what it is |
|---|---|
| `script` | variables, statements, blocks |
| `operations` | the expression of every operation on numbers |
| `special` | functions that are made of several operations |
| `emit` | a jaxpr, equation by equation |
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal
from jax.extend.random import threefry_prng_impl

from hessian.jaxprs import opened, scan_parts
from hessian.proofs.equations import bound
from hessian.proofs.lowering import CALLS, MOVES, SAME

from ..playground.operations import Operations
from ..playground.script import (
    KINDS,
    PRELUDE,
    Refused,
    Script,
    Statement,
    is_known,
    known,
    literal,
    names,
    shaped,
    written,
)
from ..playground.special import SPECIAL

__all__ = ["PRELUDE", "Refused", "emitted"]

LONGEST = 20_000  # operations of a function
UNROLLED = 8  # turns of a loop that are written out
CASES = 4096  # places that an index may have, all indices of an operation together
INDEXED = {"gather": (1,), "scatter": (1,), "scatter-add": (1,), "dynamic_slice": range(1, 99)}
INDEXED |= {"scatter_add": (1,), "dynamic_update_slice": range(2, 99)}


def emitted(name: str, function: Callable[..., Any], *like: Any, longest: int = LONGEST) -> str:
    """JavaScript of `name(x, y)`, which reads the numbers of the arguments from x and writes those of the results to y.

    Args:
        name: of the function.
        function: of JAX; its floats are computed in the precision that they have when 64 bits are on.
        *like: arguments of these shapes; the leaves of all of them, raveled, in order, are the numbers x.
        longest: how many operations it may have.

    Returns:
        The text, which needs `PRELUDE` before it; whole numbers and truths (0 or 1) are numbers in x and y too.

    Raises:
        Refused: for an operation that has no rule here, or too many operations.

    >>> emitted("double", lambda x: x + x, 1.0)
    'function double(x,y){const v1=x[0],v2=v1+v1;y[0]=v2;}'
    """
    with jax.enable_x64(True):
        closed = jax.make_jaxpr(function)(*like)
        out = _Emitter(Script(longest))
        inputs, at = [], 0
        for variable in closed.jaxpr.invars:
            size, kind = math.prod(variable.aval.shape), _kind(variable.aval)
            atoms = [out.script.make(READS.get(kind, "x[{}]"), at + k) for k in range(size)]
            inputs.append(shaped(atoms, variable.aval.shape))
            at += size
        results = out.evaluate(closed.jaxpr, closed.consts, inputs)
        atoms, kinds = [], []
        for one, of in zip(results, closed.jaxpr.outvars, strict=True):
            atoms += list(one.flat)
            kinds += [_kind(of.aval)] * one.size
        body = written(out.script.block, set(names(atoms)))
        ends = "".join(
            f"y[{k}]={WRITES.get(kind, '{}').format(literal(one))};"
            for k, (one, kind) in enumerate(zip(atoms, kinds, strict=True))
        )
        return f"function {name}(x,y){{{body}{ends}}}"


READS = {"bool": "x[{}]!==0", "int64": "BigInt(x[{}])", "uint64": "BigInt(x[{}])"}
WRITES = {"bool": "+{}", "int64": "Number({})", "uint64": "Number({})"}


def _kind(aval):
    """The name of a type of numbers, if it has a place here."""
    name = "uint32" if _is_key(aval) else jnp.dtype(aval.dtype).name
    if name not in KINDS:
        msg = f"{name} has no place here; float64, float32, whole numbers of 32 and 64 bits and truths have"
        raise Refused(msg)
    return name


def _is_key(aval):
    return jax.dtypes.issubdtype(aval.dtype, jax.dtypes.prng_key)


def _seen(value):
    """The atoms of a value that is known; those of a key are its words."""
    if jax.dtypes.issubdtype(getattr(value, "dtype", np.dtype(bool)), jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    return known(np.asarray(value))


def _numbers(atoms, aval):
    """Known atoms as JAX has them."""
    return np.array([*atoms.flat], jnp.dtype(aval.dtype)).reshape(aval.shape)


class _Emitter(Operations):
    """Equations into statements: calls are entered, moves made on places, loops and branches written as such."""

    def evaluate(self, jaxpr, consts, args):
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*map(_seen, consts), *args], strict=True))

        def value(one):
            return known(np.asarray(one.val, _kind(one.aval))) if isinstance(one, Literal) else values[one]

        for equation in jaxpr.eqns:
            made = self.outputs(equation, [value(one) for one in equation.invars])
            values.update(zip(equation.outvars, made, strict=True))
        return [value(one) for one in jaxpr.outvars]

    def outputs(self, equation, inputs):
        """What one equation makes."""
        name, params = equation.primitive.name, equation.params
        if name in ("scan", "while", "cond"):
            return getattr(self, "_" + name)(equation, inputs)
        if name in CALLS:
            inner = next(params[field] for field in ("jaxpr", "call_jaxpr", "fun_jaxpr") if field in params)
            return self.evaluate(*opened(inner), inputs)
        if name == "call_hi_primitive":  # what newer JAX keeps whole until it is lowered
            like = [jax.ShapeDtypeStruct(one.aval.shape, one.aval.dtype) for one in equation.invars]
            return self.evaluate(*opened(jax.make_jaxpr(params["_prim"].expand)(*like)), inputs)
        if name.startswith("random_"):
            return self._random(name, equation, inputs)
        if any(_is_key(one.aval) for one in equation.outvars):
            return self._keys_moved(equation, inputs)
        for one in equation.outvars:
            _kind(one.aval)
        if all(map(is_known, inputs)):
            given = [_numbers(one, of.aval) for one, of in zip(inputs, equation.invars, strict=True)]
            return [_seen(one) for one in bound(equation, given)]
        if name in SAME or name == "copy":
            return list(inputs)
        if name in INDEXED and not all(is_known(inputs[i]) for i in INDEXED[name] if i < len(inputs)):
            return self._anywhere(equation, inputs)
        if name in ("scatter-add", "scatter_add"):
            return [self._scatter_add(equation, inputs)]
        if name in MOVES and name != "select_n":
            return self._moved(equation, inputs)
        rule = getattr(self, "_" + name.replace("-", "_"), None)
        if rule is not None:
            made = rule(equation, *inputs)
            return made if equation.primitive.multiple_results else [made]
        if name in SPECIAL:
            aval = equation.invars[0].aval
            made = jax.make_jaxpr(SPECIAL[name])(jax.ShapeDtypeStruct(aval.shape, aval.dtype))
            return self.evaluate(*opened(made), inputs)
        return [self.elementwise(equation, inputs)]

    # ------------------------------------------------------------------------------------------------ moves

    def _moved(self, equation, inputs):
        """Moves made on places: whole numbers that JAX moves exactly."""
        atoms: list[Any] = []
        given = []
        indices = INDEXED.get(equation.primitive.name, ())
        if equation.params.get("update_jaxpr") is not None:
            msg = f"{equation.primitive.name} with a function has no rule here"
            raise Refused(msg)
        for i, (one, of) in enumerate(zip(inputs, equation.invars, strict=True)):
            if i in indices:
                given.append(_numbers(one, of.aval))
                continue
            given.append(np.arange(len(atoms), len(atoms) + one.size, dtype=np.int32).reshape(one.shape))
            atoms += list(one.flat)
        filled = {"fill_value": -1} if "fill_value" in equation.params else {}
        atoms.append(math.nan if _kind(equation.outvars[0].aval).startswith("float") else 0)
        made = bound(equation, given, **filled)
        return [shaped([atoms[k] if k >= 0 else atoms[-1] for k in one.flat], one.shape) for one in made]

    def _keys_moved(self, equation, inputs):
        """Keys moved, the first words and the second ones."""
        keys = [_is_key(one.aval) for one in equation.invars]
        if equation.primitive.name not in MOVES:
            msg = f"{equation.primitive.name} of keys has no rule here"
            raise Refused(msg)
        words = [
            self._moved(equation, [one[..., k] if key else one for one, key in zip(inputs, keys, strict=True)])
            for k in range(2)
        ]
        return [np.stack(pair, axis=-1) for pair in zip(*words, strict=True)]

    def _anywhere(self, equation, inputs):
        """A move by indices that are numbers: what it makes of every place they may have, one of which is taken."""
        name = equation.primitive.name
        at = [i for i in INDEXED[name] if i < len(inputs)]
        unknown = sorted({one for i in at for one in inputs[i].flat if isinstance(one, str)})
        most = max(inputs[0].shape, default=1)
        if (most + 2) ** len(unknown) > CASES:
            msg = f"{name} by {len(unknown)} indices that are not constant, into an axis of {most}, has no rule here"
            raise Refused(msg)
        kind = _kind(equation.invars[at[0]].aval)
        big, lowest = kind in ("int64", "uint64"), 0 if kind.startswith("u") else -1

        def chosen(inputs, rest):
            if not rest:
                return self.outputs(equation, inputs)
            variable, made = rest[0], None
            for place in range(most, lowest - 1, -1):  # below 0 and beyond the end it is as it is just there
                put = [
                    shaped([place if a == variable else a for a in one.flat], one.shape) if i in at else one
                    for i, one in enumerate(inputs)
                ]
                case = chosen(put, rest[1:])
                here = self.script.make("{}<=" + literal(place) + ("n" if big and place >= 0 else ""), variable)
                made = case if made is None else [self.choose(here, a, b) for a, b in zip(case, made, strict=True)]
            return made

        return chosen(inputs, unknown)

    def _scatter_add(self, equation, inputs):
        operand, indices, updates = inputs
        kind, out = _kind(equation.outvars[0].aval), list(operand.flat)
        zero = np.zeros(operand.shape, kind)
        where = _numbers(indices, equation.invars[1].aval)
        for k, update in enumerate(updates.flat):
            one = np.zeros(updates.size, kind)
            one[k] = 1
            for place in np.flatnonzero(bound(equation, [zero, where, one.reshape(updates.shape)])[0]):
                out[place] = self.add(kind, out[place], update)
        return shaped(out, operand.shape)

    # ------------------------------------------------------------------------------------ loops and branches

    def _carried(self, inits):
        """A variable for each number that a loop carries, and the declaration of them all."""
        atoms = [shaped([self.script.name() for _ in range(one.size)], one.shape) for one in inits]
        flat = [one for array in atoms for one in array.flat]
        start = ",".join(f"{a}={literal(b)}" for a, b in zip(flat, (b for c in inits for b in c.flat), strict=True))
        return atoms, flat, f"let {start};" if flat else ""

    def _assigned(self, flat, results):
        """The assignments of new values to what is carried, all at once."""
        new = [literal(one) for array in results for one in array.flat]
        return f"[{','.join(flat)}]=[{','.join(new)}];" if flat else ""

    def _while(self, equation, inputs):
        p = equation.params
        test, body = inputs[: p["cond_nconsts"]], inputs[p["cond_nconsts"] :]
        body, inits = body[: p["body_nconsts"]], body[p["body_nconsts"] :]
        carry, flat, start = self._carried(inits)
        asked, (go,) = self.script.within(lambda: self.evaluate(*opened(p["cond_jaxpr"]), [*test, *carry]))
        done, made = self.script.within(lambda: self.evaluate(*opened(p["body_jaxpr"]), [*body, *carry]))
        if go.size != 1:
            msg = "while with several conditions has no rule here"
            raise Refused(msg)
        first, turn = set(names(go.flat)), set(names(a for one in made for a in one.flat))
        text = f"{start}while(true){{{written(asked, first)}if(!{literal(go.item())})break;"
        text += f"{written(done, turn)}{self._assigned(flat, made)}}}"
        reads = frozenset(first | turn | names(a for one in inits for a in one.flat))
        self.script.block.append(Statement(tuple(flat), reads, text, plain=False))
        return carry

    def _scan(self, equation, inputs):
        params, (fixed, kept) = equation.params, scan_parts(equation)
        jaxpr, consts = opened(params["jaxpr"])
        constants, carry, sequences = inputs[:fixed], list(inputs[fixed : fixed + kept]), inputs[fixed + kept :]
        length, back = params["length"], params["reverse"]
        if length > UNROLLED and not all(map(is_known, inputs)):
            return self._loop(equation, constants, carry, sequences)
        rows: list[Any] = []
        for turn in range(length)[:: -1 if back else 1]:
            out = self.evaluate(jaxpr, consts, [*constants, *carry, *(one[turn, ...] for one in sequences)])
            carry = out[:kept]
            rows.append(out[kept:])
        rows = rows[:: -1 if back else 1]
        stacked = [
            shaped([a for row in rows for a in row[i].flat], of.aval.shape)
            for i, of in enumerate(equation.outvars[kept:])
        ]
        return [*carry, *stacked]

    def _loop(self, equation, constants, inits, sequences):
        """A scan as a loop of JavaScript, whose rows are read from and written to arrays."""
        params, kept = equation.params, len(inits)
        length, script = params["length"], self.script
        carry, flat, start = self._carried(inits)
        turn = script.name()
        arrays = [script.name() for _ in sequences]
        for array, one in zip(arrays, sequences, strict=True):
            text = f"{array}=[{','.join(map(literal, one.flat))}]"
            script.block.append(Statement((array,), names(one.flat), text))

        def row(array, one):
            size = one.size // length
            return shaped([script.make(array + "[{}*" + f"{size}+{k}]", turn) for k in range(size)], one.shape[1:])

        def body():
            rows = [row(array, one) for array, one in zip(arrays, sequences, strict=True)]
            return self.evaluate(*opened(params["jaxpr"]), [*constants, *carry, *rows])

        block, made = script.within(body)
        results = [script.name() for _ in made[kept:]]
        needed = set(names(a for one in made for a in one.flat))
        lines = written(block, needed)
        for array, one in zip(results, made[kept:], strict=True):
            lines += "".join(f"{array}[{turn}*{one.size}+{k}]={literal(a)};" for k, a in enumerate(one.flat))
        order = f"{turn}={length - 1};{turn}>=0;{turn}--" if params["reverse"] else f"{turn}=0;{turn}<{length};{turn}++"
        text = "".join(f"const {array}=[];" for array in results)
        text += f"{start}for(let {order}){{{lines}{self._assigned(flat, made[:kept])}}}"
        reads = frozenset(needed | set(arrays) | names(a for one in inits for a in one.flat))
        script.block.append(Statement((*flat, *results), reads - {turn}, text, plain=False))
        shapes = [of.aval.shape for of in equation.outvars[kept:]]
        stacked = [
            shaped([f"{array}[{k}]" for k in range(math.prod(shape))], shape)
            for array, shape in zip(results, shapes, strict=True)
        ]
        return [*carry, *stacked]

    def _cond(self, equation, inputs):
        which, *operands = inputs
        branches = equation.params["branches"]
        if is_known(which):
            return self.evaluate(*opened(branches[int(np.clip(int(which.item()), 0, len(branches) - 1))]), operands)
        results = [
            shaped([self.script.name() for _ in range(math.prod(of.aval.shape))], of.aval.shape)
            for of in equation.outvars
        ]
        flat, parts, reads = [a for one in results for a in one.flat], [], set(names(which.flat))
        for k, branch in enumerate(branches):
            block, made = self.script.within(partial(self.evaluate, *opened(branch), operands))
            needed = set(names(a for one in made for a in one.flat))
            text = written(block, needed) + self._assigned(flat, made)
            parts.append(f"if({literal(which.item())}<={k}){{{text}}}" if k < len(branches) - 1 else f"{{{text}}}")
            reads |= needed
        text = f"let {','.join(flat)};" + "else ".join(parts)
        self.script.block.append(Statement(tuple(flat), frozenset(reads - set(flat)), text, plain=False))
        return results

    # ------------------------------------------------------------------------------------------- random bits

    def _random(self, name, equation, inputs):
        """Keys are their words; what is made of them is what JAX's own threefry makes."""
        words = [jax.ShapeDtypeStruct(one.shape, np.uint32) for one in inputs]
        params, impl = equation.params, threefry_prng_impl
        if name in ("random_wrap", "random_unwrap"):
            return list(inputs)
        of = [one.aval for one in (*equation.invars, *equation.outvars) if _is_key(one.aval)]
        if any(str(one.dtype) != "key<fry>" for one in of):
            msg = f"{name} of keys other than threefry's has no rule here"
            raise Refused(msg)
        work: Callable[..., Any]
        if name == "random_bits":
            work, lanes = lambda key: impl.random_bits(key, params["bit_width"], params["shape"]), inputs[0].ndim - 1
        elif name == "random_split":
            work, lanes = lambda key: impl.split(key, params["shape"]), inputs[0].ndim - 1
        elif name == "random_fold_in":
            work, lanes = impl.fold_in, inputs[0].ndim - 1
        elif name == "random_seed":
            words = [one.aval for one in equation.invars]
            work, lanes = impl.seed, inputs[0].ndim
        else:
            msg = f"{name} has no rule here"
            raise Refused(msg)
        for _ in range(lanes):
            work = jax.vmap(work)
        closed = jax.make_jaxpr(work)(*words)
        return self.evaluate(closed.jaxpr, closed.consts, inputs)
