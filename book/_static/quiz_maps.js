// The pictures that questions show: photos of the lab's gallery, alone or under a map that is stored there.

const LAB = new URL("lab/", import.meta.url);

// The stored explanations of a pair, and what draws them.
export async function maps({ a, b, model }) {
  const [{ gallery, unpack }, draw, { scheme }] = await Promise.all(["page/gallery.js", "page/draw.js", "page/colours.js"].map((one) => import(new URL(one, LAB))));
  const store = gallery(new URL("gallery/", LAB));
  const index = await store.index();
  const stored = await store.results(index, a, b, model);
  if (!stored) throw new Error("nothing is stored of this pair");
  return { of: (method) => unpack(stored[method]), photo: (name) => photo(store.shown(name)), signed: (name) => index.methods.find((one) => one.name === name)?.signed, title: (name) => index.pictures[name].title, draw, scheme };
}

async function photo(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

export function paintMap(canvas, image, result, side, { draw, scheme, signed }, method, marks = []) {
  const diverging = signed(method) || draw.hasNegative(result.a, result.b);
  const limit = draw.largest(result.a, result.b);
  const colours = scheme("warm")[diverging ? "signed" : "unsigned"];
  draw.paint(canvas, image, draw.heat(result[side], { limit, diverging, colours, opacity: 0.8, style: "glow" }), { dim: 0.2 });
  marks.forEach((mark) => cross(canvas, mark));
}

export function cross(canvas, { u, v, colour }) {
  const context = canvas.getContext("2d");
  const [x, y, r] = [u * canvas.width, v * canvas.height, canvas.width / 28];
  for (const [style, width] of [["#000", 7], [colour, 3]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(x - r, y); context.lineTo(x + r, y); context.moveTo(x, y - r); context.lineTo(x, y + r);
    context.stroke();
  }
}
