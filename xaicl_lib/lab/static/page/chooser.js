// Where a picture comes from: the gallery, or the reader's file, clipboard or camera.

import { button, h } from "./element.js";
import { fromCamera, fromFile } from "./pictures.js";

// `take(side, picture)` gets the reader's own picture, `pick(side, name)` a name of the gallery; `chosen(side)` is told of every choice.
export function createChooser({ gallery, index, take, pick }) {
  const chooser = { take, pick, side: "b", turns: { a: 0, b: 0 }, stream: null, ...partsOf() };
  chooser.shoot = button("Take this picture", () => use(chooser, () => fromCamera(chooser.video)), { hidden: true, class: "xl-button xl-primary" });
  chooser.file.addEventListener("change", () => { if (chooser.file.files[0]) use(chooser, () => fromFile(chooser.file.files[0])); });
  chooser.dialog = dialogOf(chooser, thumbs(chooser, gallery, index));
  chooser.dialog.addEventListener("click", (event) => { if (event.target === chooser.dialog) close(chooser); });
  const chosen = (side) => { chooser.turns[side] += 1; };
  return { dialog: chooser.dialog, open: (side) => open(chooser, side), receive: (side, given) => receive(chooser, side, given), chosen };
}

function partsOf() {
  return {
    title: h("h3", { class: "xl-dialog-title", id: "xl-chooser-title" }),
    error: h("p", { class: "xl-error", role: "alert", hidden: true }),
    video: h("video", { class: "xl-video", muted: true, playsinline: true, hidden: true, "aria-label": "What your camera sees" }),
    file: h("input", { type: "file", accept: "image/*", class: "xl-file", id: "xl-file" }),
  };
}

function thumbs(chooser, gallery, index) {
  const picked = (name) => { close(chooser); chooser.pick(chooser.side, name); };
  const thumb = ([name, { title }]) =>
    h("button", { type: "button", class: "xl-thumb", title, onclick: () => picked(name) },
      h("img", { src: gallery.thumbnail(name), alt: title, width: 72, height: 72, loading: "lazy" }));
  return h("div", { class: "xl-thumbs" }, ...Object.entries(index.pictures).map(thumb));
}

function dialogOf(chooser, thumbnails) {
  const { title, error, video, shoot, file } = chooser;
  const leave = () => stopCamera(chooser);
  return h(
    "dialog", { class: "xl-dialog", "aria-labelledby": title.id, onclose: leave, oncancel: leave },
    h("div", { class: "xl-dialog-head" }, title, button("Close", () => close(chooser), { class: "xl-button xl-quiet" })),
    h("p", { class: "xl-private" }, "Your picture stays in this browser; it is sent nowhere."),
    h("div", { class: "xl-own" },
      h("label", { class: "xl-button xl-primary", for: "xl-file" }, "Open a file"), file,
      button("Use the camera", () => startCamera(chooser)),
      h("span", { class: "xl-hint" }, "or paste one, or drop it on a picture")),
    error, video, shoot, thumbnails,
  );
}

function choose(chooser, side) {
  chooser.side = side;
  chooser.title.textContent = `Picture ${side.toUpperCase()}`;
}

function open(chooser, side) {
  choose(chooser, side);
  say(chooser, "");
  chooser.file.value = "";
  chooser.dialog.showModal();
}

function close(chooser) {
  stopCamera(chooser);
  chooser.dialog.close();
}

function say({ error }, message) {
  error.textContent = message;
  error.hidden = !message;
}

// While a picture is decoded the reader may go on to the other side, or choose this one anew: what comes late then is dropped.
async function use(chooser, make) {
  const { side } = chooser;
  const turn = (chooser.turns[side] += 1);
  say(chooser, "");
  const [made, problem] = await Promise.resolve().then(make).then((picture) => [picture], (error) => [null, error]);
  if (turn !== chooser.turns[side]) return;
  if (problem) return refuse(chooser, side, problem.message);
  if (chooser.dialog.open && chooser.side === side) close(chooser);
  chooser.take(side, made);
}

function refuse(chooser, side, message) {
  if (!chooser.dialog.open) {
    choose(chooser, side);
    chooser.dialog.showModal();
  }
  say(chooser, message);
}

// ---------------------------------------------------------------- the camera

async function startCamera(chooser) {
  say(chooser, "");
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
    if (!chooser.dialog.open || chooser.stream) return end(stream); // closed meanwhile, or pressed twice
    chooser.stream = stream;
    await film(chooser);
  } catch {
    if (chooser.video.hidden) stopCamera(chooser); // one that cannot be shown is not kept on
    say(chooser, "No camera could be used: there is none, or the browser was not allowed to.");
  }
}

async function film(chooser) {
  const { video, shoot, stream } = chooser;
  video.srcObject = stream;
  await video.play();
  if (chooser.stream !== stream) return; // let go meanwhile
  video.hidden = shoot.hidden = false;
  shoot.focus();
}

const end = (stream) => stream?.getTracks().forEach((track) => track.stop());

function stopCamera(chooser) {
  end(chooser.stream);
  chooser.stream = null;
  chooser.video.hidden = chooser.shoot.hidden = true;
}

// ---------------------------------------------------------------- files

// A file that was dropped or pasted.
function receive(chooser, side, given) {
  choose(chooser, side);
  if (given) use(chooser, () => fromFile(given));
  else use(chooser, () => { throw new Error("There is no picture in what you dropped or pasted."); });
}

export const fileOf = (transfer) => [...(transfer?.files ?? [])].find((one) => one.type.startsWith("image/")) ?? transfer?.files?.[0] ?? null;
