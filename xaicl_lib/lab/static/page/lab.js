// The lab: two pictures, a model, a method; how alike they are and where that comes from. `mount(element)` builds it.

import { createChooser, fileOf } from "./chooser.js";
import { compare, table } from "./check.js";
import { Cancelled } from "./client.js";
import { createControls, methodsFor, pairStrip } from "./controls.js";
import { button, h } from "./element.js";
import { gallery } from "./gallery.js";
import { asJson, asPicture, download } from "./keep.js";
import { createModelDialog } from "./own_model.js";
import { fromGallery, shownChanged } from "./pictures.js";
import { createResults, isChanged, windowShare } from "./results.js";
import { createRow } from "./row.js";
import { initial, methodOf, modelOf, read, write } from "./state.js";
import { createStatus } from "./status.js";
import { createTrail } from "./trail.js";
import { megabytes, seconds } from "./words.js";

const FADE = 250; // ms after which maps that are being computed anew are shown as old

export async function mount(element, { base = new URL("../", import.meta.url), linked = true } = {}) {
  const store = gallery(new URL("gallery/", base));
  try {
    const index = structuredClone(await store.index());
    return build(element, { index, store, base, linked });
  } catch (error) {
    element.append(h("p", { class: "xl-error", role: "alert" }, `The lab could not be opened: ${error.message}`));
    throw error;
  }
}

function build(element, { index, store, base, linked }) {
  const results = createResults({ index, store, base });
  const own = new Map(); // the reader's pictures by name
  let state = linked ? read(location.hash, index) : initial(index);
  let job = null;
  let side = "b"; // where a pasted picture goes
  const trail = createTrail();
  const status = createStatus({ cancel });
  const chooser = createChooser({ gallery: store, index, take, pick: (which, name) => set({ [which]: name }) });
  const modelDialog = createModelDialog({ add: addModel });
  const captions = [0, 1].map(() => ({ a: caption("a"), b: caption("b") }));
  const rows = captions.map((pair) => createRow({ point, captions: { a: pair.a.element, b: pair.b.element } }));
  const controls = createControls({ index, state: () => state, set, openModel: (back) => { back(); modelDialog.open(); } });
  const strip = pairStrip({ index, gallery: store, pick: ({ a, b }) => set({ a, b, model: suited(index, state.model, index.pictures[a].kind) }) });
  const checked = h("div", { class: "xl-check-box", "aria-live": "polite" });
  const linkBox = h("input", { class: "xl-text", readonly: true, "aria-label": "Link to what you see", hidden: true });
  const notes = h("p", { class: "xl-hint xl-notes", hidden: true });
  const stage = h("div", { class: "xl-stage" }, ...rows.map((row) => row.element));

  function caption(which) {
    const text = h("span", { class: "xl-caption-text" });
    const choose = button("Choose", () => chooser.open(which), { class: "xl-button xl-small", "aria-label": `Choose picture ${which.toUpperCase()}` });
    return { element: h("figcaption", { class: "xl-caption" }, h("b", {}, which.toUpperCase()), text, choose), text };
  }

  element.replaceChildren(
    strip.element, strip.ask, controls.top, controls.settings, stage, status.element, notes,
    h("div", { class: "xl-boxes" }, controls.change, controls.look, keepBox()), checked, chooser.dialog, modelDialog.dialog,
  );
  element.classList.add("xl-lab", "xl-ready");

  function keepBox() {
    return h("div", { class: "xl-box xl-keep", role: "group", "aria-label": "Keep and check" },
      button("Copy link", copyLink), button("PNG", async () => download(await asPicture(shownRows()), "explanation.png"), { "aria-label": "Download as PNG" }),
      button("JSON", () => download(asJson(shownRows(), state, link()), "explanation.json"), { "aria-label": "Download as JSON" }),
      button("Check against torch", check), linkBox,
      h("p", { class: "xl-hint" }, "Everything is computed in your browser. No picture is sent anywhere."));
  }

  const shownRows = () => rows.filter((row) => !row.element.hidden && row.facts()).map((row) => ({ facts: row.facts(), canvases: row.canvases }));
  const link = () => `${location.href.split("#")[0]}#${write(state, index)}`;

  async function copyLink() {
    linkBox.value = link();
    linkBox.hidden = false;
    linkBox.select();
    const copied = await navigator.clipboard?.writeText(linkBox.value).then(() => true, () => false);
    const mine = own.has(state.a) || own.has(state.b) ? " Your own pictures are not in it." : "";
    status.say(`${copied ? "The link is copied." : "Here is the link."}${mine}`);
  }

  let later = null;
  function address() { // browsers do not like it to change with each step of a slider
    clearTimeout(later);
    later = setTimeout(() => history.replaceState(null, "", `#${write(state, index)}`), 250);
  }

  // Every choice comes through here.
  function set(what) {
    const before = state;
    state = { ...state, ...what };
    settle(before);
    if (linked) address();
    controls.refresh();
    strip.refresh(state);
    if (what.look) for (const row of rows) row.show({ look: state.look });
    else renew();
  }

  // Keeps the choices together possible: a method that the model has, a comparison of two different things.
  function settle(before) {
    const able = methodsFor(index, modelOf(index, state.model));
    if (!able.some(({ name }) => name === state.method)) state = { ...state, method: able[0].name, options: {} };
    if (state.model !== before.model) state.options = {};
    const { other } = state;
    if (!other) return;
    if (other.model === before.model && state.model !== before.model) state.other = { ...other, model: state.model };
    if (other.method === before.method && state.method !== before.method) state.other = { ...other, method: state.method };
    if (state.other.model === state.model && state.other.method === state.method) state.other = null;
    else if (!methodsFor(index, modelOf(index, state.other.model)).some(({ name }) => name === state.other.method)) state.other = null;
  }

  const pictures = new Map(); // promises by name
  function pictureOf(name) {
    if (own.has(name)) return own.get(name);
    if (!pictures.has(name)) pictures.set(name, fromGallery(store, index, name).catch((error) => { pictures.delete(name); throw error; }));
    return pictures.get(name);
  }

  function take(which, made) {
    own.set(made.name, made);
    side = which === "a" ? "b" : which;
    set({ [which]: made.name });
  }

  async function addModel(card, source) {
    const name = `own-${index.models.length}`;
    const made = { name, title: card.name.slice(0, 60), own: true, size: card.size, methods: card.methods, guided: card.guided, source };
    status.begin();
    await results.load(made, loading(made));
    index.models.push(made);
    set({ model: name });
  }

  function point(pointer) {
    for (const row of rows) row.pointAt(pointer);
    if (pointer) match();
  }

  // Which cell goes with which, by another method where the one shown does not say it itself.
  async function match() {
    for (const row of rows) {
      const facts = row.facts();
      if (!facts || facts.result.joint || facts.matches || facts.matching || !facts.fresh) continue;
      row.show({ matching: true });
      const found = await matches(facts.ask);
      if (found && row.facts()?.ask === facts.ask) row.show(found);
    }
  }

  // Integrated Jacobians if they are stored, for they are slow; else deep similarity, if the model is there already.
  async function matches(ask) {
    const [slow, quick] = ["integrated_jacobians", "deep_similarity"].map((name) => ({ ...ask, method: methodOf(index, name), options: {} }));
    const told = ({ method }, { result }) => ({ matches: result.joint, matchesBy: method.title });
    const stored = await results.stored(slow);
    if (stored) return told(slow, stored);
    if (!results.isLoaded(ask.model.name) || !methodsFor(index, ask.model).includes(quick.method)) return null;
    return results.find(quick, {}).then((found) => told(quick, found), () => null);
  }

  function asks() {
    const first = { model: modelOf(index, state.model), method: methodOf(index, state.method), options: state.options, change: state.change };
    if (!state.other) return [first];
    const method = methodOf(index, state.other.method);
    return [first, { ...first, model: modelOf(index, state.other.model), method, options: method === first.method ? state.options : {} }];
  }

  // Show the pictures at once, and the explanations as they come.
  async function renew({ fresh = false } = {}) {
    job?.abort();
    const mine = (job = new AbortController());
    const wanted = asks();
    rows.forEach((row, k) => { row.element.hidden = k >= wanted.length; });
    stage.classList.toggle("xl-two", wanted.length > 1);
    status.begin();
    const faded = setTimeout(() => rows.forEach((row) => row.facts() && row.show({ fresh: false })), FADE);
    try {
      const [a, b] = await Promise.all([pictureOf(state.a), pictureOf(state.b)]);
      if (mine.signal.aborted) return;
      showPictures(a, b, wanted);
      const made = [];
      for (const [k, ask] of wanted.entries()) made.push(await explain(rows[k], { ...ask, a, b }, mine.signal, fresh));
      if (!mine.signal.aborted) said(made);
    } catch (error) {
      if (!mine.signal.aborted) status.say(error instanceof Cancelled ? "Stopped." : error.message, { failed: !(error instanceof Cancelled) });
    } finally {
      clearTimeout(faded);
    }
  }

  function showPictures(a, b, wanted) {
    const canvas = shownChanged(b, state.change, wanted[0].model.size);
    const photos = { a: { canvas: a.shown, title: a.title }, b: { canvas, title: isChanged(state.change) ? `${b.title}, changed` : b.title } };
    captions.forEach((pair) => { pair.a.text.textContent = photos.a.title; pair.b.text.textContent = photos.b.title; });
    rows.forEach((row) => row.show({ photos, look: state.look }));
    notes.textContent = [...new Set([...a.notes, ...b.notes])].join(" ");
    notes.hidden = !notes.textContent;
  }

  async function explain(row, ask, signal, fresh) {
    const progress = ({ done, total }) => status.progress(`${ask.method.title}: ${done} of ${total}`, done, total);
    const found = await results.find(ask, { fresh, signal, progress, loading: loading(ask.model) });
    if (signal.aborted) return null;
    row.show({ ...found, ...ask, ask, fresh: true, matches: null, matching: false, windowShare: windowShare(ask) });
    return found;
  }

  const loading = (model) => ({ done, total }) => {
    const what = done < total ? `Loading ${model.title}: ${megabytes(done)} of ${megabytes(total)}` : `Starting ${model.title}`;
    status.progress(what, done, done < total ? total : 0);
  };

  function said(made) {
    const [{ result, origin }] = made;
    remember(result.score);
    if (origin !== "in this browser") {
      return status.say(`Computed ${origin}.`, { more: [button("Compute it here", () => renew({ fresh: true }), { class: "xl-button xl-small" })] });
    }
    const took = made.reduce((sum, one) => sum + (one.result.seconds ?? 0), 0);
    const passes = made.reduce((sum, one) => sum + (one.result.forwards ?? 0), 0);
    status.say(`Computed in this browser in ${seconds(took)}${passes ? `, ${passes} passes through the network` : ""}.`);
  }

  function remember(score) {
    trail.add(JSON.stringify([state.a, state.b, state.model, state.change.name === "none" ? null : state.change.name]), state.change, score);
    const box = element.querySelector(".xl-trail");
    if (box) trail.draw(box, state.change);
  }

  function cancel() {
    job?.abort();
    status.say("Stopped. The maps are those of before.");
  }

  async function check() {
    job?.abort();
    const mine = (job = new AbortController());
    const model = modelOf(index, state.model);
    status.begin();
    checked.replaceChildren();
    try {
      if (model.own) throw new Error("Torch's numbers are only there for the models of this page.");
      const stored = await store.check(model.name);
      await results.load(model, loading(model));
      const [a, b] = await Promise.all([stored.a, stored.b].map(async (name) => (await pictureOf(name)).input(model.size)));
      const run = ({ method, options }) => results.run({ model: model.name, source: results.sourceOf(model), method, options, a, b }, { signal: mine.signal });
      const lines = await compare(stored, run, (k, total, method) => status.progress(`Checking ${methodOf(index, method).title}`, k, total));
      checked.replaceChildren(table(lines, stored, (name) => methodOf(index, name).title, index.torch));
      status.say(`Checked ${model.title} against torch: ${lines.every((line) => line.ok) ? "all agree" : "not all agree"}.`);
    } catch (error) {
      if (!mine.signal.aborted) status.say(error.message, { failed: true });
    }
  }

  stage.addEventListener("dragover", (event) => { event.preventDefault(); sideAt(event)?.classList.add("xl-over"); });
  stage.addEventListener("dragleave", (event) => sideAt(event)?.classList.remove("xl-over"));
  stage.addEventListener("drop", (event) => {
    event.preventDefault();
    const over = sideAt(event);
    over?.classList.remove("xl-over");
    chooser.receive(over?.nextElementSibling ? "a" : "b", fileOf(event.dataTransfer));
  });
  const sideAt = (event) => event.target.closest(".xl-side");
  stage.addEventListener("focusin", (event) => { const at = sideAt(event); if (at) side = at.nextElementSibling ? "a" : "b"; });
  document.addEventListener("paste", (event) => {
    if (event.target.closest?.("input, textarea") || !event.clipboardData?.files.length) return;
    event.preventDefault();
    chooser.receive(side, fileOf(event.clipboardData));
  });
  if (linked) addEventListener("hashchange", () => { state = read(location.hash, index); controls.refresh(); strip.refresh(state); renew(); });

  controls.refresh();
  strip.refresh(state);
  renew();
  return { set, state: () => state };
}

// The model for pictures of a kind: the one chosen if it knows such pictures, else the first that does.
function suited(index, name, kind) {
  const model = modelOf(index, name);
  return model.own || model.kind === kind ? name : index.models.find((one) => one.kind === kind)?.name ?? name;
}
