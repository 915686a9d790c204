"""Rules: what each operation of JAX on numbers is as operations of a program, one method of its name each."""

import math

import jax.numpy as jnp
import numpy as np

from hessian.proofs.program import HIGHEST
from hessian.proofs.tape import Real, Tape, Truth, Uncovered


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

    def _erfc(self, params, x):
        del params
        return self.pair("sub", np.float64(1.0), self.function("erf", x))

    def _atan2(self, params, y, x):
        """The angle of (x, y), by its half; the line where it jumps is a pole of this."""
        del params
        length = self.function(
            "sqrt", self.pair("add", *(self.pair("mul", one, one) for one in map(self.real, (x, y))))
        )
        return self.pair(
            "mul", np.float64(2.0), self.function("atan", self.pair("div", y, self.pair("add", length, x)))
        )

    def _ceil(self, params, x):
        del params
        return self.function("neg", self.function("floor", self.function("neg", x)))

    def _round(self, params, x):
        del params  # a tie, where the kinds of rounding differ, is a jump
        return self.function("floor", self.pair("add", x, np.float64(0.5)))

    def _rem(self, params, x, y):
        del params  # x less the multiple of y that is next to it on the side of zero
        ratio = self.pair("div", x, y)
        whole = self.pair("mul", self.function("sign", ratio), self.function("floor", self.function("abs", ratio)))
        return self.pair("sub", x, self.pair("mul", y, whole))

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
        return x if isinstance(x, Real) else x.astype(np.float64)  # exact: what narrows has been refused

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
        if isinstance(a, Truth) or isinstance(b, Truth):
            return self._not(None, self._xor(None, a, b))
        if isinstance(a, Real) and isinstance(b, Real) and a == b:
            self.guarded.append(a.place)  # a number is itself, where it is one: the guard against NaN
            return np.ones(a.shape, bool)
        return self.compared("equal", a, b)

    def _ne(self, params, a, b):
        return self._not(params, self._eq(params, a, b))

    def _not(self, params, x):
        del params
        return self.emit("not", [x], x.shape, kind=Truth) if isinstance(x, Truth) else ~x

    def _and(self, params, a, b):
        del params
        return self.joined("and", a, b)

    def _or(self, params, a, b):
        del params
        return self.joined("or", a, b)

    def _xor(self, params, a, b):
        return self._and(params, self._or(params, a, b), self._not(params, self._and(params, a, b)))

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
