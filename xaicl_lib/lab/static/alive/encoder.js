// A tiny encoder: points of the plane to points of the circle, by two hidden layers of tanh; its gradient, and Adam. Checked against torch.

import { uniform } from "../engine/random.js";
import { normals, tanh } from "./arithmetic.js";

export const WIDTHS = [2, 32, 32, 2];

// One flat array, and within it for each layer `w` (outputs x inputs) and `b` (outputs).
export function layersOf(flat) {
  let at = 0;
  const take = (count) => flat.subarray(at, (at += count));
  return WIDTHS.slice(1).map((out, k) => ({ inputs: WIDTHS[k], out, w: take(out * WIDTHS[k]), b: take(out) }));
}

export const countOfWeights = WIDTHS.slice(1).reduce((sum, out, k) => sum + out * (WIDTHS[k] + 1), 0);

// Normal weights of variance 1 / inputs, biases of half the spread of a normal one.
export function firstWeights(seed) {
  const flat = new Float64Array(countOfWeights);
  const draw = uniform(seed);
  layersOf(flat).forEach(({ inputs, w, b }) => {
    const scale = 1 / Math.sqrt(inputs);
    w.set(normals(w.length, draw).map((v) => v * scale));
    b.set(normals(b.length, draw).map((v) => v / 2));
  });
  return flat;
}

// x (n, 2) -> what every layer says, the input first; the last one is the embedding before it is brought to length 1.
export function forward(flat, x) {
  const said = [x];
  layersOf(flat).forEach((layer, k) => said.push(affine(layer, said[k], k < WIDTHS.length - 2)));
  return said;
}

function affine({ inputs, out, w, b }, x, bent) {
  const n = x.length / inputs;
  const y = new Float64Array(n * out);
  for (let i = 0; i < n; i += 1) {
    for (let o = 0; o < out; o += 1) {
      let sum = b[o];
      for (let k = 0; k < inputs; k += 1) sum += w[o * inputs + k] * x[i * inputs + k];
      y[i * out + o] = bent ? tanh(sum) : sum;
    }
  }
  return y;
}

// y (n, 2) -> {z, lengths}: the same directions with length 1.
export function toCircle(y) {
  const lengths = Float64Array.from({ length: y.length / 2 }, (_, i) => Math.max(Math.sqrt(y[2 * i] * y[2 * i] + y[2 * i + 1] * y[2 * i + 1]), 1e-12));
  return { z: y.map((v, k) => v / lengths[k >> 1]), lengths };
}

export const embed = (flat, x) => toCircle(forward(flat, x).at(-1)).z;

// Gradient of the loss by the weights, flat as they are, from its gradient `dz` by the embeddings on the circle.
export function backward(flat, said, { z, lengths }, dz) {
  const grad = new Float64Array(flat.length);
  const layers = layersOf(flat);
  const into = layersOf(grad);
  let dy = offCircle(z, lengths, dz);
  for (let k = layers.length - 1; k >= 0; k -= 1) {
    gather(into[k], said[k], dy);
    if (k > 0) dy = through(layers[k], said[k], dy);
  }
  return grad;
}

// What remains of a gradient on the circle: its part along the circle, over the length.
const offCircle = (z, lengths, dz) => dz.map((v, k) => {
  const i = k & ~1;
  return (v - z[k] * (z[i] * dz[i] + z[i + 1] * dz[i + 1])) / lengths[k >> 1];
});

function gather({ inputs, out, w, b }, x, dy) {
  for (let i = 0; i < dy.length / out; i += 1) {
    for (let o = 0; o < out; o += 1) {
      const d = dy[i * out + o];
      b[o] += d;
      for (let k = 0; k < inputs; k += 1) w[o * inputs + k] += d * x[i * inputs + k];
    }
  }
}

// Through the weights and the tanh before them, whose slope is 1 - h².
function through({ inputs, out, w }, h, dy) {
  const dx = new Float64Array(h.length);
  for (let i = 0; i < dy.length / out; i += 1) {
    for (let o = 0; o < out; o += 1) {
      const d = dy[i * out + o];
      for (let k = 0; k < inputs; k += 1) dx[i * inputs + k] += d * w[o * inputs + k];
    }
  }
  return dx.map((v, k) => v * (1 - h[k] * h[k]));
}

// Adam with the usual constants; it changes the weights where they lie.
export function adam(flat) {
  const [first, second] = [new Float64Array(flat.length), new Float64Array(flat.length)];
  let [slow, slower] = [1, 1]; // what is left of the first zeros
  return (grad, rate) => {
    [slow, slower] = [0.9 * slow, 0.999 * slower];
    for (let k = 0; k < flat.length; k += 1) {
      first[k] = 0.9 * first[k] + 0.1 * grad[k];
      second[k] = 0.999 * second[k] + 0.001 * grad[k] * grad[k];
      flat[k] -= (rate * first[k]) / (1 - slow) / (Math.sqrt(second[k] / (1 - slower)) + 1e-8);
    }
  };
}
