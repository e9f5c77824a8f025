// The gallery to search: a sheet of pictures, and the unit vectors of their embeddings by each model. What is not the file that was made is refused.

import { download } from "../engine/bundle.js";
import { sha256 } from "../engine/sha256.js";
import { dot, norm } from "../engine/tensors.js";
import { fetchJson } from "./gallery.js";
import { fromCanvas } from "./pictures.js";

const COARSE = 16; // squares a side of the pictures by which near-duplicates are known
const [NEAR, FAR] = [0.03, 0.25]; // mean and largest difference of their values, in [0, 1]

// {index, url, picture(k), vectors(model)}: the sheet's address in this page, a picture of it, rows of unit vectors.
export async function openGallery(base) {
  const index = await fetchJson(new URL("index.json", base));
  const sheet = new Blob([await fetched(base, index.sheet)], { type: "image/png" });
  const bitmap = await createImageBitmap(sheet, { premultiplyAlpha: "none" });
  const [pictures, known] = [new Map(), new Map()];
  const remembered = (map, key, make) => map.get(key) ?? map.set(key, make()).get(key);
  return {
    index,
    url: URL.createObjectURL(sheet),
    picture: (k) => remembered(pictures, k, () => fromCanvas(tile(bitmap, index.sheet, k), `scene-${k}`, index.titles[k])),
    vectors: (model) => remembered(known, model.name, () => vectorsOf(base, index, model).catch((error) => { known.delete(model.name); throw error; })),
  };
}

async function fetched(base, { file, bytes, sha256: wanted }) {
  const data = await download(new URL(file, base).href, bytes);
  if (data.length !== bytes || sha256(data) !== wanted) throw new Error(`the file ${file} is not the one that was made for this page: it is damaged, or of another version`);
  return data;
}

function tile(bitmap, { side, columns }, k) {
  const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, side * (k % columns), side * Math.floor(k / columns), side, side, 0, 0, side, side);
  return canvas;
}

async function vectorsOf(base, { titles }, { vectors }) {
  const data = new Float32Array((await fetched(base, vectors)).buffer);
  const d = data.length / titles.length;
  return titles.map((_, k) => data.subarray(k * d, (k + 1) * d));
}

// What is asked for, {z, sign} each, as one vector: the sum of their unit vectors, so that products with it are sums of cosines.
export function together(parts) {
  const sum = new Float64Array(parts[0].z.length);
  for (const { z, sign } of parts) {
    const by = sign / Math.max(1e-8, norm(z));
    z.forEach((value, k) => { sum[k] += by * value; });
  }
  return sum;
}

// All but one, the most alike first, of equal ones the first: {k, score}.
export function ranked(vectors, q, leftOut = null) {
  const all = vectors.map((v, k) => ({ k, score: dot(v, q) })).filter(({ k }) => k !== leftOut);
  return all.sort((one, other) => other.score - one.score || one.k - other.k);
}

// Which results show the same as the query, or as a result before them; pictures are [3 h w] of one size, the query may be missing.
export function noted(query, shown) {
  const [own, ...small] = [query ?? shown[0], ...shown].map(coarse);
  return small.map((one, k) => {
    if (query && alike(one, own)) return "a near-duplicate of the query";
    const before = small.findIndex((other, j) => j < k && alike(one, other));
    return before < 0 ? "" : `a near-duplicate of result ${before + 1}`;
  });
}

// Means of squares, 16 a side: the same to whoever compares them, whatever the compression.
function coarse(pixels) {
  const side = Math.sqrt(pixels.length / 3);
  const each = side / COARSE;
  const out = new Float64Array(3 * COARSE ** 2);
  pixels.forEach((value, at) => {
    const [c, y, x] = [Math.floor(at / side ** 2), Math.floor((at % side ** 2) / side), at % side];
    out[(c * COARSE + Math.floor(y / each)) * COARSE + Math.floor(x / each)] += value / each ** 2;
  });
  return out;
}

// Whether two are the same but for scale, compression, or a mirror.
function alike(one, other) {
  return [other, other.map((_, at) => other[at - (at % COARSE) + COARSE - 1 - (at % COARSE)])].some((turned) => {
    const apart = one.map((value, at) => Math.abs(value - turned[at]));
    return apart.reduce((sum, v) => sum + v, 0) / apart.length < NEAR && Math.max(...apart) < FAR;
  });
}

// Share of what is positive in a map that lies in the ring along the sides of its picture, an eighth of a side wide.
export function borderShare({ data, h, w }) {
  const within = (k, n) => Math.max(0, Math.min((k + 1) / n, 7 / 8) - Math.max(k / n, 1 / 8)) * n;
  let [ring, all] = [0, 0];
  data.forEach((value, at) => {
    const positive = Math.max(0, value);
    all += positive;
    ring += positive * (1 - within(Math.floor(at / w), h) * within(at % w, w));
  });
  return ring / Math.max(all, 1e-38);
}

// What the page asks for, as the text behind the # of its address; an own picture cannot be in it.
export function write({ model, scene, words, minus, result, why }) {
  const query = new URLSearchParams({ model });
  if (words) query.set("words", words);
  else if (scene !== null) query.set("scene", scene);
  if (minus) query.set("minus", minus);
  if (why) query.set("result", result + 1);
  return query.toString();
}

export function read(text, { models, titles, start }) {
  const query = new URLSearchParams(text.replace(/^#/, ""));
  const known = models.find(({ name }) => name === query.get("model"));
  const [words, minus] = ["words", "minus"].map((name) => query.get(name)?.trim() ?? "");
  const model = (words || minus) && !known?.text ? models.find((one) => one.text) : known ?? models[0];
  const number = (name, count) => (/^\d+$/.test(query.get(name) ?? "") && Number(query.get(name)) < count ? Number(query.get(name)) : null);
  const result = number("result", RESULTS + 1) || null; // counted from 1
  return { model: model.name, scene: words ? null : number("scene", titles.length) ?? start, words, minus, own: null, result: (result ?? 1) - 1, why: result !== null || words + minus !== "" };
}

export const RESULTS = 5;
