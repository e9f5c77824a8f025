// The numbers of a figure as a table, for those who do not see it or want to read them: what its traces hold as they are shown now.

const MOST = 400; // rows
const KINDS = { f8: Float64Array, f4: Float32Array, i1: Int8Array, i2: Int16Array, i4: Int32Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };

// Numbers as plotly writes them into JSON, with their shape.
export function values(given) {
  if (!given) return [];
  if (!given.bdata) return Array.from(given);
  const bytes = Uint8Array.from(atob(given.bdata), (letter) => letter.charCodeAt(0));
  const flat = Array.from(new KINDS[given.dtype](bytes.buffer));
  const [rows, columns] = String(given.shape ?? "").split(",").map(Number);
  return columns ? Array.from({ length: rows }, (_, i) => flat.slice(i * columns, (i + 1) * columns)) : flat;
}

const plain = (text) => String(text ?? "").replace(/<br\s*\/?>/g, " ").replace(/<[^>]*>/g, "").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
const shown = (value) => (typeof value === "number" ? (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3)))) : plain(value));
const axisOf = (layout, trace, letter) => layout[(trace[`${letter}axis`] ?? letter).replace(letter, `${letter}axis`)] ?? {};

// The name of the panel that a trace is in: what is written above the middle of its axes.
function panelOf(layout, trace) {
  const [left, right] = axisOf(layout, trace, "x").domain ?? [0, 1];
  const [, top] = axisOf(layout, trace, "y").domain ?? [0, 1];
  const above = ({ xref, yref, x, y }) => xref === "paper" && yref === "paper" && Math.abs(x - (left + right) / 2) < 0.01 && Math.abs(y - top) < 0.01;
  return plain((layout.annotations ?? []).find(above)?.text);
}

// What an axis calls a value: its own tick where one stands there, or near it where points are set apart, as no logarithmic axis sets them.
function named(axis, value) {
  const [at, texts] = [values(axis.tickvals), axis.ticktext ?? []];
  if (!at.length || typeof value !== "number") return shown(value);
  const nearest = at.reduce((best, one, k) => (Math.abs(one - value) < Math.abs(at[best] - value) ? k : best), 0);
  const reached = axis.type === "log" ? at[nearest] === value : Math.abs(at[nearest] - value) < 0.5;
  return reached && texts[nearest] !== undefined ? plain(texts[nearest]) : shown(value);
}

export const isTabular = (trace) => {
  if (trace.visible === false || trace.visible === "legendonly") return false;
  if (trace.type === "heatmap") return trace.dx === undefined && Boolean(trace.x || trace.text || trace.texttemplate);
  return ["scatter", "bar", undefined].includes(trace.type) && values(trace.x).length > 0 && values(trace.y).length > 0 && trace.hoverinfo !== "skip";
};

// [{head, rows}] of a figure: one for each square of numbers, and one for all its points and bars.
export function tables({ data, layout }) {
  const use = data.filter(isTabular);
  const points = use.filter((trace) => trace.type !== "heatmap");
  return [...use.filter((trace) => trace.type === "heatmap").map((trace) => square(trace, layout)), ...(points.length ? [listed(points, layout)] : [])];
}

function square(trace, layout) {
  const written = Array.isArray(trace.text?.[0]) && /%\{text\}/.test(trace.texttemplate ?? ""); // then colours may be ranks, and the texts are the numbers
  const [z, x, y] = [written ? trace.text : values(trace.z), values(trace.x), values(trace.y)];
  const name = (axis, labels, k) => (labels.length ? shown(labels[k]) : named(axis, k));
  const across = axisOf(layout, trace, "x");
  const down = axisOf(layout, trace, "y");
  return { head: [panelOf(layout, trace), ...z[0].map((_, j) => name(across, x, j))], rows: z.map((line, i) => [name(down, y, i), ...line.map((v) => (v === null || v === undefined || Number.isNaN(v) ? "" : shown(v)))]) };
}

function listed(traces, layout) {
  const title = (letter) => [...new Set(traces.map((trace) => plain(axisOf(layout, trace, letter).title?.text)))].filter(Boolean).join(" / ") || letter; // panels share one
  const spread = (bar, k) => {
    const [up, down] = [values(bar?.array), values(bar?.arrayminus)];
    const both = [(down.length ? down : up)[k], up[k]];
    return both.every(Number.isFinite) ? both : null;
  };
  const panels = new Set(traces.map(({ xaxis = "x", yaxis = "y" }) => `${xaxis} ${yaxis}`)).size;
  const rows = traces.flatMap((trace) => {
    const panel = panels > 1 ? panelOf(layout, trace) : "";
    const [x, y] = [values(trace.x), values(trace.y)];
    const [across, down] = [axisOf(layout, trace, "x"), axisOf(layout, trace, "y")];
    return x.flatMap((value, k) => {
      if (value === null || y[k] === null || Number.isNaN(value) || Number.isNaN(y[k])) return []; // a gap
      const [bar, middle] = trace.error_x ? [spread(trace.error_x, k), value] : [spread(trace.error_y, k), y[k]];
      return [[panel, plain(trace.name), named(across, value), named(down, y[k]), bar ? `${shown(middle - bar[0])} to ${shown(middle + bar[1])}` : ""]];
    });
  });
  const keep = [0, 1, 2, 3, 4].filter((column) => rows.some((row) => row[column] !== ""));
  return { head: keep.map((column) => ["panel", "series", title("x"), title("y"), "interval"][column]), rows: rows.map((row) => keep.map((column) => row[column])) };
}

// Puts the tables of a figure into `box`.
export function fill(box, figure) {
  box.replaceChildren(...tables(figure).map(element));
}

function element({ head, rows }) {
  const line = (tag, texts, first = tag) => {
    const made = document.createElement("tr");
    made.append(...texts.map((text, k) => {
      const cell = document.createElement(k ? tag : first);
      if (cell.tagName === "TH") cell.scope = tag === "th" ? "col" : "row";
      cell.textContent = text;
      return cell;
    }));
    return made;
  };
  const table = document.createElement("table");
  table.className = "table";
  table.createTHead().append(line("th", head));
  table.createTBody().append(...rows.slice(0, MOST).map((row) => line("td", row, "th")));
  if (rows.length > MOST) table.createCaption().textContent = `The first ${MOST} of ${rows.length} rows.`;
  const scroll = document.createElement("div");
  scroll.className = "xaicl-numbers";
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Numbers of the figure");
  scroll.append(table);
  return scroll;
}
