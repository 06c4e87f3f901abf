"""One folder of runs for a checkout, whether a notebook runs in JupyterLab or in the book."""

from pathlib import Path

from audioattn_lib.experiments.common.runs import runs_folder


def test_notebooks_of_a_checkout_share_its_runs(tmp_path, monkeypatch):
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    monkeypatch.chdir(notebooks)
    assert runs_folder("runs") == Path("runs"), "any other folder of this name"
    (notebooks / "book.yml").touch()
    (tmp_path / "_toc.yml").touch()
    assert runs_folder("runs") == tmp_path / "runs"
    assert runs_folder(tmp_path / "elsewhere") == tmp_path / "elsewhere"
    monkeypatch.chdir(tmp_path)
    assert runs_folder("runs") == Path("runs")
