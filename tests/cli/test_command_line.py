"""Laws of the command line: help everywhere, one clean line for a mistake, the library's own defaults."""

import dataclasses
import html
import importlib
import json
import re
import subprocess
import sys
from typing import Annotated

import click
import pytest
from click.testing import CliRunner
from command_line import call

from audioattn_lib.cli import audioattn
from audioattn_lib.cli.fields import given, options_of
from audioattn_lib.core.declarations import Range
from audioattn_lib.experiments import EXPERIMENTS


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Call ``audioattn`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return call


def commands(group=audioattn, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


EVERY = dict(commands())


@pytest.mark.parametrize("path", [path for path in EVERY if path != ("bench",)], ids=" ".join)
def test_every_command_explains_itself(run, path):
    text = run(*path, "--help").output
    purpose = text.split("\n\n")[1].strip()
    assert purpose
    assert len(purpose.splitlines()[0]) <= 80
    assert "Example" in text
    for parameter in EVERY[path].get_params(click.Context(EVERY[path])):
        if isinstance(parameter, click.Option) and "--help" not in parameter.opts:
            assert parameter.help, f"{' '.join(path)}: {parameter.name} has no help"


def test_the_program_and_the_module_are_the_same():
    ways = (["-m", "audioattn_lib"], ["-c", "from audioattn_lib.cli import main; main()"])
    texts = [
        subprocess.run([sys.executable, *way, "--help"], capture_output=True, text=True, check=True).stdout
        for way in ways
    ]
    assert texts[0] == texts[1]
    assert texts[0].startswith("Usage: audioattn ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "check", "nowhere"], "no corpus 'nowhere'"),
        (["run", "nothing.ipynb"], "nothing.ipynb: cannot be read"),
        (["sweep", "nothing.yml"], "nothing.yml: cannot be read"),
        (["attention", "export", "nothing"], "nothing: no such run directory"),
        (["attention", "plot", "nothing"], "nothing: no such run directory"),
        (["play", "nothing"], "nothing: no such run directory"),
        (["train", "urban_sound", "--epochs", "0"], "epochs is 0; it must be at least 1"),
        (["data", "synthesise", "city", "here", "--n-folds", "1"], "n_folds is 1; it must be at least 2"),
    ],
)
def test_a_mistake_is_one_clean_line(run, arguments, message):
    result = run(*arguments, code=2)
    assert result.stderr.startswith("audioattn: ")
    assert message in result.stderr
    assert "Traceback" not in result.output + result.stderr


def test_debug_shows_where_an_error_came_from():
    result = CliRunner().invoke(audioattn, ["--debug", "sweep", "nothing.yml"])
    assert result.exit_code == 1
    assert type(result.exception).__name__ == "ConfigError"


@dataclasses.dataclass
class Settings:
    """Settings.

    Parameters
    ----------
    rate
        Learning rate, above 0.
    widths, names
        Several values,
        over two lines.

    Raises
    ------
    ConfigError
        Never.
    """

    rate: float = 0.5
    widths: tuple[float, ...] = (0.1, 0.5)
    names: tuple[str, ...] = ("a", "b")
    fused: bool = True
    seed: Annotated[int, Range("[0, inf)"), "seed of everything"] = 3


def test_fields_become_options_with_their_help_and_defaults():
    command = click.Command(
        "train", params=options_of(Settings), callback=lambda **values: click.echo(sorted(given(values).items()))
    )
    text = CliRunner().invoke(command, ["--help"]).output
    assert "Learning rate, above 0.  [default: 0.5]" in text
    assert "Seed of everything, at least 0.  [default: 3]" in text
    assert "--fused / --no-fused" in text
    assert " ".join(text.split()).count("Several values, over two lines. [default: 0.1,0.5]") == 1
    assert CliRunner().invoke(command, []).output == "[]\n"
    result = CliRunner().invoke(command, ["--no-fused", "--widths", "1, 2", "--seed", "0"])
    assert result.output == "[('fused', False), ('seed', 0), ('widths', (1.0, 2.0))]\n"
    assert "is not a list of float" in CliRunner().invoke(command, ["--widths", "x"]).output


def test_every_field_of_an_experiment_is_an_option_with_help():
    for name, module in EXPERIMENTS.items():
        config = importlib.import_module(module).Config
        options = {option.name: option for option in options_of(config)}
        assert set(options) == {field.name for field in dataclasses.fields(config)}, name
        for option in options.values():
            assert not option.help.startswith("  [default"), f"{name}: {option.name} has no help"


def test_corpora_are_listed(run):
    assert run("data", "list").output.startswith("city ")


def test_a_city_is_made_checked_and_not_overwritten(run, tmp_path):
    small = ["--clips-per-class", 2, "--n-folds", 2, "--duration", 2, "--classes", "siren,dog_bark"]
    result = run("data", "synthesise", "city", "mine", *small)
    assert "mine: 4 clips" in result.output
    assert len(list((tmp_path / "mine").rglob("*.flac"))) + len(list((tmp_path / "mine").rglob("*.wav"))) == 4
    assert "4 clips" in run("data", "check", "mine").output
    assert "is not empty" in run("data", "synthesise", "city", "mine", *small, code=2).stderr
    victim = next((tmp_path / "mine").rglob("*.flac"), None) or next((tmp_path / "mine").rglob("*.wav"))
    victim.unlink()
    assert victim.name in run("data", "check", "mine", code=1).output


@pytest.fixture
def notebook(tmp_path):
    cells = [
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "n = 3  # n\nname = 'x'  # name"},
        {"cell_type": "code", "metadata": {}, "source": "print(n, repr(name))"},
    ]
    for index, cell in enumerate(cells):
        cell |= {"id": f"c{index}", "outputs": [], "execution_count": None}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    path = tmp_path / "small.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    return path


@pytest.mark.notebook
def test_a_notebook_runs_with_values_of_the_kind_of_their_defaults(run, notebook, tmp_path):
    result = run("run", notebook, "-p", "n", "4", "-p", "name", "5", "-o", "page.html")
    assert result.output.splitlines()[-2:] == ["page.ipynb", "page.html"]
    assert "4 '5'" in (tmp_path / "page.ipynb").read_text()
    assert "4 '5'" in html.unescape((tmp_path / "page.html").read_text())
    assert "must be a whole number" in run("run", notebook, "-p", "n", "x", code=2).stderr


@pytest.mark.notebook
def test_a_sweep_without_a_terminal_prints_a_line_a_job(run, notebook, tmp_path):
    (tmp_path / "s.yml").write_text("notebook: small.ipynb\ngrid:\n  n: [1, 2]\n")
    result = run("sweep", "s.yml", "--workers", "1")
    assert "0 results of 2 jobs: " in result.output
    lines = sorted(line.split(" (")[0] for line in result.stderr.splitlines())
    assert lines == ["1/2 done n=1", "2/2 done n=2"]
    assert "kept n=1" in run("sweep", "s.yml").stderr


def test_the_table_of_a_sweep_says_what_runs_and_what_is_left(tmp_path):
    import io
    from types import SimpleNamespace

    from rich.console import Console

    from audioattn_lib.automation.sweep import Job
    from audioattn_lib.cli.live import SweepView

    screen = io.StringIO()
    grid = SimpleNamespace(name="trial", varying=("n",))
    jobs = [Job("a", {"n": 1}, "done", 5.0), Job("b", {"n": 2}, "running"), Job("c", {"n": 3})]
    with SweepView(Console(file=screen, force_terminal=True, width=80)) as view:
        view.update(grid, jobs)
    assert "trial: 1 running, 1 done, 1 waiting; about" in re.sub(r"\x1b\[[0-9;?]*[a-z]", "", screen.getvalue())


@pytest.mark.notebook
def test_commands_outside_a_checkout_say_where_to_go(run, monkeypatch):
    from audioattn_lib.cli import batch

    monkeypatch.setattr(batch, "__file__", "/nowhere/audioattn_lib/cli/batch.py")
    assert "is in no checkout of the project" in run("book", code=2).stderr
    assert "is in no checkout of the project" in run("bench", code=2).stderr


def test_a_configuration_is_printed_whole_and_nothing_is_trained(run, tmp_path):
    printed = run("train", "scenes_and_instruments", "--preset", "nsynth", "--pattern", "per_row_6", "--print-config")
    content = json.loads(printed.stdout)
    assert {"size": "published", "warmup_epochs": 100, "epochs": 20, "pattern": "per_row_6"}.items() <= content.items()
    assert not (tmp_path / "runs").exists()


def test_help_shows_what_a_preset_changes(run):
    text = " ".join(run("train", "urban_sound", "--help").output.split())
    assert "[default: 15; smoke 1; recordings 30; paper 20; ecapa 25; frozen 10]" in text
    text = " ".join(run("train", "accents", "--help").output.split())
    assert "Settings to start from: default, smoke, recordings, paper, accent." in text
    assert "[default: 8; smoke 2; paper 32; accent 32]" in text
    assert "label, accent, speaker, ... [default: label]" in text
    assert "[default: empty]" in text


def test_the_weights_of_a_run_bring_its_settings_unless_a_preset_is_named(run, tmp_path):
    tiny = ["--preset", "smoke", "--pooling", "MHA", "--embedding-size", "6"]
    said = run("train", "accents", *tiny).stdout
    path = said.split(":")[0]
    other = "accents?speakers_per_accent=3&clips_per_speaker=1&n_folds=3&duration=(1.0,1.2)&seed=4"
    weights = f"{path}/checkpoint/best.safetensors"
    for source in (path, weights):
        printed = run("train", "accents", "--pretrained", source, "--epochs", 0, "--data", other, "--print-config")
        content = json.loads(printed.stdout)
        assert {"pooling": "multi_head", "embedding_size": 6, "epochs": 0, "fold": "first"}.items() <= content.items()
    printed = run("train", "accents", "--pretrained", path, "--preset", "accent", "--print-config")
    assert json.loads(printed.stdout)["embedding_size"] == 400
    evaluated = run("train", "accents", "--pretrained", weights, "--epochs", 0, "--data", other).stdout
    assert evaluated.startswith("runs/accents/")
    assert evaluated.split(":")[0] != path
    refused = run("train", "accents", "--pretrained", "nothing", code=2).stderr
    assert "there is no such run directory or file of weights" in refused


def test_named_configurations_are_presets(run):
    text = " ".join(run("train", "scenes_and_instruments", "--help").output.split())
    assert "Or, also behind one of these and a comma: mixup, nomixup, passt, passt_s_20sec," in text
    content = json.loads(run("train", "scenes_and_instruments", "--preset", "passt_s_20sec", "--print-config").output)
    assert content["size"] == "passt_s_f128_20sec_p16_s10_ap474"
    assert content["data"] == "tau_urban"
    content = json.loads(run("train", "playback", "--preset", "epic", "--print-config").output)
    assert content["tasks"] == "verb,noun"


def test_annotations_that_documenting_leaves_in_a_configuration_do_not_matter(monkeypatch):
    from audioattn_lib.core import declarations
    from audioattn_lib.experiments.sleepiness.config import Config

    monkeypatch.setitem(Config.__annotations__, "COMPARED", "ClassVar[Mapping[str, int]]")
    declarations.declared_fields.cache_clear()
    assert Config.default(top_db=40).top_db == 40.0
    declarations.declared_fields.cache_clear()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands(shell, monkeypatch):
    from click.shell_completion import get_completion_class

    completion = get_completion_class(shell)(audioattn, {}, "audioattn", "_AUDIOATTN_COMPLETE")
    results = {item.value for item in completion.get_completions([], "l") + completion.get_completions(["data"], "")}
    assert {"listen", "check", "list"} <= results
    assert "_AUDIOATTN_COMPLETE" in completion.source_template % completion.source_vars()


def test_the_help_of_training_names_what_a_configuration_has():
    train = importlib.import_module("audioattn_lib.cli.train")
    for name, module in EXPERIMENTS.items():
        config = importlib.import_module(module).Config
        assert [*config.COMPARED] == ([train._COMPARED[name]] if name in train._COMPARED else [])
        assert ("fold" in {field.name for field in dataclasses.fields(config)}) == (name in train._WITH_FOLDS)
