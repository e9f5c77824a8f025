// Two maps of the same photos: thumbnails where the pointer is, nearest neighbours of the chosen photo, one choice for both maps.
// Runs on a page without a kernel. The maps themselves are drawn by others, who set data-xaicl-drawn on each when it is there.
(() => {
  "use strict";
  const root = document.currentScript.parentElement;
  const data = JSON.parse(root.querySelector(".xaicl-map-data").textContent);
  const boxes = [...root.querySelectorAll(".xaicl-plot")];
  const found = root.querySelector(".xaicl-map-found");
  const tip = root.querySelector(".xaicl-map-tip");
  const entry = root.querySelector("input");
  const places = boxes.map(() => new Map()); // photo -> [trace, point, x, y], once a map is drawn
  let chosen = data.first;
  let only = null; // the class that is not dimmed
  let echoing = false;
  root.style.setProperty("--xaicl-sheet", `url("${data.sheet}")`);

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  const said = (photo) => `${data.classes[data.labels[photo]]}, number ${photo + 1}`;

  function tile(photo, size) {
    const [column, row] = [photo % data.columns, Math.floor(photo / data.columns)];
    const style = `width:${size}px;height:${size}px;background-size:${data.columns * size}px auto;`
      + `background-position:${-column * size}px ${-row * size}px`;
    return make("span", { class: "xaicl-map-tile", role: "img", "aria-label": said(photo), style });
  }

  // One line for each model: who is near the chosen photo, and how near.
  function line(model, p) {
    const near = data.near[p][chosen];
    const others = data.near.filter((_, q) => q !== p).map((all) => new Set(all[chosen]));
    const same = near.filter((k) => data.labels[k] === data.labels[chosen]).length;
    const list = make("div", { class: "xaicl-map-line" });
    near.forEach((photo, rank) => {
      const shared = others.length > 0 && others.every((set) => set.has(photo));
      const odd = data.labels[photo] !== data.labels[chosen];
      const text = data.cosines[p][chosen][rank].toFixed(2) + (shared ? " ∩" : "");
      const label = `${said(photo)}, cosine ${text.slice(0, 4)}${shared ? ", near in both" : ""}${odd ? ", another class" : ""}`;
      const button = make("button", { type: "button", "aria-label": label, title: label, class: odd ? "xaicl-map-odd" : "" }, tile(photo, 52), text);
      button.addEventListener("click", () => choose(photo, true));
      list.append(button);
    });
    const share = ` (${same} of ${near.length} of its class)`;
    return make("section", {}, make("h4", {}, "nearest by ", make("strong", {}, model), share), list);
  }

  function choose(photo, focus = false) {
    chosen = photo;
    entry.value = photo + 1;
    const head = make("p", { class: "xaicl-map-chosen", tabindex: "-1" }, tile(photo, 96), ` ${said(photo)}`);
    found.replaceChildren(head, ...data.models.map(line));
    boxes.forEach(mark);
    if (focus) head.focus({ preventScroll: true }); // the button that was pressed is gone
  }

  // Rings: a large one for the chosen photo, small ones for its neighbours by the model of the map.
  function mark(box, p) {
    if (places[p].size === 0) return;
    const xy = (photos) => [photos.map((k) => places[p].get(k)[2]), photos.map((k) => places[p].get(k)[3])];
    const [near, one] = [xy(data.near[p][chosen]), xy([chosen])];
    const last = box.data.length - 1;
    window.Plotly.restyle(box, { x: [near[0], one[0]], y: [near[1], one[1]] }, [last - 1, last]);
  }

  function dim(box) {
    if (!box.hasAttribute("data-xaicl-drawn")) return;
    const traces = data.classes.map((_, k) => k);
    window.Plotly.restyle(box, { "marker.opacity": traces.map((k) => (only === null || only === k ? 0.85 : 0.12)) }, traces);
  }

  function peek(event, p) {
    const photo = event.points[0].customdata;
    if (echoing || photo === undefined) return;
    tip.replaceChildren(tile(photo, 96), make("span", {}, said(photo)));
    tip.style.left = `${Math.min(event.event.clientX + 14, innerWidth - 130)}px`;
    tip.style.top = `${Math.min(event.event.clientY + 14, innerHeight - 140)}px`;
    tip.hidden = false;
    echoing = true; // the other maps point at the same photo, which is no news to us
    boxes.forEach((box, q) => {
      const place = q === p ? null : places[q].get(photo);
      if (place) window.Plotly.Fx.hover(box, [{ curveNumber: place[0], pointNumber: place[1] }]);
    });
    echoing = false;
  }

  function leave(p) {
    tip.hidden = true;
    if (echoing) return;
    echoing = true;
    boxes.forEach((box, q) => q !== p && places[q].size && window.Plotly.Fx.unhover(box));
    echoing = false;
  }

  function drawn(box, p) {
    box.data.forEach((trace, k) => (trace.customdata ?? []).forEach((photo, j) => places[p].set(photo, [k, j, trace.x[j], trace.y[j]])));
    box.on("plotly_hover", (event) => peek(event, p));
    box.on("plotly_unhover", () => leave(p));
    box.on("plotly_click", (event) => event.points[0].customdata !== undefined && choose(event.points[0].customdata));
    mark(box, p);
  }

  boxes.forEach((box, p) => {
    if (box.hasAttribute("data-xaicl-drawn")) { drawn(box, p); return; }
    new MutationObserver((_, observer) => {
      if (!box.hasAttribute("data-xaicl-drawn")) return;
      observer.disconnect();
      drawn(box, p);
    }).observe(box, { attributes: true, attributeFilter: ["data-xaicl-drawn"] });
  });
  const legend = [...root.querySelectorAll(".xaicl-map-legend button")];
  legend.forEach((button, k) => button.addEventListener("click", () => {
    only = only === k ? null : k;
    legend.forEach((other, j) => other.setAttribute("aria-pressed", String(only === j)));
    boxes.forEach(dim);
  }));
  const step = (by) => choose((chosen + by + data.labels.length) % data.labels.length);
  root.querySelector(".xaicl-map-back").addEventListener("click", () => step(-1));
  root.querySelector(".xaicl-map-on").addEventListener("click", () => step(1));
  entry.addEventListener("change", () => {
    const photo = Math.round(Number(entry.value)) - 1;
    choose(photo >= 0 && photo < data.labels.length ? photo : chosen);
  });
  choose(chosen);
})();
