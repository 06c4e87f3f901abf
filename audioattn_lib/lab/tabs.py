"""Show the test clips of a chapter and one's own sound in two tabs of JupyterLab."""

from __future__ import annotations

import functools
from typing import Any

import ipywidgets

from audioattn_lib.experiments.common.corpus import PreparedCorpus
from audioattn_lib.experiments.common.studies.study import Study

from .explorer import Explorer
from .own_sound import OwnSound

__all__ = ["Tabs"]


class Tabs:
    """Tabs of a study; a tab is made when it is opened.

    Attributes
    ----------
    explorer
        The test clips, see :class:`~audioattn_lib.lab.explorer.Explorer`.
    own_sound
        A file or the microphone, see :class:`~audioattn_lib.lab.own_sound.OwnSound`.
    """

    def __init__(self, study: Study, corpus: PreparedCorpus) -> None:
        self._study = study
        self.explorer = Explorer(study, corpus)
        self._made = {0}
        self._makers = {1: lambda: self.own_sound.box}
        holders = [self.explorer.box, *(ipywidgets.VBox() for _ in self._makers)]
        self.box = ipywidgets.Tab(children=holders, titles=["Test clips", "Your sound"], selected_index=0)
        self.box.observe(self._open, names="selected_index")

    @functools.cached_property
    def own_sound(self) -> OwnSound:
        """Own sounds in every model of the study."""
        return OwnSound({title: model.load for title, model in self.explorer.models.items()})

    def _open(self, _change: Any) -> None:
        number = self.box.selected_index
        if number in self._makers and number not in self._made:
            self._made.add(number)
            self.box.children[number].children = (self._makers[number](),)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)  # type: ignore[no-untyped-call]
