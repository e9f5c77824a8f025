// What is being done, how far it is, how long it takes, and a way to stop it.

import { button, h } from "./element.js";
import { seconds } from "./words.js";

const PATIENCE = 200; // ms without a result before anything is said

export function createStatus({ cancel }) {
  const text = h("span", { class: "xl-status-text", role: "status" });
  const time = h("span", { class: "xl-time" });
  const bar = h("progress", { class: "xl-progress", max: 1, hidden: true, "aria-label": "Progress" });
  const stop = button("Cancel", cancel, { hidden: true, class: "xl-button xl-quiet" });
  const extra = h("span", { class: "xl-status-extra" });
  const element = h("div", { class: "xl-status" }, bar, h("div", { class: "xl-status-line" }, text, time, extra, stop));
  let began = 0;
  let ticking = null;
  let waiting = null;
  let next = "";

  function begin() {
    end();
    began = performance.now();
    element.dataset.state = "busy";
    next = "Computing";
    waiting = setTimeout(() => {
      bar.hidden = stop.hidden = false;
      bar.removeAttribute("value");
      extra.replaceChildren();
      element.classList.remove("xl-failed");
      text.textContent = next;
      ticking = setInterval(() => { time.textContent = seconds((performance.now() - began) / 1000); }, 200);
    }, PATIENCE);
  }

  function progress(what, done, total) {
    next = what;
    if (!ticking) return;
    if (text.textContent !== what) text.textContent = what;
    if (total) bar.value = done / total;
    else bar.removeAttribute("value");
  }

  function end() {
    clearTimeout(waiting);
    clearInterval(ticking);
    ticking = null;
    bar.hidden = stop.hidden = true;
    time.textContent = "";
  }

  function say(what, { failed = false, more = [] } = {}) {
    end();
    text.textContent = what;
    element.dataset.state = failed ? "failed" : "done";
    element.classList.toggle("xl-failed", failed);
    extra.replaceChildren(...more);
  }

  return { element, begin, progress, say, isBusy: () => element.dataset.state === "busy" };
}
