// What the reader has chosen, and how a link says it. Whatever a link says that does not exist is left out.

import { CHANGES, changeOf } from "../engine/augment.js";
import { SCHEMES } from "./colours.js";

export const LOOK = { colours: SCHEMES[0].name, opacity: 0.8, style: "glow" };

export function initial(index) {
  const { a, b } = index.pairs[0];
  return {
    a, b, model: index.models[0].name, method: index.methods[0].name, options: {}, other: null,
    change: { name: "none", strength: 0 }, look: { ...LOOK },
  };
}

export const methodOf = (index, name) => index.methods.find((one) => one.name === name);
export const modelOf = (index, name) => index.models.find((one) => one.name === name);

// Methods that a model's bundle can compute; the controls need none.
export const methodsFor = (index, model) => index.methods.filter(({ name, family }) => !model.methods || family === "control" || model.methods.includes(name));

// The model for pictures of a kind: the one chosen if it knows such pictures, else the first that does.
export function suited(index, name, kind) {
  const model = modelOf(index, name);
  return model.own || model.kind === kind ? name : index.models.find((one) => one.kind === kind)?.name ?? name;
}

const hasMethod = (index, model, method) => methodsFor(index, modelOf(index, model)).some(({ name }) => name === method);

// The state `wanted` after `before`, its choices possible together: a method that the model has, a comparison of two different things.
export function settled(index, before, wanted) {
  const known = hasMethod(index, wanted.model, wanted.method);
  const method = known ? wanted.method : methodsFor(index, modelOf(index, wanted.model))[0].name;
  const options = known && wanted.model === before.model ? usable(wanted.options, modelOf(index, wanted.model)) : {};
  return { ...wanted, method, options, other: settledOther(index, before, { ...wanted, method }) };
}

// Guided gradients need a network with ReLUs.
const usable = ({ guided, ...rest }, model) => (guided && model.guided !== false ? { guided, ...rest } : rest);

// What both rows had in common follows the first; null where they would show the same, or a method that its model lacks.
function settledOther(index, before, { model, method, other }) {
  if (!other) return null;
  const next = {
    model: other.model === before.model ? model : other.model,
    method: other.method === before.method ? method : other.method,
  };
  const isSame = next.model === model && next.method === method;
  return isSame || !hasMethod(index, next.model, next.method) ? null : next;
}

// The state as the text behind the # of an address; own pictures and models cannot be in it.
export function write(state, index) {
  const query = new URLSearchParams();
  for (const side of ["a", "b"]) if (index.pictures[state[side]]) query.set(side, state[side]);
  query.set("model", state.model);
  query.set("method", state.method);
  for (const [name, value] of Object.entries(state.options)) query.set(`o.${name}`, value);
  if (state.other) query.set("with", `${state.other.model} ${state.other.method}`);
  if (state.change.name !== "none") query.set("change", `${state.change.name} ${state.change.strength}`);
  for (const [name, value] of Object.entries(state.look)) if (value !== LOOK[name]) query.set(name, value);
  return query.toString();
}

export function read(text, index) {
  const query = new URLSearchParams(text.replace(/^#/, ""));
  const state = initial(index);
  for (const side of ["a", "b"]) if (Object.hasOwn(index.pictures, query.get(side) ?? "")) state[side] = query.get(side);
  if (modelOf(index, query.get("model"))) state.model = query.get("model");
  if (methodOf(index, query.get("method"))) state.method = query.get("method");
  state.options = readOptions(query, methodOf(index, state.method));
  const [model, method] = (query.get("with") ?? "").split(" ");
  if (modelOf(index, model) && methodOf(index, method)) state.other = { model, method };
  const [name, strength] = (query.get("change") ?? "").split(" ");
  const change = changeOf(name);
  if (change !== CHANGES[0]) state.change = { name, strength: clamp(strength, change.low, change.high, change.neutral) };
  if (SCHEMES.some((one) => one.name === query.get("colours"))) state.look.colours = query.get("colours");
  if (query.has("opacity")) state.look.opacity = clamp(query.get("opacity"), 0, 1, LOOK.opacity);
  if (query.get("style") === "even") state.look.style = "even";
  return settled(index, state, state);
}

function readOptions(query, method) {
  const options = {};
  for (const option of method.options) {
    const given = query.get(`o.${option.name}`);
    if (given === null) continue;
    const value = parsed(option, given);
    if (value !== null && value !== option.default) options[option.name] = value;
  }
  return options;
}

export function parsed(option, given) {
  if (option.choices) return option.choices.includes(given) ? given : null;
  if (option.flag) return given === "true" ? true : given === "false" ? false : null;
  const value = clamp(given, option.low, option.high, null);
  return value !== null && Number.isInteger(option.step) ? Math.round(value) : value; // what is counted has no fractions
}

export function clamp(text, low, high, otherwise) {
  const value = Number.parseFloat(text);
  return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
}
