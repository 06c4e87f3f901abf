"""``audioattn data``: corpora, before anything is trained on them.

Book page: commands.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audioattn_lib.cli.lazy import LazyOptions

if TYPE_CHECKING:
    from audioattn_lib.data.manifest import Manifest

__all__ = ["data"]

# Literal, so that `--help` imports nothing; a test compares them with the experiments.
_CHAPTERS = ("urban_sound", "sleepiness", "accents", "scenes_and_instruments", "playback")


@click.group(no_args_is_help=True)
def data() -> None:
    """List and check corpora, and make synthetic ones.

    \b
    Examples:
      audioattn data list
      audioattn data check path/to/my_sounds
      audioattn data convert as500k_train.pkl
      audioattn data synthesise city my_city --clips-per-class 8
    """


@data.command("list")
def list_corpora() -> None:
    """List the corpora that can be used by name.

    Synthetic ones are always there. Others are found in the folder that the
    environment variable AUDIOATTN_DATA names; any other folder is used by its
    path.

    \b
    Example:
      AUDIOATTN_DATA=path/to/corpora audioattn data list
    """
    from audioattn_lib.data.corpora import available

    for row in available().itertuples():
        click.echo(f"{row.name:20} {row.description}  ({row.where})")


@data.command()
@click.argument("corpus")
@click.option("--sample-rate", type=click.IntRange(1), show_default=False, help="Hertz; report others.")
@click.option("--group", show_default=False, help="Column of what must not be in two folds: speaker, recording.")
@click.option("--for", "chapter", type=click.Choice(_CHAPTERS), show_default=False, help="Chapter to train on it.")
def check(corpus: str, sample_rate: int | None, group: str | None, chapter: str | None) -> None:
    """Check a corpus for everything that makes results wrong.

    Looks for missing and unreadable files, silent and broken sounds, the same
    sound twice, labels and times that cannot be, groups that are in two folds,
    and what training would refuse: no split called test, labels of another
    kind than the chapter needs. Then lists classes, folds, splits and groups.
    CORPUS is a name or a path, and may have options behind a question mark.
    The exit code is 1 when there are errors.

    \b
    Examples:
      audioattn data check city
      audioattn data check path/to/my_sounds --group speaker --for accents
      audioattn data check "path/to/my_sounds?split=partition&classes=dog,siren"
    """
    from dataclasses import replace

    from audioattn_lib.data.audit import audit
    from audioattn_lib.data.summary import check_use, summarise
    from audioattn_lib.experiments.common.corpus import load_corpus

    manifest = load_corpus(corpus)
    report = audit(manifest, sample_rate=sample_rate, group=group, progress=True)
    report = replace(report, problems=(*report.problems, *check_use(manifest.with_group(group), chapter or "")))
    click.echo(str(report))
    if not any(problem.kind in ("missing file", "unusable sound") for problem in report.errors):
        click.echo("\n" + "\n".join(summarise(manifest.with_group(group))))
    if not report.passed:
        raise click.exceptions.Exit(1)


@data.command()
@click.argument("pickled", type=click.Path(path_type=Path, dir_okay=False), nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default=False,
    help="CSV file, of one list.  [default: beside each]",
)
def convert(pickled: tuple[Path, ...], output: Path | None) -> None:
    """Convert published lists that are pickled tables to CSV.

    PICKLED is read without running anything in it: a file that names more than
    tables, arrays and plain values is an error. Lists in cells are joined by
    semicolons. The CSV belongs in the folder of the corpus, or in data or
    annotations in it.

    \b
    Examples:
      audioattn data convert VGGSound/data/train.pkl VGGSound/data/test.pkl
      audioattn data convert as500k_train.pkl -o AudioSet/as500k_train.csv
    """
    from audioattn_lib.core.errors import ConfigError
    from audioattn_lib.data.pickled_lists import convert_pickled_list

    if output is not None and len(pickled) > 1:
        raise ConfigError(
            f"output is {output}, one file for {len(pickled)} lists; convert them one by one, or leave it"
        )
    for source in pickled:
        target = output or source.with_suffix(".csv")
        table = convert_pickled_list(source, target)
        click.echo(f"{target}: {len(table)} rows of {', '.join(table)}")


@data.group(no_args_is_help=True)
def synthesise() -> None:
    """Make a synthetic corpus with known truth.

    \b
    Example:
      audioattn data synthesise city my_city --duration 4
    """


def _add_corpus(name: str, about: str, example: str) -> None:
    def config() -> type:
        from audioattn_lib.data.corpora.synthetic import options_of

        return options_of(name)

    def make(directory: Path, **options: Any) -> None:
        manifest = _synthesise(name, directory, options)
        columns = [column for column in ("speaker", "instrument") if column in manifest.table]
        of = [f"{manifest.table[column].nunique()} {column}s" for column in columns]
        classes = f": {', '.join(manifest.classes)}" if len(manifest.classes) <= 20 else ""  # numbers are many
        click.echo(f"{directory}: {len(manifest)} clips{''.join(f' of {text}' for text in of)}{classes}")

    make.__doc__ = f"""{about}

    Writes audio/ and metadata.csv to DIRECTORY, which must not exist or be
    empty. The same options give the same sounds.

    \b
    Example:
      {example}
    """
    make = click.argument("directory", type=click.Path(path_type=Path, file_okay=False))(make)
    synthesise.command(name, cls=LazyOptions, config=config)(make)


for _corpus in (
    (
        "city",
        "Short events over the noise of a city, with their times.",
        "audioattn data synthesise city my_city --clips-per-class 8 --snr 0,10",
    ),
    (
        "voices",
        "Voices of speakers who are more or less tired.",
        "audioattn data synthesise voices my_voices --speakers 16 --duration 2,3",
    ),
    (
        "accents",
        "Voices of many speakers with invented accents.",
        "audioattn data synthesise accents my_accents --speakers-per-accent 8",
    ),
    (
        "needles",
        "Long clips with short events that need a fine hop.",
        "audioattn data synthesise needles my_needles --clips-per-class 20 --events 1,3",
    ),
    (
        "orchestra",
        "Phrases of instruments through several devices.",
        "audioattn data synthesise orchestra my_orchestra --clips-per-class 20 --duration 2",
    ),
    (
        "mixtures",
        "Recorded events at known times over backgrounds, of any length.",
        "audioattn data synthesise mixtures my_mixtures --events my_sounds --clips 200 --duration 60",
    ),
):
    _add_corpus(*_corpus)


def _synthesise(corpus: str, directory: Path, options: dict[str, Any]) -> Manifest:
    """Make a corpus, or find it made, and copy it to a new folder."""
    from audioattn_lib.cli.fields import given
    from audioattn_lib.core.errors import ConfigError
    from audioattn_lib.data.corpora import load

    if directory.exists() and any(directory.iterdir()):
        raise ConfigError(f"{directory} is not empty; name a folder that does not exist yet")
    manifest = load(corpus, **given(options))
    shutil.copytree(manifest.root, directory, dirs_exist_ok=True)
    return manifest
