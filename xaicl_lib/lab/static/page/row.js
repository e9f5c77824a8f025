// One explanation on the page: a sentence, both pictures under their maps, the scale, and what is under the pointer.

import { highWord, scheme } from "./colours.js";
import { hasNegative, heat, largest, legend, number, paint } from "./draw.js";
import { h, unique } from "./element.js";
import { matchesOf, strongest, usual } from "./matches.js";
import { OTHER, cellOf, clicked, jointOf, outlineOf, placeOf, pointedAt, pressed } from "./pointing.js";
import { describe, describeTowards, place } from "./words.js";

const PIXELS = 640; // of a canvas; the style sheet decides how large it is seen

// `point(pointer)`: called with {side, u, v, pinned} or null when the reader points at a place; `captions` of sides a and b, or of a alone.
export function createRow({ point, captions }) {
  const row = { point, sides: Object.keys(captions), parts: partsOf(), canvases: {}, shown: null, pointer: null }; // shown: {result, method, model, photos, look, matches}
  for (const side of row.sides) row.canvases[side] = canvasOf(row, side);
  return {
    element: layOut(row, captions),
    show: (what) => show(row, what),
    pointAt: (next) => { row.pointer = next; if (row.shown) draw(row); },
    unmarked: (act) => unmarked(row, act),
    facts: () => (row.shown?.result ? { ...row.shown, ...factsOf(row.shown) } : null),
  };
}

function partsOf() {
  return {
    readout: h("p", { class: "xl-readout", "aria-live": "polite", id: unique("readout") }),
    meter: h("div", { class: "xl-meter", "aria-hidden": "true" }),
    title: h("h3", { class: "xl-row-title" }), sentence: h("p", { class: "xl-sentence" }), meaning: h("p", { class: "xl-meaning" }),
    warning: h("p", { class: "xl-warning", role: "note", hidden: true }),
    bar: h("canvas", { class: "xl-bar", width: 256, height: 12, "aria-hidden": "true" }), ends: h("div", { class: "xl-ends" }),
  };
}

function layOut({ sides, parts, canvases }, captions) {
  parts.meter.hidden = sides.length < 2; // what is held against a corpus may score below zero
  const figure = (side) => h("figure", { class: "xl-side" }, h("div", { class: "xl-frame" }, canvases[side]), captions[side]);
  return h(
    "section", { class: "xl-row" },
    parts.title,
    h("div", { class: "xl-says" }, parts.sentence, parts.meter, parts.meaning, parts.warning),
    h("div", { class: `xl-pair${sides.length > 1 ? "" : " xl-single"}` }, ...sides.map(figure)),
    h("div", { class: "xl-scale" }, h("div", { class: "xl-bar-box" }, parts.bar, parts.ends), parts.readout),
  );
}

function canvasOf(row, side) {
  const canvas = h("canvas", {
    class: "xl-canvas", width: PIXELS, height: PIXELS, tabindex: "0", role: "application", "aria-describedby": row.parts.readout.id, "aria-label": `Picture ${side.toUpperCase()}`,
    "aria-roledescription": "picture with a saliency map",
  });
  const unlessPinned = (pointer) => { if (!row.pointer?.pinned) row.point(pointer); };
  const here = (event) => ({ side, ...placeOf(event, canvas), pinned: false });
  canvas.addEventListener("pointermove", (event) => unlessPinned(here(event)));
  canvas.addEventListener("pointerleave", () => unlessPinned(null));
  canvas.addEventListener("blur", () => unlessPinned(null));
  canvas.addEventListener("click", (event) => row.point(clicked(row.shown, row.pointer, here(event))));
  canvas.addEventListener("keydown", (event) => onKey(row, side, event));
  return canvas;
}

function onKey(row, side, event) {
  if (!row.shown?.result) return;
  const next = pressed(row.shown, row.pointer, side, event.key);
  if (next === undefined) return;
  row.point(next);
  event.preventDefault();
}

function show(row, what) {
  row.shown = { ...row.shown, ...what };
  if (row.shown.result) label(row);
  draw(row);
}

// How the maps are coloured: both on one scale up to `limit`.
function factsOf({ result, method, look }) {
  const colours = scheme(look.colours);
  const maps = [result.a, result.b].filter(Boolean);
  const diverging = method.signed || hasNegative(...maps);
  return { colours, diverging, limit: largest(...maps), map: diverging ? colours.signed : colours.unsigned };
}

// ---------------------------------------------------------------- in words

function label({ sides, parts, canvases, shown }) {
  const facts = factsOf(shown);
  sayWhatIsSeen(parts, shown, facts);
  drawScale(parts, shown.look, facts);
  for (const side of sides) canvases[side].setAttribute("aria-label", spokenCanvas(shown, side, facts));
}

function sayWhatIsSeen(parts, { result, method, model, corpus, foil }, { colours, diverging }) {
  const said = (corpus ? describeTowards : describe)({ result, method, model, foil, colours, diverging });
  parts.title.textContent = `${method.title} · ${model.title}`;
  parts.sentence.replaceChildren(said.begins, h("strong", {}, said.score), said.rest);
  parts.meter.replaceChildren(...meter(result.score, model.typical));
  parts.meaning.textContent = said.meaning;
  parts.warning.textContent = said.warning;
  parts.warning.hidden = !said.warning;
}

function drawScale({ bar, ends }, look, { diverging, limit, map }) {
  legend(bar, { diverging, colours: map, opacity: look.opacity, style: look.style });
  const values = diverging ? [-limit, 0, limit] : [0, limit];
  ends.replaceChildren(...values.map((value, k) => h("span", { class: k === values.length - 1 ? "xl-limit" : "" }, number(value))));
}

function spokenCanvas({ result, photos }, side, { colours, diverging }) {
  const about = `${highWord(colours, diverging)} places: ${place(result[side])}`;
  return `Picture ${side.toUpperCase()}, ${photos[side].title}, under its map. Strongest, ${about}. Arrow keys move over its cells, Enter pins one, Escape lets go.`;
}

// The score from 0 to 1, with a mark at what unrelated pictures get.
function meter(score, typical) {
  const share = (value) => `${100 * Math.min(1, Math.max(0, value))}%`;
  const fill = h("div", { class: "xl-meter-fill" });
  fill.style.width = share(score);
  if (typical === undefined) return [fill];
  const mark = h("div", { class: "xl-meter-mark" }, h("span", {}, `unrelated pictures: ${typical.toFixed(2)}`));
  mark.style.left = share(typical);
  return [fill, mark];
}

// What is under the pointer.
function spoken(shown, pointer) {
  if (!pointer) return `Point at a place, or tap it, to see ${shown.result.b ? "what it goes with" : "its value"}.`;
  const map = shown.result[pointer.side];
  const value = map.data[Math.floor(pointer.v * map.h) * map.w + Math.floor(pointer.u * map.w)];
  const [i, j] = cellOf(shown, pointer);
  return `${pointer.side.toUpperCase()}, row ${i + 1}, column ${j + 1}: ${number(value)}.${spokenMatch(shown, pointer, [i, j])}`;
}

function spokenMatch(shown, pointer, cell) {
  const joint = jointOf(shown);
  if (!joint) return "";
  const slice = matchesOf(joint, pointer.side, cell);
  const [k, m] = strongest(slice);
  const by = shown.result.joint || !shown.matches ? "" : ` by ${shown.matchesBy}`;
  const value = number(slice.data[k * slice.w + m]);
  return ` It goes best with row ${k + 1}, column ${m + 1} of ${OTHER[pointer.side].toUpperCase()}${by}: ${value}.${pointer.pinned ? " Pinned; Escape lets go." : ""}`;
}

// ---------------------------------------------------------------- in colours

function draw(row) {
  for (const side of row.sides) drawSide(row, side);
  row.parts.readout.replaceChildren(row.shown.result ? spoken(row.shown, row.pointer) : "");
}

// What `act` sees of the canvases has no mark on them, and nothing lit up by one.
function unmarked(row, act) {
  const { pointer } = row;
  row.pointer = null;
  for (const side of row.sides) drawSide(row, side);
  act(row.canvases);
  row.pointer = pointer;
  for (const side of row.sides) drawSide(row, side);
}

function drawSide({ canvases, shown, pointer }, side) {
  if (!shown.result) return paint(canvases[side], shown.photos[side].canvas, null);
  if (pointer?.side === OTHER[side] && jointOf(shown)) return drawMatches(canvases[side], shown, pointer);
  return drawMap(canvases[side], shown, side, pointer?.side === side ? [pointedAt(shown, pointer)] : []);
}

function drawMap(canvas, { result, method, look, photos, fresh }, side, outlines) {
  const { limit, diverging, map } = factsOf({ result, method, look });
  const overlay = heat(result[side], { ...look, colours: map, opacity: look.opacity * (fresh ? 1 : 0.35), limit, diverging });
  paint(canvas, photos[side].canvas, overlay, { dim: look.style === "glow" ? 0.25 * look.opacity : 0, outlines });
}

// What goes with the cell under the pointer, on the other side.
function drawMatches(canvas, shown, pointer) {
  const [joint, side, { colours, opacity }] = [jointOf(shown), OTHER[pointer.side], shown.look];
  const slice = matchesOf(joint, pointer.side, cellOf(shown, pointer));
  const diverging = hasNegative(joint);
  const limit = Math.max(largest(slice), usual(joint) / 2);
  const map = scheme(colours)[diverging ? "signed" : "unsigned"];
  const overlay = heat(slice, { limit, diverging, colours: map, opacity: Math.max(0.6, opacity), style: "glow" });
  paint(canvas, shown.photos[side].canvas, overlay, { dim: 0.45, outlines: [{ ...outlineOf(shown, side, strongest(slice)), strong: false }] });
}
