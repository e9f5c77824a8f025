// What a few lines of a reader's compute with: numbers and arrays that the page's engine makes of a pair, and its own answers from them.

import { area, losing, resized } from "./deletion.js";
import { loading } from "./explaining.js";
import { opened, pictureOf } from "./opened.js";

// Each array from {result, whole, model, card, run}: what explains the pair, its pictures by side, and what asks the engine.
const MADE = {
  score: ({ result }) => result.score,
  map_a: ({ result }) => rowsOf(result.a),
  map_b: ({ result }) => rowsOf(result.b),
  z_a: (asked) => embedding(asked, "a"),
  z_b: (asked) => embedding(asked, "b"),
  scores,
  dimmed: async (asked) => [await scoreOf(asked, dimmed(asked, "a")), await scoreOf(asked, dimmed(asked, "b"))],
};

const ANSWERS = {
  score: (of) => of.score,
  area: (of) => area(of.scores),
  drop: (of) => of.dimmed.reduce((sum, value) => sum + Math.max(0, of.score - value) / of.score, 0) / of.dimmed.length,
};

// {values, answer}: those arrays of a pair as plain numbers and lists, and what the engine answers; `status` is told how far it is.
export async function arraysOf({ model, method, a, b, answer }, names, status) {
  const page = await opened();
  const asked = await explained(page, { model, method, a, b }, status);
  const made = { score: asked.result.score };
  for (const name of names) made[name] = await MADE[name](asked);
  return { values: names.map((name) => made[name]), answer: ANSWERS[answer](made) };
}

async function explained(page, { model: name, method: by, a, b }, status) {
  const { index, results } = page;
  const [model, method] = [[index.models, name], [index.methods, by]].map(([all, one]) => all.find((entry) => entry.name === one));
  if (!model || !method) throw new Error(`there is no ${model ? `method ${by}` : `model ${name}`} here`);
  const pictures = { a: await pictureOf(page, { name: a }), b: await pictureOf(page, { name: b }) };
  const { card } = await results.load(model, loading({ status }, model));
  const progress = ({ done, total }) => status.progress(`${method.title}: ${done} of ${total}`);
  const { result } = await results.find({ model, method, options: {}, change: { name: "none", strength: 0 }, ...pictures }, { live: true, progress });
  const whole = { a: await pictures.a.input(model.size), b: await pictures.b.input(model.size) };
  return { result, whole, card, size: model.size, status, run: (request) => results.run({ model: model.name, source: results.sourceOf(model), ...request }, {}) };
}

const rowsOf = ({ data, h, w }) => Array.from({ length: h }, (_, i) => Array.from(data.subarray(i * w, (i + 1) * w)));

async function embedding({ card, whole, run }, side) {
  if (side === "b" && !card.symmetric) throw new Error(`side b of ${card.name} has another network`);
  return Array.from(await run({ type: "embed", image: whole[side] }));
}

const scoreOf = async ({ run }, images) => (await run({ method: "deep_similarity", options: {}, ...images })).score;

// Those of deletion while side a loses its pixels.
async function scores(asked) {
  const found = [];
  for await (const { k, score } of losing({ ...asked, side: "a", mean: asked.card.mean }, (images) => scoreOf(asked, images))) {
    found.push(score);
    asked.status.progress(`Taking pixels away: ${k + 1} times`);
  }
  return found;
}

// Both pictures, one of them dimmed by its map, scaled to [0, 1], towards the colour that is zero to the model.
function dimmed({ result, whole, size, card: { mean } }, side) {
  const map = resized(result[side], size);
  const [low, high] = [Math.min, Math.max].map((f) => map.reduce((best, v) => f(best, v)));
  const share = (k) => (high > low ? (map[k] - low) / (high - low) : 0);
  const colour = (k) => mean[Math.floor(k / map.length)];
  return { ...whole, [side]: whole[side].map((v, k) => colour(k) + (v - colour(k)) * share(k % map.length)) };
}
