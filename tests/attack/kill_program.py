"""Started by ``kills.py``: does jobs in forked processes, which can be killed; the library is imported once for all.

Each line of the input is a list of jobs that are started together, each with a folder of results, a folder of its own
for temporary files, and the seconds after which it is killed, or null. The answer is a line with the exit code and the
seconds of each.
"""

import functools
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
LONGER = float(os.environ.get("AUDIOATTN_ATTACK", "1"))
LATER = (
    "distributed",
    "torch._dynamo",
    "torch.utils.tensorboard",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.model_selection",
    "sklearn.svm",
)
"""Modules that the library imports when it needs them."""


def jobs() -> dict[str, Callable[[], object]]:
    import torch

    from audioattn_lib.audio.features.log_mel import LogMel
    from audioattn_lib.automation.book import build_book
    from audioattn_lib.automation.key import source_hash
    from audioattn_lib.automation.sweep import sweep
    from audioattn_lib.cli.attention import _FORMATS, export
    from audioattn_lib.cli.listen import _FORMATS as HEARD
    from audioattn_lib.cli.listen import listen
    from audioattn_lib.data.loading.store import FeatureStore
    from audioattn_lib.data.manifest import Manifest
    from audioattn_lib.data.synthetic.city import CityOptions, generate
    from audioattn_lib.experiments import accents, playback, scenes_and_instruments, sleepiness, urban_sound
    from audioattn_lib.training.settings import TrainingSettings

    for name in LATER:
        importlib.import_module(name)
    torch.set_num_threads(1)
    # A kill may then come between any two steps and find a checkpoint of the one before.
    init = TrainingSettings.__init__
    TrainingSettings.__init__ = lambda self, *given, **named: init(self, *given, **{"checkpoint_seconds": 0.0, **named})

    def train(chapter, changes):
        chapter.run(chapter.Config.smoke(device="cpu", **changes), "runs")

    changes = {
        urban_sound: {"data": "city?clips_per_class=3&n_folds=3&duration=2"},
        accents: {},
        sleepiness: {"data": "voices?speakers=8&clips_per_speaker=2&duration=(1.0,1.2)"},
        playback: {"data": "needles?clips_per_class=5&duration=4"},
        scenes_and_instruments: {"data": "orchestra?clips_per_class=4"},
    }
    for chapter in changes:
        source_hash(f"{chapter.__name__}.experiment")  # which remembers what it parsed
    results = {
        chapter.__name__.rpartition(".")[2]: functools.partial(train, chapter, {"epochs": 2, **more})
        for chapter, more in changes.items()
    }
    workers = 2 if LONGER > 1 else 1  # each imports what a sweep needs
    front_end = LogMel(8000, 200, hop_length=80, n_mels=12)
    return results | {
        "features": lambda: FeatureStore.build(Manifest.read("sounds"), front_end, "cache", batch_size=2),
        "export": lambda: export.callback(HERE / "seeds" / "run", _FORMATS, Path("out")),
        "listen": lambda: listen.callback(Path("model"), ("sounds",), Path("heard"), HEARD, None, 0.5, False, "cpu"),
        "checkpoint": train_for_ever,
        "corpus": lambda: generate(CityOptions(6, 2, 2.0, classes=("siren", "dog_bark")), progress=False),
        "sweep": lambda: sweep("trial.yml", "sweeps", workers=workers),
        "book": lambda: build_book(".", mode="smoke", echo=lambda line: None),
    }  # fmt: skip


def train_for_ever() -> None:
    """A checkpoint after every step, and a line that says so."""
    import torch

    from audioattn_lib.training.checkpoint import Position, load_checkpoint, save_checkpoint

    model = torch.nn.Linear(50, 50)
    optimizer = torch.optim.AdamW(model.parameters())
    position = load_checkpoint(Path(), model, optimizer) or Position()
    while True:
        model(torch.ones(1, 50)).sum().backward()
        optimizer.step()
        position.step += 1
        save_checkpoint(Path(), model, optimizer, position)
        with open("steps.log", "a") as file:
            print(position.step, file=file)


def start(call: Callable[[], object], folder: str, own: str) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    try:
        os.setpgid(0, 0)
        os.environ |= {"AUDIOATTN_CACHE": str(Path(folder, "cache")), "TMPDIR": own}
        tempfile.tempdir = None
        os.chdir(folder)
        log = os.open(Path(own).parent / f"{Path(own).name}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(log, stream)
        call()
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


def watch(child: int, started: float, after: float | None) -> tuple[int, float]:
    """Exit code and seconds of a process that is killed after some."""
    while True:
        if after is not None and time.monotonic() - started >= after:
            os.kill(child, signal.SIGKILL)
            after = None
        actual, status = os.waitpid(child, os.WNOHANG)
        if actual:
            return os.waitstatus_to_exitcode(status), time.monotonic() - started
        time.sleep(0.001)


def main() -> None:
    calls = jobs()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        started = time.monotonic()
        children = [(start(calls[name], folder, own), after) for name, folder, own, after in json.loads(line)]
        print(json.dumps([watch(child, started, after) for child, after in children]), flush=True)


if __name__ == "__main__":
    main()
