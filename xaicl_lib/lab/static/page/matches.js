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

// The strongest links, each cell used once: {from, to, value} with rows and columns of A and of B.
export function linksOf({ data, ia, ja, ib, jb }, count) {
  const left = Float32Array.from(data);
  const found = [];
  while (found.length < Math.min(count, ia * ja, ib * jb)) {
    const at = left.reduce((best, value, k) => (value > left[best] ? k : best), 0);
    const [p, q] = [Math.floor(at / (ib * jb)), at % (ib * jb)];
    found.push({ from: [Math.floor(p / ja), p % ja], to: [Math.floor(q / jb), q % jb], value: data[at] });
    left.fill(-Infinity, p * ib * jb, (p + 1) * ib * jb);
    for (let k = q; k < left.length; k += ib * jb) left[k] = -Infinity;
  }
  return found;
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
