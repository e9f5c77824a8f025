"""The larger runs behind the pages of the studies, once, with where they came from; the pages show them beside their own quick runs.

    python benchmarks/studies.py STUDY [--models simclr ...] [-n 64] [--store FOLDER] [-o results]

STUDY is truth, localisation, copies, preference, dissection, harmful, combined, inversion, grey, downstream or texture.

Photos are those of XAICL_IMAGENETTE (validation part), for texture those of XAICL_CUE_CONFLICT. What a store has is not computed
again. `downstream` takes the snapshots of trainings beside the bundled models:

    python -m xaicl_lib train simclr --epochs 6 --keep 0,1,2,3,4,6
    python benchmarks/studies.py downstream -n 20 --snapshots runs/*/snapshots
"""

import argparse
import datetime
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from xaicl_lib import list_models, load_model
from xaicl_lib.augment.families import AUGMENTATIONS, Family
from xaicl_lib.data.cue_conflict import cue_conflict
from xaicl_lib.data.photos import SAMPLES, imagenette, open_photo, other_photos, photo_mosaics
from xaicl_lib.data.scenes import KINDS, scene_pairs, scenes
from xaicl_lib.evaluation.evaluate import evaluate
from xaicl_lib.evaluation.fingerprint import model_key
from xaicl_lib.evaluation.method_spec import Method
from xaicl_lib.evaluation.store import code_version, digest
from xaicl_lib.metrics import PAPER
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Pair
from xaicl_lib.stages import stages
from xaicl_lib.studies.combined import compositions
from xaicl_lib.studies.copies import located, once_and_twice
from xaicl_lib.studies.dissection import dissect
from xaicl_lib.studies.downstream import checkpoints
from xaicl_lib.studies.downstream import downstream as measure_downstream
from xaicl_lib.studies.harmful import CONTROLS, sweep
from xaicl_lib.studies.inversion import Inversion, Settings, colour_table, grey_table, invert_stages
from xaicl_lib.studies.localisation import localise
from xaicl_lib.studies.similarity import two_views
from xaicl_lib.studies.tables import choose_methods, view_pairs
from xaicl_lib.studies.texture import choose, photo_trials, scene_trials
from xaicl_lib.studies.truth import Masks, intervene, known_scenes
from xaicl_lib.zoo import untrained

Tables = dict[str, pd.DataFrame]
SHARED = [kind for kind in KINDS if kind != "nothing_shared"]
SHOWN = 3  # the level of compositions that the page compares with controls
NOISES = 10  # draws of random maps for one share of lost ones
BEFORE = "untrained "  # begins the name of a model's network before its training
LOCALISATION = ("pointing_game", "relevance_mass", "relevance_rank")
NAMES = [
    *("deep_similarity", "grad_cam", "interaction_cam", "input_x_gradient", "averaged_transforms", "pairwise_occlusion"),
    *("random_map", "edges"),
]
CHEAP: dict[str, Method] = {name: name for name in NAMES}
NEARLY_ALIKE = (  # variants that `preference` leaves out, for another of the same kind is there; half of its time would be theirs
    "interaction_cam(reduction=max, gradient_interaction=False)", "interaction_cam(reduction=attention, gradient_interaction=False)",
    "interaction_cam(reduction=max)", "smooth_grad(guided=True)", "averaged_transforms(level=0.15)", "integrated_jacobians",
)  # fmt: skip
GUIDED: dict[str, Method] = {"input_x_gradient(guided=True)": ("input_x_gradient", {"guided": True})}


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


def other_things(name: str, pairs: dict[str, Pair], n: int) -> dict[str, Masks]:
    """Masks of what a pair shows beside its evidence: a scene's other object, a mosaic's other photos."""
    if name.startswith("scenes"):
        return {"one_shared": known_scenes(n, load_model(name, "cpu").size).others["one shared"]}
    return {kind: other_photos(pair.truth) for kind, pair in pairs.items() if pair.truth is not None}


def truth(models: list[str], n: int, store: str | None, device: str) -> Tables:
    """Which pairs a model uses: the drop of the score without the evidence beside three controls, with two ways to paint."""
    drops = []
    for name in models:
        model, pairs = load_model(name, device), known_pairs(name, n)
        others = other_things(name, pairs, n)
        drops += [intervene([model], pairs, fill=fill, others=others).assign(fill=fill) for fill in ("around", "other")]
        print(f"{name}: done", flush=True)
    return {"truth": pd.concat(drops, ignore_index=True)}


def localisation(models: list[str], n: int, store: str | None, device: str) -> Tables:
    """Which maps find the evidence, on pairs of `truth`: scenes that share an object, mosaics that share a photo."""
    found = []
    for name in models:
        model = load_model(name, device)
        occlusion: Method = ("conditional_occlusion", {"stride": model.size // 12})  # 11 places a side rather than the paper's 21
        scenes_too = name.startswith("scenes")
        pairs = {"one_shared": scene_pairs(n, "one_shared", model.size, seeded())} if scenes_too else {}
        pairs = pairs or {"mosaic, same photo": mosaics(n, model.size, "photo")}
        found.append(localise([model], pairs, {**CHEAP, **GUIDED, "conditional_occlusion": occlusion}, store=store))
        print(f"{name}: done", flush=True)
    return {"localisation": pd.concat(found, ignore_index=True)}


def copies(models: list[str], n: int, store: str | None, device: str) -> Tables:
    """Which maps find an object that is there once, and twice; models of scenes, side a alone."""
    occlusions: dict[str, Method] = {
        "conditional_occlusion": ("conditional_occlusion", {"stride": 6}),
        "pairwise_occlusion": "pairwise_occlusion",
        "pairwise, temp. 0.5": ("pairwise_occlusion", {"temperature": 0.5}),
    }
    names = ("grad_cam", "interaction_cam", "deep_similarity", "input_x_gradient", "random_map", "edges")
    found = []
    for name in (name for name in models if name.startswith("scenes_s")):  # scenes_clip has captions on its sides b
        model = load_model(name, device)
        found.append(located([model], once_and_twice(n, model.size), {**occlusions, **{name: name for name in names}}))
        print(f"{name}: done", flush=True)
    return {"copies": pd.concat(found, ignore_index=True)}


def preference(models: list[str], n: int, store: str | None, device: str) -> Tables:
    """The paper's metrics beside those that know where the object is: do they prefer the same methods? Models of scenes."""
    frames = []
    for name in (name for name in models if name.startswith("scenes_s")):  # scenes_clip has captions on its sides b
        model = load_model(name, device)
        methods = {label: spec for label, spec in choose_methods(stride=model.size // 12).items() if label not in NEARLY_ALIKE}
        pairs = scene_pairs(n, "same_object", model.size, seeded())
        found = evaluate(model, pairs, methods, [*LOCALISATION, *PAPER], store=store, adaptive=0.02)
        frames.append(found.astype({"value": "float32"}))
        print(f"{name}: done", flush=True)
    return {"preference": pd.concat(frames, ignore_index=True)}


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
        pair = view_of_each(model, n)
        frames += [sweep([model], pair, method=method).assign(method=method) for method in ("interaction_cam", "grad_cam")]
        frames.append(lost_by_controls(frames[-1], pair, AUGMENTATIONS, NOISES))
    return {"harmful": pd.concat(frames, ignore_index=True)}


def combined(models: list[str], n: int, store: str | None, device: str) -> Tables:
    """Compositions of two augmentations, and beside them each alone."""
    frames = []
    for name in models:
        model = load_model(name, device)
        pair, augmentations = view_of_each(model, n), {**AUGMENTATIONS, **compositions()}
        table = sweep([model], pair, augmentations=augmentations).assign(method="interaction_cam")
        table = pd.concat([table, lost_by_controls(table, pair, augmentations, levels=[SHOWN])], ignore_index=True)
        frames.append(table[["model", "method", "augmentation", "level", "pair", "score", "lost"]].astype({"score": "float32"}))
        print(f"{name}: done", flush=True)
    return {"combined": pd.concat(frames, ignore_index=True)}


def lost_by_controls(
    table: pd.DataFrame, pair: Pair, augmentations: Mapping[str, Family], draws: int = 1, levels: Sequence[int] | None = None
) -> pd.DataFrame:
    """Rows of the controls beside those of a method on one model, whose scores they take: their maps see the pixels alone.

    So a network that costs nothing stands for the model. Of several draws of noise each value is the mean, `lost` the share of them.
    `levels` are those of `sweep`.
    """
    nothing = PairModel(torch.nn.Identity(), size=pair.a.shape[-1], mean=(0, 0, 0), std=(1, 1, 1), name=table["model"].iloc[0])
    keys = ["model", "augmentation", "level", "pair"]
    frames = []
    for name in CONTROLS:
        seeds = range(draws if name == "random_map" else 1)
        way = {"augmentations": augmentations, "method": name, "levels": levels}
        swept = pd.concat([sweep([nothing], pair, seed=seed, **way) for seed in seeds])
        frames.append(swept.groupby(keys, sort=False, as_index=False).mean().assign(method=name))
    scores = table[[*keys[1:], "score"]]
    return pd.concat(frames, ignore_index=True).drop(columns="score").merge(scores, on=keys[1:])


def view_of_each(model: PairModel, n: int) -> Pair:
    """Scenes with the same object, or photos beside a mirrored view of their middle."""
    if model.name.startswith("scenes"):
        return scene_pairs(n, "same_object", model.size, seeded())
    return two_views(photos(n, model.size)[0], model)


def inversion(models: list[str], n: int, store: str | None, device: str) -> Tables:
    frames = []
    for name in models:
        model = trained_or_not(name, device)
        images, names = targets_for(model, n)
        frames.append(colour_table(inverted(model, images, store), images, names))
    return {"inversion": pd.concat(frames, ignore_index=True)}


def grey(models: list[str], n: int, store: str | None, device: str) -> Tables:
    """What the inversion asks, without a search: how far features move when the colour goes."""
    frames = []
    for name in models:
        model = trained_or_not(name, device)
        images = scenes(n, model.size, seeded(7))[0] if "scenes" in name else photos(n, model.size)[0]
        frames.append(grey_table([model], images))
    return {"grey": pd.concat(frames, ignore_index=True)}


def trained_or_not(name: str, device: str) -> PairModel:
    return untrained(name.removeprefix(BEFORE)) if name.startswith(BEFORE) else load_model(name, device)


def targets_for(model: PairModel, n: int) -> tuple[torch.Tensor, list[str]]:
    """Scenes, or the sample photos and others."""
    if "scenes" in model.name:
        return scenes(n, model.size, seeded(7))[0], [f"scene {k}" for k in range(n)]
    own = [open_photo(name, model.size) for name in SAMPLES]
    more, labels = photos(n - len(own), model.size)
    return torch.cat([*own, more]), [*SAMPLES, *(f"photo {k} of class {label}" for k, label in enumerate(labels.tolist()))]


def inverted(model: PairModel, images: torch.Tensor, store: str | None) -> dict[tuple[str, str], Inversion]:
    """Stage by stage, from the store where it has them."""
    out = {}
    for stage in stages(model):
        path = Path(store or os.devnull) / model.name / f"{stage} {digest(model_key(model), images, vars(Settings()))}.pt"
        if path.is_file():
            out[model.name, stage] = Inversion(**torch.load(path, weights_only=True))
            continue
        out |= invert_stages([model], images, chosen=[stage])
        if store:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(vars(out[model.name, stage]), path)
    return out


def downstream(models: list[str], n: int, store: str | None, device: str, snapshots: Sequence[Path] = ()) -> Tables:
    bundled = [name for name in models if not name.startswith("scenes")]
    found = [
        *(checkpoints(device=device, names=bundled) if bundled else []),
        *(checkpoint for folder in snapshots for checkpoint in checkpoints(folder, device)),
    ]
    size = found[0].model.size
    data = imagenette("train", size, limit=800), imagenette("val", size, limit=800)
    views = view_pairs(photos(40, size)[0], seeded())  # n of a fixed set, so that a larger n goes on from the store
    assert views.b is not None
    some = torch.randperm(40, generator=seeded())[:n]
    pairs = Pair(views.a[some], views.b[some])
    return {"downstream": measure_downstream(found, pairs, data, store=store, adaptive=0.02)}


def texture(models: list[str], n: int, store: str | None, device: str) -> Tables:
    """Four n scenes, and 240 cue-conflict photos for each 32, by one method; an eighth of the photos by others."""
    frames = []
    for name in models:
        model = load_model(name, device)
        frames.append(choose([model], scene_trials(4 * n, model.size)).assign(method="interaction_cam"))
        if not name.startswith("scenes"):
            trials = photo_trials(cue_conflict(model.size), limit=240 * max(1, n // 32))  # each shape with each texture
            frames.append(choose([model], trials).assign(method="interaction_cam"))
            few = replace(trials, stimulus=trials.stimulus[::8], partners={cue: where[::8] for cue, where in trials.partners.items()})
            others = ("grad_cam", "deep_similarity", "input_x_gradient")
            frames += [choose([model], few, method=method).assign(method=method) for method in others]
        print(f"{name}: done", flush=True)
    table = pd.concat(frames, ignore_index=True)
    numbers = [column for column in table if table[column].dtype == "float64"]
    return {"texture": table.astype(dict.fromkeys(numbers, "float32"))}


STUDIES: dict[str, Callable[..., Tables]] = {
    study.__name__: study
    for study in (truth, localisation, copies, preference, dissection, harmful, combined, inversion, grey, downstream, texture)
}


def with_provenance(table: pd.DataFrame, n: int, device: str) -> pd.DataFrame:
    where = torch.cuda.get_device_name() if device.startswith("cuda") else f"{platform.machine()} CPU, {os.cpu_count()} cores"
    used = table["pair"].nunique() if "pair" in table else n  # some studies take fewer than they are asked for
    facts = {"pairs": used, "device": where, "torch": torch.__version__, "date": datetime.date.today().isoformat(), "code": code_version()}
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
    parser.add_argument("--snapshots", type=Path, nargs="*", default=[], help="folders of snapshots, for `downstream`")
    given = parser.parse_args()
    more = {"snapshots": given.snapshots} if given.study == "downstream" else {}
    for name, table in STUDIES[given.study](given.models, given.n, given.store, given.device, **more).items():
        path, table = given.output / f"{name}.parquet", with_provenance(table, given.n, given.device)
        if given.add and path.is_file():
            old = pd.read_parquet(path)
            table = pd.concat([old[~old["model"].isin(given.models)], table], ignore_index=True)
        texts = {column: "category" for column in table if table[column].dtype in (object, "str")}
        table.astype(texts).to_parquet(path, index=False)
        print(f"{path}: {len(table)} rows")


if __name__ == "__main__":
    main()
