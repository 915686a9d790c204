/* Proofs in the browser: Krawczyk's inclusion and the signs of the pivots, in intervals with outward rounding.

     x - Y g(x) + (I - Y H(X)) (X - x)  inside X   =>   X holds exactly one critical point, where H has no eigenvalue 0

   + - * / and the square root are rounded correctly in a browser, so that the next number outward bounds the true one.
   Other functions are not, and a program with one of them is not checked here.  A record is data: none of it is run. */

class Unchecked extends Error {}
const WORD_ = new Float64Array(1), BITS_ = new BigInt64Array(WORD_.buffer);
function above(x) {
  if (Number.isNaN(x)) throw new Unchecked("a number is not finite");
  if (x === Infinity) return x;
  if (x === 0) return Number.MIN_VALUE;
  WORD_[0] = x;
  BITS_[0] += x > 0 ? 1n : -1n;
  return WORD_[0];
}
const below = (x) => -above(-x);
const I = {
  of: (x) => [x, x],
  add: (a, b) => [below(a[0] + b[0]), above(a[1] + b[1])],
  neg: (a) => [-a[1], -a[0]],
  sub: (a, b) => I.add(a, I.neg(b)),
  mul: (a, b) => {
    if (I.zero(a) || I.zero(b)) return [0, 0];
    const all = [a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1]];
    return [below(Math.min(...all)), above(Math.max(...all))];
  },
  div: (a, b) => {
    if (!(b[0] > 0 || b[1] < 0)) throw new Unchecked("a divisor may be 0");
    const all = [a[0] / b[0], a[0] / b[1], a[1] / b[0], a[1] / b[1]];
    return [below(Math.min(...all)), above(Math.max(...all))];
  },
  sqrt: (a) => {
    if (!(a[0] > 0)) throw new Unchecked("a root may be of 0 or less");
    return [below(Math.sqrt(a[0])), above(Math.sqrt(a[1]))];
  },
  power: (a, k) => {
    if (k === 0) return [1, 1];
    if (k < 0) return I.div([1, 1], I.power(a, -k));
    const raised = (x, turn) => { let y = x; for (let j = 1; j < k; j++) y = turn(y * x); return y; }; // of x >= 0
    const low = (x) => Math.max(0, raised(x, (y) => Math.max(0, below(y)))), high = (x) => raised(x, above);
    if (k % 2) return [a[0] >= 0 ? low(a[0]) : -high(-a[0]), a[1] >= 0 ? high(a[1]) : -low(-a[1])];
    if (a[0] >= 0) return [low(a[0]), high(a[1])];
    if (a[1] <= 0) return [low(-a[1]), high(-a[0])];
    return [0, Math.max(high(-a[0]), high(a[1]))];
  },
  zero: (a) => a[0] === 0 && a[1] === 0,
  size: (a) => Math.max(Math.abs(a[0]), Math.abs(a[1])),
};

/* 2^e, exactly. */
function two(e) {
  if (e < -1022) return two(-1022) * two(Math.max(e + 1022, -1022));
  if (e > 1023) return Infinity;
  BITS_[0] = BigInt(e + 1023) << 52n;
  return WORD_[0];
}
/* A number in hexadecimal as records write it, exactly; one that is m 2^e, in bounds. */
function hexadecimal(text) {
  const parts = /^(-?)0x([01])(?:\.([0-9a-f]{1,13}))?p([+-]\d{1,4})$/.exec(text);
  if (!parts) throw new Unchecked("a number of the record cannot be read");
  const digits = parts[3] || "";
  return (parts[1] ? -1 : 1) * Number(BigInt("0x" + parts[2] + digits)) * two(Number(parts[4]) - 4 * digits.length);
}
function dyadic([m, e]) {
  if (!/^-?\d{1,400}$/.test(m) || !Number.isInteger(e) || Math.abs(e) > 1000) throw new Unchecked("a number of the record cannot be read");
  const whole = BigInt(m), near = Number(whole), exact = BigInt(near) === whole && Math.abs(e) < 900;
  return exact ? I.of(near * two(e)) : [below(below(near) * two(e)), above(above(near) * two(e))];
}

/* Value, gradient and Hessian of a program on a box: jets {v, g, h}, g and h null where they are 0. */
function jetOf(program, inputs) {
  const n = inputs.length, range = [...Array(n).keys()], made = [];
  const still = (v) => ({ v, g: null, h: null });
  const gradient = (a) => a.g || range.map(() => [0, 0]);
  const hessian = (a) => a.h || range.map(() => range.map(() => [0, 0]));
  const both = (op) => (a, b) => ({
    v: I[op](a.v, b.v),
    g: a.g || b.g ? range.map((i) => I[op](gradient(a)[i], gradient(b)[i])) : null,
    h: a.h || b.h ? range.map((i) => range.map((j) => I[op](hessian(a)[i][j], hessian(b)[i][j]))) : null,
  });
  const add = both("add"), sub = both("sub");
  function chain(a, value, first, second) { // f(a), f'(a), f''(a)
    if (!a.g) return still(value);
    const h = range.map((i) => range.map((j) => I.add(I.mul(second, I.mul(a.g[i], a.g[j])), I.mul(first, hessian(a)[i][j]))));
    return { v: value, g: a.g.map((one) => I.mul(first, one)), h };
  }
  function mul(a, b) {
    if (!a.g) return b.g ? chain(b, I.mul(a.v, b.v), a.v, [0, 0]) : still(I.mul(a.v, b.v));
    if (!b.g) return mul(b, a);
    const h = range.map((i) => range.map((j) => [I.mul(a.v, hessian(b)[i][j]), I.mul(b.v, hessian(a)[i][j]), I.mul(a.g[i], b.g[j]), I.mul(a.g[j], b.g[i])].reduce(I.add)));
    return { v: I.mul(a.v, b.v), g: range.map((i) => I.add(I.mul(a.v, b.g[i]), I.mul(b.v, a.g[i]))), h };
  }
  const power = (a, k) => chain(a, I.power(a.v, k), k ? I.mul(I.of(k), I.power(a.v, k - 1)) : [0, 0], k === 0 || k === 1 ? [0, 0] : I.mul(I.of(k * (k - 1)), I.power(a.v, k - 2)));
  function root(a) {
    const r = I.sqrt(a.v), first = I.div([0.5, 0.5], r);
    return chain(a, r, first, I.neg(I.div([0.25, 0.25], I.mul(a.v, r))));
  }
  const RULES = {
    add, sub, mul, neg: (a) => sub(still([0, 0]), a), square: (a) => power(a, 2), sqrt: root,
    div: (a, b) => mul(a, power(b, -1)), rsqrt: (a) => power(root(a), -1),
    abs: (a) => { if (a.v[0] > 0) return a; if (a.v[1] < 0) return sub(still([0, 0]), a); throw new Unchecked("a size may be that of 0"); },
  };
  const total = (list) => list.reduce(add);
  for (const [name, places, size, detail] of program) {
    const given = places.map((k) => made[k]);
    if (name === "input") made.push(inputs.map((v, i) => ({ v, g: range.map((j) => [+(i === j), +(i === j)]), h: null })));
    else if (name === "constant") made.push(detail.map((text) => still(I.of(hexadecimal(text)))));
    else if (name === "number") made.push([still(I.of(detail[0]))]);
    else if (name === "take") { const pool = given.flat(); made.push(detail.map((k) => pool[k])); }
    else if (name === "power") made.push(given[0].map((a) => power(a, detail[0])));
    else if (name === "sum") made.push(Array.from({ length: size }, (_, k) => total(given[0].slice(k * detail[0], (k + 1) * detail[0]))));
    else if (name === "matmul") {
      const [batches, m, inner, columns] = detail, out = [];
      for (let b = 0; b < batches; b++) for (let i = 0; i < m; i++) for (let j = 0; j < columns; j++)
        out.push(total(Array.from({ length: inner }, (_, k) => mul(given[0][(b * m + i) * inner + k], given[1][(b * inner + k) * columns + j]))));
      made.push(out);
    } else if (Object.hasOwn(RULES, name)) made.push(given[0].map((a, k) => RULES[name](a, ...given.slice(1).map((other) => other[k]))));
    else throw new Unchecked(`${String(name).slice(0, 20)} is not rounded correctly in a browser`);
  }
  const last = made.at(-1)[0];
  return { v: last.v, g: gradient(last), h: hessian(last) };
}
const middleOf = (table) => table.map((row) => row.map(([a, b]) => (a + b) / 2));
function inverse(table) { // near enough; what is wrong with it proves nothing
  const n = table.length, rows = table.map((row, i) => [...row, ...row.map((_, j) => +(i === j))]);
  for (let k = 0; k < n; k++) {
    let best = k;
    for (let i = k; i < n; i++) if (Math.abs(rows[i][k]) > Math.abs(rows[best][k])) best = i;
    [rows[k], rows[best]] = [rows[best], rows[k]];
    rows[k] = rows[k].map((one) => one / rows[k][k]);
    for (let i = 0; i < n; i++) if (i !== k) { const by = rows[i][k]; rows[i] = rows[i].map((one, j) => one - by * rows[k][j]); }
  }
  return rows.map((row) => row.slice(n));
}
function eigenvectors(table) { // by Jacobi's rotations: rows, of largest eigenvalue in size first
  const n = table.length, a = table.map((row) => [...row]), v = a.map((row, i) => row.map((_, j) => +(i === j)));
  for (let turn = 0; turn < 60; turn++) for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) {
    const angle = 0.5 * Math.atan2(2 * a[p][q], a[q][q] - a[p][p]), c = Math.cos(angle), s = Math.sin(angle);
    for (let k = 0; k < n; k++) [a[k][p], a[k][q]] = [c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]];
    for (let k = 0; k < n; k++) [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
    for (let k = 0; k < n; k++) [v[p][k], v[q][k]] = [c * v[p][k] - s * v[q][k], s * v[p][k] + c * v[q][k]];
  }
  return v.map((row, k) => [Math.abs(a[k][k]), row]).sort((one, other) => other[0] - one[0]).map(([, row]) => row);
}
/* How many eigenvalues are negative: Sylvester's law, by the pivots of V H V', which must have signs. */
function negatives(h) {
  const n = h.length, v = eigenvectors(middleOf(h)).map((row) => row.map(I.of));
  const product = (a, b) => a.map((row) => b[0].map((_, j) => row.map((one, k) => I.mul(one, b[k][j])).reduce(I.add)));
  const rest = product(product(v, h), v[0].map((_, j) => v.map((row) => row[j])));
  let count = 0;
  for (let k = 0; k < n; k++) {
    const pivot = rest[k][k];
    if (!(pivot[0] > 0 || pivot[1] < 0)) throw new Unchecked("an eigenvalue may be 0");
    count += +(pivot[1] < 0);
    for (let i = k + 1; i < n; i++) { const by = I.div(rest[i][k], pivot); for (let j = k; j < n; j++) rest[i][j] = I.sub(rest[i][j], I.mul(by, rest[k][j])); }
  }
  return count;
}
/* Whether exactly one critical point lies within `radius` of the center, and its index. */
function included(program, center, radius) {
  const wide = center.map(([low, high], i) => [below(low - radius[i]), above(high + radius[i])]);
  const thin = jetOf(program, center), { h } = jetOf(program, wide), n = center.length;
  const y = inverse(middleOf(thin.h)).map((row) => row.map(I.of));
  for (let i = 0; i < n; i++) {
    let reach = I.size(y[i].map((one, k) => I.mul(one, thin.g[k])).reduce(I.add));
    for (let j = 0; j < n; j++) {
      const change = I.sub(y[i].map((one, k) => I.mul(one, h[k][j])).reduce(I.add), I.of(+(i === j)));
      reach = above(reach + above(I.size(change) * radius[j]));
    }
    if (!(reach < radius[i])) return null;
  }
  return { index: negatives(thin.h) };
}
/* What comes of a record here: {held, said}. */
function checkedHere(record) {
  try {
    const center = record.center.map(dyadic), radius = record.radius.map(hexadecimal), found = included(record.program, center, radius);
    if (!found) return { held: false, said: "not checked here: the inclusion does not come out in double precision" };
    if (found.index !== record.index) return { held: false, said: "not checked here: the index of the record is wrong" };
    return { held: true, said: `checked here: exactly one critical point within ${short(Math.min(...radius))} of it, of index ${found.index}` };
  } catch (error) {
    if (error instanceof Unchecked) return { held: false, said: `not checked here: ${error.message}` };
    return { held: false, said: "not checked here: the record cannot be read" };
  }
}
/* A typed loss as a program, whose numbers are doubles; null for an operation that has no rule. */
function programOf({ ops }, constants) {
  const program = [["input", [], 2, [2]]];
  for (const { op, a, b, value } of ops) {
    const at = [a + 1, b + 1];
    if (op === "x" || op === "y") program.push(["take", [0], 1, [+(op === "y")]]);
    else if (op === "number" || op === "constant") program.push(["number", [], 1, [op === "number" ? value : constants[value]]]);
    else if (op === "+" || op === "-" || op === "*") program.push([{ "+": "add", "-": "sub", "*": "mul" }[op], at, 1, []]);
    else if (op === "power" && value === 0.5) program.push(["sqrt", [a + 1], 1, []]);
    else if (op === "power" && Number.isInteger(value) && Math.abs(value) <= 99) program.push(["power", [a + 1], 1, [value]]);
    else if (op === "sqrt" || op === "abs") program.push([op, [a + 1], 1, []]);
    else return null;
  }
  return program;
}
/* A proof of a point of a typed loss, by radii from large to small. */
function provedHere(program, x, reach) {
  for (let share = 1e-2; share > 1e-13; share /= 10) {
    try {
      const found = included(program, x.map(I.of), reach.map((one) => one * share));
      if (found) return { held: true, said: `proved here: exactly one critical point within ${short(share * Math.min(...reach))} of it, of index ${found.index}` };
    } catch (error) { if (!(error instanceof Unchecked)) throw error; }
  }
  return { held: false, said: "not proved here" };
}
