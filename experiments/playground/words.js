/* ---- words ---- */
const pair = ([x, y]) => { const least = 1e-15 * Math.hypot(x, y); return `(${[x, y].map((one) => short(Math.abs(one) < least ? 0 : one)).join(", ")})`; };
function pointWords(p, known) {
  const kind = known ? known.kind : Math.hypot(...p.g) === 0 && plain() ? kindOf(p) : null;
  const ways = ["no direction", "one direction", "every direction"][index(p)], where = plain() ? "" : " in the plane";
  const curved = `index ${index(p)}${where}: eigenvalues ${short(p.low)} along ${pair(p.lowest)}, ${short(p.high)} along ${pair(p.highest)}`;
  const said = !kind ? "no critical point is known here"
    : !plain() ? `${kind}, by all ${size} parameters`
    : kind === "saddle" ? `a saddle: the loss falls both ways along ${pair(p.lowest)}, and rises along ${pair(p.highest)}`
    : kind === "minimum" || kind === "maximum" ? `a ${kind}: the loss ${kind === "minimum" ? "rises" : "falls"} in every direction`
    : "its Hessian does not decide its kind: an eigenvalue is 0 to rounding";
  return [["kind", said], ...(known && known.proof ? [["proof", known.proof.said]] : []), ["loss", short(p.value)], ["at", pair(p.x)], ["gradient", `${pair(p.g)}, length ${short(Math.hypot(...p.g))}`],
    ["Hessian", `[[${short(p.hessian[0])}, ${short(p.hessian[1])}], [${short(p.hessian[1])}, ${short(p.hessian[2])}]]`],
    ["curvature", curved + (kind ? "" : `; it curves down in ${ways}`)]];
}
const onPlane = (point) => !(point.off > 1e-9 * Math.max(box[0][1] - box[0][0], box[1][1] - box[1][0]));
const knownAt = (x) => points.find((point) => onPlane(point) && [0, 1].every((k) => Math.abs(point.x[k] - x[k]) <= 1e-9 * (box[k][1] - box[k][0])));
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
  $("models").hidden = !state.models;
  if (state.models) listed($("models"), cursor ? "Models of the loss under the cursor" : "Models of the loss at the start", modelWords());
  $("shares").textContent = basins.said;
  $("kept").hidden = !state.kept;
  if (state.kept) $("keptwords").textContent = keptWords();
  listPoints();
}
/* What is different in the settings that were kept. */
function keptWords() {
  const said = [`start ${pair(state.kept.start)}`];
  names.forEach((name, i) => data.optimizers[i].hypers.forEach((hyper, k) => {
    const [was, is] = [state.kept.values[i][k], state.values[i][k]];
    if (state.on[i] && was !== is) said.push(`${name}: ${hyper.name} ${short(was)}, now ${short(is)}`);
  }));
  return said.join("; ") + ".";
}
/* The critical points as a table; each can be chosen as the start. */
let listedPoints = null;
function listPoints() {
  if (listedPoints === points) return;
  listedPoints = points;
  $("found").hidden = !points.length;
  const shown = points.slice(0, 40), proofs = shown.some(({ proof }) => proof);
  $("foundcaption").textContent = `Critical points${plain() ? "" : ", projected onto the plane"}: ${points.length}${points.length > shown.length ? `, the first ${shown.length} of them` : ""}`;
  $("foundproof").hidden = !proofs;
  $("points").replaceChildren(...shown.map((point) => {
    const row = document.createElement("tr"), go = Object.assign(document.createElement("button"), { textContent: pair(point.x), title: "start here" }), p = look(point.x);
    const [low, high] = point.eigenvalues || [p.low, p.high], inside = onPlane(point);
    if (!inside) Object.assign(go, { disabled: true, title: "", textContent: `${pair(point.x)}, ${short(point.off)} off the plane` });
    go.onclick = () => change({ start: point.x.slice() }, true);
    const cells = [point.kind, go, short(inside || point.loss === undefined ? p.value : point.loss), `${short(low)}, ${short(high)}`, ...(proofs ? [point.proof ? point.proof.said : "none"] : [])];
    for (const one of cells) { const cell = document.createElement("td"); cell.append(one); row.append(cell); }
    return row;
  }));
}
/* The proofs of the points, checked or made here once the page is drawn: of records, and of what is typed. */
let checking = 0;
function checkPoints() {
  const turn = ++checking, list = points;
  const program = tape && programOf(tape, state.constants), reach = box.map(([low, high]) => high - low);
  const todo = list.map((point, k) => [point, k]).filter(([point]) => (tape ? program && point.kind !== "degenerate" : Number.isInteger(point.record)));
  const later = () => {
    const until = performance.now() + 12;
    while (todo.length && turn === checking && performance.now() < until) {
      const [point] = todo.shift();
      point.proof = tape ? provedHere(program, point.x, reach) : checkedHere({ program: data.program, ...data.proofs[point.record] });
    }
    if (turn !== checking) return;
    if (todo.length) setTimeout(later, 0);
    else { listedPoints = null; change({}); }
  };
  if (todo.length) setTimeout(later, 0);
}

