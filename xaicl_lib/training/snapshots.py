"""Networks on their way: weights after chosen epochs of one training, kept as models that `load_model` takes."""

from collections.abc import Callable, Collection
from pathlib import Path

from xaicl_lib.errors import InputError
from xaicl_lib.networks.small import kept
from xaicl_lib.training.finish import halved, how_it_came, what_it_is, write_model
from xaicl_lib.training.train import Trainer


def _snapshot_name(recipe: str, epoch: int) -> str:
    """The name of the model that a training was after an epoch; 0 is the untrained network."""
    return f"{recipe}_epoch{epoch}"


def keeper(epochs: Collection[int], folder: Path) -> Callable[[Trainer], None]:
    """What writes snapshots of a training into a folder, to be given to `Trainer.run`.

    A snapshot is `RECIPE_epochN.safetensors`, the state of the network in half precision, and a card with what the training was till
    then, without accuracies; `load_model(_snapshot_name(recipe, n), folder=folder)` loads it. Unlike a finished model it may be
    collapsed or untrained.

    Args:
        epochs: after which to keep the network; 0 for the untrained one.
        folder: for the weights and cards.
    """

    def keep(trainer: Trainer) -> None:
        from safetensors.torch import save

        if trainer.epoch not in epochs:
            return
        weights = save(halved(kept(trainer.network)))
        card = {**what_it_is(trainer, _snapshot_name(trainer.recipe.name, trainer.epoch)), **how_it_came(trainer, weights)}
        write_model(folder, card, weights)

    return keep


def check_epochs(epochs: Collection[int], trainer: Trainer, folder: Path) -> None:
    """Refuse epochs that the training will not come to.

    Raises:
        InputError: epochs after the last one, or before the one that a training was taken up at, unless they were kept then.
    """
    name, last = trainer.recipe.name, trainer.recipe.epochs
    for epoch in sorted(epochs):
        if epoch > last:
            raise InputError(f"expected epochs to keep from 0 (untrained) to {last}, the last one, got {epoch}")
        gone = epoch < trainer.epoch or (epoch == trainer.epoch and trainer.epoch > 0)
        if gone and not (folder / f"{_snapshot_name(name, epoch)}.json").is_file():
            raise InputError(
                f"expected epochs to keep that are still to come, got {epoch}: the training in {str(trainer.out)!r} is at epoch "
                f"{trainer.epoch} already; name another folder or remove it"
            )
