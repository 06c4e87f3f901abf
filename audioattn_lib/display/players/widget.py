"""The player as a widget: what a page shows and a kernel reads and sets, in one component.

Only this module imports anywidget; :meth:`.Player.widget` imports it when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..assets import module_text, style_text
from ..widgets import is_interactive

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise ImportError("a widget needs anywidget; install the extra: pip install -e '.[book]'") from error

if TYPE_CHECKING:
    from .player import Player

__all__ = ["PlayerWidget"]


class PlayerWidget(anywidget.AnyWidget):
    """A player whose state Python reads and sets while a person listens; times are seconds of the sound.

    Attributes
    ----------
    markup
        HTML of the player, see :attr:`.Player.markup`.
    attention
        Other attention over the same sound, from :func:`~audioattn_lib.display.players.player.attention_of`.
    playhead
        Moment that is heard, or would be.
    selection
        Start and end of the selected interval, which is heard again and again; None without. Drag with the shift
        key, or press ``[`` and ``]`` at the playhead.
    mode
        ``"all"``, ``"attended"`` or ``"rest"``.
    mechanism
        Title of the attention that is shown and heard.
    layer
        ``"attention"`` over the spectrogram, or ``"none"``.
    marks
        Intervals to draw: tuples of start, end and text, such as the result of a cell.

    Notes
    -----
    Where nobody watches, as in papermill and in the book, it shows itself as the player of a page.

    Book page: ``use_a_trained_model``.
    """

    _esm = module_text("awaken", "player", "widget")
    _css = style_text("figure", "player")
    markup = traitlets.Unicode().tag(sync=True)
    attention = traitlets.Dict().tag(sync=True)
    playhead = traitlets.Float(0.0).tag(sync=True)
    selection: Any = traitlets.Tuple(traitlets.Float(), traitlets.Float(), allow_none=True, default_value=None)
    selection.tag(sync=True)
    mode = traitlets.Enum(["all", "attended", "rest"], default_value="all").tag(sync=True)
    mechanism = traitlets.Unicode().tag(sync=True)
    layer = traitlets.Enum(["attention", "none"], default_value="attention").tag(sync=True)
    marks: Any = traitlets.List().tag(sync=True)

    @classmethod
    def of(cls, player: Player) -> PlayerWidget:
        """The widget of a player."""
        widget = cls(markup=player.markup)
        widget.player = player
        return widget

    player: Player | None = None

    def show(self, player: Player) -> None:
        """Put another sound in its place."""
        self.player = player
        with self.hold_sync():
            self.playhead, self.selection, self.marks, self.attention = 0.0, None, [], {}
            self.markup = player.markup

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        page = {} if self.player is None else {"text/html": self.player.html(), "text/plain": repr(self.player)}
        if not is_interactive():
            return page
        bundles = super()._repr_mimebundle_(**kwargs)
        bundle, *rest = bundles if isinstance(bundles, tuple) else (bundles,)
        # The page stays in the notebook where the widget ends with its kernel.
        return ({**page, **(bundle or {})}, *rest) if rest else {**page, **(bundle or {})}
