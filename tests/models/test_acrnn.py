"""Laws of the ACRNN."""

import pytest
import torch
from torch import nn

from audioattn_lib.attention.pooling.registry import MECHANISMS, build_attention
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.acrnn import ACRNN, ConvolutionBlock, MaskedBatchNorm1d, RecurrentLayer


def network(attention="softmax", **options):
    torch.manual_seed(0)
    return ACRNN.preset("published", 80, 10, lambda width: build_attention(attention, width), **options)


def test_the_published_preset_has_the_published_size():
    assert sum(p.numel() for p in network().parameters()) == 69_514


@pytest.mark.parametrize("attention", [*MECHANISMS, "mean"])
@pytest.mark.parametrize(("recurrent", "normalise"), [("none", "clip"), ("gru", "median"), ("none", "corpus")])
def test_padding_and_batch_order_change_nothing(attention, recurrent, normalise):
    model = network(attention, recurrent=recurrent, bidirectional=True, normalise=normalise).double().eval()
    features = torch.randn(3, 40, 80, dtype=torch.float64)
    lengths = torch.tensor([40, 1, 23])
    together, _ = model(features, lengths)
    for i in range(3):
        alone, _ = model(features[i : i + 1, : lengths[i]], lengths[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], atol=1e-10, rtol=1e-10)
    turned, _ = model(features.flip(0), lengths.flip(0))
    torch.testing.assert_close(turned.flip(0), together, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("attention", MECHANISMS)
def test_what_padding_holds_changes_nothing_in_training(attention):
    lengths = torch.tensor([30, 12])
    outputs = []
    for filling in (0.0, 1e3):
        model = network(attention, dropout=0.0).double().train()
        features = torch.randn(2, 30, 80, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        features[1, 12:] = filling
        outputs.append(model(features, lengths)[0])
    torch.testing.assert_close(*outputs, atol=1e-9, rtol=1e-9)


def test_asking_for_a_record_changes_nothing():
    model = network("triweight").eval()
    features = torch.randn(2, 25, 80)
    silent, empty = model(features)
    asked, record = model(features, record=True)
    assert empty.is_empty
    assert len(record) == 2
    assert torch.equal(silent, asked)


def test_batch_statistics_without_padding_are_those_of_torch():
    torch.manual_seed(0)
    ours, theirs = MaskedBatchNorm1d(5).double(), nn.BatchNorm1d(5).double()
    x = torch.randn(4, 5, 9, dtype=torch.float64)
    torch.testing.assert_close(ours(x, torch.ones(4, 1, 9, dtype=torch.bool)), theirs(x))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_corpus_normalisation_standardises_what_it_was_fitted_to():
    model = network(normalise="corpus")
    frames = torch.randn(500, 80) * 3 + 7
    model.normalisation.fit(frames)
    standard = model.normalisation(frames[None], None)[0]
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(80), atol=1e-4, rtol=0)
    torch.testing.assert_close(standard.std(dim=0, correction=0), torch.ones(80), atol=1e-4, rtol=0)
    assert "normalisation.mean" in model.state_dict()


@pytest.mark.parametrize("attention", MECHANISMS)
def test_bfloat16_weights_are_those_of_float32(attention):
    module = build_attention(attention, 16).eval()
    values = torch.randn(2, 50, 16).bfloat16()
    _, precise = module(values.float(), record=True)
    with torch.autocast("cpu", torch.bfloat16):
        _, record = module(values, record=True)
    weights = "weights" if MECHANISMS[attention].domain == "discrete" else "read_weights"
    assert abs(getattr(record, weights) - getattr(precise, weights)).max() < 2e-2 * abs(getattr(precise, weights)).max()


def test_gradients_reach_every_parameter():
    model = network("biweight", recurrent="lstm")
    model(torch.randn(2, 20, 80))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_impossible_options_are_named():
    with pytest.raises(ConfigError, match="published, four_convolutions"):
        ACRNN.preset("five", 80, 10, lambda width: build_attention("softmax", width))
    with pytest.raises(ConfigError, match="clip, median, corpus, none"):
        network(normalise="batch")
    with pytest.raises(ConfigError, match="kernel_size is 4"):
        ConvolutionBlock(3, 3, kernel_size=4)
    with pytest.raises(ConfigError, match="gru, lstm"):
        RecurrentLayer(3, 3, "rnn")
