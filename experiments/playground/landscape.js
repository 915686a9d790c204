/* The page of a landscape.  state: what the user chose; drawn: where it lies on the pictures.
   A point is a minimum or a saddle by its place in `points`, minima first; joins holds the minima below each saddle. */

const data = JSON.parse($("data").textContent), { points, joins, d, size } = data;
const theta = unpacked(data.theta), ways = unpacked(data.down), dark = matchMedia("(prefers-color-scheme: dark)");
const minima = points.filter(({ kind }) => kind === "minimum").length, graph = $("map").firstElementChild, picture = $("loss").firstElementChild;
const isSaddle = (i) => i >= minima, below = (i) => joins[i - minima].filter((end) => end >= 0);
const row = (i) => theta.subarray(size * i, size * (i + 1)), wayDown = (i) => ways.subarray(size * (i - minima), size * (i - minima + 1));
const nameOf = (i) => (isSaddle(i) ? `saddle ${i - minima}` : `minimum ${i}`);
const above = points.slice(0, minima).map(() => []); // the saddles on each minimum, the lowest first
points.forEach((_, i) => { if (isSaddle(i)) for (const end of new Set(below(i))) above[end].push(i); });
const order = points.map((_, i) => i).sort((i, j) => points[i].loss - points[j].loss);

const state = { picked: 0, came: 0, net: false, push: 0, bond: 1.25, turn: [[1, 0, 0], [0, 1, 0], [0, 0, 1]] };
const drawn = { points: [], atoms: [], bonds: [], plane: [], scale: 1 }, kinds = {};
window.gdlab = { data, state, drawn, pick, theta, ways };

/* ---- where points lie on the graph: minima at their place, a saddle between its minima ---- */
const spots = (() => {
  const seen = new Map();
  return points.map((_, i) => {
    if (!isSaddle(i)) return data.places[i];
    const ends = below(i), key = String(joins[i - minima]), times = seen.get(key) || 0;
    seen.set(key, times + 1);
    const middle = ends.length ? ends.reduce((sum, end) => sum + data.places[end], 0) / ends.length : 0;
    return middle + ((times + 1) % 5 - 1) * 0.09 + (ends.length === 1 ? 0.3 : 0); // those that join the same two lie apart
  });
})();
const losses = points.map(({ loss }) => loss), low = Math.min(...losses), high = Math.max(...losses, ...data.lines.flatMap(([, y]) => y)), span = high - low || 1;
const MARGINS = [62, 12, 14, 16];
function placed(f, x, loss) {
  return [f.x + ((x + 0.6) / (minima + 0.2)) * f.width, f.y + (0.02 + 0.93 * (1 - (loss - low) / span)) * f.height];
}
function drawGraph() {
  const f = frame(graph, MARGINS), c = f.context, crowded = minima > 40, at = (i) => placed(f, spots[i], points[i].loss);
  for (const tick of nice(low, high)) {
    const y = placed(f, 0, tick)[1];
    line(c, [[f.x, y], [f.x + f.width, y]], tones.grid, 1);
    text(c, short(tick), f.x - 5, y, "right", "middle");
  }
  upright(c, "loss", 2, f.y + f.height / 2);
  const ink = tones.ink, focus = new Set([state.picked, ...(isSaddle(state.picked) ? below(state.picked) : state.net ? above[state.picked] : [])]);
  if (!state.net) for (const [x, y] of data.lines) line(c, x.map((one, k) => placed(f, one, y[k])), ink, crowded ? 0.8 : 1.2);
  const strong = (i) => i === state.picked || (state.net && !isSaddle(state.picked) && focus.has(i));
  for (const now of [false, true]) points.forEach((_, i) => { // the strong lines last
    if (!isSaddle(i) || strong(i) !== now || !(state.net || now)) return;
    for (const way of waysFrom(f, i)) line(c, way, now ? kinds.saddle : tones.edge, now ? 2 : 0.9, state.net ? [] : [4, 3]);
  });
  drawn.points = points.map((_, i) => ({ i, at: at(i), shown: state.net || !isSaddle(i) || i === state.picked }));
  const small = points.length > 200;
  for (const { i, at: spot, shown } of drawn.points) {
    if (!shown || (small && !focus.has(i))) continue;
    mark(c, points[i].kind, spot, kinds);
    if (!crowded && !isSaddle(i)) text(c, String(i), spot[0], spot[1] + 12, "center", "top", ink);
  }
  if (small) for (const { i, at: [x, y], shown } of drawn.points) if (shown && !focus.has(i)) { c.fillStyle = kinds[points[i].kind]; c.fillRect(x - 1.5, y - 1.5, 3, 3); }
  ringed(c, at(state.picked));
  border(f);
}
/* The lines from a saddle to its minima; two, bent apart, to the same one. */
function waysFrom(f, i) {
  const ends = below(i), top = placed(f, spots[i], points[i].loss), loop = ends.length === 2 && ends[0] === ends[1];
  return ends.map((end, k) => {
    const foot = placed(f, spots[end], points[end].loss), bend = [(top[0] + foot[0]) / 2 + (k ? 9 : -9), (top[1] + foot[1]) / 2];
    return loop ? [top, bend, foot] : [top, foot];
  });
}

/* ---- the picture of the picked point ---- */
const moved = () => {
  const here = Array.from(row(state.picked));
  if (!isSaddle(state.picked) || !state.push) return here;
  const way = wayDown(state.picked), far = 0.6 * (state.push / 100) * reach(here, way);
  return here.map((x, k) => x + far * way[k]);
};
/* How far along a direction the farthest move is as long as the shortest distance of two atoms, or as the values are. */
function reach(here, way) {
  if (!d) return 0.5 * Math.max(...here.map(Math.abs), 1e-3);
  const sizes = rowsOf(way).map((one) => Math.hypot(...one));
  return shortest(rowsOf(here)) / Math.max(...sizes);
}
const rowsOf = (flat) => Array.from({ length: size / d }, (_, k) => Array.from(flat.slice(k * d, (k + 1) * d)));
const apart = (a, b) => Math.hypot(...a.map((one, k) => one - b[k]));
function shortest(atoms) {
  let least = Infinity;
  atoms.forEach((a, i) => atoms.forEach((b, j) => { if (j < i) least = Math.min(least, apart(a, b)); }));
  return least;
}
const turned = (v) => state.turn.map((axis) => axis.reduce((sum, one, k) => sum + one * (v[k] || 0), 0));
function drawAtoms(f) {
  const c = f.context, raw = rowsOf(moved()), unit = shortest(rowsOf(row(state.picked))), mean = raw[0].map((_, k) => raw.reduce((sum, a) => sum + a[k], 0) / raw.length);
  const atoms = raw.map((a) => turned(a.map((one, k) => one - mean[k]))), far = Math.max(...raw.map((a) => apart(a, mean))) + 0.5 * unit;
  const radius = 0.26 * unit, scale = Math.min(f.width, f.height) / 2 / far, middle = [f.x + f.width / 2, f.y + f.height / 2];
  drawn.scale = scale;
  const spot = ([x, y]) => [middle[0] + scale * x, middle[1] - scale * y], tone = (z) => { const near = (z / far + 1) / 2; return `hsl(208 ${30 + 40 * near}% ${dark.matches ? 22 + 42 * near : 84 - 42 * near}%)`; };
  const things = atoms.map((a, i) => ({ z: a[2], paint: () => {
    c.beginPath();
    c.arc(...spot(a), scale * radius * (1 + (0.25 * a[2]) / far), 0, 7);
    c.fillStyle = tone(a[2]);
    c.fill();
    c.strokeStyle = dark.matches ? "#0b0f13" : "#1c2530";
    c.lineWidth = 1;
    c.stroke();
  } }));
  drawn.atoms = atoms.map((a) => ({ at: spot(a), depth: a[2] }));
  drawn.bonds = [];
  atoms.forEach((a, i) => atoms.forEach((b, j) => {
    if (j >= i || apart(a, b) > state.bond * unit) return;
    drawn.bonds.push([j, i]);
    const z = (a[2] + b[2]) / 2, share = radius / apart(a, b), from = (a, b) => spot(a.map((one, k) => one + share * (b[k] - one)));
    things.push({ z, paint: () => line(c, [from(a, b), from(b, a)], tone(z), 5) });
  }));
  things.sort((one, other) => one.z - other.z).forEach(({ paint }) => paint());
  if (!isSaddle(state.picked)) return;
  const by = reach(row(state.picked), wayDown(state.picked)) * 0.8;
  rowsOf(wayDown(state.picked)).forEach((v, i) => { const w = turned(v); arrow(c, spot(atoms[i]), [scale * by * w[0], -scale * by * w[1]], kinds.saddle, 2); });
}
const grid = data.grid && unpacked(data.grid), painted = new Map();
function contours(width, height) {
  const key = `${width} ${height} ${dark.matches}`;
  if (!painted.has(key)) {
    const image = Object.assign(document.createElement("canvas"), { width, height });
    paint(image, data.levels, (u, v) => between(grid, data.side, (u + 0.5) / width, 1 - (v + 0.5) / height));
    painted.set(key, image);
  }
  return painted.get(key);
}
/* All points of two parameters, the picked one in a ring. */
function drawPlane(f) {
  const c = f.context, side = data.box;
  const spot = ([x, y]) => [f.x + ((x - side[0][0]) / (side[0][1] - side[0][0])) * f.width, f.y + ((side[1][1] - y) / (side[1][1] - side[1][0])) * f.height];
  c.drawImage(contours(Math.round(f.width), Math.round(f.height)), f.x, f.y, f.width, f.height);
  for (const x of nice(...side[0])) text(c, short(x), spot([x, 0])[0], f.y + f.height + 4, "center", "top");
  for (const y of nice(...side[1])) text(c, short(y), f.x - 5, spot([0, y])[1], "right", "middle");
  points.forEach((_, i) => { if (isSaddle(i)) for (const end of below(i)) line(c, [spot(row(i)), spot(row(end))], i === state.picked ? kinds.saddle : "#1c2530", i === state.picked ? 2.4 : 1.2); });
  drawn.plane = points.map((_, i) => ({ i, at: spot(row(i)), shown: true }));
  points.forEach(({ kind }, i) => mark(c, kind, drawn.plane[i].at, kinds));
  ringed(c, spot(moved()));
  border(f);
}
function ringed(c, at) {
  c.beginPath();
  c.arc(...at, 10, 0, 7);
  c.strokeStyle = tones.ink;
  c.lineWidth = 2;
  c.stroke();
}
/* The values of the parameters, one after another. */
function drawValues(f) {
  const c = f.context, here = moved(), most = Math.max(...here, 0), least = Math.min(...here, 0), room = most - least || 1;
  const spot = (k, v) => [f.x + ((k + 0.5) / size) * f.width, f.y + (0.04 + 0.92 * ((most - v) / room)) * f.height];
  for (const v of nice(least, most || 1)) { const y = spot(0, v)[1]; line(c, [[f.x, y], [f.x + f.width, y]], tones.grid, 1); text(c, short(v), f.x - 5, y, "right", "middle"); }
  here.forEach((v, k) => line(c, [spot(k, 0), spot(k, v)], kinds[points[state.picked].kind], Math.max(1, Math.min(12, (0.6 * f.width) / size))));
  line(c, [[f.x, spot(0, 0)[1]], [f.x + f.width, spot(0, 0)[1]]], tones.ink, 1);
  text(c, "parameter", f.x + f.width / 2, f.y + f.height + 4, "center", "top");
  border(f);
}

/* ---- words ---- */
const joined = (i) => joins[i - minima].map((end) => (end < 0 ? "none that is known" : `minimum ${end}`));
const heights = (i) => below(i).map((end) => short(points[i].loss - points[end].loss)).join(" and ");
const digits = (x) => String(+x.toPrecision(10));
function explain() {
  const i = state.picked, { loss, found, flat, copies, eigenvalues } = points[i], rows = [["loss", digits(loss)], ["found", found === 1 ? "once" : `${found} times`]];
  rows.push(["eigenvalues", `from ${short(eigenvalues[0])} to ${short(eigenvalues[1])}`]);
  if (flat) rows.push(["orbit", `of ${flat} dimensions`]);
  if (copies > 1) rows.push(["copies", digits(copies)]);
  if (isSaddle(i)) rows.push(["joins", joined(i).join(" and ")], ["above them", heights(i) || "unknown"]);
  else {
    const few = above[i].slice(0, 6).map((one) => { const ends = joins[one - minima], other = ends[0] === i ? ends[1] : ends[0]; return `${nameOf(one)} (${short(points[one].loss - loss)} above) ${other === i ? "to a copy of itself" : other < 0 ? "to none that is known" : "to minimum " + other}`; });
    rows.push(["ways up", few.join(", ") + (above[i].length > 6 ? `, and ${above[i].length - 6} more` : "") || "none that is known"]);
  }
  if (!d && size <= 6) rows.push(["at", `(${Array.from(row(i)).map(short).join(", ")})`]);
  listed($("point"), nameOf(i)[0].toUpperCase() + nameOf(i).slice(1), rows, kinds[points[i].kind]);
}
function table() {
  const cell = (words) => Object.assign(document.createElement("td"), { textContent: words });
  $("points").replaceChildren(...points.map(({ loss, found, eigenvalues }, i) => {
    const line = document.createElement("tr"), head = Object.assign(document.createElement("th"), { scope: "row" });
    const button = Object.assign(document.createElement("button"), { textContent: nameOf(i), onclick: () => pick(i) });
    head.append(button);
    line.append(head, cell(digits(loss)), cell(String(found)), cell(eigenvalues.map(short).join(", ")), cell(isSaddle(i) ? joins[i - minima].map((end) => (end < 0 ? "unknown" : end)).join(" and ") : ""), cell(isSaddle(i) ? heights(i) : ""));
    return line;
  }));
}

/* ---- what the user does ---- */
function draw() {
  if (Math.min(graph.clientWidth, picture.clientHeight) < 80) return; // nothing is seen of it
  Object.assign(tones, dark.matches ? TONES.dark : TONES.light);
  Object.assign(kinds, dark.matches ? { minimum: "#8ec5ff", saddle: "#ff9d94" } : { minimum: "#0a5c96", saddle: "#b3261e" });
  drawGraph();
  const f = frame(picture, d ? [8, 8, 8, 8] : [56, 10, 10, 22]);
  (d ? drawAtoms : size === 2 ? drawPlane : drawValues)(f);
  const saddle = isSaddle(state.picked), set = (id, words) => { $(id).nextElementSibling.textContent = words; };
  $("push").disabled = !saddle;
  $("bonded").hidden = !d;
  set("push", short(state.push / 100));
  set("bond", `${state.bond.toFixed(2)} ×`);
  $("showtree").setAttribute("aria-pressed", !state.net);
  $("shownet").setAttribute("aria-pressed", state.net);
  $("up").disabled = saddle || !above[state.picked].length;
  $("down").disabled = !saddle || !below(state.picked).length;
  picture.setAttribute("aria-label", `${nameOf(state.picked)}: ${d ? `${size / d} atoms, ${drawn.bonds.length} bonds; arrow keys turn them` : `${size} parameters`}`);
}
function pick(i) {
  if (!isSaddle(i)) state.came = i;
  Object.assign(state, { picked: i, push: 0 });
  $("push").value = 0;
  draw();
  explain();
}
const beside = (by) => { const at = order.indexOf(state.picked) + by; if (order[at] !== undefined) pick(order[at]); };
const up = () => { if (!isSaddle(state.picked) && above[state.picked].length) pick(above[state.picked][0]); };
const down = () => {
  const ends = isSaddle(state.picked) ? below(state.picked) : [];
  if (ends.length) pick(ends.find((end) => end !== state.came) ?? ends[0]);
};
const other = (net) => { state.net = net; draw(); };
function turn(by, over) { // about the upright axis, then about the level one
  const [a, b] = [by, over].map((angle) => [Math.cos(angle), Math.sin(angle)]), [x, y, z] = state.turn;
  const x1 = x.map((one, k) => a[0] * one + a[1] * z[k]), z1 = z.map((one, k) => a[0] * one - a[1] * x[k]);
  state.turn = [x1, y.map((one, k) => b[0] * one - b[1] * z1[k]), z1.map((one, k) => b[0] * one + b[1] * y[k])];
  draw();
}
const onClick = { before: () => beside(-1), after: () => beside(1), up, down, showtree: () => other(false), shownet: () => other(true) };
for (const [id, act] of Object.entries(onClick)) $(id).onclick = act;
$("push").oninput = (event) => { state.push = +event.target.value; draw(); };
$("bond").oninput = (event) => { state.bond = event.target.value / 100; draw(); };
const nearest = (all) => (event) => {
  const at = event.target.getBoundingClientRect(), far = (one) => Math.hypot(one.at[0] - event.clientX + at.left, one.at[1] - event.clientY + at.top);
  const near = all().filter(({ shown }) => shown).sort((one, other) => far(one) - far(other))[0];
  if (near && far(near) < 40) pick(near.i);
};
graph.addEventListener("pointerdown", nearest(() => drawn.points));
picture.addEventListener("pointerdown", nearest(() => drawn.plane));
picture.addEventListener("pointerdown", (event) => picture.setPointerCapture(event.pointerId));
picture.addEventListener("pointermove", (event) => { if (d && event.buttons & 1) turn(event.movementX / 120, event.movementY / 120); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
  const turns = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
  const keys = { ArrowLeft: () => beside(-1), ArrowRight: () => beside(1), ArrowUp: up, ArrowDown: down, g: () => other(!state.net) };
  const act = d && event.target === picture && turns[event.key] ? () => turn(...turns[event.key]) : keys[event.key];
  if (act) { act(); event.preventDefault(); }
});
new ResizeObserver(draw).observe(picture);
dark.addEventListener("change", () => { draw(); explain(); });
table();
pick(0);
