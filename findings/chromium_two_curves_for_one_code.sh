#!/usr/bin/env bash
# Chromium: the same code of a transfer curve (ITU-T H.273, BT.709 and its like) means one curve in a PNG and another in an AVIF.
#
# A PNG states it in its chunk cICP, an AVIF in its box colr/nclx; both are read. In the PNG the code 1 is shown by a power of 2.4, in the AVIF
# by the curve of sRGB, as if it were 13. A still of a video saved in both formats, each labelled rightly, is darker in one of them, by up to
# 13 of 255 in the shadows. A code 2 ("unspecified") beside primaries of P3 likewise: the AVIF keeps the primaries, the PNG drops them.
#
# Seen with Chromium 156.0.8078.108 (Debian), files written by Pillow 12.0.0: a flat grey of 40 is 28 in the PNG and 40 in the AVIF with code 1,
# and 40 in both with code 13.
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
import zlib
from pathlib import Path

from PIL import Image

chromium, folder = sys.argv[1], Path(sys.argv[2])


def written(kind, primaries, curve):
    """A flat picture that states these codes."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), GREY).save(buffer, kind, **({"quality": 100, "subsampling": "4:4:4"} if kind == "AVIF" else {}))
    file = buffer.getvalue()
    if kind == "AVIF":
        place = file.index(b"colrnclx") + 8
        return file[:place] + struct.pack(">HH", primaries, curve) + file[place + 4 :]
    chunk = b"cICP" + bytes([primaries, curve, 0, 1])  # no matrix, as pixels are RGB; the whole range
    return file[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + file[33:]


def shown(kind, primaries, curve):
    page = folder / "page.html"
    source = f"data:image/{kind.lower()};base64,{base64.b64encode(written(kind, primaries, curve)).decode()}"
    page.write_text(f"""<body><img src="{source}"><script>
      onload = () => {{
        const context = document.createElement("canvas").getContext("2d");
        context.drawImage(document.images[0], 0, 0);
        document.title = context.getImageData(8, 8, 1, 1).data.slice(0, 3).join(" ");
      }};
    </script>""")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    return tuple(map(int, re.search(r"<title>(\d+) (\d+) (\d+)</title>", dom).groups()))


GREY = (40, 40, 40)
print(subprocess.run([chromium, "--version"], capture_output=True, text=True, check=True).stdout.strip(), "and Pillow", Image.__version__)
seen = {(kind, curve): shown(kind, 1, curve) for curve in (13, 1) for kind in ("PNG", "AVIF")}
for (kind, curve), colour in seen.items():
    print(f"{kind}, curve {curve}: {colour}")
same = max(abs(v - 40) for key, colour in seen.items() if key != ("PNG", 1) for v in colour) <= 1
sys.exit(not (same and 40 - seen["PNG", 1][0] >= 8))
PROGRAM
