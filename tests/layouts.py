"""Small corpora in the layouts in which they are distributed: ``LAYOUTS[name](folder)`` gives the text for ``data``.

Formats, rates, lengths, missing labels and stray files are those of the real corpora; sounds are a tone for each class
in noise. Sizes are for smoke runs: some forty clips of about a second.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from small_corpora import write_table

from audioattn_lib.data.pickled_lists import convert_pickled_list

__all__ = ["LAYOUTS", "CorpusLayout", "accepting"]

CLASSES = ("urban_sound", "accents", "scenes_and_instruments", "playback")
"""Experiments that predict one class a clip."""
SEVERAL = ("urban_sound", "playback")
"""Experiments that predict several classes a clip."""
NUMBERS = ("sleepiness",)
"""Experiments that predict a number."""


@dataclass(frozen=True)
class CorpusLayout:
    """One layout: calling it with a new folder writes a corpus there and gives the text for ``data``.

    Parameters
    ----------
    build
        Writes the corpus.
    experiments
        Experiments whose loader accepts it; empty for one that needs a step first, or that has no labels.
    settings
        Fields of a configuration that an experiment needs on this corpus, by experiment.
    """

    build: Callable[[Path], str]
    experiments: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __call__(self, folder: str | Path) -> str:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return self.build(folder)


def sound(seed: int, kind: int = 0, seconds: float = 0.6, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    """A tone for each class in noise, shape ``(n,)`` or ``(n, channels)``."""
    generator = np.random.default_rng(seed)
    n = max(2, round(seconds * rate))
    tone = 0.2 * np.sin(2 * np.pi * 300 * (1 + kind) * np.arange(n) / rate)
    samples = tone + 0.05 * generator.standard_normal((channels, n))
    return samples[0] if channels == 1 else samples.T


def write_sound(path: Path, samples: np.ndarray, rate: int = 16_000, subtype: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(samples, -1, 0.999), rate, subtype=subtype)
    return path


def write_text(path: Path, lines: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


# Rates, sample formats and channels that occur among the 8,732 clips.
URBAN_FORMATS = (
    (8_000, "PCM_U8", 1),
    (11_025, "PCM_16", 2),
    (16_000, "IMA_ADPCM", 1),
    (22_050, "MS_ADPCM", 1),
    (24_000, "PCM_24", 2),
    (32_000, "PCM_16", 1),
    (44_100, "PCM_16", 2),
    (48_000, "PCM_24", 2),
    (96_000, "FLOAT", 1),
    (192_000, "PCM_32", 2),
)
URBAN_CLASSES = ("air_conditioner", "car_horn", "children_playing", "dog_bark")
URBAN_SECONDS = (0.054, 0.7, 1.0, 4.0)


def urbansound8k(root: Path) -> str:
    rows = []
    for fold in range(1, 11):
        for number in range(len(URBAN_CLASSES)):
            kind = (number + fold) % len(URBAN_CLASSES)
            rate, subtype, channels = URBAN_FORMATS[(fold + 3 * number) % len(URBAN_FORMATS)]
            # short clips are the usual ones here, so that smoke runs stay short
            seconds = URBAN_SECONDS[3] if fold in (1, 2) and number == 0 else URBAN_SECONDS[number % 3]
            recording = 100_000 + 17 * fold + number
            name = f"{recording}-{kind}-0-{number}.wav"
            samples = sound(recording, kind, seconds, rate, channels)
            write_sound(root / "audio" / f"fold{fold}" / name, samples, rate, subtype)
            times = {"start": 58.5, "end": 58.5 + seconds, "salience": 1 + number % 2}
            rows.append(
                {"slice_file_name": name, "fsID": recording, **times, "fold": fold, "classID": kind}
                | {"class": URBAN_CLASSES[kind]}
            )
    write_table(root / "metadata" / "UrbanSound8K.csv", rows)
    write_text(root / "UrbanSound8K_README.txt", ["UrbanSound8K"])
    write_text(root / "FREESOUNDCREDITS.txt", ["credits"])
    (root / "audio" / ".DS_Store").write_bytes(b"\0")
    return str(root)


def esc50(root: Path) -> str:
    rows = []
    for fold in range(1, 6):
        for kind, (category, small) in enumerate((("dog", True), ("rain", True), ("cow", False), ("siren", False))):
            name = f"{fold}-{1000 * fold + kind}-A-{kind}.wav"
            write_sound(root / "audio" / name, sound(10 * fold + kind, kind, 1.0, 44_100), 44_100)
            what = {"filename": name, "fold": fold, "target": kind, "category": category, "esc10": small}
            rows.append({**what, "src_file": 1000 * fold + kind, "take": "A"})
    write_table(root / "meta" / "esc50.csv", rows)
    return str(root)


SLEEPINESS_SPLITS = {"train": 16, "devel": 8, "test": 8}


def sleepiness(root: Path) -> str:
    """Test labels are held back."""
    rows = []
    for split, count in SLEEPINESS_SPLITS.items():
        for i in range(count):
            name = f"{split}_{i + 1:04d}.wav"
            label = 1 + (i * 4) % 9
            write_sound(root / "wav" / name, sound(len(rows), label, 0.8 + 0.1 * (i % 4)), 16_000)
            rows.append({"file_name": name, "label": "?" if split == "test" else label})
    write_table(root / "lab" / "labels.csv", rows)
    return str(root)


def sleepiness_with_test_labels(root: Path) -> str:
    """The same with ``labels_confidential.csv``, for those who have it."""
    sleepiness(root)
    table = pd.read_csv(root / "lab" / "labels.csv", dtype=str, keep_default_na=False)
    told = table["label"].where(table["label"] != "?", [str(1 + (4 * i) % 9) for i in range(len(table))])
    write_table(root / "lab" / "labels_confidential.csv", table.assign(label=told).to_dict("records"))
    return str(root)


LIST_CLASSES = 3
LIST_COUNTS = {"train_files": 18, "dev_files": 9}


def label_lists(root: Path) -> str:
    """``path class -1`` without extensions, as the published accent systems have them; nobody knows who speaks."""
    for split, count in LIST_COUNTS.items():
        lines = []
        for i in range(count):
            write_sound(
                root / "clips_wav" / f"{split[:3]}_{i:03d}.wav", sound(i + 50 * len(split), i % LIST_CLASSES, 1.0)
            )
            lines.append(f"clips_wav/{split[:3]}_{i:03d} {i % LIST_CLASSES} -1")
        write_text(root / f"{split}.lst", lines)
    write_text(root / "files.lst", [f"clips_wav/dev_{i:03d}.wav" for i in range(LIST_COUNTS["dev_files"])])
    return str(root)


def class_folders(root: Path) -> str:
    """A folder for each class, no table, no speakers."""
    for kind, name in enumerate(("central", "balear", "valencia")):
        for i in range(10):
            suffix = (".wav", ".flac", ".mp3")[i % 3]
            write_sound(root / name / f"{i:03d}{suffix}", sound(10 * kind + i, kind, 1.0))
    return str(root)


def common_voice(root: Path) -> str:
    rows = []
    for i in range(32):
        accent = ("central", "balear", "", "septentrional")[i % 4]
        write_sound(root / "clips" / f"common_voice_ca_{i}.mp3", sound(i, i % 4, 1.0, 32_000), 32_000)
        rows.append(
            {"client_id": f"{i % 16:032x}", "path": f"common_voice_ca_{i}.mp3", "sentence": 'Un "dia'}
            | {
                "up_votes": 2,
                "down_votes": 0,
                "age": "",
                "gender": "",
                "accents": accent,
                "locale": "ca",
                "segment": "",
            }
        )
    header = "\t".join(rows[0])
    write_text(root / "validated.tsv", [header, *("\t".join(map(str, row.values())) for row in rows)])
    return str(root)


def voxceleb(root: Path) -> str:
    """Four speakers to train on and two to verify, three videos of each."""
    _voxceleb_sounds(root)
    clip = "id1000{}/video{}/0000{}.wav".format
    pairs = [f"1 {clip(s, 0, 1)} {clip(s, v, 2)}" for s in (5, 6) for v in (1, 2)]
    pairs += [f"0 {clip(5, v, 1)} {clip(6, v, 2)}" for v in range(3)]
    write_text(root / "veri_test.txt", pairs)
    return str(root)


def voxceleb_without_trials(root: Path) -> str:
    """Speakers to identify."""
    _voxceleb_sounds(root)
    return str(root)


def _voxceleb_sounds(root: Path) -> None:
    for speaker in range(1, 7):
        for video in range(3):
            for clip in (1, 2):
                samples = sound(100 * speaker + 10 * video + clip, speaker, 1.0)
                write_sound(root / "wav" / f"id1000{speaker}" / f"video{video}" / f"0000{clip}.wav", samples)


def tau_urban(root: Path) -> str:
    """Training by devices a and s1, tests by these and by s4; one clip is in no part, as many are."""
    scenes = ("airport", "bus", "tram")
    meta = ["filename\tscene_label\tidentifier\tsource_label"]
    train, evaluate = ["filename\tscene_label"], ["filename\tscene_label"]
    for kind, scene in enumerate(scenes):
        for place in range(8):
            city = ("lisbon", "paris", "oslo")[place % 3]
            for device in ("a", "s1") if place < 5 else ("a", "s4"):
                name = f"audio/{scene}-{city}-{place}-{place}-{device}.wav"
                write_sound(root / name, sound(len(meta), kind, 1.0, 44_100), 44_100, "PCM_24")
                meta.append(f"{name}\t{scene}\t{city}-{place}\t{device}")
                if place < 5:
                    train.append(f"{name}\t{scene}")
                elif place < 7 or device == "s4":
                    evaluate.append(f"{name}\t{scene}")
    write_text(root / "meta.csv", meta)
    write_text(root / "evaluation_setup" / "fold1_train.csv", train)
    write_text(root / "evaluation_setup" / "fold1_test.csv", [line.split("\t")[0] for line in evaluate])
    write_text(root / "evaluation_setup" / "fold1_evaluate.csv", evaluate)
    return str(root)


def nsynth(root: Path) -> str:
    """As unpacked: a folder for each part."""
    return _nsynth(root, nested=True)


def nsynth_published(root: Path) -> str:
    """As in the published experiment: both parts in one folder."""
    return _nsynth(root, nested=False)


def _nsynth(root: Path, nested: bool) -> str:
    counts = {"train": {"acoustic": 6, "electronic": 2}, "valid": {"acoustic": 2, "electronic": 2, "synthetic": 2}}
    for split, sources in counts.items():
        place = root / f"nsynth-{split}" if nested else root
        table = {}
        for kind, family in enumerate(("bass", "guitar", "reed", "synth_lead")):
            for source, count in sources.items():
                for number in range(count):
                    if family == "synth_lead" and source == "acoustic":
                        continue  # there is none
                    instrument = f"{family}_{source}_{number + (0 if split == 'train' else 100):03d}"
                    note = f"{instrument}-060-100"
                    samples = sound(len(table) + (0 if split == "train" else 100), kind, 1.0)
                    write_sound(place / "audio" / f"{note}.wav", samples)
                    names = {"instrument_family_str": family, "instrument_source_str": source}
                    table[note] = {**names, "instrument_str": instrument, "note_str": note, "pitch": 60}
                    table[note] |= {"velocity": 100, "sample_rate": 16000, "qualities_str": ["dark"]}
        write_text(place / ("examples.json" if nested else f"{split}.json"), [json.dumps(table)])
    return str(root)


AUDIOSET_CLASSES = (("/m/09x0r", "Speech"), ("/m/0bt9lr", "Dog"), ("/m/07rwj00", "Chirp, tweet"))
AUDIOSET_LABELS = ((0,), (1,), (2,), (0, 1))


def audioset(root: Path) -> str:
    """Official segments, class names with commas, sounds as FLAC."""
    head = ["# Segments csv created Sun Mar  5 10:54:31 2017", "# num_ytids=8"]
    head += ["# YTID, start_seconds, end_seconds, positive_labels"]
    write_table(
        root / "class_labels_indices.csv",
        [{"index": i, "mid": mid, "display_name": name} for i, (mid, name) in enumerate(AUDIOSET_CLASSES)],
    )
    for name, count in (("balanced_train", 16), ("unbalanced_train", 4), ("eval", 8)):
        lines = []
        for i in range(count):
            labels = AUDIOSET_LABELS[i % len(AUDIOSET_LABELS)]
            video = f"-{name[:2]}_{i:02d}-{'x' * 4}"  # an identifier may begin with a dash
            lines.append(f'{video}, 30.000, 40.000, "{",".join(AUDIOSET_CLASSES[k][0] for k in labels)}"')
            write_sound(root / "audio" / f"{video}_30_40.flac", _together(i + 100 * count, labels))
        write_text(root / f"{name}_segments.csv", [*head, *lines])
    return str(root)


def audioset_pickled(root: Path) -> str:
    """The published lists as pickled tables beside the sounds: ``audioattn data convert`` makes them readable."""
    rows: dict[str, list[tuple[str, list[str], list[int]]]] = {"as500k_train": [], "test": []}
    for name, count in (("as500k_train", 16), ("test", 8)):
        for i in range(count):
            labels = AUDIOSET_LABELS[i % len(AUDIOSET_LABELS)]
            video = f"-{name[:2]}_{i:02d}_30_40"
            write_sound(root / f"{video}.flac", _together(i + 100 * count, labels))
            rows[name].append((f"{video}.mp4", [AUDIOSET_CLASSES[k][1] for k in labels], list(labels)))
        pd.DataFrame(rows[name], columns=["video", "classes", "class_ids"]).to_pickle(root / f"{name}.pkl")
    return str(root)


def audioset_converted(root: Path) -> str:
    return _convert(audioset_pickled(root), root)


VGG_CLASSES = ("playing harp", "race car, auto racing", "frog croaking")


def vggsound(root: Path) -> str:
    """Official table without column names, sounds in one folder."""
    lines = []
    for split, count in (("train", 15), ("test", 6)):
        for i in range(count):
            kind = i % len(VGG_CLASSES)
            video = f"{split[:2]}_{i:02d}-{'y' * 4}"
            lines.append(f'{video},{30 + i},"{VGG_CLASSES[kind]}",{split}')
            write_sound(root / "audio" / f"{video}_{30 + i:06d}.wav", sound(i + 100 * count, kind, 1.0))
    write_text(root / "vggsound.csv", lines)
    return str(root)


def vggsound_pickled(root: Path) -> str:
    """As the README has it: ``wav/<class>/`` and pickled lists in ``data/``, which have to be converted first."""
    for split, count in (("train", 15), ("test", 6)):
        rows = []
        for i in range(count):
            kind = i % len(VGG_CLASSES)
            video = f"{split[:2]}_{i:02d}_{30 + i}_{40 + i}"
            write_sound(root / "wav" / VGG_CLASSES[kind] / f"{video}.wav", sound(i + 100 * count, kind, 1.0))
            rows.append((f"{video}.mp4", VGG_CLASSES[kind], kind))
        (root / "data").mkdir(exist_ok=True)
        pd.DataFrame(rows, columns=["video", "class", "class_id"]).to_pickle(root / "data" / f"{split}.pkl")
    return str(root)


def vggsound_converted(root: Path) -> str:
    return _convert(vggsound_pickled(root), root)


EPIC_VERBS = {0: "take", 1: "put", 3: "open"}
EPIC_NOUNS = {0: "tap", 2: "plate", 3: "cupboard"}


def epic_kitchens(root: Path) -> str:
    """One HDF5 file with an array for each video at 24 kHz, and the annotations."""
    import h5py

    videos = _epic_annotations(root / "annotations")
    with h5py.File(root / "EPIC_audio.hdf5", "w") as file:
        for i, video in enumerate(videos):
            file.create_dataset(video, data=sound(i, i % 3, 6.0, 24_000).astype(np.float32))
    return str(root)


def epic_kitchens_files(root: Path) -> str:
    """A sound for each video, and the annotations beside them."""
    for i, video in enumerate(_epic_annotations(root)):
        write_sound(root / "audio" / f"{video}.wav", sound(i, i % 3, 6.0, 24_000), 24_000)
    return str(root)


def epic_kitchens_pickled(root: Path) -> str:
    """The lists as pickled tables indexed by narration, which have to be converted first."""
    epic_kitchens(root)
    for path in list((root / "annotations").glob("EPIC_100_[tv]*n.csv")):
        table = pd.read_csv(path).set_index("narration_id")
        table["all_nouns"] = [[noun] for noun in table["noun"]]
        table.to_pickle(path.with_suffix(".pkl"))
        path.unlink()
    return str(root)


def _epic_annotations(folder: Path) -> list[str]:
    videos = {"train": ["P01_01", "P01_02", "P03_101"], "validation": ["P02_101", "P04_02"]}
    for split, names in videos.items():
        rows = []
        for video in names:
            for i in range(6):
                start = 0.14 + 0.9 * i
                verb, noun = list(EPIC_VERBS)[i % 3], list(EPIC_NOUNS)[i // 2]
                times = {
                    f"{edge}_timestamp": f"00:00:{seconds:05.2f}"
                    for edge, seconds in (("narration", start), ("start", start), ("stop", start + 0.5 + 0.1 * i))
                }
                rows.append(
                    {"narration_id": f"{video}_{i}", "participant_id": video[:3], "video_id": video, **times}
                    | {"start_frame": 1, "stop_frame": 2, "narration": "open, then close", "verb": EPIC_VERBS[verb]}
                    | {"verb_class": verb, "noun": EPIC_NOUNS[noun], "noun_class": noun}
                    | {"all_nouns": f"['{EPIC_NOUNS[noun]}']", "all_noun_classes": f"[{noun}]"}
                )
        write_table(folder / f"EPIC_100_{split}.csv", rows)
    for task, classes in (("verb", EPIC_VERBS), ("noun", EPIC_NOUNS)):
        table = [{"id": number, "key": name, "category": ""} for number, name in classes.items()]
        write_table(folder / f"EPIC_100_{task}_classes.csv", table)
    return [*videos["train"], *videos["validation"]]


def own_table(root: Path) -> str:
    """Sounds of one's own: ``metadata.csv`` with groups and folds."""
    rows = []
    for i in range(24):
        write_sound(root / "audio" / f"{i}.wav", sound(i, i % 3, 1.0))
        what = {"file_name": f"audio/{i}.wav", "label": ("dog", "rain", "bell")[i % 3], "fold": 1 + i // 3 % 4}
        rows.append({**what, "group": f"place{i // 3}"})
    write_table(root / "metadata.csv", rows)
    return str(root)


def unlabelled(root: Path) -> str:
    """Sounds and nothing else."""
    for i in range(4):
        write_sound(root / ("" if i % 2 else "more") / f"{i}.wav", sound(i, i, 1.0))
    return str(root)


def _together(seed: int, labels: tuple[int, ...]) -> np.ndarray:
    return np.sum([sound(seed + k, k, 1.0) for k in labels], axis=0) / len(labels)


def _convert(data: str, root: Path) -> str:
    """Every pickled list as CSV beside it, as ``audioattn data convert`` writes it."""
    for path in sorted(root.rglob("*.pkl")):
        convert_pickled_list(path, path.with_suffix(".csv"))
    return data


_SPEAKERS = {"accents": {"target": "speaker"}}

LAYOUTS: Mapping[str, CorpusLayout] = MappingProxyType(
    {
        "urbansound8k": CorpusLayout(urbansound8k, CLASSES),
        "esc50": CorpusLayout(esc50, CLASSES),
        "sleepiness": CorpusLayout(sleepiness, NUMBERS),
        "sleepiness_with_test_labels": CorpusLayout(sleepiness_with_test_labels, NUMBERS),
        "label_lists": CorpusLayout(label_lists, CLASSES),
        "class_folders": CorpusLayout(class_folders, CLASSES),
        "common_voice": CorpusLayout(common_voice, CLASSES),
        "voxceleb": CorpusLayout(voxceleb, ("accents",), _SPEAKERS),
        "voxceleb_without_trials": CorpusLayout(voxceleb_without_trials, CLASSES, _SPEAKERS),
        "tau_urban": CorpusLayout(tau_urban, CLASSES),
        "nsynth": CorpusLayout(nsynth, CLASSES),
        "nsynth_published": CorpusLayout(nsynth_published, CLASSES),
        "audioset": CorpusLayout(audioset, SEVERAL),
        "audioset_pickled": CorpusLayout(audioset_pickled, ()),
        "audioset_converted": CorpusLayout(audioset_converted, SEVERAL),
        "vggsound": CorpusLayout(vggsound, CLASSES),
        "vggsound_pickled": CorpusLayout(vggsound_pickled, ()),
        "vggsound_converted": CorpusLayout(vggsound_converted, CLASSES),
        "epic_kitchens": CorpusLayout(epic_kitchens, CLASSES),
        "epic_kitchens_files": CorpusLayout(epic_kitchens_files, CLASSES),
        "epic_kitchens_pickled": CorpusLayout(epic_kitchens_pickled, ()),
        "own_table": CorpusLayout(own_table, CLASSES),
        "unlabelled": CorpusLayout(unlabelled, ()),
    }
)
"""Layouts by name."""


def accepting(experiment: str) -> tuple[str, ...]:
    """Names of the layouts that an experiment accepts."""
    return tuple(name for name, layout in LAYOUTS.items() if experiment in layout.experiments)
