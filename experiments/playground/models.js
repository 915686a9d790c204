/* The models of the loss at a point x, on the disc of radius d around it:

     linear         L(x) + g p              lowest on the circle at p = -d g / |g|, which is a step of eta = d / |g|
     second order   L(x) + g p + p H p / 2  lowest on the disc where (H + l) p = -g, l >= 0; Newton's step is H^-1 g
*/

function modelsAt(x, d) {
  const p = look(x), g = Math.hypot(...p.g), y = new Float64Array(1);
  const height = (at) => (f.height(at, y), y[0]);
  const on = (angle) => [x[0] + d * Math.cos(angle), x[1] + d * Math.sin(angle)];
  const model = ([u, v]) => p.g[0] * u + p.g[1] * v + 0.5 * (p.hessian[0] * u * u + 2 * p.hessian[1] * u * v + p.hessian[2] * v * v);
  let best = [Infinity, 0], width = Math.PI / 180;
  for (let k = 0; k < 360; k++) { const value = height(on(k * width)); if (value < best[0]) best = [value, k * width]; }
  for (; width > 1e-9; width /= 2) for (const side of [-1, 1]) { const angle = best[1] + (side * width) / 2, value = height(on(angle)); if (value < best[0]) best = [value, angle]; }
  const down = g > 0 ? [(-d * p.g[0]) / g, (-d * p.g[1]) / g] : [0, 0];
  const lowest = on(best[1]), way = [lowest[0] - x[0], lowest[1] - x[1]];
  const angle = g > 0 ? (Math.acos(Math.min(1, Math.max(-1, (way[0] * down[0] + way[1] * down[1]) / (d * d)))) * 180) / Math.PI : NaN;
  const step = onDisc(p, d), predicted = -model(step), actual = p.value - height([x[0] + step[0], x[1] + step[1]]);
  const newton = along(p, (value, slope) => -slope / value);
  return { p, d, eta: d / g, down, lowest, angle, step, newton, predicted, actual, model };
}
/* The vector that has, along each eigenvector of the Hessian, what `size` makes of eigenvalue and slope. */
function along(p, size) {
  const out = [0, 0];
  for (const [value, v] of [[p.low, p.lowest], [p.high, p.highest]]) {
    const by = size(value, p.g[0] * v[0] + p.g[1] * v[1]);
    for (const k of [0, 1]) out[k] += by * v[k];
  }
  return out;
}
/* The lowest point of the second-order model on the disc; where the gradient has nothing along the lowest eigenvector
   (the hard case), the rest of the way goes along it. */
function onDisc(p, d) {
  const at = (shift) => along(p, (value, slope) => (slope === 0 ? 0 : -slope / (value + shift)));
  if (p.low > 0) { const inner = at(0); if (Math.hypot(...inner) <= d) return inner; }
  const floor = Math.max(0, -p.low), g = Math.hypot(...p.g);
  let [low, high] = [0, g / d + Math.abs(p.high - p.low) + Number.MIN_VALUE];
  for (let k = 0; k < 200; k++) { const middle = (low + high) / 2; if (Math.hypot(...at(floor + middle)) > d) low = middle; else high = middle; }
  const step = at(floor + high), length = Math.hypot(...step), rest = Math.sqrt(Math.max(0, d * d - length * length));
  return length > 0.999999 * d || p.low > 0 ? step : step.map((s, k) => s + rest * p.lowest[k]);
}
function drawModels(c, x) {
  const m = (drawn.models = modelsAt(x, radius())), [u0, v0] = toPixel(x), unit = [mapFrame.width / (box[0][1] - box[0][0]), mapFrame.height / (box[1][1] - box[1][0])];
  const pixel = ([u, v]) => [u0 + u * unit[0], v0 - v * unit[1]], offset = (at) => [at[0] - x[0], at[1] - x[1]];
  c.save();
  c.beginPath();
  c.ellipse(u0, v0, m.d * unit[0], m.d * unit[1], 0, 0, 7);
  c.fillStyle = "#ffffff66";
  c.fill();
  c.strokeStyle = "#7a3fb0";
  c.lineWidth = 2;
  c.stroke();
  c.clip();
  const side = 40, grid = [], span = (k) => m.d * ((2 * k) / side - 1);
  let low = Infinity, high = -Infinity;
  for (let j = 0; j <= side; j++) for (let i = 0; i <= side; i++) {
    const value = m.model([span(i), span(j)]);
    grid.push(value);
    if (Math.hypot(span(i), span(j)) <= m.d) { low = Math.min(low, value); high = Math.max(high, value); }
  }
  for (let k = 1; k < 8 && high > low; k++) for (const [a, b] of cuts(grid, side + 1, low + ((high - low) * k) / 8))
    line(c, [a, b].map(([i, j]) => pixel([span(i), span(j)])), "#7a3fb0", 1, [3, 3]);
  c.restore();
  arrow(c, [u0, v0], [m.down[0] * unit[0], -m.down[1] * unit[1]], "#0a5c96", 2.2);
  dot(c, pixel(offset(m.lowest)), 4.5, "#ffffff", "#0a5c96");
  dot(c, pixel(m.step), 4.5, "#7a3fb0", "#ffffff");
}
/* The pieces of a level line of a grid, by its squares. */
function cuts(grid, side, level) {
  const found = [];
  for (let j = 0; j + 1 < side; j++) for (let i = 0; i + 1 < side; i++) {
    const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]], ends = [];
    for (let k = 0; k < 4; k++) {
      const [a, b] = [corners[k], corners[(k + 1) % 4]], [u, v] = [grid[a[1] * side + a[0]] - level, grid[b[1] * side + b[0]] - level];
      if (u < 0 !== v < 0) ends.push([a[0] + ((b[0] - a[0]) * u) / (u - v), a[1] + ((b[1] - a[1]) * u) / (u - v)]);
    }
    for (let k = 0; k + 1 < ends.length; k += 2) found.push([ends[k], ends[k + 1]]);
  }
  return found;
}
function modelWords() {
  const m = drawn.models, to = (v) => pair([m.p.x[0] + v[0], m.p.x[1] + v[1]]);
  const trusted = m.predicted > 0 ? short(m.actual / m.predicted) : "not defined: the model falls nowhere";
  return [
    ["radius d", short(m.d)],
    ["linear", Number.isFinite(m.eta) ? `lowest at ${to(m.down)}, a gradient step with η = d/‖g‖ = ${short(m.eta)}` : "flat: the gradient is 0"],
    ["true loss", `lowest on the circle at ${pair(m.lowest)}` + (Number.isFinite(m.angle) ? `, ${short(m.angle)}° from −g` : "")],
    ["second order", `lowest on the disc at ${to(m.step)}; actual / predicted decrease: ${trusted}`],
    ["Newton's step", m.newton.every(Number.isFinite) ? `to ${to(m.newton)}, the ${["minimum", "saddle", "maximum"][index(m.p)]} of the model` : "not defined: the Hessian is singular"],
  ];
}
