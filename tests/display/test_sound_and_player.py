"""The player's sound is honest, its page needs no network, and its text is text."""

import dataclasses
import html as htmllib
import io
import json
import re

import numpy as np
import pytest
import soundfile
from handmade import CLOCK, EVENTS, HOSTILE, KINDS, SAMPLE_RATE, make_record, require_offline

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.display import Player, player, scrubber
from audioattn_lib.display.players.sound import BUDGET, TAIL, attended, attended_cells, compress, gain


def _player(sound, features, **options):
    return player(sound, SAMPLE_RATE, features=features[0], clock=CLOCK, frequencies=features[1], **options)


def test_gain_is_between_zero_and_one_and_reaches_one(record):
    level = gain(record, 1)
    assert level.shape == (record.n_frames[1],)
    assert level.min() >= 0
    assert level.max() == 1


def test_attended_and_rest_add_up_to_the_sound(record, sound):
    kept, rest = attended(sound, SAMPLE_RATE, record)
    np.testing.assert_allclose(kept + rest, sound, atol=1e-7)
    assert np.all(np.abs(kept) <= np.abs(sound) + 1e-7)  # nothing is amplified
    assert np.all(np.abs(rest) <= np.abs(sound) + 1e-7)


def test_outside_the_support_nothing_is_heard(sound):
    record = make_record("parabola", clips=1)
    kept, rest = attended(sound, SAMPLE_RATE, record)
    start = round((record.support(0)[0][0] - record.clock.period) * SAMPLE_RATE)
    assert not kept[:start].any()
    np.testing.assert_array_equal(rest[:start], sound[:start])


@pytest.mark.parametrize("rate", [8000, 11111, 16000, 44100, 96000])
def test_compressed_sound_keeps_its_time(rate):
    """A burst in the middle comes back where it was, to a millisecond."""
    times = np.arange(rate) / rate
    samples = 0.5 * np.sin(2 * np.pi * 1000 * times) * ((times > 0.5) & (times < 0.6))
    content = compress(samples, rate)
    assert len(content) <= BUDGET
    back, back_rate = soundfile.read(io.BytesIO(content))
    assert len(back) / back_rate == pytest.approx(1 + TAIL, abs=2e-3)
    assert np.argmax(np.abs(back) > 0.2) / back_rate == pytest.approx(0.5, abs=1e-3)


def test_long_sounds_are_squeezed_or_refused():
    noise = 0.1 * np.random.default_rng(0).standard_normal(12 * SAMPLE_RATE)
    assert len(compress(noise, SAMPLE_RATE)) <= BUDGET
    with pytest.raises(ValueError, match="shorter part"):
        compress(np.tile(noise, 8), SAMPLE_RATE)
    loud = np.random.default_rng(0).uniform(-1, 1, 20 * 44_100)
    assert len(compress(loud, 44_100, keep_rate=False)) <= BUDGET


def test_loud_sound_is_not_clipped():
    tone = 4 * np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    back, _ = soundfile.read(io.BytesIO(compress(tone, SAMPLE_RATE)))
    assert np.mean(np.abs(back) > 0.99) < 0.15  # a clipped sine is flat for most of its time


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 100)), "one channel"),
        (np.zeros(0), "one channel"),
        (np.array([0.0, np.nan]), "NaN"),
    ],
)
def test_unusable_sound_is_named(samples, message, features):
    with pytest.raises(ValueError, match=message):
        _player(samples, features)


def test_markup_is_complete_without_script(sound, features):
    """Content without JavaScript: picture, its text, curve, sound."""
    shown = _player(sound, features, record=make_record("triweight"), events=EVENTS, title="A tone")
    assert isinstance(shown, Player)
    assert re.search(r'<img class="aa-light[^>]* alt="[^"]*mean 0\.50 s', shown.markup)
    assert re.search(r'<audio controls[^>]* src="data:audio/mpeg;base64,', shown.markup)
    assert '<path class="aa-line" d="M' in shown.markup
    assert shown.alt.startswith("A tone: Spectrogram of 1.0 s of sound")


def test_page_asks_nothing_of_a_network(tmp_path, sound, features):
    records = {kind: make_record(kind) for kind in KINDS}
    shown = _player(sound, features, records=records, events=EVENTS, title="Everything")
    page = shown.save(tmp_path / "pages" / "player.html").read_text()
    require_offline(page)
    assert "default-src 'none'" in page
    assert shown.markup.count("data:audio/mpeg") == 1  # the sound is embedded once


def test_settings_survive_the_markup(sound, features):
    record = make_record("sparsemax")
    shown = _player(sound, features, records={HOSTILE: record}, clip=1)
    settings = json.loads(htmllib.unescape(re.search(r'data-player="([^"]*)"', shown.markup)[1]))
    assert settings["duration"] == pytest.approx(1)
    [mechanism] = settings["mechanisms"]
    assert mechanism["title"] == HOSTILE
    assert mechanism["period"] == record.clock.period


def test_hostile_text_stays_text(tmp_path, sound, features):
    events = [(HOSTILE, 0.1, 0.2)]
    shown = _player(
        sound, features, records={HOSTILE: make_record("softmax")}, events=events, title=HOSTILE, caption=HOSTILE
    )
    page = shown.save(tmp_path / "p.html").read_text()
    assert "<script>alert" not in page
    assert '<img src="https' not in page


def test_four_seconds_with_eight_mechanisms_fit_a_page():
    samples = 0.1 * np.random.default_rng(0).standard_normal(4 * SAMPLE_RATE)
    features = np.random.default_rng(0).normal(size=(401, 80)), np.geomspace(40, 7900, 80)
    records = {f"Mechanism {i}": make_record(kind) for i, kind in enumerate(KINDS[:7])}
    shown = _player(samples, features, records=records)
    assert len(shown.html()) < 200_000


def test_sliders_choose_among_a_grid_of_records(sound, features):
    """Every combination is a curve; the one shown first is also what remains without script."""
    records = {f"{width}, {place}": make_record("parabola") for width in (0.1, 0.2) for place in (1, 2, 3)}
    said = [f"reading {i}" for i in range(6)]
    sliders = {"Width (s)": [0.1, 0.2], "Location (s)": [1, 2.5, 1 / 3]}
    shown = _player(sound, features, records=records, sliders=sliders, start=4, readings=said)
    settings = json.loads(htmllib.unescape(re.search(r'data-player="([^"]*)"', shown.markup)[1]))
    assert settings["start"] == 4
    assert settings["sliders"][1] == {"label": "Location (s)", "values": ["1", "2.5", "0.3333"]}
    assert [each["reading"] for each in settings["mechanisms"]] == said
    assert re.findall(r'<g data-mechanism="(\d)" hidden>', shown.markup) == list("01235")
    assert '<div class="aa-reading">reading 4</div>' in shown.markup
    with pytest.raises(ValueError, match="sliders have 2 combinations of values for 6 records"):
        _player(sound, features, records=records, sliders={"Width": [1, 2]})
    with pytest.raises(ValueError, match="1 readings for 6 records"):
        _player(sound, features, records=records, sliders=sliders, readings=["one"])
    with pytest.raises(ValueError, match="start is 6"):
        _player(sound, features, records=records, sliders=sliders, start=6)


def test_one_record_or_several(sound, features):
    record = make_record("softmax")
    with pytest.raises(ValueError, match="both given"):
        _player(sound, features, record=record, records={"a": record})


def test_scrubber_is_a_film_strip_without_script(tmp_path):
    frames = [np.full((4, 6, 3), 40 * i, dtype=np.uint8) for i in range(3)]
    shown = scrubber(frames, [1, 1.5, 2], label="alpha", alt="A grey field", caption=HOSTILE)
    assert shown.markup.count('class="aa-frame') == 3 + 1  # three frames in one strip
    assert "alpha: 1.5" in shown.markup
    assert "alpha 2. A grey field" in shown.markup
    page = shown.save(tmp_path / "s.html").read_text()
    require_offline(page)
    assert "<script>alert" not in page
    with pytest.raises(ValueError, match="3 frames and 2 values"):
        scrubber(frames, [1, 2], label="alpha", alt="x")
    with pytest.raises(ValueError, match="start is 3"):
        scrubber(frames, [1, 2, 3], label="alpha", alt="x", start=3)
    with pytest.raises(ValueError, match="alt is empty"):
        scrubber(frames, [1, 2, 3], label="alpha")


def map_record(cells, seconds=2.0, frequencies=(500.0, 3000.0)):
    maps = np.asarray(cells, dtype=float)[None, None, None]
    return AttentionRecord(
        "patches",
        FrameClock(seconds / maps.shape[-1]),
        n_frames=np.array([maps.shape[-1]]),
        maps=maps,
        frequencies=np.array(frequencies),
    )


def level(samples, hertz, start, stop, rate=SAMPLE_RATE):
    """Amplitude of a sine within two times, in dB."""
    times = np.arange(round(start * rate), round(stop * rate)) / rate
    wave = np.exp(-2j * np.pi * hertz * times) * np.hanning(len(times))
    return 20 * np.log10(
        2 * abs(samples[round(start * rate) : round(stop * rate)] @ wave) / np.hanning(len(times)).sum()
    )


def test_attended_cells_keep_their_level_and_the_others_are_gone():
    times = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    low, high = 0.3 * np.sin(2 * np.pi * 500 * times), 0.3 * np.sin(2 * np.pi * 3000 * times)
    sound = (low + high).astype(np.float32)
    record = map_record([[4, 4, 4, 4, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]])
    kept, rest = attended_cells(sound, SAMPLE_RATE, record)
    np.testing.assert_allclose(kept + rest, sound, atol=1e-6)
    whole = level(sound, 500, 0.1, 0.8)
    assert level(kept, 500, 0.1, 0.8) == pytest.approx(whole, abs=0.1)
    assert level(kept, 3000, 1.3, 1.9) == pytest.approx(whole - 20 * np.log10(4), abs=0.1), "a quarter of the peak"
    for hertz, start, stop in ((3000, 0.1, 0.8), (500, 1.3, 1.9)):
        assert level(kept, hertz, start, stop) < whole - 50
        assert level(rest, hertz, start, stop) == pytest.approx(whole, abs=0.1)


def test_cells_that_are_all_attended_change_nothing():
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 5000).astype(np.float32)
    for samples in (sound, sound[:300]):
        kept, rest = attended_cells(samples, SAMPLE_RATE, map_record(np.full((2, 5), 3.0)))
        np.testing.assert_allclose(kept, samples, atol=1e-6)
        np.testing.assert_allclose(rest, 0, atol=1e-6)
    without = dataclasses.replace(map_record(np.ones((2, 5))), frequencies=None)
    with pytest.raises(ValueError, match="maps without frequencies"):
        attended_cells(sound, SAMPLE_RATE, without)
    attended_cells(sound, SAMPLE_RATE, without, frequencies=np.linspace(100, 7000, 40))
