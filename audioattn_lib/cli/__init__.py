"""The command line ``audioattn``: thin, every command calls one function of the library.

Heavy imports stand inside the commands, so that help appears at once.

Book page: commands.
"""

from __future__ import annotations

import io
import sys
from typing import IO, Any

import click

from audioattn_lib import __version__
from audioattn_lib.cli import attend, attention, batch, data, export, features, listen, runs, train
from audioattn_lib.core.errors import AudioAttnError
from audioattn_lib.core.imports import import_later

__all__ = ["audioattn", "main"]


class _Failure(click.ClickException):
    """An error that the user can mend: its message, no traceback."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"audioattn: {self.format_message()}", err=True)


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AudioAttnError as error:
            if ctx.params["debug"]:
                raise
            raise _Failure(str(error)) from None
        except OSError as error:  # of the disk or the file system, where nobody knew more
            if ctx.params["debug"] or error.filename is None:
                raise
            raise _Failure(f"{error.filename}: {error.strerror}") from None


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}, no_args_is_help=True
)
@click.version_option(__version__, prog_name="audioattn")
@click.option("--debug", is_flag=True, show_default=False, help="Show where an error came from.")
def audioattn(debug: bool) -> None:
    """Attention over sound: train, look, listen, sweep, and build the book.

    \b
    Examples:
      audioattn data list
      audioattn train urban_sound --preset smoke
      audioattn play runs/urban_sound/<key> -o player.html
      audioattn listen runs/urban_sound/<key> my_sounds/
      audioattn sweep notebooks/sweeps/urban_sound.yml --workers 2
      audioattn COMMAND --help
    """


for _command in (
    data.data,
    train.train,
    runs.runs,
    listen.listen,
    listen.verify,
    attend.attend,
    features.features,
    batch.sweep,
    batch.run,
    attention.attention,
    attention.play,
    export.export,
    batch.book,
    batch.bench,
):
    audioattn.add_command(_command)


def main() -> None:
    """Entry point of ``audioattn`` and of ``python -m audioattn_lib``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale such as C has no place for most characters
            stream.reconfigure(errors="backslashreplace")
    import_later("pandas")  # a quarter of the time of a command that makes no table
    audioattn(prog_name="audioattn")
