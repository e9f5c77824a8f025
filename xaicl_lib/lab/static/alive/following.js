// One point in both pictures: the one that is pointed at, or else the one that was chosen.

import { SHAPE_NAMES, SIDE, placesInPlane, placesOnCircle } from "./drawing.js";
import { hour } from "./words.js";

const REACH = 14; // units of a picture from a mark that still mean it

// draw(now, point) is told what to draw; left and right are the pictures. `told` is called where the chosen point has moved.
export function following(left, right, draw) {
  const state = { now: null, chosen: null, pointed: null, told: () => {} };
  const redraw = () => state.now && draw(state.now, state.pointed ?? state.chosen);
  const point = (next) => {
    if (next === state.pointed) return;
    state.pointed = next;
    redraw();
  };
  for (const [picture, places] of [[left, placesInPlane], [right, placesOnCircle]]) {
    picture.addEventListener("pointermove", (event) => state.now && point(nearest(places(state.now), unitsOf(picture, event))));
    picture.addEventListener("pointerleave", () => point(null));
  }
  return {
    show: (now) => { state.now = now; redraw(); state.told(whereIs(now, state.chosen)); },
    choose: (number) => { state.chosen = number ? number - 1 : null; redraw(); state.told(whereIs(state.now, state.chosen)); },
    tell: (told) => { state.told = told; },
  };
}

function whereIs({ z, labels }, point) {
  if (point === null || point >= labels.length) return "none, or point at one";
  return `${point + 1}, of the ${SHAPE_NAMES[labels[point]]}, at ${hour(z[2 * point], z[2 * point + 1])} o’clock`;
}

function unitsOf(picture, { clientX, clientY }) {
  const box = picture.getBoundingClientRect();
  return [((clientX - box.left) / box.width) * SIDE, ((clientY - box.top) / box.height) * SIDE];
}

function nearest(places, [x, y]) {
  const apart = places.map(([u, v]) => Math.hypot(u - x, v - y));
  const least = Math.min(...apart);
  return least <= REACH ? apart.indexOf(least) : null;
}
