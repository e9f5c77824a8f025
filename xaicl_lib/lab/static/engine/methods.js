/**
 * The explanation methods of the library, on a network that runs here. Each is
 *
 *     (net, a, b, options, step) -> {a, b, score, joint?, residual?}
 *
 * with images `a`, `b` (Float32Array [3 h w], RGB in [0, 1]); `explain` runs them by name. Formulas, names and defaults are those of
 * `xaicl_lib.methods`, where they are explained; a test compares every one with torch.
 *
 * @typedef {import("./tensors.js").Tensor} Tensor
 * @typedef {import("./net.js").Net} Net
 * @typedef {{data: Float32Array, h: number, w: number}} SaliencyMap
 * @typedef {{data: Float32Array, ia: number, ja: number, ib: number, jb: number}} Joint [ia ja ib jb]: which cell of a goes with which of b
 * @typedef {(done: number, total: number, soFar?: Made) => Promise<void>} Step called after each batch; it throws when the run is cancelled
 * @typedef {{a: SaliencyMap, b: SaliencyMap, score: number, joint?: Joint, residual?: number, extremes?: [number, number]}} Made
 * @typedef {{index: number, of: number}} Part
 * @typedef {Made & {seconds: number, forwards: number, backwards: number, notes: string[]}} Result
 */
import { InputError } from "./errors.js";
import { cosine, dot, norm, row, softmax, stack, strength, sumCells, tensor } from "./tensors.js";
import { normal, uniform } from "./random.js";

const PAPER = { side: 224, window: 64, stride: 8 };
const BLENDS = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1];
export const IMAGES = 8; // in flight: more gain nothing, and a run can be cancelled between batches
const WHOLE = { index: 0, of: 1 };
const PAIRS = 2; // likewise, of gradients
const VANISHING = "score 1: the cosine is at its maximum, where its gradients vanish; maps made from gradients hold rounding noise only";

/** The methods with their options and defaults. `guided` needs a network with ReLUs; what `splits` can be made in parts: it takes hundreds of images. */
export const METHODS = {
  conditional_occlusion: { run: conditionalOcclusion, options: { window: null, stride: null }, gradient: false, splits: true },
  pairwise_occlusion: { run: pairwiseOcclusion, options: { masks: 100, scale: [0.1, 0.3], ratio: [1, 1.5], temperature: null, seed: 0, rectangles: null }, gradient: false },
  input_x_gradient: { run: inputXGradient, options: { guided: false }, gradient: true },
  smooth_grad: { run: smoothGrad, options: { samples: 50, level: 0.15, sigma: "smoothgrad", guided: false, seed: 0, noise: null }, gradient: true },
  averaged_transforms: { run: averagedTransforms, options: { level: 0, sigma: "smoothgrad", guided: false, seed: 0, noise: null }, gradient: true },
  grad_cam: { run: gradCam, options: {}, gradient: true },
  interaction_cam: { run: interactionCam, options: { reduction: "mean", gradient_interaction: true }, gradient: true },
  deep_similarity: { run: deepSimilarity, options: {}, gradient: false },
  integrated_jacobians: { run: integratedJacobians, options: { steps: 16 }, gradient: false },
  attention_rollout: { run: attentionRollout, options: {}, gradient: false },
  legrad: { run: leGrad, options: {}, gradient: true },
};

/**
 * Explain a pair.
 * @param {Net} net
 * @param {string} name of a method
 * @param {Float32Array} a @param {Float32Array} b [3 h w] at the model's size, RGB in [0, 1]
 * @param {object} [given] options of the method; others are refused
 * @param {(done: number, total: number, soFar?: Made) => void} [onProgress] `soFar`: maps that are NaN where nothing is known yet
 * @param {AbortSignal} [signal]
 * @param {Part} [part] of a method that splits: its maps are zero wherever another part has the values
 * @returns {Promise<Result>}
 */
export async function explain(net, name, a, b, given = {}, onProgress = () => {}, signal = undefined, part = WHOLE) {
  const made = await explained(net, name, [a, b], given, onProgress, signal, (options, step) => {
    if (part.of > 1 && !METHODS[name].splits) throw new InputError(`${name} cannot be made in parts`);
    return METHODS[name].run(net, net.normalize(a), net.normalize(b), options, step, part);
  });
  return { ...made, notes: METHODS[name].gradient && made.score > 1 - 1e-6 ? [VANISHING] : [] };
}

/** What `make` makes with a method's options, with how long it took; first whatever was asked wrongly is said. */
export async function explained(net, name, images, given, onProgress, signal, make) {
  const method = Object.hasOwn(METHODS, name) ? METHODS[name] : null;
  if (!method || !net.card.methods.includes(name)) throw new InputError(`${net.card.name} has no method ${name}`);
  const options = checked(name, method.options, given, net.card);
  const pixels = 3 * net.card.size ** 2;
  if (images.some(({ length }) => length !== pixels)) throw new InputError(`expected images of ${net.card.size} x ${net.card.size} pixels`);
  const began = performance.now();
  const before = { ...net.count };
  const step = async (done, total, soFar) => {
    onProgress(done, total, soFar);
    await breathe();
    signal?.throwIfAborted();
  };
  signal?.throwIfAborted();
  const made = await make(options, step);
  const { forwards, backwards } = net.count;
  const seconds = (performance.now() - began) / 1000;
  return { ...made, seconds, forwards: forwards - before.forwards, backwards: backwards - before.backwards };
}

function checked(name, defaults, given, card) {
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(defaults, key)) throw new InputError(`${name} has no option ${key}`);
    const [value, usual] = [given[key], defaults[key]];
    if (value !== null && usual !== null && key !== "sigma" && typeof value !== typeof usual) throw new InputError(`expected ${key} of ${name} as ${typeof usual}`);
    if (typeof value === "number" && !Number.isFinite(value)) throw new InputError(`expected ${key} of ${name} as a number`);
  }
  if (given.guided && !card.guided) throw new InputError(`${card.name} has no ReLUs, which guided backpropagation needs`);
  return { ...defaults, ...given };
}

/** Lets messages in, such as "cancel"; a timer would wait longer. */
function breathe() {
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve();
    };
    channel.port2.postMessage(0);
  });
}

const mapOf = (data, h, w) => ({ data, h, w });
export const squareMap = (data, net) => mapOf(data, net.card.size, net.card.size);
const expect = (holds, message) => {
  if (!holds) throw new InputError(message);
};
const whole = (value, least) => Number.isInteger(value) && value >= least;

// ---------------------------------------------------------------- perturbation

async function conditionalOcclusion(net, xa, xb, options, step, part) {
  const [za, zb] = await embedPair(net, xa, xb);
  const sides = [{ x: xa, name: "a", scoreOf: (z) => cosine(z, zb) }, { x: xb, name: "b", scoreOf: (z) => cosine(z, za) }];
  return occluded(net, sides, cosine(za, zb), options, step, part);
}

/** How much of the score goes with each window of each side: `scoreOf` an embedding of that side, the other as it is. */
export async function occluded(net, sides, score, { window, stride }, step, part = WHOLE) {
  const side = net.card.size;
  const width = window ?? Math.max(1, roundHalfEven((side * PAPER.window) / PAPER.side));
  const pace = stride ?? Math.max(1, roundHalfEven((side * PAPER.stride) / PAPER.side));
  expect(whole(width, 1) && width <= side && whole(pace, 1), `expected a window of 1 to ${side} pixels and a stride of at least 1`);
  const count = Math.floor((side - width) / pace) + 1; // places along a side
  const hide = (x, place) => hidden(x, side, { top: Math.floor(place / count) * pace, left: (place % count) * pace, height: width, width });
  const asked = sides.map((one) => ({ ...one, drops: new Float32Array(count ** 2).fill(NaN) }));
  const shares = sharesOf(side, width, pace, count);
  const soFar = () => ({ score, ...Object.fromEntries(asked.map(({ name, drops }) => [name, laidOut(drops, shares)])) });
  const rounds = coarseToFine(count, part);
  const total = sides.length * rounds.flat().length;
  let done = 0;
  for (const [round, places] of rounds.entries()) {
    for (const { x, name, scoreOf, drops } of asked) {
      for await (const [k, z] of embeddings(net, places.length, (n) => hide(x, places[n]), name)) {
        drops[places[k]] = score - scoreOf(z);
        done += 1;
        const seen = round > 0 || (name === asked.at(-1).name && k === places.length - 1); // a first picture, once all of it is coarsely there
        if (k % IMAGES === IMAGES - 1 || k === places.length - 1) await step(done, total, seen ? soFar() : undefined);
      }
    }
  }
  for (const { drops } of asked) for (let k = 0; k < drops.length; k++) if (Number.isNaN(drops[k])) drops[k] = 0;
  return { ...soFar(), extremes: extremesOf(asked.map(({ drops }) => drops)) };
}

/** The least and the largest drop, 0 among them: a map has less where its cells lie between the places. */
const extremesOf = (all) => [Math.min, Math.max].map((most) => all.reduce((found, drops) => drops.reduce((one, v) => most(one, v), found), 0));

/** Values of windows as those of cells of a stride, each where its window is centred; of windows that are known, NaN where none is. */
function laidOut(places, shares) {
  const cells = shares.length;
  const of = (k) => shares[Math.floor(k / cells)].flatMap(([i, p]) => shares[k % cells].map(([j, q]) => [p * q, places[i * shares.places + j]]));
  const data = Float32Array.from({ length: cells ** 2 }, (_, k) => {
    const known = of(k).filter(([, value]) => !Number.isNaN(value));
    return known.reduce((total, [share, value]) => total + share * value, 0) / known.reduce((total, [share]) => total + share, 0);
  });
  return mapOf(data, cells, cells);
}

/** Which places count in each cell along a side, and how much: linear between the centres of two windows, none beyond the outermost. */
function sharesOf(side, window, stride, places) {
  const cells = Math.max(1, roundHalfEven(side / stride));
  const of = (cell) => {
    const at = Math.min(places - 1, Math.max(0, (((cell + 0.5) * side) / cells - window / 2) / stride));
    const low = Math.floor(at);
    return at === low ? [[low, 1]] : [[low, low + 1 - at], [low + 1, at - low]];
  };
  return Object.assign(Array.from({ length: cells }, (_, cell) => of(cell)), { places });
}

/** A worker's share of the places of a square grid: every fourth of a row and column first, then every second, then what is left. */
function coarseToFine(count, part) {
  const depth = (k) => {
    const at = Math.floor(k / count) | k % count; // both are divisible by a power of two if this is
    return at % 4 === 0 ? 0 : at % 2 === 0 ? 1 : 2;
  };
  const rounds = [0, 1, 2].map((level) => Array.from({ length: count ** 2 }, (_, k) => k).filter((k) => depth(k) === level));
  const own = new Set(rounds.flat().filter((_, n) => n % part.of === part.index));
  return rounds.map((places) => places.filter((k) => own.has(k)));
}

async function pairwiseOcclusion(net, xa, xb, options, step) {
  const { masks, scale, ratio, temperature, seed, rectangles } = options;
  checkRectangles(masks, scale, ratio);
  expect(temperature === null || temperature > 0, `expected a temperature above 0, got ${temperature}`);
  const side = net.card.size;
  const draw = uniform(seed);
  const places = rectangles ?? { a: drawRectangles(masks, scale, ratio, side, draw), b: drawRectangles(masks, scale, ratio, side, draw) };
  expect(places.a.length === masks && places.b.length === masks, `expected ${masks} rectangles for each side`);
  const score = cosine(...(await embedPair(net, xa, xb)));
  const embedHidden = async (x, own, name, offset) => {
    const found = [];
    for await (const [k, z] of embeddings(net, masks, (n) => hidden(x, side, own[n]), name)) {
      found.push(z.slice());
      if (k % IMAGES === IMAGES - 1 || k === masks - 1) await step(offset + k + 1, 2 * masks);
    }
    return found;
  };
  const za = await embedHidden(xa, places.a, "a", 0);
  const zb = await embedHidden(xb, places.b, "b", masks);
  const drops = za.map((z, k) => score - cosine(z, zb[k]));
  const weights = softmax(temperature === null ? drops : standardised(drops, temperature));
  const maps = { a: new Float64Array(side ** 2), b: new Float64Array(side ** 2) };
  weights.forEach((weight, k) => {
    const smaller = norm(za[k]) <= norm(zb[k]) ? "a" : "b";
    eachPixel(places[smaller][k], side, (at) => (maps[smaller][at] += weight));
  });
  return { score, a: squareMap(Float32Array.from(maps.a), net), b: squareMap(Float32Array.from(maps.b), net) };
}

/** Drops with mean 0 and standard deviation 1 / temperature; equal ones stay equal. */
function standardised(drops, temperature) {
  const mean = drops.reduce((sum, drop) => sum + drop, 0) / drops.length;
  const spread = Math.sqrt(drops.reduce((sum, drop) => sum + (drop - mean) ** 2, 0) / drops.length);
  return drops.map((drop) => (drop - mean) / Math.max(temperature * spread, Number.MIN_VALUE));
}

function checkRectangles(masks, scale, ratio) {
  const range = (v) => Array.isArray(v) && v.length === 2 && v.every(Number.isFinite) && 0 < v[0] && v[0] <= v[1];
  expect(whole(masks, 1) && masks <= 10000, `expected 1 to 10000 masks, got ${masks}`);
  expect(range(scale) && scale[1] <= 1, "expected scale as (smallest, largest) share in (0, 1]");
  expect(range(ratio), "expected ratio as (smallest, largest) > 0");
}

/** @typedef {{top: number, left: number, height: number, width: number}} Rectangle in pixels */

/** @returns {Rectangle[]} */
function drawRectangles(masks, scale, ratio, side, draw) {
  const within = ([low, high]) => low + (high - low) * draw();
  const length = (v) => Math.min(side, Math.max(1, roundHalfEven(Math.sqrt(v))));
  return Array.from({ length: masks }, () => {
    const area = within(scale) * side * side;
    const shape = Math.exp(within(ratio.map(Math.log)));
    const [height, width] = [length(area * shape), length(area / shape)];
    return { top: Math.floor(draw() * (side - height + 1)), left: Math.floor(draw() * (side - width + 1)), height, width };
  });
}

/** @param {Rectangle} place */
function eachPixel({ top, left, height, width }, side, visit) {
  for (let i = top; i < top + height; i++) for (let j = left; j < left + width; j++) visit(i * side + j);
}

/** A copy of an image with zeros in a rectangle. */
function hidden(x, side, place) {
  const out = x.slice();
  for (let c = 0; c < 3; c++) eachPixel(place, side, (at) => (out[c * side * side + at] = 0));
  return out;
}

// ---------------------------------------------------------------- gradients

async function inputXGradient(net, xa, xb, { guided }, step) {
  const { s, d1, d2 } = await net.pixgrad(pixels(net, [xa]), pixels(net, [xb]), guided);
  await step(1, 1);
  return { score: s.data[0], a: squareMap(strength(xa, d1.data), net), b: squareMap(strength(xb, d2.data), net) };
}

async function smoothGrad(net, xa, xb, options, step) {
  const { samples, guided } = options;
  expect(whole(samples, 1) && samples <= 10000, `expected 1 to 10000 samples, got ${samples}`);
  const spread = sigmaOf(xa, xb, options);
  const draw = noiseOf(net, samples, options);
  const copy = (n) => {
    const noise = draw(n);
    return [added(xa, noise, spread), added(xb, noise, spread)];
  };
  const [ga, gb] = await meanGradients(net, samples, copy, guided, step);
  const score = cosine(...(await embedPair(net, xa, xb)));
  return { score, a: squareMap(strength(xa, ga), net), b: squareMap(strength(xb, gb), net) };
}

async function averagedTransforms(net, xa, xb, options, step) {
  const spread = sigmaOf(xa, xb, options);
  const draw = spread > 0 ? noiseOf(net, BLENDS.length, options) : null;
  const blend = (n) => {
    const plain = xa.map((v, k) => BLENDS[n] * v + (1 - BLENDS[n]) * xb[k]);
    return draw ? added(plain, draw(n), spread) : plain;
  };
  const blends = BLENDS.map((_, n) => blend(n));
  const [ga, gb] = await meanGradients(net, BLENDS.length, (n) => [xa, blends[n]], options.guided, step);
  const score = cosine(...(await embedPair(net, xa, xb)));
  return { score, a: squareMap(strength(xa, ga), net), b: squareMap(strength(blends[BLENDS.length - 1], gb), net) };
}

/** Gradients with respect to both images, averaged over pairs that `pair(n)` makes. */
async function meanGradients(net, count, pair, guided, step) {
  const length = 3 * net.card.size ** 2;
  const sums = [new Float64Array(length), new Float64Array(length)];
  for (let from = 0; from < count; from += PAIRS) {
    const pairs = Array.from({ length: Math.min(PAIRS, count - from) }, (_, k) => pair(from + k));
    const made = await net.pixgrad(pixels(net, pairs.map((p) => p[0])), pixels(net, pairs.map((p) => p[1])), guided);
    [made.d1.data, made.d2.data].forEach((data, side) => {
      for (let k = 0; k < data.length; k++) sums[side][k % length] += data[k] / count;
    });
    await step(from + pairs.length, count);
  }
  return sums;
}

/** Standard deviation of the noise: given, or from the range of both normalised images, by SmoothGrad's rule or the published program's. */
function sigmaOf(xa, xb, { level, sigma }) {
  const rules = ["smoothgrad", "published"];
  expect(level >= 0 && (rules.includes(sigma) || (Number.isFinite(sigma) && sigma >= 0)), `expected level of at least 0, and sigma so or one of ${rules}`);
  if (!rules.includes(sigma)) return sigma;
  const [low, high] = [Math.min, Math.max].map((f) => [xa, xb].reduce((m, x) => x.reduce((n, v) => f(n, v), m), xa[0]));
  return sigma === "smoothgrad" ? level * (high - low) : level / (high - low);
}

/** Noise images by their numbers; those of torch where they are given. */
function noiseOf(net, count, { noise, seed }) {
  const length = 3 * net.card.size ** 2;
  if (noise === null) return (n) => normal(length, uniform(seed * 65536 + n + 1));
  expect(noise.length === count && noise.every((v) => v.length === length), `expected ${count} noise images of the model's size`);
  return (n) => noise[n];
}

const added = (x, noise, spread) => x.map((v, k) => v + noise[k] * spread);

// ---------------------------------------------------------------- activations

async function gradCam(net, xa, xb, options, step) {
  const { fa, fb, ga, gb, score, grids } = await featuresAndGradients(net, xa, xb);
  await step(1, 1);
  return { score, a: weigh(fa, ga, null, null, grids.a), b: weigh(fb, gb, null, null, grids.b) };
}

async function interactionCam(net, xa, xb, { reduction, gradient_interaction }, step) {
  expect(Object.hasOwn(REDUCTIONS, reduction), `unknown reduction; there are: ${Object.keys(REDUCTIONS).join(", ")}`);
  const { fa, fb, ga, gb, score, grids } = await featuresAndGradients(net, xa, xb);
  const [pa, pb] = [grids.a, grids.b].map(({ i, j }) => i * j);
  expect(!gradient_interaction || ga.length === gb.length, "gradient interaction needs maps of one size on both sides");
  const [ra, rb] = [REDUCTIONS[reduction](fa, pa), REDUCTIONS[reduction](fb, pb)];
  const h = ra.map((v, c) => v * rb[c]);
  const shared = gradient_interaction ? interact(ga, gb, pa) : [null, null];
  await step(1, 1);
  return { score, a: weigh(fa, ga, h, shared[0], grids.a), b: weigh(fb, gb, h, shared[1], grids.b) };
}

async function featuresAndGradients(net, xa, xb) {
  const [a, b] = await encodePair(net, xa, xb);
  const { s, g1, g2 } = await net.headgrad(a.f, b.f);
  return { fa: a.f.data, fb: b.f.data, ga: g1.data, gb: g2.data, score: s.data[0], grids: { a: gridOf(a.f), b: gridOf(b.f) } };
}

/** sum over channels of f h ReLU(g); h is 1 where null, g is one number a channel where `shared` holds them. */
export function weigh(f, g, h, shared, { i, j }) {
  const cells = i * j;
  const out = new Float64Array(cells);
  for (let k = 0; k < f.length; k++) {
    const c = Math.floor(k / cells);
    out[k % cells] += f[k] * (h ? h[c] : 1) * Math.max(0, shared ? shared[c] : g[k]);
  }
  return mapOf(Float32Array.from(out), i, j);
}

/** Per channel the strongest interaction of its gradient with any channel of the other side. */
function interact(ga, gb, cells) {
  const channels = ga.length / cells;
  const largest = [new Float64Array(channels).fill(-Infinity), new Float64Array(channels).fill(-Infinity)];
  for (let d = 0; d < channels; d++) {
    for (let e = 0; e < channels; e++) {
      let x = 0;
      for (let p = 0; p < cells; p++) x += ga[d * cells + p] * gb[e * cells + p];
      largest[0][d] = Math.max(largest[0][d], x);
      largest[1][e] = Math.max(largest[1][e], x);
    }
  }
  return largest;
}

const REDUCTIONS = {
  mean: (f, cells) => sumCells(f, cells).map((v) => v / cells),
  max: (f, cells) => Float64Array.from({ length: f.length / cells }, (_, c) => f.subarray(c * cells, (c + 1) * cells).reduce((a, b) => Math.max(a, b))),
  attention: (f, cells) => {
    const query = REDUCTIONS.mean(f, cells);
    const products = new Float64Array(cells);
    for (let k = 0; k < f.length; k++) products[k % cells] += query[Math.floor(k / cells)] * f[k];
    const weights = softmax(products);
    return query.map((_, c) => dot(weights, f.subarray(c * cells, (c + 1) * cells)));
  },
};

// ---------------------------------------------------------------- similarity of cells

async function deepSimilarity(net, xa, xb, options, step) {
  const [a, b] = await encodePair(net, xa, xb);
  const [ga, gb] = [gridOf(a.f), gridOf(b.f)];
  const [pa, pb] = [ga.i * ga.j, gb.i * gb.j];
  const length = (f, cells) => Math.max(1e-8, norm(sumCells(f, cells)) / cells);
  const joint = products(cellsFirst(a.f.data, pa), cellsFirst(b.f.data, pb), pa, pb, length(a.f.data, pa) * length(b.f.data, pb) * pa * pb);
  await step(1, 1);
  return fromJoint(joint, ga, gb, cosine(a.z.data, b.z.data));
}

async function integratedJacobians(net, xa, xb, { steps }, step) {
  expect(whole(steps, 1) && steps <= 1000, `expected 1 to 1000 steps, got ${steps}`);
  const [a, b] = await encodePair(net, xa, xb);
  const va = await cellVectors(net, a.f, steps, "a", (k) => step(k, 2 * steps));
  const vb = await cellVectors(net, b.f, steps, "b", (k) => step(steps + k, 2 * steps));
  const [ga, gb] = [gridOf(a.f), gridOf(b.f)];
  const length = (z) => Math.max(1e-8, norm(z));
  const joint = products(va, vb, ga.i * ga.j, gb.i * gb.j, length(a.z.data) * length(b.z.data));
  return fromJoint(joint, ga, gb, cosine(a.z.data, b.z.data));
}

/** What each cell adds to h(f) - h(0) along the straight way from 0 to f. @returns {Promise<Float64Array>} [p d] */
async function cellVectors(net, f, steps, side, step) {
  const { points, weights } = gaussLegendre(steps);
  let sums = null;
  for (let k = 0; k < steps; k++) {
    const at = tensor(f.data.map((v) => ((points[k] + 1) / 2) * v), f.dims);
    const v = (await net.headcells(at, f, side)).v.data;
    sums ??= new Float64Array(v.length);
    for (let n = 0; n < v.length; n++) sums[n] += (weights[k] / 2) * v[n];
    await step(k + 1);
  }
  return sums;
}

/** Points and weights of the quadrature on [-1, 1]: roots of the Legendre polynomial by Newton's method. */
export function gaussLegendre(n) {
  const [points, weights] = [new Float64Array(n), new Float64Array(n)];
  for (let k = 0; k < n; k++) {
    let x = -Math.cos((Math.PI * (k + 0.75)) / (n + 0.5));
    let slope = 1;
    for (let turn = 0; turn < 100; turn++) {
      let [before, value] = [1, x];
      for (let m = 2; m <= n; m++) [before, value] = [value, ((2 * m - 1) * x * value - (m - 1) * before) / m];
      slope = (n * (x * value - before)) / (x * x - 1);
      const change = value / slope;
      x -= change;
      if (Math.abs(change) < 1e-15) break;
    }
    points[k] = x;
    weights[k] = 2 / ((1 - x * x) * slope * slope);
  }
  return { points, weights };
}

/** [c p] to [p c], so that the vectors of cells lie in one piece. */
function cellsFirst(f, cells) {
  const channels = f.length / cells;
  const out = new Float64Array(f.length);
  for (let c = 0; c < channels; c++) for (let p = 0; p < cells; p++) out[p * channels + c] = f[c * cells + p];
  return out;
}

/** Products of all vectors of side a with all of side b over `by`. @returns {Float64Array} [pa pb] */
function products(va, vb, pa, pb, by) {
  const d = va.length / pa;
  const out = new Float64Array(pa * pb);
  for (let p = 0; p < pa; p++) {
    const u = va.subarray(p * d, (p + 1) * d);
    for (let q = 0; q < pb; q++) out[p * pb + q] = dot(u, vb.subarray(q * d, (q + 1) * d)) / by;
  }
  return out;
}

/** @param {Float64Array} joint [pa pb] @returns {Made} */
function fromJoint(joint, ga, gb, score) {
  const [pa, pb] = [ga.i * ga.j, gb.i * gb.j];
  const [a, b] = [new Float64Array(pa), new Float64Array(pb)];
  joint.forEach((v, k) => {
    a[Math.floor(k / pb)] += v;
    b[k % pb] += v;
  });
  const residual = score - a.reduce((sum, v) => sum + v, 0);
  const data = Float32Array.from(joint);
  return {
    score,
    a: mapOf(Float32Array.from(a), ga.i, ga.j),
    b: mapOf(Float32Array.from(b), gb.i, gb.j),
    joint: { data, ia: ga.i, ja: ga.j, ib: gb.i, jb: gb.j },
    residual,
  };
}

// ---------------------------------------------------------------- attention

async function attentionRollout(net, xa, xb, options, step) {
  const { s, r1, r2 } = await net.attention(pixels(net, [xa]), pixels(net, [xb]));
  return maps(s, r1, r2, step);
}

async function leGrad(net, xa, xb, options, step) {
  const { s, m1, m2 } = await net.attention(pixels(net, [xa]), pixels(net, [xb]));
  return maps(s, m1, m2, step);
}

async function maps(s, a, b, step) {
  await step(1, 1);
  return { score: s.data[0], a: mapOf(a.data, a.dims[1], a.dims[2]), b: mapOf(b.data, b.dims[1], b.dims[2]) };
}

// ---------------------------------------------------------------- shared

export const pixels = (net, images) => stack(images, [3, net.card.size, net.card.size]);
export const gridOf = (f) => ({ i: f.dims[2], j: f.dims[3] });

/** Features and embeddings of both images; they go through the network one by one, for their branches may differ. */
async function encodePair(net, xa, xb) {
  return [await net.encode(pixels(net, [xa]), "a"), await net.encode(pixels(net, [xb]), "b")];
}

async function embedPair(net, xa, xb) {
  return (await encodePair(net, xa, xb)).map(({ z }) => z.data);
}

/** Embeddings of `count` images that `image(n)` makes, in batches. @returns {AsyncGenerator<[number, Float32Array]>} */
async function* embeddings(net, count, image, side) {
  for (let from = 0; from < count; from += IMAGES) {
    const batch = Array.from({ length: Math.min(IMAGES, count - from) }, (_, k) => image(from + k));
    const { z } = await net.encode(pixels(net, batch), side);
    for (let k = 0; k < batch.length; k++) yield [from + k, row(z, k)];
  }
}

/** To the nearest whole number, halves to the even one, as Python and torch round. */
export function roundHalfEven(v) {
  const floor = Math.floor(v);
  if (v - floor !== 0.5) return Math.round(v);
  return floor % 2 === 0 ? floor : floor + 1;
}
