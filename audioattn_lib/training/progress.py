"""Progress where a person watches, a log where none does."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from multiprocessing import current_process
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..core.ranks import is_main_process

__all__ = ["TOLD", "Progress", "someone_watches"]

TOLD = "AUDIOATTN_PROGRESS"
"""Variable of the environment with a file: the last progress is written there for another process to show."""

log = logging.getLogger("audioattn")


def someone_watches() -> bool:
    """True in a terminal and in JupyterLab; False in batch runs, tests and executed notebooks.

    Of the processes that torchrun started, the first one's progress is watched; of those that a study starts to train
    several networks at a time none, since the study has a bar.
    """
    is_first = is_main_process() and current_process().name == "MainProcess"
    return is_first and (sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ)


class Progress:
    """A bar of ``total`` steps, shown by tqdm where someone watches and logged otherwise; in the main process only."""

    def __init__(self, title: str, total: int, *, done: int = 0) -> None:
        from tqdm.auto import tqdm

        self._title = title
        self._bar = tqdm(total=total, initial=done, desc=title, leave=False, disable=not someone_watches())
        self._done, self._total = done, total

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def advance(self, **numbers: Any) -> None:
        """One step further; ``numbers`` are shown beside the bar."""
        shown = {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in numbers.items()}
        self._done += 1
        self._bar.set_postfix(shown)
        self._bar.update()
        line = f"{self._title} {self._done}/{self._total} " + " ".join(f"{k}={v}" for k, v in shown.items())
        if (file := os.environ.get(TOLD)) and current_process().name == "MainProcess" and is_main_process():
            with suppress(OSError):  # whoever wanted to know is gone
                Path(file).write_text(line, encoding="utf-8")
        if is_main_process():
            log.info("%s", line)
