"""Every chapter on CUDA, in bfloat16 as is the default there: data, training, validation, test, attention, baseline."""

import numpy as np
import pytest

import audioattn_lib
from audioattn_lib.experiments import accents, playback, scenes_and_instruments, sleepiness, urban_sound
from audioattn_lib.training.run_directory import Run

CHAPTERS = {
    "urban_sound": (urban_sound, ["softmax, sparsemax, gaussian, triweight", "1"]),
    "sleepiness": (sleepiness, ["attention_bi_bi_hidden, t_rae"]),
    "accents": (accents, ["all", "1"]),
    "scenes_and_instruments": (
        scenes_and_instruments,
        ["dense, per_row_2, high_low, row_overlap_2", "none, clip", "0"],
    ),
    "playback": (playback, ["none, random, energy, slots, published, oracle"]),
}


@pytest.mark.cuda
@pytest.mark.slow
@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_runs_on_a_device(name, tmp_path):
    chapter, compared = CHAPTERS[name]
    study = chapter.study(chapter.Config.smoke(device="cuda"), *compared, root=tmp_path)
    assert study.runs
    trained = [path.parent for path in tmp_path.rglob("history.csv")]
    assert len(trained) >= len(study.runs) - 1  # what is fused was not trained
    for run in map(Run.load, trained):
        assert np.isfinite(run.history["train_loss"]).all(), run.key
        assert run.environment["device"].startswith("cuda"), run.key


@pytest.mark.cuda
@pytest.mark.parametrize("name", CHAPTERS)
def test_a_model_hears_on_a_device_as_on_the_processor(name, tmp_path):
    chapter, _ = CHAPTERS[name]
    run = chapter.run(chapter.Config.smoke(device="cuda"), tmp_path)
    sound = np.random.default_rng(0).normal(0, 0.1, 16000)
    there, here = (audioattn_lib.load(run.path / "model", device).listen(sound, 16000) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(there.embedding, here.embedding, atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(there.record.frame_attention(), here.record.frame_attention(), atol=1e-3)
