"""Run with ``faults.so`` preloaded: every operation with a failure at its n-th call, for all n; prints the counts."""

import ctypes
import errno
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audioattn_lib.attention.record.export import save_npz
from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.audio import io
from audioattn_lib.audio.features import LogMel
from audioattn_lib.core.errors import AudioAttnError
from audioattn_lib.core.files import write_text
from audioattn_lib.data.audit import audit
from audioattn_lib.data.loading.store import FeatureStore
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.data.synthetic import city
from audioattn_lib.training.checkpoint import Position, load_checkpoint, save_checkpoint
from audioattn_lib.training.run_directory import RunDirectory

LIBRARY = ctypes.CDLL(sys.argv[1])
ROOT = Path(sys.argv[2])
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)


def attack(
    name: str,
    prepare: Callable[[Path], None],
    call: Callable[[Path], Any],
    check: Callable[[Path], None],
    allowed: type[Exception] | tuple[type[Exception], ...] = AudioAttnError,
) -> None:
    """``prepare`` a folder, ``call`` with a fault, ``check`` what is left; then without one, which must succeed."""
    for error in ERRORS:
        for lasts in (False, True):
            number, failed = 0, True
            while True:
                folder = ROOT / "work"
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                prepare(folder)
                LIBRARY.faults_arm(str(folder).encode(), number, error, lasts)
                what = (
                    f"{name}, call {number} fails with {errno.errorcode[error]}{' and all after it' if lasts else ''}"
                )
                try:
                    call(folder)
                    failed = False
                except allowed:
                    failed = True
                except Exception as other:
                    raise AssertionError(f"{what}: {type(other).__name__}: {other}") from other
                finally:
                    calls = LIBRARY.faults_disarm()
                try:
                    check(folder)
                    if not lasts and failed:
                        left = list(folder.rglob(".writing-*"))
                        assert not left, f"left: {left}"
                    call(folder)
                except Exception as other:
                    raise AssertionError(f"{what}: then {type(other).__name__}: {other}") from other
                TRIALS[name] = TRIALS.get(name, 0) + 1
                number += 1
                if calls < number:
                    break


TRIALS: dict[str, int] = {}


def nothing(_: Path) -> None:
    pass


def old_or_new(folder: Path) -> None:
    assert (folder / "a.txt").read_text() in ("old", "new" * 5000)


attack(
    "atomic writer",
    lambda folder: write_text(folder / "a.txt", "old"),
    lambda folder: write_text(folder / "a.txt", "new" * 5000),
    old_or_new,
    OSError,
)

RECORD = AttentionRecord("softmax", clips=("a",), n_frames=np.array([3]), weights=np.ones((1, 1, 3), np.float32) / 3)
attack(
    "export",
    nothing,
    lambda folder: save_npz(RECORD, folder / "attention.npz"),
    lambda folder: AttentionRecord.load(folder / "attention.npz") if (folder / "attention.npz").exists() else None,
)


def write_run(folder: Path) -> None:
    run = RunDirectory(folder / "run")
    run.write_json("config.json", {"seed": 1})
    run.write_json("metrics.json", {"score": 0.5})


def run_is_whole(folder: Path) -> None:
    for path in folder.rglob("[!.]*.json"):
        json.loads(path.read_text())
    if (folder / "run" / "metrics.json").exists():
        assert (folder / "run" / "config.json").exists()


attack("run directory", nothing, write_run, run_is_whole)

MODEL = torch.nn.Linear(3, 2)
OPTIMIZER = torch.optim.AdamW(MODEL.parameters())
MODEL(torch.ones(1, 3)).sum().backward()
OPTIMIZER.step()


def checkpoint(step: int) -> Callable[[Path], None]:
    return lambda folder: save_checkpoint(folder, MODEL, OPTIMIZER, Position(step=step))


def checkpoint_is_whole(folder: Path) -> None:
    found = load_checkpoint(folder, MODEL, OPTIMIZER)
    assert found is not None
    assert found.step in (1, 2)


attack("checkpoint", checkpoint(1), checkpoint(2), checkpoint_is_whole)

SOUNDS = ROOT / "sounds"
for i in range(5):
    io.write(SOUNDS / f"{i}.wav", np.random.default_rng(i).standard_normal(800 + 100 * i) * 0.1, 8000)
(SOUNDS / "metadata.csv").write_text("file_name,label\n" + "".join(f"{i}.wav,{'ab'[i % 2]}\n" for i in range(5)))
MANIFEST, FRONT_END = Manifest.read(SOUNDS), LogMel(8000, 200, hop_length=80, n_mels=12)
UNDISTURBED = FeatureStore.build(MANIFEST, FRONT_END, ROOT / "undisturbed", batch_size=2, progress=False)


def build(folder: Path) -> None:
    store = FeatureStore.build(MANIFEST, FRONT_END, folder, batch_size=2, progress=False)
    for row in range(5):
        assert torch.equal(store[row], UNDISTURBED[row])


attack("feature store", nothing, build, nothing)

OPTIONS = city.CityOptions(
    clips_per_class=2, n_folds=2, duration=2.0, classes=("siren", "dog_bark"), sources_per_fold=1
)


def make(folder: Path) -> None:
    made = city.generate(OPTIONS, folder, progress=False)
    assert audit(Manifest.read(made)).passed


def corpus_is_whole(folder: Path) -> None:
    for made in folder.glob("corpora/city-*"):
        assert len(list(made.glob("audio/*"))) == 4


ERRORS = ERRORS[:1]  # it takes longer, and the writer is the same
attack("synthetic corpus", nothing, make, corpus_is_whole)

print(json.dumps(TRIALS))
