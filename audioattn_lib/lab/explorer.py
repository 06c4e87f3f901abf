"""Explorer of the test clips of a study: list, player, predictions, and live controls of the chosen model.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from threading import Thread
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import torch

from audioattn_lib.attention.maps.entmax import entmax
from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.display import player
from audioattn_lib.display.players.player import attention_of
from audioattn_lib.display.players.widget import PlayerWidget
from audioattn_lib.experiments.common.corpus import Clip, PreparedCorpus
from audioattn_lib.experiments.common.listener import Answers
from audioattn_lib.experiments.common.studies.study import Study

from .bars import as_answers, bars
from .clip_list import ClipList
from .compared import Compared, compared_models
from .live import Choice, Control, Live, live

__all__ = ["ControlBox", "Explorer"]

log = logging.getLogger("audioattn")
_WIDE = {"description_width": "8.5rem"}
_CHANGED = "as changed"


class ControlBox:
    """Widgets for the controls of a :class:`~audioattn_lib.lab.live.Live`, and a button that undoes all changes."""

    def __init__(self, changed: Any) -> None:
        self.widgets: dict[str, Any] = {}
        self.box = ipywidgets.VBox()
        self._changed = changed
        self._is_filling = False

    def fill(self, controls: tuple[Control, ...]) -> None:
        """Show these controls at their first values."""
        self._is_filling = True
        self.widgets = {control.name: _widget(control) for control in controls}
        reset = ipywidgets.Button(description="As trained", tooltip="Undo all changes")
        reset.on_click(lambda _: self.reset(controls))
        for widget in self.widgets.values():
            widget.observe(self._tell, names="value")
        widgets = [*self.widgets.values(), reset] if controls else []
        self.box.children = tuple(widgets)
        self._is_filling = False

    @property
    def values(self) -> dict[str, Any]:
        """Value of each control by name."""
        return {name: widget.value for name, widget in self.widgets.items()}

    def reset(self, controls: tuple[Control, ...]) -> None:
        """Give every control its first value."""
        self._is_filling = True
        for control in controls:
            self.widgets[control.name].value = control.first
        self._is_filling = False
        self._changed()

    def _tell(self, _change: Any) -> None:
        if not self._is_filling:
            self._changed()


def _compile() -> None:
    """The first call of a map compiles or reads its loop, which takes a second: not when a slider moves first."""
    entmax(torch.linspace(0, 1, 8)[None], 1.3)


def _widget(control: Control) -> Any:
    if isinstance(control, Choice):
        return ipywidgets.Dropdown(
            options=list(control.options), value=control.first, description=control.title, style=_WIDE
        )
    is_whole = all(float(value).is_integer() for value in (control.low, control.high, control.step, control.first))
    kind = ipywidgets.IntSlider if is_whole and not control.is_log else ipywidgets.FloatSlider
    title = control.title
    options: dict[str, Any] = {"min": control.low, "max": control.high, "step": control.step, "value": control.first}
    if control.is_log:
        kind = ipywidgets.FloatSlider
        title = f"{title} (10^x)"
    elif is_whole:
        options = {name: int(value) for name, value in options.items()}
    layout = ipywidgets.Layout(width="30rem", max_width="100%")
    return kind(**options, description=title, style=_WIDE, layout=layout)


class Explorer:
    """Test clips of a study; see :func:`audioattn_lib.lab.explore`.

    Attributes
    ----------
    clips
        The list, see :class:`~audioattn_lib.lab.clip_list.ClipList`: ``clips.selected``, ``clips.only``.
    player
        The player, see :class:`~audioattn_lib.display.players.widget.PlayerWidget`.
    model
        Choice of the model whose predictions are listed and whose attention is changed.
    controls
        Live controls.
    """

    def __init__(self, study: Study, corpus: PreparedCorpus) -> None:
        self.corpus = corpus
        self.models: dict[str, Compared] = compared_models(study)
        self.clip: Clip | None = None
        self._records: dict[str, AttentionRecord] = {}
        self._tables: dict[str, pd.DataFrame] = {}
        self._live: Live | None = None
        self.clips = ClipList()
        self.player = PlayerWidget()
        self.answers = ipywidgets.HTML()
        titles = list(self.models)
        self.model = ipywidgets.Dropdown(options=titles, value=titles[0], description="Model", style=_WIDE)
        self.controls = ControlBox(self._change)
        self.note = ipywidgets.HTML()
        self.box = ipywidgets.VBox(
            [self.model, self.clips, self.player, self.note, self.controls.box, self.answers],
            layout=ipywidgets.Layout(max_width="60rem"),
        )
        Thread(target=_compile, daemon=True).start()
        self.clips.fill(self._table())
        self.model.observe(self._choose_model, names="value")
        self.clips.observe(self._choose_clip, names="selected")
        self._choose_clip()

    @property
    def chosen(self) -> Compared:
        """The chosen model."""
        return self.models[self.model.value]

    def table(self) -> pd.DataFrame:
        """The list of the chosen model as a table."""
        return self._table()

    def _table(self) -> pd.DataFrame:
        title = self.model.value
        if title not in self._tables:
            self._tables[title] = self.chosen.table(self.corpus.manifest)
        return self._tables[title]

    def _choose_model(self, _change: Any = None) -> None:
        self.clips.fill(self._table())
        if self.clip is not None and self.clip.name == self.clips.selected:
            self._make_live()
            if self.model.value in self._records:
                self.player.mechanism = self.model.value

    def _choose_clip(self, _change: Any = None) -> None:
        name = self.clips.selected
        if not name or (self.clip is not None and self.clip.name == name):
            return
        self.clip = self.corpus.clip(name)
        records = {title: model.record_of(self.clip) for title, model in self.models.items()}
        self._records = {title: record for title, record in records.items() if not record.is_empty}
        self._show_player()
        self.answers.value = bars(self._predictions(), self.clip.label).html()
        self._make_live()

    def _show_player(self) -> None:
        assert self.clip is not None
        titles = list(self._records)
        start = titles.index(self.model.value) if self.model.value in titles else 0
        clip = self.clip
        page = player(
            clip.samples,
            clip.sample_rate,
            records=self._records,
            start=start,
            title=f"{clip.name}: {clip.title}",
            **clip.picture,
        )
        self.player.show(page)
        self.player.mechanism = titles[start] if titles else ""

    def _predictions(self) -> dict[str, Mapping[str, float] | float]:
        """Answer of each model to the chosen clip as its run kept it."""
        assert self.clip is not None
        answers: dict[str, Mapping[str, float] | float] = {}
        for title, model in self.models.items():
            if self.clip.name not in model.predictions.index:
                continue
            row = model.predictions.loc[self.clip.name]
            if model.classes:
                answers[title] = as_answers(model.classes, [row[f"probability_{name}"] for name in model.classes])
            else:
                answers[title] = float(row["predicted"])
        return answers

    def _make_live(self) -> None:
        assert self.clip is not None
        model = self.chosen.model_of(self.clip.name)
        self._live = None if model is None else live(model, self.clip)
        if self._live is None:
            self.controls.fill(())
            self.note.value = "<small>Nothing of this model's attention can be changed after its training.</small>"
            return
        self.note.value = f"<small>Change the attention of {self.model.value}; its weights stay as trained.</small>"
        self.controls.fill(self._live.controls)

    def _change(self) -> None:
        """Draw attention and answer of the values of the controls."""
        if self._live is None or self.clip is None:
            return
        title, values = self.model.value, self.controls.values
        answered = self._live.answer(**values)
        is_changed = values != self._live.first
        if title in self._records and not answered.record.is_empty:
            record = answered.record[0] if is_changed else self._records[title]
            seconds = len(self.clip.samples) / self.clip.sample_rate
            self.player.attention = attention_of(
                {title: record},
                seconds,
                frequencies=np.asarray(self.clip.frequencies),
                number=list(self._records).index(title),
            )
            self.player.mechanism = title
        answers = self._predictions()
        if is_changed and (answer := self._answer(answered)) is not None:
            answers = {f"{title}, {_CHANGED}": answer, **answers}
        self.answers.value = bars(answers, self.clip.label).html()

    def _answer(self, answers: Answers) -> Mapping[str, float] | float | None:
        if answers.probabilities is not None:
            return as_answers(self.chosen.classes, answers.probabilities[0])
        return None if answers.scores is None else float(answers.scores[0])

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)  # type: ignore[no-untyped-call]
