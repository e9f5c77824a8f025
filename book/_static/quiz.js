// Questions at the end of a chapter, tried in the page. What a reader answers stays in this browser; without scripts the answers are folded.

import { code as codeCell } from "./code_cell.js";
import { cross, maps, paintMap } from "./quiz_maps.js";

const KEY = "xaicl-quiz";
const LAB = new URL("lab/", import.meta.url);

// ---------------------------------------------------------------- elements, and what is remembered

function h(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") made.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const button = (title, onclick, props = {}) => h("button", { type: "button", class: "xaicl-key", onclick, ...props }, title);

// Storage may be forbidden, full, or hold what somebody else wrote: then this visit remembers, and no more.
const memory = (() => {
  let all = {};
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    if (found && typeof found === "object" && !Array.isArray(found)) all = found;
  } catch { /* nothing remembered */ }
  const write = () => { try { localStorage.setItem(KEY, JSON.stringify(all)); } catch { /* for this visit only */ } };
  return {
    get: (id) => (Object.hasOwn(all, id) ? all[id] : null),
    set: (id, given) => { all[id] = given; write(); },
    forget: (ids) => { ids.forEach((id) => delete all[id]); write(); },
  };
})();

// ---------------------------------------------------------------- one question

// A kind: (question, given) -> {element, read(): what is given or null, judge(given, say): {right, says}}; it may show more once it was judged.
const KINDS = { choice, number, order, place, control, code: (question) => codeCell(question, h) };

function enliven(box, number) {
  const question = JSON.parse(box.querySelector("script").textContent);
  const kind = KINDS[question.kind](question);
  const said = h("p", { class: "xaicl-said", role: "status" });
  const hint = h("p", { class: "xaicl-hint", hidden: true, id: `${box.id}-hint` }, question.hint);
  const check = () => {
    const given = kind.read();
    if (given === null) return tell(said, null, "Answer first: what do you expect?");
    memory.set(question.id, given);
    return show(given);
  };
  const show = async (given) => {
    const { right, says } = await kind.judge(given, (text) => tell(said, null, text));
    tell(said, right, says);
    kind.reveal?.(given);
    box.dataset.right = right;
    count(box.closest(".xaicl-quiz"));
  };
  const shown = button("Hint", () => { hint.hidden = !hint.hidden; shown.setAttribute("aria-expanded", String(!hint.hidden)); }, { "aria-expanded": "false", "aria-controls": hint.id });
  const legend = h("legend", {}, h("b", {}, `${number}. `), question.ask);
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); check(); } }, h("fieldset", {}, legend, kind.element,
    h("div", { class: "xaicl-keys" }, h("button", { type: "submit", class: "xaicl-key xaicl-main" }, "Check"), shown), hint, said));
  box.replaceChildren(form);
  const known = memory.get(question.id);
  if (known !== null && kind.write(known)) kind.late ? kind.late(() => show(known)) : show(known);
}

function tell(said, right, text) {
  said.className = `xaicl-said${right === null ? "" : right ? " xaicl-right" : " xaicl-wrong"}`;
  said.replaceChildren(right === null ? "" : h("b", {}, right ? "Right. " : "Not yet. "), text);
}

function choice({ id, options }) {
  const radios = options.map((option, k) => h("input", { type: "radio", name: `quiz-${id}`, value: k, id: `quiz-${id}-${k}` }));
  const lines = options.map((option, k) => h("div", { class: "xaicl-option" }, radios[k], h("label", { for: radios[k].id }, option.text)));
  return {
    element: h("div", {}, ...lines),
    read: () => { const k = radios.findIndex((one) => one.checked); return k < 0 ? null : k; },
    write: (k) => { if (!radios[k]) return false; radios[k].checked = true; return true; },
    judge: (k) => ({ right: options[k].right, says: options[k].says }),
  };
}

function number({ id, value, tolerance, says, wrong }) {
  const input = h("input", { type: "text", inputmode: "decimal", class: "xaicl-number", id: `quiz-${id}-number`, autocomplete: "off", size: 8 });
  const parse = (text) => { const got = Number(text.trim().replace("−", "-").replace(",", ".")); return text.trim() && Number.isFinite(got) ? got : null; };
  const near = (got, want) => Math.abs(got - want) <= tolerance + 1e-12;
  return {
    element: h("p", {}, h("label", { for: input.id }, "A number: "), input),
    read: () => parse(input.value),
    write: (given) => { if (typeof given !== "number") return false; input.value = String(given); return true; },
    judge: (got) => (near(got, value) ? { right: true, says } : { right: false, says: wrong.find((one) => near(got, one.value))?.says ?? `${got > value ? "Too high" : "Too low"}; the hint says where to begin.` }),
  };
}

function order({ items, says }) {
  const list = h("ol", { class: "xaicl-order" });
  let now = mixed(items.length);
  const draw = (focus = null) => {
    list.replaceChildren(...now.map((item, place) => h("li", {}, h("span", {}, items[item]),
      button("↑", () => move(place, -1), { "aria-label": `Move up: ${items[item]}`, disabled: place === 0 }),
      button("↓", () => move(place, 1), { "aria-label": `Move down: ${items[item]}`, disabled: place === now.length - 1 }))));
    const keys = focus && [...list.children[focus.place].querySelectorAll("button")];
    if (keys) (keys[focus.key].disabled ? keys[1 - focus.key] : keys[focus.key]).focus();
  };
  const move = (place, by) => {
    [now[place], now[place + by]] = [now[place + by], now[place]];
    draw({ place: place + by, key: by < 0 ? 0 : 1 });
  };
  draw();
  return {
    element: list,
    read: () => [...now],
    write: (given) => { if (!Array.isArray(given) || [...given].sort().join() !== items.map((_, k) => k).sort().join()) return false; now = [...given]; draw(); return true; },
    judge: (given) => {
      const first = given.findIndex((item, place) => item !== place);
      return first < 0 ? { right: true, says } : { right: false, says: `From the top, the first that stands wrong is number ${first + 1}: “${items[given[first]]}”.` };
    },
  };
}

// An order that is not the right one, the same for everybody.
const mixed = (n) => Array.from({ length: n }, (_, k) => (k * (n === 3 ? 2 : 3) + 1) % n);

// ---------------------------------------------------------------- questions with pictures: they wait until they are near

function whenNear(element, act) {
  const near = new IntersectionObserver((entries) => {
    if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
    near.disconnect();
    act().catch((error) => element.append(h("p", { class: "xaicl-said" }, `The pictures could not be shown: ${error.message}`)));
  }, { rootMargin: "300px" });
  near.observe(element);
}

function place(question) {
  const { side, at, within, says, method } = question;
  const STEP = 1 / 12;
  const canvas = h("canvas", { width: 336, height: 336, class: "xaicl-photo", tabindex: 0, role: "application", "aria-roledescription": "photo to choose a place on", "aria-label": `Picture ${side.toUpperCase()}` });
  const other = h("canvas", { width: 336, height: 336, class: "xaicl-photo", role: "img", "aria-label": "The other picture" });
  const where = h("p", { class: "xaicl-hint", role: "status" }, "Click a place, or move there with the arrow keys.");
  const pair = h("div", { class: "xaicl-photos" }, side === "a" ? canvas : other, side === "a" ? other : canvas);
  const element = h("div", {}, pair, where);
  let chosen = null;
  let ready = null;
  let waiting = null;
  const say = () => `row ${Math.floor(chosen.v * 12) + 1} of 12 from the top, column ${Math.floor(chosen.u * 12) + 1} of 12 from the left`;
  const choose = (next) => {
    chosen = next;
    if (!ready) return;
    ready.draw.paint(canvas, ready.image, null);
    cross(canvas, { ...chosen, colour: "#fff" });
    where.textContent = `Chosen: ${say()}.`;
    canvas.setAttribute("aria-label", `Picture ${side.toUpperCase()}, ${ready.title(question[side])}. Chosen: ${say()}.`);
  };
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    choose({ u: (event.clientX - box.left) / box.width, v: (event.clientY - box.top) / box.height });
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (!step) return;
    event.preventDefault();
    const clamp = (value) => Math.min(1 - STEP / 2, Math.max(STEP / 2, value));
    choose(chosen ? { u: clamp(chosen.u + step[0]), v: clamp(chosen.v + step[1]) } : { u: 0.5 + STEP / 2, v: 0.5 + STEP / 2 });
  });
  whenNear(element, async () => {
    const found = await maps(question);
    ready = { ...found, image: await found.photo(question[side]) };
    const [name, opposite] = [question[side], question[side === "a" ? "b" : "a"]];
    canvas.setAttribute("aria-label", `Picture ${side.toUpperCase()}, ${found.title(name)}: choose a place with the arrow keys`);
    other.setAttribute("aria-label", `The other picture: ${found.title(opposite)}`);
    found.draw.paint(canvas, ready.image, null);
    found.draw.paint(other, await found.photo(opposite), null);
    if (chosen) choose(chosen);
    waiting?.();
  });
  return {
    element,
    read: () => chosen && [chosen.u, chosen.v],
    write: (given) => { if (!Array.isArray(given) || given.length !== 2 || !given.every((v) => v >= 0 && v <= 1)) return false; chosen = { u: given[0], v: given[1] }; return true; },
    late: (act) => { if (ready) act(); else waiting = act; },
    judge: ([u, v]) => {
      const apart = Math.hypot(u - at[0], v - at[1]);
      const told = `You were ${apart.toFixed(2)} of a side away from the map's largest value (black and yellow); ${within} counts.`;
      return { right: apart <= within, says: `${told} ${says}` };
    },
    reveal: ([u, v]) => {
      if (!ready) return;
      paintMap(canvas, ready.image, ready.of(method), side, ready, method, [{ u: at[0], v: at[1], colour: "#ffd400" }, { u, v, colour: "#fff" }]);
    },
  };
}

function control(question) {
  const { id, maps: methods, says } = question;
  const radios = methods.map((_, k) => h("input", { type: "radio", name: `quiz-${id}`, value: k, id: `quiz-${id}-${k}` }));
  const canvases = methods.map((_, k) => h("canvas", { width: 224, height: 224, class: "xaicl-photo", role: "img", "aria-label": `Map ${k + 1}` }));
  const names = methods.map((_, k) => h("span", {}, `Map ${k + 1}`));
  const element = h("div", { class: "xaicl-maps" }, ...methods.map((_, k) => h("label", { class: "xaicl-map", for: radios[k].id }, canvases[k], h("span", {}, radios[k], " ", names[k]))));
  whenNear(element, async () => {
    const [found, { place: placeOf }] = await Promise.all([maps(question), import(new URL("page/words.js", LAB))]);
    const image = await found.photo(question.a);
    methods.forEach((method, k) => {
      const result = found.of(method);
      paintMap(canvases[k], image, result, "a", found, method);
      const share = result.a.data.reduce((sum, v) => sum + (v > found.draw.largest(result.a) / 2), 0) / result.a.data.length;
      canvases[k].setAttribute("aria-label", `Map ${k + 1}: ${result.a.h} by ${result.a.w} values, most at ${placeOf(result.a)}; ${Math.round(100 * share)} % of them above half of the largest`);
    });
  });
  return {
    element,
    read: () => { const k = radios.findIndex((one) => one.checked); return k < 0 ? null : k; },
    write: (k) => { if (!radios[k]) return false; radios[k].checked = true; return true; },
    judge: (k) => {
      const right = methods[k] === question.control;
      return { right, says: right ? says : `That one is ${methods[k].replaceAll("_", " ")}. ${question.hint}` };
    },
    reveal: (k) => { if (methods[k] === question.control) methods.forEach((method, j) => { names[j].textContent = `Map ${j + 1}: ${method.replaceAll("_", " ")}`; }); },
  };
}

// ---------------------------------------------------------------- all questions of a page

function count(quiz) {
  const boxes = [...quiz.querySelectorAll(".xaicl-question")];
  const right = boxes.filter((box) => box.dataset.right === "true").length;
  quiz.querySelector(".xaicl-count").textContent = `${right} of ${boxes.length} right.`;
}

for (const quiz of document.querySelectorAll(".xaicl-quiz")) {
  const boxes = [...quiz.querySelectorAll(".xaicl-question")];
  const ids = boxes.map((box) => box.id.replace("quiz-", ""));
  const again = () => { memory.forget(ids); location.hash = ""; location.reload(); };
  quiz.append(h("p", { class: "xaicl-keys" }, h("span", { class: "xaicl-count", role: "status" }), button("Forget my answers", again)));
  boxes.forEach((box, k) => enliven(box, k + 1));
  count(quiz);
  quiz.dataset.ready = "";
}
