"""A batch without clips, such as one process of several may get, has an answer without clips and gradients of 0."""

import pytest
import torch

from audioattn_lib.attention.pooling.multi_head import DoubleMultiHeadPooling, MultiHeadPooling
from audioattn_lib.attention.pooling.registry import MECHANISMS, build_attention
from audioattn_lib.attention.pooling.segments import read_saliency, select_runs, select_windows
from audioattn_lib.attention.pooling.slots import SlotAttention
from audioattn_lib.attention.pooling.time_frequency import TimeFrequencyAttention
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.models.layers.statistics_pooling import build_pooling
from audioattn_lib.models.playback.losses import playback_loss
from audioattn_lib.models.playback.network import SEGMENT_SELECTIONS, Playback

D = 6
EVERY_LENGTHS = pytest.mark.parametrize("lengths", [None, torch.zeros(0, dtype=torch.long)], ids=["none", "empty"])
MODULES = {
    **{f"{name} attention": build_attention(name, D) for name in (*MECHANISMS, "mean")},
    "attention of two modes": build_attention("triweight", D, n_components=2, n_basis=8, with_std=True),
    **{f"{name} pooling": build_pooling(name, D) for name in (*MECHANISMS, "mean")},
    **{
        f"{kind.__name__}, {attention}": kind(D, 3, attention=attention)
        for kind in (MultiHeadPooling, DoubleMultiHeadPooling)
        for attention in ("softmax", "entmax15", "triweight")
    },
}


def run(module, values, lengths):
    values.requires_grad_()
    context, record = module(values, lengths, record=True)
    context.sum().backward()
    assert len(record.n_frames) == 0
    assert all(p.grad is None or not p.grad.any() for p in module.parameters())
    module.zero_grad()
    return context


@EVERY_LENGTHS
@pytest.mark.parametrize("name", MODULES)
def test_attentions_and_poolings(name, lengths):
    module = MODULES[name]
    assert run(module, torch.zeros(0, 5, D), lengths).shape == (0, module(torch.zeros(1, 5, D))[0].shape[1])


@EVERY_LENGTHS
@pytest.mark.parametrize("modes", [1, 2])
@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_attention_over_time_and_frequency(alpha, modes, lengths):
    attention = TimeFrequencyAttention(3, alpha, n_components=modes, n_basis=6)
    assert run(attention, torch.zeros(0, 5, 4, 3), lengths).shape == (0, 3)


@EVERY_LENGTHS
def test_slots_and_segments(lengths):
    slots, shares = SlotAttention(D)(torch.zeros(0, 5, D), lengths)
    assert (slots.shape, shares.shape) == ((0, 2, D), (0, 2, 5))
    clock, saliency = FrameClock(), torch.zeros(0, 5)
    windows = select_windows(saliency, lengths, clock=clock, count=2, seconds=1.0)
    assert (windows.bounds.shape, windows.scores.shape) == ((0, 2, 2), (0, 2))
    assert select_runs(saliency, lengths, clock=clock).bounds.shape == (0, 1, 2)
    assert read_saliency(saliency, torch.zeros(0, 3), lengths, clock=clock).shape == (0, 3)


@EVERY_LENGTHS
def test_features(lengths):
    features, n_frames = LogMel()(torch.zeros(0, 16_000), lengths)
    assert features.shape == (0, *LogMel()(torch.zeros(1, 16_000))[0].shape[1:])
    assert n_frames.shape == (0,)


@EVERY_LENGTHS
@pytest.mark.parametrize("selection", SEGMENT_SELECTIONS)
def test_playback(selection, lengths):
    model = Playback.small(4, 2, selection=selection)
    given = torch.zeros(0, 2, 2) if selection == "given" else None
    heard = model(torch.zeros(0, 16_000), lengths, segments=given, record=True)
    assert (heard.logits.shape, heard.stage_logits.shape, heard.segments.shape[:2]) == ((0, 4), (0, 3, 4), (0, 2))
    loss = playback_loss(heard, torch.zeros(0, 4))
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
    stopped = model.eval()(torch.zeros(0, 16_000), lengths, segments=given, threshold=0.5)
    assert stopped.logits.shape == (0, 4)
