// How the similarity went as the reader changed picture B: a dot for each strength that was tried.

import { changeOf } from "../engine/augment.js";
import { svg } from "./element.js";

const [WIDTH, HEIGHT, EDGE] = [240, 64, 8];

export function createTrail() {
  let key = null;
  let points = new Map();

  function add(about, { name, strength }, score) {
    if (about !== key) [key, points] = [about, new Map()];
    points.set(name === "none" ? null : strength, score);
  }

  function draw(box, { name, strength }) {
    const { low, high, neutral } = changeOf(name);
    const known = [...points].map(([at, score]) => [at ?? neutral, score]).sort(([p], [q]) => p - q);
    const now = known.find(([at]) => at === strength)?.[1];
    const before = known.find(([at]) => at === neutral)?.[1];
    if (now === undefined) return;
    const x = (at) => EDGE + ((at - low) / (high - low)) * (WIDTH - 2 * EDGE);
    const y = (score) => HEIGHT - EDGE - Math.max(0, score) * (HEIGHT - 2 * EDGE);
    const line = known.map(([at, score]) => `${x(at)},${y(score)}`).join(" ");
    const dots = known.map(([at, score]) => svg("circle", { cx: x(at), cy: y(score), r: at === strength ? 4.5 : 2, class: at === strength ? "xl-now" : "xl-then" }));
    const ground = svg("line", { x1: EDGE, x2: WIDTH - EDGE, y1: y(0), y2: y(0), class: "xl-ground" });
    const drawn = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "xl-curve", "aria-hidden": "true" }, ground, svg("polyline", { points: line }), ...dots);
    const said = document.createElement("p");
    said.textContent = before === undefined || strength === neutral ? `Similarity ${now.toFixed(2)}.` : `Similarity ${now.toFixed(2)}; ${before.toFixed(2)} unchanged.`;
    box.replaceChildren(drawn, said);
  }

  return { add, draw };
}
