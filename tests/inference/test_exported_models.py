"""An exported model stands alone, its card says what the run says, and the hub loses nothing offline."""

import json
import shutil

import numpy as np
import pytest
import yaml
from command_line import call

import audioattn_lib
from audioattn_lib.core.errors import ConfigError, RunError
from audioattn_lib.experiments import urban_sound
from audioattn_lib.experiments.urban_sound import Config
from audioattn_lib.inference.export.hub import export_model
from audioattn_lib.inference.export.model_card import card, results

hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")
SMALL = {"attention": "softmax", "n_mels": 8, "data": "city?clips_per_class=6&n_folds=3&duration=2"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    config = Config.smoke(**SMALL)
    urban_sound.baseline(config, root)
    return urban_sound.run(config, root)


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    return export_model(run.path, tmp_path_factory.mktemp("exported")).path


@pytest.fixture
def sound():
    return np.random.default_rng(0).normal(0, 0.1, 12_000).astype(np.float32)


def same(each, other, sound):
    first, second = (model.listen(sound, 16_000) for model in (each, other))
    assert first.prediction == second.prediction
    np.testing.assert_array_equal(first.record.frame_attention(), second.record.frame_attention())


def test_an_exported_model_stands_alone(run, folder, sound, tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOATTN_CACHE", str(tmp_path / "no cache"))
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere")
    assert {file.name for file in elsewhere.iterdir()} == {"model.json", "model.safetensors", "README.md"}
    same(audioattn_lib.load(elsewhere), audioattn_lib.load(run.path), sound)


def test_the_card_says_what_the_run_says(run, folder):
    text = (folder / "README.md").read_text()
    read = hub.ModelCard.load(folder / "README.md")
    assert read.data.library_name == "audioattn"
    (result,) = read.data.eval_results
    assert result.metric_type == "accuracy"
    assert result.metric_value == pytest.approx(run.metrics["accuracy"], abs=1e-4)
    interval = run.metrics["interval"]
    assert f"| this model | {run.metrics['accuracy']:.3f} | {interval['low']:.3f} to {interval['high']:.3f} |" in text
    assert list(results(run)) == ["this model", "linear baseline", "chance"]
    for section in ("Load it", "Training", "Scores", "Intended use", "Limits", "Licence"):
        assert f"\n## {section}\n" in text
    code = text.split("```python\n")[1].split("```")[0].splitlines()
    assert len([line for line in code if line]) == 5


def test_a_card_without_a_run_says_so_and_names_no_place(run):
    description = audioattn_lib.load(run.path).description
    config = {**description.config, "data": "/home/somebody/my sounds/"}
    text = card(type(description)(**{**vars(description), "config": config}), licence="mit", data_licence="CC BY 4.0")
    assert "no scores are known" in text
    assert "somebody" not in text
    assert "- Recordings: CC BY 4.0" in text
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "mit"


def test_an_exported_model_is_exported_again_with_its_card(folder, tmp_path):
    again = export_model(folder, tmp_path).path
    assert (again / "README.md").read_bytes() == (folder / "README.md").read_bytes()


def test_the_command_writes_the_onnx_file_and_notes_it(run, tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    result = call("export", run.path, "-o", tmp_path, "--onnx")
    assert "opset" in result.output
    assert "## ONNX" in (tmp_path / "README.md").read_text()
    about = {each.key: each.value for each in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(about["classes"]) == list(run.classes)
    assert "waveforms, lengths -> probabilities" in result.output


def test_a_model_goes_to_the_hub_and_comes_back(run, folder, sound, tmp_path, monkeypatch):
    cache = tmp_path / "models--me--city"

    class LocalHub:
        def __init__(self, token=None):
            pass

        def create_repo(self, repo_id, *, private, exist_ok):
            assert repo_id == "me/city"

        def upload_folder(self, *, repo_id, folder_path, allow_patterns, commit_message):
            kept = cache / "snapshots" / ("0" * 40)
            kept.mkdir(parents=True)
            for name in allow_patterns:
                if (folder_path / name).exists():
                    shutil.copy(folder_path / name, kept)
            (cache / "refs").mkdir()
            (cache / "refs" / "main").write_text("0" * 40)
            return type("Commit", (), {"commit_url": "here"})

    monkeypatch.setattr(hub, "HfApi", LocalHub)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    assert audioattn_lib.push_to_hub(folder, "me/city") == "here"
    same(audioattn_lib.from_pretrained("me/city"), audioattn_lib.from_pretrained(folder), sound)


def test_offline_the_hub_is_named_and_nothing_is_lost(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(RunError, match=r"me/city: the hub .* cannot be used .* is complete on this machine"):
        audioattn_lib.push_to_hub(folder, "me/city")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    with pytest.raises(RunError, match=r"nobody/nothing: the hub .* give the folder of an exported model"):
        audioattn_lib.from_pretrained("nobody/nothing")
    with pytest.raises(ConfigError, match="neither a folder nor a name on the hub"):
        audioattn_lib.from_pretrained("no/such/folder")


def test_what_is_no_exported_model_is_not_pushed(tmp_path):
    with pytest.raises(RunError, match=r"has no model\.json, model\.safetensors, README\.md"):
        audioattn_lib.push_to_hub(tmp_path, "me/city")
