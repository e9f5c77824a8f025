// Draws the figures of the book. Each is a .xaicl-plot followed by its JSON; plotly.js comes from beside this file, once per page.
"use strict";
{
  const here = document.currentScript.src;
  const root = document.documentElement;
  const NARROW = 520; // pixels: below, a figure of pictures takes the narrow form that its meta describes
  let loading = null;

  function plotly() {
    loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL("plotly.min.js", here).href;
      script.onload = () => resolve(window.Plotly);
      script.onerror = () => reject(new Error("plotly.min.js could not be loaded"));
      document.head.append(script);
    });
    return loading;
  }

  const variable = (name, otherwise) => getComputedStyle(root).getPropertyValue(name).trim() || otherwise;

  // Everything that carries no data follows the reader's theme.
  function template() {
    const text = variable("--pst-color-text-base", "#323232");
    const line = variable("--pst-color-border", "#c9c9c9");
    const surface = variable("--pst-color-surface", "#f5f5f5");
    const font = { color: text, family: getComputedStyle(document.body).fontFamily, size: 13 };
    const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line, automargin: true };
    const colorbar = { outlinewidth: 0, thickness: 12, tickcolor: line };
    return {
      layout: {
        font,
        title: { font: { size: 16 } },
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        colorway: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"], // Okabe and Ito: safe for colour-blind readers
        xaxis: axis,
        yaxis: axis,
        margin: { l: 48, r: 24, t: 40, b: 40 },
        coloraxis: { colorbar },
        hoverlabel: { bgcolor: surface, bordercolor: line, font },
        legend: { bgcolor: "rgba(0,0,0,0)" },
        sliderdefaults: { bgcolor: line, activebgcolor: variable("--pst-color-primary", "#0072b2"), borderwidth: 0 },
        modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: text },
      },
      data: { heatmap: [{ colorbar }] },
    };
  }

  // As wide as the text, or as the least its meta says: then it scrolls in its own box. A figure of pictures says there how its
  // height follows from its width: fixed + share * width.
  function size(box, { width, height = 450, meta }) {
    const space = box.parentElement.clientWidth;
    if (meta?.share === undefined) return { width: Math.max(Math.min(space, width ?? space), meta?.least ?? 0), height };
    const { fixed, share } = (space < NARROW && meta.narrow) || meta;
    return { width: space, height: fixed + share * space };
  }

  // Photos that stand in many places of a figure are written once; {shared: k} stands for the k-th.
  function unshare(node, shared) {
    if (node === null || typeof node !== "object") return node;
    if (typeof node.shared === "number") return shared[node.shared];
    for (const key of Object.keys(node)) node[key] = unshare(node[key], shared);
    return node;
  }

  const length = (given) => given?.bdata?.length ?? given?.length ?? 0;
  const hasNumbers = ({ type, dx, x, y, text, texttemplate, hoverinfo }) =>
    type === "heatmap" ? dx === undefined && Boolean(x || text || texttemplate) : length(x) > 0 && length(y) > 0 && hoverinfo !== "skip";

  class Plot {
    constructor(box) {
      this.box = box;
      const { shared, ...spec } = JSON.parse(box.parentElement.querySelector("script[type='application/json']").textContent);
      this.spec = unshare(spec, shared);
      this.drawn = null; // a promise, once asked for
      this.space = 0;
      this.reserve();
      this.offerNumbers();
    }

    // A figure of numbers has them as a table behind a button, made when it is opened.
    offerNumbers() {
      if (!this.spec.data.some(hasNumbers)) return;
      const details = document.createElement("details");
      details.className = "xaicl-table";
      details.append(Object.assign(document.createElement("summary"), { textContent: "The numbers as a table" }), document.createElement("div"));
      details.addEventListener("toggle", async () => {
        if (!details.open) return;
        const { fill } = await import(new URL("figure_table.js", here));
        fill(details.lastElementChild, { data: this.box.data ?? this.spec.data, layout: this.spec.layout });
      });
      const group = this.box.closest(".xaicl-map"); // whose figures stand side by side
      if (group) group.append(details);
      else this.box.parentElement.after(details);
    }

    // Room for the figure, before and after it is there: the page never jumps.
    reserve() {
      const measures = size(this.box, this.spec.layout);
      this.space = this.box.parentElement.clientWidth;
      this.box.style.minHeight = `${measures.height}px`;
      this.box.style.width = `${measures.width}px`;
      if (measures.width > this.space) this.box.parentElement.tabIndex = 0; // so that the keyboard can scroll it
      return { ...measures, autosize: false, template: template() };
    }

    draw() {
      this.drawn ??= plotly()
        .then((Plotly) => {
          const { data, layout, frames } = structuredClone(this.spec); // plotly writes into what it is given
          const { narrow } = this.spec.layout.meta ?? {};
          this.narrow = this.isNarrow();
          const config = { displaylogo: false, displayModeBar: false };
          return Plotly.newPlot(this.box, { data, layout: { ...layout, ...this.reserve() }, config, frames })
            .then(() => this.narrow && Plotly.update(this.box, narrow.bars, narrow.layout, narrow.traces));
        })
        .then(() => this.box.setAttribute("data-xaicl-drawn", ""));
      return this.drawn;
    }

    isNarrow() {
      return Boolean(this.spec.layout.meta?.narrow) && this.box.parentElement.clientWidth < NARROW;
    }

    fit() {
      if (this.box.parentElement.clientWidth !== this.space) this.redraw(); // a change of height alone is our own doing
    }

    // In another width or theme, with what the reader has set kept.
    redraw() {
      if (this.box.hasAttribute("data-xaicl-drawn") && this.narrow !== this.isNarrow()) {
        this.drawn = null;
        this.draw();
        return;
      }
      if (this.box.hasAttribute("data-xaicl-drawn")) window.Plotly.relayout(this.box, this.reserve());
      else this.reserve();
    }
  }

  function follow(plots) {
    const near = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) if (isIntersecting) plots.get(target).draw();
    }, { rootMargin: "600px" });
    for (const box of plots.keys()) near.observe(box);

    new MutationObserver(() => plots.forEach((plot) => plot.redraw())).observe(root, { attributes: true, attributeFilter: ["data-theme"] });
    const resized = new ResizeObserver((entries) => {
      for (const { target } of entries) plots.get(target.firstElementChild).fit();
    });
    for (const box of plots.keys()) resized.observe(box.parentElement);
  }

  // On paper everything is drawn, dark on white.
  function print(plots) {
    let theme = null;
    window.addEventListener("beforeprint", () => {
      theme = root.dataset.theme;
      root.dataset.theme = "light";
      plots.forEach((plot) => { plot.draw(); plot.redraw(); });
    });
    window.addEventListener("afterprint", () => { root.dataset.theme = theme; });
  }

  // Pairs to point at; their script and style are the lab's.
  function showPairs() {
    const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL("lab/page/lab.css", here).href });
    document.head.append(style);
    import(new URL("lab/page/explorer.js", here)).then(({ renderAll }) => renderAll());
  }

  function showPlots(boxes) {
    const plots = new Map(boxes.map((box) => [box, new Plot(box)]));
    plotly();
    follow(plots);
    print(plots);
  }

  // What scrolls sideways must be reached by the keyboard; what the theme leaves without a name of its own gets one.
  function accessible() {
    for (const box of document.querySelectorAll(".bd-article :is(pre, dt.sig)")) if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    for (const icon of document.querySelectorAll(".theme-switch-button :is(i, svg)")) {
      icon.setAttribute("aria-hidden", "true");
      icon.removeAttribute("title");
      icon.querySelector("title")?.remove();
    }
    for (const named of document.querySelectorAll(".search-button__button[aria-label], .bd-article summary[aria-label]")) {
      if (named.textContent.trim()) named.removeAttribute("aria-label"); // its text is its name
    }
    for (const fold of document.querySelectorAll(".bd-sidebar-primary summary:not([aria-label])")) {
      fold.setAttribute("aria-label", `Pages below ${fold.closest("li")?.querySelector("a")?.textContent.trim() ?? "this one"}`);
    }
  }

  // Where the book's settings do not say where it is, the page is cited as it is read.
  for (const place of document.querySelectorAll(".xaicl-url:empty")) {
    if (location.protocol.startsWith("http")) place.textContent = `\n  url = {${location.origin}${location.pathname}},`;
  }
  accessible();
  addEventListener("load", accessible);
  for (const button of document.querySelectorAll(".theme-switch-button")) {
    new MutationObserver(accessible).observe(button, { childList: true, subtree: true }); // icons are put in their place late, on slow machines
  }
  addEventListener("resize", accessible);
  const boxes = [...document.querySelectorAll(".xaicl-plot")];
  if (root.dataset.xaiclVersion) import(new URL("versions.js", here));
  if (document.querySelector("xaicl-pair")) import(new URL("lab/page/pair.js", here));
  if (document.querySelector(".xaicl-quiz")) import(new URL("quiz.js", here));
  if (document.querySelector(".xl-explorer")) showPairs();
  if (boxes.length > 0) showPlots(boxes);
}
