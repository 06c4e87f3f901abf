"""Laws of a sweep: every job once, failures kept, nothing done twice."""

import csv
import json
import re

import pytest

from audioattn_lib.automation import RUN_MIMETYPE
from audioattn_lib.automation import sweep as module
from audioattn_lib.automation.report import flatten, page, table, varying
from audioattn_lib.automation.sweep import sweep
from audioattn_lib.core.errors import ConfigError

SHOW_A_RUN = f"""
from IPython.display import display
import os
print("on", os.environ.get("CUDA_VISIBLE_DEVICES"))
metrics = {{"accuracy": n / 10, "evidence": {{"hits": n}}, "confusion": [[n]]}}
run = {{"experiment": "e", "key": f"k{{n}}", "path": "p", "config": {{"n": n, "width": 2}}, "metrics": metrics}}
baseline = {{"experiment": "e", "key": "base", "path": "p", "config": {{"width": 2}}, "metrics": {{"accuracy": 0.05}}}}
display({{{RUN_MIMETYPE!r}: [run, baseline], "text/plain": ""}}, raw=True)
"""


@pytest.fixture
def file(notebook, tmp_path):
    notebook("open('executed', 'a').write(f'{n} ')", "1 / n", SHOW_A_RUN)
    path = tmp_path / "trial.yml"
    path.write_text("notebook: small.ipynb\ngrid:\n  n: [1, 0, 2]\n")
    return path


@pytest.mark.notebook
def test_a_sweep_keeps_what_is_done_and_what_failed(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    result = sweep(file, "out", workers=2, watch=lambda grid, jobs: seen.append([job.status for job in jobs]))
    assert [job.status for job in result.jobs] == ["done", "failed", "done"]
    assert "ZeroDivisionError" in result.failures[0].error
    assert sorted((tmp_path / "executed").read_text().split()) == ["0", "1", "2"]
    assert seen[0] == ["waiting"] * 3
    assert seen[-1] == ["done", "failed", "done"]

    rows = list(csv.DictReader(result.table.read_text().splitlines()))
    assert [(row["n"], row["run"], row["accuracy"], row["evidence.hits"]) for row in rows] == [
        ("1", "e/k1", "0.1", "1"),
        ("", "e/base", "0.05", ""),
        ("2", "e/k2", "0.2", "2"),
    ]
    assert rows[0]["config.width"] == "2"
    text = result.page.read_text()
    assert "ZeroDivisionError" in text
    assert "http" not in text
    failed = result.failures[0].key
    assert (tmp_path / "out/trial/jobs" / f"{failed}.failed.ipynb").exists()

    # the same again: only the failed job runs; a longer grid runs only what is new
    (tmp_path / "executed").unlink()
    again = sweep(file, "out", workers=1)
    assert [job.status for job in again.jobs] == ["kept", "failed", "kept"]
    assert (tmp_path / "executed").read_text().split() == ["0"]
    file.write_text("notebook: small.ipynb\ngrid:\n  n: [1, 2, 3]\n")
    (tmp_path / "executed").unlink()
    assert [job.status for job in sweep(file, "out").jobs] == ["kept", "kept", "done"]
    assert (tmp_path / "executed").read_text().split() == ["3"]


@pytest.mark.notebook
def test_each_worker_has_a_gpu_of_its_own(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    file.write_text("notebook: small.ipynb\ngrid:\n  n: [1, 2]\n")
    result = sweep(file, "out")
    logs = [(tmp_path / "out/trial/jobs" / f"{job.key}.log").read_text() for job in result.jobs]
    assert all("on 5" in log for log in logs)


def test_gpus_are_counted_without_torch(monkeypatch):
    for value, count in {"": 0, "-1": 0, "0": 1, "0,3": 2, "GPU-a,GPU-b": 2}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert module._count_gpus() == count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers is 0; it must be at least 1"),
        ({"cluster": "cloud"}, "cluster is 'cloud'; it must be one of local, slurm"),
        ({"scheduler": "tcp://127.0.0.1:1", "workers": 2}, "leave out cluster and workers"),
    ],
)
def test_options_are_checked_before_anything_runs(file, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        sweep(file, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_scores_are_flattened_and_tables_have_every_column():
    assert flatten({"a": 1, "b": {"c": 0.5, "d": {"e": None}}, "f": [1]}) == {"a": 1, "b.c": 0.5, "b.d.e": None}
    assert table([{"a": 1}, {"b": "x,y"}]) == 'a,b\n1,\n,"x,y"\n'
    assert table([]) == "\n"


def test_fields_that_tell_runs_apart_are_those_that_differ_or_are_rare():
    runs = [{"attention": name, "epochs": 20, "data": "city"} for name in ("softmax", "sparsemax", "softmax")]
    baseline = {"baseline": "linear", "data": "city"}
    assert varying([*runs, baseline]) == ["attention", "baseline"]
    assert varying(runs[::2]) == []


def test_a_page_escapes_what_it_shows():
    rows = [{"name": "<b>", "fold": str(i), "accuracy": i / 4, "log": "a'b"} for i in range(3)]
    text = page("A & B", rows, varying=("name", "fold"), failures=[{"parameters": {"n": "<i>"}, "error": "<x>"}])
    assert "A &amp; B" in text
    assert "<b>" not in text
    assert "<i>" not in text
    assert "<x>" not in text
    assert "0.25 ± 0.25" in text
    assert "href='a&#x27;b'" in text


def test_a_record_that_is_damaged_costs_only_a_duration(tmp_path):
    assert module._seconds(tmp_path / "none.json") == 0
    (tmp_path / "a.json").write_text(json.dumps({"seconds": 2}))
    assert module._seconds(tmp_path / "a.json") == 2


def test_a_baseline_is_called_by_its_name():
    rows = [{"attention": name, "fold": fold, "score": 0.5} for name in ("softmax", "mean") for fold in ("1", "2")]
    rows += [{"baseline": "linear", "fold": fold, "score": 0.25} for fold in ("1", "2")]
    text = page("a sweep", rows, varying=["attention", "fold"])
    assert "<td>linear</td><td>2</td><td>0.25 ± 0</td>" in re.sub(r"\s*\n\s*", "", text)
