"""Several folds and mechanisms from one command: each line says what it is of, the last ones mean and deviation."""

import functools
import json
import re
import statistics

import pytest
from command_line import call
from layouts import LAYOUTS

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.experiments.accents import Config as Accents
from audioattn_lib.experiments.playback import Config as Playback
from audioattn_lib.experiments.scenes_and_instruments.config import Config as Scenes
from audioattn_lib.experiments.sleepiness import Config as Sleepiness
from audioattn_lib.experiments.urban_sound import Config
from audioattn_lib.training.run_directory import Run


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train on a corpus of four folds of six clips."""
    monkeypatch.chdir(tmp_path)
    data = LAYOUTS["own_table"](tmp_path / "data")
    monkeypatch.setattr("audioattn_lib.experiments.common.parallel.torch.get_num_threads", lambda: 1)  # no processes

    return functools.partial(call, "train", "urban_sound", "--preset", "smoke", "--data", data)


def test_all_folds_and_several_mechanisms_in_one_command(train):
    *lines, summary = train("--fold", "all").stdout.splitlines()
    assert [line.partition(" 0")[0] for line in lines] == [f"fold {fold}, softmax: accuracy" for fold in "1234"]
    runs = [Run.load(re.search(r"\((.*)\)$", line)[1]) for line in lines]
    assert [run.config["fold"] for run in runs] == list("1234")
    scores = [run.metrics["accuracy"] for run in runs]
    mean, deviation = statistics.mean(scores), statistics.stdev(scores)
    start = f"softmax, mean and standard deviation over 4 folds: accuracy {mean:.3f} +- {deviation:.3f}, "
    assert summary.startswith(start)
    again, other = train("--fold", "2", "--attention", "softmax,mean").stdout.splitlines()
    assert again == lines[1], "it is read back"
    assert other.startswith("fold 2, mean: accuracy")


def test_free_lists_of_folds(train):
    path = train("--train-folds", "2,3", "--valid-folds", "1", "--test-folds", "1").stdout.partition(":")[0]
    run = Run.load(path)
    assert (run.config["fold"], run.config["protocol"]) == ("1", "published"), "the epoch is chosen on test clips"
    assert run.config["train_folds"] == ["2", "3"]
    assert len(run.predictions) == run.metrics["n_clips"] == 6
    assert "it must be first, or 1 as in test_folds" in train("--fold", "2", "--test-folds", "1", code=2).stderr
    assert "train_folds and test_folds share 1" in train("--train-folds", "1", "--test-folds", "1", code=2).stderr


def test_several_configurations_are_printed(train):
    printed = json.loads(train("--fold", "1,2", "--attention", "all", "--print-config").stdout)
    assert len(printed) == 2 * len(Config.COMPARED["attention"])
    assert {each["fold"] for each in printed} == {"1", "2"}


def test_folds_of_a_configuration_may_be_written_in_any_way():
    expected = Config(train_folds=("2", "3"), valid_folds=("4",), test_folds=("1",))
    assert Config(train_folds=[2, 3], valid_folds=4, test_folds="1") == expected
    assert Config(train_folds="2, 3", valid_folds="4", test_folds=[1], fold=1) == expected
    assert expected.protocol == "nested"
    assert Config(valid_folds="4", fold="4").protocol == "published"


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        (("softmax", "continuous"), "gaussian"),
        (("sparsemax", "continuous"), "parabola"),
        (("triweight", "continuous"), "triweight"),
        (("biweight", "continuous"), "biweight"),
        (("gaussian", "continuous"), "gaussian"),
        (("softmax", "discrete"), "softmax"),
        (("entmax1333", "discrete"), "entmax1333"),
        (("sparsemax", ""), "sparsemax"),
    ],
)
def test_published_names_of_mechanisms(published, ours):
    name, domain = published
    assert Config(attention=name, attention_domain=domain) == Config(attention=ours)


@pytest.mark.parametrize(("name", "domain"), [("mean", "continuous"), ("triweight", "discrete"), ("softmax", "both")])
def test_names_that_a_domain_does_not_have(name, domain):
    with pytest.raises(ConfigError, match="must be one of"):
        Config(attention=name, attention_domain=domain)


@pytest.mark.parametrize("config", [Config, Accents, Playback, Scenes, Sleepiness])
def test_one_of_several_devices(config):
    assert config.preset("smoke", device="cuda:1").device == "cuda:1"
    for name in ("cuda:", "cpu:0", "gpu"):
        with pytest.raises(ConfigError, match="must be auto, cpu, cuda, or cuda:0 and so on"):
            config.preset("smoke", device=name)
