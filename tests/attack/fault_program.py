"""Run with ``faults.so`` preloaded: every operation with a failure at its n-th call, for all n; prints the counts.

The calls that change a file fail with an error of the disk, once or from then on; or take long. Files that are opened
to be read vanish just before.
"""

import contextlib
import ctypes
import errno
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audioattn_lib.attention.record.export import save_npz
from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.audio import io
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.core.errors import AudioAttnError
from audioattn_lib.core.files import write_text
from audioattn_lib.data.audit import audit
from audioattn_lib.data.loading.store import FeatureStore
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.data.pickled_lists import read_pickled_list
from audioattn_lib.data.synthetic.corpus import make_once, write_clips
from audioattn_lib.data.tables.table_files import read_features
from audioattn_lib.training.checkpoint import Position, load_checkpoint, save_checkpoint
from audioattn_lib.training.run_directory import Run, RunDirectory

LIBRARY = ctypes.CDLL(sys.argv[1])
ROOT = Path(sys.argv[2])
SEEDS = Path(__file__).parent / "seeds"


def attack(
    name: str,
    prepare: Callable[[Path], None],
    call: Callable[[Path], Any],
    check: Callable[[Path], None],
    allowed: type[Exception] | tuple[type[Exception], ...] = AudioAttnError,
    errors: tuple[int, ...] = (errno.ENOSPC,),
) -> None:
    """``prepare`` a folder, ``call`` with a fault, ``check`` what is left; then without one, which must succeed."""
    for error in errors:
        for lasts in (False, True):
            number, failed = 0, True
            while True:
                folder = renew(prepare)
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
                count(name, errno.errorcode[error])
                number += 1
                if calls < number:
                    break

    LIBRARY.faults_slow(str(renew(prepare)).encode(), 3000)
    try:
        call(FOLDER)
    finally:
        LIBRARY.faults_disarm()
    check(FOLDER)
    count(name, "slow")


def attack_reading(
    name: str,
    prepare: Callable[[Path], None],
    call: Callable[[Path], Any],
    allowed: type[Exception] | tuple[type[Exception], ...] = AudioAttnError,
) -> None:
    """``call`` where the n-th file that is opened is gone; then again, where it may have been made anew or not."""
    LIBRARY.faults_vanish(str(renew(prepare)).encode(), -1)
    call(FOLDER)
    for number in range(LIBRARY.faults_disarm()):
        renew(prepare)
        LIBRARY.faults_vanish(str(FOLDER).encode(), number)
        try:
            with contextlib.suppress(allowed):
                call(FOLDER)
            LIBRARY.faults_disarm()
            with contextlib.suppress(allowed):
                call(FOLDER)
        except Exception as other:
            raise AssertionError(f"{name}, file {number} vanishes: {type(other).__name__}: {other}") from other
        finally:
            LIBRARY.faults_disarm()
        count(name, "vanishing")


def renew(prepare: Callable[[Path], None]) -> Path:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    prepare(FOLDER)
    return FOLDER


def count(name: str, kind: str) -> None:
    TRIALS[f"{kind}, {name}"] = TRIALS.get(f"{kind}, {name}", 0) + 1


TRIALS: dict[str, int] = {}
FOLDER = ROOT / "work"


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
    (errno.ENOSPC, errno.EIO, errno.EROFS),
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
    state = load_checkpoint(folder, MODEL, OPTIMIZER)
    assert state is not None
    assert state.step in (1, 2)


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

NOISE = 0.1 * np.random.default_rng(0).standard_normal((3, 2000))
TINY = [(NOISE[i].astype(np.float32), {"file_name": f"audio/{i}.wav", "label": "ab"[i % 2]}) for i in range(3)]


@dataclass(frozen=True)
class Options:
    clips: int = 3


def make(folder: Path) -> None:
    made = make_once(
        "tiny",
        Options(),
        "audioattn_lib.data.synthetic.corpus",
        folder,
        lambda place: write_clips(place, "tiny", 3, TINY, progress=False),
    )
    assert audit(Manifest.read(made)).passed


def corpus_is_whole(folder: Path) -> None:
    for made in folder.glob("corpora/tiny-*"):
        assert len(list(made.glob("audio/*"))) == 3


attack("synthetic corpus", nothing, make, corpus_is_whole)


def of_seed(name: str, below: str) -> Callable[[Path], None]:
    return lambda folder: shutil.copytree(SEEDS / name, folder / below)  # type: ignore[return-value]


def read_run(folder: Path) -> None:
    run = Run.load(folder / "run")
    _ = run.attention, run.curves


attack_reading("run directory", of_seed("run", "run"), read_run)
attack_reading("checkpoint", checkpoint(1), lambda folder: load_checkpoint(folder, MODEL, OPTIMIZER))
attack_reading("feature store", build, build)
attack_reading("synthetic corpus", make, make)


def copy_sounds(folder: Path) -> None:
    shutil.copytree(SOUNDS, folder / "sounds")
    for name in ("tones.hdf5", "tone.mp3", "tone.flac", "table.nc", "table4.nc", "table.arff", "list.pkl"):
        shutil.copy(SEEDS / name, folder / "sounds")


def read_sounds(folder: Path) -> None:
    for name in ("0.wav", "tone.mp3", "tone.flac", "tones.hdf5/one"):
        io.read(folder / "sounds" / name)
        io.info(folder / "sounds" / name)


def read_corpus(folder: Path) -> None:
    manifest = Manifest.read(folder / "sounds")
    audit(manifest)
    manifest.content_hash()


def read_tables(folder: Path) -> None:
    for name in ("table.nc", "table4.nc", "table.arff"):
        read_features(folder / "sounds" / name)
    read_pickled_list(folder / "sounds" / "list.pkl")


attack_reading("sounds", copy_sounds, read_sounds)
attack_reading("corpus", copy_sounds, read_corpus)
attack_reading("tables", copy_sounds, read_tables)

print(json.dumps(TRIALS))
