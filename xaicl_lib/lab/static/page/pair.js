// <xaicl-pair model method a b …>: a pair of pictures under its maps, on any page. This script is all that a page names; everything else
// comes from beside it, and only when a pair comes near the reader's view. What stands inside the element is seen until then, and without scripts.
//
//   model, method, a, b   of the gallery; a and b also as the address of a picture on the page's own host
//   corpus, foil          names of the gallery, instead of b: how much more picture a is like the corpus than like the foil; both can be
//                         chosen anew from all pictures that the model knows
//   beside                a second model, its row below
//   change="hue 0.3"      alters picture b; strength="…" of others: none, blur, brightness, hue, rotation, grayscale
//   choose="model method change"   what the reader may choose
//   curve, cover          takes pixels away in the order of the maps; lets the reader cover places
//   when="seen"           computes when it is seen instead of when it is asked
//   seconds="120"         after which a computation is given up
// and every option of the method, such as stride="12".

const NEAR = "300px";
const AWAKE = 12; // pairs alive at a time; on a page of more the one that was left first rests again
const awake = new Set();

const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    target.isNear = isIntersecting;
    if (isIntersecting) wake(target);
  }
}, { rootMargin: NEAR });

async function wake(element) {
  if (awake.has(element)) return;
  awake.add(element);
  makeRoom();
  const { enliven } = await import("./pair_live.js");
  if (element.isConnected && awake.has(element)) element.live = await enliven(element, element.still);
}

function makeRoom() {
  for (const one of awake) {
    if (awake.size <= AWAKE) return;
    if (!one.isNear) rest(one);
  }
}

function rest(element) {
  awake.delete(element);
  element.live?.end();
  element.live = null;
  element.classList.remove("xl-lab", "xl-inline", "xl-ready");
  element.replaceChildren(...element.still);
}

class PairElement extends HTMLElement {
  connectedCallback() {
    this.still ??= [...this.childNodes];
    near.observe(this);
  }

  disconnectedCallback() {
    near.unobserve(this);
    rest(this);
  }
}

if (!customElements.get("xaicl-pair")) customElements.define("xaicl-pair", PairElement);
