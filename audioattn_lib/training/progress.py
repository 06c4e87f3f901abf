"""Progress where a person watches, a log where none does."""

from __future__ import annotations

import logging
import os
import sys
from types import TracebackType
from typing import Any, Self

from ..core.ranks import is_main_process

__all__ = ["Progress", "someone_watches"]

log = logging.getLogger("audioattn")


def someone_watches() -> bool:
    """True in a terminal and in JupyterLab; False in batch runs, tests and executed notebooks.

    Of the processes that torchrun started, the first one's progress is watched.
    """
    return is_main_process() and (sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ)


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
        if is_main_process():
            log.info(
                "%s %d/%d %s", self._title, self._done, self._total, " ".join(f"{k}={v}" for k, v in shown.items())
            )
