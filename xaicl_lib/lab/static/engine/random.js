/** Random numbers from a seed, the same in every browser. They are not torch's: to compare with torch, hand its draws over. */

/** Numbers in [0, 1) by the generator sfc32, after a run-in that spreads the seed. @param {number} seed @returns {() => number} */
export function uniform(seed) {
  let [a, b, c, d] = [seed | 0, Math.floor(seed / 2 ** 32) | 0, 0x9e3779b9 | 0, 1];
  const next = () => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t;
    c |= 0;
    return (t >>> 0) / 2 ** 32;
  };
  for (let k = 0; k < 20; k++) next();
  return next;
}

/** Standard normal numbers (Box and Muller). @param {number} count @param {() => number} draw from `uniform` */
export function normal(count, draw) {
  const out = new Float32Array(count);
  for (let k = 0; k < count; k += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - draw()));
    const angle = 2 * Math.PI * draw();
    out[k] = radius * Math.cos(angle);
    if (k + 1 < count) out[k + 1] = radius * Math.sin(angle);
  }
  return out;
}
