#!/usr/bin/env bash
# Chromium: a CMYK JPEG with an ICC profile loses its black ink before the profile is applied.
#
# The decoder first turns four inks into three by R = (1 - C)(1 - K) and so on, and then hands 1 - R, 1 - G, 1 - B and no black to the embedded
# CMYK profile. Pure black ink so becomes what the profile says of cyan, magenta and yellow printed over each other: with this profile a warm
# brown instead of a neutral dark grey, with every profile something else than its makers measured. Without K, or without a profile, all is well.
#
# The file is an ordinary one: 8 bits, Adobe's inverted inks, one profile of class prtr with an A2B0 table that Little CMS reads as it is meant.
# K = 100 % alone is L* 15 without hue in it, and C + M + Y is L* 25, a* 25, b* 25.
#
# Seen with Chromium 156.0.8078.108 (Debian), Pillow 12.0.0 (Little CMS 2.17): black ink (97, 41, 22) in Chromium, (37, 37, 37) by Little CMS;
# cyan ink, for comparison, (0, 150, 200) and (0, 149, 200).
# Exits with 0 while that is so, with 1 when it has changed. Needs a Chromium; CHROMIUM names it.
set -euo pipefail
chromium="${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome)}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pillow==12.0.0
"$folder/venv/bin/python" - "$chromium" "$folder" << 'PROGRAM'
import base64
import io
import re
import struct
import subprocess
import sys
from itertools import product
from pathlib import Path

from PIL import Image, ImageCms, features

chromium, folder = sys.argv[1], Path(sys.argv[2])
STEPS, RAMP = 5, bytes(range(256))


def lab(c, m, y, k):
    """Lightness and hue of inks from 0 to 1, as the bytes of a profile's table."""
    light = (1 - 0.45 * c) * (1 - 0.5 * m) * (1 - 0.1 * y) * (1 - 0.85 * k)
    return round(255 * light), round(128 + (60 * m - 35 * c) * (1 - k)), round(128 + (75 * y - 40 * c - 10 * m) * (1 - k))


def fixed(*values):
    return struct.pack(f">{len(values)}i", *(round(65536 * v) for v in values))


def profile():
    table = b"".join(bytes(lab(*inks)) for inks in product([k / (STEPS - 1) for k in range(STEPS)], repeat=4))
    name = b"three inks and black\0"
    tags = {
        b"desc": b"desc" + struct.pack(">II", 0, len(name)) + name + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249),
        b"A2B0": b"mft1\0\0\0\0" + bytes([4, 3, STEPS, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + 4 * RAMP + table + 3 * RAMP,
    }
    index, data, start = b"", b"", 132 + 12 * len(tags)
    for tag, value in tags.items():
        index += tag + struct.pack(">II", start + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = struct.pack(">I4xI4s4s4s12x4s28x", start + len(data), 0x02100000, b"prtr", b"CMYK", b"Lab ", b"acsp") + fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + index + data


def jpeg(inks):
    buffer = io.BytesIO()
    Image.new("CMYK", (16, 16), inks).save(buffer, "JPEG", quality=100, icc_profile=profile())
    return buffer.getvalue()


def by_little_cms(file):
    image = Image.open(io.BytesIO(file))
    source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), renderingIntent=1, outputMode="RGB").getpixel((8, 8))


def by_chromium(file):
    page = folder / "page.html"
    page.write_text(f"""<body><img src="data:image/jpeg;base64,{base64.b64encode(file).decode()}"><script>
      onload = () => {{
        const context = document.createElement("canvas").getContext("2d");
        context.drawImage(document.images[0], 0, 0);
        document.title = context.getImageData(8, 8, 1, 1).data.slice(0, 3).join(" ");
      }};
    </script>""")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    return tuple(map(int, re.search(r"<title>(\d+) (\d+) (\d+)</title>", dom).groups()))


def near(one, other):
    return max(abs(a - b) for a, b in zip(one, other)) <= 2


version = subprocess.run([chromium, "--version"], capture_output=True, text=True, check=True).stdout.strip()
print(f"{version}; Pillow {Image.__version__}, Little CMS {features.version('littlecms2')}")
seen = {}
for name, inks in {"cyan": (255, 0, 0, 0), "black": (0, 0, 0, 255), "cyan, magenta and yellow": (255, 255, 255, 0)}.items():
    seen[name] = by_chromium(jpeg(inks)), by_little_cms(jpeg(inks))
    print(f"{name}: Chromium {seen[name][0]}, Little CMS {seen[name][1]}")
as_meant = all(near(*seen[name]) for name in ("cyan", "cyan, magenta and yellow"))
sys.exit(not (as_meant and not near(*seen["black"]) and near(seen["black"][0], seen["cyan, magenta and yellow"][1])))
PROGRAM
