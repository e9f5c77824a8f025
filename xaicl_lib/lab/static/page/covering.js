// Places that a reader covers: squares of a grid over a picture, in the colour that is zero to the model.

export const GRID = 6; // squares a side

export const squareAt = ({ u, v }) => Math.floor(v * GRID) * GRID + Math.floor(u * GRID);

const edge = (k, size) => Math.floor((k * size) / GRID);
const sidesOf = (square, size) => {
  const [i, j] = [Math.floor(square / GRID), square % GRID];
  return { top: edge(i, size), bottom: edge(i + 1, size), left: edge(j, size), right: edge(j + 1, size) };
};

// The picture `one` with those squares covered, to be shown and to be asked of a model.
export function covered(one, squares, mean) {
  if (!squares.size) return one;
  const canvas = Object.assign(document.createElement("canvas"), { width: one.shown.width, height: one.shown.height });
  const context = canvas.getContext("2d");
  context.drawImage(one.shown, 0, 0);
  context.fillStyle = `rgb(${mean.map((v) => Math.round(255 * v)).join(" ")})`;
  for (const square of squares) {
    const { top, bottom, left, right } = sidesOf(square, canvas.width);
    context.fillRect(left, top, right - left, bottom - top);
  }
  const name = `${one.name} without ${[...squares].sort((p, q) => p - q).join(" ")}`;
  return { ...one, name, shown: canvas, input: async (size) => fill(await one.input(size), size, squares, mean) };
}

function fill(pixels, size, squares, mean) {
  const out = Float32Array.from(pixels);
  for (const square of squares) {
    const { top, bottom, left, right } = sidesOf(square, size);
    for (let c = 0; c < 3; c += 1) for (let i = top; i < bottom; i += 1) out.fill(mean[c], (c * size + i) * size + left, (c * size + i) * size + right);
  }
  return out;
}
