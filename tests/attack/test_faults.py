"""Actions of the disk, the system and other processes: faults at every write, kills, modes, locks, caches only read."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hostile import TRIALS, in_child

from audioattn_lib.audio import io
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.automation import execution
from audioattn_lib.core.errors import AudioError
from audioattn_lib.core.files import owner, remove_leftovers, short_name, write_text, write_whole
from audioattn_lib.data.audit import audit
from audioattn_lib.data.corpora import load
from audioattn_lib.data.files import StoreError, exclusive
from audioattn_lib.data.loading.store import FeatureStore
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.experiments.common.runs import make_once
from audioattn_lib.training.run_directory import Run, RunDirectory

HERE = Path(__file__).parent
CITY = {"clips_per_class": 2, "n_folds": 2, "duration": 2.0, "classes": ("siren", "dog_bark"), "sources_per_fold": 1}


def test_a_fault_at_any_call_leaves_the_old_or_the_new(tmp_path):
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C++ compiler: install g++")
    library = tmp_path / "faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", str(HERE / "faults.cpp"), "-o", str(library), "-ldl"], check=True)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / "fault_program.py"), str(library), str(tmp_path)],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    content = json.loads(done.stdout.splitlines()[-1])
    kinds = {name.partition(", ")[0] for name in content}
    assert kinds == {"ENOSPC", "EIO", "EROFS", "slow", "vanishing"}
    for name, count in content.items():
        assert count >= 1
        TRIALS[f"disk, {name.partition(', ')[0]}", "result"] += count


def test_files_have_the_mode_of_the_umask(tmp_path):
    for mask in (0o022, 0o002, 0o077):
        before = os.umask(mask)
        try:
            write_text(tmp_path / "a.txt", "a")
            io.write(tmp_path / "a.wav", [0.0] * 100, 8000)
            RunDirectory(tmp_path / f"run{mask}").write_json("config.json", {})
            made = load("city", cache=tmp_path / f"cache{mask}", **CITY).root
        finally:
            os.umask(before)
        for path in (tmp_path / "a.txt", tmp_path / "a.wav", tmp_path / f"run{mask}" / "config.json"):
            assert path.stat().st_mode & 0o777 == 0o666 & ~mask
        assert made.stat().st_mode & 0o777 == 0o777 & ~mask
        assert next((made / "audio").iterdir()).stat().st_mode & 0o777 == 0o666 & ~mask


KILLED = """
import os, signal, sys
from audioattn_lib.core.files import write_whole
with write_whole(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "run" / "a.json")], check=False)
    (left,) = (tmp_path / "run").iterdir()
    assert left.name.startswith(".writing-")
    with write_whole(tmp_path / "run" / "b.json") as mine:
        remove_leftovers(tmp_path / "run")
        assert mine.exists(), "its process lives"
        assert not left.exists()
    other = tmp_path / "run" / ".writing-another-1-x.json"
    other.write_text("of another machine")
    remove_leftovers(tmp_path / "run")
    assert other.exists()
    os.utime(other, (0, time.time() - 2 * 24 * 3600))
    remove_leftovers(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["b.json"]
    remove_leftovers(tmp_path / "none")


def test_sockets_of_killed_sweeps_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "_runtime_parent", lambda: str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    machine = owner().partition("-")[0]
    left, mine, foreign = (tmp_path / f"aa-{name}-x" for name in (f"{machine}-{dead.pid}", owner(), "other-1"))
    for folder in (left, mine, foreign):
        folder.mkdir()
    execution.remove_runtime_leftovers()
    assert not left.exists()
    assert mine.exists()
    assert foreign.exists()


def as_nobody(call) -> int:
    """Exit code of a process that does this as a user who owns nothing; 0 when ``call`` returns."""

    def become_nobody() -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        call()

    return in_child(become_nobody)


@pytest.fixture
def readable(tmp_path):
    """The folder of the test, which everybody may enter and, once it is closed, nobody may change."""
    above = [path for path in tmp_path.parents if path.stat().st_uid == os.getuid() and len(path.parts) > 2]
    modes = {path: path.stat().st_mode for path in above}
    for path in above:
        path.chmod(0o755)
    tmp_path.chmod(0o755)

    def close() -> None:
        for path in [tmp_path, *tmp_path.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)

    yield close
    for path in [tmp_path, *tmp_path.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    for path, mode in modes.items():
        path.chmod(mode)


def test_a_cache_that_holds_everything_may_be_only_read(tmp_path, readable, monkeypatch):
    monkeypatch.setenv("AUDIOATTN_CACHE", str(tmp_path))
    front_end = LogMel(8000, 200, hop_length=80, n_mels=12)

    def use() -> None:
        manifest = load("city", **CITY)
        assert audit(manifest).passed
        store = FeatureStore.build(manifest, front_end, tmp_path / "features", progress=False)
        assert len(store) == len(manifest)
        directory = RunDirectory(tmp_path / "runs" / "urban_sound" / "abc")
        assert make_once(directory, lambda: pytest.fail("made again"), lambda _: None).key == "abc"

    shutil.copytree(HERE / "seeds" / "run", tmp_path / "runs" / "urban_sound" / "abc")
    use()
    readable()
    assert as_nobody(use) == 0

    def more() -> None:
        with pytest.raises(StoreError, match="cannot be written"):
            load("city", **{**CITY, "seed": 1})

    assert as_nobody(more) == 0


def test_a_lock_that_is_a_folder_is_named(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(StoreError, match=r"\.lock: is a folder .*; remove it"), exclusive(tmp_path / ".lock"):
        pass


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_synthetic_corpus_that_lacks_a_sound_is_made_again(cache, harm):
    root = load("city", **CITY).root
    sound = next((root / "audio").iterdir())
    before = sound.read_bytes()
    harm(sound)
    assert load("city", **CITY).root == root
    assert sound.read_bytes() == before
    assert not [path.name for path in root.parent.iterdir() if "old" in path.name or path.name.endswith(".writing")]
    assert audit(load("city", **CITY)).passed


def test_a_name_is_as_long_as_a_file_may_be_called():
    assert short_name("a.wav") == "a.wav"
    long = short_name("ä" * 240 + "1"), short_name("ä" * 240 + "2")
    assert len(set(long)) == 2
    assert all(len(name.encode()) <= 200 for name in long)


@pytest.mark.parametrize(
    "command",
    [["--help"], ["data", "check", "city?clips_per_class=2&n_folds=2&duration=2"]],
)
def test_a_locale_without_utf_8(tmp_path, cache, command):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-m", "audioattn_lib", *command],
        env=environment,
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr.decode()
    assert b"Traceback" not in done.stderr
    own = [line for line in done.stderr.decode().splitlines() if "EncodingWarning" in line and "audioattn_lib" in line]
    assert not own


def test_a_name_that_the_locale_cannot_write(tmp_path):
    program = f"from audioattn_lib.audio import io; io.read({str(tmp_path)!r} + '/\\u00e9.wav')"
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert re.search(r"AudioError: .*: no (such file|file can have such a name)", done.stderr), done.stderr[-500:]


def test_a_damaged_memory_of_sounds_is_forgotten(tmp_path, cache):
    io.write(tmp_path / "a.wav", [0.0, 0.1] * 100, 8000)
    (tmp_path / "metadata.csv").write_text("file_name,label\na.wav,x\n")
    expected = Manifest.read(tmp_path).inspect()
    (memory,) = (cache / "inspections").iterdir()
    for content in ("", "[]", "[" * 10_000, '{"version": 2}', '{"version": 2, "files": {"a.wav": 3}}'):
        memory.write_text(content)
        assert Manifest.read(tmp_path).inspect() == expected
    whole = json.loads(memory.read_text())
    whole["files"]["a.wav"]["found"] = {"speed": 3}
    memory.write_text(json.dumps(whole))
    assert Manifest.read(tmp_path).inspect() == expected


def test_an_unwritable_place_is_our_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be"):
        load("city", cache=tmp_path / "file", **CITY)
    assert Run.load(HERE / "seeds" / "run").key == "run"
    with pytest.raises(AudioError):
        io.read(tmp_path / "file" / "a.wav")
