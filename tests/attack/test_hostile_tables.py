"""Tables of clips and of features, and pickled lists, that are damaged or claim what they do not hold."""

import pickle
import shutil
import struct

import numpy as np
import pytest
from hostile import SEEDS, Attack, in_child, mutations, trials

from audioattn_lib.audio import hdf5_guard
from audioattn_lib.core.errors import ManifestError
from audioattn_lib.data.audit import audit
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.data.pickled_lists import convert_pickled_list, read_pickled_list
from audioattn_lib.data.tables.feature_table import FeatureTableError
from audioattn_lib.data.tables.table_files import read_features, write_features


def look(path) -> None:
    """Everything that training asks of a table before it hears a sound."""
    manifest = Manifest.read(path)
    report = audit(manifest, group="group" if "group" in manifest.table else None)
    str(report)
    if not report.passed:
        return
    _ = manifest.ids, manifest.durations, manifest.classes, manifest.content_hash()
    for row in range(len(manifest)):
        manifest.events(row)
        manifest.read_audio(row)
    _ = manifest.label_values() if manifest.kind == "number" else manifest.label_indices()


@pytest.mark.parametrize("name", ["metadata.csv", "multilabel.csv"])
def test_damaged_manifests(tmp_path, name):
    attack = Attack("tables of clips")
    for sound in SEEDS.glob("tone.*"):
        shutil.copy(sound, tmp_path)
    look_at = shutil.copy(SEEDS / name, tmp_path / "whole.csv")
    assert attack.trial("whole", lambda: look(look_at)) == "result"
    for number, (what, damaged) in enumerate(mutations((SEEDS / name).read_bytes(), trials(250), seed=5)):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(damaged)
        attack.trial(f"{name}, {what}", lambda path=path: look(path), str(tmp_path))
    attack.check()


ROWS = {
    "start": ["-1", "1e308", "nan", "x", "\0", "9" * 5000, "-0.0", "1e-308", "٣"],
    "stop": ["-1", "1e308", "0", "inf", "1e-320"],
    "label": ["²", "9" * 5000, "", "\0", "a" * 5000, "1e308", "?", ";", "٣", "\ufeff"],
    "file_name": [
        "nul\0.wav",
        "n" * 300 + ".wav",
        "",
        ".",
        "/",
        "../../etc/passwd",
        "tones.hdf5/" + "n" * 400,
        "a\nb.wav",
    ],
    "event_onsets": ["1e308", "-1", "nan", "0;0;0", "9" * 5000],
    "fold": ["", "\0", "9" * 5000],
    "group": ["", "\0"],
}


@pytest.mark.parametrize("column", ROWS)
def test_values_that_no_table_should_have(tmp_path, column):
    attack = Attack("tables of clips")
    for name in ("tone.wav", "tone.flac", "tones.hdf5"):
        shutil.copy(SEEDS / name, tmp_path)
    for number, value in enumerate(ROWS[column]):
        row = dict.fromkeys(("file_name", "label", "fold", "group", "start", "stop"), "") | {
            "file_name": "tone.wav",
            "label": "1",
            "fold": "1",
            "group": "g",
            "event_labels": "a",
            "event_onsets": "0",
            "event_offsets": "0.1",
        }
        changed = row | {column: value}
        path = tmp_path / f"{number}.csv"
        other = row | {"file_name": "tone.flac", "label": "2", "group": "h"}
        lines = [row.keys(), changed.values(), other.values()]
        path.write_text("\n".join(",".join('"' + v.replace('"', '""') + '"' for v in line) for line in lines))
        attack.trial(f"{column} = {value[:20]!r}", lambda path=path: look(path), str(tmp_path))
    attack.check()


def test_labels_are_sorted_as_numbers_only_where_they_are():
    import pandas as pd

    def classes(*labels):
        table = pd.DataFrame({"file_name": [f"{i}.wav" for i in range(len(labels))], "label": labels})
        return Manifest(SEEDS, table, "x").classes

    assert classes("10", "9") == ["9", "10"]
    assert classes("²", "1") == ["1", "²"]
    assert len(classes("9" * 5000, "1")) == 2


def test_a_part_that_begins_before_its_file_is_named(tmp_path):
    (tmp_path / "metadata.csv").write_text("file_name,label,start\na.wav,x,-1\n")
    with pytest.raises(ManifestError, match=r"metadata\.csv:2: start -1 s and stop the end of the file"):
        Manifest.read(tmp_path).bounds(0)


@pytest.mark.parametrize("name", ["table.csv", "table.arff", "table.nc", "table4.nc"])
def test_damaged_feature_tables(tmp_path, name):
    attack = Attack(f"feature tables, {name.rpartition('.')[2]}")
    assert attack.trial("whole", lambda: read_features(SEEDS / name)) == "result"
    for number, (what, damaged) in enumerate(mutations((SEEDS / name).read_bytes(), trials(250), seed=6)):
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(damaged)

        def look(path=path):
            write_features(read_features(path), tmp_path / f"again-{path.name.replace('table4', 'table')}")

        attack.trial(f"{name}, {what}", look, path.name)
    attack.check()


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("chunk_nr", "0.5", "chunk_nr of a is '0.5'; it must be a whole number"),
        ("chunk_nr", "1e308", "chunk_nr of a is '1e308'"),
        ("chunk_nr", "", "chunk_nr of a is ''"),
        ("cv_folds", "2;x", "cv_folds of a is '2;x'; it must be 0 or 1"),
        ("label_numeric", "9" * 5000, "label_numeric of a is"),
        ("f", "nan", "not finite"),
        ("f", "", "a feature must be a number"),
    ],
)
def test_values_that_no_feature_table_should_have(tmp_path, column, value, says):
    path = tmp_path / "t.csv"
    columns = {"filename": "a", "chunk_nr": "0", "f": "1"} | {column: value}
    path.write_text(",".join(columns) + "\n" + ",".join(columns.values()) + "\n")
    with pytest.raises(FeatureTableError, match=rf"t\.csv.*{says}"):
        read_features(path)


def test_netcdf_reads_its_own_file_and_claims_no_room(tmp_path):
    h5py = pytest.importorskip("h5py")
    for name, says in {"link": "a link", "external": "in other files", "huge": "claims"}.items():
        path = tmp_path / f"{name}.nc"
        shutil.copy(SEEDS / "table4.nc", path)
        with h5py.File(path, "a") as file:
            if name == "link":
                file["more"] = h5py.ExternalLink("table4.nc", "features")
            elif name == "external":
                file.create_dataset("more", (8,), "i1", external=[("/etc/passwd", 0, 8)])
            else:
                file.create_dataset("more", (2**40,), "f8", chunks=(1024,))
        with pytest.raises(FeatureTableError, match=rf"{name}\.nc: .*{says}"):
            read_features(path)


ENDLESS = {2195: 128, 2200: 0, 2201: 0}
"""Bytes of a heap of texts that HDF5 2.0 follows for ever."""


def endless(path):
    pytest.importorskip("h5py")
    content = bytearray((SEEDS / "table4.nc").read_bytes())
    for place, byte in ENDLESS.items():
        content[place] = byte
    path.write_bytes(content)
    return path


def test_netcdf_that_hdf5_would_follow_for_ever_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_guard, "_SECONDS", 0.5)
    path = endless(tmp_path / "endless.nc")
    with pytest.raises(FeatureTableError, match=r"endless\.nc: .*more than \d s, or ends the process"):
        read_features(path)
    assert len(read_features(SEEDS / "table4.nc")) == 2, "the next file has a process of its own"


def test_a_container_is_looked_through_once(tmp_path, cache, monkeypatch):
    path = tmp_path / "a.nc"
    shutil.copy(SEEDS / "table4.nc", path)
    asked = []
    ask = hdf5_guard._walker.ask
    monkeypatch.setattr(hdf5_guard._walker, "ask", lambda *given: asked.append(given) or ask(*given))
    monkeypatch.setattr(hdf5_guard, "_WORTH_REMEMBERING", 0.0)
    for _ in range(2):
        read_features(path)
    assert len(asked) == 1
    monkeypatch.setattr(hdf5_guard, "_known", set())  # as in another process
    read_features(path)
    assert len(asked) == 1
    endless(path)
    monkeypatch.setattr(hdf5_guard, "_SECONDS", 0.5)
    for _ in range(2):
        with pytest.raises(FeatureTableError):
            read_features(path)
    assert len(asked) == 3, "what is damaged is not remembered"


def test_forked_processes_have_walkers_of_their_own():
    hdf5_guard._known.clear()
    read_features(SEEDS / "table4.nc")

    def use() -> None:
        hdf5_guard._known.clear()
        read_features(SEEDS / "table4.nc")

    process = hdf5_guard._walker._process
    assert in_child(use) == in_child(use) == 0
    assert process is not None
    assert process.poll() is None, "that of this process lives"
    hdf5_guard._known.clear()
    read_features(SEEDS / "table4.nc")
    assert hdf5_guard._walker._process is process


def test_damaged_pickled_lists(tmp_path):
    attack = Attack("pickled lists")
    whole = SEEDS / "list.pkl"
    assert attack.trial("whole", lambda: convert_pickled_list(whole, tmp_path / "out.csv")) == "result"
    for number, (what, damaged) in enumerate(mutations((SEEDS / "list.pkl").read_bytes(), trials(500), seed=7)):
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(damaged)
        attack.trial(f"list.pkl, {what}", lambda p=path: convert_pickled_list(p, tmp_path / "out.csv"), path.name)
    attack.check()


def called(module: str, name: str, *arguments: object) -> bytes:
    """A pickle that calls something."""
    inside = pickle.dumps(arguments, protocol=2)[2:-1]
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + inside + b"R."


@pytest.mark.parametrize(
    "content",
    [
        called("builtins", "bytearray", 2 * 10**9),
        called("__builtin__", "bytearray", 2 * 10**9),
        called("builtins", "bytearray", [0] * 100),
        called("builtins", "set", "x" * 1000),
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".",  # bytes of eight-byte length
        b"\x80\x05\x96" + struct.pack("<Q", 2**31) + b".",  # the same for a bytearray
        b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b".",  # text
        b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b".",  # a frame
        b"\x80\x02Nr" + struct.pack("<I", 2**31 - 1) + b".",  # remembered by a large number
        b"\x80\x02N" + b"2" * 1000 + b"t.",
        b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
        b"I" + b"9" * 5000 + b"\n.",
    ],
    ids=lambda content: content[:12].hex(),
)
def test_pickles_that_ask_for_room(tmp_path, content):
    path = tmp_path / "list.pkl"
    path.write_bytes(content)
    attack = Attack("pickled lists")
    assert attack.trial(repr(content[:20]), lambda: read_pickled_list(path), "list.pkl") == "error"
    attack.check()


def test_rows_and_texts_are_no_more_than_the_file_can_hold(tmp_path):
    import pandas as pd

    path = tmp_path / "list.pkl"
    long = ["x" * 1000] * 1000
    column = np.empty(1000, dtype=object)
    column[:] = [long] * 1000
    pd.DataFrame({"a": column}).to_pickle(path)
    assert path.stat().st_size < 100_000
    with pytest.raises(ManifestError, match=r"list\.pkl: .*written out, take many times its size"):
        read_pickled_list(path)
    table = pd.DataFrame({"a": np.arange(5)}).set_index(pd.RangeIndex(0, 5))
    table.to_pickle(path)
    content = path.read_bytes()
    assert b"K\x05" in content
    path.write_bytes(content.replace(b"stop\x94K\x05", b"stop\x94J\xff\xff\xff\x7f"))
    with pytest.raises(ManifestError, match=r"list\.pkl: .*2147483647 rows in a file of|no pickled table"):
        read_pickled_list(path)
