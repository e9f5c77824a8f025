/**
 * Networks on the graphics processor, by WebGPU: only where it gives the same embeddings and is faster than the processor. Which one is
 * faster differs from machine to machine and from network to network, so it is measured here, on each.
 */
import { InputError } from "./errors.js";
import { IMAGES } from "./methods.js";
import { makeNet } from "./net.js";
import { uniform } from "./random.js";
import { norm, row, sizeOf, tensor } from "./tensors.js";

const SAME = 1e-5; // the largest difference of two embeddings, as a share of their length
const ROUNDS = 4; // of which the first prepares; what is imitated is not timed

/** Whether there is a graphics processor that the runtime can use, and not a program that imitates one. */
export async function hasGpu() {
  const adapter = "Suspending" in WebAssembly && (await navigator.gpu?.requestAdapter().catch(() => null));
  return Boolean(adapter) && !adapter.info.isFallbackAdapter;
}

/**
 * The network on the graphics processor.
 * @param {import("./bundle.js").Bundle} bundle
 * @param {any} ort the module of onnxruntime-web that has WebGPU
 * @param {{cores: number, imitated?: boolean}} asked it must beat so many processor cores, unless it is imitated, as for tests
 */
export async function onGpu(bundle, ort, { cores, imitated = false }) {
  const [gpu, cpu] = [makeNet(bundle, ort, "webgpu"), makeNet(bundle, ort)];
  try {
    const rounds = imitated ? 1 : ROUNDS;
    const images = noise([IMAGES, 3, bundle.card.size, bundle.card.size]);
    for (const side of bundle.card.symmetric ? ["a"] : ["a", "b"]) {
      const [there, here] = [await timed(gpu, images, side, rounds), await timed(cpu, images, side, rounds)];
      if (!same(there.z, here.z)) throw new InputError("WebGPU gives other numbers");
      if (!imitated && there.ms >= here.ms / cores) throw new InputError("WebGPU is not faster here");
    }
    gpu.count.forwards = 0;
    return gpu;
  } catch (error) {
    await gpu.release();
    throw error;
  } finally {
    await cpu.release();
  }
}

const noise = (dims) => tensor(Float32Array.from({ length: sizeOf(dims) }, uniform(0)), dims);

/** Embeddings, and the least time they took. */
async function timed(net, images, side, rounds) {
  let [z, ms] = [null, Infinity];
  for (let k = 0; k < rounds; k++) {
    const began = performance.now();
    ({ z } = await net.encode(images, side));
    if (k > 0) ms = Math.min(ms, performance.now() - began);
  }
  return { z, ms };
}

/** @param {import("./tensors.js").Tensor} got @param {import("./tensors.js").Tensor} want one embedding a row */
export function same(got, want) {
  const rows = Array.from({ length: want.dims[0] }, (_, k) => [row(got, k), row(want, k)]);
  return rows.every(([u, v]) => norm(u.map((value, k) => value - v[k])) <= SAME * norm(v));
}
