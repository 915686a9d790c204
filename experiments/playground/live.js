/* The page that computes.  f: the functions emitted from the loss and the optimizers; state: what the user chose; runs:
   what was computed for it.  A run is computed again whenever the start or a number of it moves. */

const data = JSON.parse($("data").textContent);
const f = { ...emittedFunctions };
const names = data.optimizers.map((one) => one.name), size = data.size;
const MAP = [46, 10, 10, 32], LOSS = [54, 10, 10, 34], SIDE = 96, LEVELS = 18, MOST = 5000, SNAP = 9;
const dark = matchMedia("(prefers-color-scheme: dark)"), still = matchMedia("(prefers-reduced-motion: reduce)");
let box = data.box.map((side) => [...side]);
const plain = () => state.text !== "" || data.plain;

const state = {
  start: data.starts[0].x.slice(), steps: Math.min(data.steps, 2000), row: 0, focus: 0, text: "", constants: [],
  on: names.map((_, i) => i < 5), values: data.optimizers.map((one) => one.hypers.map((hyper) => hyper.value)),
};
state.row = Math.round(state.steps * 0.3);
const drawn = { paths: {}, losses: {}, points: [], milliseconds: 0 };
let runs = [], points = data.points, cursor = null, background = null, mapFrame, lossFrame, tape = null, lowest = 0;
window.gdlab = { data, state, drawn, f, look, search, read, compiled, change, runs: () => runs, points: () => points, toPixel };

/* ---- runs ---- */
function run(i) {
  const card = data.optimizers[i], hypers = state.values[i], h = hypers.length, s = card.state, n = size, N = state.steps;
  const x = new Float64Array(h + s + 2 * n + 1), y = new Float64Array(s + 7 + n), g = new Float64Array(n + 1);
  const theta = new Float64Array(n), place = new Float64Array(2), begin = new Float64Array(h + n);
  const out = { x: new Float64Array(2 * (N + 1)).fill(NaN), loss: new Float64Array(N + 1).fill(NaN), piece: new Float64Array(7 * (N + 1)).fill(NaN), last: N };
  f.embed(state.start, theta);
  begin.set(hypers);
  begin.set(theta, h);
  f["init" + i](begin, y);
  x.set(hypers);
  x.set(y.subarray(0, s), h);
  for (let t = 0; t <= N; t++) {
    f.slope(theta, g);
    f.project(theta, place);
    out.x.set(place, 2 * t);
    out.loss[t] = g[0];
    if (!theta.every(Number.isFinite) || !g.every(Number.isFinite)) { out.last = t; break; }
    x.set(theta, h + s);
    x.set(g.subarray(1), h + s + n);
    x[h + s + 2 * n] = g[0];
    f["step" + i](x, y);
    out.piece.set(y.subarray(s, s + 7), 7 * t);
    x.set(y.subarray(0, s), h);
    theta.set(y.subarray(s + 7));
  }
  return out;
}
const compute = () => { runs = names.map((_, i) => (state.on[i] ? run(i) : null)); };

/* ---- what there is to know of a point ---- */
const seen = new Float64Array(13);
function look(x) {
  f.look(x, seen);
  const [value, gx, gy, a, b, , d, low, high, l0, l1, h0, h1] = seen;
  return { x: [...x], value, g: [gx, gy], hessian: [a, b, d], low, high, lowest: [l0, l1], highest: [h0, h1] };
}
const index = (p) => (p.low < 0) + (p.high < 0);
const unsure = (p) => !(Math.min(Math.abs(p.low), Math.abs(p.high)) > 1e-7 * Math.max(Math.abs(p.low), Math.abs(p.high)));
function kindOf(p) {
  if (![p.low, p.high].every(Number.isFinite)) return "undetermined";
  return unsure(p) ? "degenerate" : ["minimum", "saddle", "maximum"][index(p)];
}
/* Critical points in the window, by Newton's steps from a grid of places; those of a typed loss are sought here. */
function search() {
  const [[x0, x1], [y0, y1]] = box, found = [], reach = [x1 - x0, y1 - y0];
  let scale = 0;
  const places = [];
  for (let i = 0; i < 25; i++) for (let j = 0; j < 25; j++) places.push([x0 + (reach[0] * i) / 24, y0 + (reach[1] * j) / 24]);
  for (const at of places) { const s = Math.hypot(...look(at).g); if (Number.isFinite(s)) scale = Math.max(scale, s); }
  for (const from of places) {
    let x = from, p = look(x), length = Infinity, slow = 0; // Newton's steps shrink slowly where the Hessian is singular
    for (let k = 0; k < 80 && length > 1e-14 * Math.max(...reach, Math.hypot(...x)); k++) {
      const step = [0, 0];
      for (const [value, v] of [[p.low, p.lowest], [p.high, p.highest]]) {
        const along = p.g[0] * v[0] + p.g[1] * v[1], by = along === 0 ? 0 : -along / value;
        if (Number.isFinite(by)) for (const k of [0, 1]) step[k] += by * v[k];
      }
      const far = Math.max(Math.abs(step[0]) / reach[0], Math.abs(step[1]) / reach[1]) * 5, by = far > 1 ? 1 / far : 1;
      const before = length;
      length = by * Math.hypot(...step);
      if (length > 1e-9 * Math.max(...reach) && length < 0.01 * Math.min(...reach) && length > 0.3 * before) slow++;
      x = [x[0] + by * step[0], x[1] + by * step[1]];
      p = look(x);
    }
    if (!(Math.hypot(...p.g) <= 1e-9 * scale) || x[0] < x0 || x[0] > x1 || x[1] < y0 || x[1] > y1) continue;
    const vague = unsure(p) || slow > 5, near = vague ? 1e-2 : 1e-6;
    if (found.some((q) => Math.hypot((q.x[0] - x[0]) / reach[0], (q.x[1] - x[1]) / reach[1]) < Math.max(near, q.near))) continue;
    const down = vague ? [] : [[p.low, p.lowest], [p.high, p.highest]].filter(([value]) => value < 0).map(([, v]) => v);
    found.push({ x, kind: vague ? "degenerate" : kindOf(p), near, down });
    if (found.length >= 60) break;
  }
  return found;
}

/* ---- where numbers lie ---- */
function toPixel([x, y]) {
  const m = mapFrame, [[x0, x1], [y0, y1]] = box;
  return [m.x + ((x - x0) / (x1 - x0)) * m.width, m.y + ((y1 - y) / (y1 - y0)) * m.height];
}
function fromPixel(u, v) {
  const m = mapFrame, [[x0, x1], [y0, y1]] = box, share = (w) => Math.min(Math.max(w, 0), 1);
  return [x0 + share((u - m.x) / m.width) * (x1 - x0), y1 - share((v - m.y) / m.height) * (y1 - y0)];
}

/* ---- the map ---- */
function surface() {
  const width = Math.round(mapFrame.width), height = Math.round(mapFrame.height);
  if (background && background.width === width && background.height === height) return background;
  background = document.createElement("canvas");
  background.width = width;
  background.height = height;
  const [[x0, x1], [y0, y1]] = box, grid = new Float64Array(SIDE * SIDE), y = new Float64Array(1);
  for (let j = 0, k = 0; j < SIDE; j++) for (let i = 0; i < SIDE; i++, k++) {
    f.height([x0 + ((x1 - x0) * i) / (SIDE - 1), y0 + ((y1 - y0) * j) / (SIDE - 1)], y);
    grid[k] = y[0];
  }
  const known = grid.filter(Number.isFinite).sort();
  lowest = known.length ? known[0] : 0;
  const levels = [...new Set(Array.from({ length: LEVELS - 2 }, (_, k) => known[Math.floor(((k + 1) / (LEVELS - 1)) * (known.length - 1))]))];
  paint(background, known.length ? levels : [], (u, v) => {
    const x = ((u + 0.5) / width) * (SIDE - 1), w = (1 - (v + 0.5) / height) * (SIDE - 1);
    const i = Math.min(Math.floor(x), SIDE - 2), j = Math.min(Math.floor(w), SIDE - 2), a = x - i, b = w - j, k = j * SIDE + i;
    return (1 - b) * ((1 - a) * grid[k] + a * grid[k + 1]) + b * ((1 - a) * grid[k + SIDE] + a * grid[k + SIDE + 1]);
  });
  return background;
}
const pathOf = (i, from = 0, to = runs[i].last) => {
  const path = [];
  for (let t = from; t <= to; t++) path.push(toPixel([runs[i].x[2 * t], runs[i].x[2 * t + 1]]));
  return path;
};
function clipped(frame) {
  const c = frame.context;
  c.save();
  c.beginPath();
  c.rect(frame.x, frame.y, frame.width, frame.height);
  c.clip();
}
const colourOf = (i) => (dark.matches && data.optimizers[i].colour === "#000000" ? "#ffffff" : data.optimizers[i].colour);
function dot(c, [x, y], r, fill, edge) {
  c.beginPath();
  c.arc(x, y, r, 0, 7);
  c.fillStyle = fill;
  c.fill();
  c.strokeStyle = edge;
  c.lineWidth = 1.4;
  c.stroke();
}
function drawMap() {
  const m = (mapFrame = frame($("map").firstElementChild, MAP)), c = m.context, [[x0, x1], [y0, y1]] = box;
  c.drawImage(surface(), m.x, m.y, m.width, m.height);
  for (const x of nice(x0, x1)) text(c, short(x), toPixel([x, 0])[0], m.y + m.height + 5, "center", "top");
  for (const y of nice(y0, y1)) text(c, short(y), m.x - 5, toPixel([0, y])[1], "right", "middle");
  const axes = state.text ? ["x", "y"] : data.axes;
  text(c, axes[0], m.x + m.width / 2, m.y + m.height + 18, "center", "top");
  upright(c, axes[1], 2, m.y + m.height / 2);
  clipped(m);
  const ways = ([u, v], at, colour) => {
    const way = [(u / (x1 - x0)) * m.width, (-v / (y1 - y0)) * m.height], long = Math.hypot(...way) || 1;
    for (const sign of [28, -28]) arrow(c, at, way.map((w) => (sign * w) / long), colour, 1.8);
  };
  drawn.points = points.map((point) => ({ kind: point.kind, at: toPixel(point.x) }));
  points.forEach((point, k) => point.down.forEach((v) => ways(v, drawn.points[k].at, data.kinds.saddle)));
  drawn.paths = {};
  names.forEach((name, i) => {
    if (!state.on[i]) return;
    const row = Math.min(state.row, runs[i].last), path = (drawn.paths[name] = pathOf(i, 0, row));
    line(c, pathOf(i, row), colourOf(i) + "50", 1.2);
    line(c, path, "#ffffffaa", i === state.focus ? 5 : 3.6);
    line(c, path, colourOf(i), i === state.focus ? 2.4 : 1.7);
  });
  for (const { kind, at } of drawn.points) mark(c, kind, at, data.kinds);
  names.forEach((_, i) => { if (state.on[i] && i !== state.focus) now(c, i); });
  if (state.on[state.focus]) now(c, state.focus);
  if (cursor) {
    const p = look(cursor), at = toPixel(cursor);
    ways(p.lowest, at, "#b3261e");
    ways(p.highest, at, "#1c2530");
  }
  dot(c, toPixel(state.start), 7, "#ffffff", "#000000");
  dot(c, toPixel(state.start), 2, "#000000", "#000000");
  c.restore();
  border(m);
}
/* Where a run is, and its next step: minus m dashed, the step itself solid, 1 / sigma as an ellipse. */
function now(c, i) {
  const t = Math.min(state.row, runs[i].last), here = toPixel(runs[i].x.subarray(2 * t, 2 * t + 2)), m = mapFrame;
  if (!finite(here)) return;
  const [, s0, s1, m0, m1, u0, u1] = runs[i].piece.subarray(7 * t, 7 * t + 7), [[x0, x1], [y0, y1]] = box;
  const pixels = (x, y) => [(x / (x1 - x0)) * m.width, (-y / (y1 - y0)) * m.height];
  const focus = i === state.focus, update = pixels(u0, u1), long = Math.hypot(...update), most = Math.max(1 / s0, 1 / s1);
  if (focus && plain() && most > 0 && Number.isFinite(most)) {
    c.beginPath();
    c.ellipse(...here, 30 / s0 / most, 30 / s1 / most, 0, 0, 7);
    c.fillStyle = colourOf(i) + "22";
    c.fill();
    c.strokeStyle = colourOf(i) + "99";
    c.lineWidth = 1;
    c.stroke();
  }
  if (focus && long > 0.01) {
    const way = pixels(-m0, -m1), far = Math.hypot(...way);
    if (far > 0 && Number.isFinite(far)) arrow(c, here, way.map((w) => (46 * w) / far), "#1c2530", 1.6, [4, 3]);
  }
  arrow(c, here, focus && long > 0.01 && long < 24 ? update.map((w) => (24 * w) / long) : update, colourOf(i), focus ? 3 : 2);
  dot(c, here, focus ? 5 : 4, colourOf(i), "#ffffff");
}

/* ---- the losses ---- */
function drawLoss() {
  const l = (lossFrame = frame($("loss").firstElementChild, LOSS)), c = l.context, N = state.steps;
  const shown = names.map((_, i) => i).filter((i) => state.on[i]);
  let base = lowest, low = Infinity, high = -Infinity;
  for (const i of shown) for (const v of runs[i].loss) if (v < base && v > lowest - 100 * Math.abs(runs[i].loss[0] - lowest)) base = v;
  for (const i of shown) {
    high = Math.max(high, runs[i].loss[0] - base);
    for (const v of runs[i].loss) if (v - base > 0) low = Math.min(low, v - base);
  }
  if (!(high > 0) || !Number.isFinite(high)) high = 1;
  const top = Math.ceil(Math.log10(high) + 0.2), foot = Math.max(Math.min(Math.floor(Math.log10(low)), top - 1), top - 16);
  const place = (t, v) => [
    l.x + (Math.log10(t + 1) / Math.log10(N + 1)) * l.width,
    l.y + (1 - (Math.min(Math.log10(Math.max(v - base, 10 ** foot)), top + 0.3) - foot) / (top - foot)) * l.height,
  ];
  for (let d = foot; d <= top; d += Math.max(1, Math.ceil((top - foot) / 7))) {
    const y = l.y + (1 - (d - foot) / (top - foot)) * l.height;
    line(c, [[l.x, y], [l.x + l.width, y]], tones.grid, 1);
    text(c, d >= -3 && d <= 3 ? String(+(10 ** d).toPrecision(1)) : "1e" + d, l.x - 5, y, "right", "middle");
  }
  for (let d = 0; 10 ** d <= N + 1; d++) {
    const x = place(10 ** d - 1, 1)[0];
    line(c, [[x, l.y], [x, l.y + l.height]], tones.grid, 1);
    text(c, String(10 ** d), x, l.y + l.height + 5, "center", "top");
  }
  text(c, "step + 1", l.x + l.width / 2, l.y + l.height + 19, "center", "top");
  upright(c, "loss above " + short(base), 2, l.y + l.height / 2);
  clipped(l);
  drawn.losses = {};
  for (const i of shown) {
    const curve = [];
    for (let t = 0, last = -1; t <= runs[i].last; t++) { // one point a pixel is enough
      const p = place(t, runs[i].loss[t]);
      if (p[0] - last >= 0.5 || t === state.row) { curve.push([...p, t]); last = p[0]; }
    }
    drawn.losses[names[i]] = curve;
    line(c, curve, colourOf(i) + "66", 1.4);
    line(c, curve.filter((p) => p[2] <= state.row), colourOf(i), i === state.focus ? 2.4 : 1.7);
  }
  const x = place(state.row, 1)[0];
  line(c, [[x, l.y], [x, l.y + l.height]], tones.soft, 1);
  c.restore();
  border(l);
}

/* ---- words ---- */
const pair = (v) => `(${short(v[0])}, ${short(v[1])})`;
function listed(box, title, rows, colour = "") {
  const head = document.createElement("h2"), list = document.createElement("dl");
  head.textContent = title;
  head.style.color = colour;
  for (const [term, said] of rows) {
    list.append(Object.assign(document.createElement("dt"), { textContent: term }));
    list.append(Object.assign(document.createElement("dd"), { textContent: said }));
  }
  box.replaceChildren(head, list);
}
function pointWords(p, known) {
  const kind = known ? known.kind : Math.hypot(...p.g) === 0 && plain() ? kindOf(p) : null;
  const ways = ["no direction", "one direction", "every direction"][index(p)], where = plain() ? "" : " in the plane";
  const curved = `index ${index(p)}${where}: eigenvalues ${short(p.low)} along ${pair(p.lowest)}, ${short(p.high)} along ${pair(p.highest)}`;
  const said = !kind ? "no critical point is known here"
    : !plain() ? `${kind}, by all ${size} parameters`
    : kind === "saddle" ? `a saddle: the loss falls both ways along ${pair(p.lowest)}, and rises along ${pair(p.highest)}`
    : kind === "minimum" || kind === "maximum" ? `a ${kind}: the loss ${kind === "minimum" ? "rises" : "falls"} in every direction`
    : "its Hessian does not decide its kind: an eigenvalue is 0 to rounding";
  return [["kind", said], ["loss", short(p.value)], ["at", pair(p.x)], ["gradient", `${pair(p.g)}, length ${short(Math.hypot(...p.g))}`],
    ["Hessian", `[[${short(p.hessian[0])}, ${short(p.hessian[1])}], [${short(p.hessian[1])}, ${short(p.hessian[2])}]]`],
    ["curvature", curved + (kind ? "" : `; it curves down in ${ways}`)]];
}
const knownAt = (x) => points.find((point) => [0, 1].every((k) => Math.abs(point.x[k] - x[k]) <= 1e-9 * (box[k][1] - box[k][0])));
function explain() {
  const at = cursor || state.start, p = look(at), known = knownAt(at);
  listed($("point"), cursor ? "Under the cursor" : "At the start", pointWords(p, known));
  const i = state.focus;
  if (state.on[i]) {
    const t = Math.min(state.row, runs[i].last), [eta, s0, s1, m0, m1, u0, u1] = runs[i].piece.subarray(7 * t, 7 * t + 7);
    const readable = Number.isFinite(eta), rows = [["loss", short(runs[i].loss[t])], ["at", pair(runs[i].x.subarray(2 * t, 2 * t + 2))]];
    if (readable) rows.push(["η", short(eta)], ...(plain() ? [["σ", pair([s0, s1])]] : []), ["m", pair([m0, m1])]);
    rows.push([readable ? "−η/σ·m" : "step", pair([u0, u1])]);
    listed($("step"), `${names[i]}, step ${t}${runs[i].last < state.row ? ", diverged" : ""}`, rows, colourOf(i));
  } else $("step").replaceChildren();
  const rows = names.map((name, i) => {
    if (!state.on[i]) return null;
    const r = runs[i], row = document.createElement("tr"), last = [r.x[2 * r.last], r.x[2 * r.last + 1]];
    const said = r.last < state.steps ? `not finite after ${r.last} steps` : short(r.loss[r.last]);
    const here = r.last < Math.min(state.row + 1, state.steps) ? "not finite" : short(r.loss[state.row]);
    for (const words of [name, here, said, r.last < state.steps ? "" : pair(last)]) row.append(Object.assign(document.createElement("td"), { textContent: words }));
    return row;
  });
  $("table").replaceChildren(...rows.filter(Boolean));
}

/* ---- sliders: of a share its distance from 1, of others the logarithm, 0 at the left end ---- */
const SLIDES = 1000;
function scaleOf(hyper) {
  if (hyper.high === 1) return { to: (s) => 1 - 10 ** ((-5 * s) / SLIDES), from: (v) => (-SLIDES / 5) * Math.log10(Math.max(1 - v, 1e-5)) };
  if (hyper.low < 0) return { to: (s) => (20 * s) / SLIDES - 10, from: (v) => ((v + 10) * SLIDES) / 20 };
  const middle = hyper.value - hyper.low > 0 ? Math.log10(hyper.value - hyper.low) : -3;
  return {
    to: (s) => (s <= 0 ? hyper.low : hyper.low + 10 ** (middle - 3 + (5 * s) / SLIDES)),
    from: (v) => (v <= hyper.low ? 0 : ((Math.log10(v - hyper.low) - middle + 3) * SLIDES) / 5),
  };
}
function slider(label, scale, value, set) {
  const one = document.createElement("label"), input = Object.assign(document.createElement("input"), { type: "range", min: 0, max: SLIDES, step: 1 });
  const said = document.createElement("output");
  one.append(label + " ", input, said);
  input.value = scale.from(value);
  said.textContent = short(value);
  input.oninput = () => { const now = scale.to(+input.value); said.textContent = short(now); set(now); };
  return one;
}
function sliders() {
  const i = state.focus, hypers = data.optimizers[i].hypers;
  $("hypers").replaceChildren(...hypers.map((hyper, k) => slider(hyper.name, scaleOf(hyper), state.values[i][k], (value) => {
    state.values[i][k] = value;
    change({}, true);
  })));
  const linear = scaleOf({ low: -1, high: Infinity });
  $("constants").replaceChildren(...(tape ? tape.constants : []).map((name, k) => slider(name, linear, state.constants[k], (value) => {
    state.constants[k] = value;
    retype();
  })));
}
function controls() {
  const set = (id, value, words) => { $(id).value = value; $(id).nextElementSibling.textContent = words; };
  $("row").max = state.steps;
  set("row", state.row, String(state.row));
  set("steps", Math.round((Math.log10(state.steps) / Math.log10(MOST)) * SLIDES), String(state.steps));
  $("play").textContent = timer ? "pause" : "play";
  $("play").setAttribute("aria-pressed", Boolean(timer));
  names.forEach((_, i) => $("optimizers").children[i].setAttribute("aria-pressed", state.on[i]));
}

/* ---- a typed loss ---- */
function retype() {
  Object.assign(f, compiled(tape, state.constants, f.eigen));
  background = null;
  mapFrame = frame($("map").firstElementChild, MAP);
  surface();
  points = search();
  change({}, true);
}
function typed(source, constants = null) {
  try {
    if (source.trim() === "") {
      tape = null;
      Object.assign(f, emittedFunctions);
      points = data.points;
      background = null;
      box = data.box.map((side) => [...side]);
    } else {
      tape = read(source);
      if (!state.text) box = [[-2.5, 2.5], [-2.5, 2.5]];
      state.constants = tape.constants.map((_, k) => (constants && Number.isFinite(constants[k]) ? constants[k] : 1));
    }
    const was = state.text;
    state.text = source.trim();
    if (Boolean(was) !== Boolean(state.text)) state.start = state.text ? [0.1, 1.2] : data.starts[0].x.slice();
    $("said").textContent = "";
    sliders();
    tape ? retype() : change({}, true);
    if (tape) $("said").textContent = `${points.length} critical point${points.length === 1 ? "" : "s"} found in the window.`;
  } catch (error) {
    if (!(error instanceof Misread)) throw error;
    $("said").textContent = error.message;
  }
}

/* ---- the address: what the user chose, so that it can be shared ---- */
function remember() {
  const { start, steps, row, focus, on, values, text: typedText, constants } = state;
  const text = encodeURIComponent(JSON.stringify({ start, steps, row, focus, on, values, text: typedText, constants }));
  try { history.replaceState(null, "", "#" + text); } catch { /* where an address cannot be written, none is */ }
}
const number = (value, low, high, other) => (Number.isFinite(value) && value >= low && value <= high ? value : other);
function recall() {
  let told;
  try { told = JSON.parse(decodeURIComponent(location.hash.slice(1))); } catch { return; }
  if (typeof told !== "object" || told === null) return;
  const list = (value) => (Array.isArray(value) ? value : []);
  if (typeof told.text === "string" && $("typed")) { $("typed").value = told.text.slice(0, WIDEST); typed($("typed").value, list(told.constants)); }
  state.start = state.start.map((was, k) => number(list(told.start)[k], -1e12, 1e12, was));
  state.steps = Math.round(number(told.steps, 1, MOST, state.steps));
  state.row = Math.round(number(told.row, 0, state.steps, Math.min(state.row, state.steps)));
  state.focus = Math.round(number(told.focus, 0, names.length - 1, state.focus));
  state.on = state.on.map((was, i) => (typeof list(told.on)[i] === "boolean" ? told.on[i] : was));
  state.values = state.values.map((row, i) => row.map((was, k) => number(list(list(told.values)[i])[k], data.optimizers[i].hypers[k].low, data.optimizers[i].hypers[k].high, was)));
}

/* ---- drawing, at most once a frame ---- */
function toned() {
  Object.assign(tones, dark.matches
    ? { soft: "#a9b4c0", edge: "#5b6673", grid: "#2b343e", low: [86, 98, 116], high: [188, 194, 202] }
    : { soft: "#5b6673", edge: "#9aa4b0", grid: "#eceff3", low: [132, 146, 166], high: [252, 253, 253] });
  background = null;
}
let asked = false, stale = true, remembering = null;
function draw() {
  const began = performance.now();
  if (stale) compute();
  stale = false;
  drawMap();
  drawLoss();
  explain();
  controls();
  drawn.milliseconds = performance.now() - began;
}
function change(what, again = false) {
  Object.assign(state, what);
  stale = stale || again;
  state.row = Math.min(Math.max(state.row, 0), state.steps);
  clearTimeout(remembering);
  remembering = setTimeout(remember, 250);
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

/* ---- what the user does ---- */
let timer = null;
const halt = () => { clearInterval(timer); timer = null; };
function play() {
  if (timer) { halt(); return change({}); }
  if (still.matches) return change({ row: state.steps });
  let at = state.row >= state.steps ? 0 : state.row;
  timer = setInterval(() => {
    at = Math.min(state.steps, at + Math.max(1, Math.round(at / 40)));
    if (at >= state.steps) halt();
    change({ row: at });
  }, 50);
  change({ row: at });
}
function toggle(i) {
  const on = state.on.map((was, k) => (k === i ? !was : was));
  change({ on, focus: on[i] ? i : Math.max(on.indexOf(true), 0) }, true);
  sliders();
}
function focusOn(i) {
  change({ focus: i });
  sliders();
}
names.forEach((name, i) => {
  const button = document.createElement("button"), mark = document.createElement("i");
  button.style.setProperty("--colour", data.optimizers[i].colour);
  button.append(mark, name);
  button.onclick = () => (state.on[i] && state.focus !== i ? focusOn(i) : toggle(i));
  $("optimizers").append(button);
});
data.starts.forEach(({ name, x }, k) => $("start").append(Object.assign(document.createElement("option"), { value: k, textContent: name })));
$("start").onchange = () => change({ start: data.starts[+$("start").value].x.slice() }, true);
$("row").oninput = (event) => change({ row: +event.target.value });
$("steps").oninput = (event) => change({ steps: Math.max(1, Math.round(MOST ** (+event.target.value / SLIDES))) }, true);
$("play").onclick = play;
$("reset").onclick = () => { state.values = data.optimizers.map((one) => one.hypers.map((hyper) => hyper.value)); sliders(); change({}, true); };
$("push").onclick = () => { // along the eigenvector of the lowest eigenvalue, by a hundredth of the window
  const p = look(state.start), by = 0.01 * Math.min(box[0][1] - box[0][0], box[1][1] - box[1][0]);
  change({ start: state.start.map((v, k) => v + by * p.lowest[k]) }, true);
};
$("save").onclick = () => {
  const link = Object.assign(document.createElement("a"), { download: "playground.png", href: $("map").firstElementChild.toDataURL("image/png") });
  link.click();
};
if ($("typed")) $("typed").oninput = (event) => typed(event.target.value);

/* A place on the map, or the critical point that is within SNAP pixels of it. */
function snapped(u, v) {
  const near = drawn.points.findIndex(({ at }) => Math.hypot(at[0] - u, at[1] - v) < SNAP);
  return near >= 0 ? points[near].x.slice() : fromPixel(u, v);
}
const map = $("map").firstElementChild, chart = $("loss").firstElementChild;
const placeOf = (event, canvas) => { const at = canvas.getBoundingClientRect(); return [event.clientX - at.left, event.clientY - at.top]; };
map.addEventListener("pointerdown", (event) => { map.setPointerCapture(event.pointerId); cursor = null; change({ start: snapped(...placeOf(event, map)) }, true); });
map.addEventListener("pointermove", (event) => {
  if (event.buttons & 1) { cursor = null; change({ start: snapped(...placeOf(event, map)) }, true); }
  else if (event.pointerType === "mouse") { cursor = snapped(...placeOf(event, map)); change({}); }
});
map.addEventListener("pointerleave", () => { cursor = null; change({}); });
const choose = (event) => {
  if (!(event.buttons & 1)) return;
  const [u, v] = placeOf(event, chart);
  let best = [Infinity, state.row, state.focus];
  names.forEach((name, i) => (drawn.losses[name] || []).forEach(([x, y, t]) => {
    const far = Math.hypot(x - u, 0.25 * (y - v));
    if (far < best[0]) best = [far, t, i];
  }));
  change({ row: best[1] });
  if (best[2] !== state.focus) focusOn(best[2]);
};
chart.addEventListener("pointerdown", choose);
chart.addEventListener("pointermove", choose);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
  const by = (u, v) => () => {
    const unit = event.shiftKey ? 0.05 : 0.005;
    change({ start: [state.start[0] + u * unit * (box[0][1] - box[0][0]), state.start[1] + v * unit * (box[1][1] - box[1][0])] }, true);
  };
  const onMap = { ArrowLeft: by(-1, 0), ArrowRight: by(1, 0), ArrowUp: by(0, 1), ArrowDown: by(0, -1), c: () => points.length && change({ start: points[(points.findIndex((p) => p === knownAt(state.start)) + 1) % points.length].x.slice() }, true) };
  const keys = {
    ArrowLeft: () => change({ row: state.row - 1 }), ArrowRight: () => change({ row: state.row + 1 }),
    c: onMap.c, p: () => $("push").click(), ...(event.target === map ? onMap : {}), ...(event.target.tagName === "BUTTON" ? {} : { " ": play }),
  };
  const act = keys[event.key] || (names[event.key - 1] ? () => toggle(event.key - 1) : null);
  if (act) { act(); event.preventDefault(); }
});
addEventListener("resize", () => change({}));
dark.addEventListener("change", () => { toned(); change({}); });
toned();
recall();
sliders();
draw();
