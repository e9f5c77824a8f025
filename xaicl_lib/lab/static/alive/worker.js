/**
 * Trains off the page. It does what it is asked and no more, so a page that asks for nothing has paused it.
 *
 * In:  {settings, steps, again}       again: begin anew before the steps
 * Out: {seen}                         see training.js
 *      {error}                        a sentence for the reader
 */
import { InputError } from "../engine/errors.js";
import { begin, readSettings, seen, train } from "./training.js";

const MOST = 200; // steps at once
let run = null;

self.onmessage = ({ data }) => {
  try {
    self.postMessage({ seen: answer(data) });
  } catch (error) {
    self.postMessage({ error: error instanceof InputError ? error.message : `the training failed: ${String(error?.message ?? error).slice(0, 200)}` });
  }
};

function answer({ settings: given, steps, again }) {
  const settings = readSettings(given);
  if (!(Number.isInteger(steps) && steps >= 0 && steps <= MOST)) throw new InputError(`steps cannot be ${steps}, but a whole number from 0 to ${MOST}`);
  if (again || run === null) run = begin(settings);
  train(run, settings, steps);
  return seen(run, settings);
}
