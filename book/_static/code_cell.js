// Questions whose answer is a few lines of JavaScript. They run in a worker for five seconds at most, and only when the reader checks them;
// what they give is compared with what the right lines give, and wrong lines that are known say what went wrong.

const SECONDS = 5;
const LETTERS = 2000;

export function code(question, h) {
  const { id, names, start } = question;
  const area = h("textarea", { class: "xaicl-code", id: `quiz-${id}-code`, rows: Math.max(8, start.split("\n").length + 2), spellcheck: "false", autocapitalize: "off", autocomplete: "off" });
  area.value = start;
  const element = h("div", {}, h("label", { for: area.id, class: "xaicl-signature" }, `function (${names.join(", ")}) {`), area, h("div", { class: "xaicl-signature", "aria-hidden": "true" }, "}"));
  return {
    element,
    read: () => area.value.trim() || null,
    write: (given) => { if (typeof given === "string" && given.length <= LETTERS) area.value = given; return false; }, // shown again, not run
    judge: (given) => judged(question, given),
  };
}

async function judged({ names, cases, solution, says, wrong, hint }, given) {
  if (given.length > LETTERS) return { right: false, says: `These are ${given.length} letters; ten lines are enough, and ${LETTERS} letters the most.` };
  const [right, ...others] = await Promise.all([solution, ...wrong.map((one) => one.code)].map((lines) => run({ names, cases, code: lines })));
  return verdict(await run({ names, cases, code: given }), right, { says, hint, wrong: wrong.map((one, k) => ({ says: one.says, gives: others[k] })) });
}

// got, right and what wrong lines give: numbers, one of each case; `got` may be a sentence instead.
export function verdict(got, right, { says, hint, wrong }) {
  if (typeof got === "string") return { right: false, says: got };
  const miss = got.findIndex((value, k) => !near(value, right[k]));
  if (miss < 0) return { right: true, says };
  const known = wrong.find(({ gives }) => Array.isArray(gives) && gives.every((value, k) => near(got[k], value)));
  return { right: false, says: known?.says ?? `For example ${miss + 1} of ${right.length} it gives ${short(got[miss])}, where ${short(right[miss])} is right. ${hint}` };
}

const near = (a, b) => Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(b));
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
