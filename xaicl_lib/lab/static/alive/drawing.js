// The pictures as SVG, in words alone: the page shows them as they change, and a script writes the still one with the same functions.

export const SIDE = 320; // units of a picture
const PLANE = 1.25; // from the middle of the plane to its edge
const RADIUS = 118; // of the circle
const ROUNDS = 5;
const BAND = 9; // embeddings are drawn this much in or out of the circle at most, so that they hide each other less

const n1 = (v) => String(Math.round(10 * v) / 10);
const at = (x, y) => `M${n1(x)} ${n1(y)}`;
const path = (name, d) => `<path class="${name}" d="${d}"/>`;
const text = (name, x, y, what) => `<text class="${name}" x="${n1(x)}" y="${n1(y)}">${what}</text>`;

// A class has a shape beside its colour: disc, square, triangle, diamond.
const SHAPES = [
  (r) => `m${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  (r) => `m${n1(-0.9 * r)} ${n1(-0.9 * r)}h${n1(1.8 * r)}v${n1(1.8 * r)}h${n1(-1.8 * r)}z`,
  (r) => `m0 ${n1(-1.2 * r)}l${n1(1.15 * r)} ${n1(2 * r)}h${n1(-2.3 * r)}z`,
  (r) => `m0 ${n1(-1.3 * r)}l${n1(1.2 * r)} ${n1(1.3 * r)}l${n1(-1.2 * r)} ${n1(1.3 * r)}l${n1(-1.2 * r)} ${n1(-1.3 * r)}z`,
];
export const SHAPE_NAMES = ["discs", "squares", "triangles", "diamonds"];

const inPlane = (x, y) => [SIDE / 2 + (x / PLANE) * (SIDE / 2), SIDE / 2 - (y / PLANE) * (SIDE / 2)];
const onCircle = (x, y, radius) => [SIDE / 2 + radius * x, SIDE / 2 - radius * y];
const away = (i) => BAND * (((i * 0.61803398875) % 1) * 2 - 1);

// In rounds, so that no class lies on top of all others.
function marks(places, labels, size) {
  const classes = [...new Set(labels)].sort();
  const mark = ([x, y], k) => `<path d="${at(x, y)}${SHAPES[k](size)}"/>`;
  const group = (k, round) => places.map((place, i) => (labels[i] === k && i % ROUNDS === round ? mark(place, k) : "")).join("");
  return Array.from({ length: ROUNDS }, (_, round) => classes.map((k) => `<g class="xl-mark xl-class-${k}">${group(k, round)}</g>`).join("")).join("");
}

const pairsOf = (flat) => Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);

// Places of the plane on a grid, for which the encoder is asked.
export const GRID = (() => {
  const steps = Array.from({ length: 13 }, (_, k) => ((k - 6) / 6) * 0.94 * PLANE);
  return Float64Array.from(steps.flatMap((y) => steps.flatMap((x) => [x, y])));
})();

const heads = pairsOf(GRID).map(([x, y]) => at(...inPlane(x, y)));
const dots = heads.map((head) => `${head}h0`).join(""); // where needles begin

// A needle for each of them, in the direction in which it is sent.
const needles = (sent) => heads.map((head, k) => `${head}l${n1(10 * sent[2 * k])} ${n1(-10 * sent[2 * k + 1])}`).join("");

// From a point to each of its views.
const spray = ([x, y], views) => views.map(([u, v]) => at(...inPlane(x, y)) + at(...inPlane(u, v)).replace("M", "L")).join("");

export const placesInPlane = ({ x }) => pairsOf(x).map(([u, v]) => inPlane(u, v));
export const placesOnCircle = ({ z }) => pairsOf(z).map(([u, v], i) => onCircle(u, v, RADIUS + away(i)));
const followed = (place) => (place ? `<circle class="xl-followed" cx="${n1(place[0])}" cy="${n1(place[1])}" r="10"/>` : "");

// now: {x, labels: the points; sent: embeddings of GRID; sprays: [{point, views}]}; `point` is the number of one to be marked
export function plane(now, size, point = null) {
  const places = placesInPlane(now);
  return `<rect class="xl-ground" width="${SIDE}" height="${SIDE}" rx="10"/>${path("xl-needles", needles(now.sent))}${path("xl-dots", dots)}`
    + marks(places, now.labels, size)
    + path("xl-spray", now.sprays.map((one) => spray(one.point, one.views)).join(""))
    + followed(places[point]);
}

// now: {z, labels: embeddings of the points}
export function circle(now, size, point = null) {
  const places = placesOnCircle(now);
  return `<circle class="xl-ring" cx="${SIDE / 2}" cy="${SIDE / 2}" r="${RADIUS}"/>`
    + marks(places, now.labels, size) + followed(places[point]);
}

const WIDE = { width: 240, height: 96, left: 38, right: 8, top: 10, bottom: 16 };
export const CHART = `0 0 ${WIDE.width} ${WIDE.height}`;

// A curve over the steps, whose beginning has more room than its end: points [[step, value]]; low and high are the ends of the scale,
// mark a value with a name to compare with.
export function chart({ points, last, low, high, mark }) {
  const { width, height, left, right, top, bottom } = WIDE;
  const x = (step) => left + (width - left - right) * Math.sqrt(step / last);
  const y = (value) => top + ((height - top - bottom) * (high - Math.min(high, Math.max(low, value)))) / (high - low);
  const line = points.map(([step, value], k) => at(x(step), y(value)).replace("M", k ? "L" : "M")).join("");
  const scale = text("xl-tick xl-end", left - 5, y(high) + 4, short(high)) + text("xl-tick xl-end", left - 5, y(low) + 4, short(low));
  const end = points.length ? `<circle class="xl-now" cx="${n1(x(points.at(-1)[0]))}" cy="${n1(y(points.at(-1)[1]))}" r="3"/>` : "";
  const compare = mark ? path("xl-compare", `${at(left, y(mark.value))}H${width - right}`) + text("xl-tick xl-end", width - right, y(mark.value) + mark.below, mark.says) : "";
  return path("xl-axis", `M${left} ${top}V${height - bottom}H${width - right}`) + scale + compare + path("xl-curve", line || "M0 0") + end
    + text("xl-tick", left, height - 3, "0") + text("xl-tick xl-middle", x(last / 6), height - 3, last / 6) + text("xl-tick xl-end", width - right, height - 3, `${last} steps`);
}

const short = (v) => String(Math.round(100 * v) / 100).replace("-", "−");
