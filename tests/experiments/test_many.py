"""Runs in parallel processes are those that one process makes, and what exists is read back."""

import dataclasses

import pytest
import torch

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.experiments import urban_sound
from audioattn_lib.experiments.common.parallel import run_all
from audioattn_lib.experiments.common.runs import NotMadeError, only_read


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def configs():
    config = urban_sound.Config.smoke(epochs=1)
    return [dataclasses.replace(config, attention=name, fold="1") for name in ("softmax", "gaussian")]


def test_processes_make_the_runs_of_one_process(configs, two_threads, tmp_path):
    together = run_all(urban_sound.run, configs, tmp_path / "together", shown=("attention",))
    alone = urban_sound.run(configs[1], tmp_path / "alone")
    assert [run.config["attention"] for run in together] == ["softmax", "gaussian"]
    assert together[1].key == alone.key
    assert together[1].predictions["label"].equals(alone.predictions["label"])
    assert together[1].predictions["loss"].to_numpy() == pytest.approx(alone.predictions["loss"].to_numpy(), rel=1e-3)


def test_what_exists_is_read_back_and_what_is_missing_made(configs, monkeypatch, tmp_path):
    first = urban_sound.run(configs[0], tmp_path)
    with only_read():
        assert urban_sound.run(configs[0], tmp_path).key == first.key
        with pytest.raises(NotMadeError):
            urban_sound.run(configs[1], tmp_path)
    made = []
    monkeypatch.setattr(
        "audioattn_lib.experiments.urban_sound.experiment.fit_network",
        lambda *args, **kwargs: made.append(args) or pytest.fail("trained"),
    )
    assert run_all(urban_sound.run, configs[:1], tmp_path)[0].key == first.key
    assert not made


def test_an_error_in_a_process_is_raised_here(configs, two_threads, tmp_path):
    wrong = [dataclasses.replace(config, fold="17") for config in configs]
    with pytest.raises(ConfigError, match="17"):
        run_all(urban_sound.run, wrong, tmp_path)


def test_no_configuration_is_no_run(tmp_path):
    assert run_all(urban_sound.run, [], tmp_path) == []
