"""A sixth experiment, made from the page that says how: its package and one line of the registry, nothing else.

And what all experiments have in common, so that the page stays true.
"""

import ast
import dataclasses
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from audioattn_lib.core.declarations import declared_fields
from audioattn_lib.experiments import EXPERIMENTS
from audioattn_lib.experiments.common.config import ExperimentConfig

USE = """
import json, pathlib, sys
from click.testing import CliRunner
from audioattn_lib.cli import audioattn
import audioattn_lib
from audioattn_lib.experiments import EXPERIMENTS, mean_pooling

sys.path.insert(0, sys.argv[1])
import library_pages

def run(*arguments):
    done = CliRunner().invoke(audioattn, list(arguments), prog_name="audioattn")
    assert done.exit_code == 0, done.output
    return done.output

study = mean_pooling.study(mean_pooling.Config.smoke(), folds="1, 2")
clip = study.example()[1]
trained = study.runs[0]
tested = mean_pooling.prepare(mean_pooling.Config.smoke()).clip(str(trained.predictions["clip"][0]))
heard = audioattn_lib.load(trained.path / "model").listen((tested.samples, tested.sample_rate))
smoke = ("train", "mean_pooling", "--preset", "smoke")
evaluated = run(*smoke, "--pretrained", str(trained.path), "--epochs", "0", "--fold", "1")
print(json.dumps({
    "files": sorted(path.name for path in trained.path.iterdir()),
    "table": study.table()["score"].to_dict(),
    "verdict": study.verdict(),
    "bundle": [len(rows) for rows in study._repr_mimebundle_().values() if isinstance(rows, list)],
    "same": mean_pooling.run(mean_pooling.Config.smoke(fold="1"), "runs").key == trained.key,
    "parameters": sum(p.numel() for p in mean_pooling.load_model(trained).parameters()),
    "heard": [heard.prediction.label, str(trained.predictions["predicted"][0])],
    "help": run("train", "mean_pooling", "--help"),
    "config": json.loads(run(*smoke, "--hidden-size", "4", "--print-config")),
    "wrong": CliRunner().invoke(audioattn, [*smoke, "--hidden-size", "0"]).output,
    "sweep": run(*smoke, "--fold", "all", "--pooling", "all"),
    "evaluated": evaluated,
    "page": list(library_pages._fields(mean_pooling.Config)),
    "modules": library_pages.public_modules("audioattn_lib.experiments"),
    "others": sorted(set(EXPERIMENTS) - {"mean_pooling"}),
}))
"""


@pytest.fixture(scope="module")
def sixth(root, tmp_path_factory):
    """Commands in a checkout with the example of the page."""
    checkout = tmp_path_factory.mktemp("sixth")
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("audioattn_lib", "book/_ext"):
        shutil.copytree(root / folder, checkout / folder, ignore=ignored)
    shutil.copy(root / "_toc.yml", checkout)
    folder = checkout / "audioattn_lib" / "experiments"
    page = (folder / "README.md").read_text(encoding="utf-8")
    files = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", page, re.DOTALL)
    (line,) = re.findall(r'^    "mean_pooling": ".*",\n', page, re.MULTILINE)
    (folder / "mean_pooling").mkdir()
    for name, content in files:
        (folder / "mean_pooling" / name).write_text(content, encoding="utf-8")
    registry = folder / "__init__.py"
    text = registry.read_text(encoding="utf-8")
    registry.write_text(text.replace("= {\n", "= {\n" + line, 1), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-c", USE, str(checkout / "book" / "_ext")],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_it_is_trained_tested_and_read_back(sixth):
    files = {"config.json", "environment.json", "history.csv", "metrics.json", "predictions.csv", "checkpoint"}
    assert files <= set(sixth["files"])
    assert sixth["same"]
    assert sixth["parameters"] == (80 + 1) * 8 + (8 + 1) * 10


def test_it_hears_a_sound_as_in_its_test(sixth):
    actual, expected = sixth["heard"]
    assert actual == expected


def test_its_study_stands_beside_the_baseline_and_chance(sixth):
    assert list(sixth["table"]) == ["mean", "maximum", "linear", "chance"]
    assert "scores highest" in sixth["verdict"]
    assert sixth["bundle"] == [6]  # two poolings and the baseline on two folds


def test_it_is_a_command_with_an_option_for_each_field(sixth):
    told = " ".join(sixth["help"].split())
    assert "Units of the hidden layer, at least 1. [default: 64; smoke 8]" in told
    assert sixth["config"]["hidden_size"] == 4
    assert "hidden_size is 0; it must be at least 1" in sixth["wrong"]


def test_it_is_swept_over_folds_and_poolings(sixth):
    runs = re.findall(r"^fold (\d), (\w+): accuracy", sixth["sweep"], re.MULTILINE)
    assert runs == [(fold, name) for fold in "123" for name in ("mean", "maximum")]
    assert "maximum, mean and standard deviation over 3 folds: accuracy" in sixth["sweep"]


def test_its_weights_are_evaluated_alone(sixth):
    assert sixth["evaluated"].startswith("runs/mean_pooling/")


def test_it_has_its_place_in_the_book(sixth):
    assert any("`hidden_size` | units of the hidden layer | at least 1 | 64; smoke: 8" in row for row in sixth["page"])
    assert "audioattn_lib.experiments.mean_pooling.experiment" in sixth["modules"]


def body_of_run(name):
    module = importlib.import_module(EXPERIMENTS[name])
    file = Path(module.__file__).parent / ("training.py" if name == "sleepiness" else "experiment.py")
    wanted = "autoencode" if name == "sleepiness" else "run"
    function = next(
        node
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == wanted
    )
    return [ast.unparse(statement) for statement in function.body[1:]]


def test_run_reads_the_same_in_every_chapter():
    bodies = {name: body_of_run(name) for name in EXPERIMENTS}
    sleepiness = bodies.pop("sleepiness")  # two runs: the first is trained, the second reads its features
    assert len({tuple(body) for body in bodies.values()}) == 1, bodies
    assert sleepiness[-1].startswith("return make_run(open_run(__name__, NAME, config, prepared, root")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_hands_on_the_same_names(name):
    module = importlib.import_module(EXPERIMENTS[name])
    assert name == module.NAME
    for name in ("Config", "prepare", "build_model", "run", "baseline", "study", "load_model"):
        assert name in module.__all__
    assert issubclass(module.Config, ExperimentConfig)
    assert all(field.help for field in declared_fields(module.Config).values())
    for preset in module.Config.PRESETS:
        made = module.Config.preset(preset)
        assert module.Config(**dataclasses.asdict(made)) == made
    for field, values in module.Config.COMPARED.items():
        assert tuple(values) == declared_fields(module.Config)[field].choices
