"""A training that runs is seen by its files alone, and afterwards as a film of its epochs."""

import time

import numpy as np
import pytest

from audioattn_lib import lab
from audioattn_lib.display import Player
from audioattn_lib.experiments.common.studies.film import film
from audioattn_lib.lab.training import find_trainings, picture_of
from audioattn_lib.training.probes import load_probes, save_probe


def test_a_film_has_the_attention_that_was_kept(city):
    study, corpus = city
    run = study.select("triweight")
    kept = load_probes(run.path)
    assert list(kept) == list(range(run.config["epochs"]))
    player = film(run)
    assert player.clip in kept[0].clips
    last = kept[max(kept)][kept[0].index(player.clip)]
    np.testing.assert_array_equal(list(player.records.values())[-1].density.location, last.density.location)
    assert isinstance(lab.film(study, corpus, "triweight"), Player)


def test_a_long_training_is_a_film_of_few_epochs_from_first_to_last(city, tmp_path):
    run = city[0].select("sparsemax")
    record = load_probes(run.path)[0]
    for epoch in range(40):
        save_probe(tmp_path, epoch, record)
    player = film(type(run)(tmp_path, run.config, {}, {}, run.history, run.predictions), most=5)
    assert list(player.records) == ["Epoch 1", "Epoch 11", "Epoch 21", "Epoch 30", "Epoch 40"]


def test_trainings_are_found_by_what_they_wrote(city):
    study, _ = city
    root = study.runs[0].path.parents[1]
    trainings = {training.path.name: training for training in find_trainings(root, 0.0)}
    training = trainings[study.runs[0].key]
    assert training.is_done
    assert training.seconds_left == 0
    assert len(training.history) == training.epochs == study.runs[0].config["epochs"]
    picture = picture_of(list(trainings.values()))
    assert "sparsemax" in picture
    assert "aa-line" in picture  # its attention
    assert find_trainings(root, time.time() + 60) == []


def test_a_training_that_runs_tells_how_long_it_will_take(city, tmp_path):
    run = city[0].runs[0]
    place = tmp_path / "urban_sound" / "key"
    place.mkdir(parents=True)
    (place / "config.json").write_text('{"attention": "softmax", "epochs": 5, "fold": "2"}')
    run.history.head(1).assign(seconds=3.0).to_csv(place / "history.csv", index=False)
    (first,) = find_trainings(tmp_path, 0.0)
    assert not first.is_done
    assert first.seconds_left == pytest.approx(12.0)
    assert "softmax, fold 2" in picture_of([first])


def test_where_nobody_watches_nothing_is_shown(tmp_path, capsys):
    with lab.watch(tmp_path):
        pass
    assert capsys.readouterr().out == ""
