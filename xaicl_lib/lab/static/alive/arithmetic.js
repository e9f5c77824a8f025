// Functions made of additions, multiplications, divisions and roots alone, which are the same to the last bit in every browser. Those of Math
// need not be, and a training doubles a difference in the last bit until it shows: with these, the same seed is the same run everywhere.

const LN2_HIGH = 0.6931471803691238; // ln 2 in two parts, so that a multiple of it is taken away exactly
const LN2_LOW = 1.9082149292705877e-10;
const SERIES = Float64Array.from({ length: 20 }, (_, k) => 1 / Array.from({ length: k }, (__, j) => j + 1).reduce((product, v) => product * v, 1)); // 1 / k!
const LEAST = -1074; // power of two
const POWERS = (() => {
  const made = new Float64Array(1024 - LEAST);
  made[-LEAST] = 1;
  for (let k = 1 - LEAST; k < made.length; k += 1) made[k] = 2 * made[k - 1];
  for (let k = -LEAST - 1; k >= 0; k -= 1) made[k] = made[k + 1] / 2;
  return made;
})();

// e^x for x up to 700: 2^k times the power series of the rest.
export function exp(x) {
  const k = Math.round(x / Math.LN2);
  if (!(k > LEAST)) return 0;
  const rest = x - k * LN2_HIGH - k * LN2_LOW;
  let sum = 0;
  for (let j = 13; j >= 0; j -= 1) sum = rest * sum + SERIES[j];
  return sum * POWERS[k - LEAST];
}

export function tanh(x) {
  const small = exp(-2 * Math.abs(x));
  const size = (1 - small) / (1 + small);
  return x < 0 ? -size : size;
}

// [cos, sin] of a number of turns: power series of a sixteenth of the angle at most, doubled twice.
export function circular(turns) {
  const angle = (2 * Math.PI * (turns - Math.round(turns))) / 4;
  let [cos, sin] = [0, 0];
  for (let j = 8; j >= 0; j -= 1) {
    cos = SERIES[2 * j] - angle * angle * cos;
    sin = SERIES[2 * j + 1] - angle * angle * sin;
  }
  sin *= angle;
  for (let k = 0; k < 2; k += 1) [cos, sin] = [cos * cos - sin * sin, 2 * cos * sin];
  return [cos, sin];
}

// Numbers of mean 0 and variance 1, normal but for their farthest tails: each the sum of twelve uniform ones, less 6.
export function normals(count, draw) {
  return Float64Array.from({ length: count }, () => {
    let sum = -6;
    for (let k = 0; k < 12; k += 1) sum += draw();
    return sum;
  });
}
