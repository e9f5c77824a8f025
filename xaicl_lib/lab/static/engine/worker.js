/**
 * A module worker that explains pairs, so that the page stays alive. One thing at a time; what arrives meanwhile waits.
 *
 * In:  {id, type: "load", base, elsewhere?} or {id, type: "load", files}      a bundle; `base` is an absolute address of this host,
 *                                                                             of another one only with `elsewhere: true`; `gpu`
 *                                                                             besides: by WebGPU, see gpu.js, or an error
 *      {id, type: "run", model, method, options, a, b, part?}                 `model`: the id of its "load"; a, b: RGB in [0, 1], [3 h w];
 *                                                                             part: {index, of}, see methods.js
 *      {id, type: "corpus", model, method, options, image, corpus, foil}      towards a corpus, away from a foil, both lists of images
 *      {id, type: "embed", model, image} or {id, type: "embed", model, text}
 *      {id, type: "words", model, text, image}                                which word goes with which cell
 *      {id, type: "unload", model}
 *      {id, type: "cancel", target}                                           the id of a "load" or "run"; it ends with an error
 * Out: {id, type: "progress", done, total, bytes?, soFar?}                    `bytes` is true while files arrive; `soFar`: see methods.js
 *      {id, type: "result", result}                                           of "load": {card, seconds}; of "run": see methods.js;
 *                                                                             of "corpus": see corpus.js; of "embed": Float32Array; of "words": see texts.js
 *      {id, type: "error", message, cancelled?}
 *
 * Everything comes from the lab's folder, the one above this, and the bundle; `message` is text for a reader, and may hold names from a bundle.
 */
import { download, fetchBundle, openBundle } from "./bundle.js";
import { explainCorpus } from "./corpus.js";
import { InputError } from "./errors.js";
import { onGpu } from "./gpu.js";
import { explain } from "./methods.js";
import { makeNet } from "./net.js";
import { embed, explainWords } from "./texts.js";

// The runtime and its binary: the second can ask a graphics processor, and needs a newer browser.
const RUNTIMES = {
  wasm: ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"],
  webgpu: ["ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm"],
};
const BINARY_LIMIT = 64e6; // bytes
const AWAKE = 2; // models; each takes tens of MB when all of its graphs have run
const here = (file) => new URL(`../${file}`, import.meta.url).href;

/** @type {Map<any, import("./net.js").Net>} */
const nets = new Map();
const recent = new Set(); // ids of models, the last one asked at the end
const running = new Map(); // ids to what cancels them
let last = Promise.resolve();
const runtimes = new Map(); // by their names above

self.onmessage = ({ data }) => {
  if (data.type === "cancel") return running.get(data.target)?.abort();
  const control = new AbortController();
  running.set(data.id, control);
  last = last.then(() => answer(data, control.signal)).finally(() => running.delete(data.id));
  return undefined;
};

async function answer(message, signal) {
  const { id } = message;
  const progress = (bytes) => (done, total, soFar) => self.postMessage({ id, type: "progress", done, total, ...(bytes && { bytes }), ...(soFar && { soFar }) });
  try {
    signal.throwIfAborted();
    const act = { load, run, corpus: towards, unload, embed: embedded, words }[message.type];
    if (!act) throw new InputError(`unknown message ${message.type}`);
    self.postMessage({ id, type: "result", result: await act(message, progress, signal) });
  } catch (error) {
    if (signal.aborted) self.postMessage({ id, type: "error", message: "cancelled", cancelled: true });
    else self.postMessage({ id, type: "error", message: told(error) });
  }
}

/** What a reader is told of an error: ours as it is, others with a hint where they are from. */
function told(error) {
  if (error instanceof InputError) return error.message;
  return `the computation failed: ${String(error?.message ?? error).split("\n")[0].slice(0, 300)}`;
}

async function load({ id, base, files, elsewhere = false, gpu = null }, progress, signal) {
  const began = performance.now();
  if (base !== undefined) {
    const url = new URL(base, self.location.href);
    if (!/^https?:$/.test(url.protocol)) throw new InputError("expected an address that begins with https:// or http://");
    if (url.origin !== self.location.origin && !elsewhere) throw new InputError("this address is on another host");
  }
  const ort = await start(gpu ? "webgpu" : "wasm", progress(true), signal);
  const bundle = base === undefined ? await openBundle(files, progress(true)) : await fetchBundle(new URL(base, self.location.href).href, progress(true), signal);
  const net = gpu ? await onGpu(bundle, ort, gpu) : makeNet(bundle, ort);
  await nets.get(id)?.release();
  nets.set(id, net);
  const { tensors, ...weights } = bundle.card.weights;
  return { card: { ...bundle.card, weights }, seconds: (performance.now() - began) / 1000 };
}

async function run({ model, method, options, a, b, part }, progress, signal) {
  return explain(await awake(model), method, a, b, options ?? {}, progress(false), signal, part);
}

async function towards({ model, method, options, image, corpus, foil }, progress, signal) {
  return explainCorpus(await awake(model), method, image, { corpus, foil }, options ?? {}, progress(false), signal);
}

const embedded = async ({ model, image, text }) => embed(await awake(model), { image, text });
const words = async ({ model, text, image }) => explainWords(await awake(model), text, image);

async function awake(model) {
  const net = nets.get(model);
  if (!net) throw new InputError("no such model is loaded");
  await rest(model);
  return net;
}

/** Only the last models that were asked keep what they need to run; the others make it anew when their turn comes. */
async function rest(model) {
  recent.delete(model);
  recent.add(model);
  for (const old of [...recent].slice(0, -AWAKE)) {
    recent.delete(old);
    await nets.get(old)?.release();
  }
}

async function unload({ model }) {
  await nets.get(model)?.release();
  return { unloaded: nets.delete(model) };
}

/** onnxruntime-web, each runtime started once. */
async function start(name, onProgress, signal) {
  if (typeof WebAssembly !== "object") throw new InputError("this browser has no WebAssembly, which the computation needs");
  if (!runtimes.has(name)) {
    const [script, file] = RUNTIMES[name];
    const binary = await fetchBinary(file, onProgress, signal);
    const ort = await import(here(script));
    Object.assign(ort.env.wasm, { wasmBinary: binary, numThreads: 1, proxy: false });
    ort.env.logLevel = "error";
    runtimes.set(name, ort);
  }
  return runtimes.get(name);
}

/** The binary, packed by gzip or not: some hosts unpack it on the way. */
async function fetchBinary(file, onProgress, signal) {
  const data = await download(here(`${file}.gz`), BINARY_LIMIT, (bytes) => onProgress(bytes, Math.max(bytes, 3.7e6)), signal);
  const packed = data[0] === 0x1f && data[1] === 0x8b;
  if (!packed) return data.buffer;
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}
