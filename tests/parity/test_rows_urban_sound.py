"""Rows of the system for urban sounds: speech-continuous-attention, on UrbanSound8K as distributed."""

import itertools
import json
import math
import re

import numpy as np
import pandas as pd
import pytest
import soundfile
from layouts import URBAN_FORMATS
from parity_rows import row
from PIL import Image

from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.automation.grid import Grid

FEW = ("--train-folds", "4,5", "--valid-folds", "6", "--test-folds", "3")
"""A few folds of ten, whose clips are short, for what does not depend on how many there are."""
PUBLISHED_COLUMNS = ["file_id", "label", "pred", "duration", "fold", "mu", "var", "sigma_sq", "supp", "alpha"]


@pytest.fixture
def density(program):
    """A run with a density."""
    return program.train("urban_sound", "urbansound8k", "--attention", "triweight", *FEW)


@row("1.01", "`urbansound8k_prepare.py`", "`audioattn data check UrbanSound8K`")
def test_prepare(program):
    said = program("data", "check", program.corpus("urbansound8k")).output
    assert "40 clips" in said
    assert "error" not in said.lower()


@row("1.02", "clips of 8 to 192 kHz, 8 to 32 bit, float, ADPCM, stereo, 54 ms to 4 s", "`--data UrbanSound8K`", 7)
def test_every_format_is_read(program):
    program.corpus("urbansound8k")
    root = program.folder / "corpora" / "urbansound8k"
    kinds = {(info.samplerate, info.subtype, info.channels) for info in map(soundfile.info, root.rglob("*.wav"))}
    assert kinds == set(URBAN_FORMATS)
    folds = ("--train-folds", "4", "--valid-folds", "5", "--test-folds", "1,2,3,6,7,8,9,10")
    table = pd.read_csv(program.train("urban_sound", "urbansound8k", *folds).path / "attention.csv", index_col=0)
    assert len(table) == 32
    for name, samples in zip(table["file_id"], table["duration"], strict=True):
        info = soundfile.info(root / name)
        assert samples == pytest.approx(info.frames / info.samplerate * 16_000, abs=1), name


@row(
    "1.03",
    "`urbansound8k_train.py hparams/urbansound8k_acrnn.yaml`",
    "`audioattn train urban_sound --preset paper --data UrbanSound8K`",
)
def test_train(program):
    run = program.train("urban_sound", "urbansound8k", "--preset", "paper", "--epochs", 1)
    published = {
        "n_mels": 80,
        "attention_size": 128,
        "n_basis": 128,
        "penalty": 0.1,
        "learning_rate": 1e-3,
        "min_learning_rate": 1e-4,
    }
    published |= {"batch_size": 32, "cycle_steps": 1000, "weight_decay": 2e-6, "dropout": 0.15, "fused": True}
    assert {name: run.config[name] for name in published} == published
    assert run.metrics["n_parameters"] == 69_514 - 6 * 129, "as published, with 4 classes in place of 10"
    assert set(run.predictions["split"]) == {"test"}
    assert all("/fold1/" in name for name in run.predictions["clip"])
    assert 0 <= run.metrics["error"] <= 1


@row(
    "1.04",
    "results: `hyperparams.yaml`, `env.log`, `train_log.txt`, `tb_logs/`, `save/CKPT+.../`, `label_encoder.txt`",
    "`config.json`, `environment.json`, `history.csv`, `tensorboard/`, `checkpoint/`, `predictions.csv`",
)
def test_results(density):
    assert density.config["attention"] == "triweight"
    assert {"python", "packages", "device", "data"} <= density.environment.keys()
    assert {"epoch", "learning_rate", "train_loss", "train_accuracy", "valid_loss", "valid_error"} <= set(
        density.history
    )
    assert list((density.path / "tensorboard").glob("events.out.tfevents.*"))
    assert (density.path / "checkpoint" / "best.safetensors").stat().st_size > 100_000
    classes = [name.removeprefix("probability_") for name in density.predictions if name.startswith("probability_")]
    assert classes == sorted(set(density.predictions["label"])) == density.classes


@row(
    "1.05",
    "`--key=value` for any key of the YAML file; `--device=cuda:0`",
    "an option for every field; `--device cuda:0`",
    12,
)
def test_overrides(program):
    options = ("--preset", "paper", "--batch-size", 8, "--seed", 3, "--device", "cuda:0")
    config = json.loads(program("train", "urban_sound", *options, "--print-config").output)
    assert (config["batch_size"], config["seed"], config["device"], config["n_mels"]) == (8, 3, "cuda:0", 80)
    data = ("--data", program.corpus("urbansound8k"), "--runs", program.folder)
    refused = program("train", "urban_sound", "--preset", "smoke", "--device", "cuda:0", *data, code=2).stderr
    assert "cuda:0" in refused
    assert "cpu" in refused, "says what to do where there is none"


@row(
    "1.06",
    "`attn_max_activation` and `attn_domain`: four discrete maps, four densities",
    "`--attention`; with `--attention-domain` under the published names",
    12,
)
def test_mechanisms(program):
    data = ("--data", program.corpus("urbansound8k"))
    for domain, name, ours in (
        ("discrete", "softmax", "softmax"),
        ("continuous", "softmax", "gaussian"),
        ("continuous", "sparsemax", "parabola"),
    ):
        options = ("--attention", name, "--attention-domain", domain, *data)
        assert json.loads(program("train", "urban_sound", *options, "--print-config").output)["attention"] == ours
    runs = {name: program.train("urban_sound", "urbansound8k", "--attention", name, *FEW) for name in MECHANISMS}
    assert len(runs) == 8
    for name, run in runs.items():
        is_density = MECHANISMS[name].domain == "continuous"
        assert (run.attention.density is not None) == is_density
        if is_density:
            assert np.allclose(run.attention.density.alpha, MECHANISMS[name].alpha)


@row("1.07", "`attn_cont_encoder`: `discrete_attn`, `conv`; `attn_fuse_disc_and_cont`", "`--encoder`, `--fused`")
def test_encoders(program):
    for options in (("--encoder", "convolution"), ("--encoder", "moments", "--no-fused")):
        run = program.train("urban_sound", "urbansound8k", "--attention", "parabola", *FEW, *options)
        assert np.isfinite(run.attention.density.location).all()
        assert (run.config["encoder"], run.config["fused"]) == (options[1], "--no-fused" not in options)


@row(
    "1.08",
    "`train_fold_nums`, `valid_fold_nums`, `test_fold_nums`",
    "`--train-folds 2,3 --valid-folds 1 --test-folds 1`",
    12,
)
def test_lists_of_folds(program):
    folds = ("--train-folds", "2,3", "--valid-folds", "1", "--test-folds", "1")
    run = program.train("urban_sound", "urbansound8k", *folds)
    assert {name.split("/")[1] for name in run.predictions["clip"]} == {"fold1"}
    assert run.config["protocol"] == "published", "the best epoch is chosen on what is tested, and the run says so"
    several = program.train("urban_sound", "urbansound8k", "--train-folds", "2,3", "--test-folds", "4,5")
    assert {name.split("/")[1] for name in several.predictions["clip"]} == {"fold4", "fold5"}


@row(
    "1.09",
    "`generate_10fold_cv.py`: ten folds of two mechanisms",
    "`--fold all --attention parabola,triweight`; `audioattn sweep notebooks/sweeps/urban_sound_ten_folds.yml`",
    12,
)
def test_ten_folds(program, root):
    jobs = Grid.read(root / "notebooks" / "sweeps" / "urban_sound_ten_folds.yml").jobs
    folds = [str(i) for i in range(1, 11)]
    assert {(job["attentions"], job["folds"]) for job in jobs} == set(
        itertools.product(("parabola", "triweight"), folds)
    )
    options = ("--fold", "all", "--attention", "parabola", "--runs", program.folder / "runs")
    said = program(
        "train", "urban_sound", "--preset", "smoke", "--data", program.corpus("urbansound8k"), *options
    ).output
    for fold in folds:
        assert re.search(rf"fold {fold}\b.*accuracy|accuracy.*fold {fold}\b", said), "each line has its fold"
    assert "parabola" in said
    assert re.search("mean", said)
    assert re.search("deviation|±", said)


@row("1.10", "`urbansound8k_acrnn_4convs.yaml`", "`--model four_convolutions`")
def test_four_convolutions(program):
    run = program.train("urban_sound", "urbansound8k", "--model", "four_convolutions", *FEW)
    # kernels 7, 11, 31, 51 of 128 channels
    weights = 80 * 128 * 7 + 128 * 128 * (11 + 31 + 51)
    assert weights < run.metrics["n_parameters"] < weights + 40_000


@row(
    "1.11",
    "four ECAPA-TDNN files: discrete, continuous, and two more",
    "`--preset ecapa`, with `--attention parabola`, `--n-basis 256`, `--no-fused`",
)
def test_ecapa(program):
    published = {"epochs": 25, "seed": 1988, "min_learning_rate": 1e-8, "cycle_steps": 65000, "model": "ecapa"}
    config = json.loads(program("train", "urban_sound", "--preset", "ecapa", "--print-config").output)
    assert {name: config[name] for name in published} == published
    files = ((), ("--attention", "parabola"), ("--attention", "parabola", "--n-basis", 256, "--no-fused"))
    small = ("--preset", "ecapa", "--model", "ecapa_tiny", "--epochs", 1, "--cycle-steps", 4, *FEW)
    for options in (*files, ("--attention", "parabola", "--no-fused")):
        run = program.train("urban_sound", "urbansound8k", *small, *options)
        assert (run.attention.density is not None) == bool(options)
        assert np.isfinite(run.predictions["loss"]).all()


@row(
    "1.12",
    "`urbansound8k_save_attentions.py`: `attn.csv`",
    "`attention.csv` of every run, `audioattn attention export RUN --format csv`",
    7,
)
def test_save_attentions(program, density, tmp_path):
    program("attention", "export", density.path, "--format", "csv", "-o", tmp_path)
    exported = pd.read_csv(tmp_path / "attention.csv", index_col=0)
    own = pd.read_csv(density.path / "attention.csv", index_col=0)
    pd.testing.assert_frame_equal(exported, own)
    assert list(own)[:10] == PUBLISHED_COLUMNS
    predictions = density.predictions.set_index("clip").loc[own["file_id"]]
    assert list(own["label"]) == list(predictions["label"])
    assert list(own["pred"]) == list(predictions["predicted"])
    assert set(own["fold"].astype(str)) == {"3"}
    assert own["alpha"].isna().all(), "a density has no weights of frames"
    assert ((own["mu"] >= 0) & (own["mu"] <= 1)).all()
    assert (own["support_start_s"].dropna() >= 0).all()
    assert (own["support_stop_s"].dropna() <= own["duration_s"].loc[own["support_stop_s"].notna()] + 1e-9).all()
    # a = 9 var for the triweight density, and its scale parameter by section 4.1 of the mathematics
    expected = (4 / 945) ** (1 / 3) * (9 * own["var"]) ** (7 / 6)
    assert np.allclose(own["sigma_sq"], expected, rtol=1e-4)
    discrete = program.train("urban_sound", "urbansound8k", "--attention", "sparsemax", *FEW)
    weights = pd.read_csv(discrete.path / "attention.csv", index_col=0)["alpha"]
    assert all(math.isclose(sum(map(float, text.split(";"))), 1, abs_tol=0.05) for text in weights)


@row(
    "1.13",
    "`urbansound8k_save_specs.py`: a PNG of panels for each of `attn_num_samples` clips",
    "`audioattn attention panels RUN --first 20`",
    11,
)
def test_save_specs(program, density, tmp_path):
    program("attention", "panels", density.path, "--first", 3, "-o", tmp_path / "specs")
    pictures = sorted((tmp_path / "specs").glob("*.png"))
    assert len(pictures) == 3
    program("attention", "panels", density.path, "--first", 1, "--penalties", "", "-o", tmp_path / "short.png")
    with Image.open(pictures[0]) as six, Image.open(tmp_path / "short.png") as three:
        assert 1.8 < six.height / three.height < 2.2, "input, convolutions, value function, and three more of these"


@row(
    "1.14",
    "`utils.plot_spec_with_attention`: density over spectrogram",
    "`audioattn attention plot RUN --first 50`, PNG or SVG",
    11,
)
def test_densities_over_spectrograms(program, density, tmp_path):
    program("attention", "plot", density.path, "--all", "-o", tmp_path / "png")
    program("attention", "plot", density.path, "--first", 2, "--format", "svg", "-o", tmp_path / "svg")
    assert len(list((tmp_path / "png").glob("*.png"))) == len(density.predictions)
    assert all("<svg" in path.read_text()[:500] for path in (tmp_path / "svg").glob("*.svg"))
    assert len(list((tmp_path / "svg").iterdir())) == 2
