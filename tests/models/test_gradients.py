"""The gradient is the gradient, and so is its own: poolings, scores, slots and losses, over every dimension."""

import pytest
import torch

from audioattn_lib.attention.pooling.clustering import normalise, share_out
from audioattn_lib.attention.pooling.frames import DiscreteAttention, MeanAttention
from audioattn_lib.attention.pooling.heads import MultiHeadAttention
from audioattn_lib.attention.pooling.maximum import MaxAttention
from audioattn_lib.attention.pooling.multi_head import DoubleMultiHeadPooling, MultiHeadPooling
from audioattn_lib.attention.pooling.scores import AdditiveScorer
from audioattn_lib.attention.pooling.segments import read_saliency, select_runs, select_windows
from audioattn_lib.attention.pooling.slots import SlotAttention
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.models.layers.common import MaskedBatchNorm1d, masked_mean, subtract_mean
from audioattn_lib.models.margin import CosineClassifier, additive_margin, angular_margin
from audioattn_lib.models.playback.layers import PlaybackDecoder, fourier_positions
from audioattn_lib.models.playback.losses import playback_loss
from audioattn_lib.models.playback.multi_task import multi_task_loss
from audioattn_lib.models.playback.network import confidence
from audioattn_lib.models.playback.outputs import PlaybackOutput, Tasks
from audioattn_lib.models.playback.published import PublishedDecoder, PublishedSlots

CLOCK = FrameClock()
LENGTHS = torch.tensor([3, 2])
CLASSES = torch.tensor([2, 0])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def module(make):
    torch.manual_seed(0)
    return make().double().eval()


def pooling(make):
    made = module(make)
    return lambda h: made(h, LENGTHS)[0]


def heard(answer, stages, salient=None):
    return PlaybackOutput(answer, stages, salient, *[None] * 4)


def decoder(make):
    made = module(make)

    def decode(tokens, positions):
        latents, heard = made.start(len(tokens)), []
        for stage in range(2):
            latents, y = made.read(stage, latents, tokens, positions, mask=torch.tensor([[True, True], [True, False]]))
            heard.append(y)
        return made.fuse(torch.stack(heard, dim=1))

    return decode


def classifier(**options):
    made = module(lambda: CosineClassifier(3, 3, **options))
    return lambda x: made.loss(made(x), CLASSES)


MASK = torch.tensor([[True, True, False], [True, False, True]])
SMALL = {"n_latents": 2, "width": 4, "heads": 2, "self_layers": 1}
PUBLISHED = {**SMALL, "head_width": 2}
SLOTS, PUBLISHED_SLOTS = module(lambda: SlotAttention(2)), module(lambda: PublishedSlots(2, points=5))
NORM = MaskedBatchNorm1d(2).double().train()
FRAMES = 0.4 * draw(2, 3, 4)
LOGITS, STAGES = draw(2, 3), draw(2, 2, 3, seed=1)
CASES = {
    "additive scores of frames": (module(lambda: AdditiveScorer(4, 3)), 0.4 * draw(2, 3, 4)),
    "additive scores of cells": (module(lambda: AdditiveScorer(2, 3, scaled=True)), 0.4 * draw(1, 2, 3, 2)),
    "discrete attention": (pooling(lambda: DiscreteAttention(4, hidden_size=3)), FRAMES),
    "mean attention": (pooling(MeanAttention), FRAMES),
    "maximum": (pooling(MaxAttention), FRAMES),
    "heads side by side": (
        pooling(lambda: MultiHeadAttention([DiscreteAttention(2, hidden_size=3) for _ in range(2)])),
        FRAMES,
    ),
    **{
        f"{kind.__name__}, {attention}, {scale}": (
            pooling(lambda kind=kind, a=attention, s=scale: kind(4, 2, attention=a, scale=s, n_basis=4)),
            FRAMES,
        )
        for kind, scale in ((MultiHeadPooling, "dim"), (MultiHeadPooling, "heads"), (DoubleMultiHeadPooling, "heads"))
        for attention in ("softmax", "entmax1333", "triweight")
        if kind is not DoubleMultiHeadPooling or attention != "entmax1333"
    },
    "several queries": (pooling(lambda: MultiHeadPooling(4, 2, n_queries=2)), FRAMES),
    "slots": (lambda h: torch.cat([x.flatten() for x in SLOTS(h)]), draw(1, 3, 2)),
    "saliency at any time": (
        lambda s, t: read_saliency(s, t, LENGTHS, clock=CLOCK),
        draw(2, 3).sigmoid(),
        torch.tensor([[0.013], [0.017]], dtype=torch.float64),
    ),
    "windows": (
        lambda s: select_windows(s, LENGTHS, clock=CLOCK, count=1, seconds=0.02).scores,
        draw(2, 3).sigmoid(),
    ),
    "runs": (lambda s: select_runs(s, LENGTHS, clock=CLOCK).scores, draw(2, 3).sigmoid()),
    "clusters": (
        lambda w, x: share_out(w, x, torch.full((1, 2), 0.3, dtype=torch.float64), 2),
        torch.softmax(draw(1, 4), dim=1),
        draw(1, 4, 2, seed=2),
    ),
    "shares of modes": (lambda p: torch.cat([x.flatten() for x in normalise(p)]), draw(2, 2, 3).abs()),
    "angular margin": (lambda c: angular_margin(c, CLASSES), 0.5 * draw(2, 3).tanh()),
    "additive margin": (lambda c: additive_margin(c, CLASSES), 0.5 * draw(2, 3).tanh()),
    "loss with an angular margin": (classifier(), draw(2, 3)),
    "loss with an additive margin": (classifier(kind="additive"), draw(2, 3)),
    "loss with an annealed margin": (classifier(kind="additive", annealing=1), draw(2, 3)),
    # the rank is of one sided gradient, see its own test
    "playback loss": (
        lambda a, s, alone: playback_loss(heard(a, s, alone), CLASSES, rank_weight=0),
        *(LOGITS, STAGES, draw(2, 1, 3, seed=2)),
    ),
    "playback loss of several labels": (
        lambda a, s: playback_loss(heard(a, s), torch.tensor([[1.0, 0, 1], [0, 0, 1]]), rank_weight=0),
        *(LOGITS, STAGES),
    ),
    "loss of several tasks": (
        lambda a, s: multi_task_loss(
            heard(a, s), torch.tensor([[0, 1], [0, 0]]), Tasks(("verb", "noun"), (1, 2)), rank_weight=0
        ),
        *(LOGITS, STAGES),
    ),
    "confidence": (lambda x: confidence(x, is_multilabel=False), LOGITS),
    "positions": (fourier_positions, draw(1, 3).tanh()),
    "decoder": (decoder(lambda: PlaybackDecoder(3, 2, 2, **SMALL)), draw(2, 2, 3), draw(2, 2).tanh()),
    "published decoder": (decoder(lambda: PublishedDecoder(3, 2, 2, **PUBLISHED)), draw(2, 2, 3), draw(2, 2).tanh()),
    "published slots": (
        lambda h: PUBLISHED_SLOTS(h, torch.tensor([3])),
        draw(1, 3, 2),
    ),
    **{
        f"mean over dimension {dim}": (lambda x, dim=dim: masked_mean(x, MASK[..., None], dim), draw(2, 3, 2))
        for dim in (0, 1, 2, -1, -2, -3)
    },
    "frames less their mean": (lambda x: subtract_mean(x, MASK), draw(2, 3, 2)),
    "batch normalisation in training": (
        lambda x: NORM(x, MASK[:, None]),
        draw(2, 2, 3),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_first_and_second_order(name):
    function, *inputs = CASES[name]
    given = tuple(x.clone().requires_grad_() for x in inputs)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # fused kernels are differentiable once
        assert torch.autograd.gradcheck(function, given)
        assert torch.autograd.gradgradcheck(function, given)
