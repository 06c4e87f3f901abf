"""Rows of the systems for speakers and accents: double multi-head attention, upstream and the Catalan fork."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layouts import LIST_CLASSES, LIST_COUNTS
from parity_rows import row


@pytest.fixture
def accent(program):
    """A run on the published lists."""
    return program.train("accents", "label_lists", "--epochs", 2)


@pytest.fixture
def speaker(program):
    """A run on VoxCeleb with its list of trials."""
    return program.train("accents", "voxceleb")


@row("3.01", "`featureExtractor.py -i files.lst`", "`audioattn features extract RUN files.lst`; features are kept", 10)
def test_feature_extractor(program, accent, tmp_path):
    listed = Path(program.corpus("label_lists")) / "files.lst"
    program("features", "extract", accent.path, listed, tmp_path / "embeddings.csv")
    table = pd.read_csv(tmp_path / "embeddings.csv")
    assert len(table) == LIST_COUNTS["dev_files"]


@row("3.02", "`train.py` of the speaker system: VoxCeleb, a list of trials", "`--data VoxCeleb --trials LIST`")
def test_train_on_voxceleb(program, speaker):
    trials = Path(program.corpus("voxceleb")) / "veri_test.txt"
    clients, impostors = (trials.with_name(f"{name}.ndx") for name in ("clients", "impostors"))
    lines = [line.split() for line in trials.read_text().splitlines()]
    for path, kind in ((clients, "1"), (impostors, "0")):
        path.write_text("".join(f"{a} {b}\n" for each, a, b in lines if each == kind))
    assert len(speaker.classes) == 6
    for listed in (str(trials), f"{clients},{impostors}"):
        run = program.train("accents", "voxceleb", "--trials", listed)
        scores = run.metrics["verification"]
        assert (scores["trials"], scores["same"]) == (len(lines), sum(each == "1" for each, *_ in lines))
        assert 0 <= scores["equal_error_rate"] <= 1


@row(
    "3.03", "`train.py` of the accent system: `path class -1`, names without extensions", "`--data FOLDER_OF_LISTS`", 8
)
def test_train_on_lists(program, accent):
    assert "." not in (Path(program.corpus("label_lists")) / "train_files.lst").read_text().split()[0]
    assert accent.classes == [str(i) for i in range(LIST_CLASSES)]
    assert len(accent.predictions) == LIST_COUNTS["dev_files"]
    speakers = pd.read_csv(accent.path / "embeddings.csv")["speaker"]
    assert speakers.isna().all(), "nobody knows who speaks, and files are no speakers"
    assert accent.metrics["verification"] is None


@row(
    "3.04",
    "Common Voice; five accents merged to four, three or two",
    "`--data 'ca?accents=central,septentrional=central,...'`",
)
def test_common_voice(program):
    data = program.corpus("common_voice")
    five = program.train("accents", "common_voice")
    assert five.classes == ["balear", "central", "septentrional"]
    merged = program.train("accents", f"{data}?accents=central,septentrional=central,balear")
    assert merged.classes == ["balear", "central"]
    assert merged.metrics["n_groups"] > 1, "speakers are known"


@row("3.05", "`front_end`, `kernel_size`, `embedding_size`, `window_size`, `normalization`, `features`", "options")
def test_network_options(program):
    said = json.loads(program("train", "accents", "--preset", "paper", "--print-config").output)
    published = {
        "backbone": "vgg4l",
        "channels": 1024,
        "embedding_size": 400,
        "clip_seconds": 3.5,
        "band_normalization": "cmn",
    }
    assert {name: said[name] for name in published} == published
    shapes = ("--channels", 16, "--embedding-size", 12, "--clip-seconds", 0.3, "--features", "published")
    for name, normalisation in (("vgg3l", "cmvn"), ("vgg4l", "cmn"), ("resnet34", "cmn")):
        options = ("--backbone", name, "--band-normalization", normalisation, *shapes)
        run = program.train("accents", "label_lists", *options)
        assert sum(column.startswith("embedding_") for column in pd.read_csv(run.path / "embeddings.csv")) == 12


@row("3.06", "`pooling_method`, `heads_number`, `mask_prob`", "`--pooling`, `--heads`, `--head-dropout`")
def test_poolings(program):
    said = json.loads(program("train", "accents", "--preset", "paper", "--print-config").output)
    assert (said["pooling"], said["heads"], said["head_dropout"]) == ("double_multi_head", 32, 0.3)
    for name, heads in (("self_attention", 1), ("multi_head", 4), ("double_multi_head", 4)):
        options = ("--pooling", name, "--heads", 4, "--head-dropout", 0.3)
        record = program.train("accents", "label_lists", *options).attention
        assert record.weights.shape[1] == heads
        assert (record.head_weights is not None) == (name == "double_multi_head")


@row("3.07", "`scalingFactor`, `marginFactor`, `annealing`", "`--scale`, `--margin`, `--annealing`")
def test_margin_softmax(program):
    said = json.loads(program("train", "accents", "--preset", "paper", "--print-config").output)
    assert (said["loss"], said["scale"], said["margin"], said["annealing"]) == ("am_softmax", 30, 0.4, False)
    options = ("--scale", 15, "--margin", 0.3)
    losses = {}
    for annealing in ("--annealing", "--no-annealing"):
        run = program.train("accents", "label_lists", *options, annealing)
        losses[annealing] = run.history["train_loss"].iloc[0]
    assert losses["--annealing"] < losses["--no-annealing"], "the margin grows from nothing"


@row(
    "3.08",
    "`optimizer` `Adam`, `SGD`, `RMSprop`; `learning_rate`, `weight_decay`, `batch_size`, `gradientAccumulation`",
    "the same, in any case; `--grad-accum-steps`",
    13,
)
def test_optimisers(program):
    for name in ("Adam", "SGD", "RMSprop"):
        options = ("--optimizer", name, "--batch-size", 4, "--grad-accum-steps", 2, "--weight-decay", 1e-3)
        run = program.train("accents", "label_lists", *options, "--learning-rate", 1e-4)
        assert run.config["optimizer"].lower() == name.lower()
        batches = -(-LIST_COUNTS["train_files"] * 2 // 3 // 4)
        assert run.history["step"].iloc[-1] <= -(-batches // 2) + 1, "a step after two batches"


@row("3.09", "`max_epochs`, `early_stopping`, `validate_every`", "`--epochs`, `--patience`, `--validate-every`")
def test_stopping(program):
    options = ("--epochs", 12, "--patience", 1, "--learning-rate", 1e-12)
    run = program.train("accents", "label_lists", *options)
    assert len(run.history) == 3, "the first is the best, two are no better"
    rare = program.train("accents", "label_lists", "--epochs", 4, "--validate-every", 2)
    assert rare.history["valid_loss"].notna().tolist() == [False, True, False, True]


@row("3.10", "augmentation of the accent system: pitch, tempo or noise in 75 % of the draws", "`--augmentation`")
def test_augmentation(program):
    said = json.loads(program("train", "accents", "--preset", "accent", "--print-config").output)
    assert (said["augmentation"], said["clip_seconds"], said["patience"]) == ("pitch, tempo, noise", 0.2, 50)
    run = program.train("accents", "label_lists", "--augmentation", "pitch, tempo, noise")
    plain = program.train("accents", "label_lists")
    assert run.history["train_loss"].iloc[0] != plain.history["train_loss"].iloc[0]


@row("3.11", "`requeue`: continue an interrupted training", "start the same command again")
def test_requeue(program, tmp_path):
    options = ("train", "accents", "--preset", "smoke", "--data", program.corpus("label_lists"), "--epochs", 3)
    program(*options, "--runs", tmp_path / "whole")
    whole = next((tmp_path / "whole" / "accents").iterdir())
    interrupted = tmp_path / "again" / "accents" / whole.name
    program("train", "accents", "--preset", "smoke", *options[4:], "--runs", tmp_path / "again")
    for name in ("metrics.json", "predictions.csv", "embeddings.csv"):
        (interrupted / name).unlink()
    before = (interrupted / "history.csv").read_text()
    program(*options, "--runs", tmp_path / "again")
    assert (interrupted / "history.csv").read_text() == before, "nothing is trained twice"
    tables = [pd.read_csv(run / "predictions.csv") for run in (whole, interrupted)]
    pd.testing.assert_frame_equal(*tables)


@row(
    "3.12",
    "`getEmbeddingExample.py --audioPath --modelConfig --modelCheckpoint --device`",
    "`accents.load_model(RUN).embed_sounds(SOUND)`, `audioattn features extract RUN SOUND FILE`; `embeddings.csv`",
    3,
)
def test_embedding_of_a_sound(program, accent, tmp_path):
    own = pd.read_csv(accent.path / "embeddings.csv")
    columns = [name for name in own if name.startswith("embedding_")]
    sound = Path(program.corpus("label_lists")) / own["clip"].iloc[0]
    copy = shutil.copy(sound, tmp_path / "new.wav")
    program("features", "extract", accent.path, copy, tmp_path / "new.csv")
    made = pd.read_csv(tmp_path / "new.csv")[columns].to_numpy()[0]
    expected = own[columns].to_numpy()[0]
    cosine = made @ expected / np.linalg.norm(made) / np.linalg.norm(expected)
    assert cosine > 0.9999, "the same sound has the embedding that the run gave it"


@row("3.13", "`finetune.py` (published: fails, and loads no weights)", "`--pretrained WEIGHTS`", 9)
def test_finetune(program, accent, speaker):
    best = accent.path / "checkpoint" / "best.safetensors"
    same = program.train("accents", "label_lists", "--pretrained", best, "--epochs", 0)
    probabilities = [name for name in accent.predictions if name.startswith("probability_")]
    assert np.allclose(same.predictions[probabilities], accent.predictions[probabilities], atol=1e-5)
    voices = speaker.path / "checkpoint" / "best.safetensors"
    tuned = program.train("accents", "label_lists", "--pretrained", voices, "--pretrained-part", "encoder")
    assert tuned.classes == accent.classes


@row(
    "3.14",
    "equal error rate; accuracy, macro and micro F1; confusion matrix; TensorBoard",
    "`metrics.json`, `tensorboard/`",
    8,
)
def test_scores(accent, speaker):
    assert {
        "accuracy",
        "macro_f1",
        "unweighted_average_recall",
        "confusion_matrix",
        "interval",
    } <= accent.metrics.keys()
    assert np.sum(accent.metrics["confusion_matrix"]) == len(accent.predictions)
    assert {"equal_error_rate", "min_detection_cost"} <= speaker.metrics["verification"].keys()
    assert list((accent.path / "tensorboard").glob("events.out.tfevents.*"))


@row("3.15", "the chapter on corpora whose speakers are unknown", "`audioattn run accents -p data FOLDER_OF_LISTS`", 1)
@pytest.mark.slow
@pytest.mark.notebook
def test_chapter(program, tmp_path):
    target = tmp_path / "chapter.ipynb"
    program("run", "accents", "-p", "data", program.corpus("label_lists"), "-p", "preset", "smoke", "-o", target)
    outputs = [out for cell in json.loads(target.read_text())["cells"] for out in cell.get("outputs", [])]
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error"]
