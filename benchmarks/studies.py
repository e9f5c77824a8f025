"""The larger runs behind the pages of the studies, once, with where they came from; the pages show them beside their own quick runs.

    python benchmarks/studies.py truth | dissection | harmful | quality [--models simclr ...] [-n 64]
        [--store FOLDER] [-o results]

Photos are those of XAICL_IMAGENETTE (validation part). What a store has is not computed again.
"""

import argparse
import datetime
import os
import platform
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from xaicl_lib import augment, list_models, load_model
from xaicl_lib.corpora import embed_corpus
from xaicl_lib.data.photos import imagenette, photo_mosaics
from xaicl_lib.data.scenes import KINDS, scene_pairs, scene_set, scenes
from xaicl_lib.pair import Pair
from xaicl_lib.results import code_version
from xaicl_lib.studies.dissection import dissect
from xaicl_lib.studies.evaluation import Way
from xaicl_lib.studies.harmful import sweep
from xaicl_lib.studies.properties import properties
from xaicl_lib.studies.quality import Judge, by_classifier, by_corpus, calibrated, class_grids, contrastivity, recognised, two_objects
from xaicl_lib.studies.truth import intervene, localise

Tables = dict[str, pd.DataFrame]
SHARED = [kind for kind in KINDS if kind != "nothing_shared"]
VIEW = torch.tensor([[0.15, 0.15, -0.7, 0.7]])  # the middle of a photo, mirrored, as the second view
NAMES = [
    *("deep_similarity", "grad_cam", "interaction_cam", "input_x_gradient", "averaged_transforms", "pairwise_occlusion"),
    *("random_map", "edges"),
]
CHEAP: dict[str, Way] = {name: name for name in NAMES}
GUIDED: dict[str, Way] = {"input_x_gradient(guided=True)": ("input_x_gradient", {"guided": True})}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(n: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Validation photos spread evenly over the classes."""
    images, labels, _ = imagenette("val", size, limit=n)
    return images.float() / 255, labels


def mosaics(n: int, size: int, share: str) -> Pair:
    images, labels, _ = imagenette("val", size, limit=1000)
    return photo_mosaics(n, size, photos=images, labels=labels, share=share, generator=seeded())


def known_pairs(name: str, n: int) -> dict[str, Pair]:
    """Scenes for models of scenes, mosaics for models of photos."""
    size = load_model(name, "cpu").size
    if name.startswith("scenes"):
        return {kind: scene_pairs(n, kind, size, seeded()) for kind in SHARED}
    return {f"mosaic, same {share}": mosaics(n, size, share) for share in ("photo", "class")}


def truth(models: list[str], n: int, store: str | None, device: str) -> Tables:
    drops, found = [], []
    for name in models:
        model, pairs = load_model(name, device), known_pairs(name, n)
        drops += [intervene([model], pairs, fill=fill, generator=seeded()).assign(fill=fill) for fill in ("around", "other")]
        occlusion: Way = ("conditional_occlusion", {"stride": model.size // 12})  # 11 places a side rather than the paper's 21
        ways = {**CHEAP, **({} if name == "moco_v3" else GUIDED), "conditional_occlusion": occlusion}  # a transformer has no ReLU
        few = {kind: pair[: n // 2] for kind, pair in pairs.items() if kind not in ("mosaic, same class", "same_background")}
        found.append(localise([model], few, ways, store=store))
    return {"truth": pd.concat(drops, ignore_index=True), "localisation": pd.concat(found, ignore_index=True)}


def dissection(models: list[str], n: int, store: str | None, device: str) -> Tables:
    frames = []
    for name in models:
        model = load_model(name, device)
        images = scenes(n, model.size, seeded(7))[0] if name.startswith("scenes") else photos(n, model.size)[0]
        frames.append(dissect([model], images, store=store, adaptive=0.01))
    return {"dissection": pd.concat(frames, ignore_index=True)}


def harmful(models: list[str], n: int, store: str | None, device: str) -> Tables:
    frames = []
    for name in models:
        model = load_model(name, device)
        if name.startswith("scenes"):
            pair = scene_pairs(n, "same_object", model.size, seeded())
        else:
            images = photos(n, model.size)[0]
            pair = Pair(images, augment.resized_crop(images, VIEW.expand(n, 4), model.size))
        frames += [sweep([model], pair, method=method).assign(method=method) for method in ("interaction_cam", "grad_cam")]
    return {"harmful": pd.concat(frames, ignore_index=True)}


CLASS_WAYS: dict[str, tuple[str, dict]] = {
    "grad_cam": ("grad_cam", {}),
    "input_x_gradient": ("input_x_gradient", {}),
    "smooth_grad": ("smooth_grad", {"samples": 8}),
    "conditional_occlusion": ("conditional_occlusion", {"stride": 24}),
    "random_map": ("random_map", {}),
}


def judges_of(names: list[str], device: str, images: torch.Tensor, labels: torch.Tensor) -> list[Judge]:
    """Every model by corpora of these images, and those with a classifier by its logits too; calibrated on the same images."""
    found = []
    for name in names:
        model = load_model(name, device)
        if name in ("supervised", "scenes_supervised"):
            found.append(by_classifier(name, device))
        found.append(by_corpus(model, embed_corpus(model, images), labels))
    return [calibrated(judge, images, labels) for judge in found]


def quality(models: list[str], n: int, store: str | None, device: str) -> Tables:
    """Grids of photos and scenes of two objects; the models of a family that are asked for, on images that all of them recognise."""
    tables: dict[str, list[pd.DataFrame]] = {"contrastivity": [], "properties": []}
    for scene, family in ((False, "photos"), (True, "scenes")):
        names = [name for name in QUALITY if name in models and name.startswith("scenes") == scene]
        if not names:
            continue
        if scene:
            train, labels = (part[:2000] for part in scene_set("train", 64, 2000)[:2])
            test, known = scene_set("val", 64, 400)[:2]
            labels, known = labels[:, 0], known[:, 0]
        else:
            train, labels = imagenette("train", 96, limit=2000)[:2]
            test, known = imagenette("val", 96, limit=800)[:2]
        judges = judges_of(names, device, train.float() / 255, labels)
        sure = recognised(judges, test.float() / 255, known)
        images, classes = test[sure].float() / 255, known[sure]
        print(f"{family}: {len(images)} of {len(test)} recognised by {', '.join(f'{j.name} (T {j.temperature:.3f})' for j in judges)}")
        shown = two_objects(2 * n, 64, seeded()) if scene else class_grids(n, images, classes, seeded())
        tables["contrastivity"].append(contrastivity(judges, *shown, CLASS_WAYS).assign(family=family))
        mixed = torch.randperm(len(images), generator=seeded())[:n]
        tables["properties"].append(properties(judges, images[mixed], classes[mixed], CLASS_WAYS).assign(family=family))
    return {name: pd.concat(frames, ignore_index=True) for name, frames in tables.items()}


QUALITY = ("supervised", "supcon", "triplet", "simclr", "scenes_supervised", "scenes_simclr")
STUDIES: dict[str, Callable[[list[str], int, str | None, str], Tables]] = {
    "truth": truth,
    "dissection": dissection,
    "harmful": harmful,
    "quality": quality,
}


def with_provenance(table: pd.DataFrame, n: int, device: str) -> pd.DataFrame:
    where = torch.cuda.get_device_name() if device.startswith("cuda") else f"{platform.machine()} CPU, {os.cpu_count()} cores"
    facts = {"pairs": n, "device": where, "torch": torch.__version__, "date": datetime.date.today().isoformat(), "code": code_version()}
    drop = [column for column in ("seconds", "version") if column in table]
    return table.drop(columns=drop).assign(**{"seed": 0, **facts})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--models", nargs="*", default=list_models())
    parser.add_argument("-n", type=int, default=64, help="pairs of each kind")
    parser.add_argument("--store")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", type=Path, default=Path("results"))
    parser.add_argument("--add", action="store_true", help="keep the rows of other models in the files that are there")
    given = parser.parse_args()
    for name, table in STUDIES[given.study](given.models, given.n, given.store, given.device).items():
        path, table = given.output / f"{name}.parquet", with_provenance(table, given.n, given.device)
        if given.add and path.is_file():
            old = pd.read_parquet(path)
            table = pd.concat([old[~old["model"].isin(given.models)], table], ignore_index=True)
        texts = {column: "category" for column in table if table[column].dtype in (object, "str")}
        table.astype(texts).to_parquet(path, index=False)
        print(f"{path}: {len(table)} rows")


if __name__ == "__main__":
    main()
