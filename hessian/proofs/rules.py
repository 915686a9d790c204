"""Rules: what each operation of JAX on numbers is as operations of a program, one method of its name each."""

import math

import jax.numpy as jnp
import numpy as np

from hessian.proofs.program import HIGHEST
from hessian.proofs.tape import Real, Tape, Truth, Uncovered, shape_of


class Rules(Tape):
    """A rule takes the parameters of the operation, then its inputs."""

    # ------------------------------------------------------------------------------------------- entry by entry

    def _logaddexp(self, a, b):
        a, b = self.function("exp", self.real(a)), self.function("exp", self.real(b))
        return self.function("log", self.pair("add", a, b))

    def _integer_pow(self, params, x):
        x, k = self.real(x), params["y"]
        if abs(k) > HIGHEST:
            msg = f"{k} as an exponent has no rule here; the largest is {HIGHEST}"
            raise Uncovered(msg)
        return self.emit("square", [x], x.shape) if k == 2 else self.emit("power", [x], x.shape, [k])

    def _pow(self, params, x, y):
        del params
        exponents = set(np.asarray(y).reshape(-1).tolist()) if isinstance(y, np.ndarray) else set()
        if len(exponents) == 1 and math.isfinite(k := exponents.pop()) and k == int(k):
            return self._integer_pow({"y": int(k)}, x)
        return self.function("exp", self.pair("mul", y, self.function("log", x)))  # x^y where x > 0

    def _exp2(self, params, x):
        del params
        return self.function("exp", self.pair("mul", self.function("log", np.float64(2.0)), x))

    def _clamp(self, params, low, x, high):
        del params
        return self.pair("min", self.pair("max", x, low), high)

    def _convert_element_type(self, params, x):
        to = params["new_dtype"]
        if isinstance(x, Truth):
            if not jnp.issubdtype(to, jnp.floating):
                msg = "a truth that depends on numbers cannot become a whole number here"
                raise Uncovered(msg)
            one, zero = (self.broadcast(self.real(np.float64(v)), x.shape) for v in (1.0, 0.0))
            return self.emit("select", [x, zero, one], x.shape)
        if not jnp.issubdtype(to, jnp.floating):
            msg = "convert_element_type of numbers to whole numbers has no rule here"
            raise Uncovered(msg)
        return x if isinstance(x, Real) else self.real(x)

    # ---------------------------------------------------------------------------------------------------- truths

    def _lt(self, params, a, b):
        del params
        return self.compared("less", a, b)

    def _gt(self, params, a, b):
        return self._lt(params, b, a)

    def _ge(self, params, a, b):
        return self._not(params, self._lt(params, a, b))

    def _le(self, params, a, b):
        return self._not(params, self._lt(params, b, a))

    def _eq(self, params, a, b):
        del params
        if isinstance(a, Real) and isinstance(b, Real) and a == b:
            self.guarded.append(a.place)  # a number is itself, where it is one: the guard against NaN
            return np.ones(a.shape, bool)
        return self.compared("equal", a, b)

    def _ne(self, params, a, b):
        same = self._eq(params, a, b)
        return ~same if isinstance(same, np.ndarray) else self._not(params, same)

    def _not(self, params, x):
        del params
        return self.emit("not", [self.truth(x)], shape_of(x), kind=Truth)

    def _and(self, params, a, b):
        del params
        return self.emit("and", [self.truth(a), self.truth(b)], shape_of(a), kind=Truth)

    def _or(self, params, a, b):
        del params
        return self.emit("or", [self.truth(a), self.truth(b)], shape_of(a), kind=Truth)

    def _is_finite(self, params, x):
        del params
        if not isinstance(x, Real):
            return np.isfinite(x.astype(np.float64))
        places = [x.place]
        while places:  # the largest of finite numbers is finite; what is not finite is refused where it is computed
            operation = self.operations[place := places.pop()]
            if operation.name in ("max", "min", "take"):
                places += operation.inputs
            else:
                self.guarded.append(place)
        return np.ones(x.shape, bool)

    # ----------------------------------------------------------------------------------------- sums and products

    def _reduce_sum(self, params, x):
        x, length, shape = self.grouped(x, params["axes"])
        return self.emit("sum", [x], shape, [length]) if length else self.real(np.zeros(shape))

    def _reduced(self, name, params, x):
        x, length, shape = self.grouped(x, params["axes"])
        if not length:
            msg = f"{name} of nothing has no rule here"
            raise Uncovered(msg)
        places = np.arange(math.prod(x.shape)).reshape(*shape, length)
        parts = [self.taken([x], places[..., i]) for i in range(length)]
        while len(parts) > 1:
            paired = [self.pair(name, *parts[i : i + 2]) for i in range(0, len(parts) - 1, 2)]
            parts = paired + parts[2 * len(paired) :]
        return parts[0]

    def _reduce_max(self, params, x):
        return self._reduced("max", params, x)

    def _reduce_min(self, params, x):
        return self._reduced("min", params, x)

    def _reduce_prod(self, params, x):
        return self._reduced("mul", params, x)

    def _cumsum(self, params, x):
        x, axis = self.real(x), params["axis"]
        length = x.shape[axis]
        upper = np.triu(np.ones((length, length)))
        back = {"axes": (axis,)}
        last, _, rest = self.grouped(x, back["axes"])
        count = math.prod(rest)
        steps = self.real(upper.T if params["reverse"] else upper)
        made = self.emit("matmul", [last, steps], (*rest, length), [1, count, length, length])
        return self.taken([made], np.moveaxis(np.arange(math.prod(x.shape)).reshape(*rest, length), -1, axis))

    def _dot_general(self, params, a, b):
        a, b = self.real(a), self.real(b)
        (inner_a, inner_b), (batch_a, batch_b) = params["dimension_numbers"]
        free_a = [i for i in range(len(a.shape)) if i not in (*inner_a, *batch_a)]
        free_b = [i for i in range(len(b.shape)) if i not in (*inner_b, *batch_b)]
        places_a = np.arange(math.prod(a.shape)).reshape(a.shape).transpose([*batch_a, *free_a, *inner_a])
        places_b = np.arange(math.prod(b.shape)).reshape(b.shape).transpose([*batch_b, *inner_b, *free_b])
        shape = [a.shape[i] for i in (*batch_a, *free_a)] + [b.shape[i] for i in free_b]
        sizes = [
            math.prod(of.shape[i] for i in axes) for of, axes in ((a, batch_a), (a, free_a), (a, inner_a), (b, free_b))
        ]
        if not sizes[2]:
            return self.real(np.zeros(shape))
        return self.emit("matmul", [self.taken([a], places_a), self.taken([b], places_b)], shape, sizes)
