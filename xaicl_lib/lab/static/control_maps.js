// The controls: maps that know nothing of the model, as `xaicl_lib.methods.controls` defines them.

const LUMA = [0.2989, 0.587, 0.114];

export const controls = {
  edges: ({ a, b }, size) => ({ a: edges(a, size), b: edges(b, size) }),
  random_map: (_, size, { cells = 7 }) => ({ a: random(cells), b: random(cells) }),
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

const random = (cells) => ({ data: Float32Array.from({ length: cells * cells }, Math.random), h: cells, w: cells });
