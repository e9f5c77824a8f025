"""The runs that the page `book/alive` tells of, in Node, and its still picture: `python -m tests.lab.alive` draws that anew."""

import json
import re
from typing import Any

from tests.check_pages import ROOT
from tests.lab_node import in_node

PAGE = ROOT / "book" / "alive.md"
PICTURE = ROOT / "book" / "_static" / "alive.svg"
STEPS = 600  # after which the page rests

RUNS = """
import { begin, readSettings, seen, train } from "lab/alive/training.js";
const runOf = (asked) => {
  const settings = readSettings(asked);
  const run = begin(settings);
  const before = seen(run, settings);
  train(run, settings, given.steps);
  return { settings, before, after: seen(run, settings) };
};
"""
DRAW = """
import { SIDE, circle, plane } from "lab/alive/drawing.js";
const [made, alone] = [runOf({}), runOf({ negatives: false })];
const panels = [
  ["192 points, and where the encoder sends each place", plane(made.after, 5)],
  ["their embeddings before training", circle(made.before, 5)],
  [`after ${given.steps} steps`, circle(made.after, 5)],
  [`after ${given.steps} steps without negatives`, circle(alone.after, 5)],
];
const panel = ([says, picture], k) => {
  const [left, top] = [(SIDE + 24) * (k % 2), (SIDE + 40) * Math.floor(k / 2)];
  const below = `<text x="${SIDE / 2}" y="${SIDE + 20}" text-anchor="middle">${says}</text>`;
  return `<g transform="translate(${left} ${top})">\\n${picture.replaceAll("/><", "/>\\n<")}\\n${below}\\n</g>\\n`;
};
const box = `viewBox="0 0 ${2 * SIDE + 24} ${2 * SIDE + 68}" role="img" aria-label="${given.says}"`;
answer(`<svg xmlns="http://www.w3.org/2000/svg" class="xl-still-picture" ${box}>\\n${panels.map(panel).join("")}</svg>\\n`);
"""
SAYS = (
    "Four pictures: points of four classes in the plane, with needles that turn from class to class; their embeddings on a circle "
    "before training, on a short arc; after training, each class on an arc of its own, all around; after training without negatives, "
    "all in one place"
)


def presets() -> list[dict[str, Any]]:
    """What the buttons of the page set, in its order."""
    return [json.loads(text) for text in re.findall(r"data-alive='([^']*)'", PAGE.read_text(encoding="utf-8"))]


def still_picture() -> str:
    """The picture that stands where no script runs, as SVG."""
    return in_node(RUNS + DRAW, {"steps": STEPS, "says": SAYS})


if __name__ == "__main__":
    PICTURE.write_text(still_picture(), encoding="utf-8")
