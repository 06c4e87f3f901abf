"""``audioattn attention`` and ``audioattn play``: attention of a finished run.

Book page: commands.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audioattn_lib.core.errors import AudioAttnError, ConfigError, RunError
from audioattn_lib.core.files import short_name

if TYPE_CHECKING:
    import pandas as pd

    from audioattn_lib.attention.record.record import AttentionRecord
    from audioattn_lib.training.run_directory import Run

__all__ = ["attention", "play"]

_RUN = click.Path(path_type=Path)
_FORMATS = ("csv", "npz", "segments", "rttm", "audacity")


@click.group(no_args_is_help=True)
def attention() -> None:
    """Export or draw the attention of a run.

    \b
    Examples:
      audioattn attention export runs/urban_sound/<key> --format audacity
      audioattn attention plot runs/urban_sound/<key> --clip siren-003.flac -o siren.svg
      audioattn attention panels runs/urban_sound/<key> --first 20
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
    from audioattn_lib.attention.record import export as files
    from audioattn_lib.attention.record import segment_lists

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
    segments = segment_lists.list_segments(record, _classes(loaded, table))
    if "segments" in formats:
        written.append(segment_lists.save_segments(segments, folder / "segments.csv", "csv"))
    if "rttm" in formats:
        written.append(segment_lists.save_segments(segments, folder / "segments.rttm", "rttm"))
    if "audacity" in formats:
        tracks: dict[str, list[segment_lists.LabelledSegment]] = {clip: [] for clip in record.clips}
        for segment in segments:
            tracks[segment.clip].append(segment)
        for clip, own in tracks.items():
            segment_lists.save_segments(own, folder / "labels" / f"{_file_name(clip)}.txt", "audacity")
        written.append(folder / "labels")
    for path in written:
        click.echo(path)


def _chosen_clips(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options for clips, output path and format of pictures."""
    for option in (
        click.option("--theme", type=click.Choice(["light", "dark"]), default="light", help="Colours."),
        click.option(
            "--format", "kind", type=click.Choice(["png", "svg", "pdf", "webp"]), default="png", help="Of files."
        ),
        click.option(
            "-o",
            "--output",
            type=click.Path(path_type=Path),
            show_default=False,
            help="Folder to write to, or the file of a single clip.  [default: RUN/figures]",
        ),
        click.option("--all", "every", is_flag=True, show_default=False, help="Draw all test clips."),
        click.option(
            "--clip",
            "clips",
            multiple=True,
            show_default=False,
            help="A test clip, or its file name; may be given again.",
        ),
    ):
        command = option(command)
    return command


@attention.command()
@click.argument("run", type=_RUN)
@click.option("--first", type=click.IntRange(1), default=1, help="Draw so many of the test clips.")
@_chosen_clips
def plot(
    run: Path, first: int, clips: tuple[str, ...], every: bool, output: Path | None, kind: str, theme: str
) -> None:
    """Draw the attention of clips over their spectrograms.

    One picture a clip, for as many as are asked for; the first without
    options. RUN is a run directory; its corpus must still be where it was.

    \b
    Examples:
      audioattn attention plot runs/urban_sound/<key> -o attention.svg
      audioattn attention plot runs/urban_sound/<key> --first 50 -o densities
      audioattn attention plot runs/urban_sound/<key> --all --format svg
    """
    from audioattn_lib.display.figure import for_files
    from audioattn_lib.display.plots.attention import plot_attention

    loaded, record = _load(run)
    names = _several(record, clips, None if every else first)
    prepared = _prepared(loaded)
    for name, path in zip(names, _pictures(names, output or run / "figures", kind), strict=True):
        sound = prepared.clip(name)
        with for_files(), _named_errors(f"{run}, clip {name}"):
            figure = plot_attention(record, record.index(name), title=f"{name}: {sound.label}", **sound.picture)
            click.echo(figure.save(path, theme))


@attention.command()
@click.argument("run", type=_RUN)
@click.option("--first", type=click.IntRange(1), default=20, help="Draw so many of the test clips.")
@click.option(
    "--penalties",
    default="0.01,0.001,0.0001",
    help="Ridge penalties of further value functions, joined by commas; empty for none.",
)
@_chosen_clips
def panels(
    run: Path,
    first: int,
    penalties: str,
    clips: tuple[str, ...],
    every: bool,
    output: Path | None,
    kind: str,
    theme: str,
) -> None:
    """Draw the intermediate results of a network for clips, stage by stage.

    One picture a clip: log-mel input, output of the convolutions and, where a
    density reads one, the value function, once more for each penalty. RUN is
    a run of urban_sound; its corpus must still be where it was.

    \b
    Examples:
      audioattn attention panels runs/urban_sound/<key> --first 200 -o specs
      audioattn attention panels runs/urban_sound/<key> --clip siren-003.flac
    """
    from audioattn_lib.display.figure import for_files
    from audioattn_lib.display.plots.panels import Panel, plot_panels

    loaded, record = _load(run)
    names = _several(record, clips, None if every else first)
    experiment = _experiment(loaded)
    if not hasattr(experiment, "stages"):
        raise ConfigError(f"{run}: a run of {loaded.experiment} has no panels; name a run of urban_sound")
    try:
        strengths = [float(text) for text in penalties.split(",") if text.strip()]
    except ValueError:
        raise ConfigError(f"penalties is {penalties!r}; give numbers joined by commas, such as 0.01,0.001") from None
    prepared, model = _prepared(loaded), experiment.load_model(loaded)
    for name, path in zip(names, _pictures(names, output or run / "figures" / "panels", kind), strict=True):
        clip = prepared.clip(name)
        shown = [Panel(**stage) for stage in experiment.stages(loaded, clip, penalties=strengths, model=model)]
        with for_files():
            click.echo(plot_panels(shown, clip.events).save(path, theme))


@click.command()
@click.argument("runs", type=_RUN, nargs=-1, required=True)
@click.option("--clip", show_default=False, help="A test clip, or its file name.  [default: the first]")
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
    corpus and fold, the listener switches between their attention; runs
    without attention, such as baselines, are left out. A long sound has parts.

    \b
    Examples:
      audioattn play runs/urban_sound/<key> --clip siren-003.flac
      audioattn play runs/urban_sound/* --clip siren-003 -o compare.html
    """
    from audioattn_lib.display.players.player import player
    from audioattn_lib.training.run_list import model_name

    loaded = _load_several(runs)
    name, shared = _sharing_clip(loaded, clip)
    records: dict[str, AttentionRecord] = {}
    for run, record in shared:
        title = model_name(run.experiment, run.config)
        records[title if title not in records else f"{title} {run.key}"] = record[record.index(name)]
    first = shared[0][0]
    sound = _prepared(first).clip(name)
    with _named_errors(f"{first.path}, clip {name}"):
        title = f"{name}: {sound.label}"
        page = player(sound.samples, sound.sample_rate, records=records, title=title, **sound.picture)
    click.echo(page.save(output))


@contextmanager
def _named_errors(subject: str) -> Iterator[None]:
    """Let what cannot be drawn be an error that names it."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, AudioAttnError):
            raise
        raise ConfigError(f"{subject}: {error}") from error


def _load_several(paths: Sequence[Path]) -> list[tuple[Run, AttentionRecord]]:
    """Runs that recorded attention; others, such as baselines of ``runs/urban_sound/*``, are named and left out."""
    loaded: list[tuple[Run, AttentionRecord]] = []
    errors: list[RunError] = []
    for path in paths:
        try:
            loaded.append(_load(path))
        except RunError as error:
            errors.append(error)
    if not loaded:
        raise errors[0]
    for reason in errors:
        click.echo(f"left out: {reason}", err=True)
    return loaded


def _sharing_clip(
    loaded: Sequence[tuple[Run, AttentionRecord]], clip: str | None
) -> tuple[str, list[tuple[Run, AttentionRecord]]]:
    """The clip, and the runs that tested it; the others are named and left out."""
    name, errors = "" if clip is not None else loaded[0][1].clips[0], list[str]()
    shared: list[tuple[Run, AttentionRecord]] = []
    for run, record in loaded:
        try:
            identifier = record.clips[record.index(name or str(clip))]
        except KeyError as error:
            errors.append(f"{run.path}: {error.args[0]}; give runs with the same test clips")
            continue
        name = identifier
        shared.append((run, record))
    if not shared:
        raise ConfigError(errors[0])
    for reason in errors:
        click.echo(f"left out: {reason}", err=True)
    return name, shared


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


def _several(record: AttentionRecord, clips: tuple[str, ...], first: int | None) -> list[str]:
    """Select clips by name; without names the first of the record, or all of them."""
    if clips:
        return [_chosen(record, clip) for clip in clips]
    return list(record.clips[:first])


def _pictures(clips: list[str], output: Path, kind: str) -> list[Path]:
    """One file for each clip: ``output`` itself where it names a picture of a single clip, otherwise in this folder."""
    if output.suffix.lower() in (".png", ".svg", ".pdf", ".webp"):
        if len(clips) > 1:
            raise ConfigError(f"{output} is one file and there are {len(clips)} clips; give a folder, or one --clip")
        return [output]
    return [output / f"{_file_name(clip)}.{kind}" for clip in clips]


def _experiment(run: Run) -> Any:
    """Return the module of the experiment of a run."""
    from audioattn_lib.experiments import EXPERIMENTS

    if run.experiment not in EXPERIMENTS:
        names = ", ".join(EXPERIMENTS)
        raise RunError(f"{run.path}: no experiment is called {run.experiment!r}; a run lies in the folder of {names}")
    return importlib.import_module(EXPERIMENTS[run.experiment])


def _prepared(run: Run) -> Any:
    """The corpus that the run was tested on."""
    experiment = _experiment(run)
    from audioattn_lib.experiments.common.config import restore_config

    return experiment.prepare(restore_config(experiment.Config, run))


def _classes(run: Run, table: pd.DataFrame) -> list[list[str]] | None:
    """Predicted classes of each clip; None where numbers are predicted."""
    if not run.classes:
        return None
    return [[name for name in names.split(";") if name] for names in table["predicted"]]


def _file_name(clip: str) -> str:
    return short_name(re.sub(r"[^\w.-]+", "_", clip))
