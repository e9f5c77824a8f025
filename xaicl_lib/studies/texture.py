"""Texture or shape: with which does a model find an image more alike, and does the explanation tell the two apart?

Every image stands between partners that share one cue with it and nothing else. The model chooses which of them is more alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from xaicl_lib.data.cue_conflict import Stimuli, cue_conflict, cue_conflict_folder
from xaicl_lib.data.drawing import render
from xaicl_lib.data.scenes import draw_pairs, words
from xaicl_lib.errors import InputError, require
from xaicl_lib.methods import explain
from xaicl_lib.metrics.localisation import overlap, relevance_mass
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair, resize_map
from xaicl_lib.statistics.bootstrap import resampled_means, shares, with_interval
from xaicl_lib.statistics.paired import holm, interval, signed_ranks, tails
from xaicl_lib.studies.tables import mean_by, means

SHAPE, TEXTURE, NOTHING = "shape", "texture", "nothing"
SHARED = {SHAPE: "same shape", TEXTURE: "same texture", NOTHING: "nothing shared"}
SCENE_CUES = (SHAPE, TEXTURE, "colour", "background")
PAPER = 0.64  # of 50 pairs of different objects with a common texture, the paper's explanations show texture
AT_ONCE = 64  # pairs
REFERENCES = (  # data, the model that others are compared with, and column of what is drawn again as a whole
    ("photos", "supervised", "photo"),
    ("scenes", "scenes_supervised", None),
    ("scenes", "scenes_simclr", None),
)


@dataclass(frozen=True, eq=False)
class Trials:
    """n images, each with one partner for every cue."""

    data: str  #: what they are, for tables: "photos" or "scenes"
    images: Float[Tensor, "m 3 h w"]  #: in [0, 1], of all images and partners
    names: Sequence[str]  #: of the m images
    stimulus: Int[Tensor, " n"]  #: which of the images each trial asks about
    #: for every cue (n,) which of the images shares that cue with the stimulus and nothing else; always "shape" and "nothing"
    partners: Mapping[str, Int[Tensor, " n"]]
    objects: Bool[Tensor, "n h w"] | None = None  #: where the object of the stimulus is, if that is known

    def __post_init__(self) -> None:
        for cue in (SHAPE, NOTHING):
            if cue not in self.partners:
                raise InputError(f"expected partners that share {cue}, got those that share {', '.join(self.partners) or 'none'}")

    def __len__(self) -> int:
        return len(self.stimulus)


def scene_trials(n: int, size: int = 64, seed: int = 0) -> Trials:
    """Scenes between partners that share exactly their shape, texture, colour or background.

    The partners of a scene are one and the same other scene, in which a single factor was made that of the stimulus: twins, so that
    the scores differ by nothing but the cue.
    """
    kinds = {cue: "nothing_shared" if cue == NOTHING else f"same_{cue}" for cue in (*SCENE_CUES, NOTHING)}
    drawn = {cue: draw_pairs(n, kind, Generator().manual_seed(seed)) for cue, kind in kinds.items()}  # the same side a each time
    anchors, masks = render(drawn[NOTHING][0], size)
    images = [anchors, *(render(partner, size)[0] for _, partner in drawn.values())]
    names = [name for side in (drawn[NOTHING][0], *(pair[1] for pair in drawn.values())) for name in words(side.labels)]
    partners = {cue: torch.arange(n) + n * k for k, cue in enumerate(drawn, 1)}
    return Trials("scenes", torch.cat(images), names, torch.arange(n), partners, masks[:, 0])


def photos_at_hand(size: int, folder: str = "", *, download: bool = False, limit: int | None = None, seed: int = 0) -> Trials | None:
    """`photo_trials` of the cue-conflict images in a folder (see `cue_conflict_folder`), or fetched; None where neither is wanted."""
    found = cue_conflict_folder(folder)
    return photo_trials(cue_conflict(size, found), limit=limit, seed=seed) if found or download else None


def photo_trials(stimuli: Stimuli, *, repeats: int = 1, limit: int | None = None, seed: int = 0) -> Trials:
    """Cue-conflict images between partners of the same shape or texture, drawn from the same set.

    A partner shares the class of one cue, as another photo shows it: no photo is used on both sides. The other cue is of another class,
    and neither image has as its shape what the other has as its texture. Images without a conflict are not used.

    Args:
        stimuli: of `xaicl_lib.data.cue_conflict`.
        repeats: how many times each image is asked about, with other partners.
        limit: at most this many images are asked about, drawn so that every pair of shape and texture comes equally often (there are 240
            pairs among the 1,280 images, each five times): which texture it is matters more than anything else.

    Raises:
        InputError: too few images for so many different partners.
    """
    generator = Generator().manual_seed(seed)
    allowed = _allowed(stimuli)
    enough = torch.stack([mask.sum(1) >= repeats for mask in allowed.values()]).all(0) & stimuli.conflict
    asked = enough.nonzero()[:, 0]
    if not len(asked):
        raise InputError(f"expected images with {repeats} partners for each cue, got none among {len(stimuli)}")
    asked = asked[_balanced(stimuli.shape[asked], stimuli.texture[asked], generator)[: limit or len(asked)].sort().values]
    partners = {}
    for cue, mask in allowed.items():
        lot = torch.rand(mask.shape, generator=generator).masked_fill(~mask, -1)
        partners[cue] = lot[asked].topk(repeats, 1).indices.flatten()
    return Trials("photos", stimuli.images, stimuli.names, asked.repeat_interleave(repeats), partners)


def _balanced(shape: Int[Tensor, " n"], texture: Int[Tensor, " n"], generator: Generator) -> Int[Tensor, " n"]:
    """Places in a random order in which every pair of shape and texture comes once before any comes twice."""
    order = torch.randperm(len(shape), generator=generator)
    pairs = pd.Series(list(zip(shape[order].tolist(), texture[order].tolist(), strict=True)))
    return order[torch.tensor(pairs.groupby(pairs).cumcount().tolist()).argsort(stable=True)]


def _allowed(stimuli: Stimuli) -> dict[str, Bool[Tensor, "n n"]]:
    """Which images (columns) may be partners of which (rows)."""
    shape, texture = stimuli.shape, stimuli.texture
    same_shape, same_texture = shape[:, None] == shape, texture[:, None] == texture
    apart = (shape[:, None] != texture) & (texture[:, None] != shape) & stimuli.conflict  # no shape of one is the texture of the other
    other_photo = (stimuli.shape_photo[:, None] != stimuli.shape_photo) & (stimuli.texture_photo[:, None] != stimuli.texture_photo)
    return {
        SHAPE: same_shape & ~same_texture & apart & other_photo,
        TEXTURE: same_texture & ~same_shape & apart & other_photo,
        NOTHING: ~same_shape & ~same_texture & apart & other_photo,
    }


def choose(
    models: Sequence[PairModel], trials: Trials | Mapping[int, Trials], *, method: str = "interaction_cam", seed: int = 0
) -> pd.DataFrame:
    """Which partner a model finds more alike, and how the explanations of the same image differ between partners.

    Restates Sec. VI-1 of :cite:t:`sammani2023visualizing` ("in 64 % of the cases the methods explain similarity based on texture", of 50
    pairs of different objects with a common texture) as a choice between a shape match and a texture match, the trial that
    :cite:t:`tartaglini2022developmentally` put to image models, with the cue-conflict images of :cite:t:`geirhos2019imagenet`.

    Differs: there maps were looked at; here the score chooses, and the maps of the stimulus are compared: `overlap` is the
    energy that the map for this partner and the map for the shape partner have in common, the sum of the smaller of both values where
    the positive values of each map sum to 1.

    Trials are of `scene_trials` or `photo_trials`; or some for each size of a model.

    Returns:
        One row per model, cue (also "nothing", the control) and trial: data, stimulus, draw, name, partner, score, lift (score minus that
        of the partner that shares nothing), wins (more alike than the shape partner; empty for shape itself and for nothing),
        overlap (NaN for shape itself and where a map is nowhere positive), overlap_other (likewise with the map of the next trial's
        stimulus: what maps of two images have in common), on_object (share of the energy that is on the object) and area (of the object,
        what a map gets that knows nothing; both NaN without a known object).

    Raises:
        InputError: fewer than two trials.
    """
    asked = [trials if isinstance(trials, Trials) else trials[model.size] for model in models]
    for one in asked:
        if len(one) < 2:
            raise InputError(f"expected at least two trials, got {len(one)}")
    return pd.concat([_choose(model, one, method, seed) for model, one in zip(models, asked, strict=True)], ignore_index=True)


def _choose(model: PairModel, trials: Trials, method: str, seed: int) -> pd.DataFrame:
    found = {cue: _explained(model, trials, partner, method, seed) for cue, partner in trials.partners.items()}
    draw = pd.Series(trials.stimulus.tolist()).groupby(trials.stimulus.tolist()).cumcount()
    another = _of_the_next(trials.stimulus.tolist())
    area = torch.full((len(trials),), torch.nan) if trials.objects is None else trials.objects.double().mean((1, 2))
    frames = []
    for cue, (score, maps) in found.items():
        other, rival = cue not in (SHAPE, NOTHING), found[SHAPE]
        columns = {
            "cue": cue, "stimulus": trials.stimulus, "draw": draw, "name": [trials.names[k] for k in trials.stimulus.tolist()],
            "partner": [trials.names[k] for k in trials.partners[cue].tolist()], "score": score, "lift": score - found[NOTHING][0],
            "wins": pd.array((score > rival[0]).tolist() if other else [pd.NA] * len(score), dtype="boolean"),
            "overlap": torch.nan if cue == SHAPE else overlap(maps, rival[1]),
            "overlap_other": overlap(maps, rival[1][another]), "on_object": _on_object(maps, trials.objects), "area": area,
        }  # fmt: skip
        frames.append(pd.DataFrame(columns))
    table = pd.concat(frames, ignore_index=True)
    table.insert(0, "model", model.name)
    table.insert(1, "data", trials.data)
    return table


def _explained(model: PairModel, trials: Trials, partner: Tensor, method: str, seed: int) -> tuple[Tensor, Tensor]:
    """Scores (n,) and the maps of the stimuli (n, i, j), as doubles."""
    scores, maps = [], []
    for part in torch.arange(len(trials)).split(AT_ONCE):
        pair = Pair(trials.images[trials.stimulus[part]], trials.images[partner[part]])
        explanation = explain(model, pair, method, generator=Generator().manual_seed(seed))
        scores.append(explanation.score.cpu().double())
        maps.append(explanation.a.cpu().double())
    return torch.cat(scores), torch.cat(maps)


def _of_the_next(stimuli: Sequence[int]) -> list[int]:
    """For each trial the first one of the next stimulus, which is never its own, however often it was drawn."""
    order = list(dict.fromkeys(stimuli))
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    return [stimuli.index(following[one]) for one in stimuli]


def _on_object(maps: Float[Tensor, "n i j"], objects: Bool[Tensor, "n h w"] | None) -> Tensor:
    if objects is None:
        return torch.full((len(maps),), torch.nan)
    resized = resize_map(maps, objects.shape[1:])  # type: ignore[arg-type]
    return relevance_mass(resized, objects)


def completed(live: Sequence[pd.DataFrame], larger: pd.DataFrame | None, models: Sequence[str], method: str) -> pd.DataFrame:
    """Trials of photos and of scenes: the live ones, or where it has them of more models those of the larger run.

    Args:
        live: tables of `choose`.
        larger: the same with a column `method`, if it is at hand.
        models: in whose order those of the larger run come.
    """
    stored = [] if larger is None else [larger[(larger["method"] == method) & (larger["model"] == name)] for name in models]
    tables = [pd.concat(live), *([pd.concat(stored)] if stored else [])]
    both = [[table[table["data"] == data] for table in tables] for data in ("photos", "scenes")]
    chosen = [max(parts, key=lambda part: part["model"].nunique()) for parts in both]
    return pd.concat(chosen, ignore_index=True).astype(dict.fromkeys(["model", "data", "cue", "name", "partner"], str))


def versus(table: pd.DataFrame) -> pd.DataFrame:
    """One row per model, data and trial: the partner that shares the texture beside the one that shares the shape.

    Returns:
        model, data, trial (its number), name, partner, score, wins, overlap, shape_partner, shape_score, margin (score minus
        shape_score: positive if the texture wins).
    """
    numbered = table.assign(trial=table.groupby(["model", "data", "cue"], sort=False, observed=True).cumcount())
    key = ["model", "data", "trial"]
    ours = numbered.loc[numbered["cue"] == TEXTURE, [*key, "name", "partner", "score", "wins", "overlap"]]
    shape = numbered.loc[numbered["cue"] == SHAPE, [*key, "partner", "score"]]
    both = ours.merge(shape.rename(columns={"partner": "shape_partner", "score": "shape_score"}), on=key)
    return both.assign(margin=both["score"] - both["shape_score"])


Explained = dict[str, tuple[Pair, Explanation]]  # by what is shared


def explained_partners(model: PairModel, trials: Trials, places: Sequence[int], method: str) -> Explained:
    """The stimuli of some trials with the partner of their shape and with that of their texture: pairs, and why these are alike."""
    pairs = {cue: Pair(trials.images[trials.stimulus[places]], trials.images[trials.partners[cue][places]]) for cue in (SHAPE, TEXTURE)}
    return {cue: (pair, explain(model, pair, method)) for cue, pair in pairs.items()}


def from_shape_to_texture(
    model: PairModel, trials: Trials, table: pd.DataFrame, method: str, count: int = 9
) -> tuple[Explained, list[list[str]]]:
    """A model's trials from the clearest decision for shape to the clearest for texture, evenly spaced in their order.

    At most so many trials.

    Returns:
        As `explained_partners`; and of each trial the difference of the scores and what both pairs show.
    """
    own = versus(table[(table["model"] == model.name) & (table["data"] == trials.data)])
    places = _spread(own["margin"], count)
    names = [[f"{own['margin'][k]:+.2f}", *(_shown(trials, k, cue) for cue in (SHAPE, TEXTURE))] for k in places]
    return explained_partners(model, trials, places, method), names


def _shown(trials: Trials, place: int, cue: str) -> str:
    """What a pair shows: of scenes, whose names are long, side b alone."""
    sides = int(trials.partners[cue][place]), int(trials.stimulus[place])
    return ", ".join(trials.names[side] for side in (sides[:1] if trials.data == "scenes" else sides[::-1]))


def _spread(values: Sequence[float], count: int = 9) -> list[int]:
    """Places of `count` values from the smallest to the largest, evenly spaced in their order."""
    order = np.argsort(np.asarray(values), kind="stable")
    return [int(order[round(k)]) for k in np.linspace(0, len(order) - 1, min(count, len(order)))]


def won(table: pd.DataFrame, by: Sequence[str] = ("model", "data", "cue"), *, cluster: str = "stimulus") -> pd.DataFrame:
    """How often a cue wins over shape, with a 95 % interval.

    Args:
        cluster: column of what is drawn again as a whole, because its rows are no separate observations: the stimulus where it was
            asked about several times, or the "photo" of which its texture is.

    Returns:
        One row per group: mean, low, high (Wilson where each cluster has one row, else percentiles of a bootstrap over clusters), n (rows)
        and clusters.
    """
    table = _with_photo(table)
    require("column", table.columns, cluster)
    known = table.dropna(subset=["wins"])
    if known[cluster].isna().any():
        raise InputError(f"expected a {cluster} of each trial to draw again, got trials without one, as scenes are")
    found = shares(known, by, "wins")
    groups = known.groupby(list(by), sort=False, observed=True)
    found["clusters"] = groups[cluster].nunique().to_numpy()
    for k, (_, part) in enumerate(groups):
        if found.loc[k, "clusters"] < len(part):
            sums = part.groupby(cluster)["wins"].agg(["sum", "size"]).to_numpy(float)
            drawn = resampled_means(sums)
            found.loc[k, ["low", "high"]] = np.quantile(drawn[:, 0] / drawn[:, 1], tails(len(sums)))
    return found


def cue_table(table: pd.DataFrame) -> pd.DataFrame:
    """How often a partner of the same shape, or texture, is more alike than one that shares nothing, and the mean lift.

    Intervals are over what was drawn: of photos the textures, of which many stimuli are made, and of scenes the stimuli.
    """
    used = table[table["cue"].isin([SHAPE, TEXTURE])].assign(wins=lambda t: t["lift"] > 0)
    by, keys = ["data", "model", "cue"], ["data", "model"]
    counts = pd.concat([won(part, by, cluster=_drawn(part)) for _, part in used.groupby("data", sort=False)], ignore_index=True)
    share = counts.assign(text=with_interval(counts)).pivot_table("text", keys, "cue", "first", sort=False)
    mean = means(used, *by, value="lift", unit="stimulus").pivot_table("mean", keys, "cue", sort=False)
    return share.add_suffix(": share").join(mean.add_suffix(": mean lift")).rename_axis(columns=None)


def _drawn(table: pd.DataFrame) -> str:
    """The column of what was drawn for the trials of one kind of data."""
    return "photo" if (table["data"] == "photos").all() else "stimulus"


def overlaps(table: pd.DataFrame, by: Sequence[str] = ("model", "cue")) -> pd.DataFrame:
    """Mean overlap of an image's map for the shape partner with other maps: for other partners of it, and that of another image.

    By method these are of the photos that all of several methods were asked about. The last `cue` is another image's map.
    """
    if "method" in by:
        table = table[table["data"] == "photos"]
        asked = table.groupby("stimulus")["method"].nunique()
        table = table[table["stimulus"].isin(asked.index[(asked == table["method"].nunique()) & (asked > 1)])]
    own = table[table["cue"].isin([TEXTURE, NOTHING])].assign(value=lambda t: t["overlap"])
    other = own[own["cue"] == TEXTURE].assign(cue="another image", value=lambda t: t["overlap_other"])
    both = _with_photo(pd.concat([own, other]).replace({"cue": SHARED}))
    return means(both.assign(unit=both["photo"].fillna(both["stimulus"].astype(str))), *by, unit="unit")


def on_object(table: pd.DataFrame) -> pd.DataFrame:
    """Mean share of the energy of a map that is on the object of a scene, by model and cue, beside the object's share of the image."""
    scenes = table[table["data"] == "scenes"]
    wide = mean_by(means(scenes, "model", "cue", value="on_object", unit="stimulus"), "cue", index="model", value="mean")
    wide["area of the object"] = scenes.groupby("model")["area"].mean()
    return wide.rename_axis(columns=None)


def against_references(table: pd.DataFrame) -> pd.DataFrame:
    """For which models texture wins more or less often than for a classifier, and for which twins than for the model they are twins of.

    Scenes are independent of each other. The photos were made of 48 textures only, so these are compared, not the photos.

    Returns:
        By `against` and model: difference of the shares with its interval, more, fewer (trials or textures) and p.
    """
    some = _with_photo(table[table["cue"] == TEXTURE])
    tests = [_paired(part, base, cluster=cluster).assign(against=base) for base, cluster, part in _comparable(some)]
    found = pd.concat(tests).set_index(["against", "model"])
    return found.assign(difference=with_interval(found, "+.2f", mean="difference"))[["difference", "more", "fewer", "p"]]


def _with_photo(table: pd.DataFrame) -> pd.DataFrame:
    """Trials of photos with the photo that the texture is of, as their names say it."""
    return table.assign(photo=table["name"].str.split("-").str[1]) if "name" in table else table


def _comparable(table: pd.DataFrame) -> Iterator[tuple[str, str | None, pd.DataFrame]]:
    """Each of `REFERENCES`, its column, and the trials of models that saw images of its kind."""
    for data, base, cluster in REFERENCES:
        alike = table["model"].str.startswith("scenes") == base.startswith("scenes")
        twins = (base != "scenes_simclr") | (table["model"] != "scenes_supervised")
        some = table[alike & twins & (table["data"] == data)]
        if some["model"].nunique() > 1 and base in set(some["model"]):
            yield base, cluster, some


def by_texture(table: pd.DataFrame) -> pd.DataFrame:
    """How often each class of textures wins over shape, of trials of photos: a column for each model, the textures that win most first."""
    photos = _with_photo(table)
    by = won(photos.assign(texture=photos["photo"].str.rstrip("0123456789")), ["model", "texture"])
    grid = by.pivot_table("mean", "model", "texture").loc[by["model"].unique()]
    return grid[grid.mean().sort_values(ascending=False).index].T


def _paired(table: pd.DataFrame, reference: str, *, cluster: str | None = None) -> pd.DataFrame:
    """For which models a cue wins more or less often than for a reference, trial against the same trial.

    An exact sign test over the stimuli on which the two differ (with one draw McNemar's exact test), corrected by Holm's procedure for
    the number of models compared. Stimuli made from the same source are no independent trials: with `cluster`, sources take the
    place of stimuli, each with the mean difference of its stimuli, and Wilcoxon's signed-rank test that of the sign test.

    Returns:
        One row per data, cue and other model: difference (of the shares), low, high (95 % bootstrap over stimuli, or sources), n (how
        many of them), more and fewer (those on which the cue wins more often for the model than for the reference, and less often),
        p (corrected).
    """
    require("model of the table", table["model"].unique(), reference)
    rows = []
    known = table.dropna(subset=["wins"]).assign(wins=lambda t: t["wins"].astype(float))
    for (data, cue), part in known.groupby(["data", "cue"], sort=False, observed=True):
        wide = part.pivot_table(index="stimulus", columns="model", values="wins", sort=False, observed=True)
        if reference not in wide:
            continue
        source = None if cluster is None else part.drop_duplicates("stimulus").set_index("stimulus")[cluster]
        names = [name for name in wide if name != reference]
        found = [_against(wide[name] - wide[reference], source) for name in names]
        for name, one, p in zip(names, found, holm([row["p"] for row in found]), strict=True):
            rows.append({"data": data, "cue": cue, "model": name, **one, "p": p})
    return pd.DataFrame(rows)


def _against(difference: pd.Series, source: pd.Series | None) -> dict[str, float]:
    from scipy.stats import binomtest  # takes half a second to import

    known = difference.dropna()
    values = (known if source is None else known.groupby(source).mean()).to_numpy()
    low, high = interval(values)
    more, fewer = int((values > 0).sum()), int((values < 0).sum())
    p = 1.0
    if more + fewer:
        p = binomtest(more, more + fewer).pvalue if source is None else signed_ranks(values)
    return {"difference": values.mean(), "low": low, "high": high, "n": len(values), "more": more, "fewer": fewer, "p": float(p)}
