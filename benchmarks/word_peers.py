"""Words and regions beside the methods of others: the same models, pictures and texts; rows of `results/word_peers.parquet`.

    pip install open_clip_torch tqdm einops opencv-python-headless && pip install --no-deps exclip legrad-torch
    python benchmarks/pupil.py && python benchmarks/word_peers.py [-n 16] [-o results/word_peers.parquet]

exCLIP and LeGrad come through their own packages; FIxLIP and Grad-ECLIP, which have none, are written anew from their papers, and so is
exCLIP for `scenes_clip`, whose form its package does not take. Asked are a ViT-B/32 of random weights (seconds, and whether parts add up),
`scenes_clip`, and a transformer that learned from it (`pupil.py`), both on scenes whose objects are known. Seconds are of processor time on
one thread, from pixels and text to the map. A run that was stopped goes on with the models and methods that are left.
"""

import argparse
import copy
import functools
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from parts import gathered
from pupil import pupil
from retrieval import vit_b_32
from torch import Tensor, nn

from xaicl_lib import PairModel, load_model
from xaicl_lib.images import open_photo
from xaicl_lib.methods.words import WordMap, explain_words
from xaicl_lib.metrics.links import measure_words
from xaicl_lib.studies.retrieval import _answers, described, names_of, two_object_scenes
from xaicl_lib.studies.tables import with_provenance
from xaicl_lib.tokens.texts import OpenText, open_text

STEPS = 10  # of exCLIP's integral, as its package has them
EVALUATIONS, KEEP = 2**19, 0.5  # of FIxLIP, as its own instructions have them
TEXT, PHOTO = "a photo of a red cat left of a blue dog on grass", "cat"
NAN = float("nan")


@dataclass(frozen=True)
class Asked:
    """A model, and the network of open_clip within it, if it is one."""

    model: PairModel
    network: nn.Module | None = None


@dataclass(frozen=True)
class Made:
    """A map, and what its method promises that its parts add up to, beside what they do; NaN where it promises nothing."""

    map: WordMap
    whole: float = NAN
    parts: float = NAN


Way = Callable[[Asked, Tensor, str], Made]


def ours(asked: Asked, image: Tensor, text: str) -> Made:
    (one,) = explain_words(asked.model, image, [text])
    return Made(one, one.score - float(one.picture.sum() + one.text.sum()) - one.constant, float(one.joint.sum()))


# ---------------------------------------------------------------- exCLIP


def exclip_package(asked: Asked, image: Tensor, text: str) -> Made:
    """Its package as it comes: 10 steps, from the last block of either side to the embedding, all tokens and patches."""
    from exclip.explanation import OpenClipExplainer

    size = asked.model.size
    explainer = OpenClipExplainer(asked.network, size, asked.network.context_length, device=torch.device("cpu"))
    side, opened = asked.model._parts["text"], open_text(asked.model._parts["text"], text)
    last = len(asked.network.transformer.resblocks) - 1, len(asked.network.visual.transformer.resblocks) - 1
    x, tokens = asked.model.normalize(image), side.read([text])
    joint = explainer.explain(tokens, x, text_layer=last[0], image_layer=last[1], N=STEPS)  # (tokens, i, j)
    explainer.reset_attribution()
    with torch.no_grad():
        (h, h_0), (g, g_0) = explainer.encode_image(x), explainer.encode_text(tokens)
    return _of_parts(opened, opened.places[:, : len(joint)].to(joint) @ joint.flatten(1), joint, (h[0], h_0, g[0], g_0))


def _of_parts(opened: OpenText, joint: Tensor, all_: Tensor, ends: Sequence[Tensor]) -> Made:
    h, h_0, g, g_0 = ends
    norm = h.norm() * g.norm()
    made = WordMap(
        opened.words, joint.view(len(opened.words), *all_.shape[1:]), torch.zeros(all_.shape[1:]), torch.zeros(len(opened.words)), 0.0,
        float(h @ g / norm), (STEPS, STEPS),
    )  # fmt: skip
    return Made(made, float((h - h_0) @ (g - g_0) / norm), float(all_.sum()))


def exclip_anew(asked: Asked, image: Tensor, text: str) -> Made:
    """Its Eqs. 9 and 10 on a model of another form: an integrated Jacobian of each side, number by number of the embedding, by the mean of
    10 gradients; the picture from the map of the mean colour, the text from blanks.
    """
    model, opened = asked.model.fast, open_text(asked.model._parts["text"], text)
    f, f_0 = model.features_a(model.normalize(image)), model.features_a(torch.zeros_like(image))
    of_picture, h, h_0 = _jacobian(model.head_a, f[0], f_0[0])
    of_text, g, g_0 = _jacobian(opened.embed, opened.vectors, opened.blank)
    u = (of_text * (opened.vectors - opened.blank)).sum(2)  # (d, t)
    v = (of_picture * (f - f_0)).sum(1)  # (d, i, j)
    joint = torch.einsum("dt,dij->tij", u, v) / (h.norm() * g.norm())
    return _of_parts(opened, opened.places.to(joint) @ joint.flatten(1), joint, (h, h_0, g, g_0))


def _jacobian(function: Callable[[Tensor], Tensor], x: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The mean Jacobian (d, ...) on the way from start to x, and the values at both ends."""
    alpha = torch.arange(1, STEPS + 1).view(-1, *[1] * x.ndim) / STEPS
    way = (start + alpha * (x - start)).detach().requires_grad_()
    z = function(way)
    rows = [torch.autograd.grad(z[:, k].sum(), way, retain_graph=True)[0].mean(0) for k in range(z.shape[1])]
    return torch.stack(rows), z[-1].detach(), function(start[None])[0].detach()


# ---------------------------------------------------------------- FIxLIP


@torch.no_grad()
def fixlip_anew(asked: Asked, image: Tensor, text: str, evaluations: int = EVALUATIONS) -> Made:
    """Its weighted Banzhaf interactions with p of one half, across both sides: patches (gone: the mean colour) and words (gone: blank) are
    drawn at random, each picture is compared with each text, and the best model of single players and of pairs is fitted to the cosines.
    """
    model, opened, generator = asked.model, open_text(asked.model._parts["text"], text), torch.Generator().manual_seed(0)
    grid = model.features_a(model.normalize(image)).shape[2:]
    cells, words = grid.numel(), len(opened.words)
    texts = min(2**words, max(4, math.ceil(math.sqrt(evaluations) * words / cells)))
    pictures = evaluations // texts
    there, said = _drawn(pictures, cells, generator), _drawn(texts, words, generator)
    x = model.normalize(image)
    masked = (x * F.interpolate(part.view(-1, 1, *grid), x.shape[2:], mode="nearest-exact") for part in there.float().split(64))
    z = F.normalize(model.encode_inputs(masked, "a"))
    values = z.double() @ F.normalize(torch.cat([opened.embed(opened.without(part)) for part in said.split(64)]).to(z)).double().T
    single, cross, constant, parts = _fitted(values, there.float(), said.float())
    made = WordMap(
        opened.words, cross.T.reshape(words, *grid).float(), single[:cells].view(grid).float(), single[cells:].float(), constant,
        _score(asked, image, text), (pictures, texts),
    )  # fmt: skip
    nothing = _score(asked, None, text)
    return Made(made, made.score - nothing, parts - nothing)


def _score(asked: Asked, image: Tensor | None, text: str) -> float:
    """The cosine; without an image that of nothing, the mean colour and blanks."""
    opened = open_text(asked.model._parts["text"], text)
    size = asked.model.size
    x = torch.zeros(1, 3, size, size) if image is None else asked.model.normalize(image)
    g = opened.embed((opened.blank if image is None else opened.vectors)[None])
    return float(F.cosine_similarity(asked.model.encode_inputs([x], "a"), g))


def _drawn(count: int, players: int, generator: torch.Generator) -> Tensor:
    if count >= 2**players:
        return torch.cartesian_prod(*[torch.tensor([False, True])] * players).view(-1, players)
    return torch.rand(count, players, generator=generator) < KEEP


def _fitted(values: Tensor, there: Tensor, said: Tensor) -> tuple[Tensor, Tensor, float, float]:
    """Least squares of values (m, n) by players of both sides and their pairs: single ones, pairs across (cells, words), the constant, and
    the sum of all, which is the model's value where everybody is there.

    Columns are products of a column of either side, so that their products are those of two small matrices.
    """
    a, b = _columns(there), _columns(said)
    order = torch.tensor([[k + one for one in _orders(said)] for k in _orders(there)])
    rows, columns = (order <= 2).nonzero(as_tuple=True)
    gram = (a.T @ a).double()[rows][:, rows] * (b.T @ b).double()[columns][:, columns]  # counts, which single precision holds
    found = torch.linalg.solve(gram, (a.T.double() @ (values @ b.double()))[rows, columns])
    table = torch.zeros(order.shape, dtype=found.dtype)
    table[rows, columns] = found
    n, m = there.shape[1], said.shape[1]
    single = torch.cat([table[1 : n + 1, 0], table[0, 1 : m + 1]])
    return single, table[1 : n + 1, 1 : m + 1], float(table[0, 0]), float(found.sum())


def _columns(there: Tensor) -> Tensor:
    """A one, each player, and each pair of them."""
    i, j = torch.triu_indices(there.shape[1], there.shape[1], 1)
    return torch.cat([torch.ones(len(there), 1, dtype=there.dtype), there, there[:, i] * there[:, j]], 1)


def _orders(there: Tensor) -> list[int]:
    n = there.shape[1]
    return [0, *[1] * n, *[2] * (n * (n - 1) // 2)]


# ---------------------------------------------------------------- one map for a whole text


def legrad_package(asked: Asked, image: Tensor, text: str) -> Made:
    """Its package as it comes: a map of the last two blocks, scaled to [0, 1]."""
    wrapped = _legrad(asked.network)
    x, tokens = asked.model.normalize(image), asked.model._parts["text"].read([text])
    with torch.enable_grad():
        made = wrapped.compute_legrad_clip(text_embedding=wrapped.encode_text(tokens, normalize=True), image=x)
    return _of_text(asked, text, made.detach()[0, 0])


@functools.cache
def _legrad(network: nn.Module) -> nn.Module:
    from legrad import LeWrapper

    return LeWrapper(copy.deepcopy(network))


def grad_eclip_anew(asked: Asked, image: Tensor, text: str) -> Made:
    """Its map of the last block: the gradient of the cosine at what attention gives the class token, times the value of each patch, times
    how much query and key agree, from 0 for the least to 1 for the most; what is positive.
    """
    visual, given = asked.network.visual, []
    block = visual.transformer.resblocks[-1]
    hold = block.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    with torch.no_grad():
        visual(asked.model.normalize(image))
        hold.remove()
        g = asked.network.encode_text(asked.model._parts["text"].read([text]))
    x = given[0]  # (1, t, c)
    q, k, v = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias).detach().chunk(3, 2)
    heads = [part.unflatten(2, (block.attn.num_heads, -1)).transpose(1, 2) for part in (q, k, v)]
    with torch.enable_grad():
        o = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2).requires_grad_()
        y = x + block.attn.out_proj(o)
        y = y + block.mlp(block.ln_2(y))
        score = F.cosine_similarity(visual.ln_post(y[:, 0]) @ visual.proj, g).sum()
        (gradient,) = torch.autograd.grad(score, [o])
    agree = F.cosine_similarity(q[0, :1], k[0, 1:])
    agree = (agree - agree.min()) / (agree.max() - agree.min())
    side = math.isqrt(len(agree))
    return _of_text(asked, text, ((v[0, 1:] @ gradient[0, 0]) * agree).clamp_min(0).view(side, side), float(score.detach()))


def _of_text(asked: Asked, text: str, map_: Tensor, score: float = NAN) -> Made:
    """A map for a whole text, under its first word; the other words have none of their own."""
    words = tuple(text.split())
    cells = asked.model.size // asked.network.visual.patch_size[0]
    joint = torch.zeros(len(words), cells, cells)
    joint[0] = F.adaptive_avg_pool2d(map_[None], cells)[0]
    return Made(WordMap(words, joint, torch.zeros(cells, cells), torch.zeros(len(words)), 0.0, score, (0, 0)))


# ---------------------------------------------------------------- the table

RANDOM, SCENES, PUPIL = "ViT-B-32, random", "scenes_clip", "scenes transformer"
WAYS: dict[str, dict[str, Way]] = {
    SCENES: {"ours": ours, "exCLIP, written anew": exclip_anew, "FIxLIP, written anew": fixlip_anew},
    PUPIL: {
        "ours": ours, "exCLIP": exclip_package, "FIxLIP, written anew": fixlip_anew, "LeGrad": legrad_package,
        "Grad-ECLIP, written anew": grad_eclip_anew,
    },
}  # fmt: skip
WAYS[RANDOM] = {label: way for label, way in WAYS[PUPIL].items() if way is not fixlip_anew}  # which takes minutes there
FIRST_ORDER = (legrad_package, grad_eclip_anew)
QUESTIONS = ("word: strongest cell", "word: share")  # that a map for a whole text answers


@functools.cache
def asked_of(name: str) -> Asked:
    if name == SCENES:
        return Asked(load_model(name, "cpu"))
    return Asked(*(pupil() if name == PUPIL else vit_b_32()))


def _taken(way: Way, asked: Asked, image: Tensor, text: str) -> tuple[Made, list[tuple[str, float]]]:
    """A map, its processor time, and by how much its parts miss what it promises, as a share of that, too."""
    began = time.process_time()
    made = way(asked, image, text)
    found = [("seconds", time.process_time() - began)]
    if not math.isnan(made.whole):
        error = abs(made.whole - made.parts)
        found += [("error", error), ("error, relative", error / abs(made.whole))]
    return made, found


def on_photo(name: str, way: Way) -> list[tuple]:
    asked = asked_of(name)
    image = open_photo(PHOTO, asked.model.size)
    if way is not exclip_package:  # which takes minutes, of which nothing is made once
        way(asked, image, "a")
    return [(0, *row) for row in _taken(way, asked, image, TEXT)[1]]


def on_scenes(name: str, way: Way, n: int) -> list[tuple]:
    """Scenes of two objects; a method with one map for a text is asked for each object by itself."""
    asked = asked_of(name)
    images, masks, facts = two_object_scenes(n, asked.model.size, seed=1)
    texts, rows = described(facts), []
    way(asked, images[:1], texts[0])
    for k, text in enumerate(texts):
        names, image = names_of(facts[k]), images[k : k + 1]
        if way in FIRST_ORDER:
            maps = [_taken(way, asked, image, one) for one in names]
            joint = torch.cat([made.map.joint for made, _ in maps])
            made = WordMap(tuple(" ".join(names).split()), joint, joint[0] * 0, joint[:, 0, 0] * 0, 0.0, NAN, (0, 0))
            answers = [row[1:3] for row in _answers(made, names, masks[k]) if row[1] in QUESTIONS]
            found = [one for _, timed in maps for one in timed]
        else:
            one, found = _taken(way, asked, image, text)
            answers = [row[1:3] for row in _answers(one.map, names, masks[k])]
            answers += [(metric, float(value)) for metric, value in measure_words(asked.model, image, [text], [one.map]).items()]
        rows += [(k, *row) for row in (*found, *answers)]
    return rows


def rows_of(name: str, label: str, n: int) -> pd.DataFrame:
    torch.manual_seed(0)
    way = WAYS[name][label]
    with warnings.catch_warnings(action="ignore"):
        rows = on_photo(name, way) if name == RANDOM else on_scenes(name, way, n)
    table = pd.DataFrame(rows, columns=["pair", "question", "value"]).assign(model=name, way=label)
    what = "photo" if name == RANDOM else "scenes of two objects"
    return with_provenance(table, asked_of(name).model, what).assign(n=table["pair"].nunique())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=16, help="scenes")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/word_peers.parquet"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = [
        (f"{name}, {label}".replace("/", " "), functools.partial(rows_of, name, label, arguments.n))
        for name, ways in WAYS.items()
        for label in ways
    ]
    gathered(arguments.output, parts, ("model", "way", "question"))


if __name__ == "__main__":
    main()
