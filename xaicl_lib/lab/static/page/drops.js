// Pictures that the reader drops on one of those shown, or pastes.

import { fileOf } from "./chooser.js";

export function acceptFiles(lab) {
  const { stage } = lab;
  stage.addEventListener("dragover", (event) => { event.preventDefault(); figureAt(event)?.classList.add("xl-over"); });
  stage.addEventListener("dragleave", (event) => figureAt(event)?.classList.remove("xl-over"));
  stage.addEventListener("drop", (event) => drop(lab, event));
  stage.addEventListener("focusin", (event) => { if (figureAt(event)) lab.side = sideOf(figureAt(event)); });
  document.addEventListener("paste", (event) => paste(lab, event));
}

const figureAt = (event) => event.target.closest(".xl-side");
const sideOf = (figure) => (figure?.nextElementSibling ? "a" : "b");

function drop({ chooser }, event) {
  event.preventDefault();
  const figure = figureAt(event);
  figure?.classList.remove("xl-over");
  chooser.receive(sideOf(figure), fileOf(event.dataTransfer));
}

function paste({ chooser, side }, event) {
  if (event.target.closest?.("input, textarea") || !event.clipboardData?.files.length) return;
  event.preventDefault();
  chooser.receive(side, fileOf(event.clipboardData));
}
