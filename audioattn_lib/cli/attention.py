"""``audioattn attention`` and ``audioattn play``: what a finished run attended to.

Book page: commands.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audioattn_lib.errors import ConfigError, RunError

if TYPE_CHECKING:
    import pandas as pd

    from audioattn_lib.attention.record import AttentionRecord
    from audioattn_lib.training.run_directory import Run

__all__ = ["attention", "play"]

_RUN = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_FORMATS = ("csv", "npz", "segments", "rttm", "audacity")


@click.group(no_args_is_help=True)
def attention() -> None:
    """Export or draw the attention of a run.

    \b
    Examples:
      audioattn attention export runs/urban_sound/<key> --format audacity
      audioattn attention plot runs/urban_sound/<key> --clip siren_003.flac -o siren.svg
    """


@attention.command()
@click.argument("run", type=_RUN)
@click.option(
    "--format", "formats", type=click.Choice(_FORMATS), multiple=True, default=_FORMATS, help="What to write."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    show_default=False,
    help="Folder to write to.  [default: RUN/export]",
)
def export(run: Path, formats: tuple[str, ...], output: Path | None) -> None:
    """Write the attention of all test clips for other programs.

    csv has one row a clip, npz all arrays. segments (a table), rttm and
    audacity (one label file a clip) list the intervals that are attended to,
    each with the classes that were predicted. RUN is a run directory.

    \b
    Example:
      audioattn attention export runs/urban_sound/<key> --format csv -o out
    """
    from audioattn_lib.attention import export as files
    from audioattn_lib.attention import segment_lists

    loaded, record = _load(run)
    folder = output or run / "export"
    table = loaded.predictions.set_index("clip").loc[list(record.clips)]
    written = []
    if "csv" in formats:
        folds = [loaded.config.get("fold", "")] * len(record)
        columns = {"labels": list(table["label"]), "predicted": list(table["predicted"]), "folds": folds}
        written.append(files.save_csv(record, folder / "attention.csv", **columns))
    if "npz" in formats:
        written.append(files.save_npz(record, folder / "attention.npz"))
    found = segment_lists.list_segments(record, _classes(loaded, table))
    if "segments" in formats:
        written.append(segment_lists.save_segments(found, folder / "segments.csv", "csv"))
    if "rttm" in formats:
        written.append(segment_lists.save_segments(found, folder / "segments.rttm", "rttm"))
    if "audacity" in formats:
        tracks: dict[str, list[segment_lists.LabelledSegment]] = {clip: [] for clip in record.clips}
        for one in found:
            tracks[one.clip].append(one)
        for clip, own in tracks.items():
            segment_lists.save_segments(own, folder / "labels" / f"{_file_name(clip)}.txt", "audacity")
        written.append(folder / "labels")
    for path in written:
        click.echo(path)


@attention.command()
@click.argument("run", type=_RUN)
@click.option("--clip", show_default=False, help="Identifier of a test clip.  [default: the first]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default=False,
    help="PNG or SVG file.  [default: RUN/figures/CLIP.png]",
)
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", help="Colours.")
def plot(run: Path, clip: str | None, output: Path | None, theme: str) -> None:
    """Draw the attention of one clip over its spectrogram.

    RUN is a run directory; its corpus must still be where it was.

    \b
    Example:
      audioattn attention plot runs/urban_sound/<key> -o attention.svg
    """
    from audioattn_lib.display.attention import plot_attention

    loaded, record = _load(run)
    name = _chosen(record, clip)
    sound = _sound(loaded, name)
    figure = plot_attention(record, record.index(name), title=f"{name}: {sound.label}", **sound.picture)
    click.echo(figure.save(output or run / "figures" / f"{_file_name(name)}.png", theme))


@click.command()
@click.argument("runs", type=_RUN, nargs=-1, required=True)
@click.option("--clip", show_default=False, help="Identifier of a test clip.  [default: the first]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("player.html"),
    help="Page to write.",
)
def play(runs: tuple[Path, ...], clip: str | None, output: Path) -> None:
    """Write a page that plays a clip and shows where the model attended.

    The page needs no network and no server. With several RUNS of the same
    corpus and fold, the listener switches between their attention.

    \b
    Examples:
      audioattn play runs/urban_sound/<key> --clip siren_003.flac
      audioattn play runs/urban_sound/<key> runs/urban_sound/<other key> -o compare.html
    """
    from audioattn_lib.display.player import player

    loaded = [_load(run) for run in runs]
    name = _chosen(loaded[0][1], clip)
    records: dict[str, AttentionRecord] = {}
    for run, record in loaded:
        title = str(run.config.get("attention", run.key))
        records[title if title not in records else f"{title} {run.key}"] = record[_index(record, name, run)]
    sound = _sound(loaded[0][0], name)
    made = player(sound.samples, sound.sample_rate, records=records, title=f"{name}: {sound.label}", **sound.picture)
    click.echo(made.save(output))


def _load(path: Path) -> tuple[Run, AttentionRecord]:
    from audioattn_lib.training.run_directory import Run

    run = Run.load(path)
    if run.attention.is_empty:
        raise RunError(f"{path}: this run recorded no attention; name the run of a model that has some")
    return run, run.attention


def _chosen(record: AttentionRecord, clip: str | None) -> str:
    if clip is None:
        return record.clips[0]
    try:
        return record.clips[record.index(clip)]
    except KeyError as error:
        raise ConfigError(str(error.args[0])) from None


def _index(record: AttentionRecord, clip: str, run: Run) -> int:
    try:
        return record.index(clip)
    except KeyError as error:
        raise ConfigError(f"{run.path}: {error.args[0]}; give runs with the same test clips") from None


def _sound(run: Run, clip: str) -> Any:
    """The clip itself, from the corpus that the run was tested on."""
    from audioattn_lib.experiments import EXPERIMENTS

    if run.experiment not in EXPERIMENTS:
        known = ", ".join(EXPERIMENTS)
        raise RunError(f"{run.path}: no experiment is called {run.experiment!r}; a run lies in the folder of {known}")
    experiment = importlib.import_module(EXPERIMENTS[run.experiment])
    return experiment.prepare(experiment.Config(**run.config)).clip(clip)


def _classes(run: Run, table: pd.DataFrame) -> list[list[str]] | None:
    """Predicted classes of each clip; None where numbers are predicted."""
    if not run.classes:
        return None
    return [[name for name in names.split(";") if name] for names in table["predicted"]]


def _file_name(clip: str) -> str:
    return re.sub(r"[^\w.-]+", "_", clip)
