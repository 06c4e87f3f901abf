"""Live controls for a notebook that a person runs; a still picture for every other one.

``ipywidgets.interact`` captures output while it runs, which stalls notebooks
that are executed without a person, and not always. Here a control only sets
the text of an HTML widget, and without a person there are no widgets at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .assets import script_tag

__all__ = ["AttentionExplorer", "explore", "is_interactive"]

Control = tuple[float, float, float] | tuple[float, float, float, float] | Sequence[str]


def is_interactive() -> bool:
    """True when a person runs this cell in a notebook that shows widgets.

    A front end with a person allows the kernel to ask for input; papermill,
    nbclient and nbval do not, and a terminal or a script has no such kernel.
    """
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    kernel = getattr(shell, "kernel", None)
    return bool(kernel is not None and getattr(kernel, "_allow_stdin", False))


def explore(show: Callable[..., Any], **controls: Control) -> Any:
    """Controls for the arguments of a function that returns a figure or a player.

    Parameters
    ----------
    show
        Takes one keyword argument for each control and returns a
        :class:`~audioattn_lib.display.Figure`, a
        :class:`~audioattn_lib.display.Player` or anything else with ``html()``.
    **controls
        ``(low, high, step)`` or ``(low, high, step, first)`` for a slider
        (whole numbers if all are), a sequence of texts for a choice.

    Returns
    -------
    AttentionExplorer or picture
        Live controls when :func:`is_interactive`; otherwise what ``show`` returns for the first values.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if not is_interactive():
        return show(**{name: _first(name, control) for name, control in controls.items()})
    return AttentionExplorer(show, **controls)


class AttentionExplorer:
    """Live controls above a figure or player; use :func:`explore` in notebooks that are also executed.

    Parameters
    ----------
    show, **controls
        As in :func:`explore`.

    Notes
    -----
    Book page: ``urban_sound``.
    """

    def __init__(self, show: Callable[..., Any], **controls: Control) -> None:
        import ipywidgets

        self._show = show
        self.controls = {name: _widget(ipywidgets, name, control) for name, control in controls.items()}
        self.picture = ipywidgets.HTML()
        self.box = ipywidgets.VBox([*self.controls.values(), self.picture])
        for control in self.controls.values():
            control.observe(self._update, names="value")
        self._update()

    def _update(self, _change: Any = None) -> None:
        figure = self._show(**{name: control.value for name, control in self.controls.items()})
        self.picture.value = figure.html()

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        # An HTML widget runs no scripts; this one sees the players that the widget will show.
        display(HTML(script_tag("player")), self.box)  # type: ignore[no-untyped-call]


def _first(name: str, control: Control) -> Any:
    if not control:
        raise ValueError(f"{name} is empty; give (low, high, step) or the texts to choose from")
    if isinstance(control[0], str):
        return control[0]
    if len(control) not in (3, 4):
        raise ValueError(f"{name} is {tuple(control)}; a slider is (low, high, step) or (low, high, step, first)")
    return control[3] if len(control) == 4 else control[0]


def _widget(ipywidgets: Any, name: str, control: Control) -> Any:
    first = _first(name, control)
    label = name.replace("_", " ")
    if isinstance(first, str):
        return ipywidgets.Dropdown(options=list(control), value=first, description=label)
    kind = ipywidgets.IntSlider if all(isinstance(number, int) for number in control) else ipywidgets.FloatSlider
    low, high, step = control[:3]
    # Redrawing takes a moment: wait until the slider rests.
    return kind(value=first, min=low, max=high, step=step, description=label, continuous_update=False)
