"""The list of runs: models, main scores, and the baseline and chance beside them; without PyTorch."""

import functools
import importlib
import json
import subprocess
import sys

import pandas as pd
import pytest
from command_line import call

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.experiments import EXPERIMENTS
from audioattn_lib.training.run_directory import Run, RunDirectory
from audioattn_lib.training.run_list import MODEL_FIELDS, chance_of, describe_run, headline, list_runs

CLIPS = [f"{number}.wav" for number in range(8)]
LABELS = ["dog", "dog", "dog", "siren"] * 2


def finish(root, key, accuracy, experiment="urban_sound", clips=CLIPS, **config):
    directory = RunDirectory(root / experiment / key)
    directory.write_json("config.json", {"data": "city", "fold": "1", "seed": 0, **config})
    directory.write_json("environment.json", {})
    directory.write_table("predictions.csv", pd.DataFrame({"clip": clips, "label": LABELS, "predicted": LABELS}))
    interval = {"of": "accuracy", "low": 0.25, "high": 0.75, "level": 0.95}
    directory.write_json("metrics.json", {"error": 1 - accuracy, "accuracy": accuracy, "interval": interval})
    return Run.load(directory.path)


@pytest.fixture
def runs(tmp_path):
    return {
        "a": finish(tmp_path, "aa01", 0.5, attention="softmax"),
        "b": finish(tmp_path, "bb02", 0.625, attention="triweight", seed=1),
        "linear": finish(tmp_path, "cc03", 0.375, baseline="linear"),
        "other fold": finish(tmp_path, "dd04", 0.25, baseline="linear", fold="2"),
    }


def test_a_line_has_the_model_first_then_the_main_score_the_baseline_and_chance(runs):
    expected = "softmax, fold 1, seed 0, accuracy 0.500 [0.250, 0.750], linear baseline 0.375, chance 0.750"
    assert describe_run(runs["a"]) == expected
    assert describe_run(runs["a"].summary(), [run.summary() for run in runs.values()]) == expected
    assert "linear baseline 0.375, chance" in describe_run(runs["b"]), "another seed, the same clips"
    assert describe_run(runs["linear"]).startswith("linear baseline, fold 1, seed 0, accuracy 0.375")


def test_a_baseline_of_other_clips_or_another_fold_is_none_of_a_run(tmp_path):
    run = finish(tmp_path, "aa01", 0.5, attention="softmax", seed=1)
    finish(tmp_path, "cc03", 0.375, baseline="linear", clips=[f"other {clip}" for clip in CLIPS])
    finish(tmp_path, "dd04", 0.25, baseline="linear", fold="2", seed=1)
    assert "baseline" not in describe_run(run)


def test_chance_is_the_most_frequent_class_a_random_order_of_labels_or_no_correlation():
    accuracy = {"accuracy": 0.5, "interval": {"of": "accuracy"}}
    assert chance_of(accuracy, LABELS) == 0.75
    precision = {"mean_average_precision": 0.5, "interval": {"of": "mean_average_precision"}}
    assert chance_of(precision, ["dog;siren", "dog", "", ""]) == (0.5 + 0.25) / 2
    assert chance_of({"spearman": 0.3, "intervals": {}}, ["1", "2"]) == 0.0
    assert chance_of({"train_loss": 0.3}, []) is None
    assert headline({"clips": 3}) is None


def test_the_fields_that_name_models_are_those_of_the_chapters():
    assert set(MODEL_FIELDS) == set(EXPERIMENTS)
    for experiment, field in MODEL_FIELDS.items():
        config = importlib.import_module(EXPERIMENTS[experiment]).Config
        assert experiment == "sleepiness" or hasattr(config.smoke(), field)
        assert field in config.COMPARED or experiment in ("sleepiness", "scenes_and_instruments")


def keys(root, *conditions):
    return {run.key for run in list_runs(root, conditions)}


def test_runs_are_chosen_by_their_fields(runs, tmp_path):
    assert keys(tmp_path) == {"aa01", "bb02", "cc03", "dd04"}
    assert keys(tmp_path, "attention=triweight") == keys(tmp_path, "seed=1") == keys(tmp_path, "key=bb") == {"bb02"}
    assert keys(tmp_path, "model=linear baseline", "fold=2") == {"dd04"}
    assert keys(tmp_path, "experiment=accents") == keys(tmp_path, "no_such_field=1") == set()
    with pytest.raises(ConfigError, match="write field=value"):
        list_runs(tmp_path, ["softmax"])
    with pytest.raises(ConfigError, match="no such folder of runs"):
        list_runs(tmp_path / "nowhere")


def test_damaged_and_unfinished_runs_are_listed_as_such(runs, tmp_path):
    (runs["a"].path / "config.json").write_text("{")
    (runs["b"].path / "metrics.json").unlink()
    results = {run.key: run.status for run in list_runs(tmp_path)}
    assert results == {"aa01": "damaged", "bb02": "unfinished", "cc03": "finished", "dd04": "finished"}


def test_the_command_prints_a_table_or_a_line_of_json_a_run(runs, tmp_path):
    table = functools.partial(call, "runs", "--runs", tmp_path)
    head, *rows = table("attention=softmax").stdout.splitlines()
    assert head.split()[:3] == ["experiment", "model", "score"]
    assert [row.split()[-1] for row in rows] == [str(runs["a"].path)]
    results = [json.loads(line) for line in table("--json").stdout.splitlines()]
    assert {each["key"]: each["score"]["value"] for each in results}["bb02"] == 0.625
    assert "no run with seed=9" in table("seed=9").stderr


def test_reading_runs_back_imports_no_pytorch(runs, tmp_path):
    program = (
        "import sys, audioattn_lib; from audioattn_lib.training.run_list import describe_run\n"
        f"run = audioattn_lib.Run.load({str(runs['a'].path)!r}); describe_run(run); run.attention\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
