"""Two processes that train together give what one process gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from command_line import call
from safetensors.torch import load_file
from shared_training import CASES, train, train_killed

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.ranks import RankInfo, rank_info
from audioattn_lib.training.loop import select_device
from audioattn_lib.training.run_directory import Run

HERE = Path(__file__).parent
TIMINGS = ["seconds", "clips_per_second"]
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
"""Of weights after three epochs: sums over clips in another order, which Adam's first steps make larger."""


ENVIRONMENT = {
    "WORLD_SIZE": "4",
    "RANK": "3",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


def torchrun(*arguments, processes=2, **options):
    """Start several processes, each with one thread and an address of its own to meet at."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=300, env=environment, **options
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Everything that two processes do, in one start: importing torch takes longest."""
    root = tmp_path_factory.mktemp("distributed")
    train_killed(root / "one_then_two", 4)
    done = torchrun(HERE / "shared_training.py", root)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
    assert "Warning" not in done.stderr
    return root


def told(root):
    return [json.loads((root / f"told_{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


def weights(path, name="best.safetensors"):
    return load_file(path / "checkpoint" / name)


def last(path):
    return load_file(next((path / "checkpoint").glob("last-*.safetensors")))


def history(path):
    return pd.read_csv(path / "history.csv").drop(columns=TIMINGS)


def assert_close(match, expected, **tolerance):
    assert match.keys() == expected.keys()
    for name, tensor in expected.items():
        if not name.startswith("rng/"):
            torch.testing.assert_close(match[name], tensor, msg=lambda text, n=name: f"{n}: {text}", **tolerance)


def test_processes_tell_each_other(root):
    for each in told(root):
        assert each["sums"] == [2.0, 1.0]
        assert each["gathered"] == [{"rank": 0, "text": ""}, {"rank": 1, "text": "ä"}]
        assert each["told"] == "from 0"


def test_the_gradient_of_two_is_the_gradient_of_one(root):
    assert max(each["gradient_error"] for each in told(root)) < 1e-14


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_weights_and_the_history_of_one(root, tmp_path, case):
    options = CASES[case]
    tolerance = {"rtol": 0.05, "atol": 0.01} if case == "bfloat16" else TOLERANCE
    train(tmp_path, **options)
    two = root / "two" / case
    assert_close(last(two), last(tmp_path), **tolerance)
    assert_close(weights(two), weights(tmp_path), **tolerance)
    pd.testing.assert_frame_equal(history(two), history(tmp_path), **tolerance)
    if case == "patience":
        assert len(history(two)) < options["epochs"]


@pytest.mark.cuda
def test_two_devices_give_the_weights_of_one(tmp_path):
    if torch.cuda.device_count() < 2:
        pytest.skip("one CUDA device; NCCL wants one for each process")
    done = torchrun(HERE / "shared_training.py", tmp_path, "cuda")
    assert done.returncode == 0, done.stderr
    for case, options in CASES.items():
        if case != "bfloat16":
            train(tmp_path / "one" / case, device="cuda", **{"precision": "float32", **options})
            assert_close(last(tmp_path / "two" / case), last(tmp_path / "one" / case), **TOLERANCE)


@pytest.mark.slow
def test_the_command_line_trains_in_two_processes(tmp_path):
    chapter = "scenes_and_instruments"
    command = [
        "train",
        chapter,
        "--preset",
        "smoke",
        "--device",
        "cpu",
        "--average",
        "ema",
        "--batch-size",
        "7",
        "--runs",
    ]
    call(*command, tmp_path / "one")
    done = torchrun("-m", "audioattn_lib", *command, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, "one process speaks"
    runs = [Run.load(next((tmp_path / name / chapter).iterdir())) for name in ("one", "two")]
    assert runs[0].key == runs[1].key
    assert [run.environment["processes"] for run in runs] == [1, 2]
    pd.testing.assert_frame_equal(runs[0].predictions, runs[1].predictions, rtol=1e-3, atol=1e-4)
    pd.testing.assert_frame_equal(history(runs[0].path), history(runs[1].path), **TOLERANCE)


@pytest.mark.parametrize("command", [["sweep", "grid.yml"], ["book"]])
def test_what_starts_processes_itself_is_not_for_torchrun(monkeypatch, command):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    result = call(*command, code=2)
    assert "torchrun started 4 processes of" in result.output


def test_a_killed_run_of_two_resumes_to_the_same_weights(root):
    whole, resumed = root / "two" / "dropout", root / "two" / "resumed"
    for name, tensor in last(whole).items():
        assert torch.equal(tensor, last(resumed)[name]), name
    pd.testing.assert_frame_equal(history(whole), history(resumed))


def test_one_process_goes_on_in_two_and_two_in_one(root, tmp_path):
    train(tmp_path)
    train(root / "two_then_one")
    for path in (root / "one_then_two", root / "two_then_one"):
        assert_close(last(path), last(tmp_path), **TOLERANCE)
        pd.testing.assert_frame_equal(history(path), history(tmp_path), **TOLERANCE)


def test_dropout_differs_between_processes(root, tmp_path):
    train(tmp_path, dropout=0.4)
    first, two = last(tmp_path)["model/last.weight"], last(root / "two" / "dropout")["model/last.weight"]
    assert not torch.allclose(first, two, rtol=1e-3)


def test_all_processes_stop_at_a_loss_that_is_not_finite_and_name_its_clips(root):
    first, second = (each["nan"] for each in told(root))
    assert first == second
    assert "the loss is nan at step" in first
    assert "5.wav" in first


def test_parameters_that_have_no_part_in_the_loss_are_named(root):
    for each in told(root):
        assert "2 parameters have no part in the loss (idle.weight, idle.bias)" in each["idle"]


def test_one_process_tests_and_writes_and_the_others_read_what_it_made(root):
    assert (root / "two" / "made" / "tested.txt").read_text() == "once\n"
    assert [each["keys"] for each in told(root)] == [["made", "made"]] * 2


def test_without_torchrun_a_process_is_alone(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert rank_info() == RankInfo(0, 1, 0)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert rank_info().is_main


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": ""}, "RANK is missing from the environment; start the program with torchrun"),
        ({"MASTER_ADDR": "", "MASTER_PORT": ""}, "MASTER_ADDR, MASTER_PORT are missing"),
        ({"RANK": "4"}, "RANK 4, WORLD_SIZE 4"),
        ({"LOCAL_RANK": "first"}, "whole numbers"),
    ],
)
def test_an_environment_that_is_not_whole_says_what_is_missing(monkeypatch, change, message):
    for name, value in {**ENVIRONMENT, **change}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        rank_info()


def test_each_process_has_the_device_of_its_number(monkeypatch):
    devices = []
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    assert rank_info() == RankInfo(3, 4, 1)
    assert select_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", devices.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert select_device("auto") == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match="under torchrun each process has its own; use cuda"):
        select_device("cuda:0")
    assert devices == [torch.device("cuda", 1)]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="at least 2 processes on this machine, which has 1 CUDA devices"):
        select_device("cuda")
