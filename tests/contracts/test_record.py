"""Laws of the attention record."""

import numpy as np
import pytest
from scipy import integrate

from audioattn_lib.attention.record.density import Density
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.attention.record.segment_lists import list_segments
from audioattn_lib.core.errors import RunError


def density(*modes):
    location, variance, alpha, weight = (np.array([column], dtype=float) for column in zip(*modes, strict=True))
    return Density(location, variance, alpha, weight)


@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 1.5, 2.0, 3.7])
def test_density_has_mass_one_and_its_variance(alpha):
    d = density((1.3, 0.04, alpha, 1.0))
    a = min(float(d.half_width[0, 0]), 3.0)
    mass, _ = integrate.quad(lambda t: d.pdf(np.array([t]))[0, 0], 1.3 - a, 1.3 + a)
    variance, _ = integrate.quad(lambda t: (t - 1.3) ** 2 * d.pdf(np.array([t]))[0, 0], 1.3 - a, 1.3 + a)
    assert mass == pytest.approx(1.0, abs=1e-9)
    assert variance == pytest.approx(0.04, abs=1e-9)


@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 2.0])
def test_cdf_is_the_integral_of_the_pdf(alpha):
    d = density((0.5, 0.01, alpha, 0.4), (0.9, 0.02, alpha, 0.6))
    for t in (0.2, 0.6, 1.0):
        mass, _ = integrate.quad(lambda s: d.pdf(np.array([s]))[0, 0], -2, t, limit=200, points=[0.3, 0.5, 0.7, 0.9])
        assert d.cdf(np.array([t]))[0, 0] == pytest.approx(mass, abs=1e-6)


def test_compact_densities_are_zero_outside_their_support():
    d = density((0.5, 0.01, 2.0, 1.0))
    a = d.half_width[0, 0]
    assert d.pdf(np.array([0.5 - a - 1e-9, 0.5 + a + 1e-9])) == pytest.approx(0.0)
    assert density((0.5, 0.01, 1.0, 1.0)).half_width[0, 0] == np.inf


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"variance": [[0.0]]}, "variance"),
        ({"alpha": [[0.9]]}, "alpha"),
        ({"mode_weight": [[1.0, 0.0]]}, "mode_weight"),
    ],
)
def test_impossible_densities_are_named(change, named):
    fields = {"location": [[0.5]], "variance": [[0.1]], "alpha": [[2.0]], "mode_weight": [[1.0]]} | change
    with pytest.raises(ValueError, match=named):
        Density(**{name: np.array(value) for name, value in fields.items()})


def weights_record(n_frames=(4, 2)):
    weights = np.zeros((len(n_frames), 1, max(n_frames)), dtype=np.float32)
    for i, n in enumerate(n_frames):
        weights[i, 0, :n] = 1 / n
    return AttentionRecord(
        "softmax", FrameClock(0.01, -0.005), ("a", "b")[: len(n_frames)], np.array(n_frames), weights
    )


def test_saliency_sums_to_one_and_leaves_padding_out():
    record = weights_record()
    for clip, n in enumerate((4, 2)):
        assert record.frame_attention(clip).shape == (n,)
        assert record.frame_attention(clip).sum() == pytest.approx(1.0)


def test_saliency_of_a_density_is_its_mass_in_each_frame():
    record = AttentionRecord(
        "parabola", FrameClock(0.1, 0.0), ("a",), np.array([10]), density=density((0.5, 0.01, 2.0, 1.0))
    )
    saliency = record.frame_attention()
    assert saliency.sum() == pytest.approx(1.0)
    assert saliency.argmax() in (4, 5)
    assert saliency[0] == 0.0


def test_one_clip_of_a_batch_is_the_single_clip():
    record = weights_record()
    single = record[1]
    assert len(single) == 1
    assert single.clips == ("b",)
    np.testing.assert_array_equal(single.frame_attention(), record.frame_attention(1))


def test_concatenation_pads_and_keeps_order():
    joined = AttentionRecord.concatenate([weights_record((4, 2)), weights_record((7,)), AttentionRecord.empty()])
    assert joined.clips == ("a", "b", "a")
    assert joined.weights.shape == (3, 1, 7)
    np.testing.assert_allclose(joined.frame_attention(1), [0.5, 0.5])


def test_support_is_in_seconds_and_clipped_to_the_clip():
    record = AttentionRecord(
        "parabola",
        FrameClock(0.1, 0.0),
        ("a",),
        np.array([10]),
        density=density((0.1, 0.02, 2.0, 0.5), (0.8, 0.001, 2.0, 0.5)),
    )
    (start, _), (second, stop) = record.support()
    assert start == 0.0
    assert second < 0.8 < stop < 1.0
    sparse = np.zeros((1, 1, 10), dtype=np.float32)
    sparse[0, 0, [2, 3, 7]] = 1 / 3
    record = AttentionRecord("sparsemax", FrameClock(0.1, 0.0), ("a",), np.array([10]), sparse)
    assert record.support() == [(0.2, 0.4), (0.7, 0.8)]  # to the digit, though 7 * 0.1 is not 0.7


def test_a_record_survives_its_file(tmp_path):
    record = weights_record()
    np.savez(tmp_path / "attention.npz", **record.to_arrays())
    back = AttentionRecord.load(tmp_path / "attention.npz")
    assert (back.mechanism, back.clock, back.clips) == (record.mechanism, record.clock, record.clips)
    np.testing.assert_array_equal(back.weights, record.weights)


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(RunError, match="no such"):
        AttentionRecord.load(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK not a zip")
    with pytest.raises(RunError, match="bad.npz"):
        AttentionRecord.load(tmp_path / "bad.npz")


def test_the_empty_record_says_how_to_get_one():
    assert AttentionRecord.empty().is_empty
    with pytest.raises(IndexError, match="record=True"):
        AttentionRecord.empty()[0]


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="weights has shape"):
        AttentionRecord("softmax", n_frames=np.array([3]), weights=np.ones((1, 3)))
    with pytest.raises(ValueError, match="n_frames"):
        AttentionRecord("softmax", weights=np.ones((1, 1, 3)))


def test_clips_are_found_by_their_short_name():
    clips = ("a/siren.wav", "b/siren.wav", "b/dog.wav", "c/dog.flac")
    record = AttentionRecord.from_weights(np.full((4, 5), 0.2), clock=FrameClock(0.1)).named(clips, np.full(4, 0.5))
    assert record.index("b/siren.wav") == 1
    assert record.index("dog.flac") == 3
    assert record.index("b/dog") == 2
    for shared in ("siren.wav", "dog"):
        with pytest.raises(KeyError, match="is one of 2 in this record"):
            record.index(shared)


def layers_record(clips=2, names=("first", "second")):
    generator = np.random.default_rng(clips)
    weights = generator.dirichlet(np.ones(6), (clips, len(names), 3))
    return AttentionRecord("received", FrameClock(0.1), n_frames=np.full(clips, 6), layer_weights=weights, layers=names)


def words_record(*words):
    segments = np.array([[(i, i + 1) for i in range(len(words))]], dtype=float)
    alignment = np.full((1, len(words), 4), 0.25)
    return AttentionRecord("alignment", n_frames=np.array([4]), alignment=alignment, segments=segments, rows=(words,))


def test_a_record_of_layers_is_that_of_each_and_their_mean():
    record = layers_record()
    for number, name in enumerate(record.layers):
        single = record.layer(name)
        np.testing.assert_array_equal(single.weights, record.layer_weights[:, number])
        assert (single.layers, single.layer_weights) == ((name,), None)
        np.testing.assert_array_equal(record.layer(number).weights, single.weights)
    mean = np.mean([record.layer(name).frame_attention(1) for name in record.layers], axis=0)
    np.testing.assert_allclose(record.frame_attention(1), mean)
    np.testing.assert_array_equal(record[1].layer_weights[0], record.layer_weights[1])
    joined = AttentionRecord.concatenate([record, layers_record(1)])
    assert joined.layer_weights.shape == (3, 2, 3, 6)
    maps = AttentionRecord(n_frames=np.array([4]), maps=np.ones((1, 2, 3, 5, 4)), layers=("a", "b"))
    assert maps.layer("b").maps.shape == (1, 1, 3, 5, 4)
    with pytest.raises(KeyError, match="no layer 'third'; there are first, second"):
        record.layer("third")
    with pytest.raises(ValueError, match="no axis of layers"):
        weights_record().layer(0)


def test_layers_and_rows_survive_their_file(tmp_path):
    words = AttentionRecord.concatenate([words_record("two", "words"), words_record("and", "", "one")])
    for record in (layers_record(), words):
        np.savez(tmp_path / "attention.npz", **record.to_arrays())
        back = AttentionRecord.load(tmp_path / "attention.npz")
        assert (back.layers, back.rows) == (record.layers, record.rows)
        assert back.rows == record.rows
    assert words[1].rows == (("and", "", "one"),)
    assert [each.label for each in list_segments(words)] == ["two", "words", "and", "", "one"]


def test_a_file_from_before_layers_and_rows_is_read(tmp_path):
    arrays = {
        "mechanism": np.array("softmax"),
        "clock": np.array([0.1, 0.0]),
        "clips": np.array(["a"]),
        "n_frames": np.array([4]),
        "weights": np.full((1, 1, 4), 0.25),
        "alignment": np.full((1, 4, 4), 0.25),
    }
    np.savez(tmp_path / "attention.npz", **arrays)
    back = AttentionRecord.load(tmp_path / "attention.npz")
    assert (back.layers, back.rows, back.layer_weights) == ((), (), None)
    np.savez(tmp_path / "attention.npz", **arrays, rows=np.array([["a"]]))
    with pytest.raises(RunError, match="'row_counts' is missing"):
        AttentionRecord.load(tmp_path / "attention.npz")


def test_names_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="3 names of layers, and layer_weights has 2 layers"):
        AttentionRecord(n_frames=np.array([4]), layer_weights=np.ones((1, 2, 1, 4)), layers=("a", "b", "c"))
    with pytest.raises(ValueError, match="at most one for each of 2 rows"):
        AttentionRecord(n_frames=np.array([4]), alignment=np.ones((1, 2, 4)), rows=(("a", "b", "c"),))
    with pytest.raises(ValueError, match="different layers"):
        AttentionRecord.concatenate([layers_record(), layers_record(names=("third", "fourth"))])
