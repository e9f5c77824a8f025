// InfoNCE over a batch of pairs of views, what is left of it without negatives, and two measures of what it does. Checked against torch.
// Everywhere z is 2n points of the circle, (x, y) after (x, y); those numbered i and i + n, modulo 2n, are two views of one point.

import { exp } from "./arithmetic.js";

const dot = (z, i, k) => z[2 * i] * z[2 * k] + z[2 * i + 1] * z[2 * k + 1];

// -> {loss, dz}, the gradient by z
export const lossOf = (z, temperature, negatives) => (negatives ? infoNce : positivesOnly)(z, temperature);

// mean_i -log( exp(z_i·z_p(i) / T) / sum_{k != i} exp(z_i·z_k / T) ), where p(i) is the other view of i: the loss of SimCLR.
// All exponents are less 1 / T, the largest there can be, so that none is too large for a number; for T of 0.02 and more none vanishes.
function infoNce(z, temperature) {
  const m = z.length / 2;
  const dz = new Float64Array(z.length);
  const { near, sums } = nearness(z, temperature);
  let loss = 0;
  for (let i = 0, at = 0; i < m; i += 1) {
    const partner = (i + m / 2) % m;
    loss += Math.log(sums[i]) + (1 - dot(z, i, partner)) / temperature;
    if (partner > i) pull(dz, z, i, partner, -2 / (m * temperature));
    for (let k = 0; k < i; k += 1, at += 1) pull(dz, z, i, k, (near[at] / sums[i] + near[at] / sums[k]) / (m * temperature));
  }
  return { loss: loss / m, dz };
}

// exp((z_i·z_k - 1) / T) for each i and the k before it, one after the other, and for each view the sum over all others.
function nearness(z, temperature) {
  const m = z.length / 2;
  const near = new Float64Array((m * (m - 1)) / 2);
  const sums = new Float64Array(m);
  for (let i = 0, at = 0; i < m; i += 1) {
    for (let k = 0; k < i; k += 1, at += 1) {
      near[at] = exp((dot(z, i, k) - 1) / temperature);
      sums[i] += near[at];
      sums[k] += near[at];
    }
  }
  return { near, sums };
}

// Both points towards each other if `by` is negative: a descent goes against it.
function pull(dz, z, i, k, by) {
  for (let c = 0; c < 2; c += 1) {
    dz[2 * i + c] += by * z[2 * k + c];
    dz[2 * k + c] += by * z[2 * i + c];
  }
}

// Only the numerator: mean_i -z_i·z_p(i) / T, which is least, -1 / T, wherever both views meet.
function positivesOnly(z, temperature) {
  const m = z.length / 2;
  const dz = new Float64Array(z.length);
  let loss = 0;
  for (let i = 0; i < m; i += 1) {
    const partner = (i + m / 2) % m;
    loss -= dot(z, i, partner) / (m * temperature);
    pull(dz, z, i, partner, -1 / (m * temperature));
  }
  return { loss, dz };
}

// Mean squared distance of the two views of a point: 0 if they meet, 4 if they are opposite.
export function alignment(z) {
  const n = z.length / 4;
  let sum = 0;
  for (let i = 0; i < n; i += 1) sum += Math.max(0, 2 - 2 * dot(z, i, i + n));
  return sum / n;
}

// log mean_{i < k} exp(-2 |z_i - z_k|²): 0 if all points are one, EVEN if they are spread evenly.
export function uniformity(z) {
  const m = z.length / 2;
  let sum = 0;
  for (let i = 0; i < m; i += 1) for (let k = 0; k < i; k += 1) sum += Math.exp(4 * dot(z, i, k) - 4);
  return Math.log(sum / ((m * (m - 1)) / 2));
}

export const EVEN = Math.log(Math.exp(-4) * 11.3019219521); // of the whole circle: exp(-4) I_0(4), with the Bessel function

const NEAR = Math.cos(Math.PI / 18); // of ten degrees

// Of the embeddings within ten degrees of one, the share that is of its class, on average over those that have any so near.
export function sameClass(z, labels) {
  const shares = labels.map((label, i) => {
    const near = labels.filter((_, k) => k !== i && dot(z, i, k) >= NEAR);
    return near.length ? near.filter((other) => other === label).length / near.length : null;
  }).filter((share) => share !== null);
  return shares.reduce((sum, v) => sum + v, 0) / shares.length;
}
