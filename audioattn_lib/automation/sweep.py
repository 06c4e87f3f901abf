"""Sweeps: executions of one notebook over a grid of parameters, in parallel, and their results.

Each job is one process with a kernel of its own. A job whose key has been done
is not done again, so an interrupted sweep continues when it is started again,
and a failed job does not stop the others. The same code serves two cores and a
cluster: jobs are handed out by Dask.

``sweeps/<name>/`` holds ``jobs/<key>.ipynb`` (and ``.log``, and
``.failed.ipynb`` for a failure), ``results.csv`` and ``index.html``.

Book page: batch.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from audioattn_lib.automation import report
from audioattn_lib.automation.execution import (
    count_cores,
    execute,
    remove_runtime_leftovers,
    runs_shown_in,
    runtime_directory,
)
from audioattn_lib.automation.grid import Grid
from audioattn_lib.automation.notebooks import DataHash
from audioattn_lib.core.errors import AudioAttnError, ConfigError
from audioattn_lib.core.files import remove_leftovers, write_text

__all__ = ["CLUSTERS", "Job", "SweepResult", "sweep"]

CLUSTERS: Final = ("local", "slurm", "pbs", "sge", "lsf")
"""Schedulers for the workers of a sweep."""

_CLUSTER_CLASSES: Final = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "sge": "SGECluster", "lsf": "LSFCluster"}


@dataclass
class Job:
    """One execution of a sweep.

    Parameters
    ----------
    key
        Its identity; names its files.
    parameters
        What it gives to the notebook.
    status
        ``"waiting"``, ``"running"``, ``"done"``, ``"kept"`` (done by an
        earlier sweep) or ``"failed"``.
    seconds
        Duration; of the earlier execution when it was kept.
    error
        Why it failed.

    Notes
    -----
    Book page: batch.
    """

    key: str
    parameters: Mapping[str, Any]
    status: str = "waiting"
    seconds: float = 0.0
    error: str = ""
    started: float = field(default=0.0, repr=False)


@dataclass(frozen=True)
class SweepResult:
    """Result of a sweep: jobs, table of results and page.

    Parameters
    ----------
    jobs
        All jobs in the order of the file.
    rows
        Results, one row a run.
    table
        The CSV file with the results.
    page
        The HTML page with the results and the failures.

    Notes
    -----
    Book page: batch.
    """

    jobs: tuple[Job, ...]
    rows: tuple[report.Row, ...]
    table: Path
    page: Path

    @property
    def failures(self) -> tuple[Job, ...]:
        """Jobs that failed."""
        return tuple(job for job in self.jobs if job.status == "failed")


def sweep(
    file: str | Path,
    directory: str | Path = "sweeps",
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    cluster: str = "local",
    timeout: float = 24 * 3600.0,
    data_hash: DataHash | None = None,
    watch: Callable[[Grid, list[Job]], Any] | None = None,
) -> SweepResult:
    """Execute every job of a sweep that has not been done, and write the results.

    Parameters
    ----------
    file
        The sweep file, see :class:`~audioattn_lib.automation.grid.Grid`.
    directory
        Folder for all sweeps; this one goes to a folder with its name.
    workers
        Jobs at the same time, at least 1. When not given: one a GPU, or one a
        processor core when there is no GPU.
    scheduler
        Address of a running Dask scheduler (``tcp://host:port``) that has
        workers already; its workers see the same folders.
    cluster
        ``"local"`` starts workers here; ``"slurm"``, ``"pbs"``, ``"sge"`` and
        ``"lsf"`` ask that queue for them through dask-jobqueue, with the
        settings in its configuration file.
    timeout
        Seconds that one cell may take.
    data_hash
        Hashes data by name, for the key of a notebook that names its data.
    watch
        Called with the sweep and its jobs every second and after every change.

    Raises
    ------
    ConfigError
        If the file or an option cannot be used, before anything runs. Failed
        jobs raise nothing: see :attr:`SweepResult.failures`.

    Notes
    -----
    Book page: batch.
    """
    if cluster not in CLUSTERS:
        raise ConfigError(f"cluster is {cluster!r}; it must be one of {', '.join(CLUSTERS)}")
    if scheduler is not None and (cluster != "local" or workers is not None):
        raise ConfigError("scheduler names workers that run already; leave out cluster and workers")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers is {workers}; it must be at least 1")
    grid = Grid.read(file)
    folder = Path(directory).resolve() / grid.name
    done = folder / "jobs"
    done.mkdir(parents=True, exist_ok=True)
    for path in (folder, done):
        remove_leftovers(path)
    remove_runtime_leftovers()
    jobs = [Job(grid.notebook.key(parameters, data_hash), parameters) for parameters in grid.jobs]
    for job in jobs:
        if (done / f"{job.key}.ipynb").exists():
            job.status, job.seconds = "kept", _seconds(done / f"{job.key}.json")
    waiting = [job for job in jobs if job.status == "waiting"]

    def look() -> None:
        if watch is not None:
            watch(grid, jobs)

    try:
        look()
        if waiting:
            gpus = _count_gpus() if scheduler is None and cluster == "local" else 0
            count = workers or min(len(waiting), gpus or count_cores())
            with _connect(count, scheduler, cluster) as client:
                threads = max(1, count_cores() // count) if scheduler is None and cluster == "local" else None
                _run_all(client, grid, waiting, done, timeout, threads, gpus, look)
    finally:  # also when interrupted: what is done is shown
        result = _write_results(grid, jobs, folder)
    remove_runtime_leftovers()  # of workers that lived on for a moment after the sweep that was killed
    return result


def _run_all(
    client: Any,
    grid: Grid,
    waiting: list[Job],
    done: Path,
    timeout: float,
    threads: int | None,
    gpus: int,
    look: Callable[[], None],
) -> None:
    from distributed import wait

    source, directory = grid.notebook.path.resolve(), os.getcwd()
    futures = {}
    for index, job in enumerate(waiting):
        output = done / f"{job.key}.ipynb"
        arguments = (source, output, dict(job.parameters), timeout, threads, gpus, directory)
        futures[job.key] = client.submit(_run_job, *arguments, key=job.key, pure=False, priority=-index)
    open_jobs = {job.key: job for job in waiting}
    while open_jobs:
        with suppress(TimeoutError):
            wait([futures[name] for name in open_jobs], timeout=1.0, return_when="FIRST_COMPLETED")
        running = {str(name) for names in client.processing().values() for name in names}
        for name, job in list(open_jobs.items()):
            future = futures[name]
            if name in running and job.status == "waiting":
                job.status, job.started = "running", time.time()
            if future.status in ("finished", "error", "cancelled", "lost"):
                _settle(job, future, done)
                del open_jobs[name]
        look()


def _settle(job: Job, future: Any, done: Path) -> None:
    if future.status == "finished":
        job.seconds, job.error = future.result()
    else:  # the worker is gone: the system ended it, most often because memory ran out
        job.error = f"the worker process died, most often because memory ran out ({future.exception()})"
    job.status = "failed" if job.error else "done"
    text = json.dumps({"parameters": dict(job.parameters), "seconds": job.seconds, "error": job.error}, indent=1)
    write_text(done / f"{job.key}.json", text + "\n")


def _run_job(
    notebook: Path,
    output: Path,
    parameters: dict[str, Any],
    timeout: float,
    threads: int | None,
    gpus: int,
    directory: str,
) -> tuple[float, str]:
    """One job, on a worker: its duration and, when it failed, why."""
    from distributed import get_worker

    environment = {}
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        environment["CUDA_VISIBLE_DEVICES"] = visible[int(get_worker().name) % len(visible)]
    started = time.perf_counter()
    try:
        execute(
            notebook,
            output,
            parameters,
            timeout=timeout,
            threads=threads,
            environment=environment,
            directory=directory,
        )
    except AudioAttnError as error:
        return time.perf_counter() - started, str(error)
    return time.perf_counter() - started, ""


@contextmanager
def _connect(workers: int, scheduler: str | None, cluster: str) -> Iterator[Any]:
    try:
        import dask
        import distributed
    except ImportError:
        raise ConfigError("a sweep needs Dask; install the extra: pip install -e '.[sweep]'") from None
    # A job is handed to a worker when the worker is free, and never given to a second one when the first dies.
    settings: dict[str, Any] = {
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.scheduler.allowed-failures": 0,
        "distributed.scheduler.work-stealing": False,
    }
    if scheduler is not None:
        try:
            client = distributed.Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            raise ConfigError(f"scheduler {scheduler}: cannot be reached ({error}); is it running?") from None
        with client:
            yield client
        return
    with ExitStack() as stack:
        if cluster == "local":
            settings["temporary-directory"] = str(stack.enter_context(runtime_directory()))
        stack.enter_context(dask.config.set(settings))
        if cluster == "local":
            with _interrupts_ignored():
                dask_cluster: Any = distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=":0",  # any free port: two sweeps do not clash
                    memory_limit=0,  # the memory is the kernels', not the workers'
                    silence_logs=50,
                )
        else:
            try:
                import dask_jobqueue
            except ImportError:
                raise ConfigError(f"cluster {cluster} needs dask-jobqueue: pip install dask-jobqueue") from None
            dask_cluster = getattr(dask_jobqueue, _CLUSTER_CLASSES[cluster])()
            dask_cluster.scale(jobs=workers)
        with dask_cluster, distributed.Client(dask_cluster) as client:
            yield client


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started inside leave Ctrl-C to this one, which ends them in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _write_results(grid: Grid, jobs: list[Job], folder: Path) -> SweepResult:
    runs: dict[str, tuple[dict[str, Any], Job]] = {}
    for job in jobs:
        if job.status in ("done", "kept"):
            for run in runs_shown_in(folder / "jobs" / f"{job.key}.ipynb"):
                # several jobs may show the same run, a baseline for instance
                runs.setdefault(f"{run['experiment']}/{run['key']}", (run, job))
    configs = {name: report.flatten(run["config"]) for name, (run, _) in runs.items()}
    varying = report.varying(configs.values())
    rows: list[report.Row] = []
    for name, (run, job) in runs.items():
        config = configs[name]
        varied = {field: config.get(field, "") for field in varying}
        files = {"notebook": f"jobs/{job.key}.ipynb", "log": f"jobs/{job.key}.log"}
        fixed = {f"config.{field}": value for field, value in config.items() if field not in varying}
        rows.append({**varied, "run": name, **report.flatten(run["metrics"]), **files, **fixed})
    failures = []
    for job in jobs:
        if job.status == "failed":
            varied = {name: job.parameters.get(name) for name in grid.varying}
            failures.append({"parameters": varied, "error": job.error, "log": f"jobs/{job.key}.log"})
    table, page = folder / "results.csv", folder / "index.html"
    write_text(table, report.table(rows))
    write_text(page, report.page(f"Sweep {grid.name}", rows, varying=varying, failures=failures))
    return SweepResult(tuple(jobs), tuple(rows), table, page)


def _seconds(record: Path) -> float:
    try:
        return float(json.loads(record.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _count_gpus() -> int:
    """GPUs that this process may use; asked of the driver, since importing torch takes seconds."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
