// What all that computes on a page shares: the gallery's index, its pictures, and one engine with what it has computed.

import { gallery } from "./gallery.js";
import { fromFile, fromGallery } from "./pictures.js";
import { createResults } from "./results.js";

const base = new URL("../", import.meta.url);
let page = null;

// {index, store, results, pictures}
export const opened = () => (page ??= open());

async function open() {
  const store = gallery(new URL("gallery/", base));
  try {
    const index = await store.index();
    return { index, store, results: createResults({ index, store, base }), pictures: new Map() };
  } catch (error) {
    page = null;
    throw error;
  }
}

// The picture of that name in the gallery, or at an address on this host; fetched once.
export function pictureOf({ pictures, store, index }, { name, url }) {
  if (!pictures.has(name)) pictures.set(name, (url ? fetched(name, url) : fromGallery(store, index, name)).catch((error) => { pictures.delete(name); throw error; }));
  return pictures.get(name);
}

async function fetched(name, url) {
  const file = name.split("/").pop();
  const answer = await fetch(url).catch(() => null);
  if (!answer?.ok) throw new Error(`the picture ${name} is not there`);
  return { ...(await fromFile(new File([await answer.blob()], file))), name };
}
