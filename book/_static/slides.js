// Keys and place in the deck of slides. Without this script the deck still scrolls and prints.
(() => {
  "use strict";
  const slides = [...document.querySelectorAll(".slide")];
  const place = document.getElementById("place");
  const button = document.getElementById("notes");
  let current = 0;

  function show(number) {
    current = Math.max(0, Math.min(slides.length - 1, number));
    slides[current].scrollIntoView();
    slides[current].focus({ preventScroll: true });
  }

  function notes() {
    const shown = document.body.classList.toggle("show-notes");
    button.setAttribute("aria-pressed", String(shown));
    slides[current].scrollIntoView();
  }

  const keys = {
    ArrowRight: () => show(current + 1), PageDown: () => show(current + 1), " ": () => show(current + 1),
    ArrowLeft: () => show(current - 1), PageUp: () => show(current - 1),
    Home: () => show(0), End: () => show(slides.length - 1), n: notes, N: notes,
  };
  document.addEventListener("keydown", (event) => {
    const own = event.target.closest("button, a, input, select, .xaicl-plot");
    if (own || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  button.addEventListener("click", notes);

  // The slide that takes most of the window is the current one.
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) current = slides.indexOf(target);
    place.textContent = `${current + 1} / ${slides.length}`;
    history.replaceState(null, "", `#s${current + 1}`);
  }, { rootMargin: "-50% 0px -50% 0px" });
  slides.forEach((slide) => seen.observe(slide));
})();
