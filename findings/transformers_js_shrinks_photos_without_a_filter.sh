#!/usr/bin/env bash
# transformers.js in Node: photos are made small by picking points of them, so that black and white stripes come out white.
#
# A processor's configuration says resample 2 or 3, Pillow's bilinear and bicubic, which widen with the factor by which a photo shrinks: fine stripes
# become grey. transformers.js hands these two to sharp's affine transform, which looks at the few points around each new pixel, however many lie
# between; a remark in its code says that this is how Pillow does it. From 896 pixels to 224 at least three of four columns are never looked at.
# What is finer than the new pixels, hair, print, grass, becomes noise, and embeddings made in Node do not compare with those made in Python
# for the same weights, the more the larger the photo. Lanczos takes another way and is near Pillow's. Nothing warns. (In sharp's issue 3642 the
# library's author asked how to have Pillow's filters; issue 3917 there says that affine is not for shrinking.)
#
# Seen with @huggingface/transformers 4.3.2, sharp 0.35.5, Node 20.20.2, pillow 13.0.0, by its CLIPImageProcessor: stripes of one pixel, whose mean is
# 127.5: Pillow 128 everywhere, transformers.js 255 everywhere. A picture of 1/f noise, 2000 to 224 pixels, of a standard deviation of 50: apart by
# 22 (bilinear), 24 (bicubic) and 0.9 (Lanczos) on average.
# Exits with 0 while that is so, with 1 when it has changed. Needs Node 20 or later and npm.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$folder" @huggingface/transformers@4.3.2 sharp@0.35.5 > "$folder/npm.txt"
cat > "$folder/shrink.mjs" << 'SCRIPT'
import fs from "node:fs";
import { CLIPImageProcessor, RawImage } from "@huggingface/transformers";

const [folder, tasks] = [process.argv[2], JSON.parse(process.argv[3])];
for (const { name, size, resample } of tasks) {
  const image = new RawImage(new Uint8Array(fs.readFileSync(`${folder}/${name}.raw`)), size, size, 3);
  const processor = new CLIPImageProcessor({
    do_resize: true, size: { shortest_edge: 224 }, resample, do_center_crop: true, crop_size: { height: 224, width: 224 },
    do_rescale: true, rescale_factor: 1 / 255, do_normalize: false, do_convert_rgb: true,
  });
  const { pixel_values } = await processor(image);
  fs.writeFileSync(`${folder}/${name}.${resample}`, Buffer.from(new Float32Array(pixel_values.data).buffer));
}
console.log(process.version);
SCRIPT
"$folder/venv/bin/python" - "$folder" << 'PROGRAM'
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, __version__

folder, small = Path(sys.argv[1]), 224
FILTERS = {"bilinear": 2, "bicubic": 3, "Lanczos": 1}


def noise(size, rng):
    """A picture whose amplitudes fall as one over the frequency, as those of photos do."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    frequency[0, 0] = np.inf
    made = np.stack([np.fft.irfft2(np.fft.rfft2(rng.normal(size=(size, size))) / frequency, (size, size)) for _ in range(3)], axis=2)
    return np.clip(127.5 + 50 * made / made.std(), 0, 255).astype(np.uint8)


stripes = np.zeros((896, 896, 3), np.uint8)
stripes[:, ::2] = 255
pictures = {"stripes": stripes, "noise": noise(2000, np.random.default_rng(0))}
for name, picture in pictures.items():
    (folder / f"{name}.raw").write_bytes(picture.tobytes())
tasks = [{"name": name, "size": len(picture), "resample": code} for name, picture in pictures.items() for code in FILTERS.values()]
asked = ["node", str(folder / "shrink.mjs"), str(folder), json.dumps(tasks)]
node = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
versions = {name: json.loads((folder / "node_modules" / name / "package.json").read_text())["version"] for name in ("@huggingface/transformers", "sharp")}
print(*(f"{name} {version}" for name, version in versions.items()), "Node", node, "pillow", __version__)
print(f"stripes: means of blocks of 4 x 4 pixels {np.unique(stripes.reshape(small, 4, small, 4, 3).mean((1, 3)))}")

found = {}
for name, picture in pictures.items():
    for word, code in FILTERS.items():
        theirs = 255 * np.fromfile(folder / f"{name}.{code}", np.float32).reshape(3, small, small).transpose(1, 2, 0)
        pillow = np.asarray(Image.fromarray(picture).resize((small, small), code)).astype(float)
        found[name, word] = theirs, pillow, float(np.abs(theirs - pillow).mean())
        inner = {which: part[8:-8, 8:-8] for which, part in (("transformers.js", theirs), ("Pillow", pillow))}
        ranges = ", ".join(f"{which} {part.min():.0f} to {part.max():.0f}" for which, part in inner.items())
        print(f"{name}, {word}: {ranges}; apart by {found[name, word][2]:.1f} on average")
picked = all(found["stripes", word][2] > 60 for word in ("bilinear", "bicubic"))
grey = all(np.ptp(found["stripes", word][1][8:-8, 8:-8]) <= 1 for word in FILTERS)
far = all(found["noise", word][2] > 10 * found["noise", "Lanczos"][2] for word in ("bilinear", "bicubic"))
sys.exit(not (picked and grey and far))
PROGRAM
