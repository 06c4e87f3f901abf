"""Tasks of the comparison: the corpora of the chapters, each with one class a clip.

Book page: ``comparison``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..common.corpus import corpora_of

__all__ = ["TASKS", "Task", "tasks_of"]


@dataclass(frozen=True)
class Task:
    """One corpus and what is asked of it.

    Parameters
    ----------
    name
        Of the chapter, or of the corpus.
    title
        As in tables and pictures.
    data
        Corpus and its options, as configurations hold them.
    fold
        Test fold or test set; ``"first"`` is the first there is.
    is_control
        True where no mechanism can be right more often than by chance.
    """

    name: str
    title: str
    data: str
    fold: str = "first"
    is_control: bool = False


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        task.name: task
        for task in (
            Task("urban_sound", "Urban sounds", "city"),
            Task("accents", "Accents", "accents"),
            Task("scenes_and_instruments", "Instruments, unknown devices", "orchestra", "test_unseen_device"),
            Task("sleepiness", "Sleepiness, two halves", "voices"),
            Task("playback", "Needles, hop too coarse", "needles", is_control=True),
        )
    }
)
"""Tasks of the book by the name of their chapter."""


def tasks_of(data: str | None) -> list[Task]:
    """Tasks of the book for None; otherwise one for each corpus that ``data`` names, joined by ``" + "``."""
    return [_task_of(each) for each in corpora_of(data)] if data else list(TASKS.values())


def _task_of(data: str) -> Task:
    name = data.partition("?")[0].rstrip("/")
    by_data = {task.data: task for task in TASKS.values()}
    if name in by_data:
        return replace(by_data[name], data=data)
    short = name.rpartition("/")[2]
    return Task(short, short.replace("_", " "), data)
