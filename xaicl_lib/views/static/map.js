// Two maps of the same photos: thumbnails where the pointer is, nearest neighbours of the chosen photo, one choice for both maps.
// Runs on a page without a kernel. The maps themselves are drawn by others, who set data-xaicl-drawn on each when it is there.
"use strict"; // with it, the functions of the block below stay in it: a page may hold this script several times
{
  const DRAWN = "data-xaicl-drawn";

  // `chosen`, `only` (the class that is not dimmed) and `echoing` are what changes.
  function start(root) {
    const data = JSON.parse(root.querySelector(".xaicl-map-data").textContent);
    const boxes = [...root.querySelectorAll(".xaicl-plot")];
    const places = boxes.map(() => new Map()); // photo -> [trace, point, x, y], once a map is drawn
    const [found, tip, entry] = [".xaicl-map-found", ".xaicl-map-tip", "input"].map((part) => root.querySelector(part));
    const map = { data, boxes, places, found, tip, entry, chosen: data.first, only: null, echoing: false };
    root.style.setProperty("--xaicl-sheet", `url("${data.sheet}")`);
    boxes.forEach((box, p) => whenDrawn(box, () => drawn(map, box, p)));
    linkLegend(map, [...root.querySelectorAll(".xaicl-map-legend button")]);
    linkBar(map, root);
    choose(map, map.chosen);
  }

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  const said = (data, photo) => `${data.classes[data.labels[photo]]}, number ${photo + 1}`;

  function tile(data, photo, size) {
    const [column, row] = [photo % data.columns, Math.floor(photo / data.columns)];
    const style = `width:${size}px;height:${size}px;background-size:${data.columns * size}px auto;`
      + `background-position:${-column * size}px ${-row * size}px`;
    return make("span", { class: "xaicl-map-tile", role: "img", "aria-label": said(data, photo), style });
  }

  // ---------------------------------------------------------------- the chosen photo

  function choose(map, photo, focus = false) {
    const { data, entry, found, boxes } = map;
    map.chosen = photo;
    entry.value = photo + 1;
    const head = make("p", { class: "xaicl-map-chosen", tabindex: "-1" }, tile(data, photo, 96), ` ${said(data, photo)}`);
    found.replaceChildren(head, ...data.models.map((model, p) => line(map, model, p)));
    boxes.forEach((box, p) => mark(map, box, p));
    if (focus) head.focus({ preventScroll: true }); // the button that was pressed is gone
  }

  // One line for each model: who is near the chosen photo, and how near.
  function line(map, model, p) {
    const { data, chosen } = map;
    const near = data.near[p][chosen];
    const same = near.filter((k) => data.labels[k] === data.labels[chosen]).length;
    const list = make("div", { class: "xaicl-map-line" }, ...near.map((photo, rank) => neighbour(map, p, photo, rank)));
    const share = ` (${same} of ${near.length} of its class)`;
    return make("section", {}, make("h4", {}, "nearest by ", make("strong", {}, model), share), list);
  }

  function neighbour(map, p, photo, rank) {
    const { data, chosen } = map;
    const others = data.near.filter((_, q) => q !== p).map((all) => all[chosen]);
    const shared = others.length > 0 && others.every((near) => near.includes(photo));
    const odd = data.labels[photo] !== data.labels[chosen];
    const text = data.cosines[p][chosen][rank].toFixed(2) + (shared ? " ∩" : "");
    const label = `${said(data, photo)}, cosine ${text.slice(0, 4)}${shared ? ", near in both" : ""}${odd ? ", another class" : ""}`;
    const look = { type: "button", "aria-label": label, title: label, class: odd ? "xaicl-map-odd" : "" };
    const button = make("button", look, tile(data, photo, 52), text);
    button.addEventListener("click", () => choose(map, photo, true));
    return button;
  }

  // Rings: a large one for the chosen photo, small ones for its neighbours by the model of the map.
  function mark({ data, places, chosen }, box, p) {
    if (places[p].size === 0) return;
    const xy = (photos) => [photos.map((k) => places[p].get(k)[2]), photos.map((k) => places[p].get(k)[3])];
    const [near, one] = [xy(data.near[p][chosen]), xy([chosen])];
    const last = box.data.length - 1;
    window.Plotly.restyle(box, { x: [near[0], one[0]], y: [near[1], one[1]] }, [last - 1, last]);
  }

  // ---------------------------------------------------------------- the pointer

  function peek(map, event, p) {
    const photo = event.points[0].customdata;
    if (map.echoing || photo === undefined) return;
    showTip(map, photo, event.event);
    map.echoing = true; // the other maps point at the same photo, which is no news to us
    map.boxes.forEach((box, q) => {
      const place = q === p ? null : map.places[q].get(photo);
      if (place) window.Plotly.Fx.hover(box, [{ curveNumber: place[0], pointNumber: place[1] }]);
    });
    map.echoing = false;
  }

  function showTip({ data, tip }, photo, { clientX, clientY }) {
    tip.replaceChildren(tile(data, photo, 96), make("span", {}, said(data, photo)));
    tip.style.left = `${Math.min(clientX + 14, innerWidth - 130)}px`;
    tip.style.top = `${Math.min(clientY + 14, innerHeight - 140)}px`;
    tip.hidden = false;
  }

  function leave(map, p) {
    map.tip.hidden = true;
    if (map.echoing) return;
    map.echoing = true;
    map.boxes.forEach((box, q) => q !== p && map.places[q].size && window.Plotly.Fx.unhover(box));
    map.echoing = false;
  }

  // ---------------------------------------------------------------- what is there

  function whenDrawn(box, act) {
    if (box.hasAttribute(DRAWN)) { act(); return; }
    new MutationObserver((_, observer) => {
      if (!box.hasAttribute(DRAWN)) return;
      observer.disconnect();
      act();
    }).observe(box, { attributes: true, attributeFilter: [DRAWN] });
  }

  function drawn(map, box, p) {
    box.data.forEach((trace, k) => (trace.customdata ?? []).forEach((photo, j) => map.places[p].set(photo, [k, j, trace.x[j], trace.y[j]])));
    box.on("plotly_hover", (event) => peek(map, event, p));
    box.on("plotly_unhover", () => leave(map, p));
    box.on("plotly_click", (event) => event.points[0].customdata !== undefined && choose(map, event.points[0].customdata));
    mark(map, box, p);
  }

  function linkLegend(map, buttons) {
    buttons.forEach((button, k) => button.addEventListener("click", () => {
      map.only = map.only === k ? null : k;
      buttons.forEach((other, j) => other.setAttribute("aria-pressed", String(map.only === j)));
      map.boxes.forEach((box) => dim(map, box));
    }));
  }

  function dim({ data, only }, box) {
    if (!box.hasAttribute(DRAWN)) return;
    const traces = data.classes.map((_, k) => k);
    window.Plotly.restyle(box, { "marker.opacity": traces.map((k) => (only === null || only === k ? 0.85 : 0.12)) }, traces);
  }

  function linkBar(map, root) {
    const count = map.data.labels.length;
    const step = (by) => choose(map, (map.chosen + by + count) % count);
    root.querySelector(".xaicl-map-back").addEventListener("click", () => step(-1));
    root.querySelector(".xaicl-map-on").addEventListener("click", () => step(1));
    map.entry.addEventListener("change", () => {
      const photo = Math.round(Number(map.entry.value)) - 1;
      choose(map, photo >= 0 && photo < count ? photo : map.chosen);
    });
  }

  start(document.currentScript.parentElement);
}
