// The gallery to search: a sheet of pictures, and the unit vectors of their embeddings by each model. What is not the file that was made is refused.

import { download } from "../engine/bundle.js";
import { sha256 } from "../engine/sha256.js";
import { dot, norm } from "../engine/tensors.js";
import { fetchJson } from "./gallery.js";
import { fromCanvas } from "./pictures.js";

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

// All but one, the most alike first, of equal ones the first: {k, score}.
export function ranked(vectors, z, leftOut = null) {
  const length = Math.max(1e-8, norm(z));
  const all = vectors.map((v, k) => ({ k, score: dot(v, z) / length })).filter(({ k }) => k !== leftOut);
  return all.sort((one, other) => other.score - one.score || one.k - other.k);
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
export function write({ model, scene, words, result, why }) {
  const query = new URLSearchParams({ model });
  if (words) query.set("words", words);
  else if (scene !== null) query.set("scene", scene);
  if (why) query.set("result", result + 1);
  return query.toString();
}

export function read(text, { models, titles, start }) {
  const query = new URLSearchParams(text.replace(/^#/, ""));
  const known = models.find(({ name }) => name === query.get("model"));
  const words = query.get("words")?.trim() ?? "";
  const model = words && !known?.text ? models.find((one) => one.text) : known ?? models[0];
  const number = (name, count) => (/^\d+$/.test(query.get(name) ?? "") && Number(query.get(name)) < count ? Number(query.get(name)) : null);
  const result = number("result", RESULTS + 1) || null; // counted from 1
  return { model: model.name, scene: words ? null : number("scene", titles.length) ?? start, words, own: null, result: (result ?? 1) - 1, why: result !== null || words !== "" };
}

export const RESULTS = 5;
