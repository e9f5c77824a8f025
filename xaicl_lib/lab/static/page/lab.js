// The lab: two pictures, a model, a method; how alike they are and where that comes from. `mount(element)` builds it.

import { checkAgainstTorch } from "./check.js";
import { createChooser } from "./chooser.js";
import { createControls, pairStrip } from "./controls.js";
import { acceptFiles } from "./drops.js";
import { button, h } from "./element.js";
import { cancel, loading, renew } from "./explaining.js";
import { gallery } from "./gallery.js";
import { keepBox } from "./keep.js";
import { point } from "./matching.js";
import { createModelDialog } from "./own_model.js";
import { createResults } from "./results.js";
import { createRow } from "./row.js";
import { initial, read, settled, suited, write } from "./state.js";
import { createStatus } from "./status.js";
import { createTrail } from "./trail.js";

export async function mount(element, { base = new URL("../", import.meta.url), linked = true } = {}) {
  const store = gallery(new URL("gallery/", base));
  try {
    const index = structuredClone(await store.index());
    return build({ element, index, store, base, linked });
  } catch (error) {
    element.append(h("p", { class: "xl-error", role: "alert" }, `The lab could not be opened: ${error.message}`));
    throw error;
  }
}

function build(given) {
  const lab = begin(given);
  Object.assign(lab, dialogsOf(lab));
  Object.assign(lab, rowsOf(lab));
  Object.assign(lab, controlsOf(lab));
  layOut(lab);
  acceptFiles(lab);
  if (lab.linked) addEventListener("hashchange", () => { if (location.hash.includes("=")) follow(lab); }); // others are places in the page
  refresh(lab);
  renew(lab);
  return { set: (what) => set(lab, what), state: () => lab.state };
}

// What a link asks for, on a page that is open already.
function follow(lab) {
  lab.state = read(location.hash, lab.index);
  for (const side of ["a", "b"]) lab.chooser.chosen(side);
  refresh(lab, { anew: true });
  renew(lab);
}

// What all parts of the page share. `state`, `job`, `side` and `later` are the only ones that are ever replaced.
function begin({ element, index, store, base, linked }) {
  return {
    element, index, store, linked,
    results: createResults({ index, store, base }),
    trail: createTrail(),
    own: new Map(), // the reader's pictures by name
    pictures: new Map(), // promises of those of the gallery, by name
    state: linked ? read(location.hash, index) : initial(index),
    job: null, // aborts what is being computed
    side: "b", // where a pasted picture goes
    later: null, // the timer of the address
  };
}

function dialogsOf(lab) {
  const { index, store: gallery } = lab;
  return {
    status: createStatus({ cancel: () => cancel(lab) }),
    chooser: createChooser({ gallery, index, take: (side, made) => take(lab, side, made), pick: (side, name) => set(lab, { [side]: name }) }),
    modelDialog: createModelDialog({ add: (card, source) => addModel(lab, card, source) }),
  };
}

// Two rows, the second for a comparison.
function rowsOf(lab) {
  const captions = [0, 1].map(() => ({ a: caption(lab, "a"), b: caption(lab, "b") }));
  const rows = captions.map(({ a, b }) => createRow({ point: (pointer) => point(lab, pointer), captions: { a: a.element, b: b.element } }));
  return { captions, rows, stage: h("div", { class: "xl-stage" }, ...rows.map((row) => row.element)) };
}

function caption(lab, side) {
  const text = h("span", { class: "xl-caption-text" });
  const choose = button("Choose", () => lab.chooser.open(side), { class: "xl-button xl-small", "aria-label": `Choose picture ${side.toUpperCase()}` });
  return { element: h("figcaption", { class: "xl-caption" }, h("b", {}, side.toUpperCase()), text, choose), text };
}

function controlsOf(lab) {
  const { index, store: gallery } = lab;
  const openModel = (back) => { back(); lab.modelDialog.open(); };
  const pick = ({ a, b }) => set(lab, { a, b, model: suited(index, lab.state.model, index.pictures[a].kind) });
  return {
    controls: createControls({ index, state: () => lab.state, set: (what) => set(lab, what), openModel }),
    strip: pairStrip({ index, gallery, pick }),
    checked: h("div", { class: "xl-check-box", "aria-live": "polite" }),
    notes: h("p", { class: "xl-hint xl-notes", hidden: true }),
  };
}

function layOut(lab) {
  const { element, strip, controls, stage, status, notes, checked, chooser, modelDialog } = lab;
  const boxes = h("div", { class: "xl-boxes" }, controls.change, controls.look, keepBox(lab, () => checkAgainstTorch(lab)));
  element.replaceChildren(
    strip.element, strip.ask, controls.top, controls.settings, stage, status.element, notes, boxes, checked, chooser.dialog, modelDialog.dialog,
  );
  element.classList.add("xl-lab", "xl-ready");
}

function refresh({ controls, strip, state }, how) {
  controls.refresh(how);
  strip.refresh(state);
}

// Every choice comes through here.
function set(lab, what) {
  lab.state = settled(lab.index, lab.state, { ...lab.state, ...what });
  for (const side of ["a", "b"]) if (side in what) lab.chooser.chosen(side);
  if (lab.linked) address(lab);
  refresh(lab);
  if (what.look) for (const row of lab.rows) row.show({ look: lab.state.look });
  else renew(lab);
}

function address(lab) { // browsers do not like it to change with each step of a slider
  clearTimeout(lab.later);
  lab.later = setTimeout(() => history.replaceState(null, "", `#${write(lab.state, lab.index)}`), 250);
}

// A picture of the reader's.
function take(lab, side, made) {
  lab.own.set(made.name, made);
  lab.side = side === "a" ? "b" : side;
  set(lab, { [side]: made.name });
}

let added = 0;

async function addModel(lab, { name: title, size, methods, guided }, source) {
  added += 1;
  const name = `own-${added}`;
  const made = { name, title: title.slice(0, 60), own: true, size, methods, guided, source };
  lab.status.begin();
  try {
    await lab.results.load(made, loading(lab, made));
  } catch (error) {
    lab.status.say(error.message, { failed: true });
    throw error; // the dialog says it, too
  }
  lab.index.models.push(made);
  set(lab, { model: name });
}
