"""Run directories and checkpoints that were edited or damaged: an error that names file and field."""

import itertools
import json
import shutil

import numpy as np
import pytest
import torch
from hostile import SEEDS, Attack, copy_seed, mutations, trials
from safetensors import safe_open

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.core.declarations import check_declared
from audioattn_lib.core.errors import ConfigError, RunError
from audioattn_lib.experiments import urban_sound
from audioattn_lib.experiments.common.config import restore_config
from audioattn_lib.models.weights import read_weights
from audioattn_lib.training.checkpoint import load_best, load_checkpoint, save_best
from audioattn_lib.training.run_directory import Run

FILES = sorted(path.name for path in (SEEDS / "run").iterdir())


def network() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    return model, torch.optim.AdamW(model.parameters())


def look(path) -> None:
    """Everything that is read of a run."""
    run = Run.load(path)
    _ = run.classes, run.summary(), run.curves
    record = run.attention
    for clip in range(len(record)):
        record.frame_attention(clip)
        record.support(clip)


@pytest.mark.parametrize("name", FILES)
def test_damaged_runs(tmp_path, name):
    attack = Attack("run directories")
    assert attack.trial("whole", lambda: look(SEEDS / "run")) == "result"
    for number, (what, damaged) in enumerate(mutations((SEEDS / "run" / name).read_bytes(), trials(60), seed=8)):
        path = tmp_path / str(number)
        shutil.copytree(SEEDS / "run", path)
        (path / name).write_bytes(damaged)
        attack.trial(f"{name}, {what}", lambda path=path: look(path), str(path / name))
    attack.check()


def without(table: str, row: int | None) -> str:
    lines = table.splitlines()
    return "\n".join(lines[:1] if row is None else [*lines, lines[row]]) + "\n"


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("predictions.csv", lambda text: without(text, None), "predictions.csv: has no row"),
        ("predictions.csv", lambda text: without(text, 1), "predictions.csv: the clip 'a.wav' is predicted twice"),
        ("predictions.csv", lambda text: text.replace("clip", "sound"), "predictions.csv: has no column clip"),
        ("predictions.csv", lambda text: text.replace("0.9", "high"), "the column probability_x holds something else"),
        ("predictions.csv", lambda text: "", "predictions.csv: not readable"),
        ("config.json", lambda text: "[]", "config.json: holds list, not an object"),
        ("config.json", lambda text: "[" * 100_000, "config.json: not readable .nested too deeply"),
        ("metrics.json", lambda text: "9" * 5000, "metrics.json: not readable"),
    ],
)
def test_a_run_that_was_edited(tmp_path, name, change, says):
    path = copy_seed("run", tmp_path)
    (path / name).write_text(change((path / name).read_text()))
    with pytest.raises(RunError, match=says):
        Run.load(path)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("n_frames", None, "n_frames is missing"),
        ("clips", None, "array 'clips' is missing"),
        ("clock", None, "array 'clock' is missing"),
        ("clock", np.array([1.0]), "clock is"),
        ("clock", np.array([np.nan, 0]), "clock is"),
        ("n_frames", np.array([3, 400]), "weights has 4 frames, n_frames says 400"),
        ("n_frames", np.array([-1, 3]), "n_frames must be whole numbers"),
        ("n_frames", np.array([1.5, 3]), "n_frames must be whole numbers"),
        ("weights", np.zeros((2, 4)), "weights has shape"),
        ("weights", np.array(["a"]), "weights is of type"),
        ("clips", np.array("a"), "clips is no list"),
    ],
)
def test_attention_of_arrays_that_do_not_fit(tmp_path, field, value, says):
    with np.load(SEEDS / "run" / "attention.npz") as file:
        arrays = dict(file)
    arrays.pop(field)
    if value is not None:
        arrays[field] = value
    np.savez(tmp_path / "attention.npz", **arrays)
    with pytest.raises(RunError, match=rf"attention\.npz: .*{says}"):
        AttentionRecord.load(tmp_path / "attention.npz")


def test_the_configuration_of_a_run_is_checked(tmp_path):
    path = copy_seed("run", tmp_path)
    for changes, says in (({"speed": 3}, "no field is called speed"), ({"epochs": "x"}, "epochs is 'x'")):
        content = {"data": "city"} | changes
        (path / "config.json").write_text(json.dumps(content))
        with pytest.raises(RunError, match=rf"config\.json: {says}"):
            restore_config(urban_sound.Config, Run.load(path))
    check_declared(restore_config(urban_sound.Config, Run.load(copy_seed("run", tmp_path / "whole"))))


def state_of(model, optimizer):
    return (
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        json.dumps(optimizer.state_dict(), default=str),
        torch.get_rng_state(),
    )


def load_or_leave(path) -> None:
    """A checkpoint is loaded as a whole or changes nothing."""
    torch.manual_seed(5)
    model, optimizer = network()
    before = state_of(model, optimizer)
    try:
        load_checkpoint(path, model, optimizer)
    except RunError:
        after = state_of(model, optimizer)
        assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
        assert before[1] == after[1]
        assert torch.equal(before[2], after[2])
        raise


@pytest.mark.parametrize("name", ["last.json", "last-00000003.safetensors"])
def test_damaged_checkpoints(tmp_path, name):
    attack = Attack("checkpoints")
    content = (SEEDS / "checkpoint" / name).read_bytes()
    assert attack.trial("whole", lambda: load_or_leave(SEEDS / "checkpoint")) == "result"
    for number, (what, damaged) in enumerate(mutations(content, trials(150), seed=9)):
        path = tmp_path / str(number)
        shutil.copytree(SEEDS / "checkpoint", path)
        (path / name).write_bytes(damaged)
        end = attack.trial(f"{name}, {what}", lambda path=path: load_or_leave(path), str(path / "last.json"))
        if end == "result" and name == "last.json":
            assert json.loads(damaged) == json.loads(content), "only layout may change unnoticed"
        else:
            assert end != "result" or damaged == content, what
    attack.check()


def test_damaged_weights(tmp_path):
    attack = Attack("weights")
    torch.manual_seed(0)
    whole = network()[0]
    save_best(tmp_path, whole, {"audioattn": json.dumps({"classes": ["a", "b"]})})
    content = (tmp_path / "best.safetensors").read_bytes()
    nameless = content.replace(b'"sha256":', b'"s`a256":')[:-1] + b"!"
    damage = itertools.chain([("name of the hash", nameless)], mutations(content, trials(200), seed=10))
    for number, (what, damaged) in enumerate(damage):
        path = tmp_path / str(number)
        path.mkdir()
        (path / "best.safetensors").write_bytes(damaged)
        model = network()[0]
        read = attack.trial(f"best.safetensors, {what}", lambda p=path, m=model: load_best(p, m), "best.safetensors")
        if read == "result":  # what changed is no part of the weights
            for name, tensor in whole.state_dict().items():
                assert torch.equal(tensor, model.state_dict()[name]), what
        file = path / "best.safetensors"
        assert attack.trial(f"read, {what}", lambda file=file: read_weights(file), "best.safetensors") == read
    attack.check()


def test_the_same_weights_are_the_same_bytes(tmp_path):
    """A key that depends on a file of weights depends on its bytes."""
    model, about = network()[0], {f"entry {i}": str(i) for i in range(20)}
    contents = set()
    for number in range(3):
        save_best(tmp_path / str(number), model, about)
        contents.add((tmp_path / str(number) / "best.safetensors").read_bytes())
    assert len(contents) == 1
    with safe_open(tmp_path / "0" / "best.safetensors", "pt") as file:
        assert file.metadata().items() > about.items()


@pytest.mark.parametrize("place", [-1, -40])
def test_weights_with_a_bit_that_flipped_are_named(tmp_path, place):
    save_best(tmp_path, network()[0])
    file = tmp_path / "best.safetensors"
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    says = r"best\.safetensors: the file is damaged: its tensors are not those whose hash is in its header"
    with pytest.raises(RunError, match=says):
        load_best(tmp_path, network()[0])
    with pytest.raises(ConfigError, match=says):
        read_weights(file)
    # files of other programs have no hash
    load_best(copy_seed("checkpoint", tmp_path), network()[0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"position": {"epoch": -1}}, "position: epoch is -1"),
        ({"position": {"epoch": True}}, "position: epoch is True"),
        ({"position": {"step": 1.5}}, "position: step is 1.5"),
        ({"position": {"best_score": "x"}}, "position: best_score is 'x'"),
        ({"position": {"epoch": 7}}, "position: history has 1 rows for 7 epochs"),
        ({"position": {"epok": 7}}, "position: .*epok"),
        ({"position": {"batch": 3}}, "sha256: the file was edited or damaged"),
        ({"scalars": {"0/step": 4}}, "sha256: the file was edited or damaged"),
        ({"tensors": "../other.safetensors"}, "sha256: the file was edited or damaged"),
    ],
)
def test_a_checkpoint_that_was_edited(tmp_path, change, says):
    path = copy_seed("checkpoint", tmp_path)
    content = json.loads((path / "last.json").read_text())
    for name, value in change.items():
        content[name] = content[name] | value if isinstance(value, dict) else value
    (path / "last.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=rf"last\.json: the checkpoint is damaged \({says}"):
        load_or_leave(path)
