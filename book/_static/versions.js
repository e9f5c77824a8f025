// The other versions of the book, where a site holds several: versions.json above this one's folder lists them, the newest first.
const root = document.documentElement;
const home = new URL(root.dataset.content_root, location.href);
const here = root.dataset.xaiclVersion;

const make = (name, what = {}, ...children) => {
  const element = Object.assign(document.createElement(name), what);
  element.append(...children);
  return element;
};

// To the same page of another version, or to its first page if it has none such.
async function go(event) {
  event.preventDefault();
  const { href, dataset } = event.currentTarget;
  const there = await fetch(href, { method: "HEAD" }).then(({ ok }) => ok, () => false);
  location.assign(there ? href : dataset.first);
}

function entry(version) {
  if (version === here) return make("li", {}, make("span", { ariaCurrent: "true" }, version));
  const first = new URL(`../${version}/`, home);
  const link = make("a", { href: first.href + location.href.slice(home.href.length) }, version);
  link.dataset.first = first.href;
  link.addEventListener("click", go);
  return make("li", {}, link);
}

const versions = await fetch(new URL("../versions.json", home)).then((answer) => answer.json(), () => []);
const place = document.querySelector(".article-header-buttons");
if (place && versions.length > 1) {
  const shown = here === versions[0] ? here : `${here}, older`;
  place.prepend(make("details", { className: "xaicl-versions" }, make("summary", { ariaLabel: `Version ${shown}` }, shown), make("ul", {}, ...versions.map(entry))));
}
