/**
 * Texts, on a network that runs here: their embeddings, and which word goes with which cell of a picture. Formulas and names are those of
 * `xaicl_lib.methods.words`, where they are explained; a test compares them with torch.
 *
 * @typedef {import("./net.js").Net} Net
 * @typedef {{words: string[], length: number}} Reads the list of words that a model reads, and how many a text may have
 * @typedef {object} WordMap
 * @property {string[]} words
 * @property {{data: Float32Array, w: number, i: number, j: number}} joint [w i j]: what a word and a cell add together
 * @property {number} score the cosine
 * @property {number} residual what no word and no cell add together
 * @property {[number, number]} steps of the quadrature, of picture and text
 */
import { InputError } from "./errors.js";
import { gaussLegendre, pixels } from "./methods.js";
import { dot, norm, row, stack, sumCells } from "./tensors.js";

const STEPS = [4, 8, 16, 32, 64, 128, 256, 512, 1024]; // points of the quadrature, of which the first that suffices is taken
const MOST_OF_TEXTS = 128;
const TOLERANCE = 1e-3; // of the cosine
const ROWS = { texts: 64, vectors: 512 }; // in flight

/** The words of a text, each one of the list. @param {string} text @param {Reads | null | undefined} reads @returns {string[]} */
export function wordsOf(text, reads) {
  if (!reads) throw new InputError("this model reads no words");
  const words = text.toLowerCase().replaceAll(",", " ").split(/\s+/).filter(Boolean);
  const odd = [...new Set(words.filter((word) => !reads.words.includes(word)))].map((word) => `“${word.slice(0, 40)}”`);
  if (!words.length) throw new InputError("a search needs a picture or a word");
  if (odd.length) throw new InputError(`this model has never read ${odd.slice(0, 5).join(", ")}${odd.length > 5 ? " and more" : ""}; it knows ${reads.words.length} words`);
  if (words.length > reads.length) throw new InputError(`this model reads ${reads.length} words at most, and these are ${words.length}`);
  return words;
}

/** The embedding of a picture at the model's size, RGB in [0, 1], or of a text. @param {Net} net @returns {Promise<Float32Array>} */
export async function embed(net, { image, text }) {
  if (text === undefined) return (await net.encode(pixels(net, [checked(net, image)]), "a")).z.data;
  const words = wordsOf(text, net.card.text);
  return (await textAt(net, words, [[1, everywhere(words)]])).z.data;
}

/** Which word of a text goes with which cell of a picture. @param {Net} net @param {string} text @param {Float32Array} image @returns {Promise<WordMap>} */
export async function explainWords(net, text, image) {
  const words = wordsOf(text, net.card.text);
  const { f, z: { data: h } } = await net.encode(pixels(net, [checked(net, image)]), "a");
  const [, , i, j] = f.dims;
  const sum = Float32Array.from(sumCells(f.data, i * j));
  const ends = (await textAt(net, words, [[1, everywhere(words)], [0, everywhere(words)]])).z;
  const [g, g0] = [row(ends, 0), row(ends, 1)];
  const h0 = (await net.headpull(stack([sum.map(() => 0)], [sum.length, 1, 1]), stack([g], [g.length]))).z.data;
  const by = Math.max(1e-8, norm(h)) * Math.max(1e-8, norm(g));
  const near = (got, want) => got.every((value, k) => Math.abs(value - want[k]) / by <= TOLERANCE / 4);

  // As many points as it takes for all parts to add up, first along the way of the picture, then along that of the text.
  const products = [g, g0].map((u) => dot(u, h) - dot(u, h0));
  const ofPicture = await first(STEPS, async (steps) => near((await pulled(net, sum, [g, g0], steps)).map((v) => dot(v, sum)), products));
  let vectors = null; // what each word adds to the text's embedding
  const whole = [h, h0].map((z) => dot(z, g) - dot(z, g0));
  const ofText = await first(STEPS.filter((steps) => steps <= MOST_OF_TEXTS), async (steps) => {
    vectors = await wordVectors(net, words, steps);
    return near([h, h0].map((z) => vectors.reduce((all, u) => all + dot(u, z), 0)), whole);
  });

  const directions = await pulled(net, sum, vectors, ofPicture);
  const data = new Float32Array(words.length * i * j);
  directions.forEach((v, w) => f.data.forEach((value, k) => { data[w * i * j + (k % (i * j))] += (v[Math.floor(k / (i * j))] * value) / by; }));
  const score = dot(h, g) / by;
  return { words, joint: { data, w: words.length, i, j }, score, residual: score - data.reduce((all, v) => all + v, 0), steps: [ofPicture, ofText] };
}

/** The first number of steps that suffices, or the last. */
async function first(among, suffices) {
  for (const steps of among) if (await suffices(steps)) return steps;
  return among[among.length - 1];
}

/** Gradients of the head's products with each u, averaged along the way from no sum of cells to this one. @returns {Promise<Float64Array[]>} [c] each */
async function pulled(net, sum, us, steps) {
  const { points, weights } = gaussLegendre(steps);
  const asked = [...points.keys()].flatMap((n) => us.map((u, k) => ({ n, u, k })));
  const means = us.map(() => new Float64Array(sum.length));
  for (let from = 0; from < asked.length; from += ROWS.vectors) {
    const portion = asked.slice(from, from + ROWS.vectors);
    const at = stack(portion.map(({ n }) => sum.map((v) => ((points[n] + 1) / 2) * v)), [sum.length, 1, 1]);
    const { g } = await net.headpull(at, stack(portion.map(({ u }) => u), [us[0].length]));
    portion.forEach(({ n, k }, at_) => row(g, at_).forEach((v, c) => { means[k][c] += (weights[n] / 2) * v; }));
  }
  return means;
}

function checked(net, image) {
  const { size } = net.card;
  if (image.length !== 3 * size ** 2) throw new InputError(`expected an image of ${size} x ${size} pixels`);
  return net.normalize(image);
}

const everywhere = (words) => [...words.keys()];

/** What each word adds to a text's embedding, remembered for the pictures to come. @returns {Promise<Float64Array[]>} [d] each */
function wordVectors(net, words, steps) {
  const text = words.join(" ");
  if (last.get(net)?.text !== text) last.set(net, { text, vectors: new Map() });
  const { vectors } = last.get(net);
  if (!vectors.has(steps)) vectors.set(steps, madeVectors(net, words, steps));
  return vectors.get(steps);
}

const last = new WeakMap(); // of each net, the text that was asked last

async function madeVectors(net, words, steps) {
  const { points, weights } = gaussLegendre(steps);
  const asked = [...points.keys()].flatMap((n) => words.map((_, place) => ({ n, place })));
  const sums = words.map(() => new Float64Array(net.card.embedding));
  for (let from = 0; from < asked.length; from += ROWS.texts) {
    const portion = asked.slice(from, from + ROWS.texts);
    const { v } = await textAt(net, words, portion.map(({ n, place }) => [(points[n] + 1) / 2, [place]]));
    portion.forEach(({ n, place }, at) => row(v, at).forEach((value, k) => { sums[place][k] += (weights[n] / 2) * value; }));
  }
  return sums;
}

/**
 * The text side on the way from padding to a text: for each [share of the way, places] its embedding z there, and its derivative v along the
 * words at these places.
 */
function textAt(net, words, asked) {
  const { words: list, length } = net.card.text;
  const width = list.length + 1; // padding is the first
  const numbers = words.map((word) => list.indexOf(word) + 1);
  const filled = (dims, fill) => stack(asked.map((one) => fill(new Float32Array(dims.reduce((a, b) => a * b)), ...one)), dims);
  const at = filled([length, width], (out, share) => {
    for (let place = 0; place < length; place++) out[place * width] = 1;
    numbers.forEach((number, place) => { out[place * width] = 1 - share; out[place * width + number] = share; });
    return out;
  });
  const along = filled([length, width], (out, share, places) => {
    for (const place of places) { out[place * width] = -1; out[place * width + numbers[place]] = 1; }
    return out;
  });
  return net.words(at, along, filled([length], (out) => out.fill(1, 0, words.length)));
}
