// The reader's own model: the files of a bundle that `xaicl_lib.lab.export` wrote, or the address of one.

import { button, field, h } from "./element.js";

const EXPORT = `from xaicl_lib import PairModel
from xaicl_lib.lab.export import export

export(PairModel(backbone, head, size=96), "my_model")`;

export function createModelDialog({ add }) {
  const error = h("p", { class: "xl-error", role: "alert", hidden: true });
  const files = h("input", { type: "file", multiple: true, class: "xl-file", id: "xl-model-files", onchange: () => useFiles([...files.files]) });
  const folder = h("input", { type: "file", webkitdirectory: true, class: "xl-file", id: "xl-model-folder", onchange: () => useFiles([...folder.files]) });
  const address = h("input", { type: "text", inputmode: "url", class: "xl-text", placeholder: "https://…/my_model/", autocomplete: "off", required: true });
  const form = h("form", { class: "xl-address", onsubmit: (event) => { event.preventDefault(); useAddress(address.value); } }, field("Address of a bundle", address), h("button", { type: "submit", class: "xl-button" }, "Open"));
  const dialog = h(
    "dialog", { class: "xl-dialog", "aria-labelledby": "xl-model-title" },
    h("div", { class: "xl-dialog-head" }, h("h3", { class: "xl-dialog-title", id: "xl-model-title" }, "Your own model"), button("Close", () => dialog.close(), { class: "xl-button xl-quiet" })),
    h("p", {}, "In Python, export it once; the folder that is written opens here. It stays in this browser."),
    h("pre", { class: "xl-code" }, EXPORT),
    h("div", { class: "xl-own" }, h("label", { class: "xl-button xl-primary", for: "xl-model-folder" }, "Open the folder"), folder, h("label", { class: "xl-button", for: "xl-model-files" }, "Open its files"), files, h("span", { class: "xl-hint" }, "or drop them here")),
    form, error,
  );
  dialog.addEventListener("dragover", (event) => event.preventDefault());
  dialog.addEventListener("drop", async (event) => { event.preventDefault(); useFiles(await dropped(event.dataTransfer)); });

  function say(message) {
    error.textContent = message;
    error.hidden = !message;
  }

  async function attempt(make) {
    say("");
    try {
      await make();
      dialog.close();
    } catch (problem) {
      say(problem.message);
    }
  }

  const useFiles = (list) => attempt(async () => {
    const named = Object.fromEntries(list.map((file) => [file.name, file]));
    if (!named["model.json"]) throw new Error("There is no model.json among these files. Open all files of the folder that the export wrote.");
    await add(await readCard(await named["model.json"].text()), { files: list.filter((file) => /^[\w.]+\.(json|onnx|bin)$/.test(file.name)) });
  });

  const useAddress = (text) => attempt(async () => {
    let base;
    try {
      base = new URL(text.replace(/model\.json$/, "").replace(/\/*$/, "/"), document.baseURI).href;
    } catch {
      throw new Error("This is no address.");
    }
    const answer = await fetch(new URL("model.json", base)).catch(() => null);
    if (!answer?.ok) throw new Error("No model.json could be read there. Is the address right, and does its host allow other pages to read it (CORS)?");
    await add(await readCard(await answer.text()), { base, elsewhere: true });
  });

  return { dialog, open: () => { say(""); dialog.showModal(); } };
}

async function readCard(text) {
  let card = null;
  try {
    card = JSON.parse(text);
  } catch { /* said below */ }
  if (card?.kind !== "xaicl model" || !Number.isInteger(card.size) || typeof card.name !== "string") throw new Error("This model.json is not that of an exported model.");
  return card;
}

// Files of what was dropped, those in a folder included.
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const read = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));
  const list = (entry) => new Promise((resolve, reject) => entry.createReader().readEntries(resolve, reject));
  const nested = await Promise.all(entries.map(async (entry) => (entry.isDirectory ? Promise.all((await list(entry)).filter((one) => one.isFile).map(read)) : [await read(entry)])));
  return nested.flat();
}
