"""Laws of the playback model: padding, company, order, gradients, determinism, early exit, and what is recorded."""

import math

import pytest
import torch

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.audio.features.multi_resolution import MultiResolutionLogMel
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.backbones.vgg import VGG
from audioattn_lib.models.playback.layers import (
    FUSION_LEVELS,
    FUSIONS,
    PlaybackDecoder,
    SmallEncoder,
    fourier_positions,
)
from audioattn_lib.models.playback.network import SEGMENT_SELECTIONS, Playback, confidence

RATE = 16_000
CHOOSING = [name for name in SEGMENT_SELECTIONS if name != "given"]
LENGTHS = torch.tensor([24_000, 9_000, 640, 17_001])


def model(selection="slots", playbacks=2, seed=0, encoder=None, is_multilabel=True, **decoder):
    torch.manual_seed(seed)
    front = MultiResolutionLogMel(playbacks + 1, n_mels=16)
    encoder = SmallEncoder(16, 4, 12) if encoder is None else encoder
    reader = PlaybackDecoder(encoder.out_features, 3, playbacks + 1, n_latents=4, width=8, heads=2, **decoder)
    made = Playback(front, encoder, reader, selection=selection, segment_seconds=0.4, is_multilabel=is_multilabel)
    return made.double().eval()


@pytest.fixture(scope="module")
def sound():
    generator = torch.Generator().manual_seed(3)
    loudness = torch.rand(4, 24, generator=generator, dtype=torch.float64).repeat_interleave(1000, dim=1)
    return loudness * torch.randn(4, 24_000, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("selection", CHOOSING)
def test_padding_company_and_order_change_nothing(selection, sound):
    net = model(selection)
    heard = net(sound, LENGTHS, record=True)
    assert heard.logits.isfinite().all()
    spoiled = sound.clone()
    for clip, length in enumerate(LENGTHS.tolist()):
        spoiled[clip, length:] = 1e3
        alone = net(sound[clip : clip + 1, :length], record=True)
        torch.testing.assert_close(alone.logits[0], heard.logits[clip])
        torch.testing.assert_close(alone.stage_logits[0], heard.stage_logits[clip])
        parts = alone.segments.shape[2]
        torch.testing.assert_close(alone.segments[0], heard.segments[clip, :, :parts], equal_nan=True)
        assert heard.segments[clip, :, parts:].isnan().all()
        assert alone.record.n_frames[0] == heard.record.n_frames[clip]
    torch.testing.assert_close(net(spoiled, LENGTHS)[0], heard.logits)
    torch.testing.assert_close(net(sound.flip(0), LENGTHS.flip(0))[0].flip(0), heard.logits)


@pytest.mark.parametrize("selection", CHOOSING)
def test_evaluation_is_deterministic_and_asking_changes_nothing(selection, sound):
    net = model(selection)
    first, second = net(sound, LENGTHS), net(sound, LENGTHS, record=True)
    assert torch.equal(first.logits, second.logits)
    assert first.record.is_empty
    assert second.record.n_frames.tolist() == (LENGTHS // 640 + 1).tolist()


@pytest.mark.parametrize("playbacks", [1, 2, 3])
def test_every_parameter_receives_gradient(playbacks, sound):
    net = model(playbacks=playbacks).train()
    heard = net(sound, LENGTHS)
    assert heard.salient_logits.shape == (4, playbacks, 3)
    (heard.logits.square().sum() + heard.salient_logits.square().sum()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_answer_alone_teaches_slots_and_the_published_choice_does_not(sound):
    for selection, learns in (("slots", True), ("published", False)):
        net = model(selection).train()
        net(sound, LENGTHS)[0].square().sum().backward()
        gradients = [parameter.grad for parameter in net.slot_attention.parameters()]
        assert all((gradient is not None and bool(gradient.any())) == learns for gradient in gradients)


def test_only_what_is_played_back_is_heard_between_the_coarse_windows(sound):
    net = model("random", 1)
    x = sound[:1]
    places = net(x).segments[0, 0].tolist()
    logits, heard = net(x)[0], []
    for middle in range(320, 24_000, 640):  # windows of 160 samples stand 640 apart, and in a playback 320
        changed = x.clone()
        changed[0, middle - 20 : middle + 20] *= 3
        heard.append(not torch.equal(net(changed)[0], logits))
        inside = [a <= middle / RATE < b for a, b in places]
        near = [a - 0.005 <= middle / RATE < b + 0.005 for a, b in places]
        assert any(inside) <= heard[-1] <= any(near)
    assert 0.3 < sum(heard) / len(heard) < 0.7


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("level", FUSION_LEVELS)
def test_fusions(fusion, level, sound):
    net = model(fusion=fusion, fusion_level=level, dropout=0.0)
    logits, stage_logits = net(sound, LENGTHS)[:2]
    assert logits.shape == (4, 3)
    (logits.square().sum() + stage_logits.square().sum()).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.decoder.parameters())
    if level == "predictions" and fusion != "adaptive_concat":
        torch.testing.assert_close(logits, stage_logits.mean(dim=1))  # as they start


@torch.no_grad()
def test_whoever_knows_where_to_listen_says_so(sound):
    net = model("given", 1)
    places = torch.full((4, 2, 2), torch.nan, dtype=torch.float64)
    places[0, 0], places[1, 0] = torch.tensor([0.3, 0.7]), torch.tensor([0.1, 9.0])
    heard = net(sound, LENGTHS, segments=places)
    assert heard.segments[0, 0, 0].tolist() == pytest.approx([0.3, 0.7])
    assert heard.segments[1, 0, 0].tolist() == pytest.approx([0.1, 9000 / RATE])  # it ends with its clip
    assert heard.segments[2:].isnan().all()
    assert heard.logits.isfinite().all()
    assert heard.frames[:, 0].tolist() == (LENGTHS // 640 + 1).tolist()
    assert heard.frames[:, 1].tolist() == [20, 24, 0, 0]  # 0.4 and 0.4625 s, every 20 ms
    nothing = net(sound[:1], segments=places[2:3])
    torch.testing.assert_close(net(sound[:1] + 0.0, segments=places[3:]).logits, nothing.logits)
    with pytest.raises(ValueError, match="segments are missing, and the selection is 'given'"):
        net(sound)
    with pytest.raises(ValueError, match="segments are given, and the selection is 'slots'"):
        model()(sound, LENGTHS, segments=places)


def test_a_frozen_encoder_stays_as_it_is(sound):
    net = model()
    net.freeze_encoder()
    net.train()
    assert net.decoder.training
    assert not net.encoder.training
    net(sound, LENGTHS).logits.square().sum().backward()
    assert all(parameter.grad is None for parameter in net.encoder.parameters())
    assert all(parameter.grad is not None for parameter in net.slot_attention.parameters())


@torch.no_grad()
def test_a_clip_stops_when_it_is_sure(sound):
    net = model()
    whole = net(sound, LENGTHS)
    sure = torch.stack([confidence(each, is_multilabel=True) for each in whole.stage_logits.unbind(1)], dim=1)
    threshold = float(sure[:, 0].sort().values[1:3].mean())  # two stop at once
    early = net(sound, LENGTHS, threshold=threshold, record=True)
    for clip in range(4):
        stop = next((stage for stage in range(2) if sure[clip, stage] >= threshold), 2)
        assert early.playbacks[clip] == stop
        expected = whole.logits[clip] if stop == 2 else whole.stage_logits[clip, stop]
        torch.testing.assert_close(early.logits[clip], expected)
        torch.testing.assert_close(early.stage_logits[clip, : stop + 1], whole.stage_logits[clip, : stop + 1])
        assert early.stage_logits[clip, stop + 1 :].isnan().all()
        assert early.segments[clip, stop:].isnan().all()
        assert early.frames[clip, : stop + 1].tolist() == whole.frames[clip, : stop + 1].tolist()
        assert not early.frames[clip, stop + 1 :].any()
    assert (early.playbacks == 0).sum() == 2
    torch.testing.assert_close(net(sound, LENGTHS, threshold=1.0).logits, whole.logits)
    at_once = net(sound, LENGTHS, threshold=0.0)
    torch.testing.assert_close(at_once.logits, whole.stage_logits[:, 0])
    assert at_once.segments.shape == (4, 2, 0, 2)
    with pytest.raises(ValueError, match=r"threshold is 0.5; it must be in \[0, 1\], and None in training"):
        net.train()(sound, LENGTHS, threshold=0.5)


def test_confidence():
    logits = torch.tensor([[0.0, 5.0], [-3.0, 3.0]])
    torch.testing.assert_close(confidence(logits, is_multilabel=True), torch.tensor([0.5, 1 / (1 + math.exp(-3.0))]))
    torch.testing.assert_close(confidence(logits, is_multilabel=False), torch.sigmoid(torch.tensor([5.0, 6.0])))


def test_segments_are_in_the_clip_and_in_the_record(sound):
    net = model()
    heard = net(sound, LENGTHS, record=True)
    duration = LENGTHS.double() / RATE
    assert heard.segments.shape == (4, 2, 2, 2)
    for clip, places in enumerate(heard.segments):
        there = places[~places.isnan().any(dim=2)]
        assert len(there) >= 2  # one of each playback at least
        assert ((there[:, 0] >= 0) & (there[:, 1] <= duration[clip] + 1e-9) & (there[:, 1] > there[:, 0])).all()
    record = heard.record
    assert record.mechanism == "playback, slots"
    assert record.segments.shape == (4, 4, 2)
    low, high = heard.segments[0, 0, 0].tolist()
    assert any(start - 0.03 <= low < high <= stop + 0.03 for start, stop in record.support(0))
    joined = AttentionRecord.concatenate([record[:2], record[2:]])
    assert joined.segments.shape == (4, 4, 2)
    assert record.frame_attention(0).sum() == pytest.approx(1)


def test_energy_plays_back_what_is_loud(sound):
    x = 0.01 * sound[:1]
    x[0, 12_000:16_000] *= 100
    start, stop = model("energy", 1)(x).segments[0, 0].T
    assert any(a < 14_000 / RATE < b for a, b in zip(start.tolist(), stop.tolist(), strict=True))


def test_silence_and_clips_shorter_than_a_segment_have_an_answer():
    for selection in CHOOSING:
        net = model(selection)
        for length in (1, 500, 8_000):
            assert net(torch.zeros(2, length, dtype=torch.float64))[0].isfinite().all()


def test_the_state_of_a_model_is_the_model(sound):
    first, two = model(seed=0), model(seed=1)
    assert not torch.equal(first(sound)[0], two(sound)[0])
    two.load_state_dict(first.state_dict())
    assert torch.equal(first(sound)[0], two(sound)[0])


def test_any_front_end_of_the_library_can_listen(sound):
    net = model(encoder=VGG(16, 4, n_blocks=3))
    heard = net(sound, LENGTHS)
    for clip, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(net(sound[clip : clip + 1, :length])[0][0], heard.logits[clip])
    net.train()(sound, LENGTHS)[0].sum().backward()
    assert all(parameter.grad.any() for parameter in net.slot_attention.parameters())


def test_one_hearing_needs_no_slots(sound):
    net = model(playbacks=0)
    heard = net(sound, LENGTHS, record=True)
    assert net.slot_attention is None
    assert heard.salient_logits is None
    assert heard.segments.shape == (4, 0, 0, 2)
    assert heard.record.frame_attention(0).std() < 1e-9


def test_the_small_one_is_small():
    net = Playback.small(4, playbacks=3)
    assert [net.front[stage].hop_length for stage in range(4)] == [640, 320, 213, 160]
    assert 5e5 < sum(parameter.numel() for parameter in net.parameters()) < 1.5e6
    assert net(torch.randn(2, 20_000))[0].shape == (2, 4)


def test_the_encoder_sees_no_padding():
    torch.manual_seed(0)
    encoder = SmallEncoder(8, 3, 5).double()
    x, counts = torch.randn(3, 11, 8, dtype=torch.float64), torch.tensor([11, 4, 0])
    mask = torch.arange(11) < counts[:, None]
    together = encoder(x.masked_fill(~mask[..., None], math.nan), mask)
    assert encoder.count_frames(counts).tolist() == [6, 2, 0]
    assert together.shape == (3, 6, 5)
    for clip in range(2):
        alone = encoder(x[clip : clip + 1, : counts[clip]])[0]
        torch.testing.assert_close(alone, together[clip, : len(alone)])
        assert not together[clip, len(alone) :].any()


def test_positions_in_waves():
    encoded = fourier_positions(torch.tensor([[-1.0, 0.0, 0.5]]), bands=2, max_frequency=4.0)
    expected = torch.tensor([0.5, 1.0, 0.0, 0.0, -1.0])
    torch.testing.assert_close(encoded[0, 2], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Playback.small(3, selection="best"), "selection is 'best'; it must be one of slots, published"),
        (lambda: Playback.small(3, n_segments=0), "n_segments is 0"),
        (lambda: Playback.small(3, segment_seconds=0), "segment_seconds is 0"),
        (lambda: Playback.small(3, temperature=-1), "temperature is -1"),
        (lambda: Playback.small(3, playbacks=-1), "playbacks is -1"),
        (lambda: Playback.small(3, fusion="max"), "fusion is 'max'; it must be one of adaptive, mean"),
        (
            lambda: Playback.small(3, fusion_level="here"),
            "fusion_level is 'here'; it must be one of features, predictions",
        ),
        (lambda: PlaybackDecoder(4, 2, 1, heads=5), "heads is 5; it must be at least 1 and divide width, 96"),
        (lambda: PlaybackDecoder(4, 0, 1), "n_classes is 0"),
        (lambda: SmallEncoder(3), "n_mels is 3; it must be at least 4"),
        (
            lambda: Playback(MultiResolutionLogMel(2), SmallEncoder(64), PlaybackDecoder(96, 2, 3)),
            "the decoder has 3 stages and the front end 2; make them equal",
        ),
    ],
)
def test_what_cannot_be_is_an_error(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.cuda
def test_the_same_on_cuda(sound):
    net = model()
    expected = net(sound, LENGTHS)[0]
    torch.testing.assert_close(net.cuda()(sound.cuda(), LENGTHS.cuda())[0].cpu(), expected)
