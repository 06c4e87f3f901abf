"""Laws of the synthetic orchestra, and of corpora with domains."""

import json

import numpy as np
import pytest
import soundfile

from audioattn_lib.core.errors import ConfigError, ManifestError
from audioattn_lib.data.audit import audit
from audioattn_lib.data.corpora import available, load
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.data.splits import leave_domain_out, split_clips
from audioattn_lib.data.synthetic.instruments import FAMILIES, Device
from audioattn_lib.data.synthetic.orchestra import (
    SEEN_DEVICES,
    UNSEEN_DEVICES,
    OrchestraOptions,
    compose,
    devices,
    through_devices,
)

SMALL = {"clips_per_class": 8, "duration": 0.5}


@pytest.fixture(scope="module")
def phrases():
    return list(compose(OrchestraOptions(**SMALL)))


@pytest.fixture(scope="module")
def orchestra(tmp_path_factory):
    return load("orchestra", cache=tmp_path_factory.mktemp("cache"), **SMALL)


def test_the_same_options_give_the_same_samples(phrases):
    again = list(compose(OrchestraOptions(**SMALL)))
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(phrases, again, strict=True))
    other = next(compose(OrchestraOptions(**SMALL, seed=1)))
    assert not np.array_equal(other.samples, phrases[0].samples)


def test_a_phrase_through_every_device_differs_by_the_device_alone(phrases):
    options = OrchestraOptions(**SMALL)
    heard = through_devices(options, next(iter(FAMILIES)), 1)
    assert list(heard) == list(devices(options))
    assert len({phrase.notes for phrase in heard.values()}) == 1
    assert len({phrase.samples.tobytes() for phrase in heard.values()}) == len(heard)
    made = {phrase.samples.tobytes() for phrase in phrases if phrase.split == "test_seen"}
    assert sum(phrase.samples.tobytes() in made for phrase in heard.values()) == 1, "one of them is in the corpus"


def test_tests_hold_what_training_never_heard(phrases):
    heard = {"devices": set(), "instruments": set()}
    for phrase in phrases:
        if phrase.split in ("train", "valid", "test_seen"):
            heard["devices"].add(phrase.device)
            heard["instruments"].add(phrase.instrument)
    assert heard["devices"] == set(SEEN_DEVICES)
    for phrase in phrases:
        assert (phrase.device in UNSEEN_DEVICES) == (phrase.split == "test_unseen_device")
        assert (phrase.instrument not in heard["instruments"]) == (phrase.split == "test_unseen_instrument")
        assert phrase.instrument.startswith(phrase.label)
    assert {phrase.label for phrase in phrases} == set(FAMILIES)


def test_sounds_are_sounds(phrases):
    for phrase in phrases:
        assert len(phrase.samples) == 8000
        assert np.isfinite(phrase.samples).all()
        assert np.abs(phrase.samples).max() <= 0.9 + 1e-9
        assert -50 < 10 * np.log10(np.mean(phrase.samples**2)) < -10
        assert phrase.notes
        assert all(0 <= onset < 0.5 and 100 < pitch < 900 for pitch, onset in phrase.notes)


def test_a_device_adds_its_response_in_decibels_to_everything():
    rng = np.random.default_rng(0)
    device = Device.draw(rng, 8.0)
    noise = rng.standard_normal(1 << 16)
    heard = Device(device.response, device.low, device.high, -200.0).record(noise, rng)
    frequencies = np.fft.rfftfreq(len(noise), 1 / 16000)
    ratio = np.abs(np.fft.rfft(heard)) / np.abs(np.fft.rfft(noise))
    np.testing.assert_allclose(ratio[50:], device.gain(frequencies)[50:], rtol=1e-3)
    assert Device.flat().gain(np.array([1000.0]))[0] == pytest.approx(1, abs=0.01)


def test_devices_without_coloration_differ_by_band_only():
    for device in devices(OrchestraOptions(coloration=0)).values():
        assert max(map(abs, device.response)) == 0


def test_the_corpus_is_sound_and_lists_its_domains(orchestra):
    audit(orchestra).raise_if_failed()
    assert orchestra.name == "orchestra"
    assert len(orchestra.classes) == 6
    assert set(orchestra.table["domain"]) == {*SEEN_DEVICES, *UNSEEN_DEVICES}
    split = split_clips(orchestra, "test_unseen_device")
    assert set(orchestra.table["domain"].iloc[split.test]) == set(UNSEEN_DEVICES)
    assert "orchestra" in list(available()["name"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clips_per_class": 3}, "clips_per_class is 3; it must be at least 4"),
        ({"duration": 0.1}, "duration is 0.1; it must be a number from 0.5 to 10 seconds"),
        ({"coloration": 30}, "coloration is 30; it must be a number from 0 to 20 dB"),
        ({"instruments": "many"}, "instruments is 'many'; it must be a whole number"),
        ({"players": 3}, "orchestra has no option players; it has clips_per_class, instruments"),
    ],
)
def test_impossible_orchestras(options, message):
    with pytest.raises(ConfigError, match=message):
        OrchestraOptions.parse(**options)


def test_leaving_a_domain_out(orchestra):
    split = leave_domain_out(orchestra, "b")
    domains = orchestra.table["domain"].to_numpy()
    assert set(domains[split.test]) == {"b"}
    assert "b" not in set(domains[split.train]) | set(domains[split.valid])
    assert len(split.train) + len(split.valid) + len(split.test) == len(orchestra)
    assert not set(split.train) & set(split.valid)
    with pytest.raises(ConfigError, match="domain is 'z'; orchestra has a, b, c, d, e, f"):
        leave_domain_out(orchestra, "z")


def test_places_recorded_by_the_tested_device_train_nothing(orchestra):
    table = orchestra.table.assign(group=[str(i // 3) for i in range(len(orchestra))])
    grouped = Manifest(orchestra.root, table, "grouped", orchestra.source, orchestra.lines)
    split = leave_domain_out(grouped, "a")
    groups = table["group"].to_numpy()
    assert not set(groups[split.test]) & (set(groups[split.train]) | set(groups[split.valid]))
    without = Manifest(orchestra.root, table.drop(columns="domain"), "none", orchestra.source, orchestra.lines)
    with pytest.raises(ManifestError, match="no column domain"):
        leave_domain_out(without, "a")
    alone = Manifest(orchestra.root, table.assign(domain="a"), "alone", orchestra.source, orchestra.lines)
    with pytest.raises(ManifestError, match="nothing is left to train on"):
        leave_domain_out(alone, "a")


def write_tau(folder, evaluated=("audio/bus-paris-2-2-s4.wav", "audio/bus-paris-2-2-a.wav")):
    names = ["airport-lisbon-1-1-a", "airport-lisbon-1-1-s1", "bus-paris-2-2-s4", "bus-paris-2-2-a", "tram-oslo-3-3-b"]
    rows = ["filename\tscene_label\tidentifier\tsource_label"]
    for name in names:
        scene, city, place, _, device = name.split("-")
        rows.append(f"audio/{name}.wav\t{scene}\t{city}-{place}\t{device}")
    (folder / "meta.csv").write_text("\n".join(rows) + "\n")
    (folder / "evaluation_setup").mkdir()
    train = ["filename\tscene_label", *(f"audio/{name}.wav\tairport" for name in names[:2])]
    (folder / "evaluation_setup" / "fold1_train.csv").write_text("\n".join(train) + "\n")
    test = ["filename\tscene_label", *(f"{name}\tbus" for name in evaluated)]
    (folder / "evaluation_setup" / "fold1_evaluate.csv").write_text("\n".join(test) + "\n")
    (folder / "audio").mkdir()
    for name in names:
        soundfile.write(folder / "audio" / f"{name}.wav", np.zeros(100), 16000)
    return folder


def test_tau_urban_acoustic_scenes(tmp_path):
    manifest = load(write_tau(tmp_path))
    table = manifest.table
    assert manifest.name == "tau_urban"
    assert list(table["split"]) == ["train", "train", "test_unseen_device", "test_seen"]  # the fifth clip is in no part
    assert list(table["domain"]) == ["a", "s1", "s4", "a"]
    assert list(table["city"]) == ["lisbon", "lisbon", "paris", "paris"]
    assert list(table["group"]) == ["lisbon-1", "lisbon-1", "paris-2", "paris-2"]
    assert manifest.where(2).endswith("meta.csv:4")


def test_tau_tables_that_do_not_fit(tmp_path):
    with pytest.raises(ManifestError, match=r"fold1_evaluate.csv:2: audio/x.wav is not in meta.csv"):
        load(write_tau(tmp_path, ["audio/x.wav"]))
    both = tmp_path / "both"
    both.mkdir()
    with pytest.raises(ManifestError, match="trains and tests"):
        load(write_tau(both, ["audio/airport-lisbon-1-1-a.wav"]))
    (both / "meta.csv").write_text("filename\tscene_label\n")
    with pytest.raises(ManifestError, match="no column identifier, source_label"):
        load(both)
    (both / "evaluation_setup" / "fold1_evaluate.csv").unlink()
    (both / "meta.csv").write_text("filename\tscene_label\tidentifier\tsource_label\na\tb\n")
    with pytest.raises(ManifestError, match="2 values under 4 column names"):
        load(both)


def write_nsynth(folder, nested=False):
    notes = {
        "train": ["guitar_acoustic_001", "bass_electronic_002", "synth_lead_synthetic_003", "reed_acoustic_004"],
        "valid": ["guitar_acoustic_011", "bass_synthetic_012", "guitar_electronic_013"],
    }
    for split, names in notes.items():
        place = folder / f"nsynth-{split}" if nested else folder
        (place / "audio").mkdir(parents=True, exist_ok=True)
        table = {}
        for name in names:
            family, source, _ = name.rsplit("_", 2)
            note = f"{name}-060-100"
            table[note] = {
                "instrument_family_str": family,
                "instrument_source_str": source,
                "instrument_str": name,
                "pitch": 60,
            }
            soundfile.write(place / "audio" / f"{note}.wav", np.zeros(100), 16000)
        (place / ("examples.json" if nested else f"{split}.json")).write_text(json.dumps(table))
    return folder


@pytest.mark.parametrize("nested", [False, True])
def test_nsynth(tmp_path, nested):
    manifest = load(write_nsynth(tmp_path, nested))
    assert manifest.name == "nsynth"
    assert list(manifest.table["split"]) == ["train", "train", "test_seen", "test_unseen_source", "test_unseen_source"]
    assert list(manifest.table["domain"]) == ["acoustic", "acoustic", "acoustic", "synthetic", "electronic"]
    assert list(manifest.table["label"]) == ["guitar", "reed", "guitar", "bass", "guitar"]
    assert all(path.is_file() for path in manifest.paths)
    every = load(tmp_path, train_source="all", skip="")
    assert set(every.table["split"]) == {"train", "test_seen"}
    assert "synth_lead" in set(every.table["label"])  # a family of two words, which the file name alone does not tell


def test_nsynth_files_that_cannot_be_used(tmp_path):
    write_nsynth(tmp_path)
    with pytest.raises(ConfigError, match="train_source is 'real'; it must be all, or one of acoustic"):
        load(tmp_path, train_source="real")
    (tmp_path / "valid.json").write_text("{")
    with pytest.raises(ManifestError, match="not JSON"):
        load(tmp_path)
    (tmp_path / "valid.json").write_text('{"a": {"pitch": 3}}')
    with pytest.raises(ManifestError, match="note a has no instrument_family_str"):
        load(tmp_path)
    (tmp_path / "valid.json").write_text("{}")
    with pytest.raises(ManifestError, match="holds no notes"):
        load(tmp_path)
