"""Controls around a study: in a live notebook they choose what is drawn; a printed page holds the first choice, complete."""

import functools
import html
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xaicl_lib.errors import InputError, needing
from xaicl_lib.views.render import BookFigure, alt_of, printed

if TYPE_CHECKING:  # a page of text should not wait for plotly
    from plotly.graph_objects import Figure

Choice = Sequence[Any] | range | bool


class Controls:
    """One figure and what it depends on, each with a menu, a slider or a tick box.

    Args:
        draw: called with one value for each choice; gives the figure, which says what is to be seen in it, as `render.show` wants it.
        start: what a printed page shows, where it is not the first of the choices.
        choices: by the name of `draw`'s argument: a list makes a menu, a range of whole numbers a slider, True or False a tick box.

    Attributes:
        first: what is drawn before anybody chooses.

    Raises:
        InputError: no choices, one with nothing to choose from, or a start that cannot be chosen.
    """

    def __init__(self, draw: Callable[..., "Figure"], *, start: Mapping[str, Any] | None = None, **choices: Choice) -> None:
        if not choices:
            raise InputError("expected something to choose, such as seed=range(5), got nothing")
        for name, choice in choices.items():
            if not isinstance(choice, bool) and len(choice) == 0:
                raise InputError(f"expected values to choose from for {name!r}, got none")
        for name, value in (start or {}).items():
            choice = choices.get(name, ())
            if value not in ((True, False) if isinstance(choice, bool) else choice):
                raise InputError(f"expected to start with one of the choices, got {name}={value!r}")
        self._draw, self._choices = draw, choices
        own = {name: choice if isinstance(choice, bool) else choice[0] for name, choice in choices.items()}
        self.first: dict[str, Any] = {**own, **(start or {})}

    def _repr_mimebundle_(self, **options: Any) -> Any:
        if printed("ipywidgets"):
            return self._printed()
        return self.widget._repr_mimebundle_(**options)

    def _printed(self) -> dict[str, str]:
        figure = self._draw(**self.first)
        said = " · ".join(f"{html.escape(_label(name))} <b>{html.escape(str(value))}</b>" for name, value in self.first.items())
        drawn = BookFigure(figure, alt_of(figure))
        return {"text/html": f'<p class="xaicl-chosen">{said}</p>{drawn._repr_html_()}', "text/plain": drawn.alt}

    @functools.cached_property
    def widget(self) -> Any:
        """The live form: ipywidgets above the figure, drawn anew at each choice; what `draw` refuses is said in one line.

        Raises:
            InputError: ipywidgets is not installed.
        """
        with needing("expected ipywidgets to be installed; pip install 'xaicl_lib[views]'"):
            import ipywidgets
            from IPython.display import display

        choosers = {name: _widget(_label(name), choice, self.first[name], ipywidgets) for name, choice in self._choices.items()}
        drawn = ipywidgets.Output()

        def answer(_change: Any = None) -> None:
            with drawn:
                drawn.clear_output(wait=True)
                try:
                    display(self._draw(**{name: one.value for name, one in choosers.items()}))
                except InputError as error:
                    print(error)

        for one in choosers.values():
            one.observe(answer, names="value")
        if "google.colab" in sys.modules:
            answer()
        else:  # not captured: programs that execute notebooks may wait for ever for a cell whose output a widget captures
            data = self._draw(**self.first)._repr_mimebundle_()
            drawn.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)
        return ipywidgets.VBox([*choosers.values(), drawn])


def _widget(label: str, choice: Choice, value: Any, ipywidgets: Any) -> Any:
    said = {"value": value, "description": label, "style": {"description_width": "9em"}}
    if isinstance(choice, bool):
        return ipywidgets.Checkbox(**said)
    if isinstance(choice, range):  # drawn anew when the slider is let go: a study takes longer than a drag
        ends = {"min": choice[0], "max": choice[-1], "step": choice.step}
        return ipywidgets.IntSlider(**said, **ends, continuous_update=False)
    return ipywidgets.Dropdown(options=list(choice), **said)


def _label(name: str) -> str:
    return name.replace("_", " ")
