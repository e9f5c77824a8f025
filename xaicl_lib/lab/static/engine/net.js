/**
 * A network that runs in this browser: the graphs of a bundle on onnxruntime-web, their weights widened to single precision.
 *
 * @typedef {import("./tensors.js").Tensor} Tensor
 * @typedef {import("./bundle.js").Card} Card
 * @typedef {import("./bundle.js").Bundle} Bundle
 * @typedef {object} Net
 * @property {Card} card
 * @property {{forwards: number, backwards: number}} count images that went through the network since it was made
 * @property {(pixels: Float32Array) => Float32Array} normalize RGB in [0, 1] to the model's input space
 * @property {(x: Tensor, side?: "a" | "b") => Promise<{f: Tensor, z: Tensor}>} encode
 * @property {(f1: Tensor, f2: Tensor) => Promise<{s: Tensor, g1: Tensor, g2: Tensor}>} headgrad
 * @property {(x1: Tensor, x2: Tensor, guided?: boolean) => Promise<{s: Tensor, d1: Tensor, d2: Tensor}>} pixgrad
 * @property {(x1: Tensor, x2: Tensor) => Promise<{s: Tensor, r1: Tensor, r2: Tensor, m1: Tensor, m2: Tensor}>} attention of transformers
 * @property {(at: Tensor, along: Tensor, side?: "a" | "b") => Promise<{v: Tensor}>} headcells
 * @property {(at: Tensor, along: Tensor, there: Tensor) => Promise<{v: Tensor, z: Tensor}>} words of models that read texts
 * @property {(at: Tensor, u: Tensor) => Promise<{g: Tensor, z: Tensor}>} headpull likewise
 * @property {() => Promise<void>} release gives the memory back
 */
import { InputError } from "./errors.js";

/**
 * @param {Bundle} bundle checked and read
 * @param {any} ort the module of onnxruntime-web
 * @param {"wasm" | "webgpu"} [provider] where images become embeddings; gradients are for the processor
 * @returns {Net}
 */
export function makeNet({ card, graphs, weights }, ort, provider = "wasm") {
  const sessions = new Map();
  const count = { forwards: 0, backwards: 0 };
  const bytes = new Uint8Array(weights.buffer);

  const session = (name) => {
    if (!sessions.has(name)) {
      if (!graphs.has(name)) throw new InputError(`${card.name} has no graph ${name}`);
      const externalData = [{ path: card.weights.file, data: bytes }];
      const executionProviders = [name.startsWith("encode") ? provider : "wasm"];
      const options = { executionProviders, externalData, logSeverityLevel: 3 };
      sessions.set(name, ort.InferenceSession.create(graphs.get(name), options));
    }
    return sessions.get(name);
  };

  const run = async (name, inputs) => {
    const feeds = {};
    for (const [key, { data, dims }] of Object.entries(inputs)) feeds[key] = new ort.Tensor("float32", data, dims);
    const out = await (await session(name)).run(feeds);
    return Object.fromEntries(Object.entries(out).map(([key, value]) => [key, { data: value.data, dims: Array.from(value.dims) }]));
  };

  const sided = (name, side) => (side === "b" && !card.symmetric ? `${name}_b` : name);
  return {
    card,
    count,
    normalize: (pixels) => pixels.map((v, k) => (v - channel(card.mean, k, pixels)) / channel(card.std, k, pixels)),
    encode: (x, side = "a") => {
      count.forwards += x.dims[0];
      return run(sided("encode", side), { x });
    },
    headgrad: (f1, f2) => run("headgrad", { f1, f2 }),
    pixgrad: (x1, x2, guided = false) => {
      count.forwards += 2 * x1.dims[0];
      count.backwards += 2 * x1.dims[0];
      return run(guided ? "pixgrad_guided" : "pixgrad", { x1, x2 });
    },
    attention: (x1, x2) => {
      count.forwards += 2 * x1.dims[0];
      count.backwards += 2 * x1.dims[0];
      return run("attention", { x1, x2 });
    },
    headcells: (at, along, side = "a") => run(sided("headcells", side), { at, along }),
    words: (at, along, there) => run("words", { at, along, there }),
    headpull: (at, u) => run("headpull", { at, u }),
    release: async () => {
      const made = [...sessions.values()];
      sessions.clear();
      await Promise.allSettled(made.map(async (one) => (await one).release()));
    },
  };
}

const channel = (values, k, pixels) => values[Math.floor((3 * k) / pixels.length)];
