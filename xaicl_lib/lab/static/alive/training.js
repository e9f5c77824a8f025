// One run of the training: settings that are read with care, steps, and what is to be seen of it between them. The same seed is the same run.

import { InputError } from "../engine/errors.js";
import { uniform } from "../engine/random.js";
import { GRID } from "./drawing.js";
import { adam, backward, embed, firstWeights, forward, toCircle } from "./encoder.js";
import { alignment, lossOf, sameClass, uniformity } from "./losses.js";
import { SETS, WAYS, pointsOf, viewsOf } from "./points.js";

const RATE = 0.005; // of Adam, once it has warmed up
const WARM = 100; // steps until then
const SPRAYED = 14; // views of a point that are shown, of one point in each class

const NUMBERS = {
  temperature: { low: 0.02, high: 20, start: 0.2 },
  batch: { low: 4, high: 96, start: 48, whole: true },
  strength: { low: 0, high: 1, start: 0.1 },
  seed: { low: 0, high: 2 ** 32 - 4, start: 0, whole: true },
};
const CHOICES = { set: SETS, way: WAYS };

export const START = { ...Object.fromEntries(Object.entries(NUMBERS).map(([name, { start }]) => [name, start])), set: "clouds", way: "all", negatives: true };

// What was asked for, the rest as it is at the start.
export function readSettings(given) {
  const settings = { ...START, ...given };
  for (const [name, value] of Object.entries(settings)) check(name, value);
  return settings;
}

function check(name, value) {
  const given = typeof value === "string" ? JSON.stringify(value) : String(value);
  const refuse = (expected) => { throw new InputError(`${name} cannot be ${given}, but ${expected}`); };
  if (Object.hasOwn(NUMBERS, name)) {
    const { low, high, whole } = NUMBERS[name];
    const fits = typeof value === "number" && value >= low && value <= high && (!whole || Number.isInteger(value));
    if (!fits) refuse(`a ${whole ? "whole " : ""}number from ${low} to ${high}`);
  } else if (Object.hasOwn(CHOICES, name)) {
    if (typeof value !== "string" || !Object.hasOwn(CHOICES[name], value)) refuse(Object.keys(CHOICES[name]).join(" or "));
  } else if (name === "negatives") {
    if (typeof value !== "boolean") refuse("true or false");
  } else {
    throw new InputError(`no setting ${JSON.stringify(name)} here, but ${Object.keys(START).join(", ")}`);
  }
}

export function begin({ seed, set }) {
  const draw = uniform(seed);
  const flat = firstWeights(seed + 1);
  return { ...pointsOf(set, draw), flat, draw, update: adam(flat), steps: 0 };
}

// Several steps of the optimiser, each on a batch of points that are drawn anew, each point in two views.
export function train(run, settings, steps) {
  for (let k = 0; k < steps; k += 1) {
    const views = viewsOf(run.x, twice(drawn(settings.batch, run.labels.length, run.draw)), settings, run.draw);
    run.steps += 1;
    run.update(gradientOf(run.flat, views, settings).grad, RATE * Math.min(1, run.steps / WARM));
  }
}

// -> {loss, grad} of a batch, the gradient by the weights
export function gradientOf(flat, views, { temperature, negatives }) {
  const said = forward(flat, views);
  const circle = toCircle(said.at(-1));
  const { loss, dz } = lossOf(circle.z, temperature, negatives);
  return { loss, grad: backward(flat, said, circle, dz) };
}

const twice = (chosen) => [...chosen, ...chosen];

function drawn(count, of, draw) {
  const all = Array.from({ length: of }, (_, k) => k);
  for (let k = 0; k < count; k += 1) {
    const other = k + Math.floor(draw() * (of - k));
    [all[k], all[other]] = [all[other], all[k]];
  }
  return all.slice(0, count);
}

// Where everything is now. What is measured is measured on the same points, moved by the same draws, every time; it takes none from the run.
export function seen(run, settings) {
  const { x, labels, flat, steps } = run;
  const all = labels.map((_, k) => k);
  const draw = uniform(settings.seed + 2);
  const z = embed(flat, x);
  const views = embed(flat, viewsOf(x, twice(all), settings, draw));
  return {
    steps, x, labels, z, sent: embed(flat, GRID), sprays: spraysOf(x, labels, settings),
    loss: lossIn(views, drawn(all.length, all.length, draw), settings),
    alignment: alignment(views), uniformity: uniformity(z), same: sameClass(z, labels),
  };
}

// Mean loss of as many batches as all points make, in that order; views are 2n embeddings.
function lossIn(views, order, { batch, temperature, negatives }) {
  const n = order.length;
  const losses = Array.from({ length: Math.floor(n / batch) }, (_, k) => {
    const ids = order.slice(k * batch, (k + 1) * batch);
    const z = Float64Array.from([...ids, ...ids.map((i) => i + n)].flatMap((i) => [views[2 * i], views[2 * i + 1]]));
    return lossOf(z, temperature, negatives).loss;
  });
  return losses.reduce((sum, v) => sum + v, 0) / losses.length;
}

// The first point of each class and some views of it.
function spraysOf(x, labels, settings) {
  const draw = uniform(settings.seed + 3);
  return [...new Set(labels)].map((label) => {
    const i = labels.indexOf(label);
    const views = viewsOf(x, Array(SPRAYED).fill(i), settings, draw);
    return { point: [x[2 * i], x[2 * i + 1]], views: Array.from({ length: SPRAYED }, (_, k) => [views[2 * k], views[2 * k + 1]]) };
  });
}
