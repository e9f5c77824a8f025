// Questions whose answer is a few lines of JavaScript, on what the lab's engine makes of a pair. They run in a worker for five seconds at most, and
// only when the reader checks them; what they give is compared with the engine's own answer and with what the right lines give, and wrong lines
// that are known say what went wrong.

const SECONDS = 5;
const ENGINE_SECONDS = 120; // for what the engine computes first
const LETTERS = 2000;
const [EXACT, ROUNDING] = [1e-6, 1e-4]; // by how much a number may be off that the same numbers give, or the engine in single precision

export function code(question, h) {
  const { id, names, start, pair } = question;
  const area = h("textarea", { class: "xaicl-code", id: `quiz-${id}-code`, rows: Math.max(8, start.split("\n").length + 2), spellcheck: "false", autocapitalize: "off", autocomplete: "off" });
  area.value = start;
  const element = h("div", {}, h("label", { for: area.id, class: "xaicl-signature" }, `function (${names.join(", ")}) {`), area, h("div", { class: "xaicl-signature", "aria-hidden": "true" }, "}"),
    h("p", { class: "xaicl-hint" }, `The first check computes ${names.join(" and ")} of ${pair.a} and ${pair.b} (${pair.model}, ${pair.method}) in this browser.`));
  return {
    element,
    read: () => area.value.trim() || null,
    write: (given) => { if (typeof given === "string" && given.length <= LETTERS) area.value = given; return false; }, // shown again, not run
    judge: (given, say) => judged(question, given, say),
  };
}

async function judged(question, given, say) {
  const { names, solution, says, wrong, hint } = question;
  if (given.length > LETTERS) return { right: false, says: `These are ${given.length} letters; ten lines are enough, and ${LETTERS} letters the most.` };
  const { cases, answer, note } = await examples(question, say);
  const [right, ...others] = await Promise.all([solution, ...wrong.map((one) => one.code)].map((lines) => run({ names, cases, code: lines })));
  const judgement = verdict(await run({ names, cases, code: given }), right, { says, hint, answer, wrong: wrong.map((one, k) => ({ says: one.says, gives: others[k] })) });
  return { ...judgement, says: `${judgement.says} ${note}`.trim() };
}

const computed = new Map(); // by question, what the engine makes of its pair

// The question's examples, the first of which the engine computes when it is first asked; where it cannot, the stored one stays.
async function examples({ id, pair, names, cases }, say) {
  try {
    const { arraysOf } = await import(new URL("lab/page/arrays.js", import.meta.url));
    if (!computed.has(id)) computed.set(id, inTime(arraysOf(pair, names, { progress: (text) => say(`${text}.`) })));
    const { values, answer } = await computed.get(id);
    return { cases: [values, ...cases.slice(1)], answer, note: "" };
  } catch (error) {
    computed.delete(id);
    return { cases, answer: null, note: `The first example is a stored one, for nothing can be computed here: ${error.message}` };
  }
}

function inTime(promise) {
  let timer = null;
  const late = new Promise((_, reject) => { timer = setTimeout(reject, 1000 * ENGINE_SECONDS, new Error(`it took more than ${ENGINE_SECONDS} seconds.`)); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// got, right and what wrong lines give: numbers, one of each case; `got` may be a sentence instead. `answer`: the engine's own of the first.
export function verdict(got, right, { says, hint, wrong, answer = null }) {
  if (typeof got === "string") return { right: false, says: got };
  const wants = answer === null ? right : [answer, ...right.slice(1)];
  const miss = got.findIndex((value, k) => !near(value, wants[k], answer !== null && k === 0 ? ROUNDING : EXACT));
  if (miss < 0) return { right: true, says };
  const known = wrong.find(({ gives }) => Array.isArray(gives) && gives.every((value, k) => near(got[k], value)));
  return { right: false, says: known?.says ?? `For example ${miss + 1} of ${right.length} it gives ${short(got[miss])}, where ${short(wants[miss])} is right. ${hint}` };
}

const near = (a, b, within = EXACT) => Math.abs(a - b) <= within * Math.max(1, Math.abs(b));
const short = (value) => String(Number(value.toPrecision(3))).replace("-", "−");

// Time counts from when the worker is there: a slow machine is no error.
function run(asked) {
  return new Promise((resolve) => {
    const worker = new Worker(new URL("code_worker.js", import.meta.url));
    let limit = null;
    const end = (answer) => { clearTimeout(limit); worker.terminate(); resolve(answer); };
    worker.onmessage = ({ data }) => {
      if (data !== "ready") return end(data);
      limit = setTimeout(end, 1000 * SECONDS, `It ran for more than ${SECONDS} seconds and was ended: is there a loop that never ends?`);
      return worker.postMessage(asked);
    };
    worker.onerror = (event) => { event.preventDefault(); end("It could not be run in this browser."); };
  });
}
