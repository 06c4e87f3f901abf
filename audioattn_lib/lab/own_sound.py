"""A person's own sound in trained models: a file or the microphone; of speakers two recordings, compared.

Book page: ``use_a_trained_model``.
"""

from __future__ import annotations

import html
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import numpy as np
import soundfile
import traitlets

from audioattn_lib.core.errors import AudioAttnError
from audioattn_lib.display.assets import module_text, style_text
from audioattn_lib.display.players.widget import PlayerWidget
from audioattn_lib.inference.listening import Listening
from audioattn_lib.inference.model import Model
from audioattn_lib.inference.verification import verify_speaker

from .bars import bars

__all__ = ["Input", "Microphone", "OwnSound"]

_WIDE = {"description_width": "8.5rem"}


class Microphone(anywidget.AnyWidget):
    """A button that records; ``samples`` are float32 in [-1, 1] at ``sample_rate`` hertz, at most a minute."""

    _esm = module_text("microphone")
    _css = style_text("figure", "explorer")
    samples: Any = traitlets.Any(b"").tag(sync=True)  # the browser sends a view of memory
    sample_rate = traitlets.Float(0.0).tag(sync=True)


class Input:
    """An upload and a microphone; ``heard`` is called with each new sound."""

    def __init__(self, title: str, on_sound: Callable[[Path, str], None]) -> None:
        self._heard, self._folder = on_sound, tempfile.TemporaryDirectory(prefix="audioattn-")
        self.upload = ipywidgets.FileUpload(accept="audio/*,.flac,.wav,.mp3,.ogg", description="Upload a file")
        self.microphone = Microphone()
        self.box = ipywidgets.HBox([ipywidgets.Label(title), self.upload, self.microphone])
        self.upload.observe(self._read_upload, names="value")
        self.microphone.observe(self._read_microphone, names="samples")

    def _read_upload(self, _change: Any) -> None:
        if not self.upload.value:
            return
        uploaded = self.upload.value[-1]
        # A name of our own: that of the upload may hold a path.
        path = Path(self._folder.name) / f"sound{Path(uploaded['name']).suffix.lower()[:8]}"
        path.write_bytes(bytes(uploaded["content"]))
        self._heard(path, str(uploaded["name"]))

    def _read_microphone(self, _change: Any) -> None:
        if self.microphone.samples:
            samples = np.frombuffer(bytes(self.microphone.samples), dtype=np.float32)
            path = Path(self._folder.name) / "recording.flac"
            soundfile.write(path, samples, round(self.microphone.sample_rate))
            self._heard(path, "recording")


class OwnSound:
    """Own sounds in some models.

    Parameters
    ----------
    models
        How each is loaded, by the title to show.

    Attributes
    ----------
    heard
        What the chosen model heard last, a :class:`~audioattn_lib.inference.listening.Listening`; None before.
    player
        Its player.
    verified
        Result of :func:`~audioattn_lib.inference.verification.verify_speaker` of the last two sounds; None before.
    """

    def __init__(self, models: Mapping[str, Callable[[], Model]]) -> None:
        self._models = dict(models)
        self.heard: Listening | None = None
        self.verified: dict[str, Any] | None = None
        self._sounds: dict[str, tuple[Path, str]] = {}
        titles = list(self._models)
        self.model = ipywidgets.Dropdown(options=titles, value=titles[0], description="Model", style=_WIDE)
        self.first = Input("Your sound", lambda sound, name: self.hear(sound, name))
        self.second = Input("Another one", lambda sound, name: self.hear(sound, name, "second"))
        self.player, self.answers, self.note = PlayerWidget(), ipywidgets.HTML(), ipywidgets.HTML()
        self.player.layout = ipywidgets.Layout(display="none")
        self.box = ipywidgets.VBox(
            [self.model, self.first.box, self.second.box, self.note, self.player, self.answers],
            layout=ipywidgets.Layout(max_width="60rem"),
        )
        self.model.observe(lambda _: self._again(), names="value")
        self._offer_second()

    def _offer_second(self) -> None:
        model = self._load()
        of_speakers = model is not None and model.experiment == "accents"
        self.second.box.layout.display = None if of_speakers else "none"

    def _load(self) -> Model | None:
        try:
            return self._models[self.model.value]()
        except AudioAttnError as error:
            self._say(str(error))
            return None

    def hear(self, sound: Path, name: str, place: str = "first") -> None:
        """Let the chosen model hear a sound, and show what it says."""
        self._sounds[place] = (sound, name)
        self._again(place)

    def _again(self, place: str = "first") -> None:
        self._say("")
        self._offer_second()
        model = self._load()
        if model is None or place not in self._sounds:
            return
        sound, name = self._sounds[place]
        try:
            listening = model.listen(sound)
        except AudioAttnError as error:
            self._say(str(error))
            return
        self.heard = listening
        self.player.show(listening.player(title=f"{name}: {listening.prediction}"))
        self.player.layout.display = None
        chances = listening.prediction.probabilities
        answer = chances or (listening.prediction.score if listening.prediction.score is not None else {})
        self.answers.value = bars({self.model.value: answer}, "", most=5).html() if answer != {} else ""
        if {"first", "second"} <= set(self._sounds) and model.experiment == "accents":
            self._verify(model)

    def _verify(self, model: Model) -> None:
        try:
            self.verified = verify_speaker(model, self._sounds["first"][0], self._sounds["second"][0])
        except AudioAttnError as error:
            self._say(str(error))
            return
        same = "one speaker" if self.verified["same"] else "two speakers"
        score, threshold = self.verified["score"], self.verified["threshold"]
        self._say(f"{same}: similarity {score:.2f}, threshold {threshold:.2f}")

    def _say(self, text: str) -> None:
        self.note.value = f"<b>{html.escape(text)}</b>" if text else ""

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)  # type: ignore[no-untyped-call]
