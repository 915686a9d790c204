/* Basins of attraction: where the chosen optimizer ends from each place of the window, computed in a worker that is made
   of the text of this page's own scripts.  A place belongs to the end within NEAR of which its run settles. */

const BASIN = { side: 96, steps: 1500, near: 0.02, settled: 1e-6 };

/* What the worker does; it is made of this function's text, walk.js, typed.js and the emitted functions. */
function basinWorker() {
  onmessage = ({ data: told }) => {
    const { surface, source, constants, i, hypers, sizes, box, side, steps, near, settled, known } = told;
    const f = functionsOf(emittedFunctions[surface], source, constants), [n, s, h] = sizes, [[x0, x1], [y0, y1]] = box;
    const walk = walker(f, i, s, n, h), theta = new Float64Array(n), place = new Float64Array(2), ends = known.map((x) => [...x]);
    const labels = new Int16Array(side * side).fill(-3), reach = [x1 - x0, y1 - y0];
    let slope = 0, last = null, done = 0;
    const g = new Float64Array(n + 1);
    for (let k = 0; k < 400; k++) {
      f.embed([x0 + (reach[0] * ((k % 20) + 0.5)) / 20, y0 + (reach[1] * (Math.floor(k / 20) + 0.5)) / 20], theta);
      f.slope(theta, g);
      const size = Math.hypot(...g.subarray(1));
      if (Number.isFinite(size)) slope = Math.max(slope, size);
    }
    const close = (a, b) => Math.abs(a[0] - b[0]) <= near * reach[0] && Math.abs(a[1] - b[1]) <= near * reach[1];
    function label(u, v) { // the number of the end; -1 diverged, -2 not settled
      f.embed([x0 + (reach[0] * (u + 0.5)) / side, y1 - (reach[1] * (v + 0.5)) / side], theta);
      let calm = 0, bounded = true, here = null;
      walk(hypers, theta, steps, (t, at, slopes, y, fine) => {
        bounded = fine;
        if (!fine) return true;
        let size = 0, moved = 0;
        for (let k = 0; k < n; k++) { size = Math.max(size, Math.abs(slopes[k + 1])); moved = Math.max(moved, Math.abs(y[s + 3 + n + k])); }
        calm = size <= settled * slope && moved <= settled * reach[0] ? calm + 1 : 0;
        if (calm > 3 || t === steps) { f.project(at, place); here = [place[0], place[1]]; }
        return calm > 3;
      });
      if (!bounded || !here || !here.every(Number.isFinite)) return -1;
      let k = ends.findIndex((end) => close(end, here));
      if (k < 0 && calm > 3 && ends.length < 60) k = ends.push(here) - 1;
      return k < 0 ? -2 : k;
    }
    for (const stride of [8, 4, 2, 1]) { // from coarse to fine, each place once
      for (let v = 0; v < side; v += stride) {
        for (let u = 0; u < side; u += stride) {
          const k = v * side + u;
          if (labels[k] !== -3) continue;
          labels[k] = label(u, v);
          done++;
        }
        const now = Date.now();
        if (last === null || now - last > 150) { last = now; postMessage({ labels, ends, stride, share: done / labels.length }); }
      }
    }
    postMessage({ labels, ends, stride: 1, share: 1 });
  };
}

const basins = { worker: null, url: null, asked: "", image: null, said: "" };
function stopBasins() {
  if (basins.worker) basins.worker.terminate();
  if (basins.url) URL.revokeObjectURL(basins.url);
  Object.assign(basins, { worker: null, url: null });
}
/* Asked at every frame: what is shown belongs to the numbers that are chosen now, or is begun anew. */
function basinsNow() {
  const i = state.focus, known = points.filter((point) => point.kind === "minimum").map((point) => point.x);
  const task = {
    surface: state.surface, source: state.text, constants: state.constants, i, hypers: state.values[i], box, known,
    sizes: [data.size, data.states[i], data.optimizers[i].hypers.length], ...BASIN, steps: Math.min(BASIN.steps, state.steps),
  };
  const asked = JSON.stringify(task);
  if (!state.basins || asked === basins.asked) { if (!state.basins) { stopBasins(); Object.assign(basins, { asked: "", image: null, said: "" }); } return; }
  stopBasins();
  Object.assign(basins, { asked, image: null, said: "computing the basins …" });
  try {
    const texts = ['"use strict";', $("code").textContent, $("shared").textContent, `(${basinWorker})();`];
    basins.url = URL.createObjectURL(new Blob([texts.join("\n")], { type: "text/javascript" }));
    basins.worker = new Worker(basins.url);
    basins.worker.onmessage = ({ data: made }) => { shade(made, names[i]); if (made.share === 1) stopBasins(); change({}); };
    basins.worker.onerror = (event) => { event.preventDefault(); basins.said = "This browser computes no basins in a page from a file."; stopBasins(); change({}); };
    basins.worker.postMessage(task);
  } catch { basins.said = "This browser computes no basins in a page from a file."; }
}
const hueOf = (k) => `hsl(${(k * 137.5 + 205) % 360} 72% ${44 + 12 * (k % 2)}%)`;
function shade({ labels, ends, stride, share }, name) {
  const side = BASIN.side, image = (basins.image = document.createElement("canvas")), c = image.getContext("2d"), counts = new Map();
  image.width = image.height = side;
  for (const k of labels) if (k !== -3) counts.set(k, (counts.get(k) || 0) + 1);
  const held = labels.map((k, p) => {
    const u = p % side, v = (p - u) / side;
    for (let by = 2; k === -3 && by <= 8; by *= 2) k = labels[(v - (v % by)) * side + u - (u % by)]; // the coarser place that holds it
    return k;
  });
  /* Colors alone do not tell everyone the basins apart: they have a border, where they are no dust. */
  const border = (p, by) => held[p] !== held[p - by] && held[p] === held[p + by] && held[p - by] === held[p - 2 * by];
  held.forEach((k, p) => {
    if (k === -3) return;
    c.fillStyle = border(p, 1) || border(p, side) ? "#000000" : k === -1 ? "#222222" : k === -2 ? "#9a9a9a" : hueOf(k);
    c.fillRect(p % side, Math.floor(p / side), 1, 1);
  });
  const total = [...counts.values()].reduce((a, b) => a + b, 0);
  const said = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 8).map(([k, count]) =>
    `${Math.round((100 * count) / total)} % ${k === -1 ? "diverge" : k === -2 ? "have not settled" : "end at " + pair(ends[k])}`);
  basins.said = `Basins of ${name}${share < 1 ? `, ${Math.round(100 * share)} % done` : `, from ${total} starts`}: ${said.join(", ")}${counts.size > 8 ? ", …" : ""}.`;
  Object.assign(drawn, { basins: { labels: Array.from(labels), ends, share } });
}
