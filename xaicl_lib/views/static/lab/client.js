// Talks to the worker, which computes one thing after the other: a promise for each request, with progress and a way to cancel.

export class Cancelled extends Error {}

export function connect(url) {
  const waiting = new Map();
  let worker = null;
  let last = 0;

  function start() {
    if (typeof WebAssembly === "undefined") throw new Error("This browser has no WebAssembly, so nothing new can be computed here. The results that are already on the page can still be looked at.");
    const made = new Worker(url, { type: "module" });
    made.onmessage = ({ data }) => receive(data);
    made.onerror = (event) => {
      event.preventDefault();
      fail(new Error(`The part that computes could not be started${event.message ? ` (${event.message})` : ""}.`));
    };
    return made;
  }

  function fail(error) {
    worker?.terminate();
    worker = null;
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  }

  function receive({ id, type, result, message, ...rest }) {
    const request = waiting.get(id);
    if (!request) return;
    if (type === "progress") return request.progress?.(rest);
    waiting.delete(id);
    if (type === "result") request.resolve(result);
    else request.reject(/cancel/i.test(message ?? "") ? new Cancelled() : new Error(message));
  }

  // A request without answer after being cancelled is settled here: the reader never waits for a worker that is busy.
  function ask(message, { progress, signal, transfer = [] } = {}) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new Cancelled());
      worker ??= start();
      const id = (last += 1);
      waiting.set(id, { resolve, reject, progress });
      signal?.addEventListener("abort", () => {
        if (!waiting.delete(id)) return;
        worker?.postMessage({ id: (last += 1), type: "cancel", target: id });
        reject(new Cancelled());
      });
      worker.postMessage({ id, ...message }, transfer);
    });
  }

  const loaded = new Map();
  return {
    isLoaded: (model) => loaded.get(model)?.done === true,
    load(model, source, options) {
      if (!loaded.has(model)) {
        const entry = { done: false };
        entry.promise = ask({ type: "load", model, ...source }, { progress: (p) => entry.progress?.(p) });
        entry.promise.then(() => { entry.done = true; }, () => loaded.delete(model));
        loaded.set(model, entry);
      }
      const entry = loaded.get(model);
      entry.progress = options?.progress;
      return entry.promise;
    },
    run: (request, options) => ask({ type: "run", ...request }, options),
  };
}
