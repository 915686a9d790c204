/* The page that computes.  f: the functions emitted from the loss and the optimizers; state: what the user chose; view:
   what is computed for it, and for the settings that are kept beside it.  A run is computed again whenever the start or
   a number of it moves. */

const told = JSON.parse($("data").textContent), data = { ...told }, f = {};
const names = data.optimizers.map((one) => one.name);
const MAP = [46, 10, 10, 32], LOSS = [54, 18, 10, 34], SIDE = 96, LEVELS = 18, MOST = 5000, SNAP = 9, TUNED = 400;
const dark = matchMedia("(prefers-color-scheme: dark)"), still = matchMedia("(prefers-reduced-motion: reduce)");
const plain = () => state.text !== "" || data.plain;
const copied = (value) => JSON.parse(JSON.stringify(value));

const state = {
  surface: 0, start: [0, 0], steps: Math.min(data.steps, 2000), row: 0, focus: 0, text: "", constants: [],
  on: names.map((_, i) => i < 5), values: [], models: false, share: 0.1, basins: false, kept: null,
};
const drawn = { paths: {}, losses: {}, points: [], milliseconds: 0 };
let box, runs = [], points = [], cursor = null, mapFrame, lossFrame, tape = null, lowest = 0;
const view = { get start() { return state.start; }, get values() { return state.values; }, runs: [] }, other = { start: null, values: null, runs: [] };
const backgrounds = new Map();
window.gdlab = { data, state, drawn, f, look, search, read, compiled, change, apply, choose, modelsAt, checkedHere, runs: () => runs, points: () => points, toPixel };

/* ---- runs ---- */
function run(i, begun, hypers) {
  const n = data.size, N = state.steps, s = data.states[i], place = new Float64Array(2), theta = new Float64Array(n);
  const out = { x: new Float64Array(2 * (N + 1)).fill(NaN), loss: new Float64Array(N + 1).fill(NaN), piece: new Float64Array(7 * (N + 1)).fill(NaN), last: N };
  f.embed(begun, theta);
  out.last = walker(f, i, s, n, hypers.length)(hypers, theta, N, (t, at, g, y, bounded) => {
    f.project(at, place);
    out.x[2 * t] = place[0];
    out.x[2 * t + 1] = place[1];
    out.loss[t] = g[0];
    if (!bounded) return;
    for (let k = 0; k < 3; k++) out.piece[7 * t + k] = y[s + k];
    for (const [from, to] of [[3, 3], [3 + n, 5]]) { // m and the update, as they are in the plane
      f.onto(y.subarray(s + from, s + from + n), place);
      out.piece[7 * t + to] = place[0];
      out.piece[7 * t + to + 1] = place[1];
    }
  });
  return out;
}
function compute() {
  const all = (of) => names.map((_, i) => (state.on[i] ? run(i, of.start, of.values[i]) : null));
  view.runs = runs = all(view);
  if (state.kept) {
    const asked = JSON.stringify([state.surface, state.text, state.constants, state.kept, state.steps, state.on]);
    if (asked !== other.asked) Object.assign(other, { asked, start: state.kept.start, values: state.kept.values, runs: all(state.kept) });
  } else Object.assign(other, { asked: "", runs: [] });
}
/* The learning rate of each optimizer with the lowest loss after TUNED steps from the start. */
function tuned(begun) {
  const theta = new Float64Array(data.size), steps = Math.min(state.steps, TUNED), scale = new Float64Array(data.size + 1);
  f.embed(begun, theta);
  f.slope(theta, scale);
  return data.optimizers.map(({ hypers, rate }, i) => {
    const numbers = state.values[i].slice();
    if (rate < 0) return numbers;
    const walk = walker(f, i, data.states[i], data.size, hypers.length), found = [];
    for (let k = -15; k <= 2; k++) {
      const tried = Math.max(hypers[rate].low, Math.min(hypers[rate].high, 10 ** (k / 3)));
      let loss = Infinity;
      numbers[rate] = tried;
      walk(numbers, theta, steps, (t, at, g, y, bounded) => { loss = bounded ? g[0] : Infinity; });
      if (Number.isFinite(loss)) found.push([loss, tried]);
    }
    const least = Math.min(...found.map(([loss]) => loss)), close = found.filter(([loss]) => loss - least <= 1e-9 * Math.abs(scale[0] - least));
    numbers[rate] = found.length ? close[Math.floor(close.length / 2)][1] : hypers[rate].value;
    return numbers;
  });
}
/* The numbers as they come: those of the race, or, where there was none, tuned here. */
function fresh() {
  state.values = data.optimizers.map(({ hypers, rate }, i) => hypers.map((hyper, k) => (k === rate && data.rates ? data.rates[i] : hyper.value)));
  if (!data.rates) state.values = tuned(beside(state.start));
}
const beside = (x) => x.map((one, k) => one + 1e-3 * (box[k][1] - box[k][0]) * (k ? 0.6 : 0.8)); // on a saddle nothing moves
/* The eigenvectors of negative curvature in the plane. */
function waysDown({ x, kind }) {
  if (kind === "degenerate") return [];
  const p = look(x);
  return [[p.low, p.lowest], [p.high, p.highest]].filter(([value]) => value < 0).map(([, v]) => v);
}
/* Another surface of the page. */
function choose(k) {
  Object.assign(data, told.surfaces[k]);
  Object.assign(f, functionsOf(emittedFunctions[k], "", []));
  Object.assign(state, { surface: k, text: "", constants: [], kept: null });
  tape = null;
  cursor = null;
  box = data.box.map((side) => [...side]);
  backgrounds.clear();
  points = data.points ? data.points.map((point) => ({ down: waysDown(point), ...point })) : search();
  state.start = (data.starts.length ? data.starts[0].x : middle()).slice();
  fresh();
  offered();
  checkPoints();
}
const middle = () => box.map(([low, high]) => low + 0.3 * (high - low));

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
    x = x.map((one, k) => (Math.abs(one) < 1e-15 * reach[k] ? 0 : one));
    p = look(x);
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
  const width = Math.max(1, Math.round(mapFrame.width)), height = Math.max(1, Math.round(mapFrame.height)), size = `${width} ${height}`;
  if (backgrounds.has(size)) return backgrounds.get(size);
  const background = document.createElement("canvas");
  backgrounds.set(size, background);
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
  paint(background, known.length ? levels : [], (u, v) => between(grid, SIDE, (u + 0.5) / width, 1 - (v + 0.5) / height));
  return background;
}
const pathOf = (run, from = 0, to = run.last) => {
  const path = [];
  for (let t = from; t <= to; t++) path.push(toPixel([run.x[2 * t], run.x[2 * t + 1]]));
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
function ring(c, [x, y]) {
  c.beginPath();
  c.arc(x, y, 10, 0, 7);
  c.strokeStyle = dark.matches ? "#000000" : "#1c2530";
  c.lineWidth = 1.2;
  c.stroke();
}
function drawMap(view, canvas, pen = null) {
  const m = (mapFrame = frame(canvas, MAP, pen)), c = m.context, [[x0, x1], [y0, y1]] = box, { runs } = view;
  c.drawImage(surface(), m.x, m.y, m.width, m.height);
  if (basins.image && runs === window.gdlab.runs()) {
    c.globalAlpha = 0.5;
    c.imageSmoothingEnabled = false;
    c.drawImage(basins.image, m.x, m.y, m.width, m.height);
    c.globalAlpha = 1;
  }
  for (const x of nice(x0, x1)) text(c, short(x), toPixel([x, 0])[0], m.y + m.height + 5, "center", "top");
  for (const y of nice(y0, y1)) text(c, short(y), m.x - 5, toPixel([0, y])[1], "right", "middle");
  const axes = state.text ? ["x", "y"] : data.axes;
  text(c, axes[0], m.x + m.width / 2, m.y + m.height + 18, "center", "top");
  upright(c, axes[1], 2, m.y + m.height / 2);
  clipped(m);
  const ways = ([u, v], at, colour, dashes) => {
    const way = [(u / (x1 - x0)) * m.width, (-v / (y1 - y0)) * m.height], long = Math.hypot(...way) || 1;
    for (const sign of [28, -28]) arrow(c, at, way.map((w) => (sign * w) / long), colour, 1.8, dashes);
  };
  drawn.points = points.map((point) => ({ kind: point.kind, at: toPixel(point.x) }));
  points.forEach((point, k) => point.down.forEach((v) => ways(v, drawn.points[k].at, data.kinds.saddle)));
  drawn.paths = {};
  names.forEach((name, i) => {
    if (!state.on[i]) return;
    const row = Math.min(state.row, runs[i].last), path = (drawn.paths[name] = pathOf(runs[i], 0, row));
    line(c, pathOf(runs[i], row), colourOf(i) + "50", 1.2);
    line(c, path, "#ffffffaa", i === state.focus ? 5 : 3.6);
    line(c, path, colourOf(i), i === state.focus ? 2.4 : 1.7, dashesOf(i));
  });
  for (const { kind, at } of drawn.points) mark(c, kind, at, data.kinds);
  points.forEach(({ proof }, k) => { if (proof && proof.held) ring(c, drawn.points[k].at); });
  names.forEach((_, i) => { if (state.on[i] && i !== state.focus) now(c, i, runs[i]); });
  if (state.on[state.focus]) now(c, state.focus, runs[state.focus]);
  if (state.models) drawModels(c, cursor || view.start);
  if (cursor) {
    const p = look(cursor), at = toPixel(cursor);
    ways(p.lowest, at, "#b3261e");
    ways(p.highest, at, "#1c2530", [4, 3]);
  }
  dot(c, toPixel(view.start), 7, "#ffffff", "#000000");
  dot(c, toPixel(view.start), 2, "#000000", "#000000");
  c.restore();
  border(m);
}
/* Where a run is, and its next step: minus m dashed, the step itself solid, 1 / sigma as an ellipse. */
function now(c, i, run) {
  const t = Math.min(state.row, run.last), here = toPixel(run.x.subarray(2 * t, 2 * t + 2)), m = mapFrame;
  if (!finite(here)) return;
  const [, s0, s1, m0, m1, u0, u1] = run.piece.subarray(7 * t, 7 * t + 7), [[x0, x1], [y0, y1]] = box;
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
function drawLoss(view, canvas, pen = null) {
  const l = (lossFrame = frame(canvas, LOSS, pen)), c = l.context, N = state.steps, { runs } = view;
  const shown = names.map((_, i) => i).filter((i) => state.on[i]), all = shown.flatMap((i) => [window.gdlab.runs()[i], other.runs[i]].filter(Boolean));
  let base = lowest, low = Infinity, high = -Infinity;
  for (const { loss } of all) for (const v of loss) if (v < base && v > lowest - 100 * Math.abs(loss[0] - lowest)) base = v;
  for (const { loss } of all) {
    high = Math.max(high, loss[0] - base);
    for (const v of loss) if (v - base > 0) low = Math.min(low, v - base);
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
    line(c, curve.filter((p) => p[2] <= state.row), colourOf(i), i === state.focus ? 2.4 : 1.7, dashesOf(i));
  }
  const x = place(state.row, 1)[0];
  line(c, [[x, l.y], [x, l.y + l.height]], tones.soft, 1);
  c.restore();
  border(l);
}

