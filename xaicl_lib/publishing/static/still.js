// Makes of an open page of the book what paper can hold: its figures as pictures, its formulas as MathML, nothing that waits for a click.
"use strict";
{
  const GONE = "script, style, link, button, .headerlink, details.hide, details.xaicl-table, svg.sd-octicon, .xaicl-screen, .xaicl-cite, .xaicl-editions, "
    + ".xaicl-map-bar, .xaicl-map-found, .xaicl-map-tip, .xl-top, [role=status], input, select";
  const HANDLES = ".slider-rail-rect, .slider-rail-touch-rect, .slider-grip-rect, .slider-labels, .slider-tick-rect, .updatemenu-header-arrow";
  const LEAVES = "image, text, path, rect, circle, line";
  const WHOLE = 840; // pixels of height: what is no taller fits on a page and is not cut
  const TITLE = 16; // pixels between a row's title and the row, which stay together
  const MARGIN = 10; // pixels below what is lowest, where a slider's handles are cut off
  const files = [];

  const page = document.body;
  const bytes = async (address) => {
    const blob = await (await fetch(address)).blob();
    const [head, data] = (await new Promise((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.readAsDataURL(blob);
    })).split(",");
    return { kind: /^data:image\/(\w+)/.exec(head)?.[1] ?? "bin", data };
  };

  function keep(kind, data, text = false) {
    const same = files.findIndex((file) => file.data === data);
    if (same >= 0) return files[same].name;
    files.push({ name: `${files.length + 1}.${kind.replace("jpeg", "jpg")}`, data, text });
    return files.at(-1).name;
  }

  const img = (src, alt, attributes = {}) => Object.assign(document.createElement("img"), { src, alt, ...attributes });

  // The heights at which a tall picture may be cut: between two rows, where nothing stands.
  function gaps(svg, height) {
    const top = svg.getBoundingClientRect().top;
    const spans = [...svg.querySelectorAll(LEAVES)].filter((leaf) => !leaf.matches("defs *, rect.bg"))
      .map((leaf) => [leaf.getBoundingClientRect(), leaf.matches(".annotation-text") ? TITLE : 0])
      .map(([box, below]) => [box.top - top, box.bottom - top + below])
      .filter(([low, high]) => high > low && high - low < height / 2)
      .sort((a, b) => a[0] - b[0]);
    const found = [];
    let end = spans[0]?.[1] ?? 0;
    for (const [low, high] of spans) {
      if (low > end) found.push({ at: (low + end) / 2, size: low - end });
      end = Math.max(end, high);
    }
    return { found, end };
  }

  // Where to cut, so that pieces fill pages well: at the widest gap in the lower half of what still fits.
  function cuts(found, height, tallest) {
    const made = [0];
    while (height > WHOLE && height - made.at(-1) > tallest) {
      const from = made.at(-1);
      const fit = found.filter(({ at }) => at > from + tallest / 2 && at <= from + tallest);
      if (fit.length === 0) break;
      made.push(fit.reduce((best, gap) => (gap.size >= best.size ? gap : best)).at);
    }
    return [...made, height];
  }

  // A picture's piece from one height to another, without what lies outside of it.
  function piece(svg, low, high, width) {
    const copy = svg.cloneNode(true);
    const top = svg.getBoundingClientRect().top;
    const [leaves, copies] = [svg, copy].map((one) => [...one.querySelectorAll(LEAVES)]);
    leaves.forEach((leaf, k) => {
      const box = leaf.getBoundingClientRect();
      if (!leaf.closest("defs") && (box.bottom - top <= low || box.top - top >= high)) copies[k].remove();
    });
    copy.setAttribute("viewBox", `0 ${low} ${width} ${high - low}`);
    copy.setAttribute("width", width);
    copy.setAttribute("height", high - low);
    return new XMLSerializer().serializeToString(copy);
  }

  async function drawing(box, tallest) {
    const { width, height } = box._fullLayout;
    const text = await window.Plotly.toImage(box, { format: "svg", width, height });
    const holder = document.createElement("div");
    holder.innerHTML = decodeURIComponent(text.slice(text.indexOf(",") + 1));
    page.append(holder);
    const svg = holder.firstElementChild;
    const handles = svg.querySelectorAll(HANDLES);
    handles.forEach((handle) => handle.remove());
    const { found, end } = gaps(svg, height);
    const at = cuts(found, handles.length > 0 ? Math.min(height, end + MARGIN) : height, tallest);
    const made = at.slice(1).map((high, k) => img(keep("svg", piece(svg, at[k], high, width), true), k === 0 ? box.getAttribute("aria-label") : "", { className: "xaicl-plot", width, height: Math.round(high - at[k]) }));
    holder.remove();
    return made;
  }

  // A drawing within the page takes its colours from the page's style sheets; as a file of its own it must bring them.
  function inlined(svg) {
    const copy = svg.cloneNode(true);
    const [from, to] = [svg, copy].map((one) => [one, ...one.querySelectorAll("*")]);
    from.forEach((element, k) => {
      const style = getComputedStyle(element);
      for (const name of ["fill", "stroke", "stroke-width", "stroke-linecap", "opacity", "font-size", "font-family", "text-anchor"]) to[k].style.setProperty(name, style.getPropertyValue(name));
    });
    return new XMLSerializer().serializeToString(copy);
  }

  function formula({ math, display, typesetRoot }) {
    const made = document.createElement("span");
    made.className = display ? "xaicl-display" : "xaicl-inline";
    made.dataset.tex = math;
    const parsed = new DOMParser().parseFromString(window.MathJax.tex2mml(math, { display }), "application/xml");
    made.append(document.importNode(parsed.documentElement, true));
    typesetRoot.replaceWith(made);
  }

  function unlive(article) {
    for (const said of article.querySelectorAll(".xl-lab noscript")) {
      said.replaceWith(Object.assign(document.createElement("div"), { innerHTML: said.textContent, className: "xaicl-note" }));
    }
    article.querySelectorAll("noscript").forEach((one) => one.remove());
    for (const live of article.querySelectorAll("xaicl-pair")) {
      live.replaceWith(...live.childNodes);
    }
    for (const button of article.querySelectorAll(".xaicl-map-legend button")) {
      button.replaceWith(Object.assign(document.createElement("span"), { innerHTML: `${button.innerHTML} ` }));
    }
  }

  // What the menus and sliders of a drawing offer, and which of it is drawn; how far maps cover their photos is no other figure.
  function offers({ updatemenus = [], sliders = [] }) {
    const covers = ({ args }) => Object.keys(args?.[0] ?? {}).join() === "opacity";
    const menus = updatemenus.filter(({ visible, buttons }) => visible && !buttons.every(({ method }) => method === "animate"));
    const rails = sliders.filter(({ steps }) => !steps.every(covers));
    const all = [...menus.map(({ active, buttons }) => [Math.max(0, active), buttons, ""]), ...rails.map(({ active, steps, currentvalue }) => [active, steps, currentvalue?.prefix ?? ""])];
    return all.filter(([, one]) => one.length > 1).map(([active, one, prefix]) => ({ shown: prefix + one[active].label, others: one.filter((_, k) => k !== active).map(({ label }) => label) }));
  }

  // Pictures of the questions that are about pictures, which a page draws when they come near.
  async function illustrate(article) {
    const asked = [...article.querySelectorAll(".xaicl-question")].map((box) => [box, JSON.parse(box.querySelector("script").textContent)]);
    for (const [box, question] of asked.filter(([, { kind }]) => kind === "place" || kind === "control")) {
      const { maps, paintMap } = await import(new URL(`${document.documentElement.dataset.content_root}_static/quiz_maps.js`, document.baseURI));
      const found = await maps(question);
      const shown = question.kind === "place" ? ["a", "b"].map((side) => [side.toUpperCase(), question[side], null]) : question.maps.map((method, k) => [`Map ${k + 1}`, question.a, method]);
      const drawn = shown.map(async ([name, picture, method]) => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 336, height: 336 });
        canvas.setAttribute("aria-label", `${name}: ${found.title(picture)}`);
        if (method) paintMap(canvas, await found.photo(picture), found.of(method), "a", found, method);
        else found.draw.paint(canvas, await found.photo(picture), null);
        const figure = document.createElement("figure");
        figure.append(canvas, Object.assign(document.createElement("figcaption"), { textContent: name }));
        return figure;
      });
      const photos = Object.assign(document.createElement("div"), { className: "xaicl-photos" });
      photos.append(...(await Promise.all(drawn)));
      box.querySelector(".xaicl-ask").after(photos);
    }
  }

  async function pictures(article) {
    for (const canvas of article.querySelectorAll("canvas")) {
      canvas.replaceWith(img(canvas.toDataURL("image/jpeg", 0.9), canvas.getAttribute("aria-label") ?? "", { width: 300, height: 300 }));
    }
    for (const one of article.querySelectorAll("img")) {
      if (files.some(({ name }) => name === one.getAttribute("src"))) continue;
      const { kind, data } = await bytes(one.src);
      one.setAttribute("src", keep(kind, data));
      for (const name of ["loading", "srcset", "sizes"]) one.removeAttribute(name);
    }
  }

  // The page's article as XML, and the files of its pictures.
  window.still = async (tallest) => {
    const article = document.querySelector("article");
    if (window.MathJax?.startup) {
      await window.MathJax.startup.promise;
      [...window.MathJax.startup.document.math].forEach(formula);
    }
    const drawn = await Promise.all([...article.querySelectorAll(".xaicl-plot")].map(async (box) => [box, await drawing(box, tallest)]));
    for (const svg of article.querySelectorAll("svg[aria-label]:not(.xaicl-plot *)")) {
      svg.replaceWith(img(keep("svg", inlined(svg), true), svg.getAttribute("aria-label")));
    }
    unlive(article);
    for (const [box, made] of drawn) {
      box.closest(".xaicl-figure").dataset.offers = JSON.stringify(offers(box._fullLayout));
      box.replaceWith(...made);
    }
    await illustrate(article);
    article.querySelectorAll(GONE).forEach((one) => one.remove());
    await pictures(article);
    const text = new XMLSerializer().serializeToString(article);
    return { text, files, plots: drawn.length };
  };
}
