// Where a picture comes from: the gallery, or the reader's file, clipboard or camera.

import { button, h } from "./element.js";
import { fromCamera, fromFile } from "./pictures.js";

// `take(side, picture)` gets the reader's own picture, `pick(side, name)` a name of the gallery.
export function createChooser({ gallery, index, take, pick }) {
  let side = "b";
  let stream = null;
  const title = h("h3", { class: "xl-dialog-title", id: "xl-chooser-title" });
  const error = h("p", { class: "xl-error", role: "alert", hidden: true });
  const video = h("video", { class: "xl-video", muted: true, playsinline: true, hidden: true, "aria-label": "What your camera sees" });
  const shoot = button("Take this picture", () => use(() => fromCamera(video)), { hidden: true, class: "xl-button xl-primary" });
  const file = h("input", { type: "file", accept: "image/*", class: "xl-file", id: "xl-file", onchange: () => { if (file.files[0]) use(() => fromFile(file.files[0])); } });
  const thumbs = Object.entries(index.pictures).map(([name, { title: said }]) =>
    h("button", { type: "button", class: "xl-thumb", title: said, onclick: () => { close(); pick(side, name); } },
      h("img", { src: gallery.thumbnail(name), alt: said, width: 72, height: 72, loading: "lazy" })));
  const dialog = h(
    "dialog", { class: "xl-dialog", "aria-labelledby": title.id, onclose: stopCamera, oncancel: stopCamera },
    h("div", { class: "xl-dialog-head" }, title, button("Close", close, { class: "xl-button xl-quiet" })),
    h("p", { class: "xl-private" }, "Your picture stays in this browser; it is sent nowhere."),
    h("div", { class: "xl-own" },
      h("label", { class: "xl-button xl-primary", for: "xl-file" }, "Open a file"), file,
      button("Use the camera", startCamera),
      h("span", { class: "xl-hint" }, "or paste one, or drop it on a picture")),
    error, video, shoot,
    h("div", { class: "xl-thumbs" }, ...thumbs),
  );
  dialog.addEventListener("click", (event) => { if (event.target === dialog) close(); });

  function open(which) {
    side = which;
    title.textContent = `Picture ${side.toUpperCase()}`;
    say("");
    file.value = "";
    dialog.showModal();
  }

  function close() {
    stopCamera();
    dialog.close();
  }

  function say(message) {
    error.textContent = message;
    error.hidden = !message;
  }

  async function use(make) {
    say("");
    try {
      const made = await make();
      if (dialog.open) close();
      take(side, made);
    } catch (problem) {
      if (!dialog.open) dialog.showModal();
      say(problem.message);
    }
  }

  async function startCamera() {
    say("");
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
      video.srcObject = stream;
      await video.play();
      video.hidden = shoot.hidden = false;
      shoot.focus();
    } catch {
      say("No camera could be used: there is none, or the browser was not allowed to.");
    }
  }

  function stopCamera() {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    video.hidden = shoot.hidden = true;
  }

  // A file that was dropped or pasted.
  function receive(which, given) {
    side = which;
    title.textContent = `Picture ${side.toUpperCase()}`;
    if (given) use(() => fromFile(given));
    else use(() => { throw new Error("There is no picture in what you dropped or pasted."); });
  }

  return { dialog, open, receive, fileOf };
}

export const fileOf = (transfer) => [...(transfer?.files ?? [])].find((one) => one.type.startsWith("image/")) ?? transfer?.files?.[0] ?? null;
