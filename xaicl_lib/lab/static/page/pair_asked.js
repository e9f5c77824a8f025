// What the attributes of an <xaicl-pair> ask for; what they cannot mean is an error with a sentence for whoever wrote them.

import { CHANGES } from "../engine/augment.js";
import { TOWARDS } from "../engine/corpus.js";
import { methodsFor, parsed } from "./state.js";

const OWN = ["model", "method", "a", "b", "corpus", "foil", "beside", "change", "choose", "curve", "cover", "when", "seconds"];
const OF_TWO = ["b", "beside", "change", "curve", "cover"]; // what a question about one picture has not
const CHOICES = ["model", "method", "change"];
const EVERYWHERE = /^(aria-|data-|on|x-)|^(id|class|style|lang|dir|title|hidden|role|tabindex|slot|part)$/; // what any element may have
const SECONDS = 120;

// {model, method, options, beside, change, a, b, sets, choose, curve, cover, seen, seconds} from an element's attributes.
export function readAsked(element, index) {
  const given = Object.fromEntries([...element.attributes].filter(({ name }) => !EVERYWHERE.test(name)).map(({ name, value }) => [name, value]));
  const model = known("model", given.model ?? index.models[0].name, index.models);
  const a = pictureAt(element, index, given.a ?? index.pairs[0].a);
  const sets = readSets(given, index, a.name);
  const able = askable(index, model, sets);
  const method = known("method", given.method ?? able[0].name, able);
  return {
    model, method, options: readOptions(given, method),
    beside: given.beside === undefined ? null : known("model", given.beside, index.models),
    a, b: sets ? null : pictureAt(element, index, given.b ?? index.pairs[0].b), sets,
    change: readChange(given.change), choose: readChoices(given.choose),
    curve: "curve" in given, cover: "cover" in given, seen: readWhen(given.when), seconds: within("seconds", given.seconds ?? SECONDS, 0.001, 3600),
  };
}

// Methods of a model for two pictures, or for one that is held against sets.
export const askable = (index, model, sets) => methodsFor(index, model).filter(({ name }) => !sets || Object.hasOwn(TOWARDS, name));

// {corpus, foil}: names of pictures of the gallery that picture a is held against; null where it is held against one other.
function readSets(given, index, a) {
  if (given.corpus === undefined && given.foil === undefined) return null;
  const odd = OF_TWO.find((name) => name in given);
  if (odd) throw new Error(`with a corpus one picture is explained, so "${odd}" has no meaning`);
  const all = Object.keys(index.pictures).map((name) => ({ name }));
  const names = (text = "") => text.split(/\s+/).filter(Boolean).map((name) => known("picture", name, all).name);
  const sets = { corpus: names(given.corpus), foil: names(given.foil) };
  const both = [...sets.corpus, ...sets.foil];
  const twice = both.find((name, k) => both.indexOf(name) !== k);
  if (twice) throw new Error(`the picture "${twice}" is in corpus and foil twice, and can be there once`);
  if (both.includes(a)) throw new Error(`the picture "${a}" is the one that is explained, and cannot be in its own corpus or foil`);
  return sets;
}

function known(what, name, all) {
  const found = all.find((one) => one.name === name);
  if (!found) throw new Error(`there is no ${what} "${name}" here, but ${all.map((one) => one.name).join(", ")}`);
  return found;
}

function readOptions(given, method) {
  const names = method.options.map(({ name }) => name);
  const unknown = Object.keys(given).find((name) => !OWN.includes(name) && !names.includes(name));
  if (unknown) throw new Error(`expected ${OWN.join(", ")}${names.length ? ` or an option of ${method.name} (${names.join(", ")})` : ""}, got "${unknown}"`);
  const chosen = method.options.filter(({ name }) => name in given).map((option) => [option, parsed(option, given[option.name])]);
  for (const [option, value] of chosen) {
    const range = option.low === undefined ? "" : `, but a ${Number.isInteger(option.step) ? "whole " : ""}number from ${option.low} to ${option.high}`;
    if (value === null || (range && value !== Number(given[option.name]))) throw new Error(`${option.name} cannot be "${given[option.name]}"${range}`);
  }
  return Object.fromEntries(chosen.filter(([option, value]) => value !== option.default).map(([{ name }, value]) => [name, value]));
}

function readChange(text = "none") {
  const [name, strength] = text.trim().split(/\s+/);
  const { low, high, neutral } = known("change", name, CHANGES);
  if (name === "none") return { name, strength: 0 };
  return { name, strength: within(name, strength ?? neutral, low, high) };
}

function readWhen(text) {
  if (text !== undefined && text !== "seen") throw new Error(`when cannot be "${text}", but "seen"`);
  return text === "seen";
}

function within(name, text, low, high) {
  const value = Number(text);
  if (!(value >= low && value <= high)) throw new Error(`${name} cannot be "${text}", but a number from ${low} to ${high}`);
  return value;
}

function readChoices(text = "") {
  const chosen = text.split(/\s+/).filter(Boolean);
  for (const one of chosen) known("choice", one, CHOICES.map((name) => ({ name })));
  return chosen;
}

// A name of the gallery, or the address of a picture on this host.
function pictureAt(element, index, name) {
  if (Object.hasOwn(index.pictures, name)) return { name };
  if (!/[./]/.test(name)) throw new Error(`there is no picture "${name}" here, but ${Object.keys(index.pictures).join(", ")}; or give the address of one`);
  const url = new URL(name, element.ownerDocument.baseURI);
  if (url.origin !== location.origin) throw new Error(`the picture ${name} is on another host; a copy beside this page can be shown`);
  return { name, url: url.href };
}
