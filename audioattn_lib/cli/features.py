"""``audioattn features``: spectrograms and tables of features, between programs.

Book page: commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audioattn_lib.cli.lazy import LazyOptions

if TYPE_CHECKING:
    from audioattn_lib.data.tables.feature_table import FeatureTable

__all__ = ["features"]

_FILE = click.Path(path_type=Path, dir_okay=False)
# Literal, so that `--help` imports nothing; a test compares them with the configuration.
_SPECTROGRAM = ("data", "sample_rate", "n_fft", "hop_length", "n_mels", "window", "stored", "skip_bad_clips", "device")


def _sleepiness_config() -> type:
    from audioattn_lib.experiments.sleepiness.config import Config

    return Config


@click.group(no_args_is_help=True)
def features() -> None:
    """Compute features; inspect, convert, join and use feature tables.

    A table is a .csv, .arff or .nc file with a row for each clip: those that
    this program writes, those that auDeep exports, and the feature files of
    the ComParE challenges, with or without a header.

    \b
    Examples:
      audioattn features extract runs/sleepiness/<key> path/to/corpus features.csv
      audioattn features inspect features.csv
      audioattn features convert features.csv features.arff --layout audeep
      audioattn features fuse fused.csv attention.csv plain.csv
      audioattn features regress fused.csv -o predictions.csv
      audioattn features score predictions.csv path/to/SLEEP
    """


@features.command(cls=LazyOptions, config=_sleepiness_config, has_presets=True, only=_SPECTROGRAM)
@click.option("--preset", default="default")
@click.option("--labels", show_default=False, help="Table of labels that lies elsewhere: file_name, label.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    show_default=False,
    help="Write them there too, an array (frames, bands) in decibels as .npy for each clip.",
)
def spectrograms(preset: str, labels: str | None, output: Path | None, **options: Any) -> None:
    """Compute the spectrograms of a corpus, once for all thresholds and networks.

    Training does this itself where it was not done. What was interrupted
    continues; the corpus is checked first, and clips shorter than a window are
    an error that names them. Labels are not needed. They are kept in the cache;
    --output writes them as files too, with a metadata.csv that has names,
    labels, splits, frames and seconds between frames.

    \b
    Examples:
      audioattn features spectrograms --data path/to/SLEEP --preset paper
      audioattn features spectrograms --data path/to/SLEEP --n-mels 120
      audioattn features spectrograms --data wav/ --labels lab/labels.csv -o out/
    """
    from dataclasses import replace

    from audioattn_lib.cli.fields import given
    from audioattn_lib.data.loading.store import FeatureStore
    from audioattn_lib.experiments.sleepiness.config import Config
    from audioattn_lib.experiments.sleepiness.corpus import compute_spectrograms, write_spectrograms

    config = Config.preset(preset, **given(options))
    if labels is not None:
        config = replace(config, data=f"{config.data}{'&' if '?' in config.data else '?'}labels={labels}")
    prepared = compute_spectrograms(config)
    store, manifest = prepared.store, prepared.manifest
    assert isinstance(store, FeatureStore)  # spectrograms are on disk
    minutes = float(manifest.durations.sum()) / 60
    click.echo(f"{manifest.name}: {len(manifest)} clips, {minutes:.0f} minutes")
    click.echo(f"{store.path}: {store.n_frames.sum()} frames of {store.n_features} bands")
    if output is not None:
        count = write_spectrograms(prepared, output)
        click.echo(f"{output}: {count} arrays and metadata.csv")


@features.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.argument("corpus")
@click.argument("target", type=_FILE)
@click.option("--skip-bad-clips", is_flag=True, show_default=False, help="Leave out clips that fail the check.")
@click.option("--device", default="auto", help="Where to compute: auto, cpu, cuda, or cuda:0 and so on.")
def extract(run: Path, corpus: str, target: Path, skip_bad_clips: bool, device: str) -> None:
    """Describe the clips of a corpus by a trained network.

    RUN is the directory of an autoencoder, whose features describe a clip, or
    of a network of the chapter on accents, whose embeddings do. Both hold those
    of their own corpus (features.nc, embeddings.npz). Or it is a folder with
    model.json of any chapter, without the rest of its run. CORPUS is another,
    by name or path; it needs no labels. It may be a file of sound.

    \b
    Examples:
      audioattn features extract runs/sleepiness/<key> path/to/corpus features.csv
      audioattn features extract runs/accents/<key> utterance.wav embedding.csv
    """
    from audioattn_lib.data.tables.table_files import write_features
    from audioattn_lib.training.model_folder import find_model
    from audioattn_lib.training.run_directory import Run

    if find_model(run) is not None and not (run / "config.json").is_file():  # a model without its run
        import audioattn_lib
        from audioattn_lib.inference.features import extract_embeddings as of_model

        table = of_model(audioattn_lib.load(run, device), corpus, skip_bad_clips=skip_bad_clips)
        write_features(table, target)
        click.echo(_describe(target, table))
        return
    loaded = Run.load(run)
    if loaded.experiment == "accents" or "pooling" in loaded.config:
        from audioattn_lib.experiments.accents import extract_embeddings as describe
    else:
        from audioattn_lib.experiments.sleepiness import extract_features as describe
    table = describe(loaded, corpus, skip_bad_clips=skip_bad_clips, device=device)
    write_features(table, target)
    click.echo(_describe(target, table))


@features.command()
@click.argument("table", type=_FILE)
def inspect(table: Path) -> None:
    """Show the clips, splits, labels and features of a table.

    \b
    Example:
      audioattn features inspect features.csv
    """
    from audioattn_lib.data.tables.table_files import read_features

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
    from audioattn_lib.data.tables.table_files import read_features, write_features

    table = read_features(source)
    if split is not None:
        table = table.of_split(split)
    write_features(table, target, layout=layout, labels_last=labels_last)  # type: ignore[arg-type]
    click.echo(_describe(target, table))


@features.command()
@click.argument("target", type=_FILE)
@click.argument("tables", type=_FILE, nargs=-1, required=True)
@click.option("--names", show_default=False, help="What to call the tables, joined by commas.")
def fuse(target: Path, tables: tuple[Path, ...], names: str | None) -> None:
    """Join the features of several tables, clip by clip.

    Clips are found by name, in any order; one that a table lacks is an error
    that names it. A feature is called by the name of its file, without train,
    devel or test in it, and its own: so the fused tables of the splits have the
    same features, and can be stacked.

    \b
    Examples:
      audioattn features fuse fused.csv attention.csv plain.csv
      audioattn features fuse fused.train.csv seq.train.csv att.train.csv
    """
    from audioattn_lib.core.errors import ConfigError
    from audioattn_lib.data.tables.feature_table import fuse as join
    from audioattn_lib.data.tables.table_files import read_features, write_features

    called = [name.strip() for name in names.split(",")] if names else _systems(tables)
    if len(called) != len(tables) or len(set(called)) < len(called) or not all(called):
        raise ConfigError(f"{len(tables)} tables are called {', '.join(called)}; name each with --names, or rename one")
    read = {name: read_features(path) for name, path in zip(called, tables, strict=True)}
    fused = join(read)
    write_features(fused, target)
    widths = " + ".join(str(table.width) for table in read.values())
    click.echo(f"{_describe(target, fused)}\n{widths} = {fused.width} features")


def _systems(tables: tuple[Path, ...]) -> list[str]:
    """Derive a system name for each table from its file name without the split, or with its folder name."""
    stems = [_without_split(path.stem) for path in tables]
    if all(stems) and len(set(stems)) == len(stems):
        return stems
    # such as features.csv of several runs
    return ["_".join(filter(None, (path.parent.name, stem))) for path, stem in zip(tables, stems, strict=True)]


def _without_split(stem: str) -> str:
    parts = [word for word in re.split(r"([._-])", stem) if word]
    words = [word for word in parts if word.lower() not in ("train", "devel", "dev", "test")]
    return re.sub(r"([._-])[._-]+", r"\1", "".join(words)).strip("._-")


@features.command()
@click.argument("target", type=_FILE)
@click.argument("tables", type=_FILE, nargs=-1, required=True)
def stack(target: Path, tables: tuple[Path, ...]) -> None:
    """Put the clips of several tables under one another, such as those of the splits.

    The tables have the same features; a clip that two of them have is an error
    that names it.

    \b
    Example:
      audioattn features stack all.csv seq.train.csv seq.devel.csv seq.test.csv
    """
    from audioattn_lib.data.tables.feature_table import stack as join
    from audioattn_lib.data.tables.table_files import read_features, write_features

    joined = join({str(path): read_features(path) for path in tables})
    write_features(joined, target)
    click.echo(_describe(target, joined))


@features.command()
@click.argument("tables", type=_FILE, nargs=-1)
@click.option("--train", type=_FILE, show_default=False, help="Table whose clips train.")
@click.option("--devel", type=_FILE, show_default=False, help="Table whose clips choose the complexity.")
@click.option("--test", type=_FILE, show_default=False, help="Table whose clips are predicted.")
@click.option("--labels", type=_FILE, show_default=False, help="CSV file of labels: file_name,label.")
@click.option(
    "--num-feat",
    type=click.IntRange(1),
    show_default=False,
    help="Use the first so many features only; all by default. As the published -nfeat: 512 of 768 fused features "
    "leave out half of the second network.",
)
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
@click.option(
    "--layout",
    type=click.Choice(["table", "published"]),
    default="table",
    help="Of predictions: table says all; published: file_name,prediction of the test clips, rounded.",
)
def regress(
    tables: tuple[Path, ...],
    train: Path | None,
    devel: Path | None,
    test: Path | None,
    labels: Path | None,
    num_feat: int | None,
    corpus: str | None,
    model: str,
    max_iter: int,
    seed: int,
    output: Path | None,
    layout: str,
) -> None:
    """Predict numbers from features, and score the test clips.

    Fits on the clips of split train, chooses the complexity on devel, fits
    again on both and predicts test. Several TABLES with other clips, such as
    one for each split, are put under one another.

    \b
    Examples:
      audioattn features regress fused.csv -o predictions.csv
      audioattn features regress train.csv devel.csv test.csv --data path/to/SLEEP
      audioattn features regress --train A.csv --devel B.csv --test C.csv --labels labels.csv --model published_svr
    """
    from audioattn_lib.core.errors import ConfigError
    from audioattn_lib.core.files import write_whole
    from audioattn_lib.data.tables.feature_table import stack
    from audioattn_lib.data.tables.table_files import read_features, read_labels
    from audioattn_lib.experiments.common.corpus import load_corpus
    from audioattn_lib.experiments.sleepiness.regression import regress_features

    if corpus is not None and labels is not None:
        raise ConfigError("both --data and --labels say what the labels are; give one")
    manifest = None if corpus is None else load_corpus(corpus)
    source = manifest if labels is None else read_labels(labels)
    splits = {"train": train, "devel": devel, "test": test}
    read = {str(path): (read_features(path), "") for path in tables}
    read |= {str(path): (read_features(path), name) for name, path in splits.items() if path is not None}
    if not read:
        raise ConfigError("no table is given; give one or several, or --train, --devel and --test")
    parts = {}
    for path, (features, split) in read.items():
        described = features if source is None else features.described_by(source)
        parts[path] = described.in_split(split) if split else described
    table = stack(parts)
    if num_feat is not None:
        table = table.first(num_feat)
    predictions, metrics = regress_features(table, model=model, max_iter=max_iter, seed=seed)  # type: ignore[arg-type]
    if output is not None:
        if layout == "published":
            tested = predictions[predictions["split"] == "test"]
            predictions = tested[["clip", "rounded"]].astype({"rounded": int})
            predictions = predictions.set_axis(["file_name", "prediction"], axis=1)
        with write_whole(output) as temporary:
            predictions.to_csv(temporary, index=False, lineterminator="\n")
    click.echo("\n".join(_scores(metrics)))


@features.command()
@click.argument("predictions", type=_FILE)
@click.argument("labels")
@click.option("--split", default="test", help="Which clips to score; all for every clip with a label.")
def score(predictions: Path, labels: str, split: str) -> None:
    """Score predicted numbers against labels: Spearman's correlation, its interval, and how likely chance is.

    PREDICTIONS is what regress wrote, or a CSV file with the published columns
    file_name and prediction. LABELS is a CSV file with file_name and label, or
    a corpus by name or path. Clips are found by name; without a column split,
    theirs is what the name begins with: train_, devel_ or test_.

    \b
    Examples:
      audioattn features score predictions.csv path/to/SLEEP/lab/labels.csv
      audioattn features score predictions.csv path/to/SLEEP --split devel
    """
    from audioattn_lib.data.tables.feature_table import ClipLabels
    from audioattn_lib.data.tables.table_files import read_labels, read_predictions
    from audioattn_lib.experiments.common.corpus import load_corpus
    from audioattn_lib.experiments.sleepiness.regression import score_predicted

    clip_labels = read_labels(labels) if labels.endswith(".csv") else ClipLabels.of(load_corpus(labels))
    metrics = score_predicted(read_predictions(predictions), clip_labels, split="" if split == "all" else split)
    click.echo("\n".join(_score_lines(split, metrics)))


def _scores(metrics: dict[str, Any]) -> Iterator[str]:
    """Lines about a regression."""
    yield f"{metrics['n_features']} features, complexity {metrics['complexity']:g}"
    yield f"validation spearman {metrics['valid_spearman']:.3f} (rounded {metrics['valid_spearman_rounded']:.3f})"
    if "spearman" in metrics:
        yield from _score_lines("test", metrics)
        yield f"chance     mean_absolute_error {metrics['chance']['mean_absolute_error']:.3f}"
    else:
        yield "test       no clip has a label, so nothing is scored"
    for note in (*metrics["notes"], metrics.get("note", "")):
        if note:
            yield f"note       {note}"


def _score_lines(split: str, metrics: dict[str, Any]) -> Iterator[str]:
    """Lines about scores with their intervals."""
    for name in metrics["intervals"]:
        interval = metrics["intervals"][name]
        yield f"{split:10} {name} {interval['estimate']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"
    if "spearman_rounded" in metrics:
        yield f"           spearman of rounded predictions {metrics['spearman_rounded']:.3f}"
    yield f"           p of spearman {metrics['permutation']['p_value']:.2g}, {metrics['clips']} clips"
    if "chance" not in metrics and metrics.get("note"):
        yield f"note       {metrics['note']}"


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
    is_known = np.isfinite(table.values)
    if is_known.any():
        low, high = table.values[is_known].min(), table.values[is_known].max()
        lines.append(f"labels     {is_known.sum()} known, from {low:g} to {high:g}")
    groups = len(set(table.groups) - {""})
    if groups:
        lines.append(f"groups     {groups}")
    shown = ", ".join(table.names[:3]) + (f" ... {table.names[-1]}" if table.width > 3 else "")
    lines.append(f"features   {shown}; from {table.features.min():.4g} to {table.features.max():.4g}")
    return "\n".join(lines)
