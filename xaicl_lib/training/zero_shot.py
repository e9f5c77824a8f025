"""How well an image-text model says what is in scenes it was never asked about: the text nearest to an image is its answer."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xaicl_lib.data.captions import OPPOSITE, SHAPE, phrase, prompts, relations
from xaicl_lib.data.scenes import FACTORS
from xaicl_lib.errors import InputError

Read = Callable[[list[str]], Tensor]  # texts to embeddings (n, d)


@torch.no_grad()
def zero_shot(z: Float[Tensor, "n d"], labels: Int[Tensor, "n 6"], read: Read) -> dict[str, float]:
    """Share of images whose nearest text by cosine, of one for each value of a factor, names the right value; by factor.

    As :cite:t:`radford2021learning`, Sec. 3.1, classify images by the texts of the classes; the texts are
    `xaicl_lib.data.captions.prompts`.
    """
    found = {}
    for column, factor in enumerate(FACTORS):
        texts = torch.nn.functional.normalize(read(prompts(factor)).to(z))
        answers = (torch.nn.functional.normalize(z) @ texts.T).argmax(1)
        found[factor] = round(float((answers == labels[:, column].to(z.device)).float().mean()), 4)
    return found


@torch.no_grad()
def relation_accuracy(z: Float[Tensor, "n d"], facts: Int[Tensor, "n 2 6"], read: Read, *, exchanged: bool = False) -> float:
    """Share of two-object scenes that are nearer to "a red disc left of a blue ring" than to "... right of ..."; chance is 0.5.

    With `exchanged`, than to "a blue ring left of a red disc": the same words in another order, as :cite:t:`yuksekgonul2023when` ask.

    Raises:
        InputError: no scene of two objects.
    """
    two = facts[:, 1, SHAPE] >= 0
    if not two.any():
        raise InputError("expected scenes of two objects to ask how they lie to each other, got none")
    right, wrong = [], []
    for first, second in facts[two].tolist():
        way = relations(first, second)[0]
        a, b = (phrase(thing, ("colour", "shape")) for thing in (first, second))
        right.append(f"{a} {way} {b}")
        wrong.append(f"{b} {way} {a}" if exchanged else f"{a} {OPPOSITE[way]} {b}")
    image = torch.nn.functional.normalize(z[two.to(z.device)])
    s = [(image * torch.nn.functional.normalize(read(texts).to(z))).sum(1) for texts in (right, wrong)]
    return round(float((s[0] > s[1]).float().mean()), 4)
