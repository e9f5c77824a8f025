// The gallery: its index, and the results that torch made for its pairs, which come in bytes.

export async function fetchJson(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${new URL(url).pathname.split("/").pop()} is not there (${answer.status}).`);
  return answer.json();
}

export function gallery(base) {
  const files = new Map();
  const at = (path) => new URL(path, base).href;
  const remembered = (path) => {
    if (!files.has(path)) files.set(path, fetchJson(at(path)).catch((error) => { files.delete(path); throw error; }));
    return files.get(path);
  };
  return {
    index: () => remembered("index.json"),
    check: (model) => remembered(`check/${model}.json`),
    thumbnail: (name) => at(`pictures/${name}-96.png`),
    shown: (name) => at(`pictures/${name}.jpg`),
    seen: (name, size) => at(`pictures/${name}-${size}.png`),
    // Results of all methods for a pair of the gallery, whichever way round; null if the model has none.
    async results(index, a, b, model) {
      const known = (x, y) => index.pairs.some((pair) => pair.a === x && pair.b === y);
      const asked = index.models.find((one) => one.name === model && !one.own);
      if (!known(a, b) || !asked || (asked.made && !asked.made.includes(`${a}--${b}`))) return null;
      return remembered(`results/${a}--${b}--${model}.json`);
    },
  };
}

// A result as the worker gives it, from bytes: a value is (byte - zero) * step.
export function unpack(stored) {
  const values = ({ shape, bytes }, zero, step) => ({ data: Float32Array.from(decode(bytes), (byte) => (byte - zero) * step), h: shape[0], w: shape[1] });
  const result = { score: stored.score, a: values(stored.a, stored.zero, stored.step), b: values(stored.b, stored.zero, stored.step) };
  if (stored.joint) {
    const [ia, ja, ib, jb] = stored.joint.shape;
    result.joint = { data: values(stored.joint, stored.joint.zero, stored.joint.step).data, ia, ja, ib, jb };
  }
  return result;
}

export const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
export const floats = (text) => new Float32Array(decode(text).buffer);
