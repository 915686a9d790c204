/* A loss typed into the page: text -> tape of operations -> value, gradient and Hessian by the rules of the sum, the
   product and the chain.  Nothing of the text is ever run as a program: it is read, letter by letter, or refused. */

class Misread extends Error {}
const UNARY = { // the function, its first and its second derivative
  sin: [Math.sin, Math.cos, (u) => -Math.sin(u)],
  cos: [Math.cos, (u) => -Math.sin(u), (u) => -Math.cos(u)],
  tan: [Math.tan, (u) => 1 + Math.tan(u) ** 2, (u) => 2 * Math.tan(u) * (1 + Math.tan(u) ** 2)],
  exp: [Math.exp, Math.exp, Math.exp],
  log: [Math.log, (u) => 1 / u, (u) => -1 / (u * u)],
  sqrt: [Math.sqrt, (u) => 0.5 / Math.sqrt(u), (u) => -0.25 / (u * Math.sqrt(u))],
  tanh: [Math.tanh, (u) => 1 - Math.tanh(u) ** 2, (u) => -2 * Math.tanh(u) * (1 - Math.tanh(u) ** 2)],
  sinh: [Math.sinh, Math.cosh, Math.sinh],
  cosh: [Math.cosh, Math.sinh, Math.cosh],
  atan: [Math.atan, (u) => 1 / (1 + u * u), (u) => (-2 * u) / (1 + u * u) ** 2],
  abs: [Math.abs, Math.sign, () => 0],
};
UNARY.ln = UNARY.log;
const NAMED = new Map([["pi", Math.PI], ["e", Math.E]]);
const DEEPEST = 60, WIDEST = 400;

/* The tape of an expression in x and y: {ops, constants}, the names of constants in the order in which they are met. */
function read(source) {
  const ops = [], constants = [];
  let at = 0, depth = 0;
  const put = (op, a = -1, b = -1, value = 0) => ops.push({ op, a, b, value }) - 1;
  const skip = () => { while (at < source.length && /\s/.test(source[at])) at++; };
  const next = () => (skip(), source[at]);
  const take = (sign) => next() === sign && (at++, true);
  const fail = (said) => { throw new Misread(said); };
  const strange = () => { // a letter whole, and what cannot be seen by its number
    const letter = String.fromCodePoint(source.codePointAt(at)), seen = /[\p{L}\p{N}\p{P}\p{S}]/u.test(letter);
    fail(`“${seen ? letter : "U+" + letter.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}” has no meaning here.`);
  };
  if (source.length > WIDEST) fail(`The expression must have at most ${WIDEST} characters; this has ${source.length}.`);

  function sum() {
    if (++depth > DEEPEST) fail("The expression is nested too deep.");
    let left = product();
    for (;;) {
      if (take("+")) left = put("+", left, product());
      else if (take("-")) left = put("-", left, product());
      else { depth--; return left; }
    }
  }
  function product() {
    let left = signed();
    for (;;) {
      if (take("/")) left = put("*", left, put("power", signed(), -1, -1));
      else if (next() === "*" && source[at + 1] !== "*") { at++; left = put("*", left, signed()); }
      else if (next() !== undefined && /[\w.(]/.test(next())) left = put("*", left, power()); // 2x, 3(x + 1)
      else return left;
    }
  }
  function signed() {
    if (++depth > DEEPEST) fail("The expression is nested too deep.");
    const made = take("-") ? put("-", put("number"), signed()) : take("+") ? signed() : power();
    depth--;
    return made;
  }
  function power() {
    const base = atom();
    if (!(take("^") || (next() === "*" && source[at + 1] === "*" && (at += 2)))) return base;
    const first = ops.length, exponent = signed(), worth = constant(first, exponent);
    if (worth !== null) { ops.length = first; return put("power", base, -1, worth); }
    return put("exp", put("*", exponent, put("log", base)));
  }
  function constant(first, root) { // what ops from first on come to, if they are numbers alone
    if (ops.slice(first).some((one) => !["number", "+", "-", "*", "power"].includes(one.op))) return null;
    const worth = (k) => {
      const { op, a, b, value } = ops[k];
      if (op === "number") return value;
      if (op === "power") return worth(a) ** value;
      return op === "+" ? worth(a) + worth(b) : op === "-" ? worth(a) - worth(b) : worth(a) * worth(b);
    };
    return worth(root);
  }
  function atom() {
    if (take("(")) {
      const inner = sum();
      return take(")") ? inner : fail("A bracket is not closed.");
    }
    skip();
    const number = /^(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/.exec(source.slice(at));
    if (number) {
      at += number[0].length;
      return Number.isFinite(Number(number[0])) ? put("number", -1, -1, Number(number[0])) : fail("A number is too large for double precision.");
    }
    const word = /^[A-Za-z]+/.exec(source.slice(at));
    if (!word) at < source.length ? strange() : fail("The expression ends too early.");
    at += word[0].length;
    const name = word[0];
    if (Object.hasOwn(UNARY, name)) {
      if (!take("(")) fail(`${name} needs its argument in brackets, as in ${name}(x).`);
      const inner = sum();
      return take(")") ? put(name === "ln" ? "log" : name, inner) : fail("A bracket is not closed.");
    }
    if (name === "x" || name === "y") return put(name);
    if (NAMED.has(name)) return put("number", -1, -1, NAMED.get(name));
    if (name.length > 1) fail(`${name.length > 20 ? name.slice(0, 20) + "…" : name} is not known: write x*y for a product; the functions are ${Object.keys(UNARY).join(", ")}.`);
    if (!constants.includes(name)) constants.push(name);
    return put("constant", -1, -1, constants.indexOf(name));
  }
  if (next() === undefined) fail("Type a loss, such as x^4 - 2x^2 + y^2.");
  const root = sum();
  if (next() !== undefined) strange();
  if (root !== ops.length - 1) fail("The expression could not be read.");
  return { ops, constants };
}

/* The functions of a tape as the page has them of a compiled loss: height(x, y), slope(x, y), look(x, y). */
function compiled({ ops }, constants, eigen) {
  const rows = ops.length, J = new Float64Array(6 * rows); // of each operation f, fx, fy, fxx, fxy, fyy
  const top = 6 * (rows - 1), hessian = new Float64Array(4), found = new Float64Array(10);
  function chain(k, a, f, g, h, order) {
    J[k] = f;
    if (order < 1) return;
    for (let i = 1; i < 3; i++) J[k + i] = J[a + i] === 0 ? 0 : g * J[a + i];
    if (order < 2) return;
    const [x, y] = [J[a + 1], J[a + 2]];
    const bent = (p, q, second) => (p && q ? h * p * q : 0) + (second ? g * second : 0);
    J[k + 3] = bent(x, x, J[a + 3]);
    J[k + 4] = bent(x, y, J[a + 4]);
    J[k + 5] = bent(y, y, J[a + 5]);
  }
  function evaluate(x, y, order) {
    for (let r = 0, k = 0; r < rows; r++, k += 6) {
      const { op, value } = ops[r], a = 6 * ops[r].a, b = 6 * ops[r].b;
      if (op === "number" || op === "constant" || op === "x" || op === "y") {
        J.fill(0, k, k + 6);
        J[k] = op === "number" ? value : op === "constant" ? constants[value] : op === "x" ? x : y;
        if (op === "x") J[k + 1] = 1;
        if (op === "y") J[k + 2] = 1;
      } else if (op === "+" || op === "-") {
        const sign = op === "+" ? 1 : -1;
        for (let i = 0; i < 6; i++) J[k + i] = J[a + i] + sign * J[b + i];
      } else if (op === "*") {
        const u = J[a], v = J[b];
        J[k] = u * v;
        if (order < 1) continue;
        J[k + 1] = u * J[b + 1] + v * J[a + 1];
        J[k + 2] = u * J[b + 2] + v * J[a + 2];
        if (order < 2) continue;
        J[k + 3] = u * J[b + 3] + 2 * J[a + 1] * J[b + 1] + v * J[a + 3];
        J[k + 4] = u * J[b + 4] + J[a + 1] * J[b + 2] + J[a + 2] * J[b + 1] + v * J[a + 4];
        J[k + 5] = u * J[b + 5] + 2 * J[a + 2] * J[b + 2] + v * J[a + 5];
      } else if (op === "power") {
        const u = J[a], g = value === 0 ? 0 : value * u ** (value - 1);
        chain(k, a, u ** value, g, value === 0 || value === 1 ? 0 : value * (value - 1) * u ** (value - 2), order);
      } else {
        const [f, g, h] = UNARY[op], u = J[a];
        chain(k, a, f(u), order ? g(u) : 0, order > 1 ? h(u) : 0, order);
      }
    }
  }
  return {
    height(x, y) { evaluate(x[0], x[1], 0); y[0] = J[top]; },
    slope(x, y) { evaluate(x[0], x[1], 1); y.set(J.subarray(top, top + 3)); },
    look(x, y) {
      evaluate(x[0], x[1], 2);
      hessian.set([J[top + 3], J[top + 4], J[top + 4], J[top + 5]]);
      eigen(hessian, found);
      y.set(J.subarray(top, top + 3));
      y.set(found, 3);
    },
  };
}
