"""Words and regions: closed forms on a linear model, parts that add up to the cosine on others, words made of tokens."""

from itertools import accumulate, pairwise

import pytest
import torch
from torch import nn

from tests.conftest import assert_close
from xaicl_lib import InputError, PairModel, load_model
from xaicl_lib.data.captions import phrase, relations
from xaicl_lib.data.drawing import render
from xaicl_lib.data.scenes import draw_pairs
from xaicl_lib.methods.words import explain_words
from xaicl_lib.retrieval import retrieve
from xaicl_lib.tokens.texts import open_text

open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed (extra: clip)")


class Letters(nn.Module):
    """A token for each letter, a full stop at the end, padding behind; embeddings by any function of the vectors."""

    LENGTH, PADDING, STOP = 14, 0, 27

    def __init__(self, after: nn.Module, causal: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.letters, self.after = nn.Embedding(28, 5), after

    def read(self, texts: list[str]) -> torch.Tensor:
        rows = [[*(ord(letter) - 96 for letter in text.replace(" ", "")[: self.LENGTH - 1]), self.STOP] for text in texts]
        return torch.tensor([[*row, *[self.PADDING] * (self.LENGTH - len(row))] for row in rows])

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.after(self.letters(tokens).sum(1))

    def forward(self, texts: list[str]) -> torch.Tensor:
        return self.encode(self.read(texts))


class Rows(Letters):
    """The same letters in rows as other tokenizers make them, eight tokens of a text and one that closes it among them."""

    PADDING, BEGIN, CLASS = 0, 26, 25

    def __init__(self, form: str) -> None:
        super().__init__(nn.Linear(5, 7))
        self.form = form

    def read(self, texts: list[str]) -> torch.Tensor:
        letters = [text.replace("the", "x").replace(" ", "") for text in texts]
        return torch.tensor([getattr(self, self.form)([ord(letter) - 96 for letter in text]) for text in letters])

    def end_is_padding(self, row: list[int]) -> list[int]:
        """As SigLIP's."""
        return row[:8] + [self.STOP] * (9 - len(row[:8]))

    def class_token_last(self, row: list[int]) -> list[int]:
        """As CLIPS has it."""
        return [self.BEGIN, *row[:8], self.STOP, *[self.PADDING] * (8 - len(row)), self.CLASS]

    def nothing_longer(self, row: list[int]) -> list[int]:
        if len(row) > 8:
            raise RuntimeError("too long")
        return [*row, self.STOP, *[self.PADDING] * (8 - len(row))]


class Unseen(nn.Module):
    """A text side that cannot be asked what it reads."""

    def forward(self, texts: list[str]) -> torch.Tensor:
        return torch.rand(len(texts), 7)


def linear() -> PairModel:
    torch.manual_seed(4)
    return PairModel(nn.Conv2d(3, 7, 6, 6), size=24, text=Letters(nn.Linear(5, 7)))


def test_a_linear_model_in_closed_form() -> None:
    """Both sides are sums, so a word and a cell add the product of what each adds alone."""
    model, x, text = linear(), torch.rand(1, 3, 24, 24), "ab c abd"
    (made,) = explain_words(model, x, [text])
    side = model._parts["text"]
    vectors = side.letters.weight - side.letters.weight[0]
    u = torch.stack([sum(vectors[ord(letter) - 96] for letter in word) for word in text.split()]) @ side.after.weight.T
    f = model.features_a(x)[0].flatten(1).T / 16  # (p, c): what each cell adds to the mean
    h, g = f.sum(0), side([text])[0]
    blank = g - u.sum(0)
    norm = h.norm() * g.norm()
    assert made.words == ("ab", "c", "abd")
    assert_close(made.joint.flatten(1), u @ f.T / norm, rtol=1e-4, atol=1e-6)
    assert_close(made.picture.flatten(), f @ blank / norm, rtol=1e-4, atol=1e-6)
    assert_close(made.text, 0 * made.text, atol=1e-5)  # the picture begins at nothing
    assert made.constant == pytest.approx(0, abs=1e-5)
    assert made.score == pytest.approx(float(h @ g / norm), abs=1e-6)
    assert made.error == pytest.approx(0, abs=1e-5)
    assert made.residual == pytest.approx(made.score - float(made.joint.sum()), abs=1e-7)
    assert_close(made.where("c abd"), made.joint[1] + made.joint[2])
    mask = torch.zeros(24, 24, dtype=torch.bool)
    mask[:6, :9] = True  # a cell and half of the next
    assert_close(made.what(mask), made.joint[:, 0, 0] + made.joint[:, 0, 1] / 2)


TEXTS = ["a photo of an axolotl, unbelievably red", "the cat"]
IMAGE = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}


def as_siglip(texts: list[str]) -> torch.Tensor:
    """Words in pieces of four letters, an end that is padding, too: no mask, and the last token is read."""
    rows = [[2 + sum(map(ord, word[k : k + 4])) % 400 for word in text.split() for k in range(0, len(word), 4)] for text in texts]
    return torch.tensor([(row + [1] * 16)[:16] for row in rows])


@pytest.fixture(scope="module", params=["clip", "siglip"])
def model(request) -> PairModel:
    """Of open_clip, of random weights large enough that no layer is nearly linear."""
    from xaicl_lib.zoo.open_clip import _from_open_clip

    torch.manual_seed(0)
    if request.param == "clip":
        network, tokenizer = open_clip.CLIP(embed_dim=12, vision_cfg=IMAGE, text_cfg=TEXT), open_clip.SimpleTokenizer(context_length=16)
    else:
        own = {**TEXT, "vocab_size": 500, "no_causal_mask": True, "pool_type": "last", "proj_bias": True, "pad_id": 1}
        network = open_clip.CustomTextCLIP(embed_dim=12, vision_cfg=IMAGE, text_cfg=own)
        tokenizer = as_siglip
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(3.0 if p.ndim > 1 else 1.0)
    return _from_open_clip(network.eval(), tokenizer)


def test_words_and_regions_add_up_to_the_cosine(model) -> None:
    x = torch.rand(2, 3, 32, 32)
    made = explain_words(model, x, TEXTS)
    z = model.embed_text(TEXTS)
    want = torch.nn.functional.cosine_similarity(model.encode(x), z)
    for one, score, text in zip(made, want.tolist(), TEXTS, strict=True):
        assert one.score == pytest.approx(score, abs=1e-5)
        assert abs(one.error) <= 1e-3
        assert one.words == tuple(text.split())
        assert one.joint.shape == (len(one.words), 4, 4)
        assert one.joint.abs().amax() > 1e-3
    assert_close(explain_words(model, x[1:], TEXTS[1:])[0].joint, made[1].joint, rtol=1e-4, atol=1e-6)


def test_vectors_of_words_are_what_a_slow_sum_of_gradients_finds(model) -> None:
    """Along the way from blank words to words, by reverse mode, token by token, at the same points."""
    from numpy.polynomial.legendre import leggauss

    from xaicl_lib.methods.words import _word_vectors

    text = open_text(model._parts["text"], TEXTS[0])
    nodes, weights = leggauss(4)
    total = torch.zeros(len(text.words), 12)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        at = (text.blank + node * (text.vectors - text.blank)).float()
        jacobian = torch.autograd.functional.jacobian(lambda v: text.embed(v[None])[0], at)  # (d, t, c)
        by_token = torch.einsum("dtc,tc->td", jacobian, text.vectors - text.blank)
        total += weight * text.places.float() @ by_token
    assert_close(_word_vectors(text, 4), total, rtol=1e-3, atol=1e-5)


def test_a_text_is_opened_as_the_model_reads_it(model) -> None:
    side = model._parts["text"]
    for text in TEXTS:
        opened = open_text(side, text)
        assert_close(opened.embed(opened.vectors[None]), side([text]), rtol=1e-4, atol=1e-5)
        assert (opened.places.sum(0) <= 1).all()
        kept = torch.ones(2, len(opened.words), dtype=torch.bool)
        kept[1] = False
        assert torch.equal(opened.without(kept)[0], opened.vectors)
        assert torch.equal(opened.without(kept)[1], opened.blank)
    assert not side.network.training
    assert not any(m._forward_hooks for m in side.modules())


def test_tokens_of_a_word_go_together_and_a_long_text_is_cut_where_the_model_cuts() -> None:
    side = Letters(nn.Linear(5, 7))
    opened = open_text(side, "ab c abd")
    assert [row.nonzero()[:, 0].tolist() for row in opened.places] == [[0, 1], [2], [3, 4, 5]]
    assert [row.nonzero()[:, 0].tolist() for row in open_text(side, "a").places] == [[0]]
    with pytest.warns(UserWarning, match="the model reads 14 tokens, with which the text ends within 'ef'; words left out: 2"):
        opened = open_text(side, "abcdefgh abcd ef gh ij")
    assert opened.words == ("abcdefgh", "abcd", "ef")
    assert [len(row.nonzero()) for row in opened.places] == [8, 4, 1]


@pytest.mark.parametrize("form", ["end_is_padding", "class_token_last", "nothing_longer"])
def test_words_are_found_whatever_tokenizers_fill_rows_with(form, recwarn) -> None:
    side, first = Rows(form), int(form == "class_token_last")
    model = PairModel(nn.Conv2d(3, 7, 6, 6), size=24, text=side)
    for text in ("ab c abd", "abc de fgh", "b", *(["abcdefgh"] if form == "nothing_longer" else [])):
        model.embed_text([text])
        opened = open_text(side, text)
        assert opened.words == tuple(text.split())
        ends = accumulate(map(len, text.split()), initial=first)
        assert [row.nonzero()[:, 0].tolist() for row in opened.places] == [list(range(*two)) for two in pairwise(ends)]
        padding = side.letters.weight[side.STOP if form == "end_is_padding" else side.PADDING]
        assert (opened.blank[opened.places.any(0)] == padding).all()
    assert not recwarn.list
    if form == "nothing_longer":
        return
    for text, end in (("abc de fgh ij k", "at 'fgh'; words left out: 2"), ("ab cdefghij", "within 'cdefghij'; words left out: 0")):
        with pytest.warns(UserWarning, match=f"with which the text ends {end}"):
            model.embed_text([text])
        with pytest.warns(UserWarning, match=f"with which the text ends {end}"):
            assert int(open_text(side, text).places.sum()) == 8


def test_a_class_token_behind_the_text_wants_all_places() -> None:
    from xaicl_lib.zoo.open_clip import _from_open_clip

    torch.manual_seed(0)
    network = open_clip.CustomTextCLIP(embed_dim=12, vision_cfg=IMAGE, text_cfg={**TEXT, "embed_cls": True}).eval()
    model = _from_open_clip(network, open_clip.SimpleTokenizer(context_length=16))
    (made,) = explain_words(model, torch.rand(1, 3, 32, 32), TEXTS[1:])
    assert made.words == ("the", "cat")
    assert abs(made.error) <= 1e-3


def test_what_is_not_read_of_a_text_is_said_wherever_it_is_embedded(recwarn) -> None:
    """By searches and corpora, too, which ask for embeddings alone."""
    reader, fits = linear(), "abcdefgh abcd e"  # all 14 tokens
    reader.embed_text([fits, "a b"])
    PairModel(nn.Conv2d(3, 7, 6, 6), size=24, text=Unseen()).embed_text([fits + "fgh"])  # cannot be seen
    assert not recwarn.list
    with pytest.warns(UserWarning, match="reads 14 tokens, with which the text ends at 'e'; words left out: 1"):
        reader.embed_text(["a b", fits + " fgh"])
    with pytest.warns(UserWarning, match="ends at 'e'; words left out: 1"):
        retrieve(reader, None, torch.rand(3, 3, 24, 24), 1, text=fits + " fgh")


def test_words_of_scenes_lie_on_the_objects_that_they_name() -> None:
    reader = load_model("scenes_clip", "cpu")
    drawn = draw_pairs(6, "one_shared", torch.Generator().manual_seed(1))[0]
    images, masks = render(drawn, 64)
    from xaicl_lib.data.captions import facts_of

    facts = facts_of(drawn).tolist()
    names = [[phrase(thing, ("colour", "shape")) for thing in one] for one in facts]
    texts = [f"{a} {relations(*one)[0]} {b}" for (a, b), one in zip(names, facts, strict=True)]
    hits = []
    for k, made in enumerate(explain_words(reader, images, texts)):
        assert abs(made.error) <= 1e-3
        for name, mask in zip(names[k], masks[k], strict=True):
            cover = nn.functional.adaptive_avg_pool2d(mask.float()[None], 8)[0]
            hits.append(float(cover.flatten()[made.where(name.removeprefix("a ").removeprefix("an ")).argmax()]) > 0)
            said = made.what(mask)
            hits.append(float(said[made.places(name)].sum()) == max(float(said[made.places(n)].sum()) for n in names[k]))
    assert sum(hits) >= 22, "of 24"


def test_questions_that_cannot_be_asked() -> None:
    model, x = linear(), torch.rand(2, 3, 24, 24)
    with pytest.raises(InputError, match="expected a text for each of 2 images"):
        explain_words(model, x, "ab")
    with pytest.raises(InputError, match="at least one step"):
        explain_words(model, x, ["a", "b"], steps=0)
    with pytest.raises(InputError, match="expected a model with a text side"):
        explain_words(PairModel(nn.Conv2d(3, 4, 5), size=24), x, ["a", "b"])
    with pytest.raises(InputError, match="expected words of 'ab c' that follow each other, got 'c ab'"):
        explain_words(model, x[:1], ["ab c"])[0].where("c ab")
    with pytest.raises(InputError, match="expected a text with words that the model reads"):
        explain_words(model, x[:1], ["  "])
    model = PairModel(nn.Conv2d(3, 4, 5), size=24, text=nn.Linear(2, 2))
    with pytest.raises(InputError, match="a text side with `read` and `encode` around"):
        explain_words(model, x[:1], ["a"])
