// Pictures with maps over them, on canvas. Values are never scaled one map at a time: the limit of the row comes from outside.

import { table } from "./colours.js";

// A map {data, h, w} as a small picture, one pixel a cell. In the style "glow" a place is as opaque as its value is large.
export function heat(map, { limit, diverging, colours, opacity, style }) {
  const canvas = new OffscreenCanvas(map.w, map.h);
  const image = new ImageData(map.w, map.h);
  const lut = table(colours);
  const top = limit || 1;
  const low = style === "glow" ? 0.2 : 0; // what is clear anyway needs no dark colours, which would look like dirt
  const power = map.w > 32 ? 0.7 : 1.5; // single pixels of a fine map would drown otherwise
  for (let k = 0; k < map.data.length; k += 1) {
    const value = map.data[k] / top;
    const share = Math.min(1, Math.abs(value));
    const place = Math.round(255 * Math.min(1, Math.max(0, diverging ? 0.5 + value / 2 : low + (1 - low) * value)));
    image.data.set(lut.subarray(3 * place, 3 * place + 3), 4 * k);
    image.data[4 * k + 3] = 255 * opacity * (style === "glow" ? Math.min(1, 1.5 * share) ** power : 1);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// A map that is NaN where nothing is known yet, each such cell as the nearest one that is known.
export function filled({ data, h, w }) {
  const known = [...data.keys()].filter((k) => !Number.isNaN(data[k]));
  const near = (k) => known.reduce((best, one) => (apart(one, k, w) < apart(best, k, w) ? one : best), known[0]);
  return { data: data.map((v, k) => (Number.isNaN(v) ? data[near(k)] ?? 0 : v)), h, w };
}

const apart = (p, q, w) => (Math.floor(p / w) - Math.floor(q / w)) ** 2 + ((p % w) - (q % w)) ** 2;

export const largest = (...maps) => maps.reduce((top, { data }) => data.reduce((most, v) => Math.max(most, Math.abs(v)), top), 0);
export const hasNegative = (...maps) => maps.some(({ data }) => data.some((v) => v < 0));

// A photo with a map over it and outlines on top; the map is stretched over the picture, as the library's figures do it.
export function paint(canvas, photo, overlay, { dim = 0, outlines = [] } = {}) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.clearRect(0, 0, width, height);
  if (photo) context.drawImage(photo, 0, 0, width, height);
  if (dim) {
    context.fillStyle = `rgba(12, 12, 20, ${dim})`;
    context.fillRect(0, 0, width, height);
  }
  if (overlay) context.drawImage(overlay, 0, 0, width, height);
  outlines.forEach((outline) => frame(context, outline, width, height));
}

// A rectangle in shares of the picture, white within black, to be seen on anything.
function frame(context, { x, y, w, h, strong = true }, width, height) {
  const unit = Math.max(1, width / 300);
  for (const [colour, line] of [["rgba(0,0,0,.75)", 4 * unit], ["#fff", (strong ? 2 : 1) * unit]]) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.strokeRect(x * width, y * height, w * width, h * height);
  }
}

// The colours of a row from its lowest to its largest value, over the middle grey of a photo.
export function legend(canvas, { diverging, colours, opacity, style }) {
  const steps = Float32Array.from({ length: 128 }, (_, k) => (diverging ? (2 * k) / 127 - 1 : k / 127));
  const strip = heat({ data: steps, w: 128, h: 1 }, { limit: 1, diverging, colours, opacity, style });
  const context = canvas.getContext("2d");
  context.fillStyle = "#80808a";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(strip, 0, 0, canvas.width, canvas.height);
}

// Two significant digits; small values as 3.4 · 10⁻⁵, which nobody has to count zeros in.
export function number(value) {
  if (value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e4)) return String(Number(value.toPrecision(2))).replace("-", "−");
  const [digits, power] = value.toExponential(1).split("e");
  return `${digits.replace("-", "−")} · 10${[...power.replace("+", "")].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("")}`;
}
