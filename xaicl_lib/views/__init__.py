"""What is seen: figures that say what is to be seen in them, tables to read, controls around a study; one module per chapter beside."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# ruff: noqa: F401 -- for checkers of types, and for `xaicl_lib.evaluation.sources`
if TYPE_CHECKING:
    from xaicl_lib.views.controls import Controls
    from xaicl_lib.views.explorer import PairExplorer
    from xaicl_lib.views.gallery import gallery_figure, overlaid, pair_gallery
    from xaicl_lib.views.lines import lines_figure
    from xaicl_lib.views.live import LivePair
    from xaicl_lib.views.render import described
    from xaicl_lib.views.studies import dots_figure, matrix_figure
    from xaicl_lib.views.tables import provenance

# Imported when first asked for: a page of text should not wait for plotly.
_WHERE = {
    "Controls": "controls", "LivePair": "live", "PairExplorer": "explorer", "described": "render", "dots_figure": "studies",
    "gallery_figure": "gallery", "lines_figure": "lines", "matrix_figure": "studies", "overlaid": "gallery", "pair_gallery": "gallery",
    "provenance": "tables",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


__all__ = list(_WHERE)
