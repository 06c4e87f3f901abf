"""List of clips: sorted, filtered and walked through in the browser, so that the kernel is asked for one clip alone."""

from __future__ import annotations

from typing import Any

import anywidget
import pandas as pd
import traitlets

from audioattn_lib.display.assets import module_text, style_text
from audioattn_lib.training.run_directory import to_plain

from .compared import SURE

__all__ = ["ClipList"]


class ClipList(anywidget.AnyWidget):
    """A list of clips of which one is chosen.

    Attributes
    ----------
    rows
        One a clip: ``clip``, ``label``, ``predicted``, ``confidence``, ``right``, ``inside``.
    selected
        Name of the chosen clip.
    only
        ``"all"``, ``"wrong"``, ``"right"``, ``"unsure"`` or ``"outside"``.
    of_class
        Class of the clips to show; empty for all.
    columns
        Key and title of each column, the first of which is ``clip``; those of clips without.
    about
        Name of the list for those who do not see it.
    order
        Column and ``up`` or ``down``, such as ``"confidence down"``.
    """

    _esm = module_text("clips")
    _css = style_text("figure", "explorer")
    rows: Any = traitlets.List().tag(sync=True)
    selected = traitlets.Unicode().tag(sync=True)
    only = traitlets.Enum(["all", "wrong", "right", "unsure", "outside"], default_value="all").tag(sync=True)
    of_class = traitlets.Unicode().tag(sync=True)
    order = traitlets.Unicode("clip up").tag(sync=True)
    sure = traitlets.Float(SURE).tag(sync=True)
    columns: Any = traitlets.List().tag(sync=True)
    about = traitlets.Unicode("Test clips").tag(sync=True)

    def fill(self, table: pd.DataFrame) -> None:
        """Show the rows of a table; the chosen clip stays where it is among them."""
        rows = to_plain(table.to_dict(orient="records"))
        with self.hold_sync():
            self.rows = rows
            names = [row["clip"] for row in rows]
            if self.selected not in names:
                self.selected = names[0] if names else ""
