// What the search page shows: scenes to choose from, what came back, why, and why not the next one. Red speaks for, blue against.

import { scheme } from "./colours.js";
import { heat, largest, legend, number, paint } from "./draw.js";
import { button, h, svg } from "./element.js";
import { linksOf } from "./matches.js";
import { RESULTS } from "./search_data.js";
import { LOOK } from "./state.js";

const GAP = 0.12; // between two pictures, in widths of one
const LINES = 5;
const LINE_COLOURS = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442"]; // safe for colour-blind readers, on dimmed pictures
const LOOKS = { diverging: true, colours: scheme(LOOK.colours).signed, opacity: LOOK.opacity, style: "glow" };
const STEPS = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: (across) => -across, ArrowDown: (across) => across };

export const signed = (value, digits = 3) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
const plain = (value, digits = 3) => value.toFixed(digits).replace("-", "−");

// A scene of the sheet as the background of an element.
function dress(element, { index: { sheet, titles }, url }, k) {
  const rows = Math.ceil(titles.length / sheet.columns);
  const share = (at, count) => `${(100 * at) / Math.max(1, count - 1)}%`;
  Object.assign(element.style, {
    backgroundImage: `url("${url}")`, backgroundSize: `${100 * sheet.columns}% ${100 * rows}%`,
    backgroundPosition: `${share(k % sheet.columns, sheet.columns)} ${share(Math.floor(k / sheet.columns), rows)}`,
  });
  return element;
}

// All scenes, one stop of the Tab key; arrow keys move among them.
export function galleryBox(held, pick) {
  const tiles = held.index.titles.map((title, k) => dress(h("button", { type: "button", class: "xl-tile", title, "aria-label": title, tabindex: "-1", onclick: () => pick(k) }), held, k));
  const element = h("div", { class: "xl-tiles", role: "group", "aria-label": `${tiles.length} scenes to search with; arrow keys move, Enter searches` }, ...tiles);
  const stop = (at) => tiles.forEach((tile, k) => tile.setAttribute("tabindex", k === at ? "0" : "-1"));
  element.addEventListener("keydown", (event) => {
    const at = tiles.indexOf(event.target);
    const across = tiles.filter((tile) => tile.offsetTop === tiles[0].offsetTop).length;
    const next = at + (STEPS[event.key]?.(across) ?? 0);
    if (at < 0 || next === at || !tiles[next]) return;
    event.preventDefault();
    stop(next);
    tiles[next].focus();
  });
  const refresh = (chosen) => {
    tiles.forEach((tile, k) => tile.setAttribute("aria-pressed", String(k === chosen)));
    stop(chosen ?? 0);
    const top = tiles[chosen]?.offsetTop ?? element.scrollTop;
    if (top < element.scrollTop || top > element.scrollTop + element.clientHeight / 2) element.scrollTop = top - 8;
  };
  return { element, refresh };
}

// What was asked with, what came back, and what would have been next.
export function resultList(held, pick) {
  const asked = h("div", { class: "xl-asked" });
  const buttons = Array.from({ length: RESULTS }, (_, rank) => h("button", { type: "button", class: "xl-found", onclick: () => pick(rank) }));
  const next = h("div", { class: "xl-found xl-next" });
  const element = h("div", { class: "xl-results", hidden: true }, asked, h("ol", { class: "xl-found-list" }, ...buttons.map((one) => h("li", {}, one)), h("li", {}, next)));
  const fill = (place, { k, score, note }, title) => place.replaceChildren(dress(h("span", { class: "xl-tile", role: "img", "aria-label": held.index.titles[k] }), held, k), h("span", { class: "xl-rank" }, title, " ", h("b", {}, plain(score))), ...(note ? [h("span", { class: "xl-note" }, note)] : []));
  function show({ picture, words, minus }, found, chosen) {
    element.hidden = false;
    asked.replaceChildren(picture ? pictureOf(picture, `Asked with: ${picture.title}`) : h("div", { class: "xl-quote" }, h("q", {}, words)), h("span", { class: "xl-rank" }, "the query"), ...(minus ? [h("span", { class: "xl-note" }, "without ", h("q", {}, minus))] : []));
    buttons.forEach((one, rank) => { fill(one, found[rank], `${rank + 1}.`); one.setAttribute("aria-pressed", String(rank === chosen)); });
    fill(next, found[RESULTS], "next:");
  }
  return { element, show, hide: () => { element.hidden = true; } };
}

function pictureOf({ shown }, label) {
  const canvas = h("canvas", { width: shown.width, height: shown.height, role: "img", "aria-label": label });
  paint(canvas, shown, null);
  return canvas;
}

function mapped({ shown }, map, limit, label) {
  const canvas = h("canvas", { width: shown.width, height: shown.height, role: "img", "aria-label": label });
  paint(canvas, shown, heat(map, { ...LOOKS, limit }), { dim: 0.25 });
  return canvas;
}

function scale(limit) {
  const bar = h("canvas", { class: "xl-bar", width: 256, height: 12, "aria-hidden": "true" });
  legend(bar, LOOKS);
  return h("div", { class: "xl-bar-box" }, bar, h("div", { class: "xl-ends" }, ...[-limit, 0, limit].map((value) => h("span", {}, number(value)))));
}

const heading = (text) => h("h2", { class: "xl-why-title" }, text);
const text = (...parts) => h("p", {}, ...parts);

// ---------------------------------------------------------------- why

// `one`: {score, map, query, joint, words, residual, border} of a result, the sum of its parts `own` and `minus` if there are two; `asked`:
// {picture} or {words}, and {minus}; `rank` counted from 0.
export function whyBox(asked, result, one, rank) {
  const warning = one.border >= 2 / 3 ? h("p", { class: "xl-warning", role: "note" }, `${Math.round(100 * one.border)} % of what speaks for it lies at its border. Is it the picture, or what is around it?`) : null;
  return h("section", { class: "xl-why" }, heading(`Why result ${rank + 1}?`), warning, ...(one.minus ? [sum(one)] : []), ...likeness(asked, result, one.own ?? one), ...(one.minus ? worded(result, one.minus, taken(asked, one.minus)) : []));
}

const likeness = ({ picture }, result, one) => (picture ? linked(picture, result, one) : worded(result, one, `It is ${plain(one.score)} similar to the words: words together with places bring ${plain(one.score - one.residual)}, all else ${plain(one.residual)}. Press a word to see where it is.`));
const sum = ({ own, minus, score }) => text(`Its score is ${plain(score)}: ${plain(own.score)} for what it should be like, ${signed(minus.score)} for what it should be without.`);
const taken = ({ minus }, { score, residual }) => `Without “${minus}”: places together with these words bring ${signed(score - residual)}, all else ${signed(residual)}; blue is where the words are, for that counts against it.`;

// Both pictures under their maps, with lines between the cells that go together most.
function linked(query, result, { query: own, map, joint, score, residual }) {
  const links = linksOf(joint, LINES);
  const limit = largest(own, map);
  const cell = ([row, column]) => `row ${row + 1}, column ${column + 1}`;
  const said = links.map(({ from, to, value }) => `${cell(from)} with ${cell(to)}, ${number(value)}`).join("; ");
  const lines = svg("svg", { viewBox: `0 0 ${2 + GAP} 1`, class: "xl-links", role: "img", "aria-label": `Lines between the places of the query and of the result that go together most: ${said}` }, ...links.flatMap((link, k) => drawn(link, joint, LINE_COLOURS[k % LINE_COLOURS.length])));
  return [
    text(`They are ${plain(score)} similar: places of the one together with places of the other bring ${plain(score - residual)}, all else ${plain(residual)}. The lines are the ${links.length} strongest of these links, each place used once.`),
    h("div", { class: "xl-both" }, mapped(query, own, limit, `The query, ${query.title}, under its map`), mapped(result, map, limit, `The result, ${result.title}, under its map`), lines),
    scale(limit),
  ];
}

function drawn({ from, to }, { ia, ja, ib, jb }, colour) {
  const boxes = [[from, ia, ja, 0], [to, ib, jb, 1 + GAP]].map(([[i, j], rows, columns, left]) => ({ x: left + j / columns, y: i / rows, width: 1 / columns, height: 1 / rows }));
  const [p, q] = boxes.map(({ x, y, width, height }) => [x + width / 2, y + height / 2]);
  const line = (style) => svg("line", { x1: p[0], y1: p[1], x2: q[0], y2: q[1], ...style });
  return [line({ stroke: "#000", "stroke-width": 0.018, opacity: 0.6 }), line({ stroke: colour, "stroke-width": 0.01 }), ...boxes.map((box) => svg("rect", { ...box, fill: "none", stroke: colour, "stroke-width": 0.012 }))];
}

// Which word, where? A button for each word, and its map on the result; all together first.
function worded(result, { words, joint, map }, says) {
  const cells = joint.i * joint.j;
  const maps = [map, ...words.map((_, w) => ({ data: joint.data.subarray(w * cells, (w + 1) * cells), h: joint.i, w: joint.j }))];
  const total = ({ data }) => data.reduce((sum, v) => sum + v, 0);
  const limit = largest(...maps);
  const place = h("div", { class: "xl-one" });
  const buttons = maps.map((one, k) => button(`${k ? words[k - 1] : "all words"} ${signed(total(one))}`, () => choose(k), { class: "xl-button xl-small" }));
  function choose(k) {
    buttons.forEach((one, at) => one.setAttribute("aria-pressed", String(at === k)));
    place.replaceChildren(mapped(result, maps[k], limit, `The result, ${result.title}; where ${k ? `“${words[k - 1]}”` : "the words"} adds to the similarity`));
  }
  choose(0);
  return [
    text(says),
    h("div", { class: "xl-chips", role: "group", "aria-label": "Words, and what each adds" }, ...buttons),
    place, scale(limit),
  ];
}

// ---------------------------------------------------------------- why not

// The score of a result minus that of the next one, taken apart: on the query's places, or by its words.
export function contrastBox(asked, one, next, contrast) {
  const parts = asked.picture ? onQuery(asked.picture, contrast) : byWords(contrast.words);
  const says = asked.picture ? "On the query, red places speak for the result, blue ones for the next." : "What each word adds to the result, less what it adds to the next:";
  return h("section", { class: "xl-why" }, heading("Why not the next one?"),
    text(`It lies ${plain(contrast.difference)} before the next one (${next.title}): places bring ${signed(contrast.difference - contrast.residual)}, all else ${signed(contrast.residual)}. `, says),
    h("div", { class: "xl-against" }, ...parts, h("figure", {}, pictureOf(next, `The next one: ${next.title}`), h("figcaption", {}, "the next one"))), asked.picture ? scale(largest(contrast.query)) : null,
    ...(contrast.minus ? [text(`What each word of “${asked.minus}”, which it should be without, does to the result, less what it does to the next:`), ...byWords(contrast.minus)] : []));
}

const onQuery = (query, contrast) => [h("figure", {}, mapped(query, contrast.query, largest(contrast.query), `The query, ${query.title}: what speaks for the result or for the next one`), h("figcaption", {}, "the query"))];

function byWords(words) {
  const most = Math.max(...words.map(([, value]) => Math.abs(value)), 1e-9);
  const bar = (value) => { const made = h("span", { class: `xl-share${value < 0 ? " xl-less" : ""}` }); made.style.width = `${(100 * Math.abs(value)) / most}%`; return made; };
  return [h("table", { class: "xl-words" }, h("tbody", {}, ...words.map(([word, value]) => h("tr", {}, h("th", { scope: "row" }, word), h("td", {}, signed(value)), h("td", { "aria-hidden": "true" }, bar(value))))))];
}
