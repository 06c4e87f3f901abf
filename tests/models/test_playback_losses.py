"""Laws of the playback losses: what adds up, what is punished, and who is asked to change."""

import pytest
import torch

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.playback.losses import playback_loss, rank_loss
from audioattn_lib.models.playback.outputs import PlaybackOutput


def heard(batch=3, classes=4, playbacks=2, salient=True, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def logits(*shape):
        return torch.randn(*shape, classes, generator=generator, dtype=torch.float64).requires_grad_()

    return PlaybackOutput(
        logits(batch),
        logits(batch, playbacks + 1),
        logits(batch, playbacks) if salient else None,
        torch.zeros(batch, playbacks, 1, 2),
        torch.full((batch,), playbacks),
        torch.ones(batch, playbacks + 1, dtype=torch.int64),
        AttentionRecord.empty(),
    )


def test_without_weights_it_is_the_loss_of_the_answer():
    actual, none = heard(), {"stage_weight": 0.0, "salient_weight": 0.0, "rank_weight": 0.0}
    classes = torch.tensor([0, 3, 1])
    expected = torch.nn.functional.cross_entropy(actual.logits, classes)
    torch.testing.assert_close(playback_loss(actual, classes, **none), expected)
    labels = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(actual.logits, labels.double())
    torch.testing.assert_close(playback_loss(actual, labels, **none), expected)


def test_every_prediction_is_asked_to_be_right():
    result = heard()
    playback_loss(result, torch.tensor([0, 3, 1])).backward()
    for logits in result[:3]:
        assert (logits.grad.abs().sum(dim=-1) > 0).all()
    assert playback_loss(heard(salient=False), torch.tensor([0, 3, 1])).isfinite()


def test_clips_count_alike_in_any_order():
    actual, targets = heard(), torch.tensor([0, 3, 1])
    turned = PlaybackOutput(*(piece.flip(0) for piece in actual[:3]), *actual[3:])
    torch.testing.assert_close(playback_loss(turned, targets.flip(0)), playback_loss(actual, targets))


def test_a_later_stage_is_punished_for_being_worse_and_not_for_being_better():
    better, worse = torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[1.0, 2.0, 3.0]])
    assert rank_loss(better) == 0
    torch.testing.assert_close(rank_loss(worse, margin=0.0), torch.tensor(1.0 + 1.0 + 2.0 / 2))
    torch.testing.assert_close(rank_loss(torch.ones(1, 2), margin=0.05), torch.tensor(0.05))
    assert rank_loss(torch.ones(2, 1)) == 0


def test_the_earlier_stage_is_not_asked_to_be_worse():
    losses = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    rank_loss(losses).backward()
    torch.testing.assert_close(losses.grad, torch.tensor([[0.0, 1.0, 1.5]]))


def test_what_cannot_be_is_an_error():
    for name in ("stage_weight", "salient_weight", "rank_weight", "margin"):
        with pytest.raises(ConfigError, match=f"{name} is -1; it must be at least 0"):
            playback_loss(heard(), torch.tensor([0, 3, 1]), **{name: -1})
