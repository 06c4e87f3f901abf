"""Laws of several tasks: heads that know nothing of each other, the mean of their losses, the least sure answer."""

import pytest
import torch

from audioattn_lib.audio.features.multi_resolution import MultiResolutionLogMel
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.playback.layers import PlaybackDecoder, SmallEncoder
from audioattn_lib.models.playback.losses import playback_loss
from audioattn_lib.models.playback.multi_task import multi_task_loss
from audioattn_lib.models.playback.network import Playback
from audioattn_lib.models.playback.outputs import Tasks

ACTION = Tasks(("verb", "noun"), (3, 4))
TARGETS = torch.tensor([[0, 3], [2, 1]])


def listen(fusion="adaptive", fusion_level="features", seed=0):
    torch.manual_seed(seed)
    front = MultiResolutionLogMel(2, n_mels=16)
    encoder = SmallEncoder(16, 4, 12)
    decoder = PlaybackDecoder(
        12, ACTION.n_classes, 2, n_latents=4, width=8, heads=2, fusion=fusion, fusion_level=fusion_level, dropout=0.0
    )
    net = Playback(front, encoder, decoder, segment_seconds=0.3, tasks=ACTION).double()
    return net, net(torch.randn(2, 12_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64))


def test_the_loss_is_the_mean_of_both_with_all_their_terms():
    _, heard = listen()
    options = {"stage_weight": 0.3, "salient_weight": 0.2, "rank_weight": 0.1}
    expected = 0.0
    for task, (first, last) in enumerate(((0, 3), (3, 7))):
        alone = heard._replace(
            logits=heard.logits[:, first:last],
            stage_logits=heard.stage_logits[..., first:last],
            salient_logits=heard.salient_logits[..., first:last],
        )
        expected += 0.5 * playback_loss(alone, TARGETS[:, task], **options)
    result = multi_task_loss(heard, TARGETS, ACTION, **options)
    torch.testing.assert_close(result, expected)
    without = multi_task_loss(heard, TARGETS, ACTION, **{**options, "stage_weight": 0.0})
    assert result > without, "the loss of the single playbacks is part of it"


def test_shares_of_one_class_are_that_class():
    _, heard = listen()
    shares = [torch.nn.functional.one_hot(TARGETS[:, i], ACTION.sizes[i]).double() for i in range(2)]
    torch.testing.assert_close(multi_task_loss(heard, shares, ACTION), multi_task_loss(heard, TARGETS, ACTION))


@pytest.mark.parametrize("fusion_level", ["features", "predictions"])
@pytest.mark.parametrize("fusion", ["mean", "adaptive"])
def test_a_head_learns_nothing_from_the_other_task(fusion, fusion_level):
    net, heard = listen(fusion, fusion_level)
    verb = heard._replace(logits=heard.logits[:, :3], stage_logits=heard.stage_logits[..., :3], salient_logits=None)
    playback_loss(verb, TARGETS[:, 0]).backward()
    gradient = net.decoder.classifier.weight.grad
    assert gradient[:3].abs().sum() > 0
    assert not gradient[3:].any()


def test_probabilities_and_confidence():
    logits = torch.tensor([[0.0, 0.0, 9.0, 1.0, 1.0, 1.0, 1.0], [5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0]])
    verb, noun = ACTION.probabilities(logits)
    assert verb.shape == (2, 3)
    assert noun.shape == (2, 4)
    torch.testing.assert_close(verb.sum(dim=1), torch.ones(2))
    sure = ACTION.confidence(logits)
    assert sure[0] == pytest.approx(0.25)
    assert sure[1] == pytest.approx(float(noun[1, 3]))
    assert ACTION.confidence(logits.bfloat16()).dtype == torch.float32


@torch.no_grad()
def test_a_clip_stops_when_the_least_sure_answer_is_sure():
    net, _ = listen()
    net.eval()
    sound = torch.randn(2, 12_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sure = ACTION.confidence(net(sound).stage_logits[:, 0])
    threshold = float(sure.mean())
    assert net(sound, threshold=threshold).playbacks.tolist() == [int(each < threshold) for each in sure]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Tasks(("verb", "verb"), (1, 2)), ConfigError, "give each task a name of its own"),
        (lambda: Tasks(("verb",), (1, 2)), ConfigError, "give each task a name of its own and a size"),
        (lambda: Tasks((), ()), ConfigError, "give each task a name"),
        (lambda: Tasks(("verb", "noun"), (97, 0)), ConfigError, "each task needs at least 1 class"),
        (
            lambda: Playback.small(6, tasks=ACTION),
            ConfigError,
            "the decoder has 6 classes and the tasks 7; give the decoder as many as all tasks have",
        ),
        (lambda: ACTION.split(torch.zeros(2, 8)), ValueError, r"8 logits for tasks of \(3, 4\) classes"),
        (
            lambda: multi_task_loss(listen()[1], TARGETS[:, :1], ACTION),
            ValueError,
            "targets of 1 tasks; there are 2: verb, noun",
        ),
    ],
)
def test_what_cannot_be_is_an_error(make, error, message):
    with pytest.raises(error, match=message):
        make()
