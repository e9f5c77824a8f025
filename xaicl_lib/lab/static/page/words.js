// What is seen, in a sentence or two.

import { highWord } from "./colours.js";
import { number } from "./draw.js";

const MEANS = {
  conditional_occlusion: (w, top) => `Hide a ${w.high} place and the similarity falls, by ${top} at most.`,
  pairwise_occlusion: (w) => `The similarity fell most when rectangles hid the ${w.high} places.`,
  input_x_gradient: (w) => `At the ${w.high} pixels, a small change of colour changes the similarity most.`,
  smooth_grad: (w) => `At the ${w.high} pixels a small change of colour changes the similarity most, on average over noisy copies.`,
  averaged_transforms: (w) => `At the ${w.high} pixels the similarity changes most while A turns into B.`,
  grad_cam: (w) => `More of the features at the ${w.high} places would make the pictures more similar.`,
  interaction_cam: (w) => `The ${w.high} places hold features that both pictures have and that the similarity rests on.`,
  deep_similarity: (w) => `Cut into cells and added up again, the similarity of the features lies most at the ${w.high} places.`,
  integrated_jacobians: (w) => `Cut into cells and added up again, the similarity comes most from the ${w.high} places.`,
  attention_rollout: (w) => `What the model reads of a picture comes most from its ${w.high} places. The other picture has no say in that.`,
  legrad: (w) => `More attention to the ${w.high} places would make the pictures more similar.`,
  edges: () => "This is a control: it shows edges and never asked the model.",
  random_map: () => "This is a control: it shows random numbers. No explanation should look like it.",
};

// The score, what comes after it, what the maps mean, and a warning or nothing.
export function describe({ result, method, model, colours, diverging }) {
  const words = { high: highWord(colours, diverging), low: colours.low };
  const [lowest, highest] = result.extremes ?? ends(result.a, result.b);
  const isLow = model.typical !== undefined && result.score < model.typical + 0.1;
  const meaning = (MEANS[method.name] ?? (() => method.says))(words, number(highest));
  return {
    begins: "These two pictures are ",
    score: `${result.score.toFixed(2).replace("-", "−")} similar`,
    rest: rest(result, method, words, isLow),
    meaning: meaning + (diverging ? against(method, words, lowest) : ""),
    warning: warning(result, method, { isLow, apart: diverging && lowest < -0.1, words }),
  };
}

const TOWARDS = {
  conditional_occlusion: (w, top) => `Hide a ${w.high} place and the score falls, by ${top} at most.`,
  grad_cam: (w) => `More of the features at the ${w.high} places would raise the score.`,
  input_x_gradient: (w) => `At the ${w.high} pixels, a small change of colour changes the score most.`,
};

// The same of one picture that is held against a corpus, and a foil if there is one.
export function describeTowards({ result, method, foil, colours, diverging }) {
  const words = { high: highWord(colours, diverging), low: colours.low };
  const [lowest, highest] = result.extremes ?? ends(result.a);
  const amount = Math.abs(result.score).toFixed(2);
  const [more, than] = result.score < 0 ? ["less", "below"] : ["more", "above"];
  return {
    begins: "This picture is ",
    score: foil.length ? `${amount} ${more} similar to the corpus` : `${amount} ${than} zero`,
    rest: foil.length ? " than to the foil, by mean cosines." : " in its mean cosine with the corpus; there is no foil.",
    meaning: `${TOWARDS[method.name](words, number(highest))} The map is strongest at ${place(result.a)}.${diverging ? against(method, words, lowest) : ""}`,
    warning: highest <= 0 ? "No place of this map speaks for the corpus." : "",
  };
}

function rest(result, method, words, isLow) {
  if (method.family === "control" || method.name === "attention_rollout") return "."; // which say nothing of the similarity
  if (isLow) return ", no more than unrelated ones.";
  const says = method.family === "gradient" ? `it reacts most to the ${words.high} places` : `the ${words.high} places carry it`;
  return `; ${says}: ${place(result.a)} of A, ${place(result.b)} of B.`;
}

function against(method, words, lowest) {
  if (method.name !== "conditional_occlusion") return ` The ${words.low} places speak against it.`;
  return ` Hide a ${words.low} one and it rises, by ${number(Math.abs(lowest))} at most.`;
}

function warning({ score }, method, { isLow, apart, words }) {
  if (score > 0.9999 && method.gradient) return "The two pictures are the same to this model. There the gradient of the similarity vanishes, so this map holds nothing but rounding.";
  if (score > 0.9999) return "The two pictures are the same to this model.";
  if (!isLow || method.family === "control") return "";
  return apart ? `Here the ${words.low} places tell the story: they keep the two pictures apart.` : "There is little here to explain. Mistrust a vivid map, and look at its largest value.";
}

const ends = (...maps) => maps.reduce(([low, high], { data }) => [data.reduce((v, w) => Math.min(v, w), low), data.reduce((v, w) => Math.max(v, w), high)], [0, 0]);

// In words, the ninth of a map that holds its largest value, which is where the eye finds it darkest or brightest.
export function place({ data, h, w }) {
  const most = data.indexOf(data.reduce((v, u) => Math.max(v, u)));
  const [row, column] = [Math.floor(((Math.floor(most / w) + 0.5) * 3) / h), Math.floor((((most % w) + 0.5) * 3) / w)];
  const named = `${["top", "middle", "bottom"][row]} ${["left", "centre", "right"][column]}`;
  return `the ${named === "middle centre" ? "centre" : named}`;
}

export const seconds = (value) => (value < 0.095 ? `${Math.max(1, Math.round(1000 * value))} ms` : `${value.toFixed(1)} s`);
export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
