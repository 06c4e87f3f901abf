"""Commands that get their options from a dataclass, imported only when the command is looked at.

Book page: commands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from audioattn_lib.cli.fields import options_of

__all__ = ["LazyOptions"]


class LazyOptions(click.Command):
    """A command with an option for each field of a dataclass.

    Parameters
    ----------
    config
        Imports and gives the dataclass; called once, when the options are needed.
    presets
        Names of its presets, the default first, where it has a method ``preset``.
    only
        The fields that are options; all by default.
    """

    def __init__(
        self,
        *arguments: Any,
        config: Callable[[], type],
        presets: Sequence[str] = (),
        only: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._config = config
        self._presets = presets
        self._only = only
        self._complete = False

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own parameters, then the fields."""
        if not self._complete:
            config: Any = self._config()
            presets = {name: config.preset(name) for name in self._presets}
            options = options_of(config, presets)
            self.params += [option for option in options if not self._only or option.name in self._only]
            self._complete = True
        return super().get_params(ctx)
