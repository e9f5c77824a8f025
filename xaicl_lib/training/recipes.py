"""The recipes of the bundled models: everything that decides what a training ends in.

The defaults are CPU schedules of a few to thirty minutes on two cores with bfloat16 units (`simclr`, `simsiam`: an hour); the bundled
models were made by them, and their cards say how good they are. On a GPU train longer, with the recipe's `gpu_epochs`:

    python -m xaicl_lib train NAME --device cuda --epochs 400

What to hope for then, a goal and not a measurement: k-NN accuracy of 0.75 for `simclr` and `barlow_twins`, 0.70 for
`simsiam`, 0.62 for `moco_v3`, and a classifier's accuracy of 0.85 for `supervised`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn

from xaicl_lib.augment.views import Views
from xaicl_lib.networks.small import build_network


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training ends in. A new field gets a default that leaves older recipes as they were."""

    name: str
    loss: str  # a function of `losses`
    loss_options: dict[str, float] = field(default_factory=dict)
    epochs: int = 100
    batch: int = 256
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.05  # share of the steps
    photo_size: int = 96  # side of the squares the views are cropped from, and of the finished model's input
    views: Views = field(default_factory=Views)
    widths: tuple[int, ...] = (32, 64, 128, 192)
    hidden: int = 256
    embedding: int = 128
    seed: int = 0
    task: str = "contrast"  # a function of `tasks`
    data: str = "photos"  # or "scenes", "captions"
    views_b: Views | None = None  # how the second view is made, where not as the first
    view_count: int = 2
    views_local: Views | None = None  # how small views of small parts are made, besides
    local_count: int = 0
    architecture: str = "slim_resnet"  # one of `networks.BACKBONES`
    depth: int = 0  # transformer blocks
    heads: int = 0  # of their attention
    registers: int = 0  # tokens beside the class token and those of patches
    prototypes: int = 0  # outputs of the head of distillation; 0 for none
    teacher: str = ""  # the bundled model it learns from; embeddings of `embedding` channels
    predictor: int = 0  # hidden width of the predictor; 0 for none
    classes: int = 0  # outputs of the classifier; 0 for none
    momentum: float = 0.0  # of the momentum branch at the start, rising to 1 by half a cosine; 0 for none
    optimizer: str = "adamw"  # or "sgd", with momentum 0.9
    predictor_lr: float = 0.0  # of the predictor, constant all along; 0 for the rate of all the rest
    text: int = 0  # channels of the text encoder; 0 for none
    text_depth: int = 0  # its transformer blocks
    gpu_epochs: int = 400  # a hint: what to give `--epochs` on a GPU

    def network(self) -> nn.ModuleDict:
        """All modules to train, initialised from the seed without touching the global random state."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)  # of the CPU alone
            return build_network(self.facts())

    def facts(self) -> dict[str, Any]:
        """The recipe as JSON can hold it."""
        return asdict(self)


def from_facts(facts: Mapping[str, Any]) -> Recipe:
    """The recipe that `facts()`, also after a way through JSON, came from; fields it lacks get their defaults.

    Raises:
        TypeError: facts that no recipe has.
    """
    given = {key: _tuples(value) for key, value in facts.items()}
    for key in ("views", "views_b", "views_local"):
        if isinstance(given.get(key), dict):
            given[key] = Views(**{k: _tuples(v) for k, v in given[key].items()})
    return Recipe(**given)


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# One view of a labelled photo: mild, because the labels already say what does not matter.
MILD = Views(scale=(0.35, 1.0), jitter=(0.2, 0.2, 0.2, 0.0), grayscale_chance=0.0, blur_chance=0.0)
# The two views of Barlow Twins, first those of BYOL (:cite:t:`grill2020bootstrap`, App. B): one always blurred, one rarely, but
# sometimes solarised.
BYOL_A = Views(jitter=(0.4, 0.4, 0.2, 0.1), blur_chance=1.0)
BYOL_B = replace(BYOL_A, blur_chance=0.1, solarize_chance=0.2)

# The two views of a scene are pictures of one object at different places and before different backgrounds, on top of which come
# these augmentations: with one picture for both, background and place alone would tell scenes apart, and nothing would be
# learned of the objects. A low temperature, because two objects of one colour are told apart only once it matters. The hue turns
# as far as in SimCLR's own recipe: with half of that, chance decided whether colour was learned (by linear probe 0.97 after a
# training of 14 epochs, 0.68 after one of 18), and nothing could be said of a twin. Blur is strong enough to take textures away.
SCENE_VIEWS = Views(size=40, scale=(0.7, 1.0), jitter=(0.4, 0.4, 0.4, 0.2), blur_sigma=(0.1, 4.0))
SCENES: dict[str, Any] = {
    "data": "scenes", "photo_size": 64, "widths": (16, 32, 64, 128), "hidden": 128, "views": SCENE_VIEWS,
    "epochs": 26, "batch": 128, "lr": 4e-3, "gpu_epochs": 200,
}  # fmt: skip

# A caption names colours and says what is left of what: views keep the hue, and are not mirrored.
CAPTIONED = Views(size=48, jitter=(0.3, 0.3, 0.2, 0.0), scale=(0.75, 1.0), grayscale_chance=0.0, blur_chance=0.2, mirror_chance=0.0)


def _scenes_twin(what: str, **views: Any) -> Recipe:
    """`scenes_simclr` with exactly one augmentation changed."""
    return Recipe(f"scenes_simclr_{what}", "nt_xent", {"temperature": 0.1}, **{**SCENES, "views": replace(SCENE_VIEWS, **views)})


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("simclr", "nt_xent", {"temperature": 0.2}),
        # The widest last layer that keeps the model within 1.3 million parameters; the paper's has 8,192.
        Recipe(
            "barlow_twins", "barlow_twins", {"redundancy": 0.0051}, epochs=24, batch=128, lr=1.5e-3,
            views=BYOL_A, views_b=BYOL_B, embedding=1024,
        ),
        # Optimiser and the predictor's constant rate as in the paper (Sec. 3 and 4.1), which needs hundreds of epochs; with views
        # of 48 pixels and a rate twice the paper's more of the way is gone in an hour.
        Recipe(
            "simsiam", "simsiam", task="predict", epochs=50, batch=64, optimizer="sgd", lr=0.1, predictor_lr=0.1, weight_decay=5e-4,
            views=Views(size=48), embedding=512, predictor=128,
        ),
        Recipe(
            "moco_v3", "moco_v3", {"temperature": 0.2}, task="momentum_contrast", epochs=12, batch=128, lr=1e-3, warmup=0.1,
            views=BYOL_A, views_b=BYOL_B, architecture="slim_vit", widths=(32, 64, 128), depth=4, heads=4, predictor=256, momentum=0.99,
        ),
        # A small transformer learns from a larger model that has learned (:cite:t:`oquab2024dinov2`, Sec. 5). From itself, as a DINO, it
        # had learned nothing in ten epochs: k-NN accuracy of the class token 0.315, of the untrained network 0.319.
        Recipe(
            "dino_student", "dino", task="distill", epochs=16, batch=128, lr=1e-3, weight_decay=0.04, warmup=0.1,
            views=replace(BYOL_A, scale=(0.3, 1.0), blur_chance=0.5), views_b=replace(BYOL_B, scale=(0.3, 1.0)),
            views_local=replace(BYOL_A, size=32, scale=(0.1, 0.4), blur_chance=0.5), local_count=2,
            architecture="register_vit", widths=(32, 64, 128), depth=3, heads=4, registers=4, prototypes=512, teacher="simclr",
        ),
        Recipe(
            "supervised", "cross_entropy", {"label_smoothing": 0.1}, task="classify", epochs=16, batch=128,
            views=MILD, view_count=1, classes=10, gpu_epochs=100,
        ),
        Recipe("supcon", "supcon", {"temperature": 0.1}, task="group", epochs=10, batch=128, gpu_epochs=200),
        # Four photos a class, as in the paper (Sec. 3): the hardest of a dozen positives is too hard to begin with.
        Recipe("triplet", "batch_hard_triplet", task="group", epochs=45, batch=40, lr=5e-4, views=MILD, view_count=1, gpu_epochs=100),
        Recipe("scenes_simclr", "nt_xent", {"temperature": 0.1}, **SCENES),
        Recipe("scenes_supervised", "cross_entropy", {"label_smoothing": 0.1}, task="classify", view_count=1, classes=8, **SCENES),
        Recipe(
            "scenes_clip", "clip", task="describe", view_count=1, text=64, text_depth=2,
            **{**SCENES, "data": "captions", "views": CAPTIONED, "epochs": 40, "lr": 2e-3},
        ),
        _scenes_twin("no_jitter", jitter_chance=0.0),
        _scenes_twin("no_blur", blur_chance=0.0),
        _scenes_twin("no_grayscale", grayscale_chance=0.0),
        _scenes_twin("rotation", rotation=180.0),
    )
}  # fmt: skip
