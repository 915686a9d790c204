/* What every page draws with: frames, axes, bands of a surface, lines and marks.  kinds: the colours of the kinds. */

const $ = (id) => document.getElementById(id);
const TONES = {
  light: { ink: "#1c2530", soft: "#5b6673", edge: "#9aa4b0", grid: "#eceff3", low: [132, 146, 166], high: [252, 253, 253] },
  dark: { ink: "#e6eaef", soft: "#a9b4c0", edge: "#5b6673", grid: "#2b343e", low: [86, 98, 116], high: [188, 194, 202] },
};
const tones = { ...TONES.light };
const finite = (point) => Number.isFinite(point[0]) && Number.isFinite(point[1]);
function short(x) { // an infinite number may be one that is too large for float32
  if (Number.isNaN(x)) return "not finite";
  if (!Number.isFinite(x)) return x > 0 ? "above 3.4e38" : "below -3.4e38";
  return Math.abs(x) >= 1e4 || (x && Math.abs(x) < 1e-3) ? x.toExponential(2) : String(+x.toPrecision(4));
}

/* ---- frames: where numbers lie on a picture ---- */
/* pen: what draws in place of the canvas's context. */
function frame(canvas, margins, pen = null) {
  const scale = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.lineJoin = context.lineCap = "round";
  context.font = "11px system-ui, sans-serif";
  const [l, r, t, b] = margins;
  return { context: pen || context, x: l, y: t, width: width - l - r, height: height - t - b };
}
/* ---- axes ---- */
function nice(low, high) {
  const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
  const unit = power * [1, 2, 5, 10].find((m) => m * power >= raw), marks = [];
  for (let k = Math.ceil(low / unit); k * unit <= high; k++) marks.push(+(k * unit).toPrecision(12));
  return marks;
}
function text(c, words, x, y, align, baseline, colour = tones.soft) {
  c.fillStyle = colour;
  c.textAlign = align;
  c.textBaseline = baseline;
  c.fillText(words, x, y);
}
function upright(c, words, x, y) {
  c.save();
  c.translate(x, y);
  c.rotate(-Math.PI / 2);
  text(c, words, 0, 0, "center", "top");
  c.restore();
}
function border(f) {
  f.context.strokeStyle = tones.edge;
  f.context.lineWidth = 1;
  f.context.strokeRect(f.x, f.y, f.width, f.height);
}

/* ---- numbers in base64, little-endian ---- */
function unpacked(text, Kind = Float32Array) {
  const words = atob(text), bytes = new Uint8Array(words.length);
  for (let k = 0; k < words.length; k++) bytes[k] = words.charCodeAt(k);
  return new Kind(bytes.buffer);
}

/* ---- a surface in bands between levels, its lines darker; height(u, v) is the loss at a pixel ---- */
function paint(canvas, levels, height) {
  const { width, height: rows } = canvas, context = canvas.getContext("2d"), image = context.createImageData(width, rows);
  const top = levels.length, above = new Int16Array(width).fill(-1), pixels = new Uint32Array(image.data.buffer);
  const colours = (by) => new Uint32Array(new Uint8ClampedArray(Array.from({ length: top + 1 }, (_, band) =>
    [...tones.low.map((low, k) => (low + (tones.high[k] - low) * (top ? band / top : 1)) * by), 255]).flat()).buffer);
  const flat = colours(1), line = colours(0.9);
  for (let v = 0, p = 0; v < rows; v++) {
    for (let u = 0, before = -1, band = 0; u < width; u++, p++) {
      const value = height(u, v);
      if (Number.isFinite(value)) {
        while (band > 0 && !(value >= levels[band - 1])) band--; // most often it is the band of the pixel before
        while (band < top && value >= levels[band]) band++;
      } else band = top;
      pixels[p] = (u && band !== before) || (v && band !== above[u]) ? line[band] : flat[band];
      above[u] = before = band;
    }
  }
  context.putImageData(image, 0, 0);
}

/* What a grid of side x side values is at a place between its four nearest; across and up from 0 to 1. */
function between(grid, side, across, up) {
  const x = Math.min(Math.max(across, 0), 1) * (side - 1), y = Math.min(Math.max(up, 0), 1) * (side - 1);
  const i = Math.min(Math.floor(x), side - 2), j = Math.min(Math.floor(y), side - 2), a = x - i, b = y - j, k = j * side + i;
  return (1 - b) * ((1 - a) * grid[k] + a * grid[k + 1]) + b * ((1 - a) * grid[k + side] + a * grid[k + side + 1]);
}

/* ---- shapes ---- */
const dashesOf = (i) => [[], [8, 3], [8, 3, 2, 3]][Math.floor(i / 3) % 3]; // more than three colors look alike to some
function line(c, points, colour, width, dashes = []) {
  c.strokeStyle = colour;
  c.lineWidth = width;
  c.setLineDash(dashes);
  c.beginPath();
  let pen = false;
  for (const point of points) {
    if (!finite(point)) { pen = false; continue; }
    const [x, y] = point.map((v) => Math.min(Math.max(v, -4000), 8000));
    pen ? c.lineTo(x, y) : c.moveTo(x, y);
    pen = true;
  }
  c.stroke();
  c.setLineDash([]);
}
function arrow(c, from, along, colour, width, dashes) {
  const size = Math.hypot(...along);
  if (!(size > 1)) return;
  const tip = [from[0] + along[0], from[1] + along[1]], [u, v] = [along[0] / size, along[1] / size];
  const head = Math.min(8, 0.6 * size);
  line(c, [from, tip], colour, width, dashes);
  const wing = (s) => [tip[0] - head * (u * 0.87 + s * v * 0.5), tip[1] - head * (v * 0.87 - s * u * 0.5)];
  line(c, [wing(1), tip, wing(-1)], colour, width);
}
const SHAPES = {
  minimum: (c, x, y) => c.arc(x, y, 5.5, 0, 7),
  saddle: (c, x, y) => {
    for (const [u, v] of [[0, -1], [1, -2], [2, -1], [1, 0], [2, 1], [1, 2], [0, 1], [-1, 2], [-2, 1], [-1, 0], [-2, -1], [-1, -2]]) c.lineTo(x + 3.2 * u, y + 3.2 * v);
    c.closePath();
  },
  maximum: (c, x, y) => { c.moveTo(x, y - 6.5); c.lineTo(x + 6, y + 5); c.lineTo(x - 6, y + 5); c.closePath(); },
  degenerate: (c, x, y) => { c.moveTo(x, y - 6.5); c.lineTo(x + 6.5, y); c.lineTo(x, y + 6.5); c.lineTo(x - 6.5, y); c.closePath(); },
};
function mark(c, kind, [x, y], kinds) {
  c.beginPath();
  (SHAPES[kind] || SHAPES.minimum)(c, x, y);
  c.fillStyle = kinds[kind] || "#fff";
  c.fill();
  c.strokeStyle = "#000";
  c.lineWidth = 1;
  c.stroke();
}
/* ---- words: terms and what is said of each ---- */
function listed(box, title, rows, colour = "") {
  const head = document.createElement("h2"), list = document.createElement("dl");
  head.textContent = title;
  if (colour) head.style.cssText = `border-left: .45em solid ${colour}; padding-left: .45em`;
  for (const [term, said] of rows) {
    list.append(Object.assign(document.createElement("dt"), { textContent: term }));
    list.append(Object.assign(document.createElement("dd"), { textContent: said }));
  }
  box.replaceChildren(head, list);
}
