"""``kill -9`` at random moments: what is started again ends as if nothing had happened, and nothing is left."""

import csv
import functools
import random
import shutil
import tempfile

import pytest
import torch
from hostile import LONGER, SEEDS, TRIALS, trials
from kills import Killer, attack, differences, results, write_notebook

from audioattn_lib.automation import RUN_MIMETYPE
from audioattn_lib.core.files import remove_leftovers
from audioattn_lib.training.checkpoint import load_checkpoint

CHAPTERS = ("urban_sound", "accents", "sleepiness", "playback", "scenes_and_instruments")
SHARED = ("urban_sound", "corpus", *CHAPTERS[1:])
LONG_ONLY = pytest.mark.skipif(LONGER <= 1, reason="takes minutes: make attack runs it")

SHOW_A_RUN = f"""
from IPython.display import display
run = {{"experiment": "e", "key": f"k{{n}}", "path": "p", "config": {{"n": n}}, "metrics": {{"accuracy": n / 1000}}}}
display({{{RUN_MIMETYPE!r}: [run], "text/plain": ""}}, raw=True)
"""
DIE_ONCE = """
import os, pathlib, random, signal, threading
doom = pathlib.Path(f"doomed/{n}")
if doom.exists():
    moment = float(doom.read_text())
    doom.unlink()
    threading.Timer(moment, os.kill, (os.getpid(), signal.SIGKILL)).start()
"""


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    result = Killer(tmp_path_factory.mktemp("kills"))
    yield result
    result.close()


def bring_sounds(folder):
    (folder / "sounds").mkdir()
    names = ("tone.wav", "tone.flac", "tone.ogg", "tone.mp3", "tone.aiff", "float.wav")
    for name in names:
        shutil.copy(SEEDS / name, folder / "sounds")
    lines = ["file_name,label", *(f"{name},{'ab'[number % 2]}" for number, name in enumerate(names))]
    (folder / "sounds" / "metadata.csv").write_text("\n".join(lines) + "\n")


@functools.cache
def trained():
    """A model of a smoke run."""
    from audioattn_lib.experiments import urban_sound

    config = urban_sound.Config.smoke(device="cpu", data="city?clips_per_class=3&n_folds=3&duration=2")
    return urban_sound.run(config, tempfile.mkdtemp()).path / "model"


def bring_model(folder):
    bring_sounds(folder)
    shutil.copytree(trained(), folder / "model")


def bring_sweep(folder):
    write_notebook(folder / "small.ipynb", SHOW_A_RUN)
    (folder / "trial.yml").write_text("notebook: small.ipynb\ngrid:\n  n: [1, 2, 3, 4]\n")


def bring_book(folder):
    write_notebook(folder / "notebooks" / "one.ipynb", "import time\ntime.sleep(0.5)\nn + 1")
    (folder / "notebooks" / "book.yml").write_text("one:\n  embedded: {}\n  real: {}\n  smoke: {}\n")
    (folder / "book" / "chapters").mkdir(parents=True)
    (folder / "book" / "index.md").write_text("# A book\n\nWith a page.\n")
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters:\n- file: book/chapters/one\n")
    config = 'title: A book\nauthor: somebody\nexecute:\n  execute_notebooks: "off"\nonly_build_toc_files: true\n'
    (folder / "_config.yml").write_text(config)


def nothing(_):
    pass


@pytest.mark.parametrize(
    ("name", "prepare", "count"),
    [
        *((chapter, nothing, 0.4) for chapter in CHAPTERS),
        ("corpus", nothing, 3),
        ("features", bring_sounds, 3),
        ("export", nothing, 3),
        ("listen", bring_model, 1),
        pytest.param("sweep", bring_sweep, 0.2, marks=LONG_ONLY),
        pytest.param("book", bring_book, 0.1, marks=LONG_ONLY),
    ],
)
def test_what_is_killed_and_started_again_ends_as_if_nothing_had_happened(killer, name, prepare, count):
    attack(killer, name, prepare, trials(count))


def test_a_checkpoint_survives_kills_at_any_moment(killer):
    chance, reached = random.Random(0), 0
    killer.begin(nothing)
    steps = killer.work / "steps.log"
    steps.write_text("0\n")
    for _ in range(trials(5)):
        killer.start(("checkpoint", 0.1 + chance.random() * 0.1))
        model = torch.nn.Linear(50, 50)
        state = load_checkpoint(killer.work, model, torch.optim.AdamW(model.parameters()))
        told = [int(line) for line in steps.read_text().splitlines()]
        assert (state.step if state else 0) >= max(told[-1], reached)
        reached = state.step if state else 0
        TRIALS["kill -9, checkpoint", "result"] += 1
    assert told == sorted(set(told)), "no step is done twice"
    remove_leftovers(killer.work)
    steps.unlink()
    assert sorted(path.suffix for path in killer.work.iterdir()) in (
        [".json", ".safetensors"],
        [".json"] + [".safetensors"] * 2,
    )


def test_two_processes_share_a_cache_and_a_folder_of_runs(killer):
    chance = random.Random(0)
    failures = []
    for number in range(max(2, trials(0.5))):
        rounds, place = divmod(number, len(SHARED))
        name = SHARED[place]
        seconds, expected = killer.undisturbed(name, nothing)
        killer.begin(nothing)
        if rounds % 2:
            moment = round(chance.random() * seconds, 3)
            _, (code, _) = killer.start((name, moment), (name, None))
            trial = f"{name}, one of two is killed after {moment} s"
            assert code == 0, f"{trial}: the other ends with {code}"
        else:
            killer.finish(name, name)
            trial = f"{name}, by two at once"
        failures += killer.judge("two processes", trial, expected)
    assert not failures, "\n".join(failures)


def test_a_sweep_that_is_killed_as_are_its_kernels_has_the_table_of_an_undisturbed_one(killer):
    size = min(300, trials(10))
    chance = random.Random(0)
    doomed = chance.sample(range(size // 2), max(2, size // 10))  # early ones: most die before the sweep does

    def bring(folder):
        write_notebook(folder / "small.ipynb", DIE_ONCE, SHOW_A_RUN)
        (folder / "trial.yml").write_text(f"notebook: small.ipynb\ngrid:\n  n: {[*range(size)]}\n")
        (folder / "doomed").mkdir()
        for n in doomed:
            (folder / "doomed" / str(n)).write_text(str(chance.random() * 0.1))

    killer.begin(bring)
    killer.start(("sweep", 4.0 + size / 10))
    killer.finish("sweep")
    if [*(killer.work / "sweeps" / "trial" / "jobs").glob("*.failed.ipynb")]:
        killer.finish("sweep")  # for kernels that died this time
    table = (killer.work / "sweeps" / "trial" / "results.csv").read_text()
    assert [(row["n"], row["run"], float(row["accuracy"])) for row in csv.DictReader(table.splitlines())] == [
        (str(n), f"e/k{n}", n / 1000) for n in range(size)
    ]
    if LONGER > 1:
        disturbed = results(killer.work)
        killer.begin(bring)
        shutil.rmtree(killer.work / "doomed")
        killer.finish("sweep")
        assert not differences(disturbed, results(killer.work))
    TRIALS["kernels killed", "result"] += len(doomed)
