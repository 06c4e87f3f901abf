"""The synthetic city is the same on every machine, knows its events, and shares nothing between folds."""

import numpy as np
import pytest
import torch

from audioattn_lib.audio import io
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data import corpora
from audioattn_lib.data.audit import audit
from audioattn_lib.data.files import StoreError
from audioattn_lib.data.synthetic import acoustics
from audioattn_lib.data.synthetic.backgrounds import BACKGROUNDS, record_background
from audioattn_lib.data.synthetic.city import CityOptions, compose, generate
from audioattn_lib.data.synthetic.sounds import DISTRACTORS, SOUNDS

SMALL = {"clips_per_class": 4, "n_folds": 2, "duration": 2.0, "classes": ("siren", "dog_bark")}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Every class there is, loud enough to be measured."""
    return corpora.load(
        "city",
        cache=tmp_path_factory.mktemp("city"),
        clips_per_class=8,
        n_folds=2,
        classes=tuple(SOUNDS),
        sources_per_fold=2,
        snr=(15.0, 20.0),
        distractor_snr=(-20.0, -10.0),
    )


def test_it_passes_its_own_check(manifest):
    report = audit(manifest, sample_rate=16_000)
    assert not report.problems, str(report)
    assert manifest.classes == sorted(SOUNDS)
    np.testing.assert_allclose(manifest.durations, 3.0)


def test_folds_share_neither_sources_nor_backgrounds(manifest):
    for column in ("group", "background_source"):
        assert (manifest.table.groupby(column)["fold"].nunique() == 1).all()
    counts = manifest.table.groupby(["fold", "label"]).size()
    assert (counts == 4).all(), "classes are spread evenly"
    assert manifest.table["group"].nunique() == 2 * 2 * len(SOUNDS)


def test_every_clip_has_the_events_of_its_label(manifest):
    for row in range(len(manifest)):
        events = manifest.events(row)
        assert 1 <= len(events) <= 2
        assert {event.label for event in events} == {manifest.table["label"][row]}
        for event in events:
            assert 0 <= event.onset < event.offset <= 3.0
            assert event.offset - event.onset < 2.0
        if len(events) == 2:
            assert events[0].offset < events[1].onset


def test_events_stand_out_by_what_the_table_says(manifest):
    """A-weighted level inside of the event against the level outside of all sounds: the ratio in the table."""
    errors = []
    for row in range(0, len(manifest), 3):
        samples = manifest.read_audio(row)[0].astype(np.float64)
        times = np.arange(len(samples)) / 16_000
        quiet = np.ones(len(samples), dtype=bool)
        table = manifest.table
        for kind in ("event", "distractor"):
            for onset, offset in zip(
                table[f"{kind}_onsets"][row].split(";"), table[f"{kind}_offsets"][row].split(";"), strict=True
            ):
                if onset:
                    quiet &= (times < float(onset) - 0.05) | (times > float(offset) + 0.3)
        if quiet.sum() < 8_000:
            continue
        event = manifest.events(row)[0]
        inside = samples[int(event.onset * 16_000) : int(event.offset * 16_000)]
        ratio = acoustics.a_weighted_level(inside) - acoustics.a_weighted_level(samples[quiet])
        errors.append(ratio - float(table["snr_db"][row]))
    assert len(errors) > 10
    assert abs(np.median(errors)) < 3
    assert np.percentile(np.abs(errors), 90) < 8


def test_onsets_are_where_energy_rises(manifest):
    """A detector that knows nothing of the table finds a rise of energy within 50 ms of most onsets."""
    from scipy.signal import find_peaks

    front_end = LogMel(hop_length=160)
    actual, moved = [], []
    for row in range(0, len(manifest), 2):
        samples, _ = manifest.read_audio(row)
        features = front_end(torch.from_numpy(samples)[None])[0][0].numpy()
        rise = np.clip(features[3:] - features[:-3], 0, None).mean(axis=1)  # dB in 30 ms
        peaks = (find_peaks(rise, prominence=3.0)[0] + 1.5) * 0.01
        for event in manifest.events(row):
            for hits, onset in ((actual, event.onset), (moved, (event.onset + 0.7) % (len(samples) / 16_000))):
                hits.append(bool(len(peaks)) and np.abs(peaks - onset).min() < 0.05)
    assert np.mean(actual) > 0.95
    assert np.mean(moved) < 0.5


def test_the_same_options_give_the_same_samples():
    options = CityOptions(**SMALL)
    for ours, theirs in zip(compose(options), compose(options), strict=True):
        np.testing.assert_array_equal(ours.samples, theirs.samples)
        assert (ours.events, ours.source, ours.background_source) == (
            theirs.events,
            theirs.source,
            theirs.background_source,
        )


def test_classes_do_not_change_one_another():
    few = list(compose(CityOptions(**SMALL)))
    more = [c for c in compose(CityOptions(**{**SMALL, "classes": ("bird", "dog_bark", "siren")})) if c.label != "bird"]
    for clip in few:
        assert any(np.array_equal(clip.samples, other.samples) for other in more)


def test_another_seed_is_another_city():
    first, second = (next(compose(CityOptions(**SMALL, seed=seed))) for seed in (0, 1))
    assert not np.array_equal(first.samples, second.samples)


def test_levels_leave_room():
    for clip in compose(CityOptions(clips_per_class=2, n_folds=2, duration=2.0, snr=(25.0, 30.0))):
        assert np.abs(clip.samples).max() <= 0.91
        assert -60 < 20 * np.log10(clip.samples.std()) < -3
        assert abs(clip.samples.mean()) < 1e-2


@pytest.mark.parametrize("name", SOUNDS)
def test_every_sound_is_short_finite_and_its_own(name):
    """Takes of one source differ, sources differ more, and nothing is silent or endless."""
    takes = {}
    for source in (0, 1):
        draw = SOUNDS[name].draw(np.random.default_rng(source))
        takes[source] = [draw(np.random.default_rng(10 + i)) for i in range(2)]
    for sound in (*takes[0], *takes[1]):
        assert np.isfinite(sound).all()
        assert 0.05 < len(sound) / acoustics.RATE < 2.2
        assert sound.std() > 0
        assert abs(sound[0]) < 0.3 * np.abs(sound).max(), "no click at the beginning"
        assert abs(sound[-1]) < 0.05 * np.abs(sound).max(), "no click at the end"
    first, again = takes[0]
    assert len(first) != len(again) or not np.allclose(first, again)
    other = takes[1][0]
    assert len(first) != len(other) or not np.allclose(first, other)


@pytest.mark.parametrize("name", DISTRACTORS)
def test_every_distractor_is_short(name):
    sound = DISTRACTORS[name](np.random.default_rng(0))
    assert np.isfinite(sound).all()
    assert 0.01 < len(sound) / acoustics.RATE < 0.8


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_backgrounds_go_on(kind):
    """No stretch of half a second is silent, and none carries most of the energy."""
    sound = record_background(kind, np.random.default_rng(0), 6.0)
    assert len(sound) == 6 * acoustics.RATE
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(1.0)
    shares = np.square(sound).reshape(12, -1).sum(axis=1) / len(sound)
    assert shares.min() > 1e-3
    assert shares.max() < 0.5


def test_a_linear_model_is_above_chance_and_far_from_perfect(tmp_path):
    """The task needs a look at when things happen: what the mean over time knows is not enough."""
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from audioattn_lib.audio.features.log_mel import LogMel

    manifest = corpora.load("city", cache=tmp_path, clips_per_class=16, n_folds=4)
    waves = torch.from_numpy(np.stack([manifest.read_audio(row)[0] for row in range(len(manifest))]))
    features, _ = LogMel(window="hamming", filters="shared_bandwidth")(waves)
    clips = torch.cat([features.mean(1), features.std(1)], dim=1).numpy()
    labels, fold = manifest.label_indices(), manifest.table["fold"].to_numpy()
    right = []
    for test in np.unique(fold):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        model.fit(clips[fold != test], labels[fold != test])
        right += list(model.predict(clips[fold == test]) == labels[fold == test])
    assert 0.35 < np.mean(right) < 0.75


def test_it_is_made_once(tmp_path):
    options = CityOptions(**SMALL)
    path = generate(options, tmp_path)
    written = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    assert generate(options, tmp_path) == path
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == written
    assert generate(CityOptions(**{**SMALL, "seed": 1}), tmp_path) != path


def test_a_full_disk_says_so_and_leaves_nothing(tmp_path, monkeypatch):
    def full(path, *arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(io, "write", full)
    with pytest.raises(StoreError, match="the disk is full; nothing half-made is left"):
        generate(CityOptions(**SMALL), tmp_path)
    assert not [path for path in (tmp_path / "corpora").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_folds": 1}, "n_folds is 1"),
        ({"clips_per_class": 3, "n_folds": 4}, "clips_per_class is 3; it must be at least n_folds = 4"),
        ({"duration": 1.0}, "duration is 1.0; it must be between 2 and 10"),
        ({"snr": (10, 0)}, r"snr is \(10, 0\)"),
        ({"distractor_snr": (0,)}, "distractor_snr is"),
        ({"classes": ("siren", "cat")}, "classes is siren, cat.*jackhammer"),
        ({"classes": ("siren",)}, "two or more"),
        ({"sources_per_fold": 0}, "sources_per_fold is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"clips_per_class": "many"}, "clips_per_class is 'many'; it must be a whole number"),
        ({"duration": "long"}, "duration is 'long'; it must be a number"),
        ({"snr": "loud"}, "snr is 'loud'"),
        ({"clips": 3}, "city has no option clips; it has clips_per_class"),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        corpora.load("city", **options)


def test_classes_may_be_one_text():
    assert CityOptions(classes="siren, dog_bark").classes == ("siren", "dog_bark")


def test_files_are_small(manifest):
    sizes = [path.stat().st_size for path in manifest.paths]
    assert max(sizes) < 100_000
    assert io.info(manifest.paths[0]).format == "FLAC PCM_16"
