"""Exported bundles against torch: every graph by onnxruntime, weights as a reader gets them back, and what cannot be exported."""

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.conftest import STATS, build, small_head
from xaicl_lib import PairModel, load_model
from xaicl_lib.cli import main
from xaicl_lib.errors import InputError
from xaicl_lib.layers import guided
from xaicl_lib.zoo import list_models

pytest.importorskip("onnx", reason="needs xaicl_lib[export]")
pytest.importorskip("onnxscript", reason="needs xaicl_lib[export]")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs xaicl_lib[export]")

from xaicl_lib.lab.export import export, graphs  # noqa: E402
from xaicl_lib.lab.export.weights import _Affine, prepare  # noqa: E402

pytestmark = pytest.mark.usefixtures("brisk_export")
CNNS = [name for name in list_models() if name not in ("moco_v3", "dino_student")]  # of which test_tokens.py has small ones
MAX_BUNDLED = 2_560_000  # bytes of weights


def weights_of(folder: Path) -> dict[str, Tensor]:
    """The weights of a bundle as a reader gets them back, in the order of its card."""
    entry = json.loads((folder / "model.json").read_text())["weights"]
    data, made = (folder / entry["file"]).read_bytes(), {}

    def read(offset: int, shape: list[int], kind: str) -> Tensor:
        return torch.from_numpy(np.frombuffer(data, kind, int(np.prod(shape)), offset).astype("float32")).view(shape)

    for row in entry["tensors"]:
        made[row["name"]] = read(row["offset"], row["shape"], row["type"])
        if row["scale"] is not None:
            made[row["name"]] *= read(row["scale"], row["shape"][:1], "float32").view(-1, *[1] * (len(row["shape"]) - 1))
    return made


class Graphs:
    """A bundle's graphs, run by onnxruntime on the weights that a reader gets from its file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card = json.loads((folder / "model.json").read_text())
        self.data = torch.cat([w.flatten() for w in weights_of(folder).values()]).numpy().tobytes()

    def __call__(self, name: str, *inputs: Tensor) -> list[Tensor]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_external_initializers_from_files_in_memory(["weights.bin"], [self.data], [len(self.data)])
        session = onnxruntime.InferenceSession(self.folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
        given = {slot.name: x.detach().float().numpy() for slot, x in zip(session.get_inputs(), inputs, strict=True)}
        return [torch.from_numpy(out) for out in session.run(None, given)]


def gradients(function: Any, *inputs: Tensor) -> list[Tensor]:
    """A score and its gradients by torch's autograd."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    s = function(*leaves)
    return [s.detach(), *torch.autograd.grad(s.sum(), leaves)]


def away(got: Tensor, want: Tensor) -> float:
    """Relative L2 distance."""
    assert got.shape == want.shape
    return float((got - want).norm() / want.norm())


def images(model: PairModel, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Smooth random pictures, in the model's input space: white noise has gradients that no photo has."""
    coarse = torch.rand(2 * n, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    fine = F.interpolate(coarse, (model.size, model.size), mode="bicubic").clamp(0, 1)
    return model.normalize(fine[:n]).contiguous(), model.normalize(fine[n:]).contiguous()


def compare(graphs: Graphs, model: PairModel, n: int, score: float, features: float, pixels: float) -> None:
    """Every graph against autograd on the model itself; the numbers are the largest differences."""
    x1, x2 = images(model, n)
    for side, x, part, head in (("", x1, model.features_a, model.head_a), ("_b", x2, model.features_b, model.head_b)):
        name = f"encode{side}" if f"encode{side}" in graphs.card["graphs"] else "encode"
        f, z = graphs(name, x)
        assert away(f, part(x)) < features
        assert away(z, head(part(x))) < features
    f1, f2 = model.features_a(x1), model.features_b(x2)

    def by_maps(f1: Tensor, f2: Tensor) -> Tensor:
        return F.cosine_similarity(model.head_a(f1), model.head_b(f2))

    def by_pixels(x1: Tensor, x2: Tensor) -> Tensor:
        with guided(is_guided):
            return F.cosine_similarity(model.embed_a(x1), model.embed_b(x2))

    for name, function, given, limit in (
        ("headgrad", by_maps, (f1, f2), features),
        ("pixgrad", by_pixels, (x1, x2), pixels),
        ("pixgrad_guided", by_pixels, (x1, x2), pixels),
    ):
        is_guided = name == "pixgrad_guided"
        if name not in graphs.card["graphs"]:
            continue
        got, want = graphs(name, *given), gradients(function, *given)
        assert float((got[0] - want[0]).abs().max()) < score, name
        for ours, theirs in zip(got[1:], want[1:], strict=True):
            assert away(ours, theirs) < limit, name


@pytest.fixture(scope="module")
def bundled(bundle_of: Callable[[str], Path]) -> Callable[[str], Graphs]:
    """The graphs of the package's models, each opened once."""
    return functools.cache(lambda name: Graphs(bundle_of(name)))


@pytest.mark.parametrize("name", CNNS)
def test_every_bundled_network_against_autograd(name: str, bundled: Any) -> None:
    graphs, model = bundled(name), load_model(name, "cpu")
    compare(graphs, model, 2, score=1e-6, features=1e-4, pixels=2e-3)  # a ReLU that flips by rounding moves pixel gradients by 1e-3
    assert graphs.card["weights"]["bytes"] <= MAX_BUNDLED
    assert graphs.card["guided"]
    assert len(graphs.card["methods"]) == 9


@pytest.mark.parametrize("n", [1, 5])
def test_any_number_of_images(n: int, bundled: Any) -> None:
    compare(bundled("scenes_simclr"), load_model("scenes_simclr", "cpu"), n, score=1e-6, features=1e-4, pixels=2e-3)


def test_what_cells_add_is_the_derivative_along_them(bundled: Any) -> None:
    graphs, model = bundled("scenes_simclr"), load_model("scenes_simclr", "cpu")
    f, along = (model.features_a(x) for x in images(model, 1))
    (v,) = graphs("headcells", f, along)  # (1, p, d)
    i, j = f.shape[2:]
    assert v.shape == (1, i * j, graphs.card["embedding"])
    for p in (0, 7, i * j - 1):
        only = torch.zeros_like(along)
        only[..., p // j, p % j] = along[..., p // j, p % j]
        want = torch.autograd.functional.jvp(model.head_a, f, only)[1]
        assert away(v[:, p], want) < 1e-4


def test_bundled_weights_come_back_as_they_are() -> None:
    model = load_model("scenes_simclr", "cpu")
    parts, weights = prepare(model)
    for name, tensor in parts.named_parameters():
        assert away(weights[name].value, tensor) < 1e-6, name
    assert sum(w.stored.dtype == torch.float16 for w in weights.values()) > 10


class Odd(nn.Module):
    """Strides, kernels, groups, dilation and pools that the bundled networks do not have, and sides that leave pixels over."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Sequential(nn.Conv2d(3, 8, 7, 3, 2), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 2, dilation=2, groups=4), nn.LeakyReLU(0.1), nn.AvgPool2d(2))
        self.third = nn.Sequential(nn.Conv2d(8, 12, (3, 1), (2, 1), (1, 0)), nn.Hardswish(), nn.Conv2d(12, 12, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.third(self.second(self.first(x)))) * 0.5


def test_own_network_of_other_strides(tmp_path: Path) -> None:
    model = PairModel(Odd(), small_head(channels=12).float(), size=71, name="odd", **STATS)
    card = export(model, tmp_path / "odd")
    compare(Graphs(tmp_path / "odd"), model, 2, score=1e-4, features=5e-3, pixels=3e-2)
    assert card["mean"] == list(STATS["mean"])
    assert card["size"] == 71


def test_sides_that_differ_and_double_precision(tmp_path: Path) -> None:
    model = build("two branches")
    card = export(model, tmp_path / "two")
    assert not card["symmetric"]
    assert {"encode_b", "headcells_b"} <= set(card["graphs"])
    compare(Graphs(tmp_path / "two"), model.to(torch.float32), 2, score=1e-4, features=5e-3, pixels=3e-2)


@pytest.mark.usefixtures("same_graphs")
@pytest.mark.parametrize("factor", [1e-7, 1.0, 1e6])
def test_weights_that_half_precision_cannot_hold(factor: float, tmp_path: Path) -> None:
    model = tiny("scaled")
    weight = model.features_a[0].weight  # type: ignore[index]
    weight.data *= factor  # the smallest leaves the bias alone, and so a cosine of 1
    export(model, tmp_path / "out")
    assert away(weights_of(tmp_path / "out")["features.0.weight"], weight.data) < 1e-3


def test_norms_that_stay_are_affine() -> None:
    norm = nn.BatchNorm1d(5).eval()
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    for shape in ((4, 5), (4, 5, 3)):
        x = torch.randn(shape)
        torch.testing.assert_close(_Affine(norm)(x), norm(x))


def tiny(name: str = "tiny") -> PairModel:
    torch.manual_seed(3)
    return PairModel(nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU()), size=12, name=name)


@pytest.fixture
def same_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports of `tiny` whose graphs are those of the first one: for what does not depend on how they are made."""
    monkeypatch.setattr("xaicl_lib.lab.export.to_onnx", lambda function, *given: tiny_graph(function.outputs, function.guided))


@functools.cache
def tiny_graph(outputs: tuple[str, ...], guided: bool) -> bytes:
    parts, weights = prepare(tiny())
    values, offsets, end = {key: weight.value for key, weight in weights.items()}, {}, 0
    for key, value in values.items():
        offsets[key], end = end, end + 4 * value.numel()
    made = graphs.functions(graphs.Network(parts, True), 12, relus=True, cells=True).values()
    return graphs.to_onnx(next(f for f in made if (f.outputs, f.guided) == (outputs, guided)), values, offsets)


def test_same_model_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("one", "two"):
        monkeypatch.setattr(graphs, "_KNOWN", {})
        export(tiny(), tmp_path / folder)
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert files == ["encode.onnx", "headcells.onnx", "headgrad.onnx", "model.json", "pixgrad.onnx", "pixgrad_guided.onnx", "weights.bin"]
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)


def test_graphs_say_nothing_of_where_they_were_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.fx.config.do_not_emit_stack_traces", False, raising=False)  # else there were nothing to say
    monkeypatch.setattr(graphs, "_KNOWN", {})
    export(tiny(), tmp_path / "out")
    content = b"".join(p.read_bytes() for p in (tmp_path / "out").iterdir())
    for word in (str(Path.cwd()), "site-packages", "pytorch", "torch.", 'File "'):
        assert word.encode() not in content


def test_what_is_traced_is_not_traced_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, weights = prepare(tiny("short"))
    made = graphs.functions(graphs.Network(parts, True), 12, relus=True, cells=True)
    monkeypatch.setattr(graphs, "_KNOWN", {})
    monkeypatch.delattr(graphs, "_batches")  # which only the long way asks for
    for name in ("headgrad", "headcells"):
        assert graphs.to_onnx(made[name], {key: w.value for key, w in weights.items()}, dict.fromkeys(weights, 0))


@pytest.mark.usefixtures("brisk_export")
def test_networks_that_differ_in_their_weights_alone_share_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    def keys(activation: nn.Module) -> set[str]:
        parts, _ = prepare(PairModel(nn.Sequential(nn.Conv2d(3, 4, 3, 2), activation), size=12))
        return {function.key for function in graphs.functions(graphs.Network(parts, True), 12, relus=False, cells=True).values()}

    class Local(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.tanh()

    patched = nn.LeakyReLU(0.1)
    patched.forward = MethodType(nn.LeakyReLU.forward, patched)  # type: ignore[method-assign]
    assert keys(nn.LeakyReLU(0.1)) == keys(nn.LeakyReLU(0.1))
    assert not keys(nn.LeakyReLU(0.1)) & keys(nn.LeakyReLU(0.2))
    assert len(keys(nn.LeakyReLU(0.1)) - {""}) == 4
    assert keys(Local()) == keys(patched) == {""}, "of which nothing safe can be said"


def test_several_axes_squeezed_at_once_are_not_traced_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a head writes it that pools and then drops both axes; ONNX's operation takes one after the other."""

    def run(weights: graphs.Weights, f: Tensor) -> tuple[Tensor]:
        return (f.mean((2, 3), keepdim=True).squeeze((-1, 2)) * 2,)

    monkeypatch.delattr(graphs, "_batches")  # which only the long way asks for
    x = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    data = graphs.to_onnx(graphs.Function(run, {"f": x}, ("z",)), {}, {})
    (got,) = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"f": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), x.mean((2, 3)) * 2)


def test_a_change_in_place_that_others_see_takes_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(weights: graphs.Weights, x: Tensor) -> tuple[Tensor]:
        y = x * 2 - 1
        flat = y.flatten(1)
        y.relu_()
        return (flat,)

    ways, batches = [], graphs._batches
    monkeypatch.setattr(graphs, "_batches", lambda *given: ways.append("long") or batches(*given))
    x = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
    data = graphs.to_onnx(graphs.Function(run, {"x": x}, ("y",)), {}, {})
    (got,) = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": x.numpy()})
    assert torch.equal(torch.from_numpy(got), (x * 2 - 1).relu().flatten(1))
    assert ways == ["long"]


@pytest.mark.usefixtures("same_graphs")
@pytest.mark.parametrize("name", ["</script><img src=x onerror=alert(1)>", "../../etc/passwd", "two\nlines\x00", "名前 " * 200, ""])
def test_names_are_text(name: str, tmp_path: Path) -> None:
    card = export(tiny(name), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "model.json").read_text()) == card
    assert len(card["name"]) <= 200
    assert card["name"].isprintable()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.usefixtures("same_graphs")
def test_an_older_bundle_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    export(tiny("first"), tmp_path / "out")
    assert export(tiny("second"), tmp_path / "out")["name"] == "second"
    assert json.loads((tmp_path / "out" / "model.json").read_text())["name"] == "second"
    (tmp_path / "out" / "thesis.txt").write_text("two years of work")
    with pytest.raises(InputError, match="with other files in it"):
        export(tiny(), tmp_path / "out")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for place, says in (("file", "is a file"), ("link", "is a link"), ("no/where", "in one that exists")):
        with pytest.raises(InputError, match=says):
            export(tiny(), tmp_path / place)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "two years of work"


@pytest.mark.usefixtures("same_graphs")
def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(tiny("first"), tmp_path / "out")

    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left"):
        export(tiny("second"), tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert json.loads((tmp_path / "out" / "model.json").read_text())["name"] == "first"


@pytest.mark.usefixtures("same_graphs")
def test_a_changed_file_is_told_by_its_card(tmp_path: Path) -> None:
    export(tiny(), tmp_path / "out")
    card = json.loads((tmp_path / "out" / "model.json").read_text())
    for entry in (*card["graphs"].values(), card["weights"]):
        data = (tmp_path / "out" / entry["file"]).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (entry["sha256"], entry["bytes"])


class Sorted(nn.Module):
    """An operation whose gradient ONNX cannot say."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.qr(x)[0]


class Constants(nn.Module):
    """Weights that are no weights to torch."""

    def __init__(self) -> None:
        super().__init__()
        self.table = (torch.rand(432, 5000),)

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.table[0]).view(len(x), 5000, 1, 1)


@pytest.mark.parametrize(
    ("features", "options", "says"),
    [
        (Sorted(), {}, "cannot be exported: encode cannot be"),
        (nn.AvgPool2d(3, 2, ceil_mode=True), {}, "ceil_mode"),
        (nn.Flatten(), {}, "does not run on images|feature maps"),
        (nn.Conv2d(3, 4, 40), {}, "does not run on images of 12 x 12"),
        (nn.Sequential(nn.Conv2d(3, 12500, 30, bias=False)), {"size": 40}, "at most 64 MB"),
        (Constants(), {}, "MB of constants"),
        (nn.Conv2d(3, 1, 2), {"size": 1025}, "at most 1,024 pixels a side for the lab, got 'mine' of 1,025"),
        (nn.Conv2d(3, 1, 1), {"size": 65}, "at most 4,096 cells in a feature map for the lab, got 'mine' of 4,225"),
        (nn.Conv2d(3, 65537, 12), {}, "at most 65,536 channels or numbers in an embedding"),
        (nn.Sequential(nn.Conv2d(3, 1, 12), *[nn.PReLU() for _ in range(4095)]), {}, "at most 4,096 tensors of weights"),
    ],
)
def test_what_cannot_be_exported_says_so_in_a_line(features: nn.Module, options: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as caught:
        export(PairModel(features, name="mine", **{"size": 12, **options}), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert not list(tmp_path.iterdir())


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    model = tiny()
    model.features_a[0].weight.data[0, 0, 0, 0] = float("nan")  # type: ignore[index, union-attr]
    with pytest.raises(InputError, match=r"finite weights.*features\.0\.weight"):
        export(model, tmp_path / "out")


def test_no_relu_no_guided_gradients(tmp_path: Path) -> None:
    card = export(PairModel(nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.GELU()), size=12), tmp_path / "out")
    assert not card["guided"]
    assert "pixgrad_guided" not in card["graphs"]


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xaicl_lib.load_model", lambda name, device, file: tiny(name))
    assert main(["export", "simclr", "-o", str(tmp_path / "out")]) == 0
    assert "9 methods" in capsys.readouterr().out
    assert (tmp_path / "out" / "model.json").is_file()
    (tmp_path / "out" / "mine.txt").touch()
    assert main(["export", "simclr", "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_wrong_gradient_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xaicl_lib.lab.export import rules

    monkeypatch.setattr(graphs, "_KNOWN", {})
    monkeypatch.setattr(rules, "_convolution_backward", lambda *given: (torch.zeros_like(given[1]), None, None))
    with pytest.raises(InputError, match="pixgrad gives d1 that differs from torch's"):
        export(tiny(), tmp_path / "out")
    assert not list(tmp_path.iterdir())
