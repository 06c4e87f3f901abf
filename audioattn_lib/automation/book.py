"""Build the book: execute the chapters that are stale, build the pages, check every one.

A chapter is executed again when its key has changed: its notebook, its
parameters, the library it can reach, the dependencies or its data. The pages
are built again when anything they are made of has changed. A build that finds
nothing changed only compares hashes.

Book page: architecture.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from audioattn_lib.automation.execution import (
    Execution,
    NotebookError,
    count_cores,
    execute,
    remove_runtime_leftovers,
)
from audioattn_lib.automation.key import file_hash, key
from audioattn_lib.automation.notebooks import DataHash, Notebook, set_parameters
from audioattn_lib.automation.pages import check_pages
from audioattn_lib.automation.strict_yaml import read_yaml
from audioattn_lib.automation.vendor import provide_runtime
from audioattn_lib.core.declarations import shorten
from audioattn_lib.core.errors import AudioAttnError, ConfigError
from audioattn_lib.core.files import locked, write_text

__all__ = ["MODES", "BookError", "Chapter", "build_book", "chapters", "documents"]

MODES: Final = ("embedded", "real", "smoke")
"""Modes of the chapters: synthetic recordings, real recordings, or smallest sizes for tests."""

_CHAPTERS: Final = "book/chapters/"
_TOOLS: Final = ("jupyter-book", "sphinx", "myst-nb", "myst-parser", "sphinx-book-theme", "pydata-sphinx-theme")
_SOURCES: Final = ("book", "audioattn_lib", "benchmarks/results")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_SOURCE_FILES: Final = ("*.md", "*.yml", "pyproject.toml")

Echo = Callable[[str], Any]


class BookError(AudioAttnError, RuntimeError):
    """Error of a build of the book; the message lists the errors of each page."""


@dataclass(frozen=True)
class Chapter:
    """A page of the book that is an executed notebook.

    Parameters
    ----------
    name
        Name of the notebook and of the page.
    source
        The notebook without outputs.
    parameters
        Values that it is executed with in this book.
    place
        Where the table of contents expects the executed notebook.
    work
        Where it is executed, with its log and, after a failure, its remains.
    key
        Identity of the execution.
    after
        Chapters whose runs it reads, and which are executed before it.
    is_light
        It trains nothing, and one core is enough for it.

    Notes
    -----
    Book page: architecture.
    """

    name: str
    source: Path
    parameters: Mapping[str, Any]
    place: Path
    work: Path
    key: str
    after: tuple[str, ...] = ()
    is_light: bool = False

    @property
    def is_current(self) -> bool:
        """True when the page is there and has this key."""
        try:
            record = json.loads(self.work.with_suffix(".json").read_text(encoding="utf-8"))
            return bool(record["key"] == self.key and record["sha256"] == file_hash(self.place))
        except (OSError, ValueError, KeyError, TypeError, ConfigError):
            return False

    def keep(self, execution: Execution) -> None:
        """Put the executed notebook in its place and remember its key.

        The values that papermill adds in a cell stand in the cell of parameters instead, with its comments.
        """
        content = json.loads(execution.output.read_text(encoding="utf-8"))
        for cell in content["cells"]:
            tags = cell["metadata"].get("tags", [])
            if "parameters" in tags:
                cell["source"] = set_parameters("".join(cell["source"]), self.parameters)
            elif "injected-parameters" in tags:
                tags.append("remove-cell")
        write_text(self.place, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        record = {"key": self.key, "sha256": file_hash(self.place), "seconds": round(execution.seconds, 1)}
        write_text(self.work.with_suffix(".json"), json.dumps(record, indent=1) + "\n")


def documents(root: str | Path) -> list[str]:
    """Every page in the table of contents, without ending, in order.

    Raises
    ------
    ConfigError
        If ``_toc.yml`` cannot be read.

    Notes
    -----
    Book page: architecture.
    """
    contents = read_yaml(Path(root) / "_toc.yml")
    names = list(_files(contents.data))
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise contents.error(f"the page {shorten(wrong[0])} is no path; give the path of a page without its ending")
    return names


def chapters(
    root: str | Path, mode: str, data_hash: DataHash | None = None, has_data: Callable[[str], bool] | None = None
) -> list[Chapter]:
    """List the chapters of the table of contents with their parameters.

    ``notebooks/book.yml`` gives for each chapter the parameters in each mode,
    and chapters whose runs it reads back instead of making them again. Such a
    chapter is light, and so is one that says ``light: true``: it trains nothing.

    .. code-block:: yaml

        urban_sound:
          embedded: {}
          real: {data: esc10}
          smoke: {preset: smoke}
        urban_sound_results:
          after: [urban_sound]
          embedded: {}
          ...

    Where ``has_data`` says that a chapter's real recordings are not there, it
    has the embedded parameters.

    Raises
    ------
    ConfigError
        If a chapter has no notebook or no entry, or a parameter is not one of
        its notebook; the message names file and line.

    Notes
    -----
    Book page: architecture.
    """
    if mode not in MODES:
        raise ConfigError(f"mode is {mode!r}; it must be one of {', '.join(MODES)}")
    root = Path(root)
    data_hash = data_hash and functools.cache(data_hash)  # chapters share corpora
    settings = read_yaml(root / "notebooks" / "book.yml")
    entries = settings.data or {}
    if not isinstance(entries, dict):
        raise settings.error("it must be a mapping of chapters to their parameters")
    names = [name.removeprefix(_CHAPTERS) for name in documents(root) if name.startswith(_CHAPTERS)]
    for name, modes in entries.items():
        if name not in names:
            raise settings.error(f"{name!r} is no chapter in _toc.yml; chapters are {', '.join(names) or 'none'}", name)
        is_mapping = isinstance(modes, dict) and set(modes) - {"after", "light"} == set(MODES)
        if not is_mapping or not all(isinstance(modes[mode], dict | None) for mode in MODES):
            raise settings.error(f"{name} needs parameters for {' and '.join(MODES)}, {{}} for the defaults", name)
        if not isinstance(modes.get("light", False), bool):
            raise settings.error(f"light of {name} is {modes['light']!r}; it must be true or false", name, "light")
        if not isinstance(modes.get("after", []), list):
            raise settings.error(f"after of {name} is {shorten(modes['after'])}; it must be a list", name, "after")
        earlier = list(entries)[: list(entries).index(name)]
        for index, other in enumerate(modes.get("after", [])):
            if other not in earlier:
                allowed = ", ".join(earlier) or "none"
                raise settings.error(
                    f"{other!r} is no chapter above {name} in this file: {allowed}", name, "after", index
                )
    chapters_found = []
    for name in names:
        if name not in entries:
            raise settings.error(f"the chapter {name} of _toc.yml is missing; add it with its parameters")
        source = root / "notebooks" / f"{name}.ipynb"
        notebook, parameters = Notebook(source), entries[name][mode] or {}
        if mode == "real" and has_data and "data" in parameters and not has_data(parameters["data"]):
            parameters = entries[name]["embedded"] or {}
        try:
            identity = notebook.key(parameters, data_hash)
        except ConfigError as error:
            raise settings.error(str(error), name, mode) from None
        target = root / f"{_CHAPTERS}{name}.ipynb"
        work = root / "_build" / "execution" / f"{name}.ipynb"
        after = tuple(entries[name].get("after", ()))
        is_light = bool(after) or entries[name].get("light", False)
        chapters_found.append(Chapter(name, source, parameters, target, work, identity, after, is_light))
    return chapters_found


def build_book(
    root: str | Path,
    *,
    mode: str = "embedded",
    workers: int | None = None,
    timeout: float = 3600.0,
    data_hash: DataHash | None = None,
    has_data: Callable[[str], bool] | None = None,
    echo: Echo = print,
) -> Path:
    """Execute, build and check, as far as anything has changed.

    Parameters
    ----------
    root
        The checkout.
    mode
        ``"embedded"`` runs the chapters on synthetic recordings, ``"real"`` on
        those that ``notebooks/book.yml`` names, ``"smoke"`` in seconds.
    workers
        Chapters that train at the same time, at least 1; each has its share of
        the cores, and makes as many runs at a time. One a core by default: a
        chapter has parts that use one core alone. Light chapters have one core each.
    timeout
        Seconds that one cell may take.
    data_hash
        Hashes data by name, for chapters that name their data.
    has_data
        Whether real recordings are there, by name; by default all are.
    echo
        Told what happens, line by line.

    Returns
    -------
    Path
        The first page.

    Raises
    ------
    ConfigError
        If the settings cannot be used.
    NotebookError
        If chapters fail; logs and what they had computed are kept in
        ``_build/execution/``. Chapters that succeeded are not executed again.
    BookError
        If a page has a warning or a problem.

    Notes
    -----
    Book page: architecture.
    """
    root, started = Path(root).resolve(), time.perf_counter()
    remove_runtime_leftovers()
    if data_hash:
        data_hash = _hash_side_by_side(root, mode, data_hash, has_data, echo)
    book_chapters = chapters(root, mode, data_hash, has_data)
    stale = [chapter for chapter in book_chapters if not chapter.is_current]
    echo(f"Chapters: {len(book_chapters)} ({mode}), {len(stale)} to execute")
    if stale:
        _execute_all(stale, root, workers or count_cores(), timeout, echo)
    executed = time.perf_counter()

    first = root / "_build" / "html" / "index.html"
    state, stamp = _state_of_sources(root), root / "_build" / "book.json"
    if first.is_file() and _read(stamp) == state:
        echo("Pages: nothing has changed")
    else:
        stamp.unlink(missing_ok=True)
        _build_pages(root, documents(root), echo)
        write_text(stamp, json.dumps(state))
    provide_runtime(first.parent, echo)
    ended = time.perf_counter()
    echo(f"{first} ({executed - started:.1f} s chapters, {ended - executed:.1f} s pages)")
    return first


def _hash_side_by_side(
    root: Path, mode: str, data_hash: DataHash, has_data: Callable[[str], bool] | None, echo: Echo
) -> DataHash:
    """Hash every corpus that chapters name, one a core; what fails is raised where its hash is asked for.

    Synthetic corpora are made by this, mostly in code that lets other threads run.
    """

    def run(name: str) -> str:
        echo(f"Corpus: {name}")
        return data_hash(name)

    names: dict[str, str] = {}
    chapters(root, mode, lambda name: names.setdefault(name, ""), has_data)
    with ThreadPoolExecutor(count_cores()) as pool:
        hashes = {name: pool.submit(run, name) for name in names}
    return lambda name: hashes[name].result()


def _execute_all(stale: list[Chapter], root: Path, workers: int, timeout: float, echo: Echo) -> None:
    def run(chapter: Chapter, threads: int) -> Execution:
        def progress(cell: int, cells: int) -> None:
            echo(f"  {chapter.name}: cell {cell} of {cells}")

        echo(f"  {chapter.name}: starts ({', '.join(f'{k}={v}' for k, v in chapter.parameters.items()) or 'defaults'})")
        return execute(
            chapter.source,
            chapter.work,
            chapter.parameters,
            timeout=timeout,
            threads=threads,
            directory=root,
            progress=progress,
        )

    failures: list[str] = []
    waiting = {chapter.name: chapter for chapter in stale}
    pending: dict[Future[Execution], Chapter] = {}
    cores = max(count_cores(), workers)
    share = cores // min(workers, sum(not chapter.is_light for chapter in stale) or 1)
    needed = {chapter.name: 1 if chapter.is_light else share for chapter in stale}
    with ThreadPoolExecutor(cores) as pool:
        while waiting or pending:
            for chapter in [*waiting.values()]:
                running = [other.name for other in pending.values()]
                is_ready = not {*chapter.after} & {*waiting, *running}
                if is_ready and needed[chapter.name] + sum(needed[name] for name in running) <= cores:
                    pending[pool.submit(run, waiting.pop(chapter.name), needed[chapter.name])] = chapter
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                chapter = pending.pop(future)
                try:
                    execution = future.result()
                except NotebookError as error:
                    failures.append(str(error))
                    left = [other for other in waiting.values() if chapter.name in other.after]
                    for other in left:  # it would make the runs that failed again, and fail too
                        failures.append(f"{other.source}: not executed, since it reads the runs of {chapter.name}")
                        del waiting[other.name]
                    echo(f"  {chapter.name}: failed")
                else:
                    chapter.keep(execution)
                    echo(f"  {chapter.name}: done in {execution.seconds:.0f} s")
    if failures:
        raise NotebookError("\n".join(failures))


def _build_pages(root: Path, pages: list[str], echo: Echo) -> None:
    # Jupyter Book inherits the lock, so that a new build waits for what a killed one has started.
    with locked(root / "_build" / "lock") as lock:
        _build_pages_alone(root, pages, echo, () if lock is None else (lock,))


def _build_pages_alone(root: Path, pages: list[str], echo: Echo, inherited: tuple[int, ...]) -> None:
    build = root / "_build"
    html, log = build / "html", build / "book.log"
    if {path.relative_to(html).with_suffix("").as_posix() for path in html.glob("book/**/*.html")} - set(pages):
        shutil.rmtree(html)  # pages that are no longer in the table of contents
    unfinished = build / "unfinished"
    if unfinished.exists():  # by a kill: Sphinx would keep a page that is half written, and tell no warning again
        for folder in (html, build / ".doctrees"):
            shutil.rmtree(folder, ignore_errors=True)
    unfinished.touch()
    echo("Pages: building")
    command = [
        *(sys.executable, "-m", "audioattn_lib.automation.jupyter_book"),
        *("build", str(root), "-W", "-n", "--keep-going"),
    ]
    with open(log, "w", encoding="utf-8") as stream:
        code = subprocess.run(
            command, stdout=stream, stderr=subprocess.STDOUT, cwd=root, check=False, pass_fds=inherited
        ).returncode
    if code:
        problems = _problems_in(log)
    else:
        echo("Pages: checking")
        problems = check_pages(html, pages)
    unfinished.unlink()
    if problems:
        # Sphinx would not repeat its warnings for pages that it finds unchanged.
        shutil.rmtree(html / ".doctrees", ignore_errors=True)
        shutil.rmtree(build / ".doctrees", ignore_errors=True)
        raise BookError("\n".join([f"the book has {len(problems)} problem(s); the whole log is {log}", *problems]))


def _problems_in(log: Path) -> list[str]:
    lines = _COLOUR.sub("", log.read_text(encoding="utf-8", errors="replace")).splitlines()
    return [line for line in lines if "WARNING" in line or "ERROR" in line or "error:" in line.lower()] or lines[-20:]


def _state_of_sources(root: Path) -> dict[str, str]:
    """Hashes of everything that the pages are made of."""
    files: dict[str, str] = {}
    for folder in _SOURCES:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and ".ipynb_checkpoints" not in path.parts:
                files[path.relative_to(root).as_posix()] = file_hash(path)
    for pattern in _SOURCE_FILES:
        files |= {path.name: file_hash(path) for path in sorted(root.glob(pattern))}
    return {"files": key(files), "tools": key({name: metadata.version(name) for name in _TOOLS})}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _files(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name in ("root", "file"):
                yield value
            else:
                yield from _files(value)
    elif isinstance(node, list):
        for item in node:
            yield from _files(item)
