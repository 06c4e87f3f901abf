"""Rows of the system that plays back: Play It Back, on AudioSet, VGG-Sound and EPIC-KITCHENS-100 as distributed."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from parity_rows import row


def printed(program, *options):
    return json.loads(program("train", "playback", *options, "--print-config").output)


@pytest.fixture
def audioset(program):
    return program.train("playback", "audioset")


@pytest.fixture
def vggsound(program):
    return program.train("playback", "vggsound")


@row(
    "5.01",
    "`run_net.py --cfg AUDIOSET/PlayItBackX3.yaml`: FLAC, segments as CSV",
    "`audioattn train playback --preset paper --data AudioSet`",
    6,
)
def test_audioset(program, audioset):
    config = printed(program, "--preset", "paper")
    published = {
        "playbacks": 3,
        "clip_seconds": 10.0,
        "hop_seconds": 0.025,
        "n_mels": 128,
        "size": "mvit_b",
        "views": 2,
    }
    assert {name: config[name] for name in published} == published
    assert audioset.classes == ["Chirp, tweet", "Dog", "Speech"]
    assert (audioset.predictions["label"] == "Dog;Speech").any(), "several labels"
    scores = audioset.metrics
    assert {"mean_average_precision", "macro_auc", "d_prime"} <= scores.keys()
    assert scores["interval"]["low"] <= scores["mean_average_precision"] <= scores["interval"]["high"]
    assert scores["interval"]["low"] < scores["interval"]["high"]


@row(
    "5.02",
    "lists as pickled tables, `csv2pkl.py`",
    "`audioattn data convert LIST.pkl`; official tables are read as they are",
)
def test_lists(program, tmp_path):
    folder = shutil.copytree(program.corpus("audioset_pickled"), tmp_path / "as")
    for path in folder.glob("*.pkl"):
        program("data", "convert", path)
    assert {path.name for path in folder.glob("*.csv")} == {"as500k_train.csv", "test.csv"}
    assert "24 clips" in program("data", "check", folder).output
    run = program.train("playback", f"{folder}?train=as500k_train")
    assert set(run.classes) == {"Chirp, tweet", "Dog", "Speech"}


@row(
    "5.03",
    "`VGGSOUND/PlayItBackX3.yaml`: `wav/<class>/`, `data/*.pkl`; top-1 and top-5",
    "`--preset vggsound --data VGGSound`",
    2,
    10,
    13,
)
def test_vggsound(program, vggsound, tmp_path):
    config = printed(program, "--preset", "vggsound")
    assert (config["clip_seconds"], config["learning_rate"], config["playbacks"]) == (5.0, 5e-4, 3)
    assert config["mixup"] == pytest.approx(0.3)
    folder = shutil.copytree(program.corpus("vggsound_pickled"), tmp_path / "VGGSound")
    refused = program("data", "check", folder, code=2).stderr
    assert "audioattn data convert" in refused, "half a layout is named, with the command that completes it"
    for path in (folder / "data").glob("*.pkl"):
        program("data", "convert", path)
    run = program.train("playback", str(folder))
    assert run.classes == vggsound.classes == ["frog croaking", "playing harp", "race car, auto racing"]
    more = shutil.copytree(program.corpus("vggsound"), tmp_path / "six")
    table = pd.read_csv(more / "vggsound.csv", header=None)
    table[2] = [f"class {i % 6}" for i in range(len(table))]
    table.to_csv(more / "vggsound.csv", header=False, index=False)
    scores = program.train("playback", str(more)).metrics
    assert 0 <= scores["accuracy"] <= scores["top_5_accuracy"] < 1


@row(
    "5.04",
    "`EPICKITCHENS/PlayItBackX3.yaml`: one HDF5 file; verb, noun and action in one model",
    "`--preset epic --data EPIC`; `?label=verb`, `noun` or `action` for one question",
    10,
    13,
)
def test_epic_kitchens(program):
    config = printed(program, "--preset", "epic")
    assert config["clip_seconds"] == pytest.approx(1.999, abs=0.01)
    data = program.corpus("epic_kitchens")
    for label in ("verb", "noun", "action"):
        run = program.train("playback", f"{data}?label={label}")
        assert len(run.predictions) == 12
    both = program.train("playback", "epic_kitchens", "--tasks", "verb,noun")
    assert config["tasks"] == "verb,noun"
    scores = [both.metrics[f"{task}_top_1"] for task in ("action", "verb", "noun")]
    assert 0 <= scores[0] <= min(scores[1:]) <= 1, "an action is right where its verb and its noun are"


@row("5.05", "`PlayItBackX1`, `X2`, `X3`", "`--playbacks 1`, `2`, `3`")
def test_playbacks(program):
    for number in (1, 2, 3):
        run = program.train("playback", "vggsound", "--playbacks", number)
        assert len(run.metrics["stages"]) == number + 1
        assert run.attention.segments is not None


@row(
    "5.06",
    "`TEST.ENABLE`, `TRAIN.ENABLE False`, `TEST.CHECKPOINT_FILE_PATH`",
    "`--epochs 0 --pretrained WEIGHTS`",
    4,
    9,
)
def test_only_test(program, vggsound):
    best = vggsound.path / "checkpoint" / "best.safetensors"
    again = program.train("playback", "vggsound", "--epochs", 0, "--pretrained", best)
    columns = [name for name in vggsound.predictions if name.startswith("probability_")]
    assert np.allclose(again.predictions[columns], vggsound.predictions[columns], atol=1e-5)


@row(
    "5.07",
    "`TRAIN.CHECKPOINT_FILE_PATH`: a `.pyth` file, whole or of the encoder",
    "`--pretrained FILE`, `--pretrained-part`",
    9,
)
def test_pretrained(program, vggsound, tmp_path):
    from audioattn_lib.models.weights import read_weights

    own = read_weights(vggsound.path / "checkpoint" / "best.safetensors")
    whole = tmp_path / "checkpoint_best.pyth"
    torch.save({"epoch": 3, "model_state": own, "cfg": "TRAIN: {}"}, whole)
    bare = tmp_path / "encoder.pyth"
    encoder = {name.removeprefix("encoder."): value for name, value in own.items() if name.startswith("encoder.")}
    torch.save({"model_state": encoder}, bare)
    for file, options in ((whole, ()), (bare, ()), (whole, ("--pretrained-part", "encoder"))):
        run = program.train("playback", "vggsound", "--pretrained", file, *options)
        assert np.isfinite(run.predictions["loss"]).all()
    decoder = program.train("playback", "vggsound", "--pretrained", whole, "--pretrained-part", "decoder")
    assert np.isfinite(decoder.predictions["loss"]).all()


@row("5.08", "`MODEL.IGNORE_DECODER`, `MODEL.FREEZE_ENCODER`", "`--training`, `--freeze-encoder`")
def test_two_steps(program):
    for options in (("--training", "joint"), ("--training", "two_step", "--no-freeze-encoder")):
        run = program.train("playback", "vggsound", *options)
        assert run.config["training"] == options[1]
        assert len(run.history) == 1


@row(
    "5.09",
    "`NUM_GPUS`, `--num_shards`, `--shard_id`, `--init_method`",
    "`torchrun --nproc-per-node K -m audioattn_lib train playback`",
)
def test_several_processes(program, tmp_path):
    start = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "audioattn_lib",
    ]
    options = ["train", "playback", "--preset", "smoke", "--data", program.corpus("vggsound"), "--device", "cpu"]
    options += ["--training", "joint", "--runs", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*start, *options], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    (run,) = (tmp_path / "playback").iterdir()
    assert json.loads((run / "environment.json").read_text())["processes"] == 2


@row(
    "5.10",
    "`ENCODER.*`: MViTv2 T, S and B; `DECODER.*`, `FUSION`, `FUSION_LOC`",
    "`--size`, `--fusion`, `--fusion-level`",
)
def test_networks(program):
    from audioattn_lib.models.backbones.mvit import MViT

    # with a classifier of 309 classes: 50.8 and 34.2 million
    counts = {"B": 50.8e6, "S": 34.2e6}
    for name, published in counts.items():
        with torch.device("meta"):
            encoder = MViT.preset(name)
        count = sum(parameter.numel() for parameter in encoder.parameters()) + 309 * 769
        assert count == pytest.approx(published, rel=3e-3)
    for fusion in ("adaptive", "mean", "adaptive_concat"):
        for location in ("features", "predictions"):
            run = program.train("playback", "vggsound", "--fusion", fusion, "--fusion-level", location)
            assert np.isfinite(run.predictions["loss"]).all()


@row(
    "5.11",
    "`AUDIO_DATA.*`, `TEST.NUM_ENSEMBLE_VIEWS`, `MIXUP.*`",
    "`--sample-rate`, `--clip-seconds`, `--window-seconds`, `--hop-seconds`, `--n-mels`, `--views`, `--mixup`, "
    "`--cutmix`",
)
def test_sound(program):
    options = ("--clip-seconds", 0.5, "--views", 2, "--window-seconds", 0.02, "--hop-seconds", 0.02, "--n-mels", 16)
    for mixing in (("--mixup", 0.3), ("--cutmix", 1.0), ("--mixup", 0.3, "--cutmix", 1.0, "--mix-prob", 1.0)):
        run = program.train("playback", "vggsound", *options, "--sample-rate", 24000, *mixing)
        assert np.isfinite(run.predictions["loss"]).all()


@row(
    "5.12",
    "`scores/test.pkl`, `stdout.log` with `json_stats`, checkpoints, TensorBoard",
    "`predictions.csv`, `history.csv`, `metrics.json`, `checkpoint/`, `tensorboard/`",
)
def test_results(program, vggsound, tmp_path):
    table = vggsound.predictions
    columns = [f"probability_{name}" for name in vggsound.classes]
    assert np.allclose(table[columns].sum(axis=1), 1, atol=1e-5)
    assert list(table["predicted"]) == [vggsound.classes[i] for i in table[columns].to_numpy().argmax(axis=1)]
    assert {"epoch", "learning_rate", "train_loss", "valid_loss", "clips_per_second"} <= set(vggsound.history)
    assert list((vggsound.path / "tensorboard").glob("events.out.tfevents.*"))
    assert (vggsound.path / "checkpoint" / "best.safetensors").is_file()
    program("attention", "export", vggsound.path, "--format", "segments", "--format", "rttm", "-o", tmp_path)
    assert {"clip", "label", "start", "stop"} <= set(pd.read_csv(tmp_path / "segments.csv"))


@row(
    "5.13",
    "`SOLVER.*`: cosine with warm-up, `BASE_LR`, `WEIGHT_DECAY`, clipping",
    "`--learning-rate`, `--warmup-fraction`, `--weight-decay`, `--max-grad-norm`",
)
def test_solver(program):
    options = (
        "--learning-rate",
        1e-3,
        "--warmup-fraction",
        0.5,
        "--epochs",
        4,
        "--weight-decay",
        1e-4,
        "--max-grad-norm",
        0.5,
    )
    run = program.train("playback", "vggsound", *options)
    rates = run.history["learning_rate"].to_numpy()
    assert rates.argmax() in (1, 2), "rises for half of the steps"
    assert rates.max() <= 1e-3 + 1e-12
    assert rates[-1] < rates.max()


@row("5.14", "the chapter on corpora without times of events", "`audioattn run playback -p data AudioSet`", 1)
@pytest.mark.slow
@pytest.mark.notebook
def test_chapter(program, tmp_path):
    target = tmp_path / "chapter.ipynb"
    program("run", "playback", "-p", "data", program.corpus("audioset"), "-p", "preset", "smoke", "-o", target)
    outputs = [out for cell in json.loads(target.read_text())["cells"] for out in cell.get("outputs", [])]
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error"]
