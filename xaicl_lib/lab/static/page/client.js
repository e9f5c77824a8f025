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
    loaded.clear();
  }

  function receive({ id, type, result, message, cancelled, ...rest }) {
    const request = waiting.get(id);
    if (!request) return;
    if (type === "progress") return request.progress?.(rest);
    waiting.delete(id);
    if (type === "result") request.resolve(result);
    else request.reject(cancelled ? new Cancelled() : new Error(sentence(message)));
  }

  // A request without answer after being cancelled is settled here: the reader never waits for a worker that is busy.
  function ask(message, { progress, signal, id = (last += 1) } = {}) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new Cancelled());
      worker ??= start();
      waiting.set(id, { resolve, reject, progress });
      signal?.addEventListener("abort", () => {
        if (!waiting.delete(id)) return;
        worker?.postMessage({ id: (last += 1), type: "cancel", target: id });
        reject(new Cancelled());
      });
      worker.postMessage({ id, ...message });
    });
  }

  // What is loaded is loaded once; whoever asks for it again gets its progress from then on.
  const loaded = new Map(); // names of models to {id, done, promise, progress}
  function load(model, source, { progress } = {}) {
    let entry = loaded.get(model);
    if (!entry) {
      entry = { id: (last += 1), done: false };
      entry.promise = ask({ type: "load", ...source }, { id: entry.id, progress: (how) => entry.progress?.(how) });
      entry.promise.then(() => { entry.done = true; }, () => loaded.delete(model));
      loaded.set(model, entry);
    }
    entry.progress = progress;
    return entry.promise;
  }

  return {
    load,
    isLoaded: (model) => loaded.get(model)?.done === true,
    stop: () => fail(new Cancelled()),
    run: ({ model, ...request }, options) => ask({ type: "run", model: loaded.get(model)?.id, ...request }, options),
  };
}

const sentence = (message) => `${message[0].toUpperCase()}${message.slice(1).replace(/\.?$/, ".")}`;
