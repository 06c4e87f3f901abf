"""Tables of features by the command line: what goes in comes out, joined by name."""

import csv
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from layouts import LAYOUTS, sound, write_sound

from audioattn_lib.audio import io
from audioattn_lib.cli import features
from audioattn_lib.data.tables.feature_table import FeatureTable
from audioattn_lib.data.tables.table_files import read_features, write_features
from audioattn_lib.experiments.sleepiness.config import SPECTROGRAM


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Call ``audioattn`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return call


@pytest.fixture
def table():
    return FeatureTable(
        ("a.wav", "b.wav", "c.wav"),
        np.arange(12.0).reshape(3, 4),
        labels=("1", "", "9"),
        values=np.array([1, np.nan, 9]),
        splits=("train", "devel", "test"),
        groups=("x", "y", "z"),
    )


def test_inspect(run, table):
    write_features(table, "t.csv")
    said = run("features", "inspect", "t.csv").output
    assert "t.csv: 3 rows of 4 features" in said
    assert "train 1, devel 1, test 1" in said
    assert "2 known, from 1 to 9" in said
    assert "groups     3" in said
    assert "feature_0, feature_1, feature_2 ... feature_3; from 0 to 11" in said


def test_convert_there_and_back(run, table):
    write_features(table, "t.csv")
    run("features", "convert", "t.csv", "t.nc")
    run("features", "convert", "t.nc", "t.arff", "--labels-last")
    run("features", "convert", "t.arff", "again.csv")
    with open("t.csv") as first, open("again.csv") as second:
        assert first.read() == second.read()


def test_convert_one_split_in_the_published_layout(run, table):
    write_features(table, "t.csv")
    run("features", "convert", "t.csv", "t.train.csv", "--layout", "published", "--split", "train")
    with open("t.train.csv") as file:
        assert file.read() == "a.wav,0.0,1.0,2.0,3.0\n"


def test_fuse_joins_by_name_and_says_the_width(run, table):
    write_features(table, "attention.csv")
    write_features(table.take([2, 0, 1]), "plain.arff")
    said = run("features", "fuse", "fused.csv", "attention.csv", "plain.arff").output
    assert "4 + 4 = 8 features" in said
    fused = read_features("fused.csv")
    assert fused.ids == table.ids
    np.testing.assert_array_equal(fused.features, np.concatenate([table.features] * 2, axis=1))
    assert fused.names[0] == "attention.feature_0"
    assert fused.names[-1] == "plain.feature_3"


def test_tables_of_runs_are_called_by_their_folders(run, table, tmp_path):
    for name in ("first", "second"):
        write_features(table, tmp_path / name / "features.csv")
    run("features", "fuse", "fused.csv", "first/features.csv", "second/features.csv")
    assert read_features("fused.csv").names[4] == "second_features.feature_0"


def test_mistakes_are_one_clean_line(run, table):
    write_features(table, "t.csv")
    write_features(table.take([0, 2]), "short.csv")
    for arguments, message in (
        (["inspect", "nothing.csv"], "nothing.csv: no such file"),
        (["convert", "t.csv", "t.xls"], "a feature table is one of .csv, .arff, .nc"),
        (["convert", "t.csv", "u.csv", "--split", "valid"], "no clip is in split 'valid'"),
        (["fuse", "fused.csv", "t.csv", "short.csv"], "1 clips of t are not in short: b.wav"),
        (["fuse", "fused.csv", "t.csv", "t.csv"], "rename one"),
    ):
        result = run("features", *arguments, code=2)
        assert result.stderr.startswith("audioattn: ")
        assert message in result.stderr


@pytest.mark.parametrize(
    ("corpus", "options", "said"),
    [
        ("voices", ["--speakers", 8, "--clips-per-speaker", 1, "--duration", "1,1.2"], "8 clips of 8 speakers"),
        (
            "accents",
            ["--accents", "coast,hills", "--speakers-per-accent", 2, "--n-folds", 2, "--clips-per-speaker", 1],
            "4 clips of 4 speakers: coast, hills",
        ),
        ("needles", ["--clips-per-class", 5, "--duration", 4], "20 clips: flutter_19, flutter_31, flutter_44, "),
    ],
)
def test_synthetic_corpora_are_written_as_files(run, tmp_path, monkeypatch, corpus, options, said):
    monkeypatch.setenv("AUDIOATTN_CACHE", str(tmp_path / "cache"))
    assert said in run("data", "synthesise", corpus, "here", *options).output
    assert io.info(next((tmp_path / "here" / "audio").iterdir())).sample_rate == 16_000
    assert "nothing found" in run("data", "check", "here").output


def test_every_regression_can_be_chosen():
    from audioattn_lib.cli.features import regress
    from audioattn_lib.evaluation.regression import REGRESSORS

    model = next(option for option in regress.params if option.name == "model")
    assert tuple(model.type.choices) == REGRESSORS


def test_regress_with_the_labels_of_a_corpus(run, tmp_path):
    """A table for each split, without labels, as the published code writes them."""
    rng = np.random.default_rng(0)
    rows, values = ["file_name,label"], rng.integers(1, 10, 90)
    for i, value in enumerate(values):
        rows.append(f"{('train', 'devel', 'test')[i % 3]}_{i:04d}.wav,{value}")
    (tmp_path / "SLEEP" / "wav").mkdir(parents=True)
    (tmp_path / "SLEEP" / "lab").mkdir()
    (tmp_path / "SLEEP" / "lab" / "labels.csv").write_text("\n".join(rows))
    for split in range(3):
        ids = tuple(row.split(",")[0] for row in rows[1:][split::3])
        features = values[split::3, None] + rng.standard_normal((30, 4))
        write_features(FeatureTable(ids, features), f"{split}.csv", layout="published")
    said = run("features", "regress", "0.csv", "1.csv", "2.csv", "--data", "SLEEP", "-o", "predictions.csv").output
    assert "4 features, complexity" in said
    assert "test       spearman 0." in said
    assert "chance     mean_absolute_error" in said
    with open("predictions.csv") as file:
        assert file.readline() == "clip,split,label,predicted,rounded\n"
        assert len(file.readlines()) == 60
    assert "no clip is in split 'train'" in run("features", "regress", "0.csv", code=2).stderr


@pytest.fixture
def published(tmp_path):
    """Three split files of two systems as the published code writes them, and the labels of the challenge."""
    rng = np.random.default_rng(0)
    values = rng.integers(1, 10, 90)
    parts = [("train", "devel", "test")[i % 3] for i in range(90)]
    names = [f"{split}_{i:04d}" for i, split in enumerate(parts)]
    rows = [f"{name}.wav,{value}" for name, value in zip(names, values, strict=True)]
    (tmp_path / "labels.csv").write_text("file_name,label\n" + "\n".join(rows) + "\n")
    for system, noise in (("seq", 1.0), ("att", 2.0)):
        for split in range(3):
            ids = tuple(f"{names[i]}_{values[i]}.png" for i in range(split, 90, 3))
            features = values[split::3, None] + noise * rng.standard_normal((30, 4))
            table = FeatureTable(ids, features)
            write_features(table, f"{system}.{parts[split]}.csv", layout="published")
    return values[2::3]


SPLITS = ("train", "devel", "test")


def test_the_published_fusion_of_two_systems_of_three_files(run, published):
    for split in SPLITS:
        said = run("features", "fuse", f"fused.{split}.csv", f"seq.{split}.csv", f"att.{split}.csv").output
        assert "4 + 4 = 8 features" in said
    files = [word for split in SPLITS for word in (f"--{split}", f"fused.{split}.csv")]
    said = run("features", "regress", *files, "--labels", "labels.csv", "-o", "p.csv", "--layout", "published").output
    assert "8 features, complexity" in said
    spearman = next(line for line in said.splitlines() if line.startswith("test       spearman"))
    with open("p.csv") as file:
        assert file.readline() == "file_name,prediction\n"
        predicted = {row.split(",")[0]: int(row.split(",")[1]) for row in file}
    assert len(predicted) == 30
    scored = run("features", "score", "p.csv", "labels.csv").output
    assert scored.startswith("test       spearman 0.")
    assert "30 clips" in scored
    # of the stacked table, whose clips have their splits from the labels
    run("features", "stack", "all.csv", *(f"fused.{split}.csv" for split in SPLITS))
    assert len(read_features("all.csv")) == 90
    assert spearman in run("features", "regress", "all.csv", "--labels", "labels.csv").output


def test_the_number_of_features_is_counted_from_the_first(run, published):
    files = [word for split in SPLITS for word in (f"--{split}", f"seq.{split}.csv")]
    said = run("features", "regress", *files, "--labels", "labels.csv", "--num-feat", 3).output
    assert "3 features, complexity" in said
    wrong = run("features", "regress", *files, "--labels", "labels.csv", "--num-feat", 5, code=2)
    assert "5 features are asked for, and the table has 4" in wrong.stderr


def test_predictions_are_scored_by_the_names_of_clips(run, published):
    from scipy.stats import spearmanr

    clips = [f"test_{i:04d}.wav" for i in range(2, 90, 3)]
    predicted = published + np.random.default_rng(1).standard_normal(30)
    rows = [f"{clip},{value}" for clip, value in zip(clips, predicted, strict=True)]
    text = "\n".join(["file_name,prediction", *reversed(rows)])
    Path("p.csv").write_text(text)
    said = run("features", "score", "p.csv", "labels.csv").output
    assert f"spearman {spearmanr(published, predicted).statistic:.3f} [" in said
    assert "p of spearman 0.0005, 30 clips" in said
    for arguments, message in (
        (["p.csv", "labels.csv", "--split", "devel"], "no predicted clip of split 'devel' has a number as its label"),
        (["labels.csv", "labels.csv"], "no column of predictions (predicted or prediction); it has file_name, label"),
        (["none.csv", "labels.csv"], "none.csv: no such file"),
    ):
        assert message in run("features", "score", *arguments, code=2).stderr
    Path("p.csv").write_text("\n".join(["file_name,prediction", *rows[1:]]))
    assert (
        "1 clips of split test have a label and no prediction"
        in run("features", "score", "p.csv", "labels.csv", code=2).stderr
    )
    Path("p.csv").write_text(text.replace("test_0002", "test_9999"))
    assert (
        "1 predicted clips are not in labels.csv, such as test_9999.wav"
        in run("features", "score", "p.csv", "labels.csv", code=2).stderr
    )


def test_tables_of_the_same_name_are_called_by_their_folders_without_the_split(run, published):
    for system in ("seq", "att"):
        Path(system).mkdir()
        for split in SPLITS:
            Path(f"{system}.{split}.csv").rename(f"{system}/features_{split}.csv")
    for split in SPLITS:
        run("features", "fuse", f"{split}.csv", f"seq/features_{split}.csv", f"att/features_{split}.csv")
    run("features", "stack", "all.csv", *(f"{split}.csv" for split in SPLITS))
    assert read_features("all.csv").names[-1] == "att_features.feature_3"
    run("features", "fuse", "named.csv", "train.csv", "seq/features_train.csv", "--names", "both,one")
    assert read_features("named.csv").names[0] == "both.seq_features.feature_0"


def test_spectrograms_and_features_of_a_trained_network(run):
    tiny = "voices?speakers=8&clips_per_speaker=4&duration=(1.0,1.5)"
    said = run("features", "spectrograms", "--data", tiny, "--n-mels", "16").output
    assert "32 clips" in said
    assert "frames of 16 bands" in said
    trained = run("train", "sleepiness", "--preset", "smoke", "--network", "seq2seq_bi_bi_fc").output
    (weights,) = Path("runs").glob("sleepiness/*/checkpoint")
    assert f"audioattn features extract {weights.parent} CORPUS features.csv" in trained
    said = run("features", "extract", weights.parent, tiny, "again.csv").output
    assert "again.csv: 32 rows of 8 features" in said
    own, again = read_features(weights.parent / "features.nc"), read_features("again.csv")
    np.testing.assert_allclose(again.select(own.ids).features, own.features, atol=1e-5)
    (other,) = {path.parent for path in Path("runs").glob("sleepiness/*/metrics.json")} - {weights.parent}
    refused = run("features", "extract", other, tiny, "t.csv", code=2).output
    assert "not the run of an autoencoder" in refused
    assert f"give {weights.parent}" in refused


def test_embeddings_of_a_sound_and_of_a_corpus(run):
    tiny = "accents?speakers_per_accent=3&clips_per_speaker=2&n_folds=3&duration=(1.0,1.2)"
    run("train", "accents", "--preset", "smoke", "--pooling", "MHA", "--optimizer", "RMSprop")
    (weights,) = Path("runs").glob("accents/*/checkpoint")
    said = run("features", "extract", weights.parent, tiny, "all.csv").output
    assert "rows of 8 features" in said
    assert "embedding_0" in said
    with np.load(weights.parent / "embeddings.npz") as kept:
        clips, embeddings = kept["clips"], kept["embeddings"]
    np.testing.assert_allclose(read_features("all.csv").select(list(clips)).features, embeddings, atol=1e-4)
    rng = np.random.default_rng(0)
    io.write("one.wav", (0.1 * rng.standard_normal(44_100)).astype(np.float32), 44_100)
    run("features", "extract", weights.parent, "one.wav", "one.csv")
    assert read_features("one.csv").ids == ("one.wav",)


def test_options_of_spectrograms_are_fields_of_the_configuration():
    assert set(SPECTROGRAM) | {"device"} == set(features._SPECTROGRAM)


def test_features_of_a_list_of_files_and_of_sounds_without_labels(run, tmp_path):
    tiny = "voices?speakers=8&clips_per_speaker=2&duration=(1.0,1.2)"
    said = run("train", "sleepiness", "--preset", "smoke", "--data", tiny).stdout
    encoder = said.splitlines()[1].partition(":")[0]
    LAYOUTS["label_lists"](tmp_path / "lists")
    run("features", "extract", encoder, "lists/files.lst", "listed.csv")
    listed = read_features("listed.csv")
    assert listed.ids == tuple(f"clips_wav/dev_{i:03d}.wav" for i in range(9))
    LAYOUTS["unlabelled"](tmp_path / "sounds")
    run("features", "extract", encoder, "sounds", "sounds.csv")
    assert len(read_features("sounds.csv")) == 4
    single = tmp_path / "lists" / "clips_wav" / "dev_003.wav"
    run("features", "extract", encoder, single, "one.csv")
    np.testing.assert_allclose(read_features("one.csv").features[0], listed.features[3], atol=1e-5)


def test_spectrograms_of_sounds_whose_labels_lie_elsewhere_are_written_where_one_says(run, tmp_path):
    LAYOUTS["sleepiness"](tmp_path / "SLEEP")
    (tmp_path / "SLEEP" / "lab" / "labels.csv").rename(tmp_path / "labels.csv")
    shape = ("--n-fft", 1024, "--hop-length", 256, "--n-mels", 24)
    arguments = ("features", "spectrograms", "--data", "SLEEP/wav", *shape)
    said = run(*arguments, "--labels", "labels.csv", "-o", "out").output
    assert "wav: 32 clips" not in said.splitlines()[0], "it is the corpus of that name"
    assert "out: 32 arrays and metadata.csv" in said
    with open("out/metadata.csv") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["file_name"], rows[0]["label"], rows[0]["split"]) == ("train_0001.wav.npy", "1", "train")
    assert rows[-1]["label"] == "?"
    array = np.load(tmp_path / "out" / "train_0001.wav.npy", allow_pickle=False)
    assert array.dtype == np.float32
    assert array.shape == (int(rows[0]["frames"]), 24)
    assert float(rows[0]["seconds_between_frames"]) == 256 / 16000
    assert "out is not empty" in run(*arguments, "-o", "out", code=2).stderr
    assert "32 clips" in run(*arguments).output, "labels are not needed"


def test_an_autoencoder_needs_no_labels(run, tmp_path, caplog):
    for i in range(10):
        write_sound(tmp_path / "sounds" / f"{i}.wav", sound(i))
    said = run("train", "sleepiness", "--preset", "smoke", "--data", "sounds")
    assert "sounds has no labels: nothing is predicted" in caplog.text
    made = said.stdout.splitlines()[-1].partition(":")[0]
    assert read_features(Path(made) / "features.nc").ids == tuple(f"{i}.wav" for i in range(10))
