"""Weights of a run evaluate and start other runs: alike in all chapters, classes by name, scaling with the weights."""

import dataclasses
import logging
import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from audioattn_lib.audio import io
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.experiments import accents, playback, scenes_and_instruments, sleepiness, urban_sound
from audioattn_lib.experiments.common.initial_weights import configure_like, read_origin

EXPERIMENTS = {
    "urban_sound": (urban_sound, {"band_normalization": "corpus"}),
    "accents": (accents, {"pooling": "double_multi_head"}),
    "sleepiness": (sleepiness, {"db_reference": "corpus", "network": "seq2seq_bi_bi_fc"}),
    "scenes_and_instruments": (scenes_and_instruments, {"band_normalization": "corpus"}),
    "playback": (playback, {"selection": "slots"}),
}


def network_of(experiment, config, root):
    return sleepiness.autoencode(config, root) if experiment is sleepiness else experiment.run(config, root)


@pytest.fixture(scope="module", params=list(EXPERIMENTS))
def trained(request, tmp_path_factory):
    """A chapter, a run of it, and the folder of runs."""
    experiment, changes = EXPERIMENTS[request.param]
    root = tmp_path_factory.mktemp("runs")
    return experiment, network_of(experiment, experiment.Config.smoke(**changes), root), root


def like(experiment, path, **changes):
    return configure_like(experiment.Config, experiment.NAME, str(path), **changes)


def weights(run):
    return load_file(run.path / "checkpoint" / "best.safetensors")


def test_evaluation_alone_finds_what_the_run_found(trained, tmp_path):
    experiment, run, root = trained
    alone = tmp_path / "weights.safetensors"  # the file knows its settings wherever it lies
    shutil.copy(run.path / "checkpoint" / "best.safetensors", alone)
    for source in (run.path, alone):
        again = network_of(experiment, like(experiment, source, epochs=0), root)
        assert again.key != run.key
        assert list(again.history["epoch"]) == [0]
        columns = [name for name in run.predictions if name == "loss" or name.startswith("probability_")]
        np.testing.assert_allclose(again.predictions[columns], run.predictions[columns], atol=1e-5)
    assert all(torch.equal(tensor, weights(again)[name]) for name, tensor in weights(run).items())


@pytest.mark.parametrize("pretrained_part", ["all", "encoder", "decoder"])
def test_training_starts_from_the_weights_or_a_part_of_them(trained, pretrained_part, tmp_path):
    experiment, run, _ = trained
    rates = {
        "urban_sound": {"min_learning_rate": 1e-12, "learning_rate": 1e-12},
        "accents": {"learning_rate": 1e-12},
        "sleepiness": {"learning_rate": 1e-12},
        "scenes_and_instruments": {"learning_rate": 1e-12},
        "playback": {"learning_rate": 1e-12, "encoder_learning_rate": 1e-12, "training": "joint"},
    }[experiment.NAME]
    if experiment is not sleepiness:
        rates["weight_decay"] = 0.0
    config = like(experiment, run.path, epochs=1, pretrained_part=pretrained_part, seed=5, **rates)
    actual, before = weights(network_of(experiment, config, tmp_path)), weights(run)
    transformer = ("patch", "cls", "dist", "new", "freq", "time", "blocks", "norm")
    encoder = {
        "urban_sound": ("normalisation.", "front."),
        "accents": ("front.",),
        "sleepiness": ("encoder.", "dense."),
        "scenes_and_instruments": ("scaling.", *(f"network.{name}" for name in transformer)),
        "playback": ("encoder.",),
    }[experiment.NAME]
    moving = ("running_mean", "running_var", "num_batches_tracked", "steps", "updates")
    for name, tensor in before.items():
        if name.endswith(moving) or tensor.ndim < 2:
            continue  # batch statistics, and numbers that are drawn alike whatever the seed
        taken = pretrained_part == "all" or name.startswith(encoder) == (pretrained_part == "encoder")
        assert torch.allclose(actual[name], tensor, atol=1e-6) == taken, name


def test_a_part_is_nothing_to_evaluate(trained, tmp_path):
    experiment, run, _ = trained
    with pytest.raises(ConfigError, match="pretrained_part is 'encoder' and epochs is 0; the rest of the network"):
        network_of(experiment, like(experiment, run.path, epochs=0, pretrained_part="encoder"), tmp_path)


def test_settings_that_weights_need_are_compared(trained, tmp_path):
    experiment, run, _ = trained
    changes = {"n_mels": 24} if experiment is not urban_sound else {"attention": "sparsemax"}
    with pytest.raises(ConfigError, match="these settings are not those that the weights were trained with"):
        network_of(experiment, like(experiment, run.path, epochs=0, **changes), tmp_path)


def test_other_weights_are_another_run(trained, tmp_path):
    experiment, run, root = trained
    file = tmp_path / "weights.safetensors"
    shutil.copy(run.path / "checkpoint" / "best.safetensors", file)
    config = like(experiment, file, epochs=0)
    first = network_of(experiment, config, root)
    tensors = weights(run)
    name = max(tensors, key=lambda each: tensors[each].numel())
    tensors[name] = tensors[name] + 0.5
    with safe_open(file, "pt") as opened:
        about = {"audioattn": opened.metadata()["audioattn"]}
    save_file(tensors, file, about)
    assert network_of(experiment, config, root).key != first.key


def test_what_is_no_weights_is_said(trained, tmp_path):
    experiment, _, _ = trained
    with pytest.raises(ConfigError, match="there is no such run directory or file of weights"):
        read_origin(tmp_path / "none")
    with pytest.raises(ConfigError, match="has no trained weights"):
        read_origin(tmp_path)
    if experiment is not scenes_and_instruments:
        with pytest.raises(ConfigError, match="epochs is 0; it must be at least 1, or 0 with pretrained"):
            experiment.Config.smoke(epochs=0)
    with pytest.raises(ConfigError, match="pretrained_part is 'head'; it must be one of all, encoder, decoder"):
        experiment.Config.smoke(pretrained="x", pretrained_part="head")
    with pytest.raises(ConfigError, match="pretrained_prefix is 'net.'; it must be '' without pretrained"):
        experiment.Config.smoke(pretrained_prefix="net.")


def tones(folder, classes, rate=16000, gain=0.3):
    """Tones of some classes, three folds of two clips of each."""
    lines = ["file_name,label,split,fold"]
    pitches = {"low": 220, "mid": 500, "high": 1200, "top": 3000}
    rng = np.random.default_rng(0)
    for fold in (1, 2, 3):
        for name in classes:
            for take in range(2):
                samples = gain * np.sin(2 * np.pi * pitches[name] * (1 + 0.01 * take) * np.arange(rate) / rate)
                file = f"{name}_{fold}_{take}.wav"
                io.write(folder / file, (samples + 0.01 * rng.standard_normal(rate)).astype(np.float32), rate)
                lines.append(f"{file},{name},{('train', 'devel', 'test')[fold - 1]},{fold}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return str(folder)


@pytest.fixture
def on_tones(tmp_path):
    config = urban_sound.Config.smoke(
        data=tones(tmp_path / "four", ["low", "mid", "high", "top"]), band_normalization="corpus", epochs=2, fold="1"
    )
    return urban_sound.run(config, tmp_path / "runs"), tmp_path


def test_classes_are_matched_by_name_and_the_scaling_stays(on_tones, caplog):
    run, folder = on_tones
    fewer = tones(folder / "two", ["high", "low"], gain=0.01)
    with caplog.at_level(logging.WARNING, logger="audioattn"):
        result = urban_sound.run(like(urban_sound, run.path, epochs=0, data=fewer), folder / "runs")
    assert "classes left out, for the corpus lacks them: mid, top" in caplog.text
    assert result.classes == ["high", "low"]
    before, after = weights(run), weights(result)
    places = [run.classes.index(name) for name in result.classes]
    assert torch.equal(after["classifier.weight"], before["classifier.weight"][places])
    assert torch.equal(after["classifier.bias"], before["classifier.bias"][places])
    assert torch.equal(after["normalisation.mean"], before["normalisation.mean"])
    assert torch.equal(after["normalisation.std"], before["normalisation.std"])
    # the same recordings: odds of the two classes are those that the network of four gives
    own = tones(folder / "same", ["high", "low"])
    same = urban_sound.run(like(urban_sound, run.path, epochs=0, data=own, fold="1"), folder / "runs")
    assert set(same.predictions["clip"]) == {name for name in run.predictions["clip"] if name[:3] in ("hig", "low")}


def test_classes_that_weights_lack_are_refused_or_learned(on_tones, caplog):
    run, folder = on_tones
    other = tones(folder / "other", ["low", "top"])
    table = folder / "other" / "metadata.csv"
    table.write_text(table.read_text().replace(",top,", ",siren,"))
    with pytest.raises(ConfigError, match="has no class siren; its classes are high, low, mid, top"):
        urban_sound.run(like(urban_sound, run.path, epochs=0, data=other), folder / "runs")
    with caplog.at_level(logging.WARNING, logger="audioattn"):
        config = like(urban_sound, run.path, epochs=1, data=other, min_learning_rate=1e-12, learning_rate=1e-12)
        learned = urban_sound.run(config, folder / "runs")
    assert "classes as drawn, for it lacks them: siren" in caplog.text
    before, after = weights(run), weights(learned)
    kept = after["classifier.weight"][learned.classes.index("low")]
    torch.testing.assert_close(kept, before["classifier.weight"][run.classes.index("low")], atol=1e-6, rtol=0)


def test_weights_without_names_of_classes_say_so(on_tones, caplog):
    run, folder = on_tones
    bare = folder / "bare.safetensors"
    save_file(weights(run), bare)
    config = dataclasses.replace(urban_sound.Config(**run.config), pretrained=str(bare), epochs=0)
    with caplog.at_level(logging.WARNING, logger="audioattn"):
        urban_sound.run(config, folder / "runs")
    assert "does not name its classes; they are taken in this order: high, low, mid, top" in caplog.text
    fewer = dataclasses.replace(config, data=tones(folder / "two", ["low", "top"]))
    with pytest.raises(ConfigError, match="is not all of this network of 2 classes, and with 0 epochs nothing"):
        urban_sound.run(fewer, folder / "runs")


def test_the_scaling_of_an_autoencoder_comes_with_it(tmp_path):
    config = sleepiness.Config.smoke(db_reference="corpus", network="seq2seq_bi_bi_fc")
    run = sleepiness.autoencode(config, tmp_path)
    other = "voices?speakers=8&clips_per_speaker=4&duration=(1.0,1.5)&seed=7"
    result = sleepiness.autoencode(like(sleepiness, run.path, epochs=0, data=other), tmp_path)
    assert result["reference"] == run["reference"]
    assert sleepiness.prepare(sleepiness.Config.smoke(data=other)).scaling(60, "corpus").reference != run["reference"]


def test_an_encoder_alone_is_the_first_step(tmp_path):
    config = playback.Config.smoke(selection="none")
    first = playback.train_encoder(config, tmp_path)
    run = playback.run(dataclasses.replace(config, pretrained=str(first.path), encoder_epochs=0), tmp_path)
    for name, tensor in weights(first).items():
        if name.startswith("encoder."):
            assert torch.equal(weights(run)[name], tensor)
    assert len(list((tmp_path / "playback").iterdir())) == 2, "the first step is not made again"
