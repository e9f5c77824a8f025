// Search by a scene, a picture of the reader's, or words: what comes back and why, computed in the browser. `mount(element)` builds it.

import { wordsOf } from "../engine/texts.js";
import { fileOf } from "./chooser.js";
import { connect, sentence } from "./client.js";
import { button, field, h, select } from "./element.js";
import { loading } from "./explaining.js";
import { fromFile } from "./pictures.js";
import { RESULTS, borderShare, noted, openGallery, ranked, read, together, write } from "./search_data.js";
import { contrastBox, galleryBox, resultList, whyBox } from "./search_view.js";
import { createStatus } from "./status.js";
import { seconds } from "./words.js";

const EXAMPLES = ["a pink heart on sky", "a striped ring", "a green star left of a teal ring"];
const KEPT = 60; // explanations

export async function mount(element, { base = new URL("../", import.meta.url) } = {}) {
  try {
    return build({ element, base, held: await openGallery(new URL("search/", base)) });
  } catch (error) {
    element.append(h("p", { class: "xl-error", role: "alert" }, `The search could not be opened: ${error.message.replace(/\.$/, "")}.`));
    return null;
  }
}

function build({ element, base, held }) {
  const page = { element, base, held, engine: connect(new URL("engine/worker.js", base)), known: new Map(), state: read(location.hash, held.index), job: null };
  Object.assign(page, partsOf(page));
  element.replaceChildren(page.top, page.gallery.element, page.notes, page.status.element, page.list.element, page.why);
  element.classList.add("xl-lab", "xl-ready");
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", (event) => { event.preventDefault(); take(page, fileOf(event.dataTransfer)); });
  document.addEventListener("paste", (event) => { if (event.clipboardData?.files.length) take(page, fileOf(event.clipboardData)); });
  addEventListener("hashchange", () => { if (location.hash.includes("=")) { page.decoding = null; page.state = read(location.hash, held.index); renew(page); } }); // others are places in the page
  return renew(page);
}

// ---------------------------------------------------------------- what the reader asks with

function partsOf(page) {
  const { held, state } = page;
  const { models } = held.index;
  const reader = models.find((one) => one.text);
  const ask = (text, without = "") => set(page, question(page, reader, text.trim(), without.trim()));
  const entry = (id, placeholder) => h("input", { type: "search", class: "xl-text", autocomplete: "off", maxlength: 200, placeholder, id });
  const [words, minus] = [entry("xl-words", EXAMPLES[0]), entry("xl-minus", "nothing")];
  const form = h("form", { class: "xl-address", onsubmit: (event) => { event.preventDefault(); ask(words.value, minus.value); } }, field("Search for words", words), field("Without", minus), h("button", { type: "submit", class: "xl-button xl-primary" }, "Search"));
  const examples = h("div", { class: "xl-own" }, h("span", { class: "xl-hint" }, "such as"), ...EXAMPLES.map((text) => button(text, () => ask(text), { class: "xl-button xl-small" })));
  const more = h("details", { class: "xl-more" }, h("summary", {}, `The ${reader.text.words.length} words that it knows`), h("p", { class: "xl-hint" }, reader.text.words.join(", ")));
  const file = h("input", { type: "file", accept: "image/*", class: "xl-file", id: "xl-file", onchange: () => { take(page, file.files[0]); file.value = ""; } });
  const own = h("div", { class: "xl-own" }, h("label", { class: "xl-button", for: "xl-file" }, "Search with a picture of yours"), file, h("span", { class: "xl-hint" }, "or drop or paste one; it stays in this browser. Or choose a scene:"));
  const model = select(models.map(({ name, title }) => [name, title]), state.model, (name) => choose(page, models.find((one) => one.name === name)));
  return {
    words, minus, model, more,
    top: h("div", { class: "xl-search" }, field("Model", model), form, examples, more, own),
    notes: h("p", { class: "xl-hint", hidden: true }),
    status: createStatus({ cancel: () => { page.job?.abort(); page.status.say("Stopped."); } }),
    list: resultList(held, (result) => set(page, { result, why: true })),
    gallery: galleryBox(held, (scene) => {
      const without = minus.value.trim(); // written and not asked for yet
      set(page, { scene, words: "", own: null, result: 0, why: true, minus: without, ...(without && { model: reader.name }) });
    }),
    why: h("div", { class: "xl-whys" }),
  };
}

// Words, and words to be without; where there are none to be like, the picture stays that is asked with.
function question({ state }, reader, words, minus) {
  const stays = !words && (state.scene !== null || state.own);
  const model = words || minus ? reader.name : state.model;
  return { ...(!stays && { words, scene: null, own: null }), minus, result: 0, why: true, model };
}

// A model that reads no words is asked with the first scene instead.
function choose(page, { name, text }) {
  const { words, minus } = text ? page.state : { words: "", minus: "" };
  return set(page, { model: name, minus, ...(page.state.words && !words && { words, scene: page.held.index.start }) });
}

const modelOf = ({ held, state }) => held.index.models.find(({ name }) => name === state.model);

// Every choice comes through here.
function set(page, what) {
  page.decoding = null;
  page.state = { ...page.state, ...what };
  history.replaceState(null, "", `#${write(page.state)}`);
  return renew(page);
}

async function take(page, file) {
  page.decoding = file;
  let own;
  try {
    if (!file) throw new Error("There is no picture in what you gave.");
    own = await fromFile(file);
  } catch (error) {
    if (page.decoding === file) page.status.say(sentence(error.message), { failed: true });
    return;
  }
  if (page.decoding === file) await set(page, { own, words: "", scene: null, result: 0, why: true }); // else something newer is asked
}

// ---------------------------------------------------------------- what it finds

async function renew(page) {
  const { state, status, list, why } = page;
  page.job?.abort();
  const { signal } = page.job = new AbortController();
  status.begin();
  refresh(page);
  const began = performance.now();
  why.classList.add("xl-stale");
  try {
    const [asked, found] = await search(page, signal);
    if (signal.aborted) return;
    list.show(asked, found, state.result);
    page.element.found = { results: found.slice(0, RESULTS), next: found[RESULTS] };
    if (state.why) await explain(page, asked, found, signal);
    else why.replaceChildren();
    if (!signal.aborted) status.say(state.why ? `Computed in this browser in ${seconds((performance.now() - began) / 1000)}.` : "Found in this browser. Choose a result to see why it came back.");
  } catch (error) {
    if (page.job.signal !== signal) return; // another search has begun
    why.replaceChildren();
    status.say(signal.aborted ? "Stopped." : sentence(error.message), { failed: !signal.aborted });
  } finally {
    if (page.job.signal === signal) why.classList.remove("xl-stale");
  }
}

// What is asked with, and all scenes, the most alike first; where there is no answer, none is shown.
async function search(page, signal) {
  try {
    const asked = await queryOf(page, signal);
    const found = ranked(await page.held.vectors(modelOf(page)), together(asked.parts), page.state.scene);
    const { size } = modelOf(page);
    const shown = await Promise.all(found.slice(0, RESULTS).map(({ k }) => page.held.picture(k).input(size)));
    noted(await asked.picture?.input(size), shown).forEach((note, rank) => { found[rank].note = note; });
    return [asked, found];
  } catch (error) {
    if (!signal.aborted) page.list.hide();
    throw error;
  }
}

function refresh({ words, minus, model, gallery, notes, state, more, held }) {
  words.value = state.words;
  minus.value = state.minus;
  model.value = state.model;
  gallery.refresh(state.scene);
  notes.textContent = state.own?.notes.join(" ") ?? "";
  notes.hidden = !notes.textContent;
  more.hidden = !modelOf({ held, state }).text;
}

// {parts, picture, words, minus, key}: the embeddings of what is asked with, each with its sign, and that itself.
async function queryOf(page, signal) {
  const { state } = page;
  const { text } = modelOf(page);
  const [words, minus] = [state.words, state.minus].map((one) => one && wordsOf(one, text).join(" ")); // what cannot be read is said before anything is loaded
  const read = async (one, sign) => ({ z: await compute(page, { type: "embed", text: one }, signal), sign });
  const own = await pictureOf(page, signal);
  const parts = [own ? { z: own.z, sign: 1 } : await read(words || wordsOf("", text), 1)];
  if (minus) parts.push(await read(minus, -1));
  return { parts, picture: own?.picture, words, minus, key: `${own?.key ?? `words ${words}`} minus ${minus}` };
}

// The picture that is asked with and its embedding, if there is one.
async function pictureOf(page, signal) {
  const { state, held } = page;
  const model = modelOf(page);
  if (state.scene !== null) return { z: (await held.vectors(model))[state.scene], picture: held.picture(state.scene), key: `scene ${state.scene}` };
  if (!state.own) return null;
  return { z: await compute(page, { type: "embed", image: await state.own.input(model.size) }, signal), picture: state.own, key: state.own.name };
}

// The answer of the engine, which is started and given the model the first time.
async function compute(page, request, signal) {
  const model = modelOf(page);
  const source = { base: new URL(`models/${model.name}/`, page.base).href };
  const { card } = await page.engine.load(model.name, source, { progress: loading(page, model) });
  if (card.weights.sha256 !== model.weights) throw new Error("The gallery was embedded by another version of this model. Load the page anew.");
  signal.throwIfAborted();
  return page.engine.run({ model: model.name, ...request }, { signal, progress: ({ done, total }) => page.status.progress(`Explaining: ${done} of ${total}`, done, total) });
}

async function explain(page, asked, found, signal) {
  const { state, held, element, why } = page;
  const [chosen, next] = [found[state.result], found[RESULTS]];
  const made = [await explained(page, asked, chosen.k, signal), await explained(page, asked, next.k, signal)];
  if (signal.aborted) return;
  const contrast = against(...made);
  Object.assign(element.found, { chosen: made[0], contrast });
  const [result, other] = [chosen, next].map(({ k }) => held.picture(k));
  why.replaceChildren(whyBox(asked, result, made[0], state.result), contrastBox(asked, result, other, contrast));
}

// Why a scene is as similar as it is: `map` on it, `query` on the picture asked with, `joint` and `words`; remembered.
async function explained(page, asked, k, signal) {
  const key = `${page.state.model} ${k} ${asked.key}`;
  if (!page.known.has(key)) {
    const { size } = modelOf(page);
    const image = await page.held.picture(k).input(size);
    const worded = async (text, sign = 1) => ofWords(await compute(page, { type: "words", text, image }, signal), sign);
    const one = asked.picture
      ? ofPicture(await compute(page, { method: "integrated_jacobians", options: {}, a: await asked.picture.input(size), b: image }, signal))
      : await worded(asked.words);
    const made = asked.minus ? less(one, await worded(asked.minus, -1)) : one;
    if (page.known.size >= KEPT) page.known.clear();
    page.known.set(key, { ...made, border: borderShare(made.map) });
  }
  return page.known.get(key);
}

const ofPicture = ({ a, b, ...rest }) => ({ ...rest, query: a, map: b });

// Of words that count against a result, with the sign -1, what they add is what they take away.
function ofWords({ joint, score, residual, ...rest }, sign) {
  const data = joint.data.map((value) => sign * value);
  const map = new Float32Array(joint.i * joint.j);
  data.forEach((value, at) => { map[at % map.length] += value; });
  return { ...rest, score: sign * score, residual: sign * residual, joint: { ...joint, data }, map: { data: map, h: joint.i, w: joint.j } };
}

// What speaks for a result by what is asked for, and what by words to be without: `own` and `minus` of the sum.
function less(own, minus) {
  const map = { ...own.map, data: own.map.data.map((value, k) => value + minus.map.data[k]) };
  return { ...own, own, minus, map, score: own.score + minus.score, residual: own.residual + minus.residual };
}

// One result less another: by the query's places or words, and what neither explain.
function against(one, other) {
  const difference = one.score - other.score;
  return {
    difference, residual: difference - (total(one.map) - total(other.map)),
    query: one.query && { ...one.query, data: one.query.data.map((v, k) => v - other.query.data[k]) },
    words: byWords(one, other), minus: one.minus && byWords(one.minus, other.minus),
  };
}

const total = ({ data }) => data.reduce((sum, v) => sum + v, 0);

function byWords({ words, joint, map }, other) {
  const cells = map.data.length;
  const sum = (one, w) => total({ data: one.joint.data.subarray(w * cells, (w + 1) * cells) });
  return words?.map((word, w) => [word, sum({ joint }, w) - sum(other, w)]);
}
