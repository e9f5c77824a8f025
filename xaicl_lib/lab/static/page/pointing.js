// Where the reader points on one side of an explanation, and which of its cells that is. A pointer is {side, u, v, pinned} with u across and v
// down in shares of the picture, or null; `shown` is what a row shows (row.js).

export const OTHER = { a: "b", b: "a" };
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

export const jointOf = ({ result, matches }) => result.joint ?? matches ?? null;

// The cells of a side that a reader moves over: those that are matched, or else those of the map.
export function gridOf(shown, side) {
  const joint = jointOf(shown);
  if (joint) return side === "a" ? { rows: joint.ia, columns: joint.ja } : { rows: joint.ib, columns: joint.jb };
  const { h: rows, w: columns } = shown.result[side];
  return { rows, columns };
}

// Row and column of a pointer.
export function cellOf(shown, { side, u, v }) {
  const { rows, columns } = gridOf(shown, side);
  return [Math.floor(v * rows), Math.floor(u * columns)];
}

// A cell as a rectangle in shares of the picture.
export function outlineOf(shown, side, [i, j]) {
  const { rows, columns } = gridOf(shown, side);
  return { x: j / columns, y: i / rows, w: 1 / columns, h: 1 / rows };
}

// What is outlined where the pointer is: its cell, or for occlusion the window that is centred on it, or lies nearest.
export function pointedAt(shown, pointer) {
  const { result, method, windowShare } = shown;
  if (method.name !== "conditional_occlusion" || !windowShare) return outlineOf(shown, pointer.side, cellOf(shown, pointer));
  const { h: rows, w: columns } = result[pointer.side];
  const start = (share, count) => Math.min(1 - windowShare, Math.max(0, (Math.floor(share * count) + 0.5) / count - windowShare / 2));
  return { x: start(pointer.u, columns), y: start(pointer.v, rows), w: windowShare, h: windowShare };
}

// The place on a canvas that an event of the mouse or a finger is at.
export function placeOf(event, canvas) {
  const box = canvas.getBoundingClientRect();
  const share = (value, low, length) => Math.min(0.999, Math.max(0, (value - low) / length));
  return { u: share(event.clientX, box.left, box.width), v: share(event.clientY, box.top, box.height) };
}

// A click pins the place, and lets it go when it comes to the pinned cell again.
export function clicked(shown, pointer, here) {
  const again = pointer?.pinned && pointer.side === here.side && shown?.result && cellOf(shown, pointer).join() === cellOf(shown, here).join();
  return again ? null : { ...here, pinned: true };
}

// The pointer after a key on a side; undefined for keys that are not ours.
export function pressed(shown, pointer, side, key) {
  if (key === "Escape") return null;
  const own = pointer?.side === side;
  if (key === "Enter" || key === " ") return own ? { ...pointer, pinned: !pointer.pinned } : centre(side);
  if (!STEPS[key]) return undefined;
  return own ? moved(pointer, STEPS[key], gridOf(shown, side)) : centre(side);
}

const centre = (side) => ({ side, u: 0.5, v: 0.5, pinned: false });

function moved({ side, u, v, pinned }, [down, right], { rows, columns }) {
  const step = (share, count, by) => (Math.min(count - 1, Math.max(0, Math.floor(share * count) + by)) + 0.5) / count;
  return { side, u: step(u, columns, right), v: step(v, rows, down), pinned };
}
