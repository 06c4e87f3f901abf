"""The sound of the two pages on foundations: chosen by rule, measured as said."""

import math

import numpy as np
import pytest
import torch

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.densities.mixture import Mixture
from audioattn_lib.attention.maps.entmax import softmax, sparsemax
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.experiments import foundations

DATA = "city?classes=dog_bark,car_horn&clips_per_class=5"


@pytest.fixture(scope="module")
def sound():
    return foundations.example(DATA)


def test_the_first_clip_with_two_events_apart_is_chosen(sound):
    first, second = sound.clip.events
    assert first.offset < second.onset
    assert sound.clip.name == "audio/dog_bark-004.flac"  # which the pages show, and say so
    assert sound.n_frames == len(sound.clip.features) == 301
    text = sound.describe()
    assert "synthetic" in text
    assert f"{first.onset:.2f} to {first.offset:.2f} s" in text


def test_a_clip_can_be_named_by_a_part_of_its_identifier():
    named = foundations.example(DATA, "horn-002")
    assert named.clip.label == "car_horn"
    with pytest.raises(ConfigError, match="clip is 'cat'; no clip of city is called so, there are audio/dog_bark-000"):
        foundations.example(DATA, "cat")


def test_a_question_has_its_answer_from_the_records(sound):
    scores = sound.loudness(300, 4000) / 6
    records = {
        "Softmax": sound.record("a", weights=softmax(scores)),
        "Sparse": sound.record("b", weights=sparsemax(scores)),
    }
    question, answer, choices = foundations.least_heard(records, sound.clip)
    assert choices == ["Softmax", "Sparse"]
    assert sound.clip.title in question
    assert answer[0].startswith("**Sparse**")
    assert f"Sparse {sound.sparsity(records['Sparse']).support:.2f} s" in answer[0]
    assert "inside the event" in answer[1]


def test_loudness_is_the_level_above_the_median(sound):
    level = sound.loudness(300, 4000)
    assert level.shape == (301,)
    assert level.median() == 0
    inside = torch.zeros(301, dtype=torch.bool)
    times = sound.clip.clock.centres(301)
    for event in sound.clip.events:
        inside |= torch.from_numpy((times >= event.onset) & (times < event.offset))
    assert level[inside].mean() > 3 + level[~inside].mean()
    assert inside[level.argmax()]


def test_loudness_of_a_constant_spectrum_is_zero_to_the_borders(sound):
    import dataclasses

    flat = dataclasses.replace(sound.clip, features=np.full((50, 80), -30.0, dtype=np.float32))
    level = foundations.Example(flat, "city").loudness()
    torch.testing.assert_close(level, torch.zeros(50, dtype=torch.float64), atol=1e-9, rtol=0)


def test_impossible_bands_are_named(sound):
    with pytest.raises(ConfigError, match="between 9000 and 9100 Hz; the bands reach from"):
        sound.loudness(9000, 9100)
    with pytest.raises(ConfigError, match="window is 0"):
        sound.loudness(window=0)


def test_uniform_attention_has_the_largest_entropy_and_the_share_of_the_events(sound):
    equal = sound.record("mean", weights=torch.full((301,), 1 / 301, dtype=torch.float64))
    sparsity = sound.sparsity(equal)
    share = sum(event.offset - event.onset for event in sound.clip.events) / sound.duration
    assert sparsity.zeros == 0
    assert sparsity.entropy == pytest.approx(math.log(301))
    assert sparsity.support == pytest.approx(3.0), "of the clip; its 301 frames cover 3.01 s"
    assert sparsity.inside == pytest.approx(share, rel=1e-6)


def test_one_frame_has_no_entropy(sound):
    sparsity = sound.sparsity(sound.record("one", weights=torch.eye(301)[100]))
    assert (sparsity.zeros, sparsity.largest, sparsity.smallest, sparsity.entropy) == (300, 1, 0, 0)
    assert sparsity.support == pytest.approx(0.01)
    assert str(sparsity).startswith("300 of 301 frames exactly zero (99.7 %), support 0.01 s, entropy 0.00 nats")
    assert "inside" not in str(foundations.sparsity(sound.record("one", weights=torch.eye(301)[100]), []))


def test_table_has_a_row_a_record(sound):
    scores = sound.loudness() / 6
    table = sound.table(
        {
            "softmax": sound.record("softmax", weights=softmax(scores)),
            "sparsemax": sound.record("sparsemax", weights=sparsemax(scores)),
        }
    )
    assert table.loc["softmax", "exact zeros"] == "0\N{NO-BREAK SPACE}(0.0\N{NO-BREAK SPACE}%)"
    assert table.loc["sparsemax", "smallest weight"] == "0"
    assert "inside the events" in table


def test_densities_on_the_scale_of_the_clip_become_seconds(sound):
    half = torch.tensor(0.5, dtype=torch.float64)
    density = sound.record("parabola", density=BetaGaussian(half, half**2 / 25, 2.0)).density
    assert density.location.shape == (1, 1)
    assert density.location[0, 0] == pytest.approx(sound.duration / 2 - 0.005)
    assert density.variance[0, 0] == pytest.approx((sound.duration / 10) ** 2)


def test_the_modes_of_a_mixture_stand_in_a_row(sound):
    modes = BetaGaussian(torch.tensor([0.25, 0.75]), torch.tensor([0.01, 0.02]), 1.5)
    density = sound.record("two", density=Mixture(torch.tensor([0.3, 0.7]), modes)).density
    np.testing.assert_allclose(density.location, [[0.25 * 3.01 - 0.005, 0.75 * 3.01 - 0.005]], rtol=1e-6)
    np.testing.assert_allclose(density.mode_weight, [[0.3, 0.7]], rtol=1e-6)
    np.testing.assert_allclose(density.alpha, [[1.5, 1.5]])


@pytest.mark.data
def test_a_real_recording_needs_no_known_events(data_root):
    real = foundations.example(str(data_root / "esc10"))
    assert "Nobody has marked" in real.describe()
    assert "inside the events" not in real.table({"s": real.record("s", weights=softmax(real.loudness() / 6))})
