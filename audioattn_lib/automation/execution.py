"""Execution of one notebook with papermill in a separate kernel.

Kernels talk over sockets in the file system: parallel kernels cannot take each
other's TCP ports. Every cell has a time limit, since a stalled kernel would
otherwise hang for ever. An executed notebook appears whole or not at all; one
that failed is kept beside its place with what it had computed.

Book page: architecture.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from audioattn_lib.automation import RUN_MIMETYPE
from audioattn_lib.automation.notebooks import Notebook
from audioattn_lib.core.errors import AudioAttnError, ConfigError
from audioattn_lib.core.files import is_left, owner, write_text

__all__ = ["Execution", "NotebookError", "count_cores", "execute", "runs_shown_in"]

_ENGINE: Final = "audioattn"
_RUNTIME: Final = "aa-"
_LONGEST_SOCKET: Final = 90
"""Bytes of a socket's path that leave room for the kernel's suffix below the limit of 104 (macOS)."""
_START_TIMEOUT: Final = 120
_SECONDS_BETWEEN_SAVES: Final = 10

Progress = Callable[[int, int], None]
"""Callback with the number of the code cell that starts, and the number of code cells."""


class NotebookError(AudioAttnError, RuntimeError):
    """A notebook that failed; the message names its cell, the error, and where its remains and log are."""


@dataclass(frozen=True)
class Execution:
    """A notebook that ran to its end.

    Parameters
    ----------
    notebook
        The source.
    output
        The executed notebook.
    log
        What its cells printed.
    parameters
        Values that replaced defaults.
    seconds
        Duration.
    """

    notebook: Path
    output: Path
    log: Path
    parameters: Mapping[str, Any]
    seconds: float


def execute(
    notebook: str | Path,
    output: str | Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    timeout: float = 3600.0,
    threads: int | None = None,
    environment: Mapping[str, str] | None = None,
    directory: str | Path | None = None,
    attempts: int = 2,
    progress: Progress | None = None,
) -> Execution:
    """Execute a notebook with other parameters and keep the result.

    Parameters
    ----------
    notebook
        The source, never changed.
    output
        Where the executed notebook goes. It replaces what is there only once
        it is whole. A failed one is kept as ``<output>.failed.ipynb``, what
        the cells print as ``<output>.log``.
    parameters
        Values for parameters of the notebook; plain literals.
    timeout
        Seconds that one cell may take, above 0.
    threads
        Threads of the numerical libraries in the kernel, at least 1; None
        leaves them alone.
    environment
        Variables for the kernel on top of those of this process.
    directory
        Working directory of the kernel; the present one when not given.
    attempts
        How often to start the kernel when it dies before it has started, at
        least 1. A notebook that began to run is never run again.
    progress
        Told about each code cell before it runs.

    Raises
    ------
    ConfigError
        If the notebook cannot be read, or does not take a parameter.
    NotebookError
        If a cell fails or takes too long, or the kernel dies.

    Notes
    -----
    Book page: architecture.
    """
    source, output = Path(notebook), Path(output)
    if timeout <= 0 or attempts < 1 or (threads is not None and threads < 1):
        raise ConfigError(
            f"timeout is {timeout}, attempts {attempts}, threads {threads}; all are above 0 (threads may be None)"
        )
    parameters = Notebook(source).checked(parameters or {})
    missing = [name for name in ("papermill", "ipykernel") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{' and '.join(missing)}: not installed, and notebooks need it; pip install 'audioattn[book]'"
        )
    variables = dict(os.environ) | dict(environment or {})
    variables.pop("JPY_SESSION_NAME", None)  # set inside JupyterLab; here nobody watches
    if threads is not None:
        variables |= {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    output.parent.mkdir(parents=True, exist_ok=True)
    partial, failed = output.with_suffix(".partial.ipynb"), output.with_suffix(".failed.ipynb")
    log = output.with_suffix(".log")
    started = time.perf_counter()
    for attempt in range(1, attempts + 1):
        try:
            with open(log, "w", encoding="utf-8") as stream, runtime_directory() as runtime:
                run = functools.partial(
                    _papermill,
                    source,
                    partial,
                    parameters,
                    runtime=runtime,
                    variables=variables,
                    directory=os.getcwd() if directory is None else os.fspath(directory),
                    cell_timeout=timeout,
                    log=stream,
                    progress=progress,
                )
                _in_own_loop(run)
            break
        except Exception as error:
            if attempt < attempts and _died_before_starting(error):
                continue
            if partial.exists():
                os.replace(partial, failed)
            with open(log, "a", encoding="utf-8") as stream:
                print(error, file=stream)
            raise NotebookError(_explain(source, error, timeout, failed, log)) from error
    content = json.loads(partial.read_text(encoding="utf-8"))
    _tidy(content)
    write_text(output, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    partial.unlink(missing_ok=True)
    failed.unlink(missing_ok=True)
    return Execution(source, output, log, parameters, time.perf_counter() - started)


def runs_shown_in(notebook: str | Path) -> list[dict[str, Any]]:
    """Runs that an executed notebook shows, in order, each once.

    Returns
    -------
    list of dict
        Each with ``experiment``, ``key``, ``path``, ``config`` and
        ``metrics``: the content of its outputs of type
        :data:`~audioattn_lib.automation.RUN_MIMETYPE`.

    Raises
    ------
    ConfigError
        If the notebook cannot be read.

    Notes
    -----
    Book page: architecture.
    """
    distinct: dict[tuple[str, str], dict[str, Any]] = {}
    for cell in Notebook(Path(notebook)).content["cells"]:
        for shown in cell.get("outputs", []):
            runs = shown.get("data", {}).get(RUN_MIMETYPE, [])
            for run in runs if isinstance(runs, list) else [runs]:
                if not _is_run(run):
                    raise ConfigError(f"{notebook}: an output of type {RUN_MIMETYPE} holds no run; execute it again")
                distinct.setdefault((run["experiment"], run["key"]), run)
    return list(distinct.values())


def _is_run(shown: Any) -> bool:
    if not isinstance(shown, dict):
        return False
    kinds = {"experiment": str, "key": str, "config": dict, "metrics": dict}
    return all(isinstance(shown.get(name), kind) for name, kind in kinds.items())


def _in_own_loop(run: Callable[[], None]) -> None:
    """Run in a thread with a separate event loop, which is closed afterwards.

    papermill would leave a loop open, and could not run where one runs
    already, as in a notebook. The thread is a daemon: an interrupt ends the
    program at once, and kernels end with their parent.
    """
    from jupyter_core.utils import ensure_event_loop

    result: Future[None] = Future()

    def target() -> None:
        loop = ensure_event_loop()
        try:
            run()
        except BaseException as error:
            result.set_exception(error)
        else:
            result.set_result(None)
        finally:
            loop.close()

    thread = threading.Thread(target=target, name="papermill", daemon=True)
    thread.start()
    thread.join()
    result.result()


@functools.cache
def _register_engine() -> None:
    """Teach papermill to run a notebook in a kernel that talks over sockets in ``runtime``.

    Everything about one execution is given with it: executions in other
    threads use the same engine.
    """
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines
    from traitlets.config import Config

    class Client(PapermillNotebookClient):  # type: ignore[misc]
        end: int | None = None

        def papermill_execute_cells(self) -> None:
            super().papermill_execute_cells()
            self.end = os.lseek(self.stdout_file.fileno(), 0, os.SEEK_CUR)  # shared with the kernel, which writes too

    class KernelOverSockets(NBClientEngine):
        @classmethod
        def execute_managed_notebook(
            cls,
            nb_man: Any,
            kernel_name: str,
            *,
            runtime: Path,
            variables: Mapping[str, str],
            directory: str,
            cell_timeout: float,
            log: IO[str],
            progress: Progress | None,
            **_: Any,
        ) -> None:
            code = [i for i, cell in enumerate(nb_man.nb.cells) if cell.cell_type == "code"]

            def on_cell_start(cell: Any, cell_index: int) -> None:
                if progress is not None and cell_index in code:
                    progress(code.index(cell_index) + 1, len(code))

            config = Config()
            config.KernelManager.transport = "ipc"
            config.KernelManager.connection_file = str(runtime / "k.json")
            client = Client(
                nb_man,
                config=config,
                kernel_name=kernel_name,
                timeout=max(1, round(cell_timeout)),
                startup_timeout=_START_TIMEOUT,
                stdout_file=log,
                stderr_file=log,
                on_cell_start=on_cell_start,
            )
            save, nb_man.save = nb_man.save, _seldom(nb_man.save)
            try:
                client.execute(env=dict(variables), cwd=directory, stdout=log, stderr=log)
            finally:
                nb_man.save = save  # papermill saves once more at the end, whatever happened
            if client.end is not None:  # a kernel that is told to stop may say that something interrupted it
                log.truncate(client.end)

    papermill_engines.register(_ENGINE, KernelOverSockets)


def _seldom(save: Callable[..., None]) -> Callable[..., None]:
    """Save at most every ten seconds: papermill writes the whole notebook before and after every cell."""
    latest = time.monotonic()

    def save_if_it_is_time(**options: Any) -> None:
        nonlocal latest
        if time.monotonic() - latest >= _SECONDS_BETWEEN_SAVES:
            save(**options)
            latest = time.monotonic()

    return save_if_it_is_time


@contextmanager
def _without_iri_grammar() -> Iterator[None]:
    """Keep jsonschema from building a grammar of IRIs at import, half of papermill's time: a notebook has none."""
    name = "rfc3987_syntax"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # import then raises ImportError, which jsonschema expects
    try:
        yield
    finally:
        del sys.modules[name]


def _papermill(source: Path, partial: Path, parameters: dict[str, Any], **settings: Any) -> None:
    with _without_iri_grammar():
        import nbformat
        import papermill

    _register_engine()
    # Given as an object: papermill would expand braces in a path.
    node = nbformat.read(source, as_version=4)
    kernel = node.metadata.get("kernelspec", {})
    papermill.execute_notebook(
        node,
        _escaped(partial),
        parameters,
        engine_name=_ENGINE,
        progress_bar=False,
        kernel_name=kernel.get("name") or "python3",
        language=kernel.get("language") or "python",
        **settings,
    )


def _escaped(path: Path) -> str:
    return str(path).replace("{", "{{").replace("}", "}}")


@contextmanager
def runtime_directory() -> Iterator[Path]:
    """A new folder with a short path, for a socket's path is limited by the system; removed after the block."""
    remove_runtime_leftovers()
    runtime = Path(tempfile.mkdtemp(prefix=f"{_RUNTIME}{owner()}-", dir=_runtime_parent()))
    try:
        yield runtime
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


def _runtime_parent() -> str:
    folder = tempfile.gettempdir()
    return "/tmp" if len(os.fsencode(folder)) > _LONGEST_SOCKET - 35 and os.path.isdir("/tmp") else folder


def remove_runtime_leftovers() -> None:
    """Remove the runtime folders that killed processes of this user left in the temporary directory."""
    for left in Path(_runtime_parent()).glob(f"{_RUNTIME}*"):
        machine, process, *rest = [*left.name.removeprefix(_RUNTIME).split("-"), ""]
        with suppress(OSError):
            if rest and hasattr(os, "getuid") and left.stat().st_uid == os.getuid() and is_left(machine, process, left):
                shutil.rmtree(left, ignore_errors=True)


def _died_before_starting(error: Exception) -> bool:
    from nbclient.exceptions import DeadKernelError

    if isinstance(error, DeadKernelError) or not isinstance(error, RuntimeError):
        return False
    return "Kernel died before replying" in str(error) or "Kernel didn't respond" in str(error)


def _explain(source: Path, error: Exception, timeout: float, failed: Path, log: Path) -> str:
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    remains = f"what it had computed: {failed}, what it printed: {log}" if failed.exists() else f"log: {log}"
    if isinstance(error, PapermillExecutionError):
        return f"{source}, In [{error.exec_count}]: {error.ename}: {error.evalue} ({remains})"
    if isinstance(error, CellTimeoutError):
        return f"{source}: a cell took longer than {timeout:g} s; raise the time limit or ask for less ({remains})"
    if isinstance(error, DeadKernelError):
        return f"{source}: the kernel died, most often because memory ran out ({remains})"
    return f"{source}: {type(error).__name__}: {error} ({remains})"


def _tidy(content: dict[str, Any]) -> None:
    """Remove times and random names, in which two executions differ, and show parameters as the author wants."""
    content["metadata"].pop("papermill", None)
    shown: list[str] = []
    for cell in content["cells"]:
        for name in ("papermill", "execution"):
            cell["metadata"].pop(name, None)
        tags = cell["metadata"].get("tags", [])
        if "parameters" in tags:
            shown = [tag for tag in tags if tag.startswith(("remove-", "hide-"))]
        elif "injected-parameters" in tags:
            tags.extend(shown)
            if "id" in cell:
                cell["id"] = "injected-parameters"


def count_cores() -> int:
    """Processor cores that this process may use; in a container that can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
