// Corpus and foil, chosen by click or key: a row of small pictures, each in one of the two or in neither.

import { h } from "./element.js";

const SETS = [["corpus", "+"], ["foil", "−"]];
const HINT = "Put pictures into the corpus (+, to be like) or the foil (−, to be unlike); the same key takes them out.";

// `choices`: {name, title, thumbnail} each; `sets`: {corpus, foil} of names at first; `changed` is called after each choice.
export function setsBox(choices, sets, changed) {
  const held = new Map([...sets.corpus.map((name) => [name, "corpus"]), ...sets.foil.map((name) => [name, "foil"])]);
  const said = h("p", { class: "xl-hint", role: "status" });
  const namesIn = (set) => choices.map(({ name }) => name).filter((name) => held.get(name) === set);
  const members = choices.map((one) => member(one, (set) => {
    if (set === held.get(one.name)) held.delete(one.name);
    else held.set(one.name, set);
    refresh();
    changed();
  }, () => held.get(one.name)));
  function refresh() {
    members.forEach(({ refresh: again }, k) => again(held.get(choices[k].name)));
    said.textContent = `In the corpus: ${namesIn("corpus").length}; in the foil: ${namesIn("foil").length}.`;
  }
  refresh();
  const element = h("div", { class: "xl-sets" }, h("p", { class: "xl-hint" }, HINT),
    h("div", { class: "xl-members", role: "group", "aria-label": "Pictures for the corpus and the foil" }, ...members.map((one) => one.element)), said);
  return { element, read: () => ({ corpus: namesIn("corpus"), foil: namesIn("foil") }) };
}

// One picture with a key for each set; a click on the picture itself goes from neither to corpus to foil and back.
function member({ title, thumbnail }, put, now) {
  const keys = SETS.map(([set, sign]) => h("button", { type: "button", class: `xl-in xl-in-${set}`, "aria-label": `${title}: ${set}`, onclick: () => put(set) }, sign));
  const next = () => put({ corpus: "foil", foil: "foil" }[now()] ?? "corpus"); // into its own set again takes it out
  const picture = h("img", { src: thumbnail, alt: "", title, width: 96, height: 96, onclick: next });
  const element = h("div", { class: "xl-member", role: "group", "aria-label": title }, picture, h("div", { class: "xl-member-keys" }, ...keys));
  const refresh = (chosen) => {
    element.dataset.set = chosen ?? "";
    keys.forEach((key, k) => key.setAttribute("aria-pressed", String(SETS[k][0] === chosen)));
  };
  return { element, refresh };
}
