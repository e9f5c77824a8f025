// Is what the browser computes right? The same pair, computed here and compared with torch's own numbers.

import { h } from "./element.js";
import { floats } from "./gallery.js";

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
