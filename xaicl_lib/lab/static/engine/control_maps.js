// The controls: maps that know nothing of the model, as `xaicl_lib.methods.controls` defines them.

import { uniform } from "./random.js";

const LUMA = [0.2989, 0.587, 0.114];

export const controls = {
  edges: ({ a, b }, size) => ({ a: edges(a, size), b: edges(b, size) }),
  random_map: (_, size, { cells = 7 }, names) => ({ a: random(cells, names.a), b: random(cells, names.b) }),
};

// Magnitude of Sobel's gradient of the luma, edges repeated.
export function edges(pixels, size) {
  const n = size * size;
  const clamp = (k) => Math.min(size - 1, Math.max(0, k));
  const at = (i, j) => LUMA.reduce((sum, weight, c) => sum + weight * pixels[c * n + clamp(i) * size + clamp(j)], 0);
  const data = new Float32Array(n);
  for (let i = 0; i < size; i += 1) {
    for (let j = 0; j < size; j += 1) {
      const across = at(i - 1, j + 1) - at(i - 1, j - 1) + 2 * (at(i, j + 1) - at(i, j - 1)) + at(i + 1, j + 1) - at(i + 1, j - 1);
      const down = at(i + 1, j - 1) - at(i - 1, j - 1) + 2 * (at(i + 1, j) - at(i - 1, j)) + at(i + 1, j + 1) - at(i - 1, j + 1);
      data[i * size + j] = Math.hypot(across, down) / 8;
    }
  }
  return { data, h: size, w: size };
}

// Each picture has its own numbers, drawn from its name, so that a link shows the same map everywhere; they are not torch's.
function random(cells, name) {
  return { data: Float32Array.from({ length: cells * cells }, uniform(seedOf(name))), h: cells, w: cells };
}

// A whole number under 2 ** 32 for a text (FNV-1a).
const seedOf = (text) => new TextEncoder().encode(text).reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
