"""Speed of listening: an hour against its duration, and many files against decoding and forward passes alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import soundfile
import torch

import audioattn_lib
from audioattn_lib.audio import io
from audioattn_lib.training.model_folder import WEIGHTS

from .harness import Case, Target, peak_memory
from .untrained import scratch, untrained_model

Work = dict[str, Callable[[], object]]

SYSTEM_MEMORY = True
"""Peaks are of fresh processes, in which freed memory goes back to the system."""
RATE, CLIP_SECONDS, CLIPS, BATCH = 16_000, 4, 1000, 32
FASTER = 200
"""Times faster than real time that an hour is heard at least."""
MOST_MEGABYTES = 600


def cases(device: str) -> list[Case]:
    """Everything that this module measures; the model is the published ACRNN with the triweight density."""
    return [
        Case(
            f"An hour of sound, 1/{FASTER} of its duration as reference",
            partial(hour, device),
            "reference",
            [Target("listen", "ratio", 1.0)],
            seconds=30,
        ),
        Case(
            "Peak memory of the whole process, ten minutes as reference",
            partial(memory, device),
            "ten minutes",
            [Target("an hour", "ratio", 1.1), Target("an hour", "megabytes", MOST_MEGABYTES)],
        ),
        Case(
            f"{CLIPS} files of {CLIP_SECONDS} s, decoding and forward passes as reference",
            partial(folder, device),
            "decoding and forward passes",
            [Target("listen", "ratio", 1.3)],
            seconds=30,
        ),
        Case(
            f"One file of {CLIP_SECONDS} s from the command line, importing torch and reading the weights as reference",
            partial(command, device),
            "import torch, read the weights",
            [Target("audioattn listen", "ratio", 1.5)],
            seconds=40,
        ),
    ]


def _model() -> Path:
    return untrained_model("triweight", CLIP_SECONDS)


@cache
def _recording(minutes: int) -> Path:
    path = scratch() / f"{minutes} minutes.wav"
    generator = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(minutes):
            file.write(generator.normal(0, 0.05, RATE * 60).astype(np.float32))
    return path


@cache
def _folder() -> list[Path]:
    generator = np.random.default_rng(0)
    paths = [scratch() / "clips" / f"{number}.wav" for number in range(CLIPS)]
    for path in paths:
        io.write(path, generator.normal(0, 0.05, RATE * CLIP_SECONDS), RATE, durable=False)
    return paths


def hour(device: str) -> Work:
    """From the file to the timeline."""
    model, path = audioattn_lib.load(_model(), device), _recording(60)
    return {"listen": lambda: model.listen(path), "reference": lambda: time.sleep(3600 / FASTER)}


def memory(device: str) -> Work:
    """Of fresh processes that import the library, load the model and listen."""

    def peak(minutes: int) -> float:
        setup = f"import os; os.environ['OMP_NUM_THREADS'] = '{torch.get_num_threads()}'"
        given = f"{str(_model())!r}, {device!r}).listen({str(_recording(minutes))!r}"
        statement = f"import audioattn_lib; audioattn_lib.load({given})"
        return peak_memory(setup, statement)

    return {"an hour": partial(peak, 60), "ten minutes": partial(peak, 10)}


def command(device: str) -> Work:
    """The whole command, from the start of the process to its answer."""
    model, (sound, *_) = _model(), _folder()
    weights = f"import torch, safetensors.torch; safetensors.torch.load_file({str(model / WEIGHTS)!r})"

    def process(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    listen = partial(process, "-m", "audioattn_lib", "listen", str(model), str(sound), "--device", device)
    return {"audioattn listen": listen, "import torch, read the weights": partial(process, "-c", weights)}


def folder(device: str) -> Work:
    """All files, in batches; the reference reads them and runs the network on them, and nothing else."""
    model, paths = audioattn_lib.load(_model(), device), _folder()

    def plain() -> None:
        for first in range(0, CLIPS, BATCH):
            sounds = [torch.from_numpy(io.read(path, RATE)[0]) for path in paths[first : first + BATCH]]
            lengths = torch.full((len(sounds),), RATE * CLIP_SECONDS, device=model.device)
            with torch.no_grad():
                features, n_frames = model.listener.inputs(torch.stack(sounds).to(model.device), lengths)
                model.network(features, n_frames, record=True)

    def listen() -> None:
        for _ in model.stream(paths):
            pass

    return {"listen": listen, "decoding and forward passes": plain}
