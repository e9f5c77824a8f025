// From the reader's choices to what the rows show: the pictures at once, and the explanations as they come.

import { Cancelled } from "./client.js";
import { filled } from "./draw.js";
import { button } from "./element.js";
import { fromGallery, shownChanged } from "./pictures.js";
import { isChanged, windowShare } from "./results.js";
import { methodOf, modelOf } from "./state.js";
import { megabytes, seconds } from "./words.js";

const FADE = 250; // ms after which maps that are being computed anew are shown as old

// Ends what is being computed; the signal of what comes now.
export function takeOver(lab) {
  lab.job?.abort();
  lab.job = new AbortController();
  lab.status.begin();
  return lab.job.signal;
}

export function cancel(lab) {
  const { job, status, rows } = lab;
  job?.abort();
  goBack(lab);
  const coarse = rows.some((row) => row.facts()?.origin?.includes("so far"));
  status.say(coarse ? "Stopped. The maps are as fine as they came." : "Stopped. The maps are those of before.");
}

// Shows what is chosen now; with `fresh` it is computed in any case.
export async function renew(lab, { fresh = false } = {}) {
  const wanted = asks(lab);
  showRows(lab, wanted.length);
  const signal = takeOver(lab);
  const faded = setTimeout(() => fade(lab), FADE);
  try {
    const made = await explainAll(lab, wanted, signal, fresh);
    if (!signal.aborted) said(lab, made);
  } catch (error) {
    if (signal.aborted) return;
    goBack(lab);
    failed(lab, error);
  } finally {
    clearTimeout(faded);
  }
}

const fade = ({ rows }) => rows.forEach((row) => row.facts() && row.show({ fresh: false }));

function failed({ status }, error) {
  const stopped = error instanceof Cancelled;
  status.say(stopped ? "Stopped." : error.message, { failed: !stopped });
}

// One ask for each row: what is chosen, and what it is compared with.
function asks({ index, state }) {
  const first = { model: modelOf(index, state.model), method: methodOf(index, state.method), options: state.options, change: state.change };
  if (!state.other) return [first];
  const method = methodOf(index, state.other.method);
  return [first, { ...first, model: modelOf(index, state.other.model), method, options: method === first.method ? state.options : {} }];
}

function showRows({ rows, stage }, count) {
  rows.forEach((row, k) => { row.element.hidden = k >= count; });
  stage.classList.toggle("xl-two", count > 1);
}

async function explainAll(lab, wanted, signal, fresh) {
  const [a, b] = await Promise.all([pictureOf(lab, lab.state.a), pictureOf(lab, lab.state.b)]);
  if (signal.aborted) return [];
  const whole = wanted.map((ask) => ({ ...ask, a, b }));
  whole.forEach((ask, k) => showPictures(lab, k, ask));
  const made = [];
  for (const [k, ask] of whole.entries()) made.push(await explain(lab, lab.rows[k], ask, signal, fresh));
  return made;
}

// The reader's own picture of that name, or the gallery's, which is fetched once.
export function pictureOf({ own, pictures, store, index }, name) {
  if (own.has(name)) return own.get(name);
  if (!pictures.has(name)) pictures.set(name, fromGallery(store, index, name).catch((error) => { pictures.delete(name); throw error; }));
  return pictures.get(name);
}

// The pictures that an ask is about, which are there before its maps.
function showPictures({ state, captions, rows, notes }, k, ask) {
  const { a, b, change, model } = ask;
  const photos = { a: { canvas: a.shown, title: a.title }, b: { canvas: shownChanged(b, change, model.size), title: isChanged(change) ? `${b.title}, changed` : b.title } };
  for (const side of ["a", "b"]) captions[k][side].text.textContent = photos[side].title;
  rows[k].show({ photos, photosOf: ask, look: state.look });
  notes.textContent = [...new Set([...a.notes, ...b.notes])].join(" ");
  notes.hidden = !notes.textContent;
}

// Pictures are again those of the maps that stay, where others do not come.
export function goBack(lab) {
  for (const [k, row] of lab.rows.entries()) {
    if (!row.facts()) continue;
    showPictures(lab, k, row.facts().ask);
    row.show({ fresh: true });
  }
}

async function explain(lab, row, ask, signal, fresh) {
  const progress = ({ done, total, soFar }) => {
    lab.status.progress(`${ask.method.title}: ${done} of ${total}`, done, total);
    if (soFar && !signal.aborted) showSoFar(row, ask, soFar, `in this browser, so far ${done} of ${total}`);
  };
  const found = await lab.results.find(ask, { fresh, signal, progress, loading: loading(lab, ask.model) });
  if (signal.aborted) return null;
  row.show({ ...found, ...ask, ask, fresh: true, matches: null, matching: false, windowShare: windowShare(ask) });
  return found;
}

// A coarse map at once, finer as it comes.
function showSoFar(row, ask, soFar, origin) {
  const result = { ...soFar, a: filled(soFar.a), b: filled(soFar.b) };
  row.show({ result, origin, ...ask, ask, fresh: true, matches: null, matching: false, windowShare: windowShare(ask) });
}

// Tells how far a model is loaded.
export const loading = ({ status }, model) => ({ done, total }) => {
  const what = done < total ? `Loading ${model.title}: ${megabytes(done)} of ${megabytes(total)}` : `Starting ${model.title}`;
  status.progress(what, done, done < total ? total : 0);
};

function said(lab, made) {
  const [{ result, origin }] = made;
  remember(lab, result.score);
  if (origin === "in this browser") return lab.status.say(effort(made));
  const again = button("Compute it here", () => renew(lab, { fresh: true }), { class: "xl-button xl-small" });
  return lab.status.say(`Computed ${origin}.`, { more: [again] });
}

function effort(made) {
  const took = made.reduce((sum, one) => sum + (one.result.seconds ?? 0), 0);
  const passes = made.reduce((sum, one) => sum + (one.result.forwards ?? 0), 0);
  const device = made.map((one) => one.result.device).find(Boolean);
  return `Computed in this browser in ${seconds(took)}${passes ? `, ${passes} passes through the network` : ""}${device ? `, ${device}` : ""}.`;
}

function remember({ trail, element, state }, score) {
  trail.add(JSON.stringify([state.a, state.b, state.model, state.change.name === "none" ? null : state.change.name]), state.change, score);
  const box = element.querySelector(".xl-trail");
  if (box) trail.draw(box, state.change);
}
