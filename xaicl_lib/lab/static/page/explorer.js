// A pair under its maps inside a notebook: the kernel computes what is asked for; a page of the book shows what was computed.
// `model` is anywidget's, or one with get, set, on and save_changes over what a page holds.

import { SCHEMES } from "./colours.js";
import { field, h, select, slider } from "./element.js";
import { unpack } from "./gallery.js";
import { createRow } from "./row.js";
import { LOOK } from "./state.js";

const SIDE = 448; // pixels a side of a picture for the eye

export async function render({ model, el }) {
  const { photos, network, methods } = model.get("facts");
  const pictures = { a: await picture(photos.a), b: await picture(photos.b) };
  const captions = Object.fromEntries(["a", "b"].map((side) => [side, h("figcaption", { class: "xl-caption" }, h("b", {}, side.toUpperCase()), h("span", {}, photos[side].title === side.toUpperCase() ? "" : photos[side].title))]));
  const row = createRow({ point: (pointer) => row.pointAt(pointer), captions });
  const said = h("p", { class: "xl-hint", role: "status" });
  let look = { ...LOOK };

  const shown = () => methods.filter(({ name }) => model.get("live") || name in model.get("results"));
  const menu = select(shown().map(({ name, title }) => [name, title]), model.get("method"), choose);
  const paint = (what) => { look = { ...look, ...what }; row.show({ look }); };
  el.replaceChildren(
    h("div", { class: "xl-top" }, field("Method", menu),
      field("Colours", select(SCHEMES.map(({ name, title }) => [name, title]), look.colours, (colours) => paint({ colours }))),
      field("Opacity", slider({ low: 0, high: 1, step: 0.05, value: look.opacity, oninput: (opacity) => paint({ opacity }) }))),
    row.element, said,
  );
  el.classList.add("xl-lab", "xl-ready");

  function choose(name) {
    model.set("method", name);
    model.save_changes();
    refresh();
  }

  function refresh() {
    const [name, results] = [model.get("method"), model.get("results")];
    menu.value = name;
    const stored = results[name];
    said.textContent = stored ? stored.error ?? "" : "Computing …";
    if (!stored || stored.error) return row.show({ fresh: false });
    const by = ["integrated_jacobians", "deep_similarity"].find((one) => results[one]?.joint);
    const matches = by ? unpack(results[by]).joint : null;
    return row.show({ result: unpack(stored), method: methods.find((one) => one.name === name), model: network, windowShare: stored.window ?? null, matches, matchesBy: methods.find((one) => one.name === by)?.title, fresh: true });
  }

  row.show({ photos: { a: { canvas: pictures.a, title: photos.a.title }, b: { canvas: pictures.b, title: photos.b.title } }, look, model: network, fresh: true });
  model.on("change:results", refresh);
  model.on("change:method", refresh);
  refresh();
}

export default { render };

async function picture({ source }) {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
  canvas.getContext("2d").drawImage(image, 0, 0, SIDE, SIDE);
  return canvas;
}

// What a page holds, as a model: what is set is told, and nothing is computed.
export function pageModel(values) {
  const told = new Map();
  return {
    get: (name) => values[name],
    set: (name, value) => { values[name] = value; for (const tell of told.get(`change:${name}`) ?? []) tell(); },
    on: (event, tell) => told.set(event, [...(told.get(event) ?? []), tell]),
    save_changes: () => {},
  };
}

// Every explorer of a page, from the JSON beside it.
export function renderAll() {
  for (const el of document.querySelectorAll(".xl-explorer:not(.xl-ready)")) {
    const model = pageModel(JSON.parse(el.querySelector("script[type='application/json']").textContent));
    render({ model, el });
  }
}
