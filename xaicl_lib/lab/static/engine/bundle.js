/**
 * Bundles as `python -m xaicl_lib export` writes them, from an address or from dropped files. What comes in is judged before it is used:
 * sizes before contents, checksums before meaning.
 *
 * @typedef {{file: string, bytes: number, sha256: string}} Entry
 * @typedef {{name: string, shape: number[], type: "float16" | "float32", offset: number, scale: number | null}} Stored
 * @typedef {object} Card
 * @property {string} name of the model: text from anywhere, never HTML
 * @property {number} size side of its images in pixels
 * @property {number[]} mean @property {number[]} std of each channel
 * @property {boolean} symmetric whether both sides run through the same network
 * @property {number[]} features channels, rows, columns of a feature map
 * @property {number} embedding length
 * @property {string[]} methods that it can be explained by
 * @property {boolean} guided whether it has ReLUs for guided backpropagation
 * @property {{words: string[], length: number} | null} [text] the words that it reads, and how many a text may have
 * @property {Object<string, Entry>} graphs
 * @property {Entry & {tensors: Stored[]}} weights
 * @typedef {{card: Card, graphs: Map<string, Uint8Array>, weights: Float32Array}} Bundle
 */
import { InputError } from "./errors.js";
import { sha256 } from "./sha256.js";
import { sizeOf } from "./tensors.js";

export const CARD = "model.json";
const FORMAT = 1;
export const LIMIT = { card: 2e6, graph: 8e6, weights: 64e6, numbers: 32e6, tensors: 4096, side: 1024, cells: 4096, embedding: 65536, words: 10000, text: 256 };
const GRAPHS = /^(encode(_b)?|headgrad|pixgrad(_guided)?|attention|headcells(_b)?|words|headpull)$/;
const NEEDED = ["encode", "headgrad", "pixgrad"];

/**
 * @param {string} base address of the folder
 * @param {(done: number, total: number) => void} onProgress in bytes
 * @param {AbortSignal} [signal]
 * @returns {Promise<Bundle>}
 */
export function fetchBundle(base, onProgress, signal) {
  const folder = base.endsWith("/") ? base : `${base}/`;
  return readBundle((file, limit, onBytes) => download(new URL(file, folder).href, limit, onBytes, signal), onProgress);
}

/**
 * @param {{name: string, arrayBuffer: () => Promise<ArrayBuffer>, size: number}[]} files dropped by a reader
 * @param {(done: number, total: number) => void} onProgress in bytes
 * @returns {Promise<Bundle>}
 */
export function openBundle(files, onProgress) {
  return readBundle(async (name, limit) => {
    const file = files.find((f) => f.name === name);
    if (!file) throw new InputError(`expected a folder from "xaicl_lib export" with ${name} in it`);
    if (file.size > limit) throw new InputError(`${name} is too large`);
    return new Uint8Array(await file.arrayBuffer());
  }, onProgress);
}

async function readBundle(get, onProgress) {
  const card = parseCard(await get(CARD, LIMIT.card, () => {}));
  const entries = [...Object.values(card.graphs), card.weights];
  const total = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  let done = 0;
  const fetched = async (entry) => {
    const data = await get(entry.file, entry.bytes, (bytes) => onProgress(done + bytes, total));
    if (data.length !== entry.bytes || sha256(data) !== entry.sha256) throw new InputError(`${entry.file} is not the file that was exported`);
    done += entry.bytes;
    onProgress(done, total);
    return data;
  };
  const graphs = new Map();
  for (const [name, entry] of Object.entries(card.graphs)) graphs.set(name, await fetched(entry));
  return { card, graphs, weights: widen(await fetched(card.weights), card.weights.tensors) };
}

/** The card of a bundle, after a look at everything in it. @param {Uint8Array} data @returns {Card} */
export function parseCard(data) {
  let card;
  try {
    card = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data));
  } catch {
    throw new InputError(`expected a folder from "xaicl_lib export", got a ${CARD} that is no JSON`);
  }
  const need = (holds, what) => {
    if (!holds) throw new InputError(`expected a folder from "xaicl_lib export", got a ${CARD} with wrong ${what}`);
  };
  need(card && card.kind === "xaicl model", "kind");
  if (card.format !== FORMAT) throw new InputError(`this bundle is of another version; export the model anew`);
  need(typeof card.name === "string" && card.name.length <= 200, "name");
  need(natural(card.size, LIMIT.side), "size");
  need([card.mean, card.std].every((v) => Array.isArray(v) && v.length === 3 && v.every(Number.isFinite)) && card.std.every((v) => v > 0), "mean or std");
  need(typeof card.symmetric === "boolean" && typeof card.guided === "boolean", "facts");
  need(Array.isArray(card.features) && card.features.length === 3 && card.features.every((v) => natural(v, LIMIT.embedding)), "features");
  need(card.features[1] * card.features[2] <= LIMIT.cells && natural(card.embedding, LIMIT.embedding), "features");
  need(Array.isArray(card.methods) && card.methods.length <= 100 && card.methods.every((m) => typeof m === "string"), "methods");
  need((card.text ?? null) === null || isText(card.text), "text");
  need(isRecord(card.graphs) && Object.entries(card.graphs).every(([name, e]) => GRAPHS.test(name) && isEntry(e, `${name}.onnx`, LIMIT.graph)), "graphs");
  need([...NEEDED, ...(card.symmetric ? [] : ["encode_b"]), ...(card.guided ? ["pixgrad_guided"] : []), ...(card.text ? ["words", "headpull"] : [])].every((g) => Object.hasOwn(card.graphs, g)), "graphs");
  need(isEntry(card.weights, "weights.bin", LIMIT.weights) && Array.isArray(card.weights.tensors), "weights");
  need(card.weights.tensors.length <= LIMIT.tensors && card.weights.tensors.every((t) => isStored(t, card.weights.bytes)), "weights");
  need(card.weights.tensors.reduce((sum, t) => sum + sizeOf(t.shape), 0) <= LIMIT.numbers, "weights");
  return card;
}

const natural = (v, limit) => Number.isInteger(v) && v >= 1 && v <= limit;
const isRecord = (v) => v !== null && typeof v === "object" && !Array.isArray(v);
const isText = (t) => isRecord(t) && natural(t.length, LIMIT.text) && Array.isArray(t.words) && t.words.length <= LIMIT.words && t.words.every((w) => typeof w === "string");
const isEntry = (e, file, limit) => isRecord(e) && e.file === file && natural(e.bytes, limit) && /^[0-9a-f]{64}$/.test(e.sha256);

function isStored(t, bytes) {
  const shaped = isRecord(t) && Array.isArray(t.shape) && t.shape.length <= 8 && t.shape.every((v) => natural(v, LIMIT.numbers));
  if (!shaped || !["float16", "float32"].includes(t.type) || sizeOf(t.shape) > LIMIT.numbers) return false;
  const fits = (offset, length) => Number.isInteger(offset) && offset >= 0 && offset % 4 === 0 && offset + length <= bytes;
  const width = t.type === "float16" ? 2 : 4;
  return fits(t.offset, width * sizeOf(t.shape)) && (t.scale === null || (t.shape.length > 0 && fits(t.scale, 4 * t.shape[0])));
}

/** All tensors one after the other in single precision, as the graphs expect them. @param {Uint8Array} data @param {Stored[]} tensors */
export function widen(data, tensors) {
  const out = new Float32Array(tensors.reduce((sum, t) => sum + sizeOf(t.shape), 0));
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 0;
  for (const { shape, type, offset, scale } of tensors) {
    const length = sizeOf(shape);
    const each = shape.length ? length / shape[0] : 1;
    for (let k = 0; k < length; k++) {
      const value = type === "float16" ? HALVES[view.getUint16(offset + 2 * k, true)] : view.getFloat32(offset + 4 * k, true);
      out[at + k] = scale === null ? value : value * view.getFloat32(scale + 4 * Math.floor(k / each), true);
    }
    at += length;
  }
  return out;
}

/** The number that each half-precision pattern stands for. */
const HALVES = Float32Array.from({ length: 65536 }, (_, bits) => {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
});

/**
 * The bytes at an address, never more than `limit`.
 * @param {string} url @param {number} limit @param {(bytes: number) => void} onBytes @param {AbortSignal} [signal]
 */
export async function download(url, limit, onBytes = () => {}, signal = undefined) {
  const name = url.split("/").pop();
  const answer = await fetch(url, { signal, credentials: "same-origin" }).catch((error) => {
    signal?.throwIfAborted();
    throw new InputError(`${name} cannot be loaded (${error.message})`);
  });
  if (!answer.ok) throw new InputError(`${name} cannot be loaded (status ${answer.status})`);
  const parts = [];
  let length = 0;
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > limit) {
      await reader.cancel();
      throw new InputError(`${name} is larger than expected`);
    }
    parts.push(value);
    onBytes(length);
  }
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
