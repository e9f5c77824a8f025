// Colour maps, all safe for colour-blind readers: perceptually uniform ones for maps without sign, diverging ones centred at zero.

const STOPS = {
  inferno: "0000040b0724210c4a3d096557106e71196e8a226aa32c61bc3754d24644e45a31f1731df98e09fcac11f9cb35f2ea69fcffa4",
  viridis: "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725",
  cividis: "00224e002e6a1a386f32436d434e6c535a6d61656f6f70737d7c788c88789b9476aba072bcae6ccdbb63dec958f0d846fee838",
  RdBu: "0530611752902a71b23f8ec06bacd19bc9e0c2ddece0ecf3f7f6f6fbe5d8fbccb4f5aa89e48066d05548ba2832930e2667001f",
  PuOr: "2d004b4518715f3a917b6aa89990bfb7b1d5cfcfe5e4e5f0f7f7f6fce8cdfed59ffdbc6bee9b39d97b12bd61099e4c077f3b08",
};

export const SCHEMES = [
  { name: "warm", title: "Warm (inferno, blue–red)", unsigned: "inferno", signed: "RdBu", high: "warm", low: "blue" },
  { name: "green", title: "Green (viridis, violet–orange)", unsigned: "viridis", signed: "PuOr", high: "bright", low: "violet" },
  { name: "blue", title: "Blue–yellow (cividis, blue–red)", unsigned: "cividis", signed: "RdBu", high: "bright", low: "blue" },
];

export const scheme = (name) => SCHEMES.find((one) => one.name === name) ?? SCHEMES[0];

// What the places of high value look like in a map, in a word.
export const highWord = (chosen, diverging) => (diverging ? (chosen.signed === "PuOr" ? "orange" : "red") : chosen.high);

const tables = new Map();

// 256 colours, (256 * 3) bytes.
export function table(name) {
  if (!tables.has(name)) tables.set(name, interpolate(STOPS[name].match(/../g).map((two) => parseInt(two, 16))));
  return tables.get(name);
}

function interpolate(stops) {
  const last = stops.length / 3 - 1;
  return Uint8ClampedArray.from({ length: 256 * 3 }, (_, k) => {
    const at = (Math.floor(k / 3) / 255) * last;
    const left = Math.min(Math.floor(at), last - 1);
    const [low, high] = [stops[3 * left + (k % 3)], stops[3 * left + 3 + (k % 3)]];
    return low + (high - low) * (at - left);
  });
}
