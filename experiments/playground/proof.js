/* Proofs in the browser: Krawczyk's inclusion and the signs of the pivots, in intervals with outward rounding.

     x - Y g(x) + (I - Y H(X)) (X - x)  inside X   =>   X holds exactly one critical point, where H has no eigenvalue 0

   A program with a function that has no bounds in `intervals.js` is not checked here.  A record is data: none of it is run. */

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
  const power = (a, k) => Number.isInteger(k)
    ? chain(a, I.power(a.v, k), k ? I.mul(I.of(k), I.power(a.v, k - 1)) : [0, 0], k === 0 || k === 1 ? [0, 0] : I.mul(I.of(k * (k - 1)), I.power(a.v, k - 2)))
    : RULES.exp(mul(still(I.of(k)), RULES.log(a)));
  function root(a) {
    const r = I.sqrt(a.v), first = I.div([0.5, 0.5], r);
    return chain(a, r, first, I.neg(I.div([0.25, 0.25], I.mul(a.v, r))));
  }
  const one = [1, 1], shifted = (a, by) => add(a, still(by)), over = (by, a) => mul(still(by), a), half = (a) => over([0.5, 0.5], a);
  const sure = (truth) => { if (truth === null) throw new Unchecked("a comparison goes either way"); return truth; };
  const less = (a, b) => sure(a.v[1] < b.v[0] ? true : a.v[0] >= b.v[1] ? false : null);
  const RULES = {
    add, sub, mul, neg: (a) => sub(still([0, 0]), a), square: (a) => power(a, 2), sqrt: root,
    div: (a, b) => mul(a, power(b, -1)), rsqrt: (a) => power(root(a), -1),
    exp: (a) => { const e = I.exp(a.v); return chain(a, e, e, e); },
    expm1: (a) => { const e = I.exp(a.v); return chain(a, I.expm1(a.v), e, e); },
    log: (a) => { const by = I.div(one, a.v); return chain(a, I.log(a.v), by, I.neg(I.power(by, 2))); },
    log1p: (a) => { const by = I.div(one, I.add(one, a.v)); return chain(a, I.log1p(a.v), by, I.neg(I.power(by, 2))); },
    sin: (a) => { const s = I.sin(a.v); return chain(a, s, I.cos(a.v), I.neg(s)); },
    cos: (a) => { const c = I.cos(a.v); return chain(a, c, I.neg(I.sin(a.v)), I.neg(c)); },
    tan: (a) => RULES.div(RULES.sin(a), RULES.cos(a)),
    sinh: (a) => { const s = I.sinh(a.v); return chain(a, s, I.cosh(a.v), s); },
    cosh: (a) => { const c = I.cosh(a.v); return chain(a, c, I.sinh(a.v), c); },
    tanh: (a) => { const t = I.tanh(a.v), first = I.power(I.div(one, I.cosh(a.v)), 2); return chain(a, t, first, I.mul([-2, -2], I.mul(t, first))); },
    logistic: (a) => { const s = I.logistic(a.v), t = I.logistic(I.neg(a.v)), first = I.mul(s, t); return chain(a, s, first, I.mul(first, I.sub(t, s))); },
    atan: (a) => { const first = I.div(one, I.add(one, I.power(a.v, 2))); return chain(a, I.atan(a.v), first, I.mul(I.mul([-2, -2], a.v), I.power(first, 2))); },
    asin: (a) => RULES.atan(RULES.div(a, root(sub(still(one), power(a, 2))))),
    acos: (a) => sub(still(times(1, QUARTER)), RULES.asin(a)),
    asinh: (a) => RULES.log(add(a, root(shifted(power(a, 2), one)))),
    acosh: (a) => RULES.log(add(a, root(shifted(power(a, 2), [-1, -1])))),
    atanh: (a) => half(RULES.log(RULES.div(shifted(a, one), sub(still(one), a)))),
    abs: (a) => (less(still([0, 0]), a) ? a : RULES.neg(a)),
    max: (a, b) => (less(a, b) ? b : a), min: (a, b) => (less(a, b) ? a : b),
    less, equal: (a, b) => sure(a.v[1] < b.v[0] || b.v[1] < a.v[0] ? false : a.v[0] === a.v[1] && b.v[0] === b.v[1] ? true : null),
    not: (a) => !a, and: (a, b) => a && b, or: (a, b) => a || b, select: (truth, a, b) => (truth ? b : a),
  };
  function logSumExp(list) { // the largest taken away before and added after
    const most = still(I.of(Math.max(...list.map(({ v }) => v[1]))));
    return add(most, RULES.log(total(list.map((a) => RULES.exp(sub(a, most))))));
  }
  const total = (list) => list.reduce(add);
  for (const [name, places, size, detail] of program) {
    const given = places.map((k) => made[k]);
    if (name === "input") made.push(inputs.map((v, i) => ({ v, g: range.map((j) => [+(i === j), +(i === j)]), h: null })));
    else if (name === "constant") made.push(detail.map((text) => still(I.of(hexadecimal(text)))));
    else if (name === "number") made.push([still(I.of(detail[0]))]);
    else if (name === "truth") made.push([...detail]);
    else if (name === "take" || name === "pick") { const pool = given.flat(); made.push(detail.map((k) => pool[k])); }
    else if (name === "power") made.push(given[0].map((a) => power(a, detail[0])));
    else if (name === "sum" || name === "logsumexp")
      made.push(Array.from({ length: size }, (_, k) => (name === "sum" ? total : logSumExp)(given[0].slice(k * detail[0], (k + 1) * detail[0]))));
    else if (name === "matmul") {
      const [batches, m, inner, columns] = detail, out = [];
      for (let b = 0; b < batches; b++) for (let i = 0; i < m; i++) for (let j = 0; j < columns; j++)
        out.push(total(Array.from({ length: inner }, (_, k) => mul(given[0][(b * m + i) * inner + k], given[1][(b * inner + k) * columns + j]))));
      made.push(out);
    } else if (Object.hasOwn(RULES, name)) made.push(given[0].map((a, k) => RULES[name](a, ...given.slice(1).map((other) => other[k]))));
    else throw new Unchecked(`${String(name).slice(0, 20)} has no bounds in a browser`);
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
/* A typed loss as a program, whose numbers are doubles; null for a power that is too high. */
function programOf({ ops }, constants) {
  const program = [["input", [], 2, [2]]];
  for (const { op, a, b, value } of ops) {
    const at = [a + 1, b + 1];
    if (op === "x" || op === "y") program.push(["take", [0], 1, [+(op === "y")]]);
    else if (op === "number" || op === "constant") program.push(["number", [], 1, [op === "number" ? value : constants[value]]]);
    else if (op === "+" || op === "-" || op === "*") program.push([{ "+": "add", "-": "sub", "*": "mul" }[op], at, 1, []]);
    else if (op === "power" && value === 0.5) program.push(["sqrt", [a + 1], 1, []]);
    else if (op === "power") { if (Number.isInteger(value) && Math.abs(value) > 99) return null; program.push(["power", [a + 1], 1, [value]]); }
    else program.push([op, [a + 1], 1, []]);
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
