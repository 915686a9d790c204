/* Intervals with outward rounding: pairs of doubles, between which the true number lies.

   + - * / and the square root are rounded correctly in a browser, so that the next number outward bounds the true one.
   Other functions are not; they are made of those here.  A point is brought near 0, where Taylor's series and a bound of
   what is left of it hold the value; of an interval the ends tell, and the turning points within.

     e^x = 2^k e^r            r = x - k log 2          |r| < 0.4         log x = k log 2 + 2 artanh((m - 1) / (m + 1)),  x = m 2^k
     sin x = +- sin r, cos r  r = x - k pi/2           |r| < 0.8         atan x = 2 atan(x / (1 + root(1 + x^2))), twice

   A constant is a double of few digits, whose product with k is exact, and bounds of what is missing. */

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

/* ---- elementary functions ---- */
const LOG2 = [0.6931471804855391, [7.440617110012396e-11, 7.440617110012397e-11]];
const QUARTER = [1.5707963267341256, [6.077100506506192e-11, 6.077100506506194e-11]]; // pi / 2
const FAR = 2 ** 19; // where the product of k is exact
const FULL = [below(1), 1];
/* x - k c, where the double part of c has at most 33 digits. */
function reduced(x, k, [near, rest]) {
  const by = k * near, s = x - by, back = s - x, lost = x - (s - back) - (by + back); // x - by = s + lost, exactly
  return I.sub(lost === 0 ? I.of(s) : I.add(I.of(s), I.of(lost)), I.mul(I.of(k), rest));
}
const times = (k, [near, rest]) => I.add(I.of(k * near), I.mul(I.of(k), rest)); // k c
const scaled = (a, k) => { const half = Math.trunc(k / 2); return I.mul(I.mul(a, I.of(two(half))), I.of(two(k - half))); };
/* 1 + r/from (1 + r/(from + 1) (1 + ...)), which is e^r for from = 1; |r| < 0.7, so that e^r is between 0.4 and 2.1. */
function powers(r, from) {
  let sum = [0.4, 2.1];
  for (let k = 20; k >= from; k--) sum = I.add([1, 1], I.mul(I.div(r, I.of(k)), sum));
  return sum;
}
/* 1 - z/((first)(first + 1)) (1 - ...): sin r / r for first = 2 and cos r for first = 1, z = r^2. */
function waves(z, first) {
  let sum = [-1, 1];
  for (let k = first + 22; k >= first; k -= 2) sum = I.sub([1, 1], I.mul(I.div(z, I.of(k * (k + 1))), sum));
  return sum;
}
/* 1 + z/3 + z^2/5 + ..., z in [-0.05, 0.05]: artanh s / s for z = s^2, atan s / s for z = -s^2. */
function odds(z) {
  if (!(I.size(z) < 0.05)) throw new Unchecked("a number is not finite");
  let sum = I.div([0.9, 1.1], I.of(33));
  for (let k = 31; k >= 1; k -= 2) sum = I.add(I.div([1, 1], I.of(k)), I.mul(z, sum));
  return sum;
}
const artanh = (s) => I.mul(I.mul([2, 2], s), odds(I.power(s, 2))); // twice artanh s
/* Of a point: bounds of the function there. */
const AT = {
  exp(x) {
    if (x > 710) return [Number.MAX_VALUE, Infinity];
    if (x < -746) return [0, Number.MIN_VALUE];
    const k = Math.round(x / Math.LN2), [low, high] = scaled(powers(reduced(x, k, LOG2), 1), k);
    return [Math.max(0, low), high];
  },
  expm1: (x) => (Math.abs(x) < 0.5 ? I.mul(I.of(x), powers(I.of(x), 2)) : I.sub(AT.exp(x), [1, 1])),
  log(x) {
    if (!(x > 0)) throw new Unchecked("a logarithm may be of 0 or less");
    if (x === Infinity) return [709, Infinity];
    const k = Math.round(Math.log2(x)), m = k < -1000 ? x * 2 ** 1000 * two(-k - 1000) : x * two(-k);
    const part = artanh(I.div(I.sub(I.of(m), [1, 1]), I.add(I.of(m), [1, 1])));
    return k ? I.add(times(k, LOG2), part) : part;
  },
  log1p(x) {
    if (Math.abs(x) < 0.3) return artanh(I.div(I.of(x), I.add(I.of(x), [2, 2])));
    const [low, high] = I.add(I.of(x), [1, 1]);
    return [AT.log(low)[0], AT.log(high)[1]];
  },
  wave(x, turns) { // sin(x + turns pi/2)
    if (!(Math.abs(x) < FAR)) return [-1, 1];
    const k = Math.round(x / (Math.PI / 2)), r = reduced(x, k, QUARTER), z = I.power(r, 2), turn = (((k + turns) % 4) + 4) % 4;
    const [low, high] = turn % 2 ? waves(z, 1) : I.mul(r, waves(z, 2)), found = turn > 1 ? [-high, -low] : [low, high];
    return [Math.max(-1, found[0]), Math.min(1, found[1])];
  },
  atan(x) {
    if (x < 0) return I.neg(AT.atan(-x));
    if (x > 1) { const [low, high] = I.div([1, 1], I.of(x)); return I.sub(times(1, QUARTER), [AT.atan(low)[0], AT.atan(high)[1]]); }
    let s = I.of(x);
    for (let k = 0; k < 2; k++) s = I.div(s, I.add([1, 1], I.sqrt(I.add([1, 1], I.power(s, 2)))));
    return I.mul([4, 4], I.mul(s, odds(I.neg(I.power(s, 2)))));
  },
  tanh(x) {
    if (x < 0) return I.neg(AT.tanh(-x));
    if (x > 20) return FULL;
    const e = AT.expm1(2 * x), [low, high] = I.div(e, I.add(e, [2, 2]));
    return [low, Math.min(1, high)];
  },
  sinh(x) {
    if (x < 0) return I.neg(AT.sinh(-x));
    const e = AT.expm1(x);
    return I.mul([0.5, 0.5], I.add(e, I.div(e, I.add(e, [1, 1]))));
  },
  cosh(x) { const e = AT.exp(Math.abs(x)); return I.mul([0.5, 0.5], I.add(e, I.div([1, 1], e))); },
  logistic(x) { return I.div([1, 1], I.add([1, 1], AT.exp(-x))); },
};
for (const name of ["exp", "expm1", "log", "log1p", "atan", "tanh", "sinh", "logistic"]) { // they rise everywhere
  I[name] = ([low, high]) => [AT[name](low)[0], AT[name](high)[1]];
}
I.cosh = (a) => { const ends = a.map(AT.cosh), across = a[0] < 0 && a[1] > 0; return [across ? 1 : Math.min(ends[0][0], ends[1][0]), Math.max(ends[0][1], ends[1][1])]; };
function wave(a, turns) {
  if (!(I.size(a) < FAR) || a[1] - a[0] > 6) return [-1, 1];
  const ends = a.map((x) => AT.wave(x, turns)), found = [Math.min(ends[0][0], ends[1][0]), Math.max(ends[0][1], ends[1][1])];
  const places = I.add(I.div(a, times(1, QUARTER)), I.of(turns)); // in quarters of a turn; at odd ones the sine turns
  for (let k = Math.ceil(places[0]); k <= places[1]; k++) {
    if (((k % 4) + 4) % 4 === 1) found[1] = 1;
    if (((k % 4) + 4) % 4 === 3) found[0] = -1;
  }
  return found;
}
I.sin = (a) => wave(a, 0);
I.cos = (a) => wave(a, 1);
