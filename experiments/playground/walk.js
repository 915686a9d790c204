/* A run, step by step, by the emitted functions f of one surface; a worker has this file too. */

/* walk(hypers, theta, steps, visit): visit(t, theta, g, y) sees g = (loss, gradient) and y = (the next state, eta, sigma,
   m, update, the next theta); the walk ends where it returns true, or where a number is not finite.  Its return is the last t. */
function walker(f, i, stateSize, size, hyperSize) {
  const h = hyperSize, s = stateSize, n = size, init = f["init" + i], step = f["step" + i];
  const x = new Float64Array(h + s + 2 * n + 1), y = new Float64Array(s + 3 + 3 * n), g = new Float64Array(n + 1);
  const theta = new Float64Array(n), begin = new Float64Array(h + n);
  return (hypers, from, steps, visit) => {
    theta.set(from);
    begin.set(hypers);
    begin.set(theta, h);
    init(begin, y);
    x.set(hypers);
    for (let t = 0; ; t++) {
      for (let k = 0; k < s; k++) x[h + k] = y[k];
      f.slope(theta, g);
      let bounded = Number.isFinite(g[0]);
      for (let k = 0; k < n; k++) {
        bounded = bounded && Number.isFinite(theta[k]) && Number.isFinite(g[k + 1]);
        x[h + s + k] = theta[k];
        x[h + s + n + k] = g[k + 1];
      }
      x[h + s + 2 * n] = g[0];
      if (bounded) step(x, y);
      if (visit(t, theta, g, y, bounded) || !bounded || t >= steps) return t;
      for (let k = 0; k < n; k++) theta[k] = y[s + 3 + 2 * n + k];
    }
  };
}

/* The functions of a surface, or of a typed loss in its place. */
function functionsOf(surface, source, constants) {
  const f = { ...surface };
  return source ? Object.assign(f, compiled(read(source), constants, f.eigen)) : f;
}
