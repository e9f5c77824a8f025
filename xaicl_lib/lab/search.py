"""What the book's search page finds: two hundred drawn scenes on one sheet, and their embeddings by each of its models.

Every scene of one object has a twin, the same object elsewhere; and every tenth has a yellow frame, whatever is in it, so that there is a
shortcut to find.
"""

import io
import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from xaicl_lib.data.captions import facts_of, phrase, relations
from xaicl_lib.data.drawing import render
from xaicl_lib.data.scenes import draw_pairs
from xaicl_lib.data.stickers import with_frame
from xaicl_lib.lab.export.bundle import facts_of as facts_of_file
from xaicl_lib.lab.gallery import MODELS
from xaicl_lib.retrieval import Gallery
from xaicl_lib.zoo import load_model

SEARCHED = ("scenes_clip", "scenes_simclr")  # models, the one that reads words first
SIDE = 64  # pixels of a scene, as these models see it
PAIRS = {"same_object": 60, "one_shared": 40}
LEVELS = 63  # of a channel: in 64 x 64 pixels nobody sees it, and the sheet has half the bytes
FRAMED = 10  # every so manieth
COLUMNS = 20  # of the sheet
SEED = 18  # of scenes that no model learned from
START = 10  # the scene that is asked with first


def _searched_scenes() -> tuple[Float[Tensor, "n 3 s s"], list[str]]:
    """The gallery, as it is left by six bits a channel, and what is to be seen in each scene, in words."""
    drawn = [side for kind, n in PAIRS.items() for side in draw_pairs(n, kind, torch.Generator().manual_seed(SEED))]
    images = torch.cat([render(side, SIDE)[0] for side in drawn])
    facts = torch.cat([facts_of(side) for side in drawn])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))
    images, has = images[order], torch.arange(len(images)) % FRAMED == FRAMED // 2
    images = torch.where(has.view(-1, 1, 1, 1), with_frame(images), images)
    said = [_said(*both) + (", in a frame" if framed else "") for both, framed in zip(facts[order].tolist(), has.tolist(), strict=True)]
    return ((images * LEVELS).round() * 255 / LEVELS).round() / 255, said


def _said(first: list[int], second: list[int]) -> str:
    if second[0] < 0:
        return phrase(first, ("size", "colour", "texture", "shape", "place", "background"))
    return f"{phrase(first)} {relations(first, second)[0]} {phrase(second, ('colour', 'texture', 'shape', 'background'))}"


def write_search(static: Path) -> None:
    """Put the gallery of the search page into the lab's folder, beside `models`, where the bundles of its models are already."""
    folder = static / "search"
    folder.mkdir(exist_ok=True)
    images, titles = _searched_scenes()
    sheet = _sheet((images * 255).round().byte())
    (folder / "sheet.webp").write_bytes(sheet)
    index = {
        "titles": titles,
        "start": START,
        "sheet": {"side": SIDE, "columns": COLUMNS, **facts_of_file("sheet.webp", sheet)},
        "models": [_write_vectors(folder, name, images, static / "models" / name) for name in SEARCHED],
    }
    (folder / "index.json").write_text(json.dumps(index, separators=(",", ":")), encoding="utf-8")


def _write_vectors(folder: Path, name: str, images: Float[Tensor, "n 3 s s"], bundle: Path) -> dict[str, Any]:
    """Write the unit vectors of all scenes by a model; what the page must know of it, so that it finds them to be of the model it runs."""
    data = Gallery.of_images(load_model(name, "cpu"), images).embeddings.astype("<f4").tobytes()
    (folder / f"{name}.bin").write_bytes(data)
    card = json.loads((bundle / "model.json").read_text(encoding="utf-8"))
    facts = {"size": card["size"], "text": card["text"], "weights": card["weights"]["sha256"]}
    return {"name": name, "title": MODELS[name][0], **facts, "vectors": facts_of_file(f"{name}.bin", data)}


def _sheet(images: UInt8[Tensor, "n 3 s s"]) -> bytes:
    """All scenes on one picture, row by row."""
    tiles = images.unflatten(0, (-1, COLUMNS)).permute(0, 3, 1, 4, 2)  # (rows, s, columns, s, 3)
    buffer = io.BytesIO()
    Image.fromarray(tiles.flatten(2, 3).flatten(0, 1).contiguous().numpy()).save(buffer, "WEBP", lossless=True, quality=100)
    return buffer.getvalue()
