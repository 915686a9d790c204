/* What draws on a canvas, as SVG: the part of a canvas's context that the pictures use. */

const escaped = (words) => String(words).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
function svgContext(width, height) {
  const parts = [], stack = [], round = (x) => +x.toFixed(2);
  let path = "", move = [0, 0], turn = 0, clips = 0, open = 0, dashes = [];
  const c = {
    fillStyle: "#000", strokeStyle: "#000", lineWidth: 1, textAlign: "left", textBaseline: "alphabetic", globalAlpha: 1,
    font: "", lineJoin: "round", lineCap: "round",
    setTransform() {}, clearRect() {},
    setLineDash: (list) => { dashes = list; },
    save: () => { stack.push([{ ...c }, move, turn, open]); },
    restore: () => { const [was, place, angle, groups] = stack.pop(); while (open > groups) { parts.push("</g>"); open--; } Object.assign(c, was); move = place; turn = angle; },
    translate: (x, y) => { move = [x, y]; }, rotate: (angle) => { turn = angle; },
    beginPath: () => { path = ""; }, closePath: () => { path += "Z"; },
    moveTo: (x, y) => { path += `M${round(x)} ${round(y)}`; },
    lineTo: (x, y) => { path += `${path ? "L" : "M"}${round(x)} ${round(y)}`; },
    rect: (x, y, w, h) => { path += `M${round(x)} ${round(y)}h${round(w)}v${round(h)}h${round(-w)}Z`; },
    arc: (x, y, r) => c.ellipse(x, y, r, r),
    ellipse: (x, y, a, b) => { path += `M${round(x - a)} ${round(y)}a${round(a)} ${round(b)} 0 1 0 ${round(2 * a)} 0a${round(a)} ${round(b)} 0 1 0 ${round(-2 * a)} 0Z`; },
    clip: () => { parts.push(`<clipPath id="clip${++clips}"><path d="${path}"/></clipPath><g clip-path="url(#clip${clips})">`); open++; },
    fill: () => { parts.push(`<path d="${path}" fill="${escaped(c.fillStyle)}" opacity="${c.globalAlpha}"/>`); },
    stroke: () => {
      const dashed = dashes.length ? ` stroke-dasharray="${dashes.join(" ")}"` : "";
      parts.push(`<path d="${path}" fill="none" stroke="${escaped(c.strokeStyle)}" stroke-width="${round(c.lineWidth)}" stroke-linejoin="round" stroke-linecap="round"${dashed}/>`);
    },
    strokeRect: (x, y, w, h) => { c.beginPath(); c.rect(x, y, w, h); c.stroke(); },
    drawImage: (image, x, y, w, h) => { parts.push(`<image x="${round(x)}" y="${round(y)}" width="${round(w)}" height="${round(h)}" opacity="${c.globalAlpha}" preserveAspectRatio="none" ${["href", `"${image.toDataURL("image/png")}"`].join("=")}/>`); },
    fillText: (words, x, y) => {
      const anchor = { left: "start", center: "middle", right: "end" }[c.textAlign], drop = { top: "0.8em", middle: "0.35em" }[c.textBaseline] || "0";
      const at = turn ? ` transform="translate(${move.map(round).join(" ")}) rotate(${round((turn * 180) / Math.PI)})"` : "";
      parts.push(`<text x="${round(x)}" y="${round(y)}" dy="${drop}" text-anchor="${anchor}" fill="${escaped(c.fillStyle)}"${at}>${escaped(words)}</text>`);
    },
    text: () => `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="11">${parts.join("")}${"</g>".repeat(open)}</svg>`,
  };
  return c;
}
