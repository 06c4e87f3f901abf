"""Synthetic voices speak as they are asked to, are the same everywhere, and share no speaker between splits."""

import numpy as np
import pytest
from scipy import signal, stats
from speech_measures import fundamental

from audioattn_lib.audio import io
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data import corpora
from audioattn_lib.data.audit import audit
from audioattn_lib.data.synthetic import voices
from audioattn_lib.data.synthetic.acoustics import RATE
from audioattn_lib.data.synthetic.speech import VOWELS, Delivery, draw_voice, say
from audioattn_lib.data.synthetic.vocal_tract import HOP, Articulation, speak
from audioattn_lib.data.synthetic.voices import VoicesOptions, compose, generate

SMALL = {"speakers": 8, "clips_per_speaker": 1, "duration": (1.0, 1.2)}
CUES = ("speech_rate", "articulation_rate", "pause_share", "pitch_range", "breathiness", "precision")


def numbers(manifest, column):
    return manifest.table[column].astype(float).to_numpy()


def steady(formants=(500, 1500, 2500, 3500, 4500, 5500, 6500), seconds=1.5, **given):
    n = round(seconds * RATE / HOP)
    frames = {"pitch": 100.0, "voicing": 1.0, "aspiration": 0.0, "friction": 0.0}
    frames |= {"friction_low": 2000.0, "friction_high": 6000.0} | {k: v for k, v in given.items() if k in frames}
    glottis = {"open_quotient": 0.6, "tilt": 8.0, "jitter": 0.0, "shimmer": 0.0}
    glottis |= {k: v for k, v in given.items() if k in glottis}
    return Articulation(
        **{name: np.full(n, value) for name, value in frames.items()},
        formants=np.tile(np.array(formants, dtype=float), (n, 1)),
        bandwidths=np.tile([60.0, 90, 130, 180, 250, 320, 400], (n, 1)),
        **glottis,
    )


@pytest.mark.parametrize("vowel", VOWELS)
def test_a_whispered_vowel_resonates_where_it_was_asked_to(vowel):
    asked = VOWELS[vowel]
    sound = speak(
        steady((*asked, 3500, 4500, 5500, 6500), voicing=0.0, aspiration=1.0, seconds=4.0), np.random.default_rng(0)
    )
    frequencies, power = signal.welch(sound, RATE, nperseg=640, nfft=4096)
    for frequency in asked:
        near = np.abs(frequencies - frequency) < 0.10 * frequency
        beside = power[np.abs(frequencies - frequency) < 0.3 * frequency]
        peak = frequencies[near][np.argmax(power[near])]
        assert peak == pytest.approx(frequency, rel=0.09)
        assert power[near].max() > 2 * np.percentile(beside, 10)


@pytest.mark.parametrize("pitch", [90.0, 160.0, 280.0])
def test_the_voice_has_the_pitch_it_was_asked_for(pitch):
    sound = speak(steady(pitch=pitch), np.random.default_rng(0))
    assert fundamental(sound[4000:20000]) == pytest.approx(pitch, rel=0.02)


def test_breath_takes_high_harmonics_and_a_short_tract_does_not_ring():
    firm, tilted = (speak(steady(tilt=tilt), np.random.default_rng(0)) for tilt in (6.0, 18.0))
    share = [np.mean(np.diff(sound) ** 2) / np.mean(sound**2) for sound in (firm, tilted)]
    assert share[1] < 0.7 * share[0]
    short = speak(steady(1.3 * np.array((500, 1500, 2500, 3500, 4500, 5500, 6500))), np.random.default_rng(0))
    frequencies, power = signal.welch(short, RATE, nperseg=1024)
    assert power[frequencies > 7500].max() < 0.01 * power.max()


def test_jitter_makes_periods_unequal():
    even, uneven = (speak(steady(jitter=jitter), np.random.default_rng(0)) for jitter in (0.0, 0.03))
    strength = []
    for sound in (even, uneven):
        x = sound[4000:20000]
        strength.append(np.corrcoef(x[1600:], x[:-1600])[0, 1])  # ten periods apart
    assert strength[0] > 0.98 > 0.9 > strength[1]


@pytest.mark.parametrize(("rate", "share"), [(3.2, 0.0), (4.5, 0.15), (5.8, 0.35)])
def test_rate_and_pauses_are_as_asked(rate, share):
    voice = draw_voice(np.random.default_rng(1), "m")
    said = say(voice, Delivery(rate, share, 4.0, 0.3, 0.8), 4.0, np.random.default_rng(2))
    assert len(said.samples) == 4 * RATE
    assert said.articulation_rate == pytest.approx(rate, rel=0.12)
    assert said.pause_share == pytest.approx(share, abs=0.01)
    times = [time for s in said.syllables for time in (s.onset, s.vowel_onset, s.vowel_offset)]
    assert np.diff(times).min() > -1e-9
    assert times[0] > 0
    assert times[-1] < 4.0


def test_pauses_are_quiet_and_vowels_are_not():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        said = say(draw_voice(rng, "fm"[seed % 2]), Delivery(4.5, 0.3, 4.0, 0.3, 0.8), 3.0, rng)

        def level(onset, offset, sound=said.samples):
            return 20 * np.log10(sound[int(onset * RATE) : int(offset * RATE)].std())

        vowels = [level(s.vowel_onset + 0.02, s.vowel_offset - 0.02) for s in said.syllables]
        quiet = [level(a + 0.09, b - 0.02) for a, b in said.pauses if b - a > 0.16]
        assert quiet
        assert max(quiet) < np.median(vowels) - 15


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return corpora.load(
        "voices", cache=tmp_path_factory.mktemp("voices"), speakers=16, clips_per_speaker=6, duration=(2.0, 3.0)
    )


def test_it_passes_its_own_check(manifest):
    report = audit(manifest, sample_rate=RATE, group="group")
    assert not report.problems, str(report)
    assert manifest.kind == "number"
    assert manifest.has_label.all()
    assert max(path.stat().st_size for path in manifest.paths) < 130_000


def test_splits_share_no_speaker_and_have_both_sexes(manifest):
    table = manifest.table
    assert (table.groupby("group")["split"].nunique() == 1).all()
    assert table.groupby("split")["group"].nunique().to_dict() == {"train": 8, "devel": 4, "test": 4}
    assert (table.groupby("split")["sex"].nunique() == 2).all()


def test_every_speaker_is_everything_from_awake_to_tired(manifest):
    for values in manifest.table.groupby("group")["label"]:
        labels = values[1].astype(float)
        assert 1 <= labels.min() < 1 + 8 / 6
        assert 9 - 8 / 6 < labels.max() <= 9


def test_speech_follows_tiredness_and_no_cue_tells_alone(manifest):
    tired = manifest.label_values()
    strength = {cue: stats.spearmanr(tired, numbers(manifest, cue)).statistic for cue in CUES}
    expected = {"pause_share": 1, "breathiness": 1} | {
        cue: -1 for cue in CUES if cue not in ("pause_share", "breathiness")
    }
    for cue, sign in expected.items():
        assert 0.15 < sign * strength[cue] < 0.85, (cue, strength[cue])
    for other in ("pitch_hz", "tract_cm", "duration"):
        assert abs(stats.spearmanr(tired, numbers(manifest, other)).statistic) < 0.25, other


def test_rate_and_pauses_can_be_heard(manifest):
    """Peaks and silences of the envelope, which knows nothing of the table, follow it, and tiredness."""
    band = signal.butter(2, [300, 3000], "bandpass", fs=RATE, output="sos")
    slow = signal.butter(2, 10, fs=RATE, output="sos")
    rates, silence = [], []
    for row in range(len(manifest)):
        sound, _ = manifest.read_audio(row)
        envelope = signal.sosfiltfilt(slow, np.abs(signal.sosfilt(band, sound)))[::160]
        level = 20 * np.log10(np.maximum(envelope, 1e-6))
        level = np.maximum(level, level.max() - 30)
        peaks, _ = signal.find_peaks(level, prominence=2.5, height=level.max() - 25)
        rates.append(len(peaks) / len(sound) * RATE)
        silence.append(np.mean(level < level.max() - 26))
    assert np.corrcoef(rates, numbers(manifest, "speech_rate"))[0, 1] > 0.8
    assert np.corrcoef(silence, numbers(manifest, "pause_share"))[0, 1] > 0.7
    assert stats.spearmanr(rates, manifest.label_values()).statistic < -0.3


def test_the_pitch_of_the_speaker_can_be_measured(manifest):
    results = []
    for row in range(0, len(manifest), 4):
        sound, _ = manifest.read_audio(row)
        events = zip(
            *(map(float, manifest.table.at[row, f"vowel_{end}"].split(";")) for end in ("onsets", "offsets")),
            strict=True,
        )
        pieces = [sound[int(a * RATE) : int(b * RATE)] for a, b in events if b - a > 0.07]
        results.append(np.median([fundamental(piece) for piece in pieces]) / float(manifest.table.at[row, "pitch_hz"]))
    assert np.median(results) == pytest.approx(1.0, abs=0.1)
    assert np.mean(np.abs(np.log2(results)) < 0.4) > 0.9


def test_without_an_effect_nothing_follows_tiredness():
    clips = list(compose(VoicesOptions(16, 6, (1.0, 1.2), effect=0.0)))
    tired = [clip.tiredness for clip in clips]
    for cue in ("articulation_rate", "pause_share"):
        assert abs(stats.spearmanr(tired, [getattr(clip.utterance, cue) for clip in clips]).statistic) < 0.3
    assert abs(stats.spearmanr(tired, [clip.delivery.breathiness for clip in clips]).statistic) < 0.3


def test_levels_leave_room():
    for clip in compose(VoicesOptions(**SMALL)):
        sound = clip.utterance.samples
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() <= 0.91
        assert -35 < 20 * np.log10(sound.std()) < -12
        assert abs(sound.mean()) < 1e-2


def test_the_same_options_give_the_same_files(tmp_path):
    first, second = (generate(VoicesOptions(**SMALL), tmp_path / name) for name in "ab")
    assert [path.name for path in sorted(first.rglob("*"))] == [path.name for path in sorted(second.rglob("*"))]
    for path in first.rglob("*.*"):
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()
    other = generate(VoicesOptions(**SMALL, seed=1), tmp_path / "a")
    assert other != first
    assert not np.array_equal(io.read(next(other.rglob("*.flac")))[0], io.read(next(first.rglob("*.flac")))[0])
    stamp = (first / "metadata.csv").stat().st_mtime_ns
    assert generate(VoicesOptions(**SMALL), tmp_path / "a") == first
    assert (first / "metadata.csv").stat().st_mtime_ns == stamp


def test_more_clips_leave_the_speakers_as_they_were():
    few, more = (list(compose(VoicesOptions(**{**SMALL, "clips_per_speaker": n}))) for n in (1, 2))
    assert {clip.voice.pitch for clip in few} == {clip.voice.pitch for clip in more}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speakers": 7}, "speakers is 7; it must be at least 8"),
        ({"clips_per_speaker": "many"}, "clips_per_speaker is 'many'; it must be a whole number"),
        (
            {"duration": (3, 2)},
            r"duration is \(3, 2\); it must be two numbers of seconds, the lower first, within 1 to 10",
        ),
        ({"duration": 3.0}, "duration is 3.0"),
        ({"effect": 3}, "effect is 3; it must be a number from 0 to 2"),
        ({"seed": -1}, "seed is -1"),
        ({"clips": 3}, "voices has no option clips; it has speakers"),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        corpora.load("voices", **options)


def test_splits_of_speakers_are_as_described():
    assert voices.SPLITS.count("train") == 2
    assert set(voices.SPLITS) == {"train", "devel", "test"}
