// Contrastive learning in the reader's browser: the worker trains, one request at a time; this draws what it answers, and asks for more.

import { controls, curves, keys, pictures } from "./panel.js";
import { START, readSettings } from "./training.js";
import { sentence, summary } from "./words.js";

const RUN = 600; // steps until it rests
const CALM = 50; // steps at a time where nothing shall move
const still = matchMedia("(prefers-reduced-motion: reduce)");

const FRAME = 20; // milliseconds that a picture may take before fewer are drawn
const FEWEST = 25; // steps from one picture to the next, at most

// Steps until the next picture: early ones change most, so they are shown one by one; a slow machine shows fewer, of the same run.
function stride(steps, took) {
  const wanted = steps < 60 ? 1 : steps < 180 ? 2 : 4;
  return Math.min(FEWEST, wanted * Math.max(1, Math.round(took / FRAME)));
}

export function mount(box) {
  if (typeof Worker === "undefined") {
    box.append("This browser has no workers, in which the training runs; the picture shows what comes of it.");
    return;
  }
  const run = { settings: START, running: false, busy: false, changed: false, history: [], until: RUN, now: null };
  const views = pictures();
  const settings = controls((name, value) => change(run, { [name]: value }), views.follow);
  const parts = { views, courses: curves(), settings, keys: keys({ toggle: () => toggle(run), again: () => anew(run, run.settings) }) };
  Object.assign(run, { parts, box, worker: connect(run) });
  ask(run, 0, true);
}

// The still picture stays until there is something to take its place.
function show(run) {
  const { parts, box } = run;
  run.shown = true;
  parts.settings.put(run.settings);
  box.replaceChildren(parts.views.element, parts.keys.element, parts.courses.element, parts.settings.element);
  enlivenPresets(run);
  new ResizeObserver(() => parts.views.draw(run.now)).observe(parts.views.element);
}

function connect(run) {
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => receive(run, data);
  worker.onerror = (event) => {
    event.preventDefault();
    run.broken = true;
    stop(run, "The training could not be started in this browser; the picture shows what comes of it.", true);
  };
  return worker;
}

function ask(run, steps, again = false) {
  Object.assign(run, { busy: true, asked: performance.now() });
  run.worker.postMessage({ settings: run.settings, steps, again });
}

function receive(run, { seen, error }) {
  run.busy = false;
  if (error) return stop(run, sentence(error), true);
  if (run.again) return next(run); // what arrived is of a run that is no longer wanted
  keep(run, seen);
  if (!run.shown) show(run);
  if (seen.steps >= run.until) run.running = false;
  if (!run.running) return run.changed ? next(run) : rest(run);
  if (still.matches) count(run);
  else draw(run);
  return requestAnimationFrame(() => next(run));
}

function keep(run, seen) {
  if (run.history.at(-1)?.steps >= seen.steps) run.history = run.history.filter(({ steps }) => steps < seen.steps);
  run.history.push({ steps: seen.steps, loss: seen.loss, alignment: seen.alignment, uniformity: seen.uniformity });
  run.now = seen;
}

// The next request, if there is something to ask for and nobody else has asked.
function next(run) {
  if (run.busy || run.broken) return;
  const { again, changed, now } = run;
  const wanted = () => (still.matches ? CALM : stride(now.steps, performance.now() - run.asked));
  Object.assign(run, { again: false, changed: false });
  if (again) ask(run, 0, true);
  else if (run.running) ask(run, Math.min(wanted(), run.until - now.steps));
  else if (changed) ask(run, 0);
}

function draw(run) {
  const { parts, now, history, settings, until } = run;
  count(run);
  parts.views.draw(now);
  parts.courses.draw(history, settings, until);
}

function count({ parts, now, until }) {
  parts.keys.count.textContent = `step ${now.steps} of ${until}`;
}

function rest(run) {
  draw(run);
  run.parts.views.describe(run.now);
  stop(run, summary(run.now, run.history[0]));
}

function stop(run, says, failed = false) {
  const { main, said } = run.parts.keys;
  run.running = false;
  main.textContent = run.now?.steps ? "Go on" : "Start";
  if (said.textContent !== says) said.textContent = says; // what is not new is not announced
  said.classList.toggle("xl-failed", failed);
  run.box.dataset.state = failed ? "failed" : "rests";
  if (!run.shown) run.box.append(said);
}

function begin(run) {
  Object.assign(run, { running: true, asked: performance.now() });
  run.box.dataset.state = "trains";
  run.parts.keys.main.textContent = "Pause";
  run.parts.keys.said.textContent = "Training.";
  run.parts.keys.said.classList.remove("xl-failed");
  next(run);
}

function toggle(run) {
  if (run.running) { run.running = false; if (!run.busy) rest(run); return; }
  if (!run.now) return;
  if (run.now.steps >= run.until) run.until += RUN;
  begin(run);
}

// From the first weights on.
function anew(run, settings) {
  Object.assign(run, { settings, again: true, until: RUN, history: [] });
  begin(run);
}

// A setting in the middle of a run changes the run; other points or another seed are another run.
function change(run, what) {
  run.settings = { ...run.settings, ...what };
  if ("set" in what || "seed" in what) Object.assign(run, { again: true, until: RUN, history: [] });
  run.changed = true;
  next(run);
}

// Buttons in the text: what they set stands in their data-alive, the rest is as at the start.
function enlivenPresets(run) {
  for (const button of document.querySelectorAll("button[data-alive]")) {
    button.hidden = false;
    button.addEventListener("click", () => preset(run, button.dataset.alive));
  }
}

function preset(run, text) {
  let settings;
  try {
    settings = readSettings(JSON.parse(text));
  } catch (error) {
    return stop(run, sentence(error.message), true);
  }
  run.parts.settings.put(settings);
  anew(run, settings);
  run.parts.keys.main.focus({ preventScroll: true });
  return run.box.scrollIntoView({ block: "start", behavior: still.matches ? "auto" : "smooth" });
}
