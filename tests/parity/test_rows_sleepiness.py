"""Rows of the system for sleepiness: auttention, on ComParE Continuous Sleepiness as distributed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layouts import SLEEPINESS_SPLITS
from parity_rows import row

CLIPS = sum(SLEEPINESS_SPLITS.values())


def encoder_of(run):
    """The run of the autoencoder behind a regression."""
    from audioattn_lib.training.run_directory import Run

    return Run.load(run.path.parent / run.config["encoders"][0])


@pytest.fixture
def encoders(program):
    """Autoencoders with and without attention."""
    names = ("attention_bi_bi_hidden", "seq2seq_bi_bi_fc")
    return {name: encoder_of(program.train("sleepiness", "sleepiness", "--network", name)) for name in names}


@pytest.fixture
def split_files(program, encoders, tmp_path):
    """The published feature files: three for each system, no header, name and features."""
    files = {}
    for name, run in encoders.items():
        for split in SLEEPINESS_SPLITS:
            files[name, split] = tmp_path / f"{name}.{split}.csv"
            options = ("--layout", "published", "--split", split)
            program("features", "convert", run.path / "features.nc", files[name, split], *options)
    return files


@row("2.01", "`wav/` and `lab/labels.csv`, `?` for the labels of the test", "`--data SLEEP`", 1)
def test_corpus(program):
    program("data", "check", program.corpus("sleepiness"))
    run = program.train("sleepiness", "sleepiness")
    tested = run.predictions[run.predictions["split"] == "test"]
    assert len(tested) == SLEEPINESS_SPLITS["test"]
    assert not tested["label"].astype(str).str.contains(r"\d").any(), "nobody knows them"
    assert tested["predicted"].notna().all()
    assert "valid_spearman" in run.metrics
    assert "spearman" not in run.metrics, "nothing can be scored"
    told = program.train("sleepiness", "sleepiness_with_test_labels")
    assert -1 <= told.metrics["spearman"] <= 1


@row(
    "2.02",
    "`extract_spectrograms -nfft 1024 -nmel 240 -sd WAV -od OUT -lab LABELS`; `create_dataset`",
    "`audioattn features spectrograms --preset paper --data CORPUS`",
    13,
)
def test_spectrograms(program):
    data = program.corpus("sleepiness")
    said = program("features", "spectrograms", "--preset", "paper", "--data", data).output
    assert f"{CLIPS} clips" in said
    assert "frames of 240 bands" in said
    store = Path(said.splitlines()[-1].partition(": ")[0])
    made = {path: path.stat().st_mtime_ns for path in store.parent.rglob("*") if path.is_file()}
    again = program("features", "spectrograms", "--preset", "paper", "--data", data, "--n-fft", 1024).output
    assert again.splitlines()[-1] == said.splitlines()[-1]
    assert {path: path.stat().st_mtime_ns for path in made} == made, "nothing is computed twice"


@row("2.03", "`train -nt seq2seq_bi_bi_fc`, `seq2seq_bi_bi`", "`audioattn train sleepiness --network`")
def test_networks_without_attention(program):
    widths = {"seq2seq_bi_bi_fc": 1, "seq2seq_bi_bi": 2}
    for name, width in widths.items():
        run = encoder_of(program.train("sleepiness", "sleepiness", "--network", name, "--units", 8))
        assert run.metrics["n_features"] == width * 8, "256 and 512 with the published 256 units"
        assert np.isfinite(run.metrics["devel_loss"])


@row("2.04", "`train -nt attention_bi_bi`, `attention_bi_bi_hidden`", "`audioattn train sleepiness --network`")
def test_networks_with_attention(program):
    for name in ("attention_bi_bi", "attention_bi_bi_hidden"):
        run = encoder_of(program.train("sleepiness", "sleepiness", "--network", name))
        assert run.metrics["n_features"] == 16
        assert run.attention.alignment is not None


@row("2.05", "`-bs 64 -nu 256 -ne 10 -lr 0.001`", "`--batch-size`, `--units`, `--epochs`, `--learning-rate`")
def test_training_options(program):
    said = program("train", "sleepiness", "--preset", "paper", "--print-config").output
    config = json.loads(said)
    published = {"batch_size": 64, "units": 256, "epochs": 10, "learning_rate": 0.001, "n_fft": 1024, "n_mels": 240}
    assert {name: config[name] for name in published} == published
    options = ("--batch-size", 4, "--units", 4, "--epochs", 2, "--learning-rate", 0.01)
    run = encoder_of(program.train("sleepiness", "sleepiness", *options))
    assert len(run.history) == 2
    assert run.history["step"].iloc[-1] == 2 * SLEEPINESS_SPLITS["train"] / 4
    assert run.history["learning_rate"].iloc[-1] == pytest.approx(0.01)
    assert run.metrics["n_features"] == 8


@row("2.06", "`-ckpt_dir DIR`: continue, or start from a checkpoint", "start again; `--pretrained RUN`", 9)
def test_checkpoints(program):
    first = encoder_of(program.train("sleepiness", "sleepiness"))
    best = first.path / "checkpoint" / "best.safetensors"
    same = encoder_of(program.train("sleepiness", "sleepiness", "--pretrained", best, "--epochs", 0))
    assert same.metrics["devel_loss"] == pytest.approx(first.metrics["devel_loss"], rel=1e-4)
    further = encoder_of(program.train("sleepiness", "sleepiness", "--pretrained", best, "--epochs", 1))
    assert further.history["train_loss"].iloc[0] < first.history["train_loss"].iloc[0], "goes on from there"


@row(
    "2.07",
    "`extract_features -nt NETWORK -ckpt_dir DIR -od OUT -fn NAME`: three CSV files",
    "`features.nc` of a run, `audioattn features extract`, `audioattn features convert --layout published`",
)
def test_extract_features(program, encoders, split_files, tmp_path):
    table = pd.read_csv(split_files["attention_bi_bi_hidden", "devel"], header=None)
    assert table.shape == (SLEEPINESS_SPLITS["devel"], 1 + 16)
    assert list(table[0]) == sorted(table[0])
    assert all("devel_" in name for name in table[0])
    run = encoders["attention_bi_bi_hidden"]
    program("features", "extract", run.path, program.corpus("sleepiness"), tmp_path / "again.nc")
    program(
        "features",
        "convert",
        tmp_path / "again.nc",
        tmp_path / "again.csv",
        "--layout",
        "published",
        "--split",
        "devel",
    )
    again = pd.read_csv(tmp_path / "again.csv", header=None)
    assert list(again[0]) == list(table[0])
    assert np.allclose(again.iloc[:, 1:].astype(float), table.iloc[:, 1:].astype(float), atol=1e-5)


@row(
    "2.08",
    "`fusion_features -seq A.csv -att B.csv -op FUSED.csv`, for each of three splits",
    "`audioattn features fuse FUSED.csv A.csv B.csv`",
    5,
)
def test_fusion(program, split_files, tmp_path):
    fused = {}
    for split in SLEEPINESS_SPLITS:
        fused[split] = tmp_path / f"fused.{split}.csv"
        pair = (split_files["seq2seq_bi_bi_fc", split], split_files["attention_bi_bi_hidden", split])
        said = program("features", "fuse", fused[split], *pair).output
        assert "8 + 16 = 24 features" in said
    said = program("features", "regress", *fused.values(), "--data", program.corpus("sleepiness")).output
    assert "spearman" in said.lower()


@row(
    "2.09",
    "`baseline -train A -devel B -test C -lab LABELS -nfeat N -pred P.csv`",
    "`audioattn features regress --train A --devel B --test C --labels LABELS --num-feat N -o P.csv`",
    10,
)
def test_baseline(program, split_files, tmp_path):
    given = [
        word for split in SLEEPINESS_SPLITS for word in (f"--{split}", split_files["attention_bi_bi_hidden", split])
    ]
    labels = Path(program.corpus("sleepiness")) / "lab" / "labels.csv"
    options = ("--labels", labels, "--num-feat", 12, "--model", "published_svr", "--layout", "published")
    target = tmp_path / "predictions.csv"
    program("features", "regress", *given, *options, "-o", target)
    table = pd.read_csv(target)
    assert list(table) == ["file_name", "prediction"]
    assert len(table) == SLEEPINESS_SPLITS["test"]
    assert set(table["prediction"]) <= set(range(1, 10)), "whole numbers"


@row(
    "2.10",
    "`test_result -pred P.csv -lab LABELS`: `SpearmanCC`",
    "`audioattn features score P.csv LABELS`",
    10,
)
def test_result(program, split_files, tmp_path):
    from scipy.stats import spearmanr

    files = [split_files["attention_bi_bi_hidden", split] for split in SLEEPINESS_SPLITS]
    target = tmp_path / "predictions.csv"
    program("features", "regress", *files, "--data", program.corpus("sleepiness"), "-o", target)
    root = Path(program.corpus("sleepiness_with_test_labels"))
    labels = root / "lab" / "labels_confidential.csv"
    said = program("features", "score", target, labels).output
    table = pd.read_csv(target)
    table = table[table["split"] == "test"].assign(file_name=lambda t: t["clip"].str.rpartition("/")[2])
    both = table.merge(pd.read_csv(labels), on="file_name", suffixes=("_own", ""))
    expected = spearmanr(both["predicted"], both["label"].astype(float)).statistic
    assert f"{expected:.3f}" in said
    assert "interval" in said.lower() or " to " in said


@row("2.11", "TensorBoard: `loss_seq2seq`, `loss_attention`", "`tensorboard/` of every run, `history.csv`")
def test_tensorboard(encoders):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for run in encoders.values():
        events = EventAccumulator(str(run.path / "tensorboard"))
        events.Reload()
        tags = events.Tags()["scalars"]
        assert any("loss" in tag for tag in tags)
        assert {"train_loss", "valid_loss"} <= set(run.history)


@row(
    "2.12",
    "the commands one after the other, on the corpus as distributed",
    "`audioattn run sleepiness -p data CORPUS`",
    1,
    14,
)
@pytest.mark.slow
@pytest.mark.notebook
def test_chapter(program, tmp_path):
    target = tmp_path / "chapter.ipynb"
    program("run", "sleepiness", "-p", "data", program.corpus("sleepiness"), "-p", "preset", "smoke", "-o", target)
    cells = json.loads(target.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error"]


@row(
    "2.13",
    "published correlations: 0.324 and 0.311, 0.283 and 0.359, 0.320 and 0.367",
    "a table beside ours in the results of the chapter",
    15,
)
def test_published_results(root):
    pages = [root / "book" / "sleepiness_published.md", root / "notebooks" / "sleepiness_results.ipynb"]
    text = "\n".join(path.read_text() for path in [*pages, *(root / "audioattn_lib" / "experiments").rglob("*.py")])
    for pair in (("324", "311"), ("283", "359"), ("320", "367")):
        assert any(all(number in line for number in pair) for line in text.splitlines()), f"{pair} stand in one row"
