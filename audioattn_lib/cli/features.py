"""``audioattn features``: spectrograms and tables of features, between programs.

Book page: commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audioattn_lib.cli.lazy import LazyOptions

if TYPE_CHECKING:
    from audioattn_lib.data.feature_table import FeatureTable

__all__ = ["features"]

_FILE = click.Path(path_type=Path, dir_okay=False)
# Literal, so that `--help` imports nothing; a test compares them with the configuration.
_SPECTROGRAM = ("data", "sample_rate", "n_fft", "hop_length", "n_mels", "window", "stored", "skip_bad_clips", "device")


def _sleepiness_config() -> type:
    from audioattn_lib.experiments.sleepiness_config import Config

    return Config


@click.group(no_args_is_help=True)
def features() -> None:
    """Make features, look at tables of them, convert, join and use them.

    A table is a .csv, .arff or .nc file with a row for each clip: those that
    this program writes, those that auDeep exports, and the feature files of
    the ComParE challenges, with or without a header.

    \b
    Examples:
      audioattn features extract runs/sleepiness/<key> path/to/corpus features.csv
      audioattn features inspect features.csv
      audioattn features convert features.csv features.arff --layout audeep
      audioattn features fuse fused.csv attention.csv plain.csv
      audioattn features regress fused.csv
    """


@features.command(cls=LazyOptions, config=_sleepiness_config, has_presets=True, only=_SPECTROGRAM)
@click.option("--preset", default="default")
def spectrograms(preset: str, **options: Any) -> None:
    """Compute the spectrograms of a corpus, once for all thresholds and networks.

    Training does this itself where it was not done. What was interrupted
    continues; the corpus is checked first, and clips shorter than a window or
    without a number as their label are an error that names them.

    \b
    Examples:
      audioattn features spectrograms --data path/to/SLEEP --preset paper
      audioattn features spectrograms --data path/to/SLEEP --n-mels 120
    """
    from audioattn_lib.cli.fields import given
    from audioattn_lib.experiments.sleepiness import Config, prepare

    prepared = prepare(Config.preset(preset, **given(options)))
    store = prepared.store
    click.echo(prepared.describe().replace("**", ""))
    click.echo(f"{store.path}: {store.n_frames.sum()} frames of {store.n_features} bands")


@features.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.argument("corpus")
@click.argument("target", type=_FILE)
@click.option("--skip-bad-clips", is_flag=True, show_default=False, help="Leave out clips that fail the check.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where to compute.")
def extract(run: Path, corpus: str, target: Path, skip_bad_clips: bool, device: str) -> None:
    """Describe the clips of a corpus by a trained autoencoder.

    RUN is the directory of an autoencoder, which holds its weights and the
    features of its own corpus (features.nc). CORPUS is another, by name or
    path; it needs no labels.

    \b
    Example:
      audioattn features extract runs/sleepiness/<key> path/to/corpus features.csv
    """
    from audioattn_lib.data.table_files import write_features
    from audioattn_lib.experiments.sleepiness import extract_features
    from audioattn_lib.training.run_directory import Run

    table = extract_features(Run.load(run), corpus, skip_bad_clips=skip_bad_clips, device=device)
    write_features(table, target)
    click.echo(_describe(target, table))


@features.command()
@click.argument("table", type=_FILE)
def inspect(table: Path) -> None:
    """Show what a table holds: clips, splits, labels, features.

    \b
    Example:
      audioattn features inspect features.csv
    """
    from audioattn_lib.data.table_files import read_features

    click.echo(_describe(table, read_features(table)))


@features.command()
@click.argument("source", type=_FILE)
@click.argument("target", type=_FILE)
@click.option(
    "--layout",
    type=click.Choice(["table", "audeep", "published"]),
    default="table",
    help="table loses nothing; audeep: its columns; published: CSV without a header, names and features.",
)
@click.option("--labels-last", is_flag=True, show_default=False, help="Write labels behind the features.")
@click.option("--split", show_default=False, help="Write the clips of one split only: train, devel, test.")
def convert(source: Path, target: Path, layout: str, labels_last: bool, split: str | None) -> None:
    """Write a table in another format: .csv, .arff or .nc.

    The suffix of TARGET says the format.

    \b
    Examples:
      audioattn features convert features.csv features.nc
      audioattn features convert features.csv train.arff --layout audeep --split train
      audioattn features convert features.csv train.csv --layout published --split train
    """
    from audioattn_lib.data.table_files import read_features, write_features

    table = read_features(source)
    if split is not None:
        table = table.of_split(split)
    write_features(table, target, layout=layout, labels_last=labels_last)  # type: ignore[arg-type]
    click.echo(_describe(target, table))


@features.command()
@click.argument("target", type=_FILE)
@click.argument("tables", type=_FILE, nargs=-1, required=True)
def fuse(target: Path, tables: tuple[Path, ...]) -> None:
    """Join the features of several tables, clip by clip.

    Clips are found by name, in any order; one that a table lacks is an error
    that names it. A feature is called by the name of its file and its own.

    \b
    Example:
      audioattn features fuse fused.csv attention.csv plain.csv
    """
    from audioattn_lib.data.feature_table import fuse as join
    from audioattn_lib.data.table_files import read_features, write_features
    from audioattn_lib.errors import ConfigError

    names = [path.stem for path in tables]
    if len(set(names)) < len(names):  # such as features.csv of several runs
        names = [f"{path.parent.name}_{path.stem}" for path in tables]
    if len(set(names)) < len(names):
        raise ConfigError(f"tables are called {', '.join(names)}; features are named by their files, so rename one")
    read = {name: read_features(path) for name, path in zip(names, tables, strict=True)}
    fused = join(read)
    write_features(fused, target)
    widths = " + ".join(str(table.width) for table in read.values())
    click.echo(f"{_describe(target, fused)}\n{widths} = {fused.width} features")


@features.command()
@click.argument("tables", type=_FILE, nargs=-1, required=True)
@click.option("--data", "corpus", show_default=False, help="Corpus whose labels, splits and groups are used.")
@click.option(
    "--model",
    type=click.Choice(["linear_svr", "published_svr", "ridge", "rbf_svr"]),
    default="linear_svr",
    help="Regression.",
)
@click.option("--max-iter", type=click.IntRange(1), default=1000, help="Passes of the solver at most.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Order in which the solver visits clips.")
@click.option("-o", "--output", type=_FILE, show_default=False, help="Write predictions to this .csv file.")
def regress(
    tables: tuple[Path, ...], corpus: str | None, model: str, max_iter: int, seed: int, output: Path | None
) -> None:
    """Predict numbers from features, and score the test clips.

    Fits on the clips of split train, chooses the complexity on devel, fits
    again on both and predicts test. Several TABLES with other clips, such as
    one for each split, are put under one another.

    \b
    Examples:
      audioattn features regress fused.csv -o predictions.csv
      audioattn features regress train.csv devel.csv test.csv --data path/to/SLEEP
    """
    from audioattn_lib.data.feature_table import stack
    from audioattn_lib.data.table_files import read_features
    from audioattn_lib.experiments.corpus import load_corpus
    from audioattn_lib.experiments.feature_regression import regress_features

    table = stack({str(path): read_features(path) for path in tables})
    if corpus is not None:
        table = table.described_by(load_corpus(corpus))
    predictions, metrics = regress_features(table, model=model, max_iter=max_iter, seed=seed)  # type: ignore[arg-type]
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        predictions.to_csv(output, index=False, lineterminator="\n")
    click.echo("\n".join(_scores(metrics)))


def _scores(metrics: dict[str, Any]) -> Iterator[str]:
    """Lines about a regression."""
    yield f"{metrics['n_features']} features, complexity {metrics['complexity']:g}"
    yield f"devel      spearman {metrics['devel_spearman']:.3f} (rounded {metrics['devel_spearman_rounded']:.3f})"
    if "spearman" in metrics:
        for name in metrics["intervals"]:
            found = metrics["intervals"][name]
            yield f"test       {name} {found['estimate']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
        yield f"           spearman of rounded predictions {metrics['spearman_rounded']:.3f}"
        yield f"           p of spearman {metrics['permutation']['p_value']:.2g}"
        yield f"chance     mean_absolute_error {metrics['chance']['mean_absolute_error']:.3f}"
    else:
        yield "test       no clip has a label, so nothing is scored"
    for note in (*metrics["notes"], metrics.get("note", "")):
        if note:
            yield f"note       {note}"


def _describe(path: Path, table: FeatureTable) -> str:
    """Some lines about a table."""
    from collections import Counter

    import numpy as np

    lines = [f"{path}: {len(table)} rows of {table.width} features"]
    clips = len(set(table.ids))
    if clips < len(table):
        lines.append(f"clips      {clips}, in several pieces each")
    splits = Counter(table.splits)
    if set(splits) != {""}:
        lines.append("splits     " + ", ".join(f"{name or 'none'} {count}" for name, count in splits.items()))
    known = np.isfinite(table.values)
    if known.any():
        low, high = table.values[known].min(), table.values[known].max()
        lines.append(f"labels     {known.sum()} known, from {low:g} to {high:g}")
    groups = len(set(table.groups) - {""})
    if groups:
        lines.append(f"groups     {groups}")
    shown = ", ".join(table.names[:3]) + (f" ... {table.names[-1]}" if table.width > 3 else "")
    lines.append(f"features   {shown}; from {table.features.min():.4g} to {table.features.max():.4g}")
    return "\n".join(lines)
