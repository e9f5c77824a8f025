// What is said of a run: the sentence below the pictures, and what the pictures show for whoever does not see them.

import { SHAPE_NAMES } from "./drawing.js";

const COLLAPSED = -0.05; // of the uniformity: above, hardly any two embeddings are apart

const SPREAD = "spread out";

export const number = (value, digits = 2) => value.toFixed(digits).replace("-", "−").replace(/^−(0\.?0*)$/, "$1");

export const collapsed = ({ uniformity }) => uniformity > COLLAPSED;

// Where on the circle each class lies, as on the face of a clock.
export function whereabouts({ z, labels }) {
  const classes = [...new Set(labels)].sort();
  const places = classes.map((k) => place(z.filter((_, i) => labels[i >> 1] === k)));
  if (places.every((one) => one === SPREAD)) return `every class ${SPREAD}`;
  const said = classes.map((k) => `${SHAPE_NAMES[k]} ${places[k]}`);
  return `${said.slice(0, -1).join(", ")} and ${said.at(-1)}`;
}

// A direction as an hour, from 1 to 12.
export function hour(x, y) {
  const hours = Math.round(((Math.PI / 2 - Math.atan2(y, x)) / (2 * Math.PI)) * 12);
  return ((hours + 23) % 12) + 1;
}

function place(z) {
  let [x, y] = [0, 0];
  for (let i = 0; i < z.length; i += 2) [x, y] = [x + z[i], y + z[i + 1]];
  if (Math.hypot(x, y) < 0.7 * (z.length / 2)) return SPREAD;
  return `near ${hour(x, y)} o’clock`;
}

// The sentence when a run rests; `first` is what was seen before its first step.
export function summary(now, first) {
  if (now.steps === 0) return "Not trained yet: the encoder is as its random first weights make it.";
  const measured = `After ${now.steps} steps the loss is ${number(now.loss)} (${number(first.loss)} before), the alignment ${number(now.alignment, 3)}, the uniformity ${number(now.uniformity)}.`;
  if (collapsed(now)) return `Collapsed: all embeddings are about the same, whatever the point. ${measured}`;
  return `${measured} Of the embeddings within ten degrees of one, ${Math.round(100 * now.same)} % are of its class: ${whereabouts(now)}.`;
}

// A message as a sentence of its own.
export const sentence = (message) => `${message[0].toUpperCase()}${message.slice(1).replace(/\.?$/, ".")}`;
