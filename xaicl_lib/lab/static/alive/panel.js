// The elements of the page: two pictures, three curves, and what the reader sets.

import { button, field, h, select, slider, unique } from "../page/element.js";
import { CHART, SIDE, chart, circle, plane } from "./drawing.js";
import { following } from "./following.js";
import { EVEN } from "./losses.js";
import { MOST, SETS, WAYS } from "./points.js";
import { number, whereabouts } from "./words.js";

const NARROW = 480; // pixels: below, marks are drawn larger within smaller pictures

const svg = (box, props) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ viewBox: box, role: "img", ...props })) made.setAttribute(name, value);
  return made;
};

export function pictures() {
  const [left, right] = [0, 0].map(() => svg(`0 0 ${SIDE} ${SIDE}`, { class: "xl-picture" }));
  const figure = (picture, says) => h("figure", { class: "xl-view" }, picture, h("figcaption", {}, says));
  const element = h("div", { class: "xl-views" }, figure(left, "The plane. Needles: where the encoder sends a place. Fans: views of one point in each class."), figure(right, "The circle. Embeddings of the points, drawn a little in or out so as not to hide each other."));
  const { show, ...follow } = following(left, right, (now, point) => {
    const size = element.clientWidth < NARROW ? 6 : 4;
    left.innerHTML = plane(now, size, point);
    right.innerHTML = circle(now, size, point);
  });
  const describe = (now) => {
    left.setAttribute("aria-label", `${now.labels.length} points of ${new Set(now.labels).size} classes in the plane, with views of one point of each`);
    right.setAttribute("aria-label", `Embeddings on the circle: ${whereabouts(now)}`);
  };
  return { element, draw: show, describe, follow };
}

const CURVES = [
  { key: "loss", title: "Loss", digits: 2, says: "lower: views find each other" },
  { key: "alignment", title: "Alignment", digits: 3, says: "0: both views in one place" },
  { key: "uniformity", title: "Uniformity", digits: 2, says: "lower: more evenly spread" },
];

export function curves() {
  const made = CURVES.map(({ key, title, digits, says }) => {
    const [picture, value] = [svg(CHART, { class: "xl-chart" }), h("span", { class: "xl-number" })];
    const head = h("figcaption", {}, h("b", {}, title), " ", value, h("span", { class: "xl-hint" }, says));
    return { key, title, digits, picture, value, element: h("figure", { class: "xl-course" }, head, picture) };
  });
  const draw = (history, settings, last) => {
    for (const { key, title, digits, picture, value } of made) {
      const points = history.map((one) => [one.steps, one[key]]);
      const now = number(points.at(-1)[1], digits);
      value.textContent = now;
      picture.innerHTML = chart({ points, last, ...scaleOf(key, points.map(([, v]) => v), settings) });
      picture.setAttribute("aria-label", `${title} from ${number(points[0][1], digits)} at step ${points[0][0]} to ${now} at step ${points.at(-1)[0]}`);
    }
  };
  return { element: h("div", { class: "xl-courses" }, ...made.map(({ element }) => element)), draw };
}

// Ends of the scale, and what to compare with.
function scaleOf(key, values, { batch, negatives }) {
  if (key === "alignment") return { low: 0, high: Math.max(0.25, Math.ceil(4 * Math.max(...values)) / 4) };
  if (key === "uniformity") return { low: -2, high: 0, mark: { value: EVEN, says: "even", below: 11 } };
  const alike = negatives ? Math.log(2 * batch - 1) : null; // the loss if all embeddings are one
  const all = negatives ? [...values, alike] : values;
  const mark = negatives ? { value: alike, says: "all alike", below: -4 } : null;
  return { low: Math.floor(Math.min(...all) - 0.01), high: Math.ceil(Math.max(...all) + 0.01), mark };
}

// What the reader sets; `changed` is told the name and value of each. Which point to follow is no setting of the run.
export function controls(changed, follow) {
  const put = {};
  const ranged = (name, title, { low, high, step, read = (v) => v, write = (v) => v, say = String }) => {
    const said = h("span", { class: "xl-value" });
    const show = (value) => { said.textContent = say(value); made.setAttribute("aria-valuetext", say(value)); };
    const made = slider({ low, high, step, oninput: (v) => { show(read(v)); changed(name, read(v)); } });
    put[name] = (value) => { made.value = write(value); show(value); };
    return field(title, made, said);
  };
  const chosen = (name, title, from) => {
    const made = select(Object.entries(from).map(([key, one]) => [key, one.title]), "", (value) => changed(name, value));
    put[name] = (value) => { made.value = value; };
    return field(title, made);
  };
  const element = h("div", { class: "xl-settings" },
    ranged("temperature", "Temperature T", { low: -1.7, high: 1.3, step: 0.05, read: (v) => Number((10 ** v).toPrecision(2)), write: Math.log10 }),
    ranged("batch", "Batch size n", { low: 4, high: 96, step: 4, say: (v) => `${v} points, ${2 * v} views` }),
    ranged("strength", "Strength of the augmentation", { low: 0, high: 1, step: 0.02 }),
    chosen("way", "What makes a view of a point", WAYS), chosen("set", "Points", SETS), seedField(put, changed), negativesBox(put, changed), followSlider(follow));
  return { element, put: (settings) => { for (const [name, value] of Object.entries(settings)) put[name](value); } };
}

function seedField(put, changed) {
  const read = (text) => (/^\d+$/.test(text.trim()) ? Number(text) : text);
  const made = h("input", { type: "text", inputmode: "numeric", class: "xl-text", autocomplete: "off", onchange: () => changed("seed", read(made.value)) });
  put.seed = (value) => { made.value = value; };
  return field("Seed: points and first weights", made);
}

function negativesBox(put, changed) {
  const made = h("input", { type: "checkbox", class: "xl-check", id: unique("negatives"), onchange: () => changed("negatives", made.checked) });
  put.negatives = (value) => { made.checked = value; };
  return h("div", { class: "xl-field xl-flag" }, made, h("label", { for: made.id }, "Negatives: other points push away"));
}

function followSlider({ choose, tell }) {
  const said = h("span", { class: "xl-value" });
  const made = slider({ low: 0, high: MOST, step: 1, value: 0, oninput: choose });
  tell((says) => {
    said.textContent = says;
    made.setAttribute("aria-valuetext", says);
  });
  return field("Follow a point", made, said);
}

export function keys({ toggle, again }) {
  const main = button("Start", toggle, { class: "xl-button xl-primary" });
  const restart = button("Start again", again);
  const count = h("span", { class: "xl-count" });
  const said = h("p", { class: "xl-said", role: "status" });
  return { element: h("div", { class: "xl-command" }, h("div", { class: "xl-buttons" }, main, restart, count), said), main, count, said };
}
