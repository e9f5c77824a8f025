// Conditional deletion: the most important pixels of one picture go, the other stays whole, and the score is watched (the metric CD).

import { h, svg } from "./element.js";

export const STEPS = 16;

// A map of {data, h, w} at `size` pixels a side, bilinear, the centres of the corner cells half a cell inside, as torch has it.
export function resized({ data, h: rows, w: columns }, size) {
  const at = (k, count) => {
    const place = Math.max(0, ((k + 0.5) * count) / size - 0.5);
    const low = Math.min(Math.floor(place), count - 1);
    return [low, Math.min(low + 1, count - 1), place - low];
  };
  const out = new Float32Array(size * size);
  for (let i = 0; i < size; i += 1) {
    const [up, down, v] = at(i, rows);
    for (let j = 0; j < size; j += 1) {
      const [left, right, u] = at(j, columns);
      const line = (row) => data[row * columns + left] * (1 - u) + data[row * columns + right] * u;
      out[i * size + j] = line(up) * (1 - v) + line(down) * v;
    }
  }
  return out;
}

// Places of pixels, the most important first, of equal ones the last first.
export function order(map, size) {
  const values = resized(map, size);
  return Array.from(values.keys()).sort((p, q) => values[q] - values[p] || q - p);
}

// A picture without the first `count` of those pixels: they have the colour that is zero to the model.
export function without(pixels, places, count, mean) {
  const out = Float32Array.from(pixels);
  const n = pixels.length / 3;
  for (const place of places.slice(0, count)) for (let c = 0; c < 3; c += 1) out[c * n + place] = mean[c];
  return out;
}

// Point by point, the score while one side of {a, b} loses its pixels and the other stays whole: {k, pixels, score} of the STEPS + 1 there are.
export async function* losing({ result, whole, side, size, mean }, scoreOf) {
  const places = order(result[side], size);
  for (let k = 0; k <= STEPS; k += 1) {
    const pixels = without(whole[side], places, Math.floor((k * places.length) / STEPS), mean);
    yield { k, pixels, score: await scoreOf({ ...whole, [side]: pixels }) };
  }
}

// Mean of both sides' areas, trapezoids over evenly spaced points.
export const area = (scores) => scores.reduce((sum, s) => sum + s, 0) / (scores.length - 1) - (scores[0] + scores.at(-1)) / (2 * (scores.length - 1));

// Both curves so far: {a, b} of scores.
export function drawCurves(box, { a, b }) {
  const [width, height, left, top] = [320, 120, 34, 6];
  const low = Math.min(0, ...a, ...b);
  const high = Math.max(0.1, ...a, ...b);
  const x = (k) => left + ((width - left - 6) * k) / STEPS;
  const y = (value) => top + ((height - top - 22) * (high - value)) / (high - low);
  const line = (scores, style) => svg("polyline", { points: scores.map((s, k) => `${x(k)},${y(s)}`).join(" "), class: `xl-line ${style}` });
  const text = (what, at, anchor) => svg("text", { x: at[0], y: at[1], "text-anchor": anchor, class: "xl-tick" }, what);
  box.replaceChildren(
    svg("line", { x1: left, x2: width - 6, y1: y(0), y2: y(0), class: "xl-axis" }), line(a, "xl-of-a"), line(b, "xl-of-b"),
    text(high.toFixed(2), [left - 4, y(high) + 4], "end"), text("0", [left - 4, y(0) + 4], "end"),
    text("pixels gone: none", [left, height - 6], "start"), text("all", [width - 6, height - 6], "end"),
  );
}

export function curveBox() {
  const box = svg("svg", { viewBox: "0 0 320 120", role: "img", class: "xl-curves", "aria-label": "Two curves of the score; not yet drawn" });
  const said = h("p", { class: "xl-hint", role: "status" });
  return { element: h("div", { class: "xl-curve-box", hidden: true }, box, said), box, said };
}
