"""Commands with options from a dataclass that is imported on demand.

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
    has_presets
        It lists its presets as ``PRESETS`` and has a method ``preset``: the help of each option then says what they
        set, and that of an option ``preset`` names them.
    only
        The fields that are options; all by default.
    """

    def __init__(
        self,
        *arguments: Any,
        config: Callable[[], type],
        has_presets: bool = False,
        only: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._config = config
        self._has_presets = has_presets
        self._only = only
        self._complete = False

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters of the command, then the fields of the dataclass."""
        if not self._complete:
            config: Any = self._config()
            names = sorted(config.PRESETS, key="default".__ne__) if self._has_presets else ()  # the default first
            options = options_of(config, {name: config.preset(name) for name in names})
            for own in self.params:
                if own.name == "preset" and isinstance(own, click.Option):
                    own.help = f"Settings to start from: {', '.join(names)}."
                    if self._has_presets and config.NAMED:
                        own.help += f" Or, also behind one of these and a comma: {', '.join(config.NAMED)}."
            self.params += [option for option in options if not self._only or option.name in self._only]
            self._complete = True
        return super().get_params(ctx)
