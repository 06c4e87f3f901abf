"""Mixtures: events begin at their sample, are as loud as asked, and no recording is in two folds."""

import itertools

import numpy as np
import pandas as pd
import pytest
from small_corpora import write_table

from audioattn_lib.audio import io
from audioattn_lib.core.errors import AudioAttnError, ConfigError, ManifestError
from audioattn_lib.data import corpora
from audioattn_lib.data.audit import audit
from audioattn_lib.data.splits import split_clips
from audioattn_lib.data.synthetic.acoustics import RATE
from audioattn_lib.data.synthetic.mixtures import Mixer, MixturesOptions
from audioattn_lib.data.synthetic.recordings import divide_recordings, join_stretches, loudest_stretch

TONES = {"low": 1000.0, "high": 3000.0}
HUM = 100.0
FOLDS = 3


def tone(hertz, seconds, rate=RATE, level=0.1):
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def make(root, sounds, rate=RATE, **columns):
    """Write sounds by class; two clips of each recording."""
    rows = []
    for label, recordings in sounds.items():
        for recording, clips in enumerate(recordings):
            for number, sound in enumerate(clips):
                name = f"audio/{label}-{recording}-{number}.wav"
                io.write(root / name, sound, rate, durable=False)
                rows.append({"file_name": name, "label": label, "group": f"{label}-{recording}"} | columns)
    write_table(root / "metadata.csv", rows)
    return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tones as events, a hum as background; the events last 1 s and 1.5 s."""
    root = tmp_path_factory.mktemp("sources")
    tones = {
        label: [[tone(hertz + 10 * r, 1.0), tone(hertz + 10 * r + 5, 1.5)] for r in range(4)]
        for label, hertz in TONES.items()
    }
    make(root / "events", tones, license="CC0")
    make(root / "beds", {"hum": [[tone(HUM + r, 2.0), tone(HUM + r, 3.0)] for r in range(3)]})
    (root / "beds" / "LICENSE").write_text("CC BY 4.0\n")
    return root


def options(folders, **changes):
    return {
        "events": str(folders / "events"),
        "backgrounds": str(folders / "beds"),
        "clips": 12,
        "duration": 4.0,
        "event_duration": (0.2, 0.8),
        "n_folds": FOLDS,
    } | changes


def mixer(folders, **changes):
    given = options(folders, **changes)
    beds = given["backgrounds"]
    return Mixer(
        MixturesOptions.parse(**given),
        corpora.load(given["events"]),
        None if beds == "made" else corpora.load(beds),
    )


@pytest.fixture(scope="module")
def manifest(folders, tmp_path_factory):
    return corpora.load("mixtures", cache=tmp_path_factory.mktemp("mixtures"), **options(folders))


def test_it_passes_its_own_check_with_classes_and_folds(manifest):
    report = audit(manifest, sample_rate=RATE, group="group")
    assert not report.problems, str(report)
    assert (manifest.kind, manifest.classes) == ("class", ["high", "low"])
    assert set(manifest.table["fold"]) == {"1", "2", "3"}
    split = split_clips(manifest, "1")
    assert all(len(rows) == 4 for rows in (split.train, split.valid, split.test))


def test_events_begin_and_end_at_the_samples_of_the_table(manifest, folders):
    """Nothing of the event is outside of its samples: what is left of the bed there is what the bed alone is."""
    maker = mixer(folders)
    for row, mixture in enumerate(maker[number] for number in range(len(maker))):
        (event,) = manifest.events(row)
        first, last = (round(seconds * RATE) for seconds in event[1:])
        assert abs(event.onset * RATE - first) < 0.01
        added = mixture.samples - mixture.bed
        assert not added[:first].any()
        assert not added[last:].any()
        assert added[first : first + 2].any()  # a tone may begin with a zero
        assert added[last - 2 : last].any()
        written, _ = manifest.read_audio(row)
        np.testing.assert_allclose(written, mixture.samples, atol=2 / 2**15)  # 16 bits


def test_events_are_as_loud_as_the_table_says(manifest):
    """From the file alone: the power of the tone over that of the hum, each by its own frequencies."""
    for row in range(len(manifest)):
        sound, _ = manifest.read_audio(row)
        (event,) = manifest.events(row)
        first, last = (round(seconds * RATE) for seconds in event[1:])
        spectrum = np.abs(np.fft.rfft(sound)) ** 2
        is_hum = np.fft.rfftfreq(len(sound), 1 / RATE) < 500
        energy = 2 * spectrum / len(sound)
        bed, tones = energy[is_hum].sum() / len(sound), energy[~is_hum].sum() / (last - first)
        expected = float(manifest.table.at[row, "event_snr_db"])
        assert 0 <= expected <= 15
        assert abs(10 * np.log10(tones / bed) - expected) < 0.1


def test_no_recording_is_in_two_folds(manifest):
    table = manifest.table
    for columns in (["event_groups"], ["background_group"], ["event_sources"]):
        assert (table.groupby(columns)["fold"].nunique() == 1).all()
    sources = pd.read_csv(manifest.root / "sources.csv")
    assert (sources.groupby(["used_as", "group"])["fold"].nunique() == 1).all()
    assert len(sources) == 2 * 4 * 2 + 3 * 2


def test_licences_travel_along(manifest):
    assert set(manifest.table["license"]) == {"CC0"}
    sources = pd.read_csv(manifest.root / "sources.csv").groupby("used_as")["license"].unique()
    assert {name: list(stated) for name, stated in sources.items()} == {
        "event": ["CC0"],
        "background": ["not stated in its table"],
    }
    assert (manifest.root / "sources" / "beds" / "LICENSE").read_text() == "CC BY 4.0\n"


def test_the_same_seed_gives_the_same_bytes_wherever_the_sources_lie(manifest, folders, tmp_path):
    moved = folders.rename(folders.parent / "moved")
    try:
        again = corpora.load("mixtures", cache=tmp_path, **options(moved))
    finally:
        moved.rename(folders)
    assert again.root.name == manifest.root.name
    for path in again.root.rglob("*.*"):
        assert path.read_bytes() == (manifest.root / path.relative_to(again.root)).read_bytes()


def test_other_recordings_under_the_same_names_are_other_mixtures(manifest, folders, tmp_path):
    louder = {
        label: [[tone(hertz + 10 * r, 1.0, level=0.2), tone(hertz + 7 * r, 1.5)] for r in range(4)]
        for label, hertz in TONES.items()
    }
    make(tmp_path / "events", louder)
    other = corpora.load("mixtures", cache=tmp_path, **options(folders, events=str(tmp_path / "events")))
    assert other.root.name != manifest.root.name


def test_more_clips_leave_the_first_ones_as_they_were(folders):
    few, many = mixer(folders), mixer(folders, clips=40)
    for number in range(len(few)):
        first, other = few[number], many[number]
        np.testing.assert_array_equal(first.samples, other.samples)
        assert (first.fold, first.events) == (other.fold, other.events)
        assert few.row(number, first) == many.row(number, other)


def test_another_seed_makes_other_clips(folders):
    assert not np.array_equal(mixer(folders)[0].samples, mixer(folders, seed=1)[0].samples)


def test_another_length_leaves_the_recordings_in_their_folds(folders):
    short, long = mixer(folders).sources(), mixer(folders, duration=300.0).sources()
    assert short == long


@pytest.mark.parametrize("seconds", [1.0, 61.3])
def test_clips_are_as_long_as_asked(folders, seconds):
    maker = mixer(folders, duration=seconds, clips=6)
    mixture = maker[3]
    assert len(mixture.samples) == round(seconds * RATE)
    assert mixture.fraction == pytest.approx(mixture.events[0].length / len(mixture.samples))
    levels = np.sqrt(np.mean(mixture.bed[: round(seconds) * RATE].reshape(-1, RATE) ** 2, axis=1))
    assert levels.max() < 1.6 * levels.min()  # cross-fades at equal power leave no hole


def test_several_events_meet_only_where_they_may(folders):
    apart = mixer(folders, events_per_clip=(2, 4), one_class=False, clips=30)
    for number in range(len(apart)):
        mixture = apart[number]
        assert 2 <= len(mixture.events) <= 4
        spans = [(event.first, event.first + event.length) for event in mixture.events]
        assert all(b[0] >= a[1] for a, b in itertools.pairwise(spans))
        assert spans[0][0] >= 0
        assert spans[-1][1] <= len(mixture.samples)
        assert set(mixture.label.split(";")) == {event.label for event in mixture.events}
    over = mixer(folders, events_per_clip=(4, 4), overlap=True, event_duration=(0.8, 3.9), clips=30)
    meeting = 0
    for number in range(len(over)):
        ends = [(event.first, event.first + event.length) for event in over[number].events]
        meeting += any(b[0] < a[1] for a, b in itertools.pairwise(ends))
        assert len({event.label for event in over[number].events}) == 1
    assert meeting > 20


def test_events_of_several_classes_make_labels(folders, tmp_path):
    given = options(folders, events_per_clip=(0, 3), one_class=False, clips=30)
    manifest = corpora.load("mixtures", cache=tmp_path, **given)
    assert manifest.kind == "multilabel"
    for row, targets in enumerate(manifest.label_indices()):
        assert {event.label for event in manifest.events(row)} == set(np.array(manifest.classes)[targets == 1])
    assert not any(p.severity == "error" for p in audit(manifest).problems)


def test_backgrounds_can_be_made(folders):
    maker = mixer(folders, backgrounds="made", clips=6)
    mixture = maker[0]
    assert mixture.background in ("traffic", "wind", "rain", "crowd")
    assert maker.row(0, mixture)["background_sources"] == "made"


def test_one_corpus_gives_events_and_backgrounds(folders, tmp_path):
    make(
        tmp_path / "all",
        {name: [[tone(h + 9 * r, 1.2)] for r in range(3)] for name, h in {**TONES, "hum": HUM}.items()},
    )
    given = options(tmp_path, events=str(tmp_path / "all"), backgrounds=str(tmp_path / "all"))
    manifest = corpora.load("mixtures", cache=tmp_path, **given, background_classes="hum")
    assert manifest.classes == ["high", "low"]
    assert set(manifest.table["background"]) == {"hum"}
    with pytest.raises(ConfigError, match="high, hum, low: of the events and of the backgrounds; name other ones"):
        corpora.load("mixtures", cache=tmp_path, **given)


def test_the_loudest_stretch_and_a_division_by_hand():
    sound = np.zeros(RATE)
    sound[8000:8800] = 1.0
    assert loudest_stretch(sound, 800) == 8000
    assert loudest_stretch(sound, 2 * RATE) == 0
    groups = {"a": [f"a{i}" for i in range(7)], "b": ["a0", "b1", "b2"]}
    folds = divide_recordings(groups, 3, seed=0)
    assert sorted(folds[name] for name in groups["b"]) == [1, 2, 3]
    assert sorted(np.bincount([folds[name] for name in groups["a"]])[1:]) == [2, 2, 3]


def test_a_bed_uses_a_stretch_again_only_after_the_others():
    stretches = [np.full(RATE, value) for value in (1.0, 2.0, 3.0)]
    bed = join_stretches(stretches, 5 * RATE, np.random.default_rng(0))
    middles = [round(bed[int((0.5 + 0.75 * k) * RATE)], 6) for k in range(6)]
    assert sorted(middles[:3]) == sorted(middles[3:6]) == [1.0, 2.0, 3.0]
    assert middles[2] != middles[3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"events": ""}, "events is empty; name the corpus whose recordings are the events: mixtures"),
        (
            {"events_per_clip": (1, 6)},
            "6 events of up to 0.8 s do not fit into clips of 4 s; take longer clips .duration., fewer",
        ),
        ({"event_duration": (1.0, 5.0), "overlap": True}, "1 events of up to 5 s do not fit into clips of 4 s"),
        ({"events_per_clip": (0, 1)}, "a clip without events has no class"),
        ({"duration": 301}, "duration is 301; it must be between 1 and 300 seconds"),
        ({"snr": 3.0}, "snr is 3.0"),
        ({"clips": 5}, "clips is 5; 2 classes in 3 folds need at least 6"),
        ({"classes": "low,zebra"}, "classes has zebra, of which events has no recording; it has high, low"),
        ({"n_folds": 5}, "class (high|low|background hum) has [34] recordings, and 5 folds need at least one each"),
        ({"loudness": 3}, "mixtures has no option loudness; it has events, backgrounds"),
        ({"events": "no_such_corpus"}, "no corpus 'no_such_corpus'"),
    ],
)
def test_impossible_options_are_named(folders, changes, message):
    with pytest.raises(AudioAttnError, match=message):
        corpora.load("mixtures", **options(folders, **changes))


def test_sources_that_cannot_be_used_are_named(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="empty: no known layout"):
        corpora.load("mixtures", cache=tmp_path, **options(folders, events=str(tmp_path / "empty")))

    def load(name):
        return corpora.load("mixtures", cache=tmp_path, **options(folders, events=str(tmp_path / name)))

    sounds = {label: [[tone(h + r, 1.0)] for r in range(3)] for label, h in TONES.items()}
    root = make(tmp_path / "broken", sounds)
    (root / "audio" / "low-1-0.wav").write_bytes(b"RIFF")
    with pytest.raises(ManifestError, match=r"low-1-0\.wav: .*mend it, or leave its row out"):
        load("broken")
    make(tmp_path / "telephone", sounds, rate=8000)
    with pytest.raises(ManifestError, match=r"low-0-0\.wav: 8000 Hz; mixtures have 16000 Hz"):
        load("telephone")
    make(
        tmp_path / "faster",
        {label: [[tone(h + r, 1.0, 44_100)] for r in range(3)] for label, h in TONES.items()},
        44_100,
    )
    assert len(load("faster")) == 12
    make(tmp_path / "silent", sounds | {"low": [[np.zeros(RATE)] for _ in range(3)]})
    with pytest.raises(ManifestError, match=r"low-\d-0\.wav is silent; leave its row out"):
        load("silent")


@pytest.mark.data
def test_urbansound8k_over_its_own_beds(tmp_path):
    beds = "street_music,air_conditioner,children_playing"
    manifest = corpora.load(
        "mixtures", cache=tmp_path, events="urbansound8k", backgrounds="urbansound8k", background_classes=beds, clips=35
    )
    report = audit(manifest, sample_rate=RATE, group="group")
    assert not report.errors, str(report)
    assert len(manifest.classes) == 7
    assert not set(beds.split(",")) & set(manifest.classes)
    shared = set(manifest.table["event_groups"]) & set(manifest.table["background_group"])
    assert not shared
    assert (manifest.durations == 10.0).all()
