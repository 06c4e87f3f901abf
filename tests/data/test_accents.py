"""Synthetic accents differ in vowels, rhythm and melody, and not in who speaks."""

import numpy as np
import pytest
from scipy import stats
from speech_measures import formants_of, fundamental

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data import corpora
from audioattn_lib.data.audit import audit
from audioattn_lib.data.synthetic.accents import ACCENTS, AccentsOptions, compose, generate, moved_vowels
from audioattn_lib.data.synthetic.acoustics import RATE

SMALL = {"speakers_per_accent": 2, "clips_per_speaker": 1, "n_folds": 2, "duration": (1.0, 1.2)}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return corpora.load(
        "accents", cache=tmp_path_factory.mktemp("accents"), speakers_per_accent=8, clips_per_speaker=3, strength=1.2
    )


def vowels_of(manifest, row):
    table = manifest.table
    times = (table.at[row, f"vowel_{name}"].split(";") for name in ("labels", "onsets", "offsets"))
    return [(name, float(onset), float(offset)) for name, onset, offset in zip(*times, strict=True)]


def test_it_passes_its_own_check(manifest):
    report = audit(manifest, sample_rate=RATE)
    assert not report.problems, str(report)
    assert manifest.classes == sorted(ACCENTS)


def test_folds_share_no_speaker_and_hold_every_accent(manifest):
    table = manifest.table
    assert (table.groupby("group")["fold"].nunique() == 1).all()
    assert (table.groupby(["fold", "label"]).size() == 6).all()
    assert (table.groupby(["fold", "label"])["sex"].nunique() == 2).all()
    assert (table.groupby("group").size() == 3).all(), "trials of a speaker need several clips"


def test_the_voice_does_not_tell_the_accent(manifest):
    speakers = manifest.table.drop_duplicates("group")
    pitches = [np.sort(group["pitch_hz"].astype(float)) for _, group in speakers.groupby("label")]
    for other in pitches[1:]:
        np.testing.assert_allclose(other, pitches[0], rtol=1e-3)
    lengths = [group["tract_cm"].astype(float) for _, group in speakers.groupby("label")]
    assert stats.f_oneway(*lengths).pvalue > 0.01


def test_the_pitch_that_one_hears_does_not_separate_accents(manifest):
    heard = {name: [] for name in manifest.classes}
    for row in range(0, len(manifest), 3):
        sound, _ = manifest.read_audio(row)
        pieces = [sound[int(a * RATE) : int(b * RATE)] for _, a, b in vowels_of(manifest, row) if b - a > 0.07]
        heard[manifest.table.at[row, "label"]].append(np.log2(np.median([fundamental(piece) for piece in pieces])))
    assert stats.f_oneway(*heard.values()).pvalue > 0.05


def test_the_vowels_that_one_hears_do(manifest):
    """The second formant of u, by linear prediction and freed of the length of the tract, is fronted in the hills."""
    table = manifest.table
    heard = {"coast": [], "hills": []}
    for row in np.flatnonzero(table["label"].isin(list(heard)) & (table["sex"] == "m")):
        sound, _ = manifest.read_audio(row)
        for name, onset, offset in vowels_of(manifest, row):
            if name == "u" and offset - onset > 0.06:
                middle, half = (onset + offset) / 2, min(0.03, (offset - onset) / 2)
                result = formants_of(sound[int((middle - half) * RATE) : int((middle + half) * RATE)])
                heard[table.at[row, "label"]].append(result[1] * float(table.at[row, "tract_cm"]) / 17)
    assert min(map(len, heard.values())) >= 8
    assert np.median(heard["hills"]) > 1.2 * np.median(heard["coast"])


def test_rhythm_differs_between_accents():
    contrast = {}
    for clip in compose(AccentsOptions(("hills", "island"), 2, 3, 2, (2.0, 2.5))):
        lengths = {stressed: [] for stressed in (True, False)}
        for syllable in clip.utterance.syllables[:-1]:
            lengths[syllable.stressed].append(syllable.vowel_offset - syllable.vowel_onset)
        contrast.setdefault(clip.accent, []).append(np.median(lengths[True]) / np.median(lengths[False]))
    assert np.median(contrast["hills"]) > 1.3 * np.median(contrast["island"])


def test_moved_vowels_are_those_that_sound_otherwise():
    plain = next(compose(AccentsOptions(("coast", "hills"), 2, 1, 2, (1.0, 1.2)))).delivery.vowels
    for clip in compose(AccentsOptions(**SMALL)):
        other = {name for name, formants in clip.delivery.vowels.items() if not np.allclose(formants, plain[name])}
        assert other == moved_vowels(clip.accent), clip.accent
    with pytest.raises(ConfigError, match="accent is 'moon'; it must be one of coast, hills"):
        moved_vowels("moon")


def test_without_strength_all_accents_are_one():
    for clip in compose(AccentsOptions(**SMALL, strength=0.0)):
        assert clip.delivery.stress_period == ACCENTS["coast"].stress_period
        assert clip.delivery.final_pitch == ACCENTS["coast"].final_pitch
        np.testing.assert_allclose(clip.delivery.vowels["u"], (300, 870, 2240))


def test_the_same_options_give_the_same_files(tmp_path):
    first, second = (generate(AccentsOptions(**SMALL), tmp_path / name) for name in "ab")
    for path in first.rglob("*.*"):
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


def test_accents_do_not_change_one_another():
    all_of_them = [clip for clip in compose(AccentsOptions(**SMALL)) if clip.accent == "river"]
    alone = [clip for clip in compose(AccentsOptions(("river", "coast"), **SMALL)) if clip.accent == "river"]
    for ours, theirs in zip(all_of_them, alone, strict=True):
        np.testing.assert_array_equal(ours.utterance.samples, theirs.utterance.samples)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accents": ("coast",)}, "accents is coast; it must be two or more of coast, hills"),
        ({"accents": "coast,moon"}, "accents is coast, moon"),
        ({"speakers_per_accent": 3, "n_folds": 4}, "speakers_per_accent is 3; it must be at least 4"),
        ({"n_folds": 1}, "n_folds is 1; it must be at least 2"),
        ({"strength": -1}, "strength is -1; it must be a number from 0 to 2"),
        ({"voices": 3}, "accents has no option voices; it has accents"),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        corpora.load("accents", **options)
