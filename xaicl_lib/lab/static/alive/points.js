// Points in the plane, in classes that the training never sees, and what an augmentation makes of them.

import { circular, normals } from "./arithmetic.js";

const EACH = 48; // points of a class

const clouds = ([g, h], k) => [(k % 2 ? 0.5 : -0.5) + 0.13 * g, (k < 2 ? 0.5 : -0.5) + 0.13 * h];

function rings([g, h], k, draw) {
  const radius = 0.25 + 0.33 * k + 0.03 * g;
  return circular(draw()).map((v) => radius * v);
}

export const SETS = {
  clouds: { title: "four clouds", classes: 4, place: clouds },
  rings: { title: "three rings", classes: 3, place: rings },
};

export const MOST = EACH * Math.max(...Object.values(SETS).map(({ classes }) => classes)); // points of a set

// -> {x: (n, 2) flat, labels}
export function pointsOf(set, draw) {
  const { classes, place } = SETS[set];
  const labels = Array.from({ length: classes * EACH }, (_, i) => i % classes);
  return { x: Float64Array.from(labels.flatMap((k) => place(normals(2, draw), k, draw))), labels };
}

function turned([x, y], turns) {
  const [cos, sin] = circular(turns);
  return [x * cos - y * sin, x * sin + y * cos];
}

// What a strength of 1 is: a standard deviation of half the width of the plane, or of half a turn.
export const WAYS = {
  all: { title: "nudge it in any direction", move: ([x, y], [g, h], s) => [x + s * g, y + s * h] },
  sideways: { title: "push it left or right", move: ([x, y], [g], s) => [x + s * g, y] },
  turn: { title: "turn it about the middle", move: (point, [g], s) => turned(point, (s * g) / 2) },
};

// A view of each of those points.
export function viewsOf(x, chosen, { way, strength }, draw) {
  const noise = normals(2 * chosen.length, draw);
  return Float64Array.from(chosen.flatMap((i, k) => WAYS[way].move([x[2 * i], x[2 * i + 1]], [noise[2 * k], noise[2 * k + 1]], strength)));
}
