// Several workers on one run: each hides its share of the places, and the maps, zero elsewhere, are added up. Where a graphics processor was
// found to be faster than all of them, it does such a run alone.

import { Cancelled, connect } from "./client.js";
import { hasGpu } from "../engine/gpu.js";
import { METHODS } from "../engine/methods.js";

const MOST = 4; // each holds a network of its own

export function createTeam(url, cores = navigator.hardwareConcurrency || 1) {
  const first = connect(url);
  let helpers = Array.from({ length: Math.min(MOST, cores) - 1 }, () => connect(url)); // a worker starts when it is first asked
  const gpu = graphics(url);

  async function run({ model, source, ...request }, options) {
    if (request.type || !METHODS[request.method]?.splits) return first.run({ model, ...request }, options);
    const made = (await gpu.run({ model, ...request }, options)) ?? (await byCores({ model, source, request }, options));
    gpu.prepare(model, { ...source, gpu: { cores: 1 + helpers.length } }); // now that no core is busy
    return made;
  }

  async function byCores({ model, source, request }, options) {
    if (!helpers.length) return first.run({ model, ...request }, options);
    try {
      return await together({ model, source, request }, options);
    } catch (error) {
      if (error instanceof Cancelled || options.signal?.aborted) throw error;
      helpers.forEach((one) => one.stop()); // such as too little memory for several: the first one does it alone from now on
      helpers = [];
      return first.run({ model, ...request }, options);
    }
  }

  async function together({ model, source, request }, { progress, signal }) {
    const began = performance.now();
    const members = [first, ...helpers];
    const so = members.map(() => ({ done: 0, total: 0 }));
    const report = (index) => (how) => {
      so[index] = { ...so[index], ...how };
      const known = so.map((one) => one.soFar).filter(Boolean);
      progress?.({ done: sum(so.map((one) => one.done)), total: sum(so.map((one) => one.total)), ...(known.length === so.length && { soFar: joined(known) }) });
    };
    const parts = members.map(async (one, index) => {
      await one.load(model, source);
      return one.run({ model, ...request, part: { index, of: members.length } }, { signal, progress: report(index) });
    });
    return { ...added(await Promise.all(parts)), seconds: (performance.now() - began) / 1000 };
  }

  const stop = () => [first, ...helpers, gpu].forEach((one) => one.stop());
  return { load: first.load, isLoaded: first.isLoaded, run, stop };
}

// A worker for the graphics processor. What it once failed at, such as a device that was lost, it is not asked again.
function graphics(url) {
  let worker = connect(url);

  function stop() {
    worker?.stop();
    worker = null;
  }

  // Nothing, if it is not known to be faster.
  async function run({ model, ...request }, options) {
    if (!worker?.isLoaded(model)) return null;
    try {
      return { ...(await worker.run({ model, ...request }, options)), device: "by WebGPU" };
    } catch (error) {
      if (error instanceof Cancelled || options.signal?.aborted) throw error;
      stop();
      return null;
    }
  }

  async function prepare(model, source) {
    if (worker && !(await hasGpu())) stop();
    await worker?.load(model, source).catch(stop);
  }

  return { run, prepare, stop };
}

const sum = (values) => values.reduce((all, one) => all + one, 0);

// What each knows so far, NaN where nobody does.
function joined(parts) {
  const side = (name) => ({ ...parts[0][name], data: parts[0][name].data.map((_, k) => parts.find((part) => !Number.isNaN(part[name].data[k]))?.[name].data[k] ?? NaN) });
  return { ...parts[0], a: side("a"), b: side("b") };
}

function added(parts) {
  const side = (name) => ({ ...parts[0][name], data: parts[0][name].data.map((_, k) => sum(parts.map((part) => part[name].data[k]))) });
  const extremes = [Math.min, Math.max].map((most, k) => most(...parts.map((part) => part.extremes[k])));
  return { ...parts[0], a: side("a"), b: side("b"), extremes, forwards: sum(parts.map((part) => part.forwards)) };
}
