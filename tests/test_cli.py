"""The command line as a user meets it: right answers, and one line with exit code 2 for wrong questions."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.made_profiles import DISPLAY_P3
from xaicl_lib import Pair, load_model
from xaicl_lib.cli import main
from xaicl_lib.errors import NotebookError


@pytest.fixture
def photos(tmp_path):
    """Two photos on disk, side by side of an astronaut."""
    from skimage.data import astronaut

    for name, part in (("a.jpg", astronaut()[:300, :300]), ("b.png", astronaut()[:300, 60:360])):
        Image.fromarray(part).save(tmp_path / name)
    return str(tmp_path / "a.jpg"), str(tmp_path / "b.png")


def test_explain_writes_a_page_that_needs_nothing_else(photos, tmp_path, capsys) -> None:
    out = tmp_path / "out.html"
    assert main(["explain", *photos, "-o", str(out), "--set", "reduction=max", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "score 0." in said
    assert " s\n" in said
    page = out.read_text()
    assert "interaction_cam(reduction=max)" in page
    assert "a.jpg" in page
    assert 'src="http' not in page
    assert "cdn.plot.ly" not in page.split("<script")[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jpg", "b.png", "out.html"]


def test_explain_writes_a_picture(photos, tmp_path) -> None:
    out = tmp_path / "out.png"
    assert main(["explain", *photos, "--method", "grad_cam", "-o", str(out)]) == 0
    assert Image.open(out).width > 600


def test_photos_fit_as_asked_and_their_colours_are_noted_once(photos, tmp_path, capsys) -> None:
    wide = str(tmp_path / "wide.png")
    Image.open(photos[0]).crop((0, 0, 300, 150)).save(wide, icc_profile=DISPLAY_P3)
    out = tmp_path / "out.html"
    assert main(["explain", wide, wide, "--fit", "pad", "--method", "grad_cam", "-o", str(out), "--device", "cpu"]) == 0
    said = capsys.readouterr().err
    assert said.count("note: colours were converted to sRGB from 'Display P3'\n") == 1
    assert "Warning" not in said
    page = out.read_text()
    for told in (
        "<td>photos</td><td>the whole photo between grey bars</td>",
        "padded wide.png",
        "converted to sRGB from &#x27;Display P3&#x27;",
    ):
        assert told in page
    assert "<h1>Why simclr finds wide.png and wide.png 1.00 alike" in page


def test_a_score_by_its_name(photos, capsys) -> None:
    model, pair = load_model("simclr", "cpu"), Pair.open(*photos, 96)
    assert main(["explain", *photos, "--method", "grad_cam", "--score", "dot", "--device", "cpu"]) == 0
    want = (model.encode(pair.a) * model.encode(pair.b, "b")).sum()
    assert want > 1
    assert f"score {want:.4f}" in capsys.readouterr().out


def test_retrieve_writes_a_page_and_keeps_the_embeddings(photos, tmp_path, capsys) -> None:
    out, asked = tmp_path / "out.html", ["retrieve", photos[0], "--gallery", str(tmp_path), "-k", "1", "--device", "cpu"]
    assert main([*asked, "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "1. a.jpg  1.000  (a near-duplicate of the query)" in said
    assert "2 images searched by simclr" in said
    assert "<h1>Why simclr finds these for a.jpg" in out.read_text()
    kept = tmp_path / "simclr.safetensors"
    assert main(["retrieve", photos[1], "--gallery", str(kept), "-k", "1", "--device", "cpu"]) == 0
    assert "1. b.png  1.000" in capsys.readouterr().out
    assert main(["retrieve", "--gallery", str(kept), "--device", "cpu"]) == 2
    assert capsys.readouterr().err == "xaicl: expected a picture or a text to search with, got neither\n"
    assert main([*asked, "-o", ""]) == 2
    assert "ends in .html, got ''" in capsys.readouterr().err


def test_a_gallery_of_padded_photos_is_asked_with_padded_ones(photos, tmp_path, capsys) -> None:
    wide = str(tmp_path / "wide.png")
    Image.open(photos[0]).crop((0, 0, 300, 120)).save(wide)
    for gallery, fit in ((tmp_path, ["--fit", "pad"]), (tmp_path, []), (tmp_path / "simclr.safetensors", [])):
        assert main(["retrieve", wide, "--gallery", str(gallery), "-k", "1", "--device", "cpu", *fit]) == 0
        assert "1. wide.png  1.000" in capsys.readouterr().out


def test_names_of_files_are_text(photos, tmp_path) -> None:
    evil = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    Image.open(photos[0]).save(evil)
    assert main(["explain", str(evil), photos[1], "--method", "grad_cam", "-o", str(tmp_path / "o.html")]) == 0
    assert "<img src=x" not in (tmp_path / "o.html").read_text()


def test_identical_photos_are_noted(photos, capsys) -> None:
    assert main(["explain", photos[0], photos[0], "--method", "grad_cam"]) == 0
    captured = capsys.readouterr()
    assert "score 1.0000" in captured.out
    assert "both images are identical" in captured.err
    assert "gradients vanish" in captured.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.jpg", "B"], "expected an image file, got 'missing.jpg', which does not exist"),
        (["A", "B", "--model", "vgg"], "unknown model 'vgg'; there are:"),
        (["A", "B", "--method", "lime"], "unknown method 'lime'; there are:"),
        (["A", "B", "--set", "windw=3"], "unknown parameter of interaction_cam 'windw'; there are: reduction, gradient_interaction"),
        (["A", "B", "--set", "reduction=min"], "unknown reduction 'min'; there are: mean, max, attention"),
        (["A", "B", "--set", "gradient_interaction=maybe"], "expected gradient_interaction of interaction_cam to be bool, got 'maybe'"),
        (["A", "B", "--set", "reduction"], "expected NAME=VALUE"),
        (
            ["A", "B", "--method", "conditional_occlusion", "--set", "window=big"],
            "expected window of conditional_occlusion to be int | None, got 'big'",
        ),
        (["A", "B", "--score", "euclid"], "unknown score 'euclid'; there are: cosine, dot"),
        (["A", "B", "--set", "score=dot"], "expected NAME=VALUE of a parameter of the method"),
        (["A", "B", "--method", "pairwise_occlusion", "--set", "scale=('a','b')"], "as pairs of numbers"),
        (["A", "B", "--fit", "contain"], "unknown fit 'contain'; there are: crop, pad, stretch"),
        (["A", "B", "--device", "gpu"], "unknown or missing device 'gpu'"),
        (["A", "B", "-o", "out.pdf"], "ends in .html or .png, got 'out.pdf'"),
        (["A", "B", "-o", ""], "ends in .html or .png, got ''"),
        (["A", "B", "-o", "none/out.png"], "in a folder that exists"),
        (["A", "black.png"], "expected a picture of something, got 'black.png'"),
    ],
)
def test_wrong_questions_get_one_line(photos, tmp_path, capsys, monkeypatch, arguments, says) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save("black.png")
    before = sorted(os.listdir())
    given = [{"A": photos[0], "B": photos[1]}.get(word, word) for word in arguments]
    assert main(["explain", *given]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("xaicl: ")
    assert says in said
    assert sorted(os.listdir()) == before


def test_an_output_that_may_not_be_written(photos, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere, so the answer is forced
    assert main(["explain", *photos, "-o", str(tmp_path / "out.png")]) == 2
    assert "no permission" in capsys.readouterr().err


def test_a_disk_that_fills_up_leaves_nothing(photos, tmp_path, capsys, monkeypatch) -> None:
    from xaicl_lib.views import figures

    def full(path, *rest, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures, "save_png", full)
    assert main(["explain", *photos, "-o", str(tmp_path / "out.png")]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jpg", "b.png"]


def test_lists(capsys) -> None:
    assert main(["models"]) == 0
    assert "simclr" in capsys.readouterr().out
    assert main(["methods"]) == 0
    assert "window=None, stride=None" in capsys.readouterr().out


def test_training_from_the_command_line(tmp_path, capsys, monkeypatch) -> None:
    from xaicl_lib.training import train

    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("church", "tench"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for k in range(12):
                Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(tmp_path / "data" / split / name / f"{k}.png")
    tiny = train.Recipe("simclr", "nt_xent", batch=8, photo_size=32, widths=(4, 6, 8, 8), hidden=8, embedding=4)
    monkeypatch.setitem(train.RECIPES, "simclr", tiny)
    monkeypatch.setattr("xaicl_lib.training.finish.MIN_STD", 0.0)  # three steps on noise teach nothing
    monkeypatch.setattr("xaicl_lib.training.finish.MIN_RANK", 0.0)
    arguments = ["train", "simclr", "--data", str(tmp_path / "data"), "--epochs", "1", "--device", "cpu", "--out", str(tmp_path / "run")]
    assert main(arguments) == 0
    assert "simclr: k-NN accuracy 0." in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["checkpoint.pt", "simclr.json", "simclr.safetensors"]
    small = ["train", "supcon", "--data", str(tmp_path / "data")]
    refusals = (
        (["train", "vgg"], "unknown recipe 'vgg'"),
        ([*arguments[:2], "--data", str(tmp_path)], "without train/"),
        ([*arguments[:2], "--data", str(tmp_path / "nowhere")], "expected a folder with train/ and val/"),
        ([*arguments, "--epochs", "0"], "expected at least one epoch, got 0"),
        ([*arguments, "--device", "gpu"], "unknown or missing device 'gpu'; there are: auto, cpu"),
        (small, "expected at least one batch of 128 photos, got 24"),
    )
    for wrong, says in refusals:
        assert main(wrong) == 2
        assert says in capsys.readouterr().err


def test_what_the_system_refuses_is_one_line(photos, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    for wrong, says in (
        (["explain", "x" * 300, photos[0]], "File name too long"),
        (["train", "stickers_0", "--out", str(tmp_path / "file" / "below")], "Not a directory: "),
        (["editions", "--out", str(tmp_path / "file")], "file"),
    ):
        assert main(wrong) == 2
        said = capsys.readouterr().err
        assert said.startswith("xaicl: ")
        assert says in said
        assert said.count("\n") == 1
    with pytest.raises(SystemExit) as left:
        main(["train", "stickers_0", "--seed", "99999999999999999999"])
    assert left.value.code == 2
    assert "expected a whole number from 0 to 2**63 - 1" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device there")
@pytest.mark.parametrize("device", ["/dev/full", "closed pipe"])
def test_output_that_cannot_be_written(device) -> None:
    read, write = os.pipe()
    os.close(read)
    target = os.open(device, os.O_WRONLY) if device.startswith("/") else write
    done = subprocess.run([sys.executable, "-m", "xaicl_lib", "methods"], stdout=target, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == ((2, "xaicl: [Errno 28] No space left on device\n") if target != write else (0, ""))


def test_help_everywhere(capsys) -> None:
    done = subprocess.run([sys.executable, "-m", "xaicl_lib", "--help"], capture_output=True, text=True, check=True)
    assert "usage: xaicl" in done.stdout
    for words in ([], ["explain"], ["models"], ["methods"], ["train"], ["book"], ["serve"]):
        with pytest.raises(SystemExit) as left:
            main([*words, "--help"])
        assert left.value.code == 0
        assert f"usage: {' '.join(['xaicl', *words])} " in capsys.readouterr().out


def test_importing_is_light() -> None:
    """Nothing heavier than torch: its import alone decides how long ours takes."""
    heavy = "torchvision", "pandas", "plotly", "matplotlib", "sklearn", "skimage", "papermill", "PIL"
    code = f"import sys, xaicl_lib; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_evaluate_fits_photos_as_asked(photos, tmp_path) -> None:
    import pandas as pd

    (tmp_path / "wide").mkdir()
    Image.open(photos[0]).crop((0, 0, 300, 150)).save(tmp_path / "wide" / "a.png")
    command = ["evaluate", "--methods", "grad_cam", "--metrics", "SD", "--pairs", str(tmp_path / "wide"), "--count", "1", "--device", "cpu"]
    tables = {}
    for fit in ("crop", "pad"):
        assert main([*command, "--fit", fit, "-o", str(tmp_path / f"{fit}.csv")]) == 0
        tables[fit] = pd.read_csv(tmp_path / f"{fit}.csv")
    assert tables["crop"]["pairs"].unique().tolist() == ["wide"]
    assert tables["pad"]["pairs"].unique().tolist() == ["wide, pad"]
    assert tables["crop"]["value"].tolist() != tables["pad"]["value"].tolist()


def test_evaluate_writes_a_table_and_goes_on_from_its_store(tmp_path, capsys) -> None:
    import pandas as pd

    out, store = tmp_path / "table.csv", tmp_path / "store"
    command = [
        "evaluate",
        "--models",
        "scenes_simclr",
        "--methods",
        "interaction_cam(reduction=max)",
        "edges",
        "--metrics",
        "SD",
        "relevance_mass",
    ]
    command += ["--pairs", "same_object", "--count", "3", "--store", str(store), "--device", "cpu"]
    assert main([*command, "-o", str(out)]) == 0
    assert "12 rows" in capsys.readouterr().out
    table = pd.read_csv(out)
    assert set(table["method"]) == {"interaction_cam(reduction=max)", "edges"}
    assert table["pairs"].unique().tolist() == ["same_object"]
    files = sorted(store.rglob("*.parquet"))
    assert main([*command, "-o", str(tmp_path / "again.parquet")]) == 0
    assert sorted(store.rglob("*.parquet")) == files
    assert pd.read_parquet(tmp_path / "again.parquet")["value"].tolist() == pytest.approx(table["value"].tolist())


@pytest.mark.parametrize("metric", ["pointing_game", "relevance_mass"])
def test_evaluate_measures_what_has_no_options_of_areas(metric, tmp_path, capsys) -> None:
    import pandas as pd

    command = ["evaluate", "--models", "scenes_simclr", "--methods", "deep_similarity", "--metrics", metric, "--pairs", "one_shared"]
    assert main([*command, "--count", "2", "--device", "cpu", "-o", str(tmp_path / "x.csv")]) == 0
    assert "2 rows" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "x.csv")["value"].between(0, 1).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--methods", "cam"], "unknown method 'cam'"),
        (["--methods", "interaction_cam(reduction=most)"], "unknown reduction 'most'; there are: mean, max, attention"),
        (["--methods", "grad_cam(5)"], "unknown parameter of grad_cam '5'"),
        (["--pairs", "no/such/folder"], "a folder of photos, or a kind of scenes (same_object"),
        (["--count", "0"], "at least one pair, got 0"),
        (["--models", "simclr", "scenes_simclr"], "simclr of 96, scenes_simclr of 64"),
        (["-o", "table.txt"], "ends in .csv or .parquet, got 'table.txt'"),
        (["--metrics", "SI", "SI"], "SI twice"),
        (["--models", "simclr", "simclr"], "simclr twice"),
        (["--metrics", "pointing_game", "--adaptive"], "unknown option 'adaptive'"),
    ],
)
def test_evaluate_with_bad_input(change, says, tmp_path, capsys) -> None:
    assert main(["evaluate", "-o", str(tmp_path / "table.csv"), *change]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_run_executes_the_notebooks_asked_for(tmp_path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr("xaicl_lib.publishing.run.run_notebooks", lambda *args, **options: asked.append((args, options)))
    monkeypatch.chdir(tmp_path)
    given = [f"--set={text}" for text in ("count=3", "models=['simclr']", "pairs=samples")]
    assert main(["run", "02_metrics", "--profile", "full", *given, "--jobs", "3"]) == 0
    parameters = {"count": 3, "models": ["simclr"], "pairs": "samples"}
    limits = {"jobs": 3, "timeout": 21600}
    assert asked == [((["02_metrics"],), {"profile": "full", "out": "_build/notebooks/full", "parameters": parameters, **limits})]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["03_nothing"], "unknown notebook '03_nothing'; there are: 01_methods"),
        (["01_methods", "--set", "size"], "expected NAME=VALUE of a parameter of the notebooks"),
        (["01_methods", "--set", "colour=1"], "unknown parameter of 01_methods 'colour'; there are:"),
    ],
)
def test_run_with_bad_input(arguments, says, tmp_path, capsys) -> None:
    assert main(["run", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--jobs", "0", "expected a whole number of at least 1, got '0'"),
        ("--jobs", "two", "expected a whole number of at least 1, got 'two'"),
        ("--timeout", "0", "expected a number of seconds above 0, got '0'"),
        ("--timeout", "nan", "expected a number of seconds above 0, got 'nan'"),
    ],
)
def test_limits_of_a_run_that_are_none(option, value, says, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", option, value])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_run_that_failed_ends_with_1_and_a_line_for_each_notebook(monkeypatch, capsys) -> None:
    def fail(*_, **__):
        raise NotebookError("2 of 3 notebooks failed\n01_a, cell 2 of 3: KeyError\n02_b: the kernel died")

    monkeypatch.setattr("xaicl_lib.publishing.run.run_notebooks", fail)
    assert main(["run"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "xaicl: 2 of 3 notebooks failed",
        "01_a, cell 2 of 3: KeyError",
        "02_b: the kernel died",
    ]
