"""Laws of an execution: whole or not at all, failures kept, time limited."""

import json
import threading

import pytest

from audioattn_lib.automation import RUN_MIMETYPE, execution
from audioattn_lib.automation.execution import NotebookError, execute, runs_shown_in
from audioattn_lib.core.errors import ConfigError

pytestmark = pytest.mark.notebook


def said(log):
    return [line for line in log.read_text().splitlines() if line.strip()]


def outputs(path):
    cells = json.loads(path.read_text())["cells"]
    return "".join("".join(out.get("text", "")) for cell in cells for out in cell.get("outputs", []))


def test_an_execution_is_kept_whole_without_times(notebook, tmp_path):
    path = notebook("import os\nprint(n, name, os.environ['OMP_NUM_THREADS'], os.environ['X'], os.getcwd())")
    source, seen = path.read_bytes(), []
    done = execute(
        path,
        tmp_path / "out" / "a{b}.ipynb",  # papermill formats paths
        {"n": 4},
        threads=3,
        environment={"X": "y"},
        directory=tmp_path,
        progress=lambda cell, cells: seen.append((cell, cells)),
    )
    assert outputs(done.output) == f"4 x 3 y {tmp_path}\n"
    assert said(done.log) == [f"4 x 3 y {tmp_path}"]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert "papermill" not in done.output.read_text()
    assert '"id": "injected-parameters"' in done.output.read_text(), "and not random"
    assert sorted(file.name for file in done.output.parent.iterdir()) == ["a{b}.ipynb", "a{b}.log"]
    assert path.read_bytes() == source


def test_what_a_kernel_says_in_its_cells_is_logged_and_what_it_says_when_it_stops_is_not(notebook, tmp_path):
    path = notebook(
        "import atexit, os\nos.write(2, b'below python\\n')\natexit.register(os.write, 2, b'stopping')\nprint('here')"
    )
    assert said(execute(path, tmp_path / "out.ipynb").log) == ["below python", "here"]


def test_a_failed_notebook_is_kept_beside_its_place(notebook, tmp_path):
    path = notebook("print('before')", "1 / n", "print('after')")
    output = tmp_path / "out.ipynb"
    execute(path, output)
    good = output.read_bytes()
    with pytest.raises(NotebookError, match=r"In \[4\]: ZeroDivisionError: division by zero .*out\.failed\.ipynb"):
        execute(path, output, {"n": 0})
    assert output.read_bytes() == good
    assert "before" in outputs(tmp_path / "out.failed.ipynb")
    assert "ZeroDivisionError" in (tmp_path / "out.log").read_text()
    execute(path, output)
    assert not (tmp_path / "out.failed.ipynb").exists()


def test_a_cell_that_takes_too_long_is_stopped(notebook, tmp_path):
    path = notebook("import time\nprint('here')\ntime.sleep(60)")
    with pytest.raises(NotebookError, match=r"a cell took longer than 1 s; raise the time limit"):
        execute(path, tmp_path / "out.ipynb", timeout=1)
    assert (tmp_path / "out.failed.ipynb").exists()


def test_a_kernel_that_dies_says_so_and_is_not_run_again(notebook, tmp_path):
    path = notebook("open('ran', 'a').write('once ')\nimport os\nos._exit(1)")
    with pytest.raises(NotebookError, match="the kernel died, most often because memory ran out"):
        execute(path, tmp_path / "out.ipynb", directory=tmp_path)
    assert (tmp_path / "ran").read_text() == "once "


def test_a_kernel_that_dies_before_it_starts_is_started_again(notebook, tmp_path, monkeypatch):
    real, calls = execution._papermill, []

    def flaky(*arguments, **settings):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("Kernel died before replying to kernel_info")
        real(*arguments, **settings)

    monkeypatch.setattr(execution, "_papermill", flaky)
    execute(notebook("1"), tmp_path / "out.ipynb")
    assert len(calls) == 2
    calls.clear()
    with pytest.raises(NotebookError, match="Kernel died before replying"):
        execute(notebook("1"), tmp_path / "out.ipynb", attempts=1)


def test_parallel_executions_do_not_meet(notebook, tmp_path):
    path = notebook("import os\nprint(name, os.getcwd())")
    failures = []

    def one(name):
        (tmp_path / name).mkdir()
        seen = []
        done = execute(
            path,
            tmp_path / name / "out.ipynb",
            {"name": name},
            directory=tmp_path / name,
            progress=lambda cell, cells: seen.append(cell),
        )
        expected = f"{name} {tmp_path / name}"
        if (outputs(done.output), said(done.log), seen) != (f"{expected}\n", [expected], [1, 2, 3]):
            failures.append((outputs(done.output), done.log.read_text(), seen))

    threads = [threading.Thread(target=one, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_parameters_are_checked_before_a_kernel_starts(notebook, tmp_path):
    with pytest.raises(ConfigError, match="no parameter 'm'"):
        execute(notebook("1"), tmp_path / "out.ipynb", {"m": 1})
    with pytest.raises(ConfigError, match="timeout is 0"):
        execute(notebook("1"), tmp_path / "out.ipynb", timeout=0)
    assert not (tmp_path / "out.log").exists()


def test_runs_are_read_from_what_the_notebook_shows(notebook, tmp_path):
    run = {"experiment": "e", "key": "k", "path": "runs/e/k", "config": {"n": 1}, "metrics": {"accuracy": 0.5}}
    path = notebook(
        "from IPython.display import display\n"
        f"display({{{RUN_MIMETYPE!r}: [{run!r}], 'text/plain': ''}}, raw=True)\n"
        f"display({{{RUN_MIMETYPE!r}: [{run!r}, {run | {'key': 'l'}!r}], 'text/plain': ''}}, raw=True)"
    )
    done = execute(path, tmp_path / "out.ipynb")
    assert [run["key"] for run in runs_shown_in(done.output)] == ["k", "l"]
    assert runs_shown_in(done.output)[0] == run


def test_injected_parameters_are_hidden_where_the_parameters_are(notebook, tmp_path):
    path = notebook("1")
    content = json.loads(path.read_text())
    content["cells"][1]["metadata"]["tags"].append("remove-input")
    path.write_text(json.dumps(content))
    cells = json.loads(execute(path, tmp_path / "out.ipynb", {"n": 4}).output.read_text())["cells"]
    assert cells[2]["metadata"]["tags"] == ["injected-parameters", "remove-input"]
