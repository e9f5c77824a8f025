// What the reader takes away: a link, a picture, the numbers.

import { number } from "./draw.js";
import { button, h } from "./element.js";
import { write } from "./state.js";

export function keepBox(lab, check) {
  const linkBox = h("input", { class: "xl-text", readonly: true, "aria-label": "Link to what you see", hidden: true });
  return h("div", { class: "xl-box xl-keep", role: "group", "aria-label": "Keep and check" },
    button("Copy link", () => copyLink(lab, linkBox)),
    button("PNG", () => keep(lab, async (rows) => download(await asPicture(rows), "explanation.png")), { "aria-label": "Download as PNG" }),
    button("JSON", () => keep(lab, (rows) => download(asJson(rows, linkTo(lab)), "explanation.json")), { "aria-label": "Download as JSON" }),
    button("Check against torch", check), linkBox,
    h("p", { class: "xl-hint" }, "Everything is computed in your browser. No picture is sent anywhere."));
}

// Rows whose maps are of the pictures that they lie on: not while others come.
const shownRows = ({ rows }) => rows.filter((row) => !row.element.hidden).map((row) => ({ ...row, facts: row.facts() })).filter(({ facts }) => facts?.fresh && facts.photosOf === facts.ask);

function keep(lab, give) {
  const rows = shownRows(lab);
  if (rows.length) return give(rows);
  return lab.status.isBusy() ? null : lab.status.say("There is nothing to keep yet.");
}

// What is seen, which is not what is chosen where that was stopped.
function stateOf(lab) {
  const [first, second] = shownRows(lab).map(({ facts }) => facts.ask);
  if (!first) return lab.state;
  const { a, b, model, method, options, change } = first;
  const other = second ? { model: second.model.name, method: second.method.name } : null;
  return { ...lab.state, a: a.name, b: b.name, model: model.name, method: method.name, options, change, other };
}

const linkTo = (lab) => `${location.href.split("#")[0]}#${write(stateOf(lab), lab.index)}`;

async function copyLink(lab, linkBox) {
  linkBox.value = linkTo(lab);
  linkBox.hidden = false;
  linkBox.select();
  const copied = await navigator.clipboard?.writeText(linkBox.value).then(() => true, () => false);
  const { a, b } = stateOf(lab);
  const mine = lab.own.has(a) || lab.own.has(b) ? " Your own pictures are not in it." : "";
  lab.status.say(`${copied ? "The link is copied." : "Here is the link."}${mine}`);
}

export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// Both pictures of each row under their maps, with the score and the scale in words.
export function asPicture(rows) {
  const [side, gap, head] = [480, 16, 84];
  const canvas = Object.assign(document.createElement("canvas"), { width: 2 * side + 3 * gap, height: rows.length * (side + head + gap) + gap });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  rows.forEach(({ facts, unmarked }, k) => {
    const top = gap + k * (side + head + gap);
    const { method, model, result, limit } = facts;
    context.fillStyle = "#1a1a1a";
    context.font = "600 24px system-ui, sans-serif";
    context.fillText(`${result.score.toFixed(3)} similar`, gap, top + 26);
    context.font = "18px system-ui, sans-serif";
    context.fillText(`${method.title} · ${model.title} · both maps on one scale up to ${number(limit)}`, gap, top + 58, canvas.width - 2 * gap);
    unmarked((canvases) => ["a", "b"].forEach((name, j) => context.drawImage(canvases[name], gap + j * (side + gap), top + head - 12, side, side)));
  });
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

const plain = ({ data, h, w }) => Array.from({ length: h }, (_, i) => Array.from(data.subarray(i * w, (i + 1) * w)));

export function asJson(rows, link) {
  const explanations = rows.map(({ facts: { method, model, result, limit, options, photos, origin } }) => ({
    model: model.title, method: method.name, options, score: result.score, a: plain(result.a), b: plain(result.b), largest: limit,
    pictures: { a: photos.a.title, b: photos.b.title }, computed: origin,
  }));
  return new Blob([JSON.stringify({ explanations, change: rows[0].facts.ask.change, link })], { type: "application/json" });
}
