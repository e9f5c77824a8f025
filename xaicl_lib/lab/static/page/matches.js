// Which cell of one side goes with which of the other, from a joint map [ia ja ib jb].

// What goes with a cell of one side: a map of the other.
export function matchesOf({ data, ia, ja, ib, jb }, side, [i, j]) {
  if (side === "a") return { data: data.subarray((i * ja + j) * ib * jb, (i * ja + j + 1) * ib * jb), h: ib, w: jb };
  return { data: Float32Array.from({ length: ia * ja }, (_, k) => data[k * ib * jb + i * jb + j]), h: ia, w: ja };
}

// Row and column of a map's largest value.
export function strongest({ data, w }) {
  const at = data.reduce((best, value, k) => (value > data[best] ? k : best), 0);
  return [Math.floor(at / w), at % w];
}

const known = new WeakMap();

// How strong the best match of a cell usually is, by the median over the cells of A: much weaker ones are drawn fainter.
export function usual(joint) {
  if (!known.has(joint)) {
    const { data, ia, ja, ib, jb } = joint;
    const best = Float64Array.from({ length: ia * ja }, (_, k) => data.subarray(k * ib * jb, (k + 1) * ib * jb).reduce((top, v) => Math.max(top, Math.abs(v)), 0));
    known.set(joint, best.sort()[Math.floor(best.length / 2)]);
  }
  return known.get(joint);
}
