"""What the search page is made from, and those of its scripts that need no browser, against the library."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tests.lab_node import in_node
from xaicl_lib import Explanation, load_model
from xaicl_lib.lab import search
from xaicl_lib.retrieval.explaining import _border_share
from xaicl_lib.retrieval.search import _notes, nearest
from xaicl_lib.views.matches import _strongest_matches

INDEX = {
    "titles": ["a", "b", "c"],
    "start": 1,
    "models": [{"name": "reads", "text": {"words": ["a", "red", "disc"], "length": 3}}, {"name": "sees", "text": None}],
}


def test_the_files_hold_what_the_library_embeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAIRS", {"same_object": 5, "one_shared": 5})
    monkeypatch.setattr(search, "SEARCHED", ("scenes_clip",))
    (tmp_path / "models" / "scenes_clip").mkdir(parents=True)
    card = {"size": 64, "text": None, "weights": {"sha256": "0" * 64}}
    (tmp_path / "models" / "scenes_clip" / "model.json").write_text(json.dumps(card))
    search.write_search(tmp_path)
    index = json.loads((tmp_path / "search" / "index.json").read_text())
    images, titles = search._searched_scenes()
    assert index["titles"] == titles
    assert [title.endswith("in a frame") for title in titles] == [k % 10 == 5 for k in range(20)]
    sheet = np.array(Image.open(io.BytesIO((tmp_path / "search" / index["sheet"]["file"]).read_bytes())))
    for k in (0, 7, 19):  # the sheet is read row by row, twenty scenes each
        tile = sheet[:, 64 * k : 64 * (k + 1)]
        assert torch.equal(torch.from_numpy(tile).permute(2, 0, 1) / 255, images[k])
    (model,) = index["models"]
    vectors = np.frombuffer((tmp_path / "search" / model["vectors"]["file"]).read_bytes(), "<f4").reshape(20, -1)
    want = F.normalize(load_model("scenes_clip", "cpu").encode(images, "b"))
    assert np.abs(vectors - want.numpy()).max() < 1e-6


def test_scenes_are_found_in_the_order_of_the_library() -> None:
    vectors, z = F.normalize(torch.randn(30, 6)), torch.randn(6)
    vectors[[4, 9]] = vectors[2].clone()
    code = """import { ranked, together } from "lab/page/search_data.js";
    const vectors = given.vectors.map((v) => Float32Array.from(v));
    const q = together([{ z: Float32Array.from(given.z), sign: 1 }]);
    answer([ranked(vectors, q), ranked(vectors, q, given.out)]);"""
    order = nearest(vectors.numpy(), z.numpy(), 30)
    every, others = in_node(code, {"vectors": vectors.tolist(), "z": z.tolist(), "out": order[0]})
    assert [one["k"] for one in every] == order
    assert [one["k"] for one in others] == order[1:]
    want = F.cosine_similarity(vectors, z[None])[order]
    assert [one["score"] for one in every] == pytest.approx(want.tolist(), abs=1e-6)


def test_a_query_without_something_is_a_sum_as_the_library_has_it() -> None:
    vectors, asked = F.normalize(torch.randn(30, 6)), torch.randn(2, 6) * torch.tensor([[3.0], [0.2]])
    code = """import { ranked, together } from "lab/page/search_data.js";
    const [z, minus] = given.asked;
    answer(ranked(given.vectors, together([{ z, sign: 1 }, { z: minus, sign: -1 }])));"""
    got = in_node(code, {"vectors": vectors.tolist(), "asked": asked.tolist()})
    unit = F.normalize(asked).numpy()
    assert [one["k"] for one in got] == nearest(vectors.numpy(), unit[0] - unit[1], 30)
    want = F.cosine_similarity(vectors, asked[:1]) - F.cosine_similarity(vectors, asked[1:])
    assert [one["score"] for one in got] == pytest.approx(want.sort(descending=True).values.tolist(), abs=1e-6)


def test_near_duplicates_are_noted_as_the_library_does() -> None:
    images = torch.rand(6, 3, 32, 32).repeat_interleave(2, 2)[:, :, :32]
    images[2] = (images[0].flip(2) + 0.01).clamp(0, 1)  # mirrored and a little lighter
    images[4] = images[3]
    images[5, :, :2, :2] = 1 - images[5, :, :2, :2].round()  # as images[1], but for one square
    images[1] = images[5]
    images[1, :, :2, :2] = images[5, :, :2, :2].sub(1).abs()
    code = """import { noted } from "lab/page/search_data.js";
    answer([noted(given[0], given), noted(undefined, given)]);"""
    got = in_node(code, images.flatten(1).tolist())
    assert got == [list(_notes(query, images)) for query in (images[:1], None)]
    assert got[0] == ["a near-duplicate of the query", "", "a near-duplicate of the query", "", "a near-duplicate of result 4", ""]
    assert got[1][2] == "a near-duplicate of result 1"


def test_links_and_borders_are_those_of_the_library() -> None:
    joint, maps = torch.randn(1, 3, 4, 2, 5), torch.randn(2, 8, 8)
    code = """import { linksOf } from "lab/page/matches.js";
    import { borderShare } from "lab/page/search_data.js";
    const joint = { data: Float32Array.from(given.joint), ia: 3, ja: 4, ib: 2, jb: 5 };
    answer([linksOf(joint, 6), linksOf(joint, 99).length, given.maps.map((data) => borderShare({ data, h: 8, w: 8 }))]);"""
    links, most, shares = in_node(code, {"joint": joint.flatten().tolist(), "maps": maps.flatten(1).tolist()})
    want = _strongest_matches(Explanation(joint.sum((3, 4)), joint.sum((1, 2)), torch.zeros(1), joint=joint), 6)
    assert [(tuple(one["from"]), tuple(one["to"])) for one in links] == [(a, b) for a, b, _ in want]
    assert [one["value"] for one in links] == pytest.approx([value for *_, value in want], abs=1e-6)
    assert most == 10
    assert shares == pytest.approx(_border_share(maps).tolist(), abs=1e-6)


LINKS = {
    "": {"model": "reads", "scene": 1, "words": "", "minus": "", "result": 0, "why": False},
    "#scene=2&model=sees&result=3": {"model": "sees", "scene": 2, "words": "", "minus": "", "result": 2, "why": True},
    "#words=red+disc&model=sees": {"model": "reads", "scene": None, "words": "red disc", "minus": "", "result": 0, "why": True},
    "#scene=99&model=__proto__&result=7": {"model": "reads", "scene": 1, "words": "", "minus": "", "result": 0, "why": False},
    "#scene=-1&result=x&words=++": {"model": "reads", "scene": 1, "words": "", "minus": "", "result": 0, "why": False},
    "#scene=2&model=sees&minus=red": {"model": "reads", "scene": 2, "words": "", "minus": "red", "result": 0, "why": True},
    "#words=a+disc&minus=+": {"model": "reads", "scene": None, "words": "a disc", "minus": "", "result": 0, "why": True},
    "#result=0": {"model": "reads", "scene": 1, "words": "", "minus": "", "result": 0, "why": False},
}


def test_a_link_says_what_is_searched_and_nonsense_is_left_out() -> None:
    code = """import { read, write } from "lab/page/search_data.js";
    const states = given[1].map((link) => read(link, given[0]));
    answer([states, states.map((state) => read("#" + write(state), given[0]))]);"""
    got, again = in_node(code, [INDEX, list(LINKS)])
    assert got == [{"own": None, **state} for state in LINKS.values()]
    assert again == got


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A red, disc", ["a", "red", "disc"]),
        (" , ", "a search needs a picture or a word"),
        ("a dog or cat or dog", "never read “dog”, “or”, “cat”; it knows 3 words"),
        ("a a a a", "reads 3 words at most, and these are 4"),
        ("constructor", "never read “constructor”"),
    ],
)
def test_what_a_model_cannot_read_is_said(text: str, says: str | list[str]) -> None:
    code = """import { wordsOf } from "lab/engine/texts.js";
    answer(await told(() => wordsOf(given[0], given[1])));"""
    got = in_node(code, [text, INDEX["models"][0]["text"]])
    assert got == [says] if isinstance(says, list) else got.startswith("InputError: ") and says in got
    assert "reads no words" in in_node(code, [text, None])
