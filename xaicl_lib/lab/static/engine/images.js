/**
 * From decoded pictures to what a model sees, as `xaicl_lib.data.photos` does it: Pillow's antialiased bilinear filter in the same whole
 * numbers, across and then down. (Pillow 13 takes some tall pictures down first; then pixels differ by one part in 255.)
 * @typedef {{data: Uint8ClampedArray | Uint8Array, width: number, height: number}} Pixels RGBA, such as ImageData
 */
const BITS = 22; // of the fractions of a weight

/**
 * The middle square of a picture at `size` pixels a side: RGB in [0, 1], channels first. Its transparency is ignored.
 * @param {Pixels} image @param {number} size @returns {Float32Array} [3 size size]
 */
export function toModel({ data, width, height }, size) {
  const side = Math.min(width, height);
  const [left, top] = [(width - side) / 2, (height - side) / 2];
  const across = windows(width, left, side, size);
  const down = windows(height, top, side, size);
  const [first, last] = [down[0].from, Math.max(...down.map((w) => w.from + w.weights.length))];
  const strip = new Uint8Array(3 * (last - first) * size); // [row, column, channel] after the pass across
  for (let i = first; i < last; i++) {
    for (let j = 0; j < size; j++) {
      const [from, to] = [4 * (i * width + across[j].from), 3 * ((i - first) * size + j)];
      for (let c = 0; c < 3; c++) strip[to + c] = weighted(data, from + c, 4, across[j].weights);
    }
  }
  const out = new Float32Array(3 * size * size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      const from = 3 * ((down[i].from - first) * size + j);
      for (let c = 0; c < 3; c++) out[(c * size + i) * size + j] = weighted(strip, from + c, 3 * size, down[i].weights) / 255;
    }
  }
  return out;
}

/** For each of `size` pixels of [start, start + side) along an axis of `length`: where its window begins and the weights in it. */
function windows(length, start, side, size) {
  const scale = side / size;
  const reach = Math.max(1, scale);
  if (scale === 1 && start === 0 && side === length) return Array.from({ length: size }, (_, k) => ({ from: k, weights: Int32Array.of(1 << BITS) }));
  return Array.from({ length: size }, (_, k) => {
    const middle = start + (k + 0.5) * scale;
    const from = Math.max(0, Math.trunc(middle - reach + 0.5));
    const to = Math.min(length, Math.trunc(middle + reach + 0.5));
    const plain = Array.from({ length: to - from }, (_, n) => Math.max(0, 1 - Math.abs((n + from - middle + 0.5) * (1 / reach))));
    const sum = plain.reduce((a, b) => a + b, 0);
    return { from, weights: Int32Array.from(plain, (v) => Math.floor((v / sum) * 2 ** BITS + 0.5)) };
  });
}

/** Sum of every `pace`-th value from `from` on, weighted, as a whole number of at most 255. */
function weighted(values, from, pace, weights) {
  let sum = 1 << (BITS - 1);
  for (let k = 0; k < weights.length; k++) sum += weights[k] * values[from + k * pace];
  return Math.min(255, sum >> BITS);
}
