"""The registry of methods, and what calling one does around its function."""

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from xaicl_lib.annotations import is_a, parameters, plain, require
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.model import PairModel
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.registry import Registry, summary
from xaicl_lib.scores import cosine, resolve_score

CONTEXT = {"model", "pair", "score", "generator", "chunk"}  # what any method may be given; the others are its parameters


@dataclass(eq=False)
class Method:
    """A registered method: called like its function, with the facts that its decorator declares.

    Attributes:
        name: the function's name.
        function: (model, pair, *, ...) -> Explanation, as it was written.
        facts: paper (bib key), where (section), family, needs, cost; and what views and the contract suite must know: `signed`
            (a negative value means something), `symmetric` (swapping the pair swaps the maps), `one_sided` (works without
            side b), `gradient` (made from gradients of the score). Where the defaults take long, `cheap`.
    """

    name: str
    function: Callable[..., Explanation]
    facts: dict[str, Any]

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return summary(self.function)

    @property
    def defaults(self) -> dict[str, Any]:
        """The method's own parameters and their defaults."""
        return {p.name: p.default for p in self._signature.values() if p.name not in CONTEXT}

    @property
    def cheap(self) -> dict[str, Any]:
        """Parameters with which a test or a demonstration runs the method in a moment; none where the defaults are as quick."""
        return dict(self.facts.get("cheap", {}))

    def takes(self, option: str) -> bool:
        """Whether the method's answer depends on this option."""
        return option in self._signature

    @property
    def _signature(self) -> Any:
        return parameters(self.function)

    def __call__(self, model: PairModel, pair: Pair, **options: Any) -> Explanation:
        """Explain `pair`, on the fast form of `model`; the result records the method and its parameters.

        Args:
            model: whose similarity is explained.
            pair: n pairs.
            options: `score` (a function, or the name of one), `generator` (None is seed 0; one that was drawn from before gives, by its
                next number, the seed of the method's own, so that `params["seed"]` always makes the same map again), `chunk` (images in
                flight; decides memory, never the result) and the method's own parameters.

        Raises:
            InputError: an option that the method does not have, or no side b where the method needs both.
        """
        options = {name: resolve_score(value) if name == "score" else plain(value) for name, value in options.items()}
        self._check(pair, options)
        generator = self._generator(options.get("generator"))
        with torch.inference_mode(False):
            made = self._run(model.fast, pair.detach(), {**options, "generator": generator})
        if self.facts["gradient"] and options.get("score", cosine) is cosine and bool((made.score > 1 - 1e-6).any()):
            warnings.warn(VANISHING, stacklevel=2)
        if causes := _without_score(model.fast, pair, made.score, options):
            warnings.warn(f"no score to explain, so their maps mean nothing: {causes}", stacklevel=2)
        own = {k: v for k, v in options.items() if k not in CONTEXT}
        return replace(made, method=self.name, params={**self.defaults, **own, "seed": generator.initial_seed() if generator else 0})

    def _generator(self, given: torch.Generator | None) -> torch.Generator | None:
        """The generator to draw from, as its seed makes it: the one given if nothing was drawn from it yet, or nothing will be."""
        if given is None or not self.takes("generator") or _is_fresh(given):
            return given
        return torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=given)))

    def _check(self, pair: Pair, options: dict[str, Any]) -> None:
        if pair.b is None and not self.facts["one_sided"] and options.get("transform") is None:
            raise InputError(f"expected a pair, which {self.name} explains by both of its sides, got one without side b")
        for name in options:
            # A generator or a chunk can be handed to every method: one that draws nothing gives the same answer.
            if name not in self._signature and name not in ("generator", "chunk"):
                raise unknown(f"parameter of {self.name}", name, self.defaults or ["none"])
            if name not in CONTEXT:
                require(options[name], self._signature[name].annotation, f"{name} of {self.name}")
        generator = options.get("generator")
        if generator is not None and not (isinstance(generator, torch.Generator) and generator.device.type == "cpu"):
            raise InputError(f"expected generator to be a torch.Generator on the CPU, got {generator!r}")
        chunk = options.get("chunk")
        if chunk is not None and (not is_a(chunk, int) or chunk < 1):
            raise InputError(f"expected chunk to be a whole number of images of at least 1, got {chunk!r}")

    def _run(self, model: PairModel, pair: Pair, options: dict[str, Any]) -> Explanation:
        """Call the function; one that does not bound its own memory by `chunk` gets the pairs in portions."""
        given = {k: v for k, v in options.items() if k in self._signature}
        if "chunk" in self._signature:
            return self.function(model, pair, **given)
        images = options.get("chunk") or model.chunk(pair.a[0, 0].numel())
        step = max(1, images // 2)
        return Explanation.concat([self.function(model, pair[k : k + step], **given) for k in range(0, len(pair), step)])


def _is_fresh(generator: torch.Generator) -> bool:
    """Whether nothing was drawn from a generator since it was seeded."""
    return torch.equal(generator.get_state(), torch.Generator().manual_seed(generator.initial_seed()).get_state())


VANISHING = "score 1: the cosine is at its maximum, where its gradients vanish; maps made from gradients hold rounding noise only"


NAMED = 5  # pairs in a warning


@torch.no_grad()
def _without_score(model: PairModel, pair: Pair, score: Tensor, options: dict[str, Any]) -> str:
    """Which pairs have no score that an explanation could be of, and why; empty if all have one.

    Their embeddings are computed again, for these pairs alone: methods return no embeddings.
    """
    is_cosine = options.get("score", cosine) is cosine
    odd = (~score.isfinite() | (score == 0) & is_cosine).nonzero()[:, 0].tolist()
    pair = pair if not odd or options.get("transform") is None else pair.facing(options["transform"](pair.a))
    named: list[str] = []
    for k in odd:
        if len(named) < NAMED and (cause := _cause(model, pair[k], bool(score[k].isfinite()))):
            named.append(f"pair {k} (score {score[k].item():g}: {cause})")
    return ", ".join(named) + (", ..." if len(named) == NAMED < len(odd) else "")


def _cause(model: PairModel, pair: Pair, is_finite: bool) -> str:
    """Why one pair has no score; empty if it has one, such as embeddings at right angles."""
    for name, z in zip("ab", model.embed([model.normalize(side) for side in pair.sides]), strict=False):
        if not z.isfinite().all():
            return f"the embedding of side {name} is not finite"
        if is_finite and not z.any():
            return f"the embedding of side {name} is all zeros, which has no direction to compare"
    return "" if is_finite else "the score itself is not finite"


def _of(function: Callable[..., Explanation], **facts: Any) -> list[Method]:
    method = Method(function.__name__, function, facts)
    functools.update_wrapper(method, function)  # its docstring and signature, for help() and doctest
    return [method]


methods: Registry[Method] = Registry("method", _of)
