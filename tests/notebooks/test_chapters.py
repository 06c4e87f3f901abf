"""Every notebook runs in smoke size, cell by cell, and as a plain papermill command."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from audioattn_lib.automation.execution import execute, runs_shown_in
from audioattn_lib.automation.notebooks import Notebook
from audioattn_lib.automation.strict_yaml import read_yaml
from audioattn_lib.experiments import EXPERIMENTS

pytestmark = [pytest.mark.notebook, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]


def notebooks(always: set[str]) -> list[object]:
    """All notebooks; the book executes them too, so those that say nothing new here are ``long``."""
    names = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    return [pytest.param(name, marks=() if name in always else pytest.mark.long) for name in names]


@pytest.mark.parametrize("name", notebooks({"primer"}))
def test_every_cell_passes_nbval(smoke_notebooks, name):
    options = ["--nbval-lax", "--nbval-cell-timeout=600", "-p", "no:cacheprovider", "-q", "--rootdir"]
    command = [sys.executable, "-m", "pytest", *options, str(smoke_notebooks), str(smoke_notebooks / f"{name}.ipynb")]
    done = subprocess.run(command, cwd=smoke_notebooks, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.parametrize("name", notebooks({"comparison"}))
def test_papermill_runs_them_from_a_shell_and_they_show_their_runs(root, tmp_path, name):
    smoke = read_yaml(root / "notebooks" / "book.yml").data[name]["smoke"]
    parameters = [word for key, value in smoke.items() for word in ("-p", key, str(value))]
    source, output = root / "notebooks" / f"{name}.ipynb", tmp_path / f"{name}.ipynb"
    command = [sys.executable, "-m", "papermill", str(source), str(output), *parameters, "--cwd", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    shows_its_runs(source, output)


def test_chapters_of_the_book_show_their_runs(root, built_book):
    """The book executes every notebook as papermill does."""
    executed = sorted((built_book / "book" / "chapters").glob("*.ipynb"))
    assert [path.name for path in executed] == sorted(path.name for path in (root / "notebooks").glob("*.ipynb"))
    for output in executed:
        shows_its_runs(root / "notebooks" / output.name, output)


def shows_its_runs(source: Path, executed: Path) -> None:
    shown = runs_shown_in(executed)
    experiments = {*EXPERIMENTS, "comparison"}
    trains = any(module.rpartition(".")[2] in experiments for module in Notebook(source).library_modules)
    assert bool(shown) == trains
    assert all({"experiment", "key", "path", "config", "metrics"} <= run.keys() for run in shown)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_no_chapter_stalls(root, tmp_path, name):
    """Fifty executions of a chapter with its explorer, of which the first trains: none hangs, none shows a widget."""
    smoke = read_yaml(root / "notebooks" / "book.yml").data[name]["smoke"]
    for number in range(50):
        done = execute(
            root / "notebooks" / f"{name}.ipynb",
            tmp_path / f"{number}.ipynb",
            smoke,
            timeout=600 if number == 0 else 120,
            directory=tmp_path,
        )
        assert "application/vnd.jupyter.widget" not in done.output.read_text(encoding="utf-8")
        done.output.unlink()


@pytest.mark.data
@pytest.mark.long
def test_a_pretrained_encoder_on_real_recordings(root, data_root, tmp_path):
    """The chapter on one's own model with the encoder of Whisper, which has no classes, on some real recordings."""
    table = pd.read_csv(data_root / "esc10" / "metadata.csv")
    some = table.groupby(["fold", "label"]).head(2)
    corpus = tmp_path / "recordings"
    for name in some["file_name"]:
        (corpus / name).parent.mkdir(parents=True, exist_ok=True)
        (corpus / name).symlink_to(data_root / "esc10" / name)
    some.to_csv(corpus / "metadata.csv", index=False)
    parameters = {
        "preset": "smoke",
        "data": str(corpus),
        "model": str(data_root / "encoders" / "whisper_tiny_en_encoder"),
        "epochs": 1,
    }
    done = execute(
        root / "notebooks" / "bring_your_own_model.ipynb", tmp_path / "out.ipynb", parameters, directory=tmp_path
    )
    page = done.output.read_text(encoding="utf-8")
    assert "whisper with no classes" in page
    assert "layers.3.self_attn" in page
    assert "Spectrogram of 30.0 s" not in page  # of padding nothing is shown
