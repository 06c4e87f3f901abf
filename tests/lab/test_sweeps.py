"""A sweep in JupyterLab: it runs, stops and goes on; results are a list, rows open runs, two are compared."""

import signal
import time

import nbformat
import pandas as pd
import pytest

from audioattn_lib import lab
from audioattn_lib.lab.calls import Note

pytest.importorskip("anywidget")


@pytest.fixture
def explorer(city, tmp_path, monkeypatch):
    from audioattn_lib.lab.sweeps import SweepExplorer

    study, _ = city
    (tmp_path / "runs").symlink_to(study.runs[0].path.parents[1])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("n = 1", metadata={"tags": ["parameters"]})])
    nbformat.write(notebook, tmp_path / "small.ipynb")
    (tmp_path / "trial.yml").write_text("notebook: small.ipynb\ngrid:\n  n: [1, 2]\n")
    folder = tmp_path / "sweeps" / "trial"
    folder.mkdir(parents=True)
    rows = [[run.config["attention"], f"urban_sound/{run.key}", run["accuracy"]] for run in study.runs]
    pd.DataFrame(rows, columns=["attention", "run", "accuracy"]).to_csv(folder / "results.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return SweepExplorer("trial.yml")


def test_results_are_a_list_whose_rows_open_their_runs(city, explorer):
    study, _ = city
    assert [row["attention"] for row in explorer.runs.rows] == ["sparsemax", "triweight"]
    assert "0 of 2 jobs" in explorer.status.value
    explorer.runs.selected = f"urban_sound/{study.runs[1].key}"
    assert "triweight" in explorer.opened.value


def test_two_runs_are_compared_by_settings_that_differ_and_scores(city, explorer):
    study, _ = city
    explorer.runs.selected = f"urban_sound/{study.runs[1].key}"
    explorer.second.value = f"urban_sound/{study.runs[0].key}"
    page = explorer.opened.value
    assert "<td>attention</td><td>triweight</td><td>sparsemax</td>" in page
    assert "<td>seed</td>" not in page
    difference = study.runs[1]["accuracy"] - study.runs[0]["accuracy"]
    assert f"{difference:+.3g}" in page


def test_without_a_person_there_is_a_note():
    assert isinstance(lab.sweep("nothing.yml"), Note)


WAITS = """from pathlib import Path
import time
while n and not Path("go").exists():
    time.sleep(0.05)"""
"""A job that ends by itself for n = 0, and else once it may."""


def test_a_sweep_that_is_stopped_keeps_what_is_done_and_goes_on(tmp_path, monkeypatch, request):
    from audioattn_lib.lab.sweeps import SweepExplorer

    cells = [nbformat.v4.new_code_cell("n = 0", metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(WAITS)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "small.ipynb")
    (tmp_path / "trial.yml").write_text("notebook: small.ipynb\ngrid:\n  n: [0, 1]\n")
    monkeypatch.chdir(tmp_path)
    explorer = SweepExplorer("trial.yml")
    explorer.stop()  # nothing runs: nothing happens
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in what a shell starts in the background
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    explorer.run_button.click()
    assert explorer.run_button.disabled
    assert not explorer.stop_button.disabled
    process = explorer._process
    request.addfinalizer(explorer.stop)
    log = tmp_path / "sweeps" / "trial.log"
    for _ in range(600):  # two minutes at most: the machine may be busy
        if "1 of 2 jobs done" in explorer.status.value:
            break
        assert process.poll() is None, log.read_text()
        time.sleep(0.2)
        explorer.look()  # as the thread that follows it does
    else:
        pytest.fail(f"{explorer.status.value}: {log.read_text()}")
    jobs = (tmp_path / "sweeps" / "trial" / "jobs").glob("*.ipynb")
    (kept,) = (path for path in jobs if "." not in path.stem)
    written = kept.stat().st_mtime_ns
    explorer.stop_button.click()
    process.wait(60)
    explorer.look()
    assert "1 of 2 jobs done" in explorer.status.value
    assert "failed" not in explorer.status.value
    assert not explorer.run_button.disabled
    (tmp_path / "go").touch()
    explorer.run_button.click()
    assert explorer._process.wait(120) == 0
    explorer.look()
    assert "2 of 2 jobs done" in explorer.status.value
    assert kept.stat().st_mtime_ns == written, "what was done is done again"
