"""``audioattn sweep``, ``run``, ``book`` and ``bench``: notebooks in numbers, the book, the benchmarks.

Book page: commands.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import click

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.ranks import is_main_process, rank_info

__all__ = ["bench", "book", "run", "sweep"]

_PATH = click.Path(path_type=Path)
_COUNT = click.IntRange(1)


@contextmanager
def _told_progress(name: str) -> Iterator[tuple[Callable[[int, int], None], dict[str, str]]]:
    """Tell on one line which cell runs, and how far its training is; what the kernel needs to tell that."""
    from audioattn_lib.training.progress import TOLD

    where, width, ended = f"{name}: starts", 0, Event()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "progress"

        def progress(cell: int, cells: int) -> None:
            nonlocal where
            file.unlink(missing_ok=True)
            where = f"{name}: cell {cell} of {cells}"
            tell()

        def tell() -> None:
            nonlocal width
            state = file.read_text(encoding="utf-8") if file.exists() else ""
            line = f"{where}, {state}" if state else where
            click.echo(f"\r{line:{width}}", err=True, nl=False)
            width = len(line)

        def watch() -> None:
            while not ended.wait(1.0):
                if file.exists():
                    with suppress(OSError):
                        tell()

        thread = Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield progress, {TOLD: str(file)}
        finally:
            ended.set()
            thread.join()
            click.echo(err=True)


@click.command()
@click.argument("file", type=_PATH)
@click.option("-o", "--output", type=_PATH, default=Path("sweeps"), help="Folder of all sweeps.")
@click.option("--workers", type=_COUNT, show_default=False, help="Jobs at a time.  [default: one a GPU, or a core]")
@click.option("--scheduler", show_default=False, metavar="ADDRESS", help="A running Dask scheduler, tcp://host:port.")
@click.option("--cluster", default="local", help="Where workers start: local, slurm, pbs, sge or lsf.")
@click.option("--timeout", type=float, default=24 * 3600.0, help="Seconds that one cell may take.")
def sweep(file: Path, output: Path, **options: Any) -> None:
    """Run a notebook with every combination of a grid of parameters.

    FILE says which notebook and which values. What is done already is kept;
    interrupt it and start it again to continue. The results are
    OUTPUT/<name>/results.csv and index.html. The exit code is 1 when a job
    failed.

    \b
    Examples:
      audioattn sweep notebooks/sweeps/urban_sound.yml --workers 2
      audioattn sweep my.yml --scheduler tcp://node1:8786
      audioattn sweep my.yml --cluster slurm --workers 40
    """
    _refuse_several_processes("sweep")
    from audioattn_lib.automation.sweep import sweep as run_sweep
    from audioattn_lib.cli.live import SweepView

    try:
        with SweepView() as view:
            result = run_sweep(file, output, data_hash=_data_hash, watch=view.update, **options)
    except KeyboardInterrupt:
        click.echo("\nInterrupted. What is done is kept; start the sweep again to continue.", err=True)
        raise
    click.echo(f"{len(result.rows)} results of {len(result.jobs)} jobs: {result.table}, {result.page}")
    for job in result.failures:
        click.echo(f"failed: {dict(job.parameters)}\n  {job.error}", err=True)
    if result.failures:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("notebook")
@click.option(
    "-p", "--parameter", "parameters", nargs=2, multiple=True, metavar="NAME VALUE", help="Value of a parameter."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    show_default=False,
    help="Executed notebook.  [default: NAME.executed.ipynb]",
)
@click.option("--timeout", type=float, default=24 * 3600.0, help="Seconds that one cell may take.")
def run(notebook: str, parameters: tuple[tuple[str, str], ...], output: Path | None, timeout: float) -> None:
    """Execute one notebook with other parameters.

    NOTEBOOK is a file, or the name of a chapter. Values are read as YAML: 3,
    true, [a, b]. Names are checked first, unlike by papermill itself. When
    OUTPUT ends in .html, the page is written too.

    \b
    Examples:
      audioattn run urban_sound -p preset smoke
      audioattn run urban_sound -p data path/to/my_sounds -o my_sounds.html
    """
    from audioattn_lib.automation.execution import execute, runs_shown_in
    from audioattn_lib.automation.notebooks import Notebook
    from audioattn_lib.training.run_list import describe_run

    path = Path(notebook)
    if not path.is_file() and not path.suffix:
        chapters = {file.stem: file for file in sorted(_notebooks().glob("*.ipynb"))}
        if notebook not in chapters:
            raise ConfigError(f"no notebook {notebook!r}: it is neither a file nor one of {', '.join(chapters)}")
        path = chapters[notebook]
    defaults = Notebook(path).parameters
    values = {name: _value(text, defaults.get(name)) for name, text in parameters}
    target = output or Path(f"{path.stem}.executed.ipynb")
    if not is_main_process():  # its kernel trains along; the notebook of the first process is kept
        with tempfile.TemporaryDirectory() as folder:
            execute(path, Path(folder) / "executed.ipynb", values, timeout=timeout)
        return

    with _told_progress(path.name) as (progress, environment):
        done = execute(
            path, target.with_suffix(".ipynb"), values, timeout=timeout, progress=progress, environment=environment
        )
    shown = runs_shown_in(done.output)
    for summary in shown:
        click.echo(f"{summary['path']}: {describe_run(summary, shown)}")
    click.echo(done.output)
    if target.suffix == ".html":
        from audioattn_lib.automation.html import write_html

        click.echo(write_html(done.output, target, path.parent))


@click.command()
@click.option(
    "--workers",
    type=_COUNT,
    show_default=False,
    help="Chapters at a time; each has its share of the cores.  [default: one a core]",
)
@click.option(
    "--mode",
    type=click.Choice(["embedded", "real", "smoke"]),
    show_default=False,
    help="Sounds of the chapters: synthetic, real, or hardly any.  [default: real when AUDIOATTN_DATA is set]",
)
@click.option("--timeout", type=float, default=3600.0, help="Seconds that one cell may take.")
def book(workers: int | None, mode: str | None, timeout: float) -> None:
    """Build the book: execute what is stale, build, check every page.

    Only what depends on a change is done again. Everything lies in _build/;
    the book starts at _build/html/index.html. With AUDIOATTN_DATA, a folder of
    corpora, the chapters whose corpus lies there use real recordings.

    \b
    Examples:
      audioattn book
      AUDIOATTN_DATA=path/to/corpora audioattn book
    """
    _refuse_several_processes("book")
    from audioattn_lib.automation.book import build_book

    mode = mode or ("real" if os.environ.get("AUDIOATTN_DATA") else "embedded")
    build_book(
        checkout(),
        mode=mode,
        workers=workers,
        timeout=timeout,
        data_hash=_data_hash,
        has_data=_has_data,
        echo=click.echo,
    )


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure speed against named references in the same run.

    ARGUMENTS go to the benchmark suite, such as --only NAME, --device and
    --strict; its --help lists all of them. Results are JSON files in
    benchmarks/results/.

    \b
    Examples:
      audioattn bench
      audioattn bench --help
    """
    root = checkout()
    if not (root / "benchmarks" / "__main__.py").is_file():
        raise ConfigError(f"{root} has no benchmarks; run this in a checkout of the project")
    raise click.exceptions.Exit(subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=root).returncode)


def _notebooks() -> Path:
    """Folder of the chapters: of the checkout, or those that were installed with the library."""
    installed = Path(__file__).resolve().parents[1] / "notebooks"
    try:
        return checkout() / "notebooks"
    except ConfigError:
        if installed.is_dir():
            return installed
        raise


def checkout() -> Path:
    """The checkout of the project around the working directory, or the one that the library runs from."""
    working = Path.cwd()
    for folder in (working, *working.parents, Path(__file__).resolve().parents[2]):
        if (folder / "_toc.yml").is_file() and (folder / "notebooks").is_dir():
            return folder
    raise ConfigError(f"{working} is in no checkout of the project (a folder with _toc.yml and notebooks/); go to one")


def _has_data(names: str) -> bool:
    from audioattn_lib.experiments.common.corpus import corpora_of

    folder = os.environ.get("AUDIOATTN_DATA", "")
    return all(_is_there(folder, name.partition("?")[0]) for name in corpora_of(names))


@functools.cache
def _is_there(folder: str, corpus: str) -> bool:
    exists = bool(folder) and (Path(folder) / corpus).is_dir()
    if not exists:
        click.echo(f"{corpus} is not in {folder or 'AUDIOATTN_DATA'}: its chapter has synthetic sound")
    return exists


def _data_hash(names: str) -> str:
    from audioattn_lib.experiments.common.corpus import corpora_of, load_corpus

    return " ".join(load_corpus(name).content_hash() for name in corpora_of(names))


def _value(text: str, default: Any) -> Any:
    import yaml

    if isinstance(default, str):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{text!r} cannot be read as a value ({error})") from None


def _refuse_several_processes(command: str) -> None:
    count = rank_info().world_size
    if count > 1:
        raise ConfigError(
            f"torchrun started {count} processes of `audioattn {command}`, which starts processes of its own; start it "
            "without torchrun. What torchrun can start are `audioattn train` and `audioattn run`"
        )
