// Talks to the worker, which computes one thing after the other: a promise for each request, with progress and a way to cancel.

export class Cancelled extends Error {}

// `waiting`: ids to {resolve, reject, progress}; `loaded`: names of models to {id, done, promise, progress}; `last`: the id given last.
export function connect(url) {
  const client = { url, worker: null, waiting: new Map(), loaded: new Map(), last: 0 };
  return {
    load: (model, source, options) => load(client, model, source, options),
    isLoaded: (model) => client.loaded.get(model)?.done === true,
    stop: () => fail(client, new Cancelled()),
    run: ({ model, type = "run", ...request }, options) => ask(client, { type, model: client.loaded.get(model)?.id, ...request }, options),
  };
}

const newId = (client) => (client.last += 1);

function start(client) {
  if (typeof WebAssembly === "undefined") throw new Error("This browser has no WebAssembly, so nothing new can be computed here. The results that are already on the page can still be looked at.");
  const made = new Worker(client.url, { type: "module" });
  made.onmessage = ({ data }) => receive(client, data);
  made.onerror = (event) => {
    event.preventDefault();
    fail(client, new Error(`The part that computes could not be started${event.message ? ` (${event.message})` : ""}.`));
  };
  return made;
}

function fail(client, error) {
  client.worker?.terminate();
  client.worker = null;
  for (const { reject } of client.waiting.values()) reject(error);
  client.waiting.clear();
  client.loaded.clear();
}

function receive({ waiting }, { id, type, result, message, cancelled, ...rest }) {
  const request = waiting.get(id);
  if (!request) return;
  if (type === "progress") return request.progress?.(rest);
  waiting.delete(id);
  if (type === "result") request.resolve(result);
  else request.reject(cancelled ? new Cancelled() : new Error(sentence(message)));
}

function ask(client, message, { progress, signal, id = newId(client) } = {}) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new Cancelled());
    client.worker ??= start(client);
    client.waiting.set(id, { resolve, reject, progress });
    signal?.addEventListener("abort", () => cancel(client, id));
    client.worker.postMessage({ id, ...message });
  });
}

// A request that is cancelled is settled here: the reader never waits for a worker that is busy.
function cancel(client, id) {
  const request = client.waiting.get(id);
  if (!request) return;
  client.waiting.delete(id);
  client.worker?.postMessage({ id: newId(client), type: "cancel", target: id });
  request.reject(new Cancelled());
}

// What is loaded is loaded once; whoever asks for it again gets its progress from then on.
function load(client, model, source, { progress } = {}) {
  const entry = client.loaded.get(model) ?? beginLoading(client, model, source);
  entry.progress = progress;
  return entry.promise;
}

function beginLoading(client, model, source) {
  const entry = { id: newId(client), done: false };
  entry.promise = ask(client, { type: "load", ...source }, { id: entry.id, progress: (how) => entry.progress?.(how) });
  entry.promise.then(() => { entry.done = true; }, () => client.loaded.delete(model));
  client.loaded.set(model, entry);
  return entry;
}

export const sentence = (message) => `${message[0].toUpperCase()}${message.slice(1).replace(/\.?$/, ".")}`;
