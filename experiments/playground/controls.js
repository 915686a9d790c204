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
const radius = () => state.share * Math.min(box[0][1] - box[0][0], box[1][1] - box[1][0]);
function controls() {
  const set = (id, value, words) => { $(id).value = value; $(id).nextElementSibling.textContent = words; };
  $("row").max = state.steps;
  set("row", state.row, String(state.row));
  set("steps", Math.round((Math.log10(state.steps) / Math.log10(MOST)) * SLIDES), String(state.steps));
  $("play").textContent = timer ? "pause" : "play";
  $("play").setAttribute("aria-pressed", Boolean(timer));
  names.forEach((_, i) => $("optimizers").children[i].setAttribute("aria-pressed", state.on[i]));
  set("radius", (Math.log10(state.share) + 3) * (SLIDES / 3), short(radius()));
  $("radius").parentElement.hidden = !state.models;
  for (const name of ["models", "basins"]) $("show" + name).setAttribute("aria-pressed", state[name]);
  $("keep").setAttribute("aria-pressed", Boolean(state.kept));
  $("surface").value = state.surface;
  $("about").textContent = state.text ? "A loss of your own, differentiated and run in this page." : data.words;
  if ($("typed")) $("typed").closest("label").hidden = !data.typed && !told.surfaces.some((one) => one.typed);
}

/* ---- a typed loss ---- */
function retype() {
  Object.assign(f, functionsOf(emittedFunctions[state.surface], state.text, state.constants));
  backgrounds.clear();
  mapFrame = frame($("map").firstElementChild, MAP);
  surface();
  points = search();
  checkPoints();
  change({}, true);
}
function typed(source, constants = null) {
  try {
    if (source.trim() === "") {
      if (state.text) choose(state.surface);
    } else {
      const made = read(source), first = !state.text;
      if (!data.typed) choose(told.surfaces.findIndex((one) => one.typed));
      tape = made;
      state.text = source.trim();
      state.constants = tape.constants.map((_, k) => (constants && Number.isFinite(constants[k]) ? constants[k] : 1));
      if (first) {
        box = [[-2.5, 2.5], [-2.5, 2.5]];
        state.start = [0.1, 1.2];
        state.kept = null;
      }
    }
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
const CHOSEN = ["surface", "start", "steps", "row", "focus", "on", "values", "text", "constants", "models", "share", "basins", "kept"];
const chosen = () => copied(Object.fromEntries(CHOSEN.map((name) => [name, state[name]])));
function remember() {
  const now = chosen();
  try { history.replaceState(null, "", "#" + encodeURIComponent(JSON.stringify(now))); } catch { /* where an address cannot be written, none is */ }
  if (window.parent !== window) window.parent.postMessage({ gdlab: now }, "*");
}
const number = (value, low, high, or) => (Number.isFinite(value) && value >= low && value <= high ? value : or);
function recall() {
  let said;
  try { said = JSON.parse(decodeURIComponent(location.hash.slice(1))); } catch { return; }
  apply(said);
}
/* What someone else chose: whatever of it is no state of this page is left as it is. */
function apply(said) {
  if (typeof said !== "object" || said === null) return;
  const list = (value) => (Array.isArray(value) ? value : []), has = (name) => Object.hasOwn(said, name);
  const numbers = (rows, else_) => else_.map((row, i) => row.map((was, k) => number(list(list(rows)[i])[k], data.optimizers[i].hypers[k].low, data.optimizers[i].hypers[k].high, was)));
  const place = (x, or) => or.map((was, k) => number(list(x)[k], -1e12, 1e12, was));
  const surface = Math.round(number(said.surface, 0, told.surfaces.length - 1, state.surface));
  if (surface !== state.surface) choose(surface);
  if (typeof said.text === "string" && said.text.trim() !== state.text && $("typed")) { $("typed").value = said.text.slice(0, WIDEST); typed($("typed").value, list(said.constants)); }
  else if (tape && has("constants")) { state.constants = state.constants.map((was, k) => number(list(said.constants)[k], -1e12, 1e12, was)); retype(); }
  state.start = place(said.start, state.start);
  state.steps = Math.round(number(said.steps, 1, MOST, state.steps));
  state.row = Math.round(number(said.row, 0, state.steps, Math.min(state.row, state.steps)));
  state.focus = Math.round(number(said.focus, 0, names.length - 1, state.focus));
  state.on = state.on.map((was, i) => (typeof list(said.on)[i] === "boolean" ? said.on[i] : was));
  state.values = numbers(said.values, state.values);
  state.share = number(said.share, 1e-3, 1, state.share);
  for (const name of ["models", "basins"]) if (typeof said[name] === "boolean") state[name] = said[name];
  if (has("kept")) state.kept = said.kept && typeof said.kept === "object" ? { start: place(said.kept.start, state.start), values: numbers(said.kept.values, state.values) } : null;
  sliders();
  change({}, true);
}

/* ---- drawing, at most once a frame ---- */
const map = $("map").firstElementChild, chart = $("loss").firstElementChild;
function toned() {
  Object.assign(tones, dark.matches ? TONES.dark : TONES.light);
  backgrounds.clear();
}
let asked = false, stale = true, remembering = null;
function draw() {
  if (map.clientWidth < 80) return; // nothing is seen of it
  const began = performance.now();
  if (stale) compute();
  stale = false;
  basinsNow();
  if (state.kept) {
    $("kept").hidden = false;
    drawMap(other, $("keptmap"));
    drawLoss(other, $("keptloss"));
  }
  drawMap(view, map);
  drawLoss(view, chart);
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
  if (dashesOf(i).length) button.style.borderStyle = "dashed";
  button.append(mark, name);
  button.onclick = () => (state.on[i] && state.focus !== i ? focusOn(i) : toggle(i));
  $("optimizers").append(button);
});
const options = (list, one) => list.replaceChildren(...one.map((name, k) => Object.assign(document.createElement("option"), { value: k, textContent: name })));
function offered() { options($("start"), data.starts.map(({ name }) => name)); $("start").hidden = data.starts.length < 2; }
options($("surface"), told.surfaces.map(({ name }) => name));
$("surface").parentElement.hidden = told.surfaces.length < 2;
$("surface").onchange = () => { choose(+$("surface").value); if ($("typed")) { $("typed").value = ""; $("said").textContent = ""; } sliders(); change({}, true); };
$("start").onchange = () => change({ start: data.starts[+$("start").value].x.slice() }, true);
$("radius").oninput = (event) => change({ share: 10 ** ((3 * +event.target.value) / SLIDES - 3) });
$("showmodels").onclick = () => change({ models: !state.models });
$("showbasins").onclick = () => change({ basins: !state.basins });
$("keep").onclick = () => change({ kept: state.kept ? null : copied({ start: state.start, values: state.values }) }, true);
$("tune").onclick = () => { state.values = tuned(beside(state.start)); sliders(); change({}, true); };
$("row").oninput = (event) => change({ row: +event.target.value });
$("steps").oninput = (event) => change({ steps: Math.max(1, Math.round(MOST ** (+event.target.value / SLIDES))) }, true);
$("play").onclick = play;
$("reset").onclick = () => { fresh(); sliders(); change({}, true); };
$("push").onclick = () => { // along the eigenvector of the lowest eigenvalue, by a hundredth of the window
  const p = look(state.start), by = 0.01 * Math.min(box[0][1] - box[0][0], box[1][1] - box[1][0]);
  change({ start: state.start.map((v, k) => v + by * p.lowest[k]) }, true);
};
function saved(name, address) { Object.assign(document.createElement("a"), { download: name, href: address }).click(); }
function asSVG() { // the map, and under it the losses
  const pen = svgContext(map.clientWidth, map.clientHeight), below = svgContext(chart.clientWidth, chart.clientHeight);
  drawMap(view, map, pen);
  drawLoss(view, chart, below);
  draw();
  return [pen.text(), below.text()];
}
$("save").onclick = () => saved("playground.png", map.toDataURL("image/png"));
$("savesvg").onclick = () => asSVG().forEach((text, k) => {
  const address = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  saved(["playground.svg", "playground-loss.svg"][k], address);
  setTimeout(() => URL.revokeObjectURL(address), 1000);
});
window.gdlab.asSVG = asSVG;
if ($("typed")) $("typed").oninput = (event) => typed(event.target.value);

/* A place on the map, or the critical point that is within SNAP pixels of it. */
function snapped(u, v) {
  const near = drawn.points.findIndex(({ at }, k) => onPlane(points[k]) && Math.hypot(at[0] - u, at[1] - v) < SNAP);
  return near >= 0 ? points[near].x.slice() : fromPixel(u, v);
}
const placeOf = (event, canvas) => { const at = canvas.getBoundingClientRect(); return [event.clientX - at.left, event.clientY - at.top]; };
map.addEventListener("pointerdown", (event) => { map.setPointerCapture(event.pointerId); cursor = null; change({ start: snapped(...placeOf(event, map)) }, true); });
map.addEventListener("pointermove", (event) => {
  if (event.buttons & 1) { cursor = null; change({ start: snapped(...placeOf(event, map)) }, true); }
  else if (event.pointerType === "mouse") { cursor = snapped(...placeOf(event, map)); change({}); }
});
map.addEventListener("pointerleave", () => { cursor = null; change({}); });
const chosenStep = (event) => {
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
chart.addEventListener("pointerdown", chosenStep);
chart.addEventListener("pointermove", chosenStep);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
  const by = (u, v) => () => {
    const unit = event.shiftKey ? 0.05 : 0.005;
    change({ start: [state.start[0] + u * unit * (box[0][1] - box[0][0]), state.start[1] + v * unit * (box[1][1] - box[1][0])] }, true);
  };
  const onMap = { ArrowLeft: by(-1, 0), ArrowRight: by(1, 0), ArrowUp: by(0, 1), ArrowDown: by(0, -1), c: () => { const all = points.filter(onPlane); if (all.length) change({ start: all[(all.indexOf(knownAt(state.start)) + 1) % all.length].x.slice() }, true); } };
  const keys = {
    ArrowLeft: () => change({ row: state.row - 1 }), ArrowRight: () => change({ row: state.row + 1 }),
    c: onMap.c, p: () => $("push").click(), m: () => $("showmodels").click(), ...(event.target === map ? onMap : {}), ...(event.target.tagName === "BUTTON" ? {} : { " ": play }),
  };
  const act = keys[event.key] || (names[event.key - 1] ? () => toggle(event.key - 1) : null);
  if (act) { act(); event.preventDefault(); }
});
addEventListener("resize", () => change({}));
dark.addEventListener("change", () => { toned(); change({}); });
addEventListener("message", (event) => { if (event.source === window.parent && event.data && event.data.gdlab) apply(event.data.gdlab); });
addEventListener("hashchange", recall);
toned();
choose(0);
state.row = Math.round(state.steps * 0.3);
recall();
sliders();
draw();
if (window.parent !== window) change({});
