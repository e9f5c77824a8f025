// Is what the browser computes right? The same pair, computed here and compared with torch's own numbers.

import { h } from "./element.js";
import { goBack, loading, pictureOf, takeOver } from "./explaining.js";
import { floats } from "./gallery.js";
import { methodOf, modelOf } from "./state.js";

// Runs the check of the chosen model and shows its table.
export async function checkAgainstTorch(lab) {
  const signal = takeOver(lab);
  goBack(lab);
  lab.checked.replaceChildren();
  try {
    await check(lab, modelOf(lab.index, lab.state.model), signal);
  } catch (error) {
    if (!signal.aborted) lab.status.say(error.message, { failed: true });
  }
}

async function check(lab, model, signal) {
  if (model.own) throw new Error("Torch's numbers are only there for the models of this page.");
  const titleOf = (name) => methodOf(lab.index, name).title;
  const stored = await lab.store.check(model.name);
  const run = await runner(lab, model, stored, signal);
  const lines = await compare(stored, run, (k, total, method) => lab.status.progress(`Checking ${titleOf(method)}`, k, total));
  lab.checked.replaceChildren(table(lines, stored, titleOf, lab.index.torch));
  lab.status.say(`Checked ${model.title} against torch: ${lines.every((line) => line.ok) ? "all agree" : "not all agree"}.`);
}

// Computes a method on the stored pair; its model is loaded first.
async function runner(lab, model, stored, signal) {
  await lab.results.load(model, loading(lab, model));
  const [a, b] = await Promise.all([stored.a, stored.b].map(async (name) => (await pictureOf(lab, name)).input(model.size)));
  const source = lab.results.sourceOf(model);
  return ({ method, options }) => lab.results.run({ model: model.name, source, method, options, a, b }, { signal });
}

// Length of the difference over the length of what it should be.
export function difference(got, want) {
  let [off, all] = [0, 0];
  for (let k = 0; k < want.length; k += 1) {
    off += (got[k] - want[k]) ** 2;
    all += want[k] ** 2;
  }
  return Math.sqrt(off / Math.max(all, 1e-24));
}

// One line for each method: {method, score, a, b, tolerance, ok}.
export async function compare(stored, run, said) {
  const lines = [];
  for (const [k, want] of stored.results.entries()) {
    said(k, stored.results.length, want.method);
    const got = await run(want);
    const line = { method: want.method, score: Math.abs(got.score - want.score), tolerance: want.tolerance };
    for (const side of ["a", "b"]) line[side] = difference(got[side].data, floats(want[side].floats));
    line.ok = line.score <= stored.score_tolerance && line.a <= want.tolerance && line.b <= want.tolerance;
    lines.push(line);
  }
  return lines;
}

export function table(lines, stored, titleOf, torch) {
  const cells = (line) => [titleOf(line.method), ...[line.score, line.a, line.b, line.tolerance].map((v) => v.toExponential(1)), line.ok ? "✓ agrees" : "✗ differs"];
  const head = ["Method", "Score, off by", "Map of A", "Map of B", "Allowed", ""];
  const row = (tag, texts) => h("tr", {}, ...texts.map((text) => h(tag, tag === "th" ? { scope: "col" } : {}, text)));
  return h("div", { class: "xl-checked" },
    h("p", {}, `${lines.filter((line) => line.ok).length} of ${lines.length} agree with torch ${torch}. Maps: length of the difference over the length of the map; scores may differ by ${stored.score_tolerance}.`),
    h("div", { class: "xl-scroll", tabindex: "0", role: "region", "aria-label": "Differences to torch" }, h("table", {}, h("thead", {}, row("th", head)), h("tbody", {}, ...lines.map((line) => row("td", cells(line)))))));
}
