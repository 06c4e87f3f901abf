"""A tiny training that one process or several run; started by torchrun, all cases that need several."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from torch import nn

from audioattn_lib.core.errors import RunError
from audioattn_lib.data.loading.batches import Batch, BatchLoader, Shard
from audioattn_lib.experiments.common.runs import make_once
from audioattn_lib.models.layers.common import MaskedBatchNorm1d, frame_mask, masked_mean
from audioattn_lib.training.averaging import AveragedModel
from audioattn_lib.training.distributed import SharedStep, init_process_group
from audioattn_lib.training.loop import fit, select_device
from audioattn_lib.training.run_directory import RunDirectory
from audioattn_lib.training.settings import TrainingSettings

CLIPS, FRAMES, BANDS = 17, 9, 5  # the last batch of 8 has one clip: fewer than processes

# What a case changes of settings and network.
CASES = {
    "plain": {},
    "even": {"clips": 16},
    "ragged": {"clips": 21},
    "grad_accum_steps": {"grad_accum_steps": 2, "lr_patience": 1},
    "clipped": {"max_grad_norm": 0.05},
    "ema": {"average": "ema"},
    "swa": {"average": "swa"},
    "bfloat16": {"precision": "bfloat16", "optimizer": torch.optim.SGD},  # Adam makes noise of small gradients large
    "patience": {"patience": 0, "epochs": 30, "rate": 1.0},
    "validated_now_and_then": {"validate_every": 2, "lr_patience": 1, "epochs": 5},
    "batch_norm": {"norm": True, "clips": 21},
    "batch_norm_without_clips": {"norm": True},
    "unused": {"idle": True, "unused_parameters": True, "weight_decay": 0.1},
}


class Killed(Exception):
    pass


class Store:
    """Clips of several lengths, padded with what must not matter."""

    n_features = BANDS

    def __init__(self, clips):
        generator = torch.Generator().manual_seed(clips)
        self.n_frames = np.array([FRAMES - i % 4 for i in range(clips)])
        self.clips = [torch.randn(int(n), BANDS, generator=generator) for n in self.n_frames]

    def __len__(self):
        return len(self.clips)

    def batch(self, indices):
        selected = [self.clips[int(i)] for i in indices]
        return nn.utils.rnn.pad_sequence(selected, batch_first=True), torch.tensor([len(clip) for clip in selected])


class Network(nn.Module):
    def __init__(self, norm=False, dropout=0.0):
        super().__init__()
        self.first = nn.Linear(BANDS, 8, bias=not norm)  # before a norm its gradient is rounding alone
        self.norm = MaskedBatchNorm1d(8) if norm else None
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(8, 2)

    def forward(self, features, lengths):
        mask = frame_mask(lengths, features.shape[1], features.device)
        hidden = self.first(features)
        if self.norm is not None:
            hidden = self.norm(hidden.mT, None if mask is None else mask[:, None]).mT
        hidden = masked_mean(self.dropout(hidden.relu()), None if mask is None else mask[..., None], dim=1)[:, 0]
        return self.last(hidden)


def train(
    root,
    *,
    clips=CLIPS,
    average="none",
    norm=False,
    idle=False,
    dropout=0.0,
    rate=0.05,
    optimizer=torch.optim.Adam,
    kill_at=None,
    poison=None,
    device="cpu",
    weight_decay=0.0,
    **more,
):
    """Train into ``root`` and return the history."""
    device, store = select_device(device), Store(clips)
    if poison is not None:
        store.clips[poison][0, 0] = float("nan")
    targets = torch.tensor([int(clip[:, 0].mean() > 0) for clip in store.clips])
    torch.manual_seed(0)
    model = Network(norm, dropout)
    if idle:
        model.idle = nn.Linear(2, 2)
    if average != "none":
        model = AveragedModel(model, average, start=1, decay=0.9)
    steps = 0

    def loss(network, batch):
        nonlocal steps
        if steps == kill_at:
            raise Killed
        steps += 1
        if isinstance(network, AveragedModel):
            network.update()
        logits = network(batch.features, batch.lengths)
        return nn.functional.cross_entropy(logits, batch.targets), (logits.argmax(1) == batch.targets).sum()

    def evaluate(network):
        features, lengths = (values.to(device) for values in store.batch(range(8)))
        return {"loss": float(nn.functional.cross_entropy(network(features, lengths), targets[:8].to(device)))}

    return fit(
        model,
        optimizer(model.parameters(), weight_decay=weight_decay),
        lambda step: rate / (1 + 0.1 * step),
        BatchLoader(store, targets, range(clips), 8, seed=3, device=device),
        loss,
        evaluate,
        TrainingSettings(more.pop("epochs", 3), checkpoint_seconds=0, tensorboard=False, **more),
        RunDirectory(root),
        device=device,
        describe=lambda batch: ", ".join(f"{int(i)}.wav" for i in batch.indices),
    )


def train_killed(root, kill_at, **options):
    try:
        train(root, kill_at=kill_at, **options)
    except Killed:
        return
    raise AssertionError("was not killed")


def gradient_error(processes):
    """Largest difference of a gradient that processes share to that of one, in float64."""
    torch.manual_seed(processes.world_size)
    network = Network(norm=True).double()
    features, lengths = Store(7).batch(range(7))
    targets = torch.arange(7) % 2

    def loss(model, batch):
        logits = model(batch.features, batch.lengths)
        return nn.functional.cross_entropy(logits, batch.targets), logits.argmax(1).sum()

    whole = Batch(features.double(), lengths, targets, torch.arange(7))
    loss(network, whole)[0].backward()
    alone = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    shard = Shard.of(7, processes.rank, processes.world_size)
    excerpt = [value[shard.rows] for value in (whole.features, lengths, targets, whole.indices)]
    step = SharedStep(network, loss, processes)
    with step.sync_batch_norm():
        (step(Batch(*excerpt, shard))[0] * len(excerpt[0]) * processes.world_size / 7).backward()
    return max(float((p.grad - a).abs().max()) for p, a in zip(network.parameters(), alone, strict=True))


def make(root):
    """A run as experiments make it: trained by all, tested and written by one."""
    directory = RunDirectory(root)

    def tested(_):
        with open(root / "tested.txt", "a", encoding="utf-8") as file:
            file.write("once\n")
        for name in ("config", "environment", "metrics"):
            directory.write_json(f"{name}.json", {"score": 0.5})
        (root / "predictions.csv").write_text("clip\na\n", encoding="utf-8")

    return make_once(directory, lambda: train(root), tested)


def main(root, device="cpu"):
    """Results of several processes."""
    processes = init_process_group()
    told = types.SimpleNamespace(
        sums=processes.sum([1.0, processes.rank]),
        gathered=processes.gather({"rank": processes.rank, "text": "ä" * processes.rank}),
        told=processes.broadcast(f"from {processes.rank}"),
        gradient_error=gradient_error(processes),
    )
    for name, options in CASES.items():
        train(root / "two" / name, device=device, **{"precision": "float32", **options})
    train(root / "two" / "dropout", dropout=0.4)
    train_killed(root / "two" / "resumed", 4, dropout=0.4)
    train(root / "two" / "resumed", dropout=0.4)
    train(root / "one_then_two")
    train_killed(root / "two_then_one", 4)
    try:
        train(root / "two" / "nan", poison=5)
    except RunError as error:
        told.nan = str(error)
    try:
        train(root / "two" / "idle", idle=True)
    except RunError as error:
        told.idle = str(error)
    told.keys = [make(root / "two" / "made").key, make(root / "two" / "made").key]
    (root / f"told_{processes.rank}.json").write_text(json.dumps(vars(told)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
