"""Progress bars, shown on a terminal only."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from ..core.ranks import is_main_process

__all__ = ["progress_bar"]


class _Bar:
    def __init__(self, bar: object | None) -> None:
        self._bar = bar

    def advance(self, steps: int = 1) -> None:
        """Take some steps."""
        if self._bar is not None:
            self._bar.update(steps)  # type: ignore[attr-defined]


@contextlib.contextmanager
def progress_bar(title: str, total: int, *, done: int = 0, shown: bool = True) -> Iterator[_Bar]:
    """Bar of ``total`` steps in a terminal or in JupyterLab; executed notebooks and batch runs get none."""
    someone_watches = is_main_process() and (sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ)
    if not shown or not someone_watches:
        yield _Bar(None)
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, initial=done, desc=title, leave=False) as bar:
        yield _Bar(bar)
