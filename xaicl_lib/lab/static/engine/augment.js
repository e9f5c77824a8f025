// Changes of picture B with a strength, as `xaicl_lib.augment` defines them. Pictures are Float32Array [3 * size * size], RGB in [0, 1].

const LUMA = [0.2989, 0.587, 0.114];

export const CHANGES = [
  { name: "none", title: "No change" },
  { name: "blur", title: "Blur", low: 0, high: 4, step: 0.1, neutral: 0, unit: "pixels" },
  { name: "brightness", title: "Brightness", low: 0, high: 2, step: 0.05, neutral: 1, unit: "times" },
  { name: "hue", title: "Hue", low: -0.5, high: 0.5, step: 0.02, neutral: 0, unit: "turns" },
  { name: "rotation", title: "Rotation", low: -180, high: 180, step: 5, neutral: 0, unit: "degrees" },
  { name: "grayscale", title: "Grayscale", low: 0, high: 1, step: 0.05, neutral: 0, unit: "share" },
];

export const changeOf = (name) => CHANGES.find((one) => one.name === name) ?? CHANGES[0];

// `seen`: side in pixels of what the model sees, for a strength in its pixels.
export function change(pixels, size, { name, strength }, seen = size) {
  switch (name) {
    case "blur": return blur(pixels, size, (strength * size) / seen);
    case "brightness": return pixels.map((v) => Math.min(1, Math.max(0, v * strength)));
    case "hue": return hue(pixels, strength);
    case "rotation": return rotate(pixels, size, strength);
    case "grayscale": return grayscale(pixels, strength);
    default: return pixels;
  }
}

export function grayscale(pixels, amount) {
  const n = pixels.length / 3;
  const luma = Float32Array.from({ length: n }, (_, k) => LUMA[0] * pixels[k] + LUMA[1] * pixels[n + k] + LUMA[2] * pixels[2 * n + k]);
  return pixels.map((v, k) => luma[k % n] + (v - luma[k % n]) * (1 - amount));
}

export function hue(pixels, turn) {
  const n = pixels.length / 3;
  const out = new Float32Array(pixels.length);
  for (let k = 0; k < n; k += 1) {
    const [r, g, b] = [pixels[k], pixels[n + k], pixels[2 * n + k]];
    const high = Math.max(r, g, b);
    const chroma = high - Math.min(r, g, b);
    const safe = Math.max(chroma, 1e-12);
    const sector = (high === r ? (g - b) / safe : high === g ? 2 + (b - r) / safe : 4 + (r - g) / safe) + 6 * turn;
    [5, 3, 1].forEach((shift, c) => {
      const phase = (((sector + shift) % 6) + 6) % 6;
      out[c * n + k] = high - chroma * Math.min(1, Math.max(0, Math.min(phase, 4 - phase)));
    });
  }
  return out;
}

// Counter-clockwise about the middle, bilinearly; corners that come into sight are reflections.
export function rotate(pixels, size, degrees) {
  const n = size * size;
  const out = new Float32Array(pixels.length);
  const [cos, sin] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  for (let k = 0; k < n; k += 1) {
    const [x, y] = [(k % size) + 0.5 - size / 2, Math.floor(k / size) + 0.5 - size / 2];
    const [u, v] = [inside(cos * x - sin * y + size / 2, size), inside(sin * x + cos * y + size / 2, size)];
    const [left, top] = [Math.floor(u), Math.floor(v)];
    const [right, below] = [Math.min(left + 1, size - 1), Math.min(top + 1, size - 1)];
    const [p, q] = [u - left, v - top];
    for (let c = 0; c < 3; c += 1) {
      const at = (i, j) => pixels[c * n + i * size + j];
      out[c * n + k] = (1 - q) * ((1 - p) * at(top, left) + p * at(top, right)) + q * ((1 - p) * at(below, left) + p * at(below, right));
    }
  }
  return out;
}

// A coordinate (edge to edge: 0 to size) reflected at the edges, as the place between pixel middles.
function inside(at, size) {
  const folded = Math.abs(((((at + size) % (2 * size)) + 2 * size) % (2 * size)) - size);
  return Math.min(size - 1, Math.max(0, folded - 0.5));
}

export const kernelOf = (sigma, size) => Math.min(2 * Math.ceil(3 * sigma) + 1, 2 * size - 1);

// Gaussian of `sigma` pixels, edges reflected.
export function blur(pixels, size, sigma) {
  if (sigma <= 0) return pixels;
  const half = (kernelOf(sigma, size) - 1) / 2;
  const taps = Float32Array.from({ length: 2 * half + 1 }, (_, k) => Math.exp(-0.5 * ((k - half) / sigma) ** 2));
  const sum = taps.reduce((total, tap) => total + tap, 0);
  const reflect = (k) => size - 1 - Math.abs(size - 1 - Math.abs(k));
  const pass = (source, along, across) => {
    const out = new Float32Array(source.length);
    for (let line = 0; line < source.length / size; line += 1) {
      const start = Math.floor(line / size) * size * size + (line % size) * across;
      for (let k = 0; k < size; k += 1) {
        let total = 0;
        for (let t = -half; t <= half; t += 1) total += taps[t + half] * source[start + reflect(k + t) * along];
        out[start + k * along] = total / sum;
      }
    }
    return out;
  };
  return pass(pass(pixels, 1, size), size, 1);
}
