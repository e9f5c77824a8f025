"""A small CLIP in the form of open_clip that learns the embeddings of `scenes_clip`, for methods of others that are written for that form.

    python benchmarks/pupil.py [EPOCHS]

Its image side is a vision transformer of 64 patches, its text side reads up to its end; each learns to give what the same side of
`scenes_clip` gives for the same scenes and captions. It is kept in `runs/pupil.pt` after each epoch, and a run that was stopped goes on.
That of `results/word_peers.parquet` was stopped after four of eight epochs, at a mean cosine of 0.79 for pictures and 0.995 for captions.
"""

import sys
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from xaicl_lib import PairModel, load_model
from xaicl_lib.data.captions import captioned_set, captions
from xaicl_lib.training.zero_shot import zero_shot
from xaicl_lib.zoo.open_clip import _from_open_clip

KEPT = Path(__file__).parents[1] / "runs" / "pupil.pt"
SIZE, PATCH, CONTEXT = 64, 8, 20
BATCH, RATE, SEED = 128, 1e-3, 0
IMAGES = CLIPVisionCfg(layers=4, width=96, head_width=24, patch_size=PATCH, image_size=SIZE)


def network(d: int) -> CLIP:
    torch.manual_seed(SEED)
    return CLIP(d, IMAGES, CLIPTextCfg(context_length=CONTEXT, width=64, heads=2, layers=2))


def pupil() -> tuple[PairModel, CLIP]:
    """The model that was learned, and the network itself; the same input space as `scenes_clip`."""
    teacher = load_model("scenes_clip", "cpu")
    made = network(teacher.encode(torch.zeros(1, 3, SIZE, SIZE)).shape[1])
    made.load_state_dict(torch.load(KEPT, weights_only=True)["network"])
    return wrapped(made, teacher), made


def wrapped(made: CLIP, teacher: PairModel) -> PairModel:
    """The network with its tokenizer and its teacher's input space."""
    facts = {"size": SIZE, "mean": teacher._mean.flatten().tolist(), "std": teacher._std.flatten().tolist()}
    return _from_open_clip(made.eval(), open_clip.SimpleTokenizer(context_length=CONTEXT), name="scenes transformer", **facts)


def epoch(made, optimizer, data, generator, rates) -> float:
    """The mean cosine with what is to be learned, of either side."""
    images, facts, targets, teacher = data
    tokenizer, near = open_clip.SimpleTokenizer(context_length=CONTEXT), []
    made.train()
    for batch in torch.randperm(len(images), generator=generator).split(BATCH)[: len(images) // BATCH]:
        optimizer.param_groups[0]["lr"] = next(rates)
        texts = captions(facts[batch], generator)
        with torch.no_grad():
            told = teacher.embed_text(texts)
        x = teacher.normalize(images[batch].float() / 255)
        cosines = [F.cosine_similarity(made.encode_image(x), targets[batch]), F.cosine_similarity(made.encode_text(tokenizer(texts)), told)]
        optimizer.zero_grad()
        (2 - sum(one.mean() for one in cosines)).backward()
        optimizer.step()
        near.append(torch.stack([one.mean().detach() for one in cosines]))
    return torch.stack(near).mean(0)


def main(epochs: int) -> None:
    torch.set_num_threads(1)
    teacher = load_model("scenes_clip", "cpu")
    images, facts, _ = captioned_set("train")
    targets = teacher.encode(images.float() / 255)
    made, generator = network(targets.shape[1]), torch.Generator().manual_seed(SEED)
    optimizer, done = torch.optim.AdamW(made.parameters(), lr=RATE, weight_decay=0.01), 0
    if KEPT.exists():
        state = torch.load(KEPT, weights_only=True)
        made.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        done = state["done"]
    steps = len(images) // BATCH
    for k in range(done, epochs):
        rates = iter([RATE * (1 - (k * steps + j) / (epochs * steps)) for j in range(steps)])
        near = epoch(made, optimizer, (images, facts, targets, teacher), generator, rates)
        KEPT.parent.mkdir(exist_ok=True)
        state = {"network": made.state_dict(), "optimizer": optimizer.state_dict(), "generator": generator.get_state(), "done": k + 1}
        torch.save(state, KEPT)
        print(k + 1, [round(float(one), 3) for one in near], flush=True)
    asked(wrapped(made, teacher))


def asked(model: PairModel) -> None:
    images, facts, _ = captioned_set("val", pairs=200)
    one = facts[:, 1, 0] < 0
    print(zero_shot(model.encode(images[one].float() / 255), facts[one, 0], model.embed_text))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
