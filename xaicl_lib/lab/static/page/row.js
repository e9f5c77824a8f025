// One explanation on the page: a sentence, both pictures under their maps, the scale, and what is under the pointer.

import { highWord, scheme } from "./colours.js";
import { hasNegative, heat, largest, legend, number, paint } from "./draw.js";
import { h, unique } from "./element.js";
import { matchesOf, strongest, usual } from "./matches.js";
import { describe, place } from "./words.js";

const PIXELS = 640; // of a canvas; the style sheet decides how large it is seen
const OTHER = { a: "b", b: "a" };
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

// `point(pointer)`: called with {side, u, v, pinned} or null when the reader points at a place.
export function createRow({ point, captions }) {
  const readout = h("p", { class: "xl-readout", "aria-live": "polite", id: unique("readout") });
  const canvases = { a: canvas("a"), b: canvas("b") };
  const parts = {
    meter: h("div", { class: "xl-meter", "aria-hidden": "true" }),
    title: h("h3", { class: "xl-row-title" }), sentence: h("p", { class: "xl-sentence" }), meaning: h("p", { class: "xl-meaning" }),
    warning: h("p", { class: "xl-warning", role: "note", hidden: true }),
    bar: h("canvas", { class: "xl-bar", width: 256, height: 12, "aria-hidden": "true" }), ends: h("div", { class: "xl-ends" }),
  };
  const figure = (side) => h("figure", { class: "xl-side" }, h("div", { class: "xl-frame" }, canvases[side]), captions[side]);
  const element = h(
    "section", { class: "xl-row" },
    parts.title,
    h("div", { class: "xl-says" }, parts.sentence, parts.meter, parts.meaning, parts.warning),
    h("div", { class: "xl-pair" }, figure("a"), figure("b")),
    h("div", { class: "xl-scale" }, h("div", { class: "xl-bar-box" }, parts.bar, parts.ends), readout),
  );
  let shown = null; // {result, method, model, photos, look, matches}
  let pointer = null;

  function canvas(side) {
    const made = h("canvas", {
      class: "xl-canvas", width: PIXELS, height: PIXELS, tabindex: "0", role: "application", "aria-describedby": readout.id,
      "aria-roledescription": "picture with a saliency map",
    });
    const at = (event) => {
      const box = made.getBoundingClientRect();
      const share = (value, low, length) => Math.min(0.999, Math.max(0, (value - low) / length));
      return { side, u: share(event.clientX, box.left, box.width), v: share(event.clientY, box.top, box.height) };
    };
    made.addEventListener("pointermove", (event) => { if (!pointer?.pinned) point({ ...at(event), pinned: false }); });
    made.addEventListener("pointerleave", () => { if (!pointer?.pinned) point(null); });
    made.addEventListener("click", (event) => {
      const here = at(event);
      const again = pointer?.pinned && pointer.side === side && sameCell(pointer, here);
      point(again ? null : { ...here, pinned: true });
    });
    made.addEventListener("keydown", (event) => onKey(event, side));
    made.addEventListener("blur", () => { if (!pointer?.pinned) point(null); });
    return made;
  }

  function onKey(event, side) {
    if (!shown?.result) return;
    const { rows, columns } = grid(side);
    if (event.key === "Escape") point(null);
    else if (event.key === "Enter" || event.key === " ") point(pointer?.side === side ? { ...pointer, pinned: !pointer.pinned } : centre(side));
    else if (STEPS[event.key]) point(pointer?.side === side ? moved(pointer, STEPS[event.key], rows, columns) : centre(side));
    else return;
    event.preventDefault();
  }

  // The cells of a side that a reader moves over: those that are matched, or else those of the map.
  function grid(side) {
    const joint = jointOf();
    if (joint) return side === "a" ? { rows: joint.ia, columns: joint.ja } : { rows: joint.ib, columns: joint.jb };
    const { h: rows, w: columns } = shown.result[side];
    return { rows, columns };
  }

  const jointOf = () => shown.result.joint ?? shown.matches ?? null;
  const cell = ({ side, u, v }) => { const { rows, columns } = grid(side); return [Math.floor(v * rows), Math.floor(u * columns)]; };
  const sameCell = (one, two) => shown?.result && cell(one).join() === cell(two).join();
  const centre = (side) => ({ side, u: 0.5, v: 0.5, pinned: false });

  function outline([i, j], side) {
    const { rows, columns } = grid(side);
    return { x: j / columns, y: i / rows, w: 1 / columns, h: 1 / rows };
  }

  function show(what) {
    shown = { ...shown, ...what };
    if (shown.result) label();
    draw();
  }

  function facts() {
    const { result, method, look } = shown;
    const colours = scheme(look.colours);
    const diverging = method.signed || hasNegative(result.a, result.b);
    return { colours, diverging, limit: largest(result.a, result.b), map: diverging ? colours.signed : colours.unsigned };
  }

  function label() {
    const { result, method, model, look, photos } = shown;
    const { colours, diverging, limit, map } = facts();
    const said = describe({ result, method, model, colours, diverging });
    parts.title.textContent = `${method.title} · ${model.title}`;
    parts.sentence.replaceChildren("These two pictures are ", h("strong", {}, said.score), said.rest);
    parts.meter.replaceChildren(...meter(result.score, model.typical));
    parts.meaning.textContent = said.meaning;
    parts.warning.textContent = said.warning;
    parts.warning.hidden = !said.warning;
    legend(parts.bar, { diverging, colours: map, opacity: look.opacity, style: look.style });
    const ends = diverging ? [-limit, 0, limit] : [0, limit];
    parts.ends.replaceChildren(...ends.map((value, k) => h("span", { class: k === ends.length - 1 ? "xl-limit" : "" }, number(value))));
    for (const side of ["a", "b"]) {
      const about = `${highWord(colours, diverging)} places: ${place(result[side])}`;
      canvases[side].setAttribute("aria-label", `Picture ${side.toUpperCase()}, ${photos[side].title}, under its map. Strongest, ${about}. Arrow keys move over its cells, Enter pins one, Escape lets go.`);
    }
  }

  function draw() {
    for (const side of ["a", "b"]) drawSide(side);
    readout.replaceChildren(...(shown.result ? spoken() : [""]));
  }

  function drawSide(side) {
    const { result, look, photos, fresh } = shown;
    if (!result) return paint(canvases[side], photos[side].canvas, null);
    const { limit, diverging, map } = facts();
    const style = { ...look, colours: map, opacity: look.opacity * (fresh ? 1 : 0.35) };
    const joint = jointOf();
    if (pointer?.side === OTHER[side] && joint) return drawMatches(side, joint, look);
    const overlay = heat(result[side], { ...style, limit, diverging });
    const outlines = pointer?.side === side ? [pointedAt(side)] : [];
    return paint(canvases[side], photos[side].canvas, overlay, { dim: look.style === "glow" ? 0.25 * look.opacity : 0, outlines });
  }

  function drawMatches(side, joint, look) {
    const slice = matchesOf(joint, pointer.side, cell(pointer));
    const diverging = hasNegative(joint);
    const colours = scheme(look.colours)[diverging ? "signed" : "unsigned"];
    const overlay = heat(slice, { limit: Math.max(largest(slice), usual(joint) / 2), diverging, colours, opacity: Math.max(0.6, look.opacity), style: "glow" });
    paint(canvases[side], shown.photos[side].canvas, overlay, { dim: 0.45, outlines: [{ ...outline(strongest(slice), side), strong: false }] });
  }

  // Where the pointer is: its cell, or for occlusion the window that was hidden there.
  function pointedAt(side) {
    const { result, method, windowShare } = shown;
    if (method.name !== "conditional_occlusion" || !windowShare) return outline(cell(pointer), side);
    const { h: rows, w: columns } = result[side];
    const start = (share, count) => (Math.floor(share * count) / Math.max(1, count - 1)) * (1 - windowShare);
    return { x: start(pointer.u, columns), y: start(pointer.v, rows), w: windowShare, h: windowShare };
  }

  function spoken() {
    const { result, matches, matchesBy } = shown;
    if (!pointer) return ["Point at a place, or tap it, to see what it goes with."];
    const map = result[pointer.side];
    const value = map.data[Math.floor(pointer.v * map.h) * map.w + Math.floor(pointer.u * map.w)];
    const name = pointer.side.toUpperCase();
    const [i, j] = cell(pointer);
    const said = `${name}, row ${i + 1}, column ${j + 1}: ${number(value)}.`;
    const joint = jointOf();
    if (!joint) return [said];
    const slice = matchesOf(joint, pointer.side, [i, j]);
    const [k, m] = strongest(slice);
    const by = result.joint || !matches ? "" : ` by ${matchesBy}`;
    return [`${said} It goes best with row ${k + 1}, column ${m + 1} of ${OTHER[pointer.side].toUpperCase()}${by}: ${number(slice.data[k * slice.w + m])}.${pointer.pinned ? " Pinned; Escape lets go." : ""}`];
  }

  return {
    element,
    show,
    canvases,
    pointAt(next) { pointer = next; if (shown) draw(); },
    facts: () => (shown?.result ? { ...shown, ...facts() } : null),
  };
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

function moved({ side, u, v, pinned }, [down, right], rows, columns) {
  const step = (share, count, by) => (Math.min(count - 1, Math.max(0, Math.floor(share * count) + by)) + 0.5) / count;
  return { side, u: step(u, columns, right), v: step(v, rows, down), pinned };
}
