"""Rows of the system for scenes and instruments: FRITO, on TAU Urban Acoustic Scenes 2020 Mobile and NSynth."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import torch
from parity_rows import row

from audioattn_lib.attention.patterns.names import PATTERNS

SCENES = "scenes_and_instruments"
SIZES = ("--sample-rate", 8000, "--n-mels", 32, "--hop-seconds", 0.04)
"""Few patches, so that a network is trained in a second."""


def printed(program, *options):
    return json.loads(program("train", SCENES, *options, "--print-config").output)


@row("4.01", "`ex_dcase20.py` (or `main`) on TAU 2020 Mobile", f"`audioattn train {SCENES} --preset paper --data TAU`")
def test_scenes(program):
    published = {"n_mels": 128, "sample_rate": 32000, "hop_seconds": 0.01, "mixup": 0.3, "epochs": 10, "batch_size": 64}
    config = printed(program, "--preset", "paper")
    assert {name: config[name] for name in published} == published
    run = program.train(SCENES, "tau_urban")
    assert run.classes == ["airport", "bus", "tram"]
    assert {"test_seen", "test_unseen_device"} <= run.metrics["tests"].keys()
    assert {"a", "s4"} <= {name.lower() for name in run.metrics["domains"]}, "accuracy by device"


@row(
    "4.02",
    "`ex_nsynth.py` on NSynth: `{train,valid}.json`, `audio/`",
    f"`audioattn train {SCENES} --preset nsynth --data NSynth`",
)
def test_notes(program):
    published = {
        "epochs": 20,
        "batch_size": 176,
        "learning_rate": 1e-3,
        "warmup_epochs": 100,
        "mixup": 0.0,
        "weight_decay": 0.0,
    }
    config = printed(program, "--preset", "nsynth")
    assert {name: config[name] for name in published} == published
    for layout in ("nsynth_published", "nsynth"):
        run = program.train(SCENES, layout)
        assert run.classes == ["bass", "guitar", "reed"], "synth_lead is no acoustic instrument"
        assert {"acoustic", "electronic", "synthetic"} <= run.metrics["domains"].keys()
        assert run.metrics["domains"]["acoustic"]["seen"] == "yes"


@row("4.03", "`ex_nsynth_resnet.py`", f"`audioattn train {SCENES} --preset nsynth_cnn --data NSynth`")
def test_cnn(program):
    assert printed(program, "--preset", "nsynth_cnn")["epochs"] == 128
    run = program.train(SCENES, "nsynth_published", "--size", "mid_level_split", *SIZES)
    assert np.isfinite(run.predictions["loss"]).all()


@row("4.04", "`help`, `print_config`, `with key=value`", "`--help`, `--print-config`, `--key value`")
def test_configuration(program):
    text = program("train", SCENES, "--help").output
    assert all(f"--{name.replace('_', '-')}" in text for name in printed(program))
    changed = printed(program, "--preset", "paper", "--learning-rate", 0.01, "--pattern", "sparse_row_6")
    assert (changed["learning_rate"], changed["pattern"]) == (0.01, "sparse_row_6")


NAMED = {
    "passt_s_20sec": ("passt_s_f128_20sec_p16_s10_ap474", 2000),
    "passt_s_30sec": ("passt_s_f128_30sec_p16_s10_ap473", 3000),
    "passt_s_ap476": ("passt_s_swa_p16_128_ap476", 998),
    "passt_s_ap472": ("passt_s_p16_128_ap472", 998),
    "passt_s_p16_s16_128_ap468": ("passt_s_p16_s16_128_ap468", 998),
    "passt_s_swa_p16_s16_128_ap473": ("passt_s_swa_p16_s16_128_ap473", 998),
    "passt_s_swa_p16_s14_128_ap471": ("passt_s_swa_p16_s14_128_ap471", 998),
    "passt_s_p16_s14_128_ap469": ("passt_s_p16_s14_128_ap469", 998),
    "passt_s_swa_p16_s12_128_ap473": ("passt_s_swa_p16_s12_128_ap473", 998),
    "passt_s_p16_s12_128_ap470": ("passt_s_p16_s12_128_ap470", 998),
}


@row("4.05", "`print_named_configs`; `passt_s_20sec` and the other architectures, `mini_train`", "`--preset NAME`", 13)
def test_named_configurations(program):
    from audioattn_lib.models.layers.transformer import ARCHITECTURES

    text = " ".join(program("train", SCENES, "--help").output.split())
    for name, (architecture, frames) in NAMED.items():
        assert name in text
        assert printed(program, "--preset", name)["size"] == architecture
        assert ARCHITECTURES[architecture][1] == frames
    assert printed(program, "--preset", "smoke")["epochs"] == 1
    refused = program("train", SCENES, "--preset", "passt_s_ap999", code=2).stderr
    assert "passt_s_ap476" in refused, "an unknown one is an error that lists the others"


@row("4.06", "`evaluate_only`", "`--epochs 0 --pretrained WEIGHTS`", 4, 9)
def test_evaluate_only(program, tmp_path):
    run = program.train(SCENES, "nsynth_published")
    best = run.path / "checkpoint" / "best.safetensors"
    again = program.train(SCENES, "nsynth_published", "--epochs", 0, "--pretrained", best)
    columns = ["loss", *(name for name in run.predictions if name.startswith("probability_"))]
    assert np.allclose(again.predictions[columns], run.predictions[columns], atol=1e-5)
    # a corpus with the same tests and other training clips: the scaling belongs to the model
    other = tmp_path / "other"
    shutil.copytree(program.corpus("nsynth_published"), other)
    table = json.loads((other / "train.json").read_text())
    kept = {note: value for number, (note, value) in enumerate(table.items()) if number % 6 < 2}
    (other / "train.json").write_text(json.dumps(kept))
    elsewhere = program.train(SCENES, str(other), "--epochs", 0, "--pretrained", best)
    assert np.allclose(elsewhere.predictions[columns], run.predictions[columns], atol=1e-5)
    refused = program(
        *("train", SCENES, "--preset", "smoke", "--data", program.corpus("tau_urban"), "--epochs", 0),
        *("--pretrained", best, "--runs", tmp_path / "runs"),
        code=2,
    ).stderr
    assert "airport" in refused, "other classes are refused by name"


@row("4.07", "`model_speed_test`", "`audioattn bench --only patterns`")
def test_speed(program, root):
    asked = subprocess.run([sys.executable, "-m", "benchmarks", "--help"], cwd=root, capture_output=True, text=True)
    assert asked.returncode == 0
    assert "--only" in asked.stdout
    results = json.loads((root / "benchmarks" / "results" / "cpu.json").read_text())["patterns"]["results"]
    cases = {result["case"]: result["candidates"] for result in results}
    assert any("training step" in case and "470 tokens" in case for case in cases)
    assert all("per_row_6" in candidates for candidates in cases.values())


@row("4.08", "`test_loaders`, `test_loaders_train_speed`", "`audioattn data check`; clips per second in `history.csv`")
def test_loaders(program):
    for name in ("tau_urban", "nsynth_published"):
        assert "clips" in program("data", "check", program.corpus(name)).output
    assert (program.train(SCENES, "nsynth_published").history["clips_per_second"] > 0).all()


@row("4.09", "`rf_norm_t`: every value", "`--pattern`, the same names")
def test_patterns(program):
    values = {"r": "2", "v": "2", "l": "5", "s": "0.5", "w": "6", "c": "16"}
    for pattern in PATTERNS:
        name = pattern
        if pattern == "attn_penalty_{w}_{s}_{c}":
            name = "attn_penalty_6_3_16"
        for letter, value in values.items():
            name = name.replace(f"{{{letter}}}", value)
        run = program.train(SCENES, "nsynth_published", "--pattern", name, *SIZES)
        assert np.isfinite(run.predictions["loss"]).all(), name
    refused = program("train", SCENES, "--preset", "smoke", "--pattern", "pre_row_6", code=2).stderr
    assert "per_row_{r}" in refused


@row("4.10", "`global_tokens_num`, `u_patchout`, `s_patchout_t`, `s_patchout_f`", "`--n-global`, `--patchout`, ...")
def test_tokens(program):
    options = ("--n-global", 4, "--patchout", 2, "--patchout-time", 1, "--patchout-frequency", 1)
    run = program.train(SCENES, "nsynth_published", "--pattern", "sparse_row_1", *options, *SIZES)
    assert np.isfinite(run.predictions["loss"]).all()
    again = program.train(SCENES, "nsynth_published", "--pattern", "sparse_row_1", "--n-global", 2, *SIZES)
    assert run.metrics["n_parameters"] > again.metrics["n_parameters"]


@row(
    "4.11",
    "`models.mel`: `fmin_aug_range`, `fmax_aug_range`, `freqm`, `timem`",
    "`--front-end published`, `--f-min-jitter`, `--f-max-jitter`, `--frequency-mask`, `--time-mask`",
)
def test_front_end(program):
    config = printed(program, "--preset", "paper")
    assert [config[name] for name in ("f_min_jitter", "f_max_jitter", "frequency_mask", "time_mask")] == [
        10,
        2000,
        48,
        80,
    ]
    moved = ("--f-min-jitter", 10, "--f-max-jitter", 400, "--frequency-mask", 4, "--time-mask", 4)
    run = program.train(SCENES, "nsynth_published", "--front-end", "published", *moved, "--sample-rate", 8000)
    assert np.isfinite(run.predictions["loss"]).all()


@row(
    "4.12",
    "`lr`, `weight_decay`, `schedule_mode`, `use_mixup` and `nomixup`, `swa`",
    "`--learning-rate`, `--weight-decay`, `--schedule`, `--mixup`, `--average swa`",
)
def test_training_options(program):
    rates = {}
    for schedule in ("published_ramp", "published_cosine"):
        options = ("--schedule", schedule, "--epochs", 3, "--learning-rate", 1e-3, "--mixup", 0.3, "--average", "swa")
        run = program.train(SCENES, "nsynth_published", *options, *SIZES)
        rates[schedule] = run.history["learning_rate"].to_numpy()
    # warm-up of 5 epochs: exp(-5 (1 - clip(e, 0.5, 5) / 5)^2)
    assert np.allclose(rates["published_ramp"], [1e-3 * np.exp(-5 * (1 - e / 5) ** 2) for e in (0.5, 1, 2)])
    assert not np.allclose(rates["published_cosine"], rates["published_ramp"])


@row(
    "4.13",
    "`pretrained`: a PaSST checkpoint; a Lightning checkpoint with `net.` and `net_swa.`",
    "`--pretrained FILE`",
    13,
)
def test_pretrained(program, tmp_path):
    run = program.train(SCENES, "nsynth_published", *SIZES)
    from audioattn_lib.models.weights import read_weights

    own = read_weights(run.path / "checkpoint" / "best.safetensors")
    plain, lightning = tmp_path / "passt.pt", tmp_path / "last.ckpt"
    start = "network."  # published names are those of the transformer alone
    names = {name.removeprefix(start): tensor for name, tensor in own.items() if name.startswith(start)}
    torch.save(names, plain)
    averaged = {f"net_swa.{name}": tensor for name, tensor in names.items()}
    live = {f"net.{name}": torch.zeros_like(tensor) for name, tensor in names.items()}
    torch.save({"state_dict": {**live, **averaged}, "epoch": 9}, lightning)
    for file, prefix in ((plain, ()), (lightning, ("--pretrained-prefix", "net_swa."))):
        started = program.train(SCENES, "nsynth_published", "--pretrained", file, *prefix, "--epochs", 1, *SIZES)
        assert started.history["train_loss"].iloc[0] < run.history["train_loss"].iloc[0], file.name


@row(
    "4.14",
    "`ensemble_s10`, `ensemble_many`, `ensemble_4`, `ensemble_5`, `ensemble_s16_14`",
    "several files in `--pretrained`",
    13,
)
def test_ensembles(program):
    first = program.train(SCENES, "nsynth_published", *SIZES)
    second = program.train(SCENES, "nsynth_published", "--seed", 1, *SIZES)
    files = ",".join(str(run.path / "checkpoint" / "best.safetensors") for run in (first, second))
    together = program.train(SCENES, "nsynth_published", "--epochs", 0, "--pretrained", files, *SIZES)
    columns = [name for name in first.predictions if name.startswith("probability_")]
    logits = [np.log(run.predictions[columns].to_numpy()) for run in (first, second)]
    mean = np.exp(np.mean(logits, axis=0))
    expected = mean / mean.sum(axis=1, keepdims=True)
    assert np.allclose(together.predictions[columns], expected, atol=1e-4), "the mean of logits"


@row("4.15", "`DDP=K`", "`torchrun --nproc-per-node K -m audioattn_lib train scenes_and_instruments`")
def test_several_processes(program, tmp_path):
    data = program.corpus("nsynth_published")
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
    options = ["train", SCENES, "--preset", "smoke", "--data", data, "--device", "cpu", *map(str, SIZES)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*start, *options, "--runs", str(tmp_path)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    (run,) = (path for path in (tmp_path / SCENES).iterdir())
    assert json.loads((run / "environment.json").read_text())["processes"] == 2
    assert len(pd.read_csv(run / "predictions.csv")) == 18
