/**
 * What makes a picture one of a corpus and not of a foil: the contrastive corpus similarity, explained on a network that runs here. Formulas,
 * names and defaults are those of `xaicl_lib.scores.corpus_similarity` and `xaicl_lib.methods`; a test compares them with torch.
 *
 * The score is linear in the corpus: one vector, the mean of its unit embeddings minus that of the foil's, stands for both, and gradients
 * towards each of them add up to those of the score.
 *
 * @typedef {import("./net.js").Net} Net
 * @typedef {import("./methods.js").SaliencyMap} SaliencyMap
 * @typedef {{x: Float32Array, f: import("./tensors.js").Tensor, z: Float32Array, share: number}} Member a picture, and its share in the score
 */
import { InputError } from "./errors.js";
import { explained, gridOf, occluded, pixels, squareMap, weigh } from "./methods.js";
import { dot, norm, strength } from "./tensors.js";

const SAME = 1e-6; // relative length of the difference of two means under which corpus and foil are the same

/** What explains a single picture towards a corpus: (net, x, {members, target}, options, step) -> {score, a}. */
export const TOWARDS = { grad_cam: gradCam, conditional_occlusion: occlusion, input_x_gradient: inputXGradient };

/**
 * Explain how much more alike a picture is to a corpus than to a foil.
 * @param {Net} net
 * @param {string} name of a method in TOWARDS
 * @param {Float32Array} image [3 h w] at the model's size, RGB in [0, 1], as are those of the corpus and the foil
 * @param {{corpus: Float32Array[], foil: Float32Array[]}} sets the foil may be empty
 * @param {object} [given] options of the method
 * @param {(done: number, total: number, soFar?: object) => void} [onProgress] @param {AbortSignal} [signal]
 * @returns {Promise<{a: SaliencyMap, score: number, seconds: number, forwards: number, backwards: number}>}
 */
export async function explainCorpus(net, name, image, { corpus, foil }, given = {}, onProgress = () => {}, signal = undefined) {
  if (!Object.hasOwn(TOWARDS, name)) throw new InputError(`${name} explains two pictures; towards a corpus there are ${Object.keys(TOWARDS).join(", ")}`);
  if (!net.card.symmetric) throw new InputError(`${net.card.name} has two different sides, and a corpus needs one`);
  if (!corpus.length) throw new InputError("expected at least one picture in the corpus");
  if (given.guided) throw new InputError("guided gradients do not add up over a corpus");
  return explained(net, name, [image, ...corpus, ...foil], given, onProgress, signal, async (options, step) => {
    const members = [...(await membersOf(net, corpus, 1 / corpus.length)), ...(await membersOf(net, foil, -1 / foil.length))];
    return TOWARDS[name](net, net.normalize(image), { members, target: targetOf(members) }, options, step);
  });
}

/** @returns {Promise<Member[]>} */
async function membersOf(net, images, share) {
  const made = [];
  for (const image of images) {
    const x = net.normalize(image);
    const { f, z } = await net.encode(pixels(net, [x]), "a");
    made.push({ x, f, z: z.data, share });
  }
  return made;
}

/** The mean unit vector of the corpus minus that of the foil. @param {Member[]} members @returns {Float64Array} */
function targetOf(members) {
  const [towards, all] = [new Float64Array(members[0].z.length), new Float64Array(members[0].z.length)];
  for (const { z, share } of members) {
    const length = norm(z);
    if (!(length > 0)) throw new InputError("expected embeddings of a length above 0, whose cosine exists");
    z.forEach((v, k) => {
      all[k] += (share * v) / length;
      towards[k] += (Math.max(0, share) * v) / length;
    });
  }
  if (norm(all) <= SAME * norm(towards)) throw new InputError("corpus and foil have the same embeddings: every picture would score zero");
  return all;
}

const scoreOf = (z, target) => dot(z, target) / Math.max(norm(z), 1e-8);

async function occlusion(net, x, { target }, options, step) {
  const { z } = await net.encode(pixels(net, [x]), "a");
  return occluded(net, [{ x, name: "a", scoreOf: (other) => scoreOf(other, target) }], scoreOf(z.data, target), options, step);
}

async function gradCam(net, x, { members, target }, options, step) {
  const { f, z } = await net.encode(pixels(net, [x]), "a");
  const g = await added(members, async (one) => (await net.headgrad(f, one.f)).g1.data, step);
  return { score: scoreOf(z.data, target), a: weigh(f.data, g, null, null, gridOf(f)) };
}

async function inputXGradient(net, x, { members, target }, options, step) {
  const { z } = await net.encode(pixels(net, [x]), "a");
  const g = await added(members, async (one) => (await net.pixgrad(pixels(net, [x]), pixels(net, [one.x]))).d1.data, step);
  return { score: scoreOf(z.data, target), a: squareMap(strength(x, g), net) };
}

/** Gradients towards each member, by their shares. @param {Member[]} members */
async function added(members, gradient, step) {
  let sum = null;
  for (const [k, one] of members.entries()) {
    const g = await gradient(one);
    sum ??= new Float64Array(g.length);
    for (let n = 0; n < g.length; n++) sum[n] += one.share * g[n];
    await step(k + 1, members.length);
  }
  return sum;
}
