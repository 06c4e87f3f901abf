"""Trainings to watch while their cell runs: loss, scores, speed, time left, and attention after each epoch.

A thread reads what each training writes after every epoch, so nothing of the training waits for a picture, and networks
that train in processes of their own are seen as well.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import html
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pandas as pd

from audioattn_lib.core.errors import AudioAttnError
from audioattn_lib.display.assets import style_tag
from audioattn_lib.display.players.player import attention_of
from audioattn_lib.training.probes import load_last_probe
from audioattn_lib.training.run_directory import read_json
from audioattn_lib.training.run_list import model_name

__all__ = ["Training", "find_trainings", "picture_of", "watched"]

EVERY = 1.0
"""Seconds from one look at the files to the next."""
MOST_SHOWN = 12
MOST_SCORES = 2


@dataclass(frozen=True)
class Training:
    """One training as its files show it.

    Parameters
    ----------
    path
        Run directory.
    title
        Model, fold and seed.
    epochs
        Epochs in all.
    history
        A row for each epoch that is done.
    is_done
        True once its test is written.
    """

    path: Path
    title: str
    epochs: int
    history: pd.DataFrame
    is_done: bool

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the rest: epochs left at the mean duration of those that are done; None before the first."""
        if self.is_done:
            return 0.0
        if not len(self.history) or "seconds" not in self.history:
            return None
        return float(self.history["seconds"].mean()) * max(self.epochs - len(self.history), 0)


def find_trainings(root: str | Path, since: float) -> list[Training]:
    """Trainings below a folder of runs that have written something since a time in seconds since 1970, in order."""
    trainings = []
    for config in sorted(Path(root).glob("*/*/config.json")):
        path = config.parent
        files = [path / name for name in ("config.json", "history.csv", "metrics.json")]
        with suppress(OSError):  # a file that is being replaced
            if max(file.stat().st_mtime for file in files if file.exists()) < since:
                continue
            with suppress(AudioAttnError, ValueError, pd.errors.EmptyDataError):
                settings = read_json(config)
                table = pd.read_csv(path / "history.csv") if files[1].exists() else pd.DataFrame()
                parts = [model_name(path.parent.name, settings)]
                parts += [
                    f"{name} {settings[name]}" for name in ("fold", "seed") if settings.get(name) not in (None, "")
                ]
                epochs = settings.get("encoder_epochs" if settings.get("step") == "encoder" else "epochs", len(table))
                trainings.append(Training(path, ", ".join(parts), int(epochs), table, files[2].exists()))
    return trainings


def picture_of(trainings: list[Training]) -> str:
    """The trainings as HTML: those that run first, and at most twelve."""
    running = [training for training in trainings if not training.is_done]
    listed = [*running, *(training for training in reversed(trainings) if training.is_done)][:MOST_SHOWN]
    heads = ("Network", "Epoch", "Loss", "Validation", "Clips a second", "Left", "Attention over one clip")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    rows = "".join(_row(training) for training in listed)
    done = len(trainings) - len(running)
    summary = f"{done} of {len(trainings)} networks that were begun here are trained and tested."
    return (
        f'{style_tag("figure")}{style_tag("player")}{style_tag("watch")}<div class="audioattn aa-watch mathjax_ignore">'
        f"<p>{summary} Grey: loss of training, orange: of validation.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(training: Training) -> str:
    history = training.history
    last = history.iloc[-1] if len(history) else {}
    scored = [str(name) for name in history.columns if str(name).startswith("valid_") and np.isfinite(last[name])]
    scores = ", ".join(
        f"{name.removeprefix('valid_').replace('_', ' ')} {last[name]:.3f}" for name in scored[:MOST_SCORES]
    )
    speed = f"{last['clips_per_second']:.0f}" if "clips_per_second" in history else ""
    left = training.seconds_left
    cells = (
        html.escape(training.title),
        f"{len(history)} of {training.epochs}",
        _losses(history),
        html.escape(scores),
        speed,
        "done" if training.is_done else "" if left is None else _minutes(left),
        _attention(training),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def _losses(history: pd.DataFrame) -> str:
    lines = [history[name].to_numpy(float) for name in ("train_loss", "valid_loss") if name in history]
    values = np.concatenate([line[np.isfinite(line)] for line in lines]) if lines else np.zeros(0)
    if not len(values):
        return ""
    low, high = float(values.min()), max(float(values.max()), float(values.min()) + 1e-12)
    paths = []
    for line in lines:
        places = [(i, value) for i, value in enumerate(line) if np.isfinite(value)]
        across = max(len(line) - 1, 1)
        points = " ".join(f"{100 * i / across:.1f},{38 - 36 * (v - low) / (high - low):.1f}" for i, v in places)
        paths.append(f'<path d="M{points.replace(" ", "L")}"/>' if points else "<path/>")
    label = f"Loss {lines[0][-1]:.3f}" if len(lines[0]) else "Loss"
    return (
        f'<svg class="aa-loss" viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"{''.join(paths)}</svg>"
    )


def _attention(training: Training) -> str:
    record = load_last_probe(training.path)
    if record is None:
        return ""
    clip_record = record[0]
    drawn = attention_of({"": clip_record}, clip_record.sound()[1])
    about = html.escape(f"{clip_record.clips[0]}{drawn['reading']}", quote=True)
    return f'<div class="aa-attended" title="{about}">{drawn["curves"]}</div>'


@contextmanager
def watched(root: str | Path, every: float = EVERY) -> Iterator[Any]:
    """Show the trainings below a folder of runs while the block runs, and after it as they ended."""
    import ipywidgets
    from IPython.display import display

    since, ended = time.time() - 0.5, Event()
    picture = ipywidgets.HTML()
    display(picture)  # type: ignore[no-untyped-call]

    def look() -> None:
        trainings = find_trainings(root, since)
        if trainings:
            picture.value = picture_of(trainings)

    def follow() -> None:
        while not ended.wait(every):
            look()

    thread = Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield picture
    finally:
        ended.set()
        thread.join(10 * every)
        look()
