// Elements of the page. Text is always set as text: what a reader's file is called can never become HTML.

export function h(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (typeof value === "boolean") made.toggleAttribute(name, value);
    else if (value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function svg(tag, props = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

let counter = 0;
export const unique = (name) => `xl-${name}-${(counter += 1)}`;

// A control under its name.
export function field(title, control, extra = null) {
  control.id ||= unique("field");
  return h("div", { class: "xl-field" }, h("label", { for: control.id }, title), control, extra);
}

export function select(options, value, onchange) {
  const made = h("select", { class: "xl-select", onchange: () => onchange(made.value) });
  fill(made, options, value);
  return made;
}

// options: [value, title] or {group, options}
export function fill(made, options, value) {
  const one = ([key, title]) => h("option", { value: key, selected: key === value }, title);
  made.replaceChildren(
    ...options.map((item) => (Array.isArray(item) ? one(item) : h("optgroup", { label: item.group }, ...item.options.map(one)))),
  );
  made.value = value;
}

export function slider({ low, high, step, value, oninput, label }) {
  const made = h("input", { type: "range", class: "xl-slider", min: low, max: high, step, oninput: () => oninput(Number(made.value)) });
  if (label) made.setAttribute("aria-label", label);
  made.value = value;
  return made;
}

export const button = (title, onclick, props = {}) => h("button", { type: "button", class: "xl-button", onclick, ...props }, title);
