"""Tables of many clips: a list as long as AudioSet's read, divided and sampled, and 100,000 files checked again.

    python -m benchmarks.scale

Each case runs once, in a process of its own. What counts is processor time, which other work on the machine does not
change much, and the peak memory of the process. List and sounds are made in a temporary folder; the result is
``benchmarks/results/scale/audioset.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audioattn_lib.core.files import write_text
from audioattn_lib.data.audit import audit
from audioattn_lib.data.corpora import load
from audioattn_lib.data.splits import split_clips
from audioattn_lib.training.run_directory import describe_environment

from .harness import environment

RESULTS = Path(__file__).parent / "results" / "scale" / "audioset.json"
N_CLASSES = 527
BATCH = 64


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both cases, write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--segments", type=int, default=2_000_000, help="of the simulated list (2000000)")
    parser.add_argument("--files", type=int, default=100_000, help="that are checked (100000)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the results")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        make_segments(Path(folder), options.segments)
        segments = _alone(read_segments, folder)
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder) / "corpus", options.files)
        first, again = (_alone(check_files, f"{folder}/corpus", f"{folder}/cache") for _ in range(2))
    measured = {
        "segments": {"rows": options.segments, **segments},
        "files": {"rows": options.files, **first},
        "files looked at before": {"rows": options.files, **again},
    }
    commit = describe_environment("cpu", "")["git_commit"]
    result = {**environment("cpu"), "git_commit": commit, "results": measured}
    write_text(options.output, json.dumps(result, indent=1) + "\n")
    print(json.dumps(measured, indent=1))
    return 0


def read_segments(folder: str) -> dict[str, float]:
    """Seconds from a list to the labels of the batches of an epoch."""
    seconds: dict[str, float] = {}
    manifest = _timed(seconds, "read", lambda: load(folder, train="unbalanced"))
    targets = _timed(seconds, "labels", manifest.label_indices)
    split = _timed(seconds, "split", lambda: split_clips(manifest, "first"))

    def epoch() -> int:
        order = np.random.default_rng(0).permutation(split.train)
        return sum(int(targets[order[first : first + BATCH]].sum()) for first in range(0, len(order), BATCH))

    _timed(seconds, "epoch", epoch)
    return seconds


def check_files(folder: str) -> dict[str, float]:
    """Seconds to read a table and check its files."""
    seconds: dict[str, float] = {}
    manifest = _timed(seconds, "read", lambda: load(folder))
    _timed(seconds, "check", lambda: audit(manifest).raise_if_failed())
    return seconds


def make_segments(folder: Path, count: int) -> None:
    """Write tables of segments as AudioSet has them, one to four classes each, common and rare ones."""
    rng = random.Random(0)
    classes = [f"/m/{number:05x}" for number in range(N_CLASSES)]
    rows = "".join(f'{number},{name},"Class {number}"\n' for number, name in enumerate(classes))
    (folder / "class_labels_indices.csv").write_text(f"index,mid,display_name\n{rows}", encoding="utf-8")
    commonness = [1 / (number + 3) for number in range(N_CLASSES)]
    for name, length in (("unbalanced_train", count), ("eval", max(count // 100, 1))):
        with open(folder / f"{name}_segments.csv", "w", encoding="utf-8") as file:
            file.write("# simulated\n# YTID, start_seconds, end_seconds, positive_labels\n")
            for number in range(length):
                labels = ",".join(dict.fromkeys(rng.choices(classes, commonness, k=rng.randint(1, 4))))
                start = rng.randrange(0, 300, 10)
                file.write(f'{name[0]}{number:010d}, {start}.000, {start + 10}.000, "{labels}"\n')


def make_files(folder: Path, count: int) -> None:
    """Write sounds of a tenth of a second, no two alike, a thousand in a folder, and their table."""
    rng = np.random.default_rng(0)
    rows = ["file_name,label,split,group"]
    for number in range(count):
        name = f"{number // 1000:03d}/{number:06d}.wav"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, rng.uniform(-0.5, 0.5, 800), 8000)
        rows.append(
            f"{name},{number % 10},{'test' if number % 5 == 0 else 'train'},{number // 5 * 2 + (number % 5 > 0)}"
        )
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _timed(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    start = time.process_time()
    result = work()
    seconds[name] = round(time.process_time() - start, 2)
    return result


def _alone(work: Callable[[str], dict[str, float]], folder: str, cache: str = "") -> dict[str, Any]:
    """Processor seconds of each step in a fresh process, and its peak memory, libraries included."""
    program = (
        f"import json, resource; from benchmarks import scale\n"
        f"seconds = scale.{work.__name__}({folder!r})\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10\n"
        "print(json.dumps({'processor_seconds': seconds, 'peak_megabytes': round(peak)}))"
    )
    variables = os.environ | ({"AUDIOATTN_CACHE": cache} if cache else {})
    run = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True, env=variables)
    return dict(json.loads(run.stdout.splitlines()[-1]))


if __name__ == "__main__":
    sys.exit(main())
