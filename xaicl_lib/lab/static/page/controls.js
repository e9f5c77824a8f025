// What the reader sets: model, method and its options, a second row to compare with, a change of picture B, the look.

import { CHANGES, changeOf } from "../engine/augment.js";
import { SCHEMES } from "./colours.js";
import { field, fill, h, select, slider } from "./element.js";
import { methodOf, methodsFor, modelOf } from "./state.js";

const FAMILIES = { perturbation: "hide parts", gradient: "follow gradients", activation: "weigh features", similarity: "take it apart", attention: "follow attention", control: "controls" };

export function createControls({ index, state, set, openModel }) {
  const model = select([], "", (value) => (value === "+" ? openModel(refresh) : set({ model: value })));
  const method = select([], "", (value) => set({ method: value, options: {} }));
  const other = select([], "", (value) => set({ other: against(value, state()) }));
  const options = h("div", { class: "xl-options" });
  const about = h("p", { class: "xl-about" });
  const kind = select(CHANGES.map(({ name, title }) => [name, title]), "none", (name) => set({ change: { name, strength: changeOf(name).neutral ?? 0 } }));
  const strength = h("div", { class: "xl-strength" });
  const look = h("div", { class: "xl-box" }, ...lookControls(state, set));
  let optionsOf = null;
  let strengthOf = null;

  // A slider that is being moved is left alone, unless all is set `anew`.
  function refresh({ anew = false } = {}) {
    const now = state();
    if (anew) {
      [optionsOf, strengthOf] = [null, null];
      look.replaceChildren(...lookControls(state, set));
    }
    const current = methodOf(index, now.method);
    const able = methodsFor(index, modelOf(index, now.model));
    fill(model, modelMenu(index), now.model);
    fill(method, byFamily(able), now.method);
    fill(other, otherMenu(index, now, able), now.other ? `${now.other.model} ${now.other.method}` : "");
    about.textContent = `${current.says} ${modelText(modelOf(index, now.model))}`;
    if (optionsOf !== `${now.model} ${now.method}`) {
      options.replaceChildren(...current.options.map((option) => optionControl(option, state, set, modelOf(index, now.model))));
      optionsOf = `${now.model} ${now.method}`;
    }
    kind.value = now.change.name;
    if (strengthOf !== now.change.name) {
      strength.replaceChildren(...strengthControl(now.change, set));
      strengthOf = now.change.name;
    }
  }

  const settings = h("details", { class: "xl-more" }, h("summary", {}, "Options of the method"), about, options);
  return {
    top: h("div", { class: "xl-top" }, field("Model", model), field("Method", method), field("Compare with", other)),
    settings,
    change: h("div", { class: "xl-box" }, field("Alter picture B", kind), strength),
    look,
    refresh,
  };
}

const modelText = (model) => (model.says ? `The model ${model.says}; it sees ${model.size} × ${model.size} pixels.` : `Your model sees ${model.size} × ${model.size} pixels.`);

function modelMenu(index) {
  const entry = ({ name, title }) => [name, title];
  const own = index.models.filter((model) => model.own);
  return [...index.models.filter((model) => !model.own).map(entry), ...(own.length ? [{ group: "yours", options: own.map(entry) }] : []), ["+", "Open your own model …"]];
}

function byFamily(list) {
  const families = [...new Set(list.map((one) => one.family))];
  return families.map((family) => ({ group: FAMILIES[family] ?? family, options: list.filter((one) => one.family === family).map(({ name, title }) => [name, title]) }));
}

function otherMenu(index, now, able) {
  const methods = able.filter((one) => one.name !== now.method).map(({ name, title }) => [`${now.model} ${name}`, title]);
  const models = index.models.filter((one) => one.name !== now.model && methodsFor(index, one).some(({ name }) => name === now.method)).map(({ name, title }) => [`${name} ${now.method}`, title]);
  return [["", "Nothing"], { group: "another method", options: methods }, { group: "another model", options: models }];
}

// What stays the same in a comparison follows the first row.
export function against(value) {
  if (!value) return null;
  const [model, method] = value.split(" ");
  return { model, method };
}

function optionControl(option, state, set, model) {
  const value = () => state().options[option.name] ?? optionDefault(option, model);
  const put = (next) => {
    const { [option.name]: _, ...rest } = state().options;
    set({ options: next === optionDefault(option, model) ? rest : { ...rest, [option.name]: next } });
  };
  if (option.choices) return field(option.title, select(option.choices.map((choice) => [choice, choice]), value(), put));
  if (option.flag) return flag(option, value(), put, model);
  return numeric({ ...option, high: highest(option, model) }, value(), put);
}

function flag(option, value, put, model) {
  const off = option.name === "guided" && model.guided === false;
  const box = h("input", { type: "checkbox", class: "xl-check", onchange: () => put(box.checked), disabled: off, id: `xl-option-${option.name}` });
  box.checked = value;
  return h("div", { class: "xl-field xl-flag" }, box, h("label", { for: box.id }, option.title));
}

function numeric(option, value, put) {
  const said = h("output", { class: "xl-value" }, withUnit(value, option.unit));
  const made = slider({ ...option, value, oninput: (next) => { said.textContent = withUnit(next, option.unit); put(next); } });
  return field(option.title, made, said);
}

const withUnit = (value, unit) => (unit ? `${value} ${unit}` : `${value}`);

// A default that depends on the model's size is scaled to it, as the library scales it.
export const optionDefault = (option, model) => (option.default === null && option.share ? Math.max(1, Math.round(model.size * option.share)) : option.default);

// No window is wider than the picture, and the usual one can be chosen.
export const highest = (option, model) => (option.share ? Math.min(model.size, Math.max(option.high, optionDefault(option, model))) : option.high);

function strengthControl({ name, strength }, set) {
  const { low, high, step, unit } = changeOf(name);
  if (name === "none") return [h("p", { class: "xl-hint" }, "Blur, darken, recolour or turn B and watch the similarity and both maps follow.")];
  const said = h("output", { class: "xl-value" }, withUnit(strength, unit));
  const made = slider({ low, high, step, value: strength, label: `Strength of ${name}`, oninput: (value) => { said.textContent = withUnit(value, unit); set({ change: { name, strength: value } }); } });
  return [h("div", { class: "xl-slide" }, made, said), h("div", { class: "xl-trail", "aria-live": "polite" })];
}

function lookControls(state, set) {
  const put = (what) => set({ look: { ...state().look, ...what } });
  const { colours, opacity, style } = state().look;
  return [
    field("Colours", select(SCHEMES.map(({ name, title }) => [name, title]), colours, (value) => put({ colours: value }))),
    field("The map covers the picture", select([["glow", "only where it is strong"], ["even", "everywhere alike"]], style, (value) => put({ style: value }))),
    field("Opacity", slider({ low: 0, high: 1, step: 0.05, value: opacity, oninput: (value) => put({ opacity: value }) })),
  ];
}

// Pairs of the gallery as two small pictures each.
export function pairStrip({ index, gallery, pick }) {
  const thumb = (name) => h("img", { src: gallery.thumbnail(name), alt: "", width: 56, height: 56 });
  const buttons = index.pairs.map((pair) =>
    h("button", { type: "button", class: "xl-couple", onclick: () => pick(pair) }, h("span", { class: "xl-thumb-pair" }, thumb(pair.a), thumb(pair.b)), h("span", { class: "xl-couple-title" }, pair.title)));
  const element = h("div", { class: "xl-strip", role: "group", "aria-label": "Pairs to begin with" }, ...buttons);
  const ask = h("p", { class: "xl-ask" });
  const show = (one) => {
    const [left, right] = [one.offsetLeft - element.offsetLeft, one.offsetLeft - element.offsetLeft + one.offsetWidth];
    if (left < element.scrollLeft || right > element.scrollLeft + element.clientWidth) element.scrollLeft = left - 16;
  };
  function refresh(now) {
    const at = index.pairs.findIndex(({ a, b }) => a === now.a && b === now.b);
    buttons.forEach((one, k) => one.setAttribute("aria-pressed", String(k === at)));
    ask.textContent = index.pairs[at]?.ask ?? "";
    if (at >= 0) show(buttons[at]);
  }
  return { element, ask, refresh };
}

