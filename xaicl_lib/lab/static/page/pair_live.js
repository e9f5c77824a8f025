// An <xaicl-pair> come alive: what was stored at once, and what its reader asks for, computed by one engine for the whole page.

import { changeOf } from "../engine/augment.js";
import { Cancelled } from "./client.js";
import { covered, squareAt } from "./covering.js";
import { STEPS, area, curveBox, drawCurves, losing } from "./deletion.js";
import { filled } from "./draw.js";
import { button, field, fill, h, select, slider } from "./element.js";
import { loading } from "./explaining.js";
import { opened, pictureOf } from "./opened.js";
import { askable, readAsked } from "./pair_asked.js";
import { seen, shownChanged } from "./pictures.js";
import { isChanged, windowShare } from "./results.js";
import { createRow } from "./row.js";
import { setsBox } from "./sets.js";
import { LOOK } from "./state.js";
import { createStatus } from "./status.js";
import { seconds } from "./words.js";

export async function enliven(element, still) {
  try {
    style();
    return await begin(element, await opened());
  } catch (error) {
    element.replaceChildren(...still, h("p", { class: "xl-error", role: "note" }, `This pair cannot come alive: ${error.message}`));
    return { end: () => {} };
  }
}

function style() {
  const href = new URL("lab.css", import.meta.url).href;
  if ([...document.styleSheets].some((one) => one.href === href) || document.querySelector("link[data-xaicl-pair]")) return;
  document.head.append(h("link", { rel: "stylesheet", href, "data-xaicl-pair": "" }));
}

async function begin(element, page) {
  const { index, results } = page;
  const asked = readAsked(element, index);
  const live = {
    element, page, index, results, asked, sides: asked.sets ? ["a"] : ["a", "b"],
    state: { ...asked }, covers: { a: new Set(), b: new Set() }, means: new Map(), job: null, computing: asked.seen, touched: false, said: new Map(),
  };
  Object.assign(live, partsOf(live));
  await Promise.all(live.sides.map((side) => pictureOf(page, asked[side]))); // what is not there is said in place of all this
  await renew(live);
  layOut(live);
  return { end: () => live.job?.abort() };
}

// ---------------------------------------------------------------- what is on the page

function partsOf(live) {
  const models = [live.asked.model, live.asked.beside].filter(Boolean);
  const rows = models.map(() => createRow({ captions: captions(live), point: (pointer) => pointed(live, pointer) }));
  return { rows, sets: live.asked.sets && chosenSets(live), status: createStatus({ cancel: () => stop(live) }), curve: curveBox(), trail: h("p", { class: "xl-hint", role: "status", hidden: true }) };
}

const captions = ({ sides }) => Object.fromEntries(sides.map((side) => [side, h("figcaption", { class: "xl-caption" }, sides.length > 1 ? h("b", {}, side.toUpperCase()) : null, h("span", { class: "xl-caption-text" }))]));

function layOut(live) {
  const { element, asked, rows, sets, status, curve, trail } = live;
  const stage = h("div", { class: `xl-stage${rows.length > 1 ? " xl-two" : ""}` }, ...rows.map((row) => row.element));
  const keys = h("div", { class: "xl-keys" }, live.ask = button("Compute it in this browser", () => compute(live), { class: "xl-button xl-primary" }),
    asked.curve ? button("Take pixels away", () => takeAway(live)) : null,
    asked.cover ? button("Uncover all", () => { live.covers = { a: new Set(), b: new Set() }; compute(live); }) : null);
  const hint = asked.cover ? h("p", { class: "xl-hint" }, "Tap a place, or go there with the arrow keys and press Enter twice, to cover it. Once more uncovers it.") : null;
  element.replaceChildren(chooser(live), sets?.element ?? "", hint ?? "", stage, trail, keys, status.element, curve.element);
  element.classList.add("xl-lab", "xl-inline", "xl-ready");
}

// All pictures of the kind that the model knows, but the one that is explained.
function chosenSets(live) {
  const { asked: { a, model, sets }, index: { pictures, models }, page: { store } } = live;
  const size = Math.max(...models.filter((one) => !one.own).map((one) => one.size)); // the finest that there is of every picture
  const named = [...sets.corpus, ...sets.foil];
  const choices = Object.keys(pictures).filter((name) => name !== a.name && (pictures[name].kind === model.kind || named.includes(name)));
  return setsBox(choices.map((name) => ({ name, title: pictures[name].title, thumbnail: store.seen(name, size) })), sets, () => changed(live));
}

// What was computed of another choice fades until the reader asks anew.
function changed({ job, rows, status }) {
  job?.abort();
  for (const row of rows) if (row.facts()) row.show({ fresh: false });
  status.say("The choice has changed; it takes the button.");
}

function chooser(live) {
  const { asked, index, state } = live;
  const able = (model) => askable(index, model, asked.sets);
  const models = index.models.filter((one) => (!asked.sets || one.kind === asked.model.kind) && (asked.choose.includes("method") || able(one).includes(asked.method)));
  const method = select(named(able(state.model)), state.method.name, (name) => set(live, { method: index.methods.find((one) => one.name === name), options: {} }));
  const choose = (name) => {
    const model = models.find((one) => one.name === name);
    const known = able(model).includes(state.method);
    set(live, known ? { model } : { model, method: able(model)[0], options: {} });
    fill(method, named(able(model)), state.method.name);
  };
  const fields = {
    model: () => field("Model", select(named(models), state.model.name, choose)),
    method: () => field("Method", method),
    change: () => strength(live),
  };
  return h("div", { class: "xl-top" }, ...asked.choose.map((one) => fields[one]()));
}

const named = (all) => all.map(({ name, title }) => [name, title]);

function strength(live) {
  const { name, strength: value } = live.state.change;
  if (name === "none") throw new Error('choose="change" needs an attribute change, such as change="blur 1"');
  const { title, low, high, step, unit } = changeOf(name);
  const said = h("output", { class: "xl-value" }, `${value} ${unit}`);
  let later = null;
  const oninput = (next) => {
    said.textContent = `${next} ${unit}`;
    clearTimeout(later);
    later = setTimeout(() => set(live, { change: { name, strength: next } }), 120);
  };
  return field(`${title} of B`, slider({ low, high, step, value, oninput }), said);
}

function set(live, what) {
  Object.assign(live.state, what);
  live.touched = true; // from now on, what is not stored is computed
  return renew(live);
}

// ---------------------------------------------------------------- what is computed

// Shows what is chosen, and tells whether that is there now: stored results until the reader asks for more, then computed ones.
async function renew(live) {
  live.job?.abort();
  const { signal } = live.job = new AbortController();
  live.status.begin();
  const late = giveUp(live);
  try {
    const shown = [];
    for (const [k, model] of [live.state.model, live.asked.beside].filter(Boolean).entries()) shown.push(await renewRow(live, live.rows[k], model, signal));
    if (!signal.aborted) told(live, shown.map((one) => one?.result), shown[0]);
    return !signal.aborted;
  } catch (error) {
    if (!signal.aborted || late.passed) failed(live, error, late);
  } finally {
    clearTimeout(late.timer);
  }
  return false;
}

// Stops all that computes once the time is over: a worker that hangs hears nothing.
function giveUp(live) {
  const late = { passed: false, timer: null };
  late.timer = setTimeout(() => { late.passed = true; live.results.stop(); }, 1000 * live.asked.seconds);
  return late;
}

function stop(live) {
  live.job?.abort();
  failed(live, new Cancelled(), { passed: false });
}

// The maps that stay are shown on their own pictures.
function failed({ status, asked, rows }, error, { passed }) {
  for (const row of rows) if (row.facts()) showPhotos(row, row.facts());
  if (passed) return status.say(`This took more than ${seconds(asked.seconds)} and was given up.`, { failed: true });
  const stopped = error instanceof Cancelled || error.name === "AbortError";
  return status.say(stopped ? "Stopped. What was there before is still shown." : error.message, { failed: !stopped });
}

async function renewRow(live, row, model, signal) {
  const { state, covers, page } = live;
  const [a, b] = await Promise.all(live.sides.map((side) => pictureOf(page, state[side])));
  const mean = covers.a.size + covers.b.size ? (await meanOf(live, model)) : null;
  const ask = { model, method: state.method, options: state.options, change: state.change, a: mean ? covered(a, covers.a, mean) : a, b: mean ? covered(b, covers.b, mean) : b, ...(live.sets && (await members(live))) };
  if (signal.aborted) return null;
  showPhotos(row, ask);
  if (live.computing && live.sets && !ask.corpus.length) throw new Error("The corpus is empty: choose at least one picture to be like.");
  const stored = live.computing || mean ? null : await live.results.stored(ask);
  const found = stored ?? (live.computing || mean || live.touched ? await find(live, row, ask, signal) : null);
  if (found && !signal.aborted) showResult(row, ask, found);
  return found && { ...found, ask };
}

// The pictures of corpus and foil, as they are chosen now.
async function members({ sets, page }) {
  const pictures = Object.entries(sets.read()).map(async ([set, names]) => [set, await Promise.all(names.map((name) => pictureOf(page, { name })))]);
  return Object.fromEntries(await Promise.all(pictures));
}

async function meanOf({ results, status, means }, model) {
  if (!means.has(model.name)) means.set(model.name, (await results.load(model, loading({ status }, model))).card.mean);
  return means.get(model.name);
}

function showPhotos(row, { a, b, model, change }) {
  const photos = { a: { canvas: a.shown, title: a.title } };
  if (b) photos.b = { canvas: shownChanged(b, change, model.size), title: isChanged(change) ? `${b.title}, changed` : b.title };
  row.show({ photos, look: LOOK });
  row.element.querySelectorAll(".xl-caption-text").forEach((text, k) => { text.textContent = photos["ab"[k]].title; });
}

function find(live, row, ask, signal) {
  const progress = ({ done, total, soFar }) => {
    live.status.progress(`${ask.method.title}: ${done} of ${total}`, done, total);
    if (soFar && !signal.aborted) showResult(row, ask, { result: { ...soFar, a: filled(soFar.a), b: soFar.b && filled(soFar.b) } });
  };
  return live.results.find(ask, { live: true, signal, progress, loading: loading(live, ask.model) });
}

const showResult = (row, ask, { result }) => row.show({ result, ...ask, look: LOOK, fresh: true, windowShare: windowShare(ask) });

// `results` of the element: what it shows, for scripts of the page and for tests.
function told(live, results, first) {
  const { element, status } = live;
  element.results = results;
  remember(live, results[0]?.score);
  if (!first) return status.say("Nothing is stored of this; it takes the button.");
  element.dispatchEvent(new CustomEvent("xaicl-pair", { bubbles: true, detail: results }));
  return status.say(first.origin === "in this browser" ? `Computed in this browser in ${seconds(results.reduce((sum, one) => sum + (one.seconds ?? 0), 0))}.` : `Computed ${first.origin}.`);
}

// The scores of the strengths, or of the covers, that were tried.
function remember({ trail, said, state, covers, asked }, score) {
  if (score === undefined || !(asked.cover || asked.choose.includes("change"))) return;
  said.set(asked.cover ? `${covers.a.size + covers.b.size} covered` : String(state.change.strength), score);
  trail.hidden = said.size < 2;
  trail.textContent = `Scores so far: ${[...said].slice(-8).map(([what, value]) => `${what}: ${value.toFixed(2).replace("-", "−")}`).join(" · ")}`;
}

function compute(live) {
  live.computing = true;
  return renew(live);
}

// ---------------------------------------------------------------- what the reader does with it

function pointed(live, pointer) {
  if (live.asked.cover && pointer?.pinned) return cover(live, pointer);
  for (const row of live.rows) row.pointAt(pointer);
  return undefined;
}

function cover(live, { side, u, v }) {
  for (const row of live.rows) row.pointAt({ side, u, v, pinned: false });
  const [squares, square] = [live.covers[side], squareAt({ u, v })];
  if (!squares.delete(square)) squares.add(square);
  return compute(live);
}

// Deletion, drawn while it goes: one side loses pixels while the other stays whole, then the sides change roles.
async function takeAway(live) {
  if (!(await compute(live))) return;
  const [row] = live.rows;
  const facts = row.facts();
  const { signal } = live.job;
  live.status.begin();
  live.curve.element.hidden = false;
  try {
    const scores = await deletion(live, row, facts, signal);
    live.element.curves = scores;
    const both = (area(scores.a) + area(scores.b)) / 2;
    live.curve.said.textContent = `Solid: A goes; dashed: B goes. Area under the score, averaged over both (the metric CD): ${both.toFixed(3)}. Lower is better, if a map of random numbers has more.`;
    live.curve.box.setAttribute("aria-label", `The score while pixels go. A: ${spoken(scores.a)}. B: ${spoken(scores.b)}.`);
    live.status.say("All pixels have gone, and are back.");
    showPhotos(row, facts);
  } catch (error) {
    if (!signal.aborted) failed(live, error, { passed: false });
  }
}

const spoken = (scores) => [0, STEPS / 4, STEPS / 2, STEPS].map((k) => `${((100 * k) / STEPS).toFixed(0)} % gone ${scores[k].toFixed(2)}`).join(", ");

// Of the pictures that the maps are of, changed and covered as they were.
async function deletion(live, row, { result, model, a, b, change }, signal) {
  const { size } = model;
  const mean = await meanOf(live, model);
  const whole = { a: await a.input(size), b: await seen(b, size, change) };
  const scoreOf = async (images) => (await live.results.run({ model: model.name, source: live.results.sourceOf(model), method: "deep_similarity", options: {}, ...images }, { signal })).score;
  const curves = { a: [], b: [] };
  for (const side of ["a", "b"]) {
    for await (const { k, pixels, score } of losing({ result, whole, side, size, mean }, scoreOf)) {
      signal.throwIfAborted();
      curves[side].push(score);
      live.status.progress(`${side.toUpperCase()} loses its pixels`, k, STEPS);
      drawCurves(live.curve.box, curves);
      showLoss(row, side, pixels, size);
    }
  }
  return curves;
}

function showLoss(row, side, pixels, size) {
  const canvas = Object.assign(document.createElement("canvas"), { width: size, height: size });
  const image = new ImageData(size, size);
  const n = size * size;
  for (let k = 0; k < 4 * n; k += 1) image.data[k] = k % 4 === 3 ? 255 : Math.round(255 * pixels[(k % 4) * n + Math.floor(k / 4)]);
  canvas.getContext("2d").putImageData(image, 0, 0);
  const { photos } = row.facts();
  row.show({ photos: { ...photos, [side]: { ...photos[side], canvas } } });
}
