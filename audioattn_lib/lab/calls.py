"""The calls of a notebook, which start widgets where a person watches and return a note where none does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioattn_lib.display.block import Block
from audioattn_lib.display.widgets import is_interactive

if TYPE_CHECKING:
    from audioattn_lib.display.players.gallery import Gallery
    from audioattn_lib.experiments.common.corpus import PreparedCorpus
    from audioattn_lib.experiments.common.studies.study import Study
    from audioattn_lib.inference.model import Model

__all__ = ["Note", "explore", "film", "gallery", "hear", "sweep", "watch"]


class Note(Block):
    """A line that says what JupyterLab shows here."""

    STYLE = "explorer"


def _note(content: str) -> Note:
    text = f"In JupyterLab (make lab), this cell shows {content}."
    where = "In JupyterLab (<code>make lab</code>)"
    return Note(f'<p class="audioattn aa-note mathjax_ignore">{where}, this cell shows {content}.</p>', text)


def gallery(study: Study, corpus: PreparedCorpus, shown: str = "") -> Gallery:
    """Show ten test clips of a study, each chosen by a rule that is named, with sound and attention.

    It needs no kernel afterwards: a page of the book shows it too.

    Parameters
    ----------
    study
        What ``study(config)`` of a chapter returned.
    corpus
        What ``prepare(config)`` of the chapter returned.
    shown
        Name of a clip that the page has shown before: the gallery opens on another.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    from .exhibits import make_gallery

    return make_gallery(study, corpus, shown=shown)


def explore(study: Study, corpus: PreparedCorpus) -> Any:
    """Show the test clips of a study: a list to sort and filter; sound, attention and predictions of the chosen one.

    Only what is shown is computed. The attention of the chosen clip can be changed by controls, and its model answers.
    A second tab hears a file or the microphone by any model of the study.

    Parameters
    ----------
    study
        What ``study(config)`` of a chapter returned.
    corpus
        What ``prepare(config)`` of the chapter returned.

    Returns
    -------
    Tabs or Note
        Widgets where a person watches; elsewhere a line that says where they are.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if not is_interactive():
        return _note("the list of test clips with sound, attention and predictions of each")
    from .tabs import Tabs

    return Tabs(study, corpus)


def film(study: Study, corpus: PreparedCorpus, name: str = "") -> Any:
    """Player of a validation clip with a slider over the epochs of a training: attention as it was after each.

    Parameters
    ----------
    study
        What ``study(config)`` of a chapter returned.
    corpus
        What ``prepare(config)`` of the chapter returned.
    name
        A value of what is compared, such as ``"parabola"``; without one, and where it was not compared, any.

    Returns
    -------
    Player or Note
        A player, here and in the rendered book; a line where no network of the study attends.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    from audioattn_lib.display.players.player import player
    from audioattn_lib.experiments.sleepiness.study import RegressionStudy

    strip = study.film(name) or study.film()
    if strip is None:
        text = "No network of this page attends, so there is no attention to see after each epoch."
        return Note(f'<p class="audioattn aa-note">{text}</p>', text)
    clip = corpus.clip(strip.clip)
    model = next((study.title(word) for word in strip.model.split() if word in study.titles), strip.model)
    subject = f"label {clip.title}" if isinstance(study, RegressionStudy) else clip.title
    title = f"{model}, {subject}: attention after each epoch"
    return player(clip.samples, clip.sample_rate, title=title, **strip.player, **clip.picture)


@contextmanager
def watch(runs: str | Path = "runs") -> Iterator[None]:
    """Show the trainings that the block makes while they run: loss, scores, speed, time left, attention.

    Interrupted, it leaves what was trained: the next call continues from the last checkpoint. Where nobody watches, it
    shows nothing and costs nothing.

    Parameters
    ----------
    runs
        Folder of all runs, as it is given to ``study``.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if not is_interactive():
        yield
        return
    from audioattn_lib.experiments.common.runs import runs_folder

    from .training import watched

    with watched(runs_folder(runs)):
        yield


def sweep(file: str | Path, directory: str | Path = "sweeps") -> Any:
    """Run, watch and stop a sweep; its results as a list to sort and search, whose rows open their runs.

    Parameters
    ----------
    file
        The sweep, such as ``"notebooks/sweeps/urban_sound.yml"``; a relative path is one of the checkout.
    directory
        Folder of all sweeps.

    Returns
    -------
    SweepExplorer or Note
        Widgets where a person watches; elsewhere a line that says where they are.

    Notes
    -----
    Book page: ``batch``.
    """
    if not is_interactive():
        return _note("a sweep to run, watch and stop, and its results as a list whose rows open their runs")
    from .sweeps import SweepExplorer

    return SweepExplorer(file, directory)


def hear(model: str | Path | Model) -> Any:
    """Hear a file or the microphone by a trained model; by a model of speakers two, which are compared.

    Parameters
    ----------
    model
        A model, or the path of its folder or run.

    Returns
    -------
    OwnSound or Note
        Widgets where a person watches; elsewhere a line that says where they are.

    Notes
    -----
    Book page: ``use_a_trained_model``.
    """
    if not is_interactive():
        return _note("a button to upload a file and one to record the microphone, and what this model hears in it")
    from audioattn_lib.inference.model import load

    from .own_sound import OwnSound

    loaded = load(model) if isinstance(model, (str, Path)) else model
    return OwnSound({loaded.experiment.replace("_", " "): lambda: loaded})
