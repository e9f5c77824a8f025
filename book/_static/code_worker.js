// Runs what the reader has typed into this page, away from it; nothing else is ever run here. Whoever started this ends it when it takes too long.

const plain = (value) => (typeof value === "number" && Number.isFinite(value) ? value : `It returns ${value === undefined ? "nothing" : String(value)} instead of a number.`);

// In: {names, code, cases}, the body of a function, the names of its arguments and lists of them. Out: a number for each case, or a sentence.
self.onmessage = ({ data: { names, code, cases } }) => {
  try {
    const written = new Function(...names, `"use strict";\n${code}`);
    const made = cases.map((given) => plain(written(...structuredClone(given))));
    self.postMessage(made.find((one) => typeof one === "string") ?? made);
  } catch (error) {
    self.postMessage(`It stops with "${String(error?.message ?? error).slice(0, 200)}".`);
  }
};
self.postMessage("ready");
