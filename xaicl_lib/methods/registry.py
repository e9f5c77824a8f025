"""The registry of methods, and what calling one does around its function."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from xaicl_lib.annotations import parameters, plain, require
from xaicl_lib.devices import sparing
from xaicl_lib.errors import InputError, unknown
from xaicl_lib.model import PairModel
from xaicl_lib.notes import note
from xaicl_lib.pair import Explanation, Pair
from xaicl_lib.registry import Registry, summary
from xaicl_lib.scores import cosine, resolve_score
from xaicl_lib.trying import ROLES, Habits

USUAL = {"signed": False, "symmetric": True, "one_sided": True, "gradient": False}  # facts of a method that says nothing else
CONTEXT = {"model", "pair", "score", "generator", "chunk"}  # what any method may be given; the others are its parameters


@dataclass(eq=False)
class Method:
    """A registered method: called like its function, with the facts that its decorator declares.

    Attributes:
        name: the function's name.
        function: (model, pair, *, ...) -> Explanation, as it was written.
        facts: paper (bib key), where (section), family, needs, cost; and what views and the contract suite must know, where it is not as
            in `USUAL`: `signed` (a negative value means something), `symmetric` (swapping the pair swaps the maps), `one_sided` (works
            without side b), `gradient` (made from gradients of the score). Where the defaults take long, `cheap`.
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
            options: `score` (a function, or the name of one), `generator` (None is seed 0; one that was drawn from before gives, by its
                next number, the seed of the method's own, so that `params["seed"]` always makes the same map again), `chunk` (images in
                flight; decides memory, never the result) and the method's own parameters.

        Raises:
            InputError: an option that the method does not have, no side b where the method needs both, or a network or score that lets
                no gradient through where the method is made from gradients.
        """
        options = {name: resolve_score(value) if name == "score" else plain(value) for name, value in options.items()}
        self._check(model, pair, options)
        generator = self._generator(options.get("generator"))
        with torch.inference_mode(False):
            fast, given, drawn = model.fast, pair.detach(), {**options, "generator": generator}
            self._check_gradients(fast._habits, 1 if pair.b is None and options.get("transform") is None else 2)
            usual = model.chunk(pair.a[0, 0].numel())
            made = sparing(lambda chunk: self._run(fast, given, {**drawn, "chunk": chunk}), options.get("chunk"), usual, generator)
        if made.score.shape != (len(pair),):
            raise InputError(f"expected a score of one number a pair, ({len(pair)},), got shape {tuple(made.score.shape)}")
        if self.facts["gradient"] and options.get("score", cosine) is cosine and bool((made.score > 1 - 1e-6).any()):
            note(VANISHING)
        if causes := _without_score(model.fast, pair, made.score, options):
            note(f"no score to explain, so their maps mean nothing: {causes}")
        elif undefined := _without_map(made):
            derivatives = any(word in self.facts.get("needs", "") for word in ("gradient", "Jacobian"))
            why = "the gradient of the network or the score is not" if derivatives else "embeddings of changed images are not"
            note(f"maps that are not finite, beside a score that is: {undefined}; {why}")
        own = {k: v for k, v in options.items() if k not in CONTEXT}
        return replace(made, method=self.name, params={**self.defaults, **own, "seed": generator.initial_seed() if generator else 0})

    def _generator(self, given: torch.Generator | None) -> torch.Generator | None:
        """The generator to draw from, as its seed makes it: the one given if nothing was drawn from it yet, or nothing will be."""
        if given is None or not self.takes("generator") or _is_fresh(given):
            return given
        return torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=given)))

    def _check(self, model: PairModel, pair: Pair, options: dict[str, Any]) -> None:
        require(model, PairModel, "model")
        require(pair, Pair, "pair")
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
        model.chunk(1, options.get("chunk"))  # which refuses what is none

    def _check_gradients(self, habits: Habits, sides: int) -> None:
        """Refuse a network that lets no gradient through where this method needs one."""
        if not (stopped := self._stopped(habits, sides)):
            return
        role = stopped[0]
        inside = f", in its module {habits.cuts[role]!r}" if habits.cuts[role] else ""
        others = [m.name for m in methods if not m._stopped(habits, sides) and m.facts["family"] in (self.facts["family"], *ANY)]
        part, side = role.removesuffix("_b"), "b" if role.endswith("_b") else "a"
        raise InputError(
            f"expected gradients for {self.name}, got a {part} module of side {side} that lets none through (no_grad or detach){inside}; "
            f"there do without: {', '.join(others)}"
        )

    def _stopped(self, habits: Habits, sides: int) -> list[str]:
        """The parts that let no gradient through, of those that this method needs one of."""
        needs, wanted = self.facts.get("needs", ""), []
        for features, head in ROLES[:sides]:
            if "gradient of the" in needs:
                wanted += [role for role in ((features, head) if "network" in needs else (head,)) if role in habits.cuts]
            elif "Jacobian" in needs:
                wanted += [head] if head in habits.constant else []
        return wanted

    def _run(self, model: PairModel, pair: Pair, options: dict[str, Any]) -> Explanation:
        """What the function finds."""
        try:
            return self._in_portions(model, pair, options)
        except RuntimeError as error:
            if "does not require grad" not in str(error):
                raise
            raise InputError(f"expected a score that lets gradients through for {self.name}, got one under no_grad or detached") from error

    def _in_portions(self, model: PairModel, pair: Pair, options: dict[str, Any]) -> Explanation:
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


ANY = ("perturbation", "gradient", "activation", "similarity", "control")  # families of methods that any network can have
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


def _without_map(made: Explanation) -> str:
    """Which pairs have a score and no map, by side; empty if all have one."""
    named = []
    for side, maps in zip("ab", (made.a, made.b), strict=True):
        if maps is not None and not maps.isfinite().all():
            bad = ~maps.isfinite().flatten(1).all(1) & made.score.isfinite()
            named += [f"pair {k} (side {side})" for k in bad.nonzero()[:, 0].tolist()]
    return ", ".join(named[:NAMED]) + (", ..." if len(named) > NAMED else "")


def _cause(model: PairModel, pair: Pair, is_finite: bool) -> str:
    """Why one pair has no score; empty if it has one, such as embeddings at right angles."""
    for name, z in zip("ab", model.embed([model.normalize(side) for side in pair.sides]), strict=False):
        if not z.isfinite().all():
            return f"the embedding of side {name} is not finite"
        if is_finite and not z.any():
            return f"the embedding of side {name} is all zeros, which has no direction to compare"
    return "" if is_finite else "the score itself is not finite"


def _of(function: Callable[..., Explanation], **facts: Any) -> list[Method]:
    method = Method(function.__name__, function, {**USUAL, **facts})
    functools.update_wrapper(method, function)  # its docstring and signature, for help() and doctest
    return [method]


methods: Registry[Method] = Registry("method", _of)
