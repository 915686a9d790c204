/* The page to play with.  data: what page.py wrote; state: what the user chose; drawn: what is on the pictures.
   Nothing is computed here but pictures: every path, loss and piece of a step comes from a real run. */

const data = JSON.parse(document.getElementById("data").textContent);
const names = data.optimizers, steps = data.steps, rates = data.rates;
const [[x0, x1], [y0, y1]] = data.box;

/* Arrays are read by optimizer, rate, start and row. */
const grid = unpacked(data.grid), side = data.side, losses = unpacked(data.losses, Float64Array);
const runs = Object.fromEntries(Object.entries(data.runs).map(([name, text]) => [name, unpacked(text)]));
const place = (i, j, k, t) => ((i * rates.length + j) * data.starts.length + k) * steps.length + t;
const two = (name, at) => [runs[name][2 * at], runs[name][2 * at + 1]];

const state = { rate: data.best[0], row: Math.round(steps.length * 0.3), start: 0, on: names.map(() => true), focus: 0, best: true };
const drawn = { paths: {}, losses: {}, points: [], milliseconds: 0 };
window.gdlab = { data, state, drawn, runs, losses, draw, toPixel, toPixelOfLoss };

const map = $("map").firstElementChild, loss = $("loss").firstElementChild;
const rateOf = (i) => (state.best ? data.best[i] : state.rate);
/* ---- frames: where numbers lie on a picture ---- */
const STILL = 0.01; // pixels that a step must have for its direction to be drawn
const MAP = [46, 10, 10, 32], LOSS = [54, 18, 10, 34];
let mapFrame, lossFrame, background = null;

function toPixel([x, y]) {
  const f = mapFrame;
  return [f.x + ((x - x0) / (x1 - x0)) * f.width, f.y + ((y1 - y) / (y1 - y0)) * f.height];
}
let decades = [0, 1]; // of the loss above the lowest: low, high

/* The powers of ten between which the chosen runs are drawn: up to where they start, or, where that is the lowest, to
   their highest; what falls below the lowest has no bottom in sight, and leaves the picture at its foot. */
function heights() {
  let low = Infinity, high = -Infinity, most = -Infinity;
  names.forEach((_, i) => {
    if (!state.on[i]) return;
    const at = place(i, rateOf(i), state.start, 0), curve = losses.subarray(at, at + steps.length).map((value) => value - data.lowest);
    if (Number.isFinite(curve[0])) high = Math.max(high, curve[0]);
    for (const value of curve) {
      if (value > 0 && value < low) low = value;
      if (value > most && value < 1e150) most = value;
    }
  });
  if (!(high > 0)) high = most;
  if (!(high > 0)) return [-1, 0];
  high = Math.ceil(Math.log10(high) + 1e-9);
  return [Math.max(Math.min(Math.floor(Math.log10(low)), high - 1), high - 16), high];
}
function toPixelOfLoss(t, value) { // the value above the lowest
  const f = lossFrame, across = Math.log10(steps[t] + 1) / Math.log10(steps[steps.length - 1] + 1);
  const height = Math.log10(Math.max(value, 10 ** decades[0]));
  const up = Math.min(height, decades[1] + 0.3) - decades[0];
  return [f.x + across * f.width, f.y + (1 - up / (decades[1] - decades[0])) * f.height];
}

/* ---- the surface, drawn once for each size ---- */
function surface() {
  const f = mapFrame, scale = window.devicePixelRatio || 1;
  const width = Math.round(f.width * scale), height = Math.round(f.height * scale);
  if (background && background.width === width && background.height === height) return background;
  background = document.createElement("canvas");
  background.width = width;
  background.height = height;
  paint(background, data.levels, (u, v) => between(grid, side, (u + 0.5) / width, 1 - (v + 0.5) / height));
  return background;
}

/* ---- the two pictures ---- */
const pathOf = (i) => steps.map((_, t) => toPixel(two("x", place(i, rateOf(i), state.start, t))));

function drawMap() {
  const f = (mapFrame = frame(map, MAP)), c = f.context;
  c.drawImage(surface(), f.x, f.y, f.width, f.height);
  for (const x of nice(x0, x1)) text(c, short(x), toPixel([x, 0])[0], f.y + f.height + 5, "center", "top");
  for (const y of nice(y0, y1)) text(c, short(y), f.x - 5, toPixel([0, y])[1], "right", "middle");
  text(c, data.axes[0], f.x + f.width / 2, f.y + f.height + 18, "center", "top");
  upright(c, data.axes[1], 2, f.y + f.height / 2);
  c.save();
  c.beginPath();
  c.rect(f.x, f.y, f.width, f.height);
  c.clip();
  drawn.points = data.points.map((point) => {
    const at = toPixel(point.x);
    for (const [u, v] of point.down) {
      const way = [(u / (x1 - x0)) * f.width, (-v / (y1 - y0)) * f.height], size = Math.hypot(...way) || 1;
      for (const sign of [26, -26]) arrow(c, at, way.map((w) => (sign * w) / size), data.kinds.saddle, 1.8);
    }
    return { kind: point.kind, at };
  });
  drawn.paths = {};
  names.forEach((name, i) => {
    if (!state.on[i]) return;
    const whole = pathOf(i), path = (drawn.paths[name] = whole.slice(0, state.row + 1));
    line(c, whole.slice(state.row), data.colours[i] + "50", 1.2);
    line(c, path, "#ffffffaa", i === state.focus ? 5 : 3.6);
    line(c, path, data.colours[i], i === state.focus ? 2.4 : 1.7, dashesOf(i));
  });
  for (const { kind, at } of drawn.points) mark(c, kind, at, data.kinds);
  names.forEach((name, i) => { if (state.on[i] && i !== state.focus) now(c, i); });
  if (state.on[state.focus]) now(c, state.focus);
  const from = toPixel(two("x", place(0, 0, state.start, 0)));
  c.beginPath();
  c.arc(...from, 4.5, 0, 7);
  c.fillStyle = "#fff";
  c.fill();
  c.strokeStyle = "#000";
  c.stroke();
  c.restore();
  border(f);
}

/* Where a run is now, and the pieces of its next step: minus m dashed, the step itself solid, sigma as an ellipse. */
function now(c, i) {
  const at = place(i, rateOf(i), state.start, state.row), here = toPixel(two("x", at)), f = mapFrame;
  if (!finite(here)) return;
  const pixels = ([x, y]) => [(x / (x1 - x0)) * f.width, (-y / (y1 - y0)) * f.height];
  const sized = (v, size) => { const h = Math.hypot(...v); return h > 0 && Number.isFinite(h) ? v.map((w) => (w / h) * size) : [0, 0]; };
  const focus = i === state.focus, m = pixels(two("m", at).map((v) => -v)), update = pixels(two("update", at));
  if (focus && data.plain) {
    const far = two("sigma", at).map((s) => 1 / s), most = Math.max(...far);
    if (Number.isFinite(most) && most > 0) {
      c.beginPath();
      c.ellipse(...here, (30 * far[0]) / most, (30 * far[1]) / most, 0, 0, 7);
      c.fillStyle = data.colours[i] + "22";
      c.fill();
      c.strokeStyle = data.colours[i] + "99";
      c.lineWidth = 1;
      c.stroke();
    }
  }
  const size = Math.hypot(...update);
  if (focus && size > STILL) arrow(c, here, sized(m, 46), "#1c2530", 1.6, [4, 3]);
  arrow(c, here, focus && size > STILL ? sized(update, Math.max(size, 24)) : update, data.colours[i], focus ? 3 : 2);
  c.beginPath();
  c.arc(...here, focus ? 5 : 4, 0, 7);
  c.fillStyle = data.colours[i];
  c.fill();
  c.strokeStyle = "#fff";
  c.lineWidth = 1.3;
  c.stroke();
}

function drawLoss() {
  decades = heights();
  const f = (lossFrame = frame(loss, LOSS)), c = f.context, last = steps[steps.length - 1];
  c.fillStyle = "#fff";
  c.fillRect(f.x, f.y, f.width, f.height);
  const every = Math.max(1, Math.ceil((decades[1] - decades[0]) / 7));
  for (let d = Math.ceil(decades[0]); d <= decades[1]; d += every) {
    const y = f.y + (1 - (d - decades[0]) / (decades[1] - decades[0])) * f.height;
    line(c, [[f.x, y], [f.x + f.width, y]], "#eceff3", 1);
    text(c, d >= -3 && d <= 3 ? String(+(10 ** d).toPrecision(1)) : "1e" + d, f.x - 5, y, "right", "middle");
  }
  for (let d = 0; 10 ** d <= last + 1; d++) {
    const x = f.x + (d / Math.log10(last + 1)) * f.width;
    line(c, [[x, f.y], [x, f.y + f.height]], "#eceff3", 1);
    text(c, String(10 ** d), x, f.y + f.height + 5, "center", "top");
  }
  text(c, "step + 1", f.x + f.width / 2, f.y + f.height + 19, "center", "top");
  const below = losses.some((value) => value < data.lowest);
  upright(c, "loss above " + short(data.lowest) + (below ? ", lower at the foot" : ""), 2, f.y + f.height / 2);
  c.save();
  c.beginPath();
  c.rect(f.x, f.y, f.width, f.height);
  c.clip();
  drawn.losses = {};
  const projected = (i, t) => {
    const [x, y] = two("x", place(i, rateOf(i), state.start, t)), a = (x - x0) / (x1 - x0), b = (y - y0) / (y1 - y0);
    return a >= 0 && a <= 1 && b >= 0 && b <= 1 ? toPixelOfLoss(t, between(grid, side, a, b) - data.lowest) : [NaN, NaN];
  };
  names.forEach((name, i) => {
    if (!state.on[i]) return;
    const curve = steps.map((_, t) => toPixelOfLoss(t, losses[place(i, rateOf(i), state.start, t)] - data.lowest));
    drawn.losses[name] = curve;
    line(c, curve, data.colours[i] + "44", 1.4);
    line(c, curve.slice(0, state.row + 1), data.colours[i], i === state.focus ? 2.4 : 1.7, dashesOf(i));
    if (!data.plain && i === state.focus) line(c, steps.map((_, t) => projected(i, t)), data.colours[i], 1.2, [3, 3]);
    const here = curve[state.row];
    if (!finite(here)) return;
    c.beginPath();
    c.arc(...here, i === state.focus ? 4.5 : 3.5, 0, 7);
    c.fillStyle = data.colours[i];
    c.fill();
  });
  const x = toPixelOfLoss(state.row, 1)[0];
  line(c, [[x, f.y], [x, f.y + f.height]], "#1c253066", 1);
  c.restore();
  border(f);
}

/* ---- words ---- */
const pair = (v) => (data.plain ? `(${short(v[0])}, ${short(v[1])})` : `length ${short(Math.hypot(...v))} in the plane`);
function explain() {
  const i = state.focus, j = rateOf(i), at = place(i, j, state.start, state.row), readable = Number.isFinite(runs.eta[at]);
  const at_ = two("x", at), a = (at_[0] - x0) / (x1 - x0), b = (at_[1] - y0) / (y1 - y0);
  const within = a >= 0 && a <= 1 && b >= 0 && b <= 1;
  const rows = [
    ["loss", short(losses[at]) + (data.plain ? "" : within ? `, in the plane ${short(between(grid, side, a, b))}` : ", outside of the window")],
    ["at", pair(at_)],
    ...(readable
      ? [["η", short(runs.eta[at])], ...(data.plain ? [["σ", pair(two("sigma", at))]] : []), ["m", pair(two("m", at))]]
      : [["η, σ, m", "can be read of gdlab's own optimizers"]]),
    [readable ? "−η/σ·m" : "step", pair(two("update", at))],
    ["ends", data.ends[i][j][state.start]],
  ];
  const box = $("step"), list = document.createElement("dl"), title = document.createElement("h2");
  title.textContent = `${names[i]}, rate ${short(rates[j])}, step ${steps[state.row]}`;
  Object.assign(title.style, { borderLeft: `.4em solid ${data.colours[i]}`, paddingLeft: ".4em" });
  for (const [term, said] of rows) {
    list.append(Object.assign(document.createElement("dt"), { textContent: term }));
    list.append(Object.assign(document.createElement("dd"), { textContent: said }));
  }
  box.replaceChildren(title, list);
}
function controls() {
  const set = (id, value, words) => { $(id).value = value; $(id).nextElementSibling.textContent = words; };
  set("rate", state.rate, state.best ? "best" : short(rates[state.rate]));
  set("row", state.row, String(steps[state.row]));
  $("best").setAttribute("aria-pressed", state.best);
  $("play").setAttribute("aria-pressed", Boolean(timer));
  $("play").textContent = timer ? "pause" : "play";
  $("start").textContent = `start ${state.start + 1} of ${data.starts.length}: ${data.starts[state.start]}`;
  $("start").disabled = data.starts.length < 2;
  names.forEach((_, i) => $("optimizers").children[i].setAttribute("aria-pressed", state.on[i]));
}

function draw() {
  const began = performance.now();
  drawMap();
  drawLoss();
  explain();
  controls();
  drawn.milliseconds = performance.now() - began;
}
let asked = false;
function change(what) {
  Object.assign(state, what);
  state.row = Math.min(Math.max(state.row, 0), steps.length - 1);
  state.rate = Math.min(Math.max(state.rate, 0), rates.length - 1);
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

/* ---- what the user does ---- */
let timer = null;
function play() {
  if (timer) { clearInterval(timer); timer = null; return change({}); }
  timer = setInterval(() => {
    if (state.row >= steps.length - 1) { clearInterval(timer); timer = null; }
    change({ row: state.row + 1 });
  }, 60);
  change({ row: state.row >= steps.length - 1 ? 0 : state.row });
}
function toggle(i) {
  const on = state.on.map((was, k) => (k === i ? !was : was));
  change({ on, focus: on[i] ? i : Math.max(on.indexOf(true), 0) });
}
names.forEach((name, i) => {
  const button = document.createElement("button"), dot = document.createElement("i");
  button.style.setProperty("--colour", data.colours[i]);
  if (dashesOf(i).length) button.style.borderStyle = "dashed";
  button.append(dot, name);
  button.onclick = () => (state.on[i] && state.focus !== i ? change({ focus: i }) : toggle(i));
  $("optimizers").append(button);
});
$("rate").max = rates.length - 1;
$("row").max = steps.length - 1;
$("rate").oninput = (event) => change({ rate: +event.target.value, best: false });
$("row").oninput = (event) => change({ row: +event.target.value });
$("play").onclick = play;
$("best").onclick = () => change({ best: !state.best });
$("start").onclick = () => change({ start: (state.start + 1) % data.starts.length });

/* The row and the optimizer whose drawn point is nearest to a place on a picture. */
function nearest(curves, x, y, weight) {
  let best = [Infinity, state.row, state.focus];
  names.forEach((name, i) => (curves[name] || []).forEach(([u, v], t) => {
    const far = Math.hypot(u - x, weight * (v - y));
    if (far < best[0]) best = [far, t, i];
  }));
  return { row: best[1], focus: best[2] };
}
function whole() { // the paths to their ends, also beyond the step that is shown
  return Object.fromEntries(names.map((name, i) => [name, state.on[i] ? pathOf(i) : []]));
}
for (const [canvas, choose] of [[map, (x, y) => nearest(whole(), x, y, 1)], [loss, (x, y) => nearest(drawn.losses, x, y, 0.25)]]) {
  const chosen = (event) => {
    if (!(event.buttons & 1)) return;
    const box = canvas.getBoundingClientRect();
    change(choose(event.clientX - box.left, event.clientY - box.top));
  };
  canvas.addEventListener("pointerdown", chosen);
  canvas.addEventListener("pointermove", chosen);
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.type === "range") return;
  const keys = {
    ArrowLeft: () => change({ row: state.row - 1 }), ArrowRight: () => change({ row: state.row + 1 }),
    ArrowUp: () => change({ rate: state.rate + 1, best: false }), ArrowDown: () => change({ rate: state.rate - 1, best: false }),
    b: () => change({ best: !state.best }), s: () => $("start").click(),
    ...(event.target.tagName === "BUTTON" ? {} : { " ": play }),
  };
  const act = keys[event.key] || (names[event.key - 1] ? () => toggle(event.key - 1) : null);
  if (act) { act(); event.preventDefault(); }
});
const GLYPHS = { minimum: "●", saddle: "✖", maximum: "▲", degenerate: "◆" };
for (const kind of new Set(data.points.map((point) => point.kind))) {
  const glyph = document.createElement("span");
  glyph.textContent = GLYPHS[kind] || "○";
  if (kind in GLYPHS) glyph.style.cssText = `color:${data.kinds[kind]};-webkit-text-stroke:.6px var(--ink)`;
  $("legend").append(glyph, kind in GLYPHS ? ` ${kind}, ` : ` an end that is ${kind}, `);
}
addEventListener("resize", () => change({}));
draw();
