// Results: made by torch beforehand where the gallery has them, else computed in the worker, and remembered.

import { changeOf } from "../engine/augment.js";
import { controls } from "../engine/control_maps.js";
import { unpack } from "./gallery.js";
import { seen } from "./pictures.js";
import { createTeam } from "./team.js";
import { optionDefault } from "./controls.js";

const KEPT = 60; // results in memory

// An ask is {model, method, options, change, a, b}: entries of the index, and pictures; or without b {corpus, foil}, lists of pictures.
export function createResults({ index, store, base }) {
  const team = createTeam(new URL("engine/worker.js", base));
  const kept = new Map();
  const named = (pictures) => pictures?.map(({ name }) => name);
  const keyOf = ({ model, method, options, change, a, b, corpus, foil }) => JSON.stringify([model.name, method.name, options, isChanged(change) ? change : null, a.name, b?.name, named(corpus), named(foil)]);

  async function stored({ model, method, options, change, a, b }) {
    if (!b || Object.keys(options).length || isChanged(change)) return null;
    const all = await store.results(index, a.name, b.name, model.name).catch(() => null);
    return all?.[method.name] ? { result: unpack(all[method.name]), origin: "beforehand, with torch" } : null;
  }

  async function live(ask, { signal, progress, loading }) {
    const { model, method, options, change, a, b } = ask;
    await load(model, loading);
    signal?.throwIfAborted();
    if (!b) return { result: await towards(ask, { progress, signal }), origin: "in this browser" };
    const pictures = { a: await a.input(model.size), b: await seen(b, model.size, change) };
    const control = controls[method.name];
    const asked = control ? { method: "deep_similarity", options: {} } : { method: method.name, options };
    const made = await team.run({ model: model.name, source: sourceOf(model), ...asked, ...pictures }, { progress, signal });
    const names = { a: a.name, b: isChanged(change) ? `${b.name} ${change.name} ${change.strength}` : b.name };
    return { result: control ? { ...made, joint: undefined, ...control(pictures, model.size, options, names) } : made, origin: "in this browser" };
  }

  async function towards({ model, method, options, a, corpus, foil }, how) {
    const [image, ...others] = await Promise.all([a, ...corpus, ...foil].map((one) => one.input(model.size)));
    const sets = { corpus: others.slice(0, corpus.length), foil: others.slice(corpus.length) };
    return team.run({ type: "corpus", model: model.name, method: method.name, options, image, ...sets }, how);
  }

  const sourceOf = (model) => model.source ?? { base: new URL(`models/${model.name}/`, base).href };
  const load = (model, progress) => team.load(model.name, sourceOf(model), { progress });

  // The result of an ask: remembered, stored, or computed. With `fresh` it is computed in any case; with `live` nothing stored will do.
  async function find(ask, options) {
    const key = keyOf(ask);
    if (!options.fresh) {
      const known = kept.get(key) ?? (options.live ? null : await stored(ask));
      if (known) return keep(key, known);
    }
    return keep(key, await live(ask, options));
  }

  function keep(key, found) {
    kept.delete(key);
    kept.set(key, found);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
    return found;
  }

  return { find, load, sourceOf, isLoaded: team.isLoaded, run: team.run, stop: team.stop, stored };
}

export const isChanged = ({ name, strength }) => name !== "none" && strength !== changeOf(name).neutral;

// Side of the occlusion's window as a share of the picture.
export function windowShare({ method, options, model }) {
  const option = method.options.find((one) => one.name === "window");
  return option ? (options.window ?? optionDefault(option, model)) / model.size : null;
}
