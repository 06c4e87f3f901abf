"""The log-mel front end: librosa's numbers, the published settings, and no trace of padding."""

import librosa
import numpy as np
import pytest
import torch

from audioattn_lib.audio.features.log_mel import LogMel, hz_to_mel, mel_filters, mel_to_hz
from audioattn_lib.core.errors import ConfigError


@pytest.fixture(scope="module")
def sounds() -> torch.Tensor:
    """Noise, a sweep, a click and a tone that dies away; float64, one second at 16 kHz."""
    rng = np.random.default_rng(0)
    time = np.arange(16_000) / 16_000
    click = np.zeros(16_000)
    click[8_000] = 1.0
    sweep = 0.3 * np.sin(2 * np.pi * (200 * time + 3000 * time**2))
    dying = np.sin(2 * np.pi * 660 * time) * np.exp(-8 * time)
    return torch.from_numpy(np.stack([0.1 * rng.standard_normal(16_000), sweep, click, dying]))


FRONT_ENDS = {
    "published": LogMel.published,
    "librosa": lambda: LogMel.librosa_like(16_000, 512, 160, 40),
    "plain": lambda: LogMel(n_mels=40, top_db=None),
    "median": lambda: LogMel(normalisation="median"),
    "standardised": lambda: LogMel(normalisation="mean_variance", window="hamming"),
    "short window": lambda: LogMel(n_fft=512, win_length=400),
    "odd": lambda: LogMel(n_fft=401, hop_length=133, n_mels=30),
}


@pytest.mark.parametrize("htk", [False, True])
@pytest.mark.parametrize("norm", ["slaney", None])
@pytest.mark.parametrize(("n_fft", "hop", "n_mels", "rate"), [(400, 160, 40, 16_000), (2048, 512, 128, 22_050)])
@pytest.mark.parametrize("top_db", [80.0, None])
def test_equal_to_librosa(sounds, htk, norm, n_fft, hop, n_mels, rate, top_db):
    front_end = LogMel.librosa_like(rate, n_fft, hop, n_mels, 20.0, 7600.0, htk=htk, norm=norm, top_db=top_db)
    ours, n_frames = front_end(sounds)
    for clip, features, count in zip(sounds.numpy(), ours.numpy(), n_frames, strict=True):
        power = librosa.feature.melspectrogram(
            y=clip, sr=rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels, fmin=20.0, fmax=7600.0, htk=htk, norm=norm,
            dtype=np.float64,
        )  # fmt: skip
        theirs = librosa.power_to_db(power, top_db=top_db).T
        assert len(theirs) == count
        np.testing.assert_allclose(features, theirs, atol=1e-4)


def test_float32_is_as_close_to_librosa_as_float32_can_be(sounds):
    """1e-4 dB within 40 dB of the loudest; further down both lose digits that float32 does not have."""
    front_end = LogMel.librosa_like(16_000, 400, 160, 40)
    ours = front_end(sounds.float())[0].numpy()
    exact = front_end(sounds)[0].numpy()
    assert ours.dtype == np.float32
    loud = exact > exact.max(axis=(1, 2), keepdims=True) - 40
    assert np.abs(ours - exact)[loud].max() < 1e-4
    assert np.abs(ours - exact).max() < 1e-2
    for clip, features in zip(sounds.numpy().astype(np.float32), ours, strict=True):
        power = librosa.feature.melspectrogram(y=clip, sr=16_000, n_fft=400, hop_length=160, n_mels=40)
        theirs = librosa.power_to_db(power).T
        near = theirs > theirs.max() - 40
        assert np.abs(features - theirs)[near].max() < 1e-4


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_mel_scales_are_librosa_s_and_invert(scale):
    hertz = torch.linspace(0, 8000, 400, dtype=torch.float64)
    mels = hz_to_mel(hertz, scale)
    np.testing.assert_allclose(mels, librosa.hz_to_mel(hertz.numpy(), htk=scale == "htk"), atol=1e-9)
    torch.testing.assert_close(mel_to_hz(mels, scale), hertz, atol=1e-8, rtol=0)


def test_published_settings():
    """Spec 1, section 2: 25 ms Hamming, hop of 10 ms, 401 frames in 4 s, 80 bands, 80 dB, mean removed."""
    front_end = LogMel.published()
    settings = (front_end.sample_rate, front_end.n_fft, front_end.win_length, front_end.hop_length, front_end.n_mels)
    assert settings == (16_000, 400, 400, 160, 80)
    torch.testing.assert_close(front_end.window, torch.hamming_window(400, periodic=True, dtype=torch.float64))
    features, n_frames = front_end(torch.randn(1, 64_000, generator=torch.Generator().manual_seed(0)))
    assert features.shape == (1, 401, 80)
    assert n_frames.tolist() == [401]
    assert features.mean(dim=1).abs().max() < 1e-4
    assert (features.amax() - features.amin()) < 2 * 80


def test_published_filters_share_the_bandwidth_of_their_left_side():
    weights, centres = mel_filters(16_000, 400, 80, filters="shared_bandwidth")
    edges = mel_to_hz(torch.linspace(0.0, float(hz_to_mel(torch.tensor(8000.0).double())), 82, dtype=torch.float64))
    bins = torch.linspace(0, 8000, 201, dtype=torch.float64)
    for band in (0, 17, 79):
        width = edges[band + 1] - edges[band]
        expected = (1 - (bins - edges[band + 1]).abs() / width).clamp(min=0)
        torch.testing.assert_close(weights[:, band], expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(centres, edges[1:-1], atol=1e-6, rtol=0)


def test_the_range_of_a_clip_is_top_db(sounds):
    features, _ = LogMel(top_db=30.0)(sounds)
    torch.testing.assert_close(
        features.amax(dim=(1, 2)) - features.amin(dim=(1, 2)), torch.full((4,), 30.0, dtype=torch.float64)
    )


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padding_changes_nothing(sounds, name, dtype):
    front_end = FRONT_ENDS[name]()
    lengths = torch.tensor([16_000, 9_001, 8_160, 159])
    batch = sounds.to(dtype).clone()
    generator = torch.Generator().manual_seed(1)
    for row, length in enumerate(lengths):  # what lies behind the end of a clip must not matter
        batch[row, length:] = torch.randn(16_000 - int(length), generator=generator, dtype=dtype)
    features, n_frames = front_end(batch, lengths)
    tolerance = 1e-9 if dtype == torch.float64 else 2e-2
    for row, length in enumerate(lengths):
        alone, count = front_end(sounds[row : row + 1, :length].to(dtype))
        assert n_frames[row] == count[0] == int(length) // front_end.hop_length + 1
        torch.testing.assert_close(features[row, : count[0]], alone[0], atol=tolerance, rtol=0)
        assert (features[row, count[0] :] == 0).all()


def test_the_order_of_a_batch_changes_nothing(sounds):
    front_end = LogMel.published()
    order = torch.tensor([2, 0, 3, 1])
    lengths = torch.tensor([16_000, 12_000, 9_000, 7_000])
    torch.testing.assert_close(front_end(sounds[order], lengths[order])[0], front_end(sounds, lengths)[0][order])


def test_louder_is_only_higher(sounds):
    """A gain of 20 dB raises every value by 20 dB, and nothing once the mean is removed."""
    plain, normalised = LogMel(top_db=60.0), LogMel.published()
    torch.testing.assert_close(plain(10 * sounds[:2])[0], plain(sounds[:2])[0] + 20.0, atol=1e-4, rtol=0)
    torch.testing.assert_close(normalised(10 * sounds[:2])[0], normalised(sounds[:2])[0], atol=1e-4, rtol=0)


def test_an_event_leaves_no_trace_behind_the_median():
    """Subtracting the mean writes a short event into every other frame; subtracting the median does not."""
    generator = torch.Generator().manual_seed(0)
    quiet = 0.01 * torch.randn(1, 32_000, generator=generator, dtype=torch.float64)
    event = quiet.clone()
    event[:, 20_000:24_000] += torch.sin(torch.arange(4_000, dtype=torch.float64) * 0.6)
    before = slice(0, 100)
    change = {}
    for normalisation in ("mean", "median"):
        front_end = LogMel(normalisation=normalisation, top_db=None)
        change[normalisation] = (front_end(event)[0] - front_end(quiet)[0])[:, before].abs().max()
    assert change["mean"] > 3.0
    assert change["median"] < 1.5


def test_silence_is_the_floor():
    features, _ = LogMel()(torch.zeros(1, 1000))
    assert (features == -100).all()
    assert (LogMel.published()(torch.zeros(1, 1000))[0] == 0).all()


def test_a_tone_is_in_its_band():
    front_end = LogMel()
    for hertz in (300.0, 1000.0, 4000.0):
        tone = torch.sin(2 * torch.pi * hertz * torch.arange(16_000) / 16_000)[None]
        band = int(front_end(tone)[0][0, 50].argmax())
        spacing = float(front_end.frequencies.diff()[max(band - 1, 0)])
        assert abs(float(front_end.frequencies[band]) - hertz) <= spacing


def test_a_click_is_at_its_time():
    """The clock of the frames: the centre of the loudest frame is the click."""
    front_end = LogMel.published()
    click = torch.zeros(1, 16_000)
    click[0, 7_200] = 1.0
    frame = int(front_end(click)[0][0].mean(dim=1).argmax())
    period, start = front_end.clock
    assert start + (frame + 0.5) * period == pytest.approx(0.45, abs=period / 2)


def test_two_samples_are_enough():
    features, n_frames = LogMel.published()(torch.randn(2, 2))
    assert features.shape == (2, 1, 80)
    assert n_frames.tolist() == [1, 1]
    assert torch.isfinite(features).all()


def test_identity_changes_with_every_setting():
    base = {"sample_rate": 16_000, "n_fft": 400, "hop_length": 160, "n_mels": 80}
    changes = [
        {},
        {"sample_rate": 22_050},
        {"n_fft": 512},
        {"win_length": 320},
        {"hop_length": 80},
        {"n_mels": 64},
        {"f_min": 50.0},
        {"f_max": 4000.0},
        {"window": "hamming"},
        {"scale": "slaney"},
        {"filters": "shared_bandwidth"},
        {"norm": "slaney"},
        {"top_db": None},
        {"normalisation": "mean"},
    ]
    assert len({LogMel(**{**base, **change}).identity for change in changes}) == len(changes)
    assert LogMel(**base).identity == LogMel(**base).identity
    assert LogMel(f_max=8000).identity == LogMel().identity, "the same thing said twice"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_rate": 0}, "sample_rate is 0"),
        ({"n_fft": 1}, "n_fft is 1; it must be at least 2"),
        ({"hop_length": 0}, "hop_length is 0"),
        ({"n_mels": 0}, "n_mels is 0"),
        ({"win_length": 500}, "win_length is 500.*n_fft = 400"),
        ({"f_max": 9000.0}, "f_max 9000.*8000"),
        ({"f_min": 5000.0, "f_max": 4000.0}, "f_min is 5000"),
        ({"top_db": 0.0}, "top_db is 0"),
        ({"window": "kaiser"}, "window is 'kaiser'.*'hann', 'hamming'"),
        ({"normalisation": "max"}, "normalisation is 'max'"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        LogMel(**settings)


@pytest.mark.parametrize(
    ("shape", "lengths", "message"),
    [
        ((16_000,), None, "must be \\(batch, samples\\)"),
        ((1, 0), None, "must be \\(batch, samples\\)"),
        ((2, 100), [100], "lengths have shape \\(1,\\)"),
        ((2, 100), [100, 0], "\\[0, 100\\]; they must lie in \\[1, 100\\]"),
        ((2, 100), [100, 101], "\\[100, 101\\]"),
    ],
)
def test_shapes_that_do_not_fit_are_named(shape, lengths, message):
    with pytest.raises(ValueError, match=message):
        LogMel()(torch.zeros(shape), None if lengths is None else torch.tensor(lengths))


def test_features_have_a_gradient():
    wave = torch.randn(1, 800, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    front_end = LogMel(n_fft=64, hop_length=32, n_mels=8, normalisation="mean")
    assert torch.autograd.gradcheck(lambda x: front_end(x)[0], (wave[:, :100].detach().requires_grad_(),))


def test_autocast_does_not_cost_digits(sounds):
    front_end = LogMel.published()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, _ = front_end(sounds.float())
    torch.testing.assert_close(inside, front_end(sounds.float())[0])


@pytest.mark.cuda
@pytest.mark.parametrize("name", FRONT_ENDS)
def test_the_device_changes_nothing(sounds, name):
    front_end = FRONT_ENDS[name]()
    lengths = torch.tensor([16_000, 9_001, 8_160, 159])
    here, counted = front_end(sounds, lengths)
    there, counted_there = front_end.to("cuda")(sounds.cuda(), lengths.cuda())
    torch.testing.assert_close(there.cpu(), here, atol=1e-8, rtol=0)
    assert counted_there.cpu().tolist() == counted.tolist()


@pytest.mark.data
def test_features_of_real_recordings_are_sane(data_root):
    from audioattn_lib.data.manifest import Manifest

    manifest = Manifest.read(data_root / "esc10").subset(range(0, 320, 16))
    front_end = LogMel(normalisation=None)
    for row in range(len(manifest)):
        samples, rate = manifest.read_audio(row, 16_000)
        features, n_frames = front_end(torch.from_numpy(samples)[None])
        assert rate == 16_000
        assert n_frames[0] == len(samples) // 160 + 1
        assert torch.isfinite(features).all()
        assert -100 <= features.min() < features.max() < 60


def test_what_stands_behind_a_clip_does_not_matter():
    waves = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    dirty = waves.clone()
    dirty[1, 2000:] = torch.nan
    lengths = torch.tensor([4000, 2000])
    torch.testing.assert_close(LogMel()(dirty, lengths)[0], LogMel()(waves, lengths)[0])
