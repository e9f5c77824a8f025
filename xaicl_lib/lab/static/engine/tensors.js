/**
 * Arrays with a shape, and the few sums over them that the methods need.
 * @typedef {{data: Float32Array, dims: number[]}} Tensor
 */

/** @param {Float32Array} data @param {number[]} dims @returns {Tensor} */
export const tensor = (data, dims) => ({ data, dims });

/** @param {number[]} dims */
export const sizeOf = (dims) => dims.reduce((a, b) => a * b, 1);

/** Row k of the first axis, without a copy. @param {Tensor} t @param {number} k */
export function row(t, k) {
  const length = sizeOf(t.dims.slice(1));
  return t.data.subarray(k * length, (k + 1) * length);
}

/** Several arrays of one length as a batch. @param {ArrayLike<number>[]} rows @param {number[]} dims of each @returns {Tensor} */
export function stack(rows, dims) {
  const length = sizeOf(dims);
  const data = new Float32Array(rows.length * length);
  rows.forEach((values, k) => data.set(values, k * length));
  return tensor(data, [rows.length, ...dims]);
}

/** @param {ArrayLike<number>} u @param {ArrayLike<number>} v */
export function dot(u, v) {
  let sum = 0;
  for (let k = 0; k < u.length; k++) sum += u[k] * v[k];
  return sum;
}

/** Length of a vector. @param {ArrayLike<number>} u */
export const norm = (u) => Math.sqrt(dot(u, u));

/** As torch has it: each length kept off zero. @param {ArrayLike<number>} u @param {ArrayLike<number>} v */
export const cosine = (u, v) => dot(u, v) / (Math.max(norm(u), 1e-8) * Math.max(norm(v), 1e-8));

/** Sums over the last axis of length `cells`. @param {ArrayLike<number>} f @param {number} cells */
export function sumCells(f, cells) {
  const sums = new Float64Array(f.length / cells);
  for (let c = 0; c < sums.length; c++) for (let p = 0; p < cells; p++) sums[c] += f[c * cells + p];
  return sums;
}

/** @param {ArrayLike<number>} values */
export function softmax(values) {
  const largest = Math.max(...Array.from(values));
  const powers = Float64Array.from(values, (v) => Math.exp(v - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((v) => v / sum);
}

/** max over the channels of |x g|. @param {Float32Array} x [3 h w] @param {ArrayLike<number>} g likewise @returns {Float32Array} [h w] */
export function strength(x, g) {
  const pixels = x.length / 3;
  const out = new Float32Array(pixels);
  for (let k = 0; k < x.length; k++) out[k % pixels] = Math.max(out[k % pixels], Math.abs(x[k] * g[k]));
  return out;
}
