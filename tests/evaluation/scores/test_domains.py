"""Laws of scores by domain, of averaged weights and of schedules by epoch."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.evaluation.scores.domains import domain_scores
from audioattn_lib.training.averaging import AveragedModel


def test_scores_by_domain():
    correct = np.array([1, 1, 0, 1, 0, 0, 1, 0], dtype=float)
    domains = np.array(list("aabbccdd"))
    table = domain_scores(correct, domains, np.isin(domains, ["a", "b"]))
    assert list(table.index) == ["a", "b", "c", "d", "seen", "unseen", "worst"]
    assert table["score"].tolist() == [1, 0.5, 0, 0.5, 0.75, 0.25, 0]
    assert table.loc["worst", "of"] == "c"
    assert table["clips"].tolist() == [2, 2, 2, 2, 4, 4, 2]
    assert (table["low"] <= table["score"]).all()
    assert (table["score"] <= table["high"]).all()


def test_recordings_are_resampled_together():
    correct = np.repeat([1.0, 0.0], 50)
    alone = domain_scores(correct, ["x"] * 100, [True] * 100).loc["x"]
    grouped = domain_scores(correct, ["x"] * 100, [True] * 100, groups=np.repeat(np.arange(10), 10)).loc["x"]
    assert grouped["high"] - grouped["low"] > 2 * (alone["high"] - alone["low"])
    assert domain_scores([1.0], ["x"], [False]).index.tolist() == ["x", "unseen", "worst"]
    with pytest.raises(ValueError, match="2 scores, 1 domains and 2 marks"):
        domain_scores([1, 0], ["x"], [True, False])


def steps(model, kind, **options):
    averaged, seen = AveragedModel(model, kind, **options), []
    for number in range(7):
        averaged.update()
        with torch.no_grad():
            model.weight.fill_(float(number + 1))
        seen.append(averaged.average.weight.item())
    return averaged, seen


def linear():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    return model


def test_swa_is_the_mean_of_the_weights_it_took():
    averaged, seen = steps(linear(), "swa", start=2, every=2)
    # before the updates 3, 5 and 7 the weights are 2, 4 and 6
    assert seen == [0, 0, 2, 2, 3, 3, 4]
    assert int(averaged.averaged) == 3
    averaged.eval()
    assert averaged(torch.ones(1, 1)).item() == 4
    averaged.train()
    assert averaged(torch.ones(1, 1)).item() == 7


def test_ema_forgets():
    _, seen = steps(linear(), "ema", start=1, decay=0.5)
    expected, mean = [], None
    for now in range(7):
        if now >= 1:
            mean = float(now) if mean is None else (mean + now) / 2
        expected.append(mean or 0.0)
    assert seen == pytest.approx(expected)


def test_until_there_is_an_average_evaluation_uses_the_weights():
    averaged = AveragedModel(linear(), "swa", start=5).eval()
    nn.init.ones_(averaged.network.weight)
    assert averaged(torch.ones(1, 1)).item() == 1


def test_averages_continue_after_a_restart():
    first, _ = steps(linear(), "swa", start=1)
    second = AveragedModel(linear(), "swa", start=1)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for averaged in (first, second):
        averaged.update()
    assert torch.equal(first.average.weight, second.average.weight)
    assert not any(p.requires_grad for p in first.average.parameters())
    for options in ({"kind": "mean"}, {"kind": "swa", "every": 0}, {"kind": "ema", "decay": 1.0}):
        with pytest.raises(ConfigError):
            AveragedModel(linear(), **options)
