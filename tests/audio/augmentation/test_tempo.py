"""Tempo and pitch move alone; padding, the batch and its order change nothing."""

import pytest
import torch

from audioattn_lib.audio.augmentation.tempo import shift_pitch, stretch_time
from audioattn_lib.audio.augmentation.voices import CHANGES, VoiceAugmentation
from audioattn_lib.core.errors import ConfigError

RATE = 16_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tone(hertz: float = 500.0) -> torch.Tensor:
    return torch.sin(2 * torch.pi * hertz * torch.arange(RATE) / RATE)[None].repeat(2, 1)


def pitch_of(samples: torch.Tensor) -> float:
    spectrum = torch.fft.rfft(samples * torch.hann_window(len(samples))).abs()
    return float(spectrum.argmax()) * RATE / len(samples)


def pitched(waveforms, lengths, percents, generator):
    """A change of pitch keeps the lengths."""
    return shift_pitch(waveforms, lengths, percents, generator=generator), lengths


CHANGED = {
    "tempo": lambda w, n, p, g: stretch_time(w, n, p, generator=g),
    "pitch": pitched,
    "all": lambda w, n, p, g: VoiceAugmentation(tempos=p, pitches=p)(w, n, generator=g),
}
EVERY = pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)


@pytest.fixture
def waves() -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([4000, 2500, 1000])
    waves = torch.randn(3, 4000, generator=generator(7))
    return waves * (torch.arange(4000) < lengths[:, None]), lengths


@EVERY
def test_the_generator_decides_everything(waves, change):
    (first, n), (again, _), (other, _) = (change(*waves, (80, 90, 110), generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert first.shape[1] == n.max() or change is pitched
    assert first.shape != other.shape or not torch.equal(first, other)


@pytest.mark.parametrize("percent", [70, 100, 140])
def test_tempo_moves_the_end_and_not_the_pitch(percent):
    changed, lengths = stretch_time(tone(), torch.tensor([RATE, 8_000]), [percent], generator=generator())
    assert lengths.tolist() == [-(-RATE * 100 // percent), -(-8_000 * 100 // percent)]
    assert changed.shape[1] == lengths[0]
    assert pitch_of(changed[0]) == pytest.approx(500, abs=2)
    middle = changed[0, 2000:-2000]
    assert float(middle.square().mean().sqrt()) == pytest.approx(0.5**0.5, rel=0.15)
    assert (changed[1, lengths[1] :] == 0).all()


@pytest.mark.parametrize("percent", [84, 114])
def test_pitch_moves_and_the_end_does_not(percent):
    changed = shift_pitch(tone(), torch.tensor([RATE, 8_000]), [percent], generator=generator())
    assert changed.shape == (2, RATE)
    assert pitch_of(changed[0]) == pytest.approx(500 * percent / 100, abs=3)
    assert (changed[1, 8_000:] == 0).all()
    assert changed[1, 7_000:7_900].abs().max() > 0.5


def test_the_vocoder_at_the_same_tempo_gives_the_same_sound(waves):
    waves, lengths = waves
    same, _ = stretch_time(waves, lengths, [100], generator=generator())
    torch.testing.assert_close(same, waves, atol=1e-3, rtol=0)
    assert torch.equal(shift_pitch(waves, lengths, [100], generator=generator()), waves)


@pytest.mark.parametrize("name", ["tempo", "pitch"])
def test_one_clip_is_the_same_in_any_batch_and_padding_is_nothing(waves, name):
    (waves, lengths), change = waves, CHANGED[name]
    changed, samples = change(waves, lengths, [90], generator())
    spoiled = waves.masked_fill(torch.arange(4000) >= lengths[:, None], float("nan"))
    torch.testing.assert_close(change(spoiled, lengths, [90], generator())[0], changed)
    alone, _ = change(waves[2:, :1000], torch.tensor([1000]), [90], generator())
    torch.testing.assert_close(changed[2, : samples[2]], alone[0, : samples[2]], atol=1e-4, rtol=0)


def test_a_clip_shorter_than_a_frame_can_be_stretched():
    changed, lengths = stretch_time(torch.ones(1, 40), None, [50], generator=generator())
    assert (changed.shape, lengths.tolist()) == ((1, 80), [80])
    assert changed.isfinite().all()


def test_a_voice_is_changed_in_one_way_as_often_as_asked():
    waves = torch.randn(400, 600, generator=generator())
    lengths = torch.full((400,), 600)
    augment = VoiceAugmentation(pitches=(90,), tempos=(50,), noise=0.1)
    changed, samples = augment(waves, lengths, generator=generator())
    longer = samples == 1200
    assert changed.shape == (400, 1200)
    difference = (changed[:, :600] - waves).square().mean(dim=1).sqrt()
    shares = {
        "kept": (difference == 0) & ~longer,
        "noise": ((difference - 0.1).abs() < 0.03) & ~longer,
        "tempo": longer,
        "pitch": (difference > 0.5) & ~longer,
    }
    assert sum(int(rows.sum()) for rows in shares.values()) == 400
    for name, rows in shares.items():
        assert float(rows.float().mean()) == pytest.approx(0.25, abs=0.07), name
    none, _ = VoiceAugmentation(probability=0.0)(waves, lengths, generator=generator())
    assert torch.equal(none, waves)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w: stretch_time(w, None, [], generator=generator()), "percents is"),
        (lambda w: stretch_time(w, None, [100, 300], generator=generator()), "from 50 to 200"),
        (lambda w: stretch_time(w, None, n_fft=510, generator=generator()), "n_fft is 510; it must be a multiple of 4"),
        (lambda w: VoiceAugmentation(("echo",)), "augmentation is echo; it must be some of pitch, tempo, noise"),
        (lambda w: VoiceAugmentation(()), "augmentation is empty"),
        (lambda w: VoiceAugmentation(probability=2.0), "probability is 2.0"),
        (lambda w: VoiceAugmentation(noise=-1.0), "noise is -1.0"),
    ],
)
def test_impossible_settings_are_named(call, message):
    with pytest.raises(ConfigError, match=message):
        call(torch.zeros(1, 100))


def test_the_published_changes():
    assert VoiceAugmentation().changes == CHANGES
    steps = [round(100 * 2 ** (step / 16)) for step in range(-4, 4)]
    assert VoiceAugmentation().pitches == tuple(steps)


@pytest.mark.cuda
@EVERY
def test_the_device_changes_nothing(waves, change):
    here, _ = change(*waves, (80, 110), generator())
    there, _ = change(*(tensor.cuda() for tensor in waves), (80, 110), generator())
    torch.testing.assert_close(there.cpu(), here, atol=1e-3, rtol=0)
