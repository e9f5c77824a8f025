// Pictures: of the gallery, and the reader's own, which are decoded here and stay in the browser.

import { change, changeOf } from "../engine/augment.js";
import { inspect } from "../engine/headers.js";
import { toModel } from "../engine/images.js";

export const SHOWN = 448; // pixels a side of a picture for the eye
const MAX_BYTES = 100e6;
const MAX_PIXELS = 64e6; // as the library has it
const MIN_SIDE = 8;
const NOTES = {
  animated: "It moves; its first frame is taken.",
  clear: "Its transparent parts are laid on white.",
  large: "It is so large that the browser makes it smaller first, which the library does not: scores may differ a little.",
  inks: "It holds inks with a profile, which Chromium turns into other colours than the library does. Save it as sRGB to compare.",
};
const WORKING_PIXELS = 4096 ** 2; // what every browser's canvas holds; a larger middle is first made smaller by the browser

// A picture that can be shown and that a model can see: {name, title, shown: canvas, input(size): promise of Float32Array}.
function picture(name, title, source, input, notes = []) {
  const inputs = new Map();
  const remembered = (size) => {
    if (!inputs.has(size)) inputs.set(size, input(size));
    return inputs.get(size);
  };
  return { name, title, notes, shown: square(source), input: remembered };
}

export async function fromGallery(gallery, index, name) {
  const sizes = new Set(index.models.filter((model) => !model.own).map((model) => model.size));
  const source = await image(gallery.shown(name));
  const input = async (size) => {
    const exact = sizes.has(size);
    return toModel(pixelsOf(exact ? await image(gallery.seen(name, size)) : source), size);
  };
  return picture(name, index.pictures[name].title, source, input);
}

// What a canvas holds as a picture, such as one of several on a sheet.
export const fromCanvas = (canvas, name, title, notes = []) => picture(name, title, canvas, async (size) => toModel(pixelsOf(canvas), size), notes);

let owned = 0;

// A file of the reader's as a picture; throws an error with a text for the reader.
export async function fromFile(file) {
  if (file.size > MAX_BYTES) throw new Error(`This file has ${Math.round(file.size / 1e6)} MB. Please take one of at most ${MAX_BYTES / 1e6} MB.`);
  const found = inspect(new Uint8Array(await file.arrayBuffer())); // all of it: phones write more than 4 MB before a frame
  if (!found && !/^image\/(avif|heic|heif|jxl)$/.test(file.type)) throw new Error("This file is not a picture that can be read here. JPEG, PNG, WebP, GIF and BMP can.");
  if (found) checkSize(found);
  let bitmap;
  try {
    // Without premultiplication, for else the browser rounds colours by their transparency before it converts them to sRGB.
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none" });
  } catch {
    throw new Error("This picture cannot be decoded; the file may be damaged or cut off.");
  }
  checkSize(bitmap);
  return own(bitmap, file.name || "your picture", Object.keys(NOTES).filter((fact) => found?.[fact]).map((fact) => NOTES[fact]));
}

export const fromCamera = (video) => own(video, "from your camera", [], video.videoWidth, video.videoHeight);

function own(source, title, notes, width = source.width, height = source.height) {
  const side = Math.min(width, height);
  const [left, top] = [width, height].map((length) => Math.max(0, Math.floor((length - side) / 2 - side / 32))); // the filter looks beyond the square
  const part = [left, top, width - 2 * left, height - 2 * top];
  const scale = Math.min(1, Math.sqrt(WORKING_PIXELS / (part[2] * part[3])));
  const canvas = drawn(source, Math.floor(part[2] * scale), Math.floor(part[3] * scale), part);
  const clear = hasTransparency(canvas);
  onWhite(canvas);
  source.close?.();
  const said = [...notes, ...(clear ? [NOTES.clear] : []), ...(scale < 1 ? [NOTES.large] : [])];
  owned += 1;
  return fromCanvas(canvas, `own-${owned}`, title, said);
}

function checkSize({ width, height }) {
  if (width * height > MAX_PIXELS) throw new Error(`This picture has ${Math.round((width * height) / 1e6)} megapixels. Please take one of at most ${MAX_PIXELS / 1e6}.`);
  if (Math.min(width, height) < MIN_SIDE) throw new Error(`This picture has ${width} × ${height} pixels. Please take one of at least ${MIN_SIDE} × ${MIN_SIDE}.`);
}

async function image(url) {
  const made = new Image();
  made.src = url;
  await made.decode();
  return made;
}

function drawn(source, width, height, part = [0, 0, ...sides(source)]) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(source, ...part, 0, 0, width, height);
  return canvas;
}

function hasTransparency(canvas) {
  const small = drawn(canvas, Math.min(canvas.width, 256), Math.min(canvas.height, 256));
  const { data } = small.getContext("2d").getImageData(0, 0, small.width, small.height);
  return data.some((value, k) => k % 4 === 3 && value < 250);
}

function onWhite(canvas) {
  const context = canvas.getContext("2d");
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
}

const sides = (source) => [source.naturalWidth ?? source.width, source.naturalHeight ?? source.height];

function pixelsOf(source) {
  const [width, height] = sides(source);
  const canvas = source.getContext ? source : drawn(source, width, height);
  return canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, width, height);
}

// The middle square for the eye.
function square(source) {
  const [width, height] = sides(source);
  const side = Math.min(width, height);
  const canvas = Object.assign(document.createElement("canvas"), { width: SHOWN, height: SHOWN });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(source, (width - side) / 2, (height - side) / 2, side, side, 0, 0, SHOWN, SHOWN);
  return canvas;
}

// What the model sees of a picture after a change.
export async function seen(one, size, how) {
  return change(await one.input(size), size, how);
}

// The changed picture for the eye; a blurred one is drawn from fewer pixels, which nobody sees.
export function shownChanged(one, how, size) {
  if (how.name === "none" || how.strength === changeOf(how.name).neutral) return one.shown;
  const side = how.name === "blur" && how.strength >= 1 ? SHOWN / 2 : SHOWN;
  const canvas = drawn(one.shown, side, side);
  const context = canvas.getContext("2d");
  context.putImageData(toImageData(change(toPlanes(context.getImageData(0, 0, side, side)), side, how, size), side), 0, 0);
  return canvas;
}

function toPlanes({ data, width, height }) {
  const n = width * height;
  return Float32Array.from({ length: 3 * n }, (_, k) => data[4 * (k % n) + Math.floor(k / n)] / 255);
}

function toImageData(planes, side) {
  const n = side * side;
  const image = new ImageData(side, side);
  for (let k = 0; k < n; k += 1) {
    for (let c = 0; c < 3; c += 1) image.data[4 * k + c] = Math.round(255 * planes[c * n + k]);
    image.data[4 * k + 3] = 255;
  }
  return image;
}

// Whether two pictures hold the same pixels, to the model.
export const same = (a, b) => a.length === b.length && a.every((value, k) => value === b[k]);
