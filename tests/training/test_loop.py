"""Laws of the training loop, its checkpoints and the run directory."""

import errno
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from torch import nn

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.core.errors import ConfigError, RunError
from audioattn_lib.core.tensor_files import write_tensors
from audioattn_lib.training import checkpoint
from audioattn_lib.training.checkpoint import load_weights, save_best
from audioattn_lib.training.loop import fit, select_device
from audioattn_lib.training.probes import load_probes
from audioattn_lib.training.run_directory import Run, RunDirectory, write_atomically
from audioattn_lib.training.settings import TrainingSettings


@dataclass
class Batch:
    inputs: torch.Tensor
    targets: torch.Tensor

    def __len__(self):
        return len(self.inputs)


class Batches:
    """Five batches an epoch, the same for the same epoch."""

    def __init__(self, poison=None):
        self.poison = poison

    def __len__(self):
        return 5

    def epoch(self, number, start=0):
        for i in range(start, 5):
            generator = torch.Generator().manual_seed(100 * number + i)
            inputs = torch.randn(8, 6, generator=generator)
            if (number, i) == self.poison:
                inputs[0, 0] = float("nan")
            yield Batch(inputs, (inputs[:, 0] > 0).long())


class Killed(Exception):
    pass


def loss(model, batch):
    logits = model(batch.inputs)
    return nn.functional.cross_entropy(logits, batch.targets), (logits.argmax(1) == batch.targets).sum()


def train(directory, *, kill_at=None, epochs=3, look=None, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 2))
    steps = 0

    def counted(network, batch):
        nonlocal steps
        if steps == kill_at:
            raise Killed
        steps += 1
        return loss(network, batch)

    history = fit(
        model,
        torch.optim.Adam(model.parameters()),
        lambda step: 1e-2 / (1 + step),
        options.pop("batches", Batches()),
        counted,
        lambda network: {"loss": float(loss(network, next(Batches().epoch(99)))[0])},
        TrainingSettings(epochs, checkpoint_seconds=0, tensorboard=False, **options),
        RunDirectory(directory),
        device=torch.device("cpu"),
        describe=lambda batch: "rain.wav, dog.wav",
        look=look,
    )
    return model, history


def train_to_scores(directory, scores, **options):
    """The history of a training whose validations give these scores, one after the other, and no more."""
    remaining = iter(scores)
    torch.manual_seed(0)
    return fit(
        model := nn.Linear(6, 2),
        torch.optim.SGD(model.parameters()),
        lambda step: 0.1,
        Batches(),
        loss,
        lambda network: {"share": next(remaining)},
        TrainingSettings(monitor="share", tensorboard=False, **options),
        RunDirectory(directory),
        device=torch.device("cpu"),
    )


def test_attention_is_kept_of_every_epoch_and_changes_no_number_of_the_run(tmp_path):
    def look(model):
        assert not model.training
        torch.rand(7)  # even where it draws
        weights = model(torch.eye(6)[:2]).softmax(dim=1).detach()
        return AttentionRecord.from_weights(weights, clips=("a", "b"))

    plain, history = train(tmp_path / "plain")
    looked, again = train(tmp_path / "looked", look=look)
    for each, other in zip(plain.parameters(), looked.parameters(), strict=True):
        assert torch.equal(each, other)
    timed = ["seconds", "clips_per_second"]
    assert_frame_equal(history.drop(columns=timed), again.drop(columns=timed))
    probes = load_probes(tmp_path / "looked")
    assert list(probes) == [0, 1, 2]
    assert probes[2].clips == ("a", "b")
    assert not np.array_equal(probes[0].weights, probes[2].weights)
    assert load_probes(tmp_path / "plain") == {}


@pytest.mark.parametrize("validate_every", [1, 2])
@pytest.mark.parametrize("kill_at", [1, 5, 7, 12])
def test_a_killed_run_resumes_to_the_same_weights(tmp_path, kill_at, validate_every):
    whole, history = train(tmp_path / "whole", validate_every=validate_every)
    with pytest.raises(Killed):
        train(tmp_path / "killed", kill_at=kill_at, validate_every=validate_every)
    resumed, resumed_history = train(tmp_path / "killed", validate_every=validate_every)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    timings = ["seconds", "clips_per_second"]
    pd.testing.assert_frame_equal(history.drop(columns=timings), resumed_history.drop(columns=timings))


@pytest.mark.parametrize("kill_at", [1, 6, 8])
def test_a_killed_run_that_accumulates_resumes_to_the_same_weights(tmp_path, kill_at):
    options = {"grad_accum_steps": 2, "lr_patience": 1}
    whole, _ = train(tmp_path / "whole", **options)
    with pytest.raises(Killed):
        train(tmp_path / "killed", kill_at=kill_at, **options)
    resumed, _ = train(tmp_path / "killed", **options)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_small_batches_together_are_one_large_batch(tmp_path):
    class Parts:
        """The same clips in batches of one size, or of another; the last is smaller."""

        def __init__(self, size):
            self.size = size

        def __len__(self):
            return -(-20 // self.size)

        def epoch(self, number, start=0):
            inputs = torch.randn(20, 6, generator=torch.Generator().manual_seed(number))
            for chunk in inputs.split(self.size)[start:]:
                yield Batch(chunk, (chunk[:, 0] > 0).long())

    def weights(size, accumulation):
        torch.manual_seed(0)
        model = nn.Linear(6, 2)
        history = fit(
            model,
            torch.optim.SGD(model.parameters()),
            lambda step: 0.1,
            Parts(size),
            loss,
            lambda network: {"loss": 1.0},
            TrainingSettings(2, tensorboard=False, grad_accum_steps=accumulation),
            RunDirectory(tmp_path / f"{size}_{accumulation}"),
            device=torch.device("cpu"),
        )
        return load_best_and_last(tmp_path / f"{size}_{accumulation}"), history

    def load_best_and_last(path):
        from safetensors.torch import load_file

        return load_file(next((path / "checkpoint").glob("last-*.safetensors")))["model/weight"]

    large, small = weights(12, 1), weights(6, 2)
    torch.testing.assert_close(large[0], small[0])
    assert large[1]["step"].tolist() == small[1]["step"].tolist() == [2, 4]
    torch.testing.assert_close(weights(20, 1)[0], weights(6, 4)[0])


def test_a_plateau_lowers_the_learning_rate_and_a_higher_score_may_be_better(tmp_path):
    scores = [0.5, 0.6, 0.6, 0.4, 0.7, 0.1, 0.1]
    history = train_to_scores(tmp_path, scores, epochs=7, maximise=True, lr_patience=2)
    assert history["learning_rate"].tolist() == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05])


def test_only_epochs_that_are_validated_count_and_the_last_one_is(tmp_path):
    scores = [0.5, 0.4, 0.4, 0.6]
    history = train_to_scores(tmp_path, scores, epochs=7, maximise=True, lr_patience=1, validate_every=2)
    assert history["valid_share"].dropna().to_dict() == {1: 0.5, 3: 0.4, 5: 0.4, 6: 0.6}
    assert history["learning_rate"].tolist() == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.025])


def test_patience_counts_validations(tmp_path):
    history = train_to_scores(tmp_path, [0.5, 0.6, 0.6], epochs=20, patience=1, validate_every=3)
    assert len(history) == 9


def test_a_loss_that_is_not_finite_names_the_clips(tmp_path):
    with pytest.raises(RunError, match="loss is nan at step 7, epoch 1, batch 2, in rain.wav, dog.wav"):
        train(tmp_path, batches=Batches(poison=(1, 2)))


def test_patience_stops_training(tmp_path):
    _, history = train(tmp_path, epochs=60, patience=0)
    assert len(history) < 60


def test_a_damaged_checkpoint_is_named(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, kill_at=3)
    next((tmp_path / "checkpoint").glob("last-*.safetensors")).write_bytes(b"damaged")
    with pytest.raises(RunError, match="damaged"):
        train(tmp_path)


def test_a_kill_between_the_files_of_a_checkpoint_leaves_the_one_before_it(tmp_path, monkeypatch):
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters())
    torch.manual_seed(1)
    checkpoint.save_checkpoint(tmp_path, model, optimizer, checkpoint.Position(step=2))
    before = torch.get_rng_state()
    torch.rand(3)  # as a validation may: another state, and no step more

    def die(path):
        if path.name == "last.json":
            raise Killed
        return write_atomically(path)

    monkeypatch.setattr(checkpoint, "write_atomically", die)
    with pytest.raises(Killed):
        checkpoint.save_checkpoint(tmp_path, model, optimizer, checkpoint.Position(step=2))
    assert checkpoint.load_checkpoint(tmp_path, model, optimizer) == checkpoint.Position(step=2)
    assert torch.equal(torch.get_rng_state(), before)
    monkeypatch.undo()
    checkpoint.save_checkpoint(tmp_path, model, optimizer, checkpoint.Position(step=3))
    assert len([*tmp_path.glob("last-*.safetensors")]) == 1


def test_weights_of_another_model_are_listed(tmp_path):
    save_best(tmp_path, nn.Linear(3, 2))
    with pytest.raises(RunError, match=r"weight is \(2, 3\), the model has \(2, 4\)"):
        load_weights(tmp_path / "best.safetensors", nn.Linear(4, 2))
    with pytest.raises(RunError, match="no such weights"):
        load_weights(tmp_path / "other.safetensors", nn.Linear(4, 2))


def test_a_device_that_is_not_there_is_an_error():
    assert select_device("cpu").type == "cpu"
    for name in ("tpu", "cpu:0", "auto:1", "cuda:", "cuda:one"):
        with pytest.raises(ConfigError, match="must be auto, cpu, cuda, or cuda:0 and so on"):
            select_device(name)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            select_device("cuda")


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"max_grad_norm": 0.0},
        {"precision": "float8"},
        {"grad_accum_steps": 0},
        {"lr_patience": 0},
        {"validate_every": 0},
        {"lr_factor": 1.5},
    ],
)
def test_impossible_settings_are_named(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        TrainingSettings(**{"epochs": 1, **change})


def test_a_full_disk_keeps_what_was_there(tmp_path):
    file = tmp_path / "metrics.json"
    file.write_text("old")
    with pytest.raises(RunError, match="disk is full"), write_atomically(file) as temporary:
        temporary.write_text("half of the ne")
        raise OSError(28, "No space left on device")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("full_at", [2, 6, 7])
def test_a_disk_that_is_full_at_a_checkpoint_keeps_the_one_before(tmp_path, monkeypatch, full_at):
    whole, history = train(tmp_path / "whole")
    written = 0

    def fill(path, tensors, about=None):
        nonlocal written
        written += 1
        if written == full_at:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write_tensors(path, tensors, about)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "write_tensors", fill)
        with pytest.raises(RunError, match="disk is full; what was saved before is intact"):
            train(tmp_path / "full")
    assert not list((tmp_path / "full").rglob(".*"))
    resumed, resumed_history = train(tmp_path / "full")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert history["train_loss"].tolist() == resumed_history["train_loss"].tolist()


def test_a_run_that_is_not_there_or_not_finished_says_so(tmp_path):
    with pytest.raises(RunError, match="no such run"):
        Run.load(tmp_path / "none")
    RunDirectory(tmp_path / "half").write_json("config.json", {"seed": 1})
    with pytest.raises(RunError, match="not finished"):
        Run.load(tmp_path / "half")


def test_a_run_comes_back_as_it_was(tmp_path):
    directory = RunDirectory(tmp_path / "urban_sound" / "abc")
    predictions = pd.DataFrame(
        {"clip": ["007"], "split": ["test"], "label": ["NA"], "predicted": ["none"], "loss": [0.5]}
    )
    predictions["probability_NA"] = 0.25
    directory.write_json("config.json", {"seed": 1})
    directory.write_json("environment.json", {})
    history = pd.DataFrame({"epoch": [0, 1], "valid_loss": [float("nan"), 0.25]})
    directory.write_table("history.csv", history)
    directory.write_table("predictions.csv", predictions)
    directory.write_json("metrics.json", {"accuracy": float("nan")})
    run = Run.load(directory.path)
    pd.testing.assert_frame_equal(run.history, history)
    assert (run.key, run.experiment, run.classes) == ("abc", "urban_sound", ["NA"])
    assert run["accuracy"] is None
    pd.testing.assert_frame_equal(run.predictions, predictions, check_dtype=False)
    assert run.attention.is_empty


def test_a_run_shows_itself_shortly(tmp_path):
    empty = pd.DataFrame()
    config = {"attention": "softmax", "seed": 1, "long": "x" * 500}
    run = Run(tmp_path / "urban_sound" / "k", config, {"python": "3.11"}, {"loss": 0.25}, empty, empty)
    assert len(repr(run)) < 200 + len(str(tmp_path))
    assert "softmax" in repr(run)
    page = run._repr_html_()
    assert "0.25" in page
    assert "<details" in page
    assert "x" * 200 not in page
