"""The table, arrays and labels say what the record says, and are written whole or not at all."""

import errno

import numpy as np
import pandas as pd
import pytest
from handmade import make_record
from scipy import integrate

from audioattn_lib.attention.record import export
from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.attention.record.segment_lists import list_segments
from audioattn_lib.core.errors import RunError

PUBLISHED = ["file_id", "label", "pred", "duration", "fold", "mu", "var", "sigma_sq", "supp", "alpha"]


def test_published_columns_come_first(record):
    table = export.to_table(record)
    assert list(table.columns[:10]) == PUBLISHED
    assert len(table) == len(record)
    assert list(table["file_id"]) == list(record.clips)


def test_positions_and_seconds_agree(record):
    table = export.to_table(record)
    for clip, row in table.iterrows():
        start, stop = record.span(clip)
        assert row["support_start_s"] >= 0, "a sound begins at 0, though its frames may begin before"
        assert row["location_s"] == pytest.approx(start + row["mu"] * (stop - start))
        assert row["deviation_s"] == pytest.approx(np.sqrt(row["var"]) * (stop - start))
        assert start <= row["support_start_s"] <= row["support_stop_s"] <= stop


def test_times_end_where_the_sound_ends(record, tmp_path):
    durations = np.array([1.0, 0.95])
    named = record.named(record.clips, durations)
    np.testing.assert_allclose(export.to_table(named)["duration_s"], durations)
    assert export.to_table(named, sample_rate=8000)["duration"].tolist() == [8000, 7600]
    back = AttentionRecord.load(export.save_npz(named, tmp_path / "a.npz"))
    joined = AttentionRecord.concatenate([back[0], back[1]])
    np.testing.assert_array_equal(joined.durations, durations)
    for each in list_segments(joined):
        assert 0 <= each.start < each.stop <= durations[record.clips.index(each.clip)]
    with pytest.raises(ValueError, match="durations holds a number that is not finite and above 0"):
        record.named(record.clips, np.array([1.0, np.nan]))


@pytest.mark.parametrize("kind", ["gaussian", "triweight", "parabola", "mixture"])
def test_moments_and_mass_are_the_integrals_of_the_density(kind):
    record = make_record(kind)
    row = export.to_table(record).iloc[0]
    density = record[0].density
    times = np.linspace(-1, 3, 400001)
    pdf = density.pdf(times)[0]
    mean = integrate.trapezoid(times * pdf, times)
    assert row["location_s"] == pytest.approx(mean, abs=1e-6)
    assert row["deviation_s"] ** 2 == pytest.approx(integrate.trapezoid((times - mean) ** 2 * pdf, times), abs=1e-6)
    start, stop = record.span(0)
    times = np.linspace(start, stop, 100001)
    assert row["mass_inside"] == pytest.approx(integrate.trapezoid(density.pdf(times)[0], times), abs=1e-6)


def test_scale_parameter_matches_the_closed_forms():
    """Specialised forms of the scale as a function of the variance, for variances of positions."""
    row = export.to_table(make_record("triweight", clips=1)).iloc[0]
    assert row["sigma_sq"] == pytest.approx((4 / 945) ** (1 / 3) * (9 * row["var"]) ** (7 / 6))
    row = export.to_table(make_record("parabola", clips=1)).iloc[0]
    assert row["sigma_sq"] == pytest.approx(2 / 3 * (5 * row["var"]) ** 1.5)
    row = export.to_table(make_record("gaussian", clips=1)).iloc[0]
    assert row["sigma_sq"] == pytest.approx(row["var"])
    assert row["supp"] == 1e8
    assert np.isnan(export.to_table(make_record("mixture", clips=1)).iloc[0]["sigma_sq"])


def test_support_is_twice_the_half_width_or_the_share_of_frames():
    triweight = make_record("triweight")
    row = export.to_table(triweight).iloc[0]
    start, stop = triweight.span(0)
    assert row["supp"] == pytest.approx(2 * triweight.density.half_width[0, 0] / (stop - start))
    sparse = make_record("sparsemax")
    rows = export.to_table(sparse)
    for clip in range(2):
        assert rows["supp"][clip] == pytest.approx(np.mean(sparse.frame_attention(clip) > 0))
    weights = [float(each) for each in rows["alpha"][1].split(";")]
    assert len(weights) == sparse.n_frames[1]  # valid frames only: padding is no frame
    assert export.to_table(triweight)["alpha"].tolist() == ["", ""]


def test_given_columns_are_kept_and_checked():
    record = make_record("softmax")
    table = export.to_table(record, labels=["a", "b"], predicted=["a", "a"], durations=[4.0, 0.5], folds=[1, 2])
    assert table["label"].tolist() == ["a", "b"]
    assert table["pred"].tolist() == ["a", "a"]
    assert table["duration"].tolist() == [64000, 8000]
    assert table["fold"].tolist() == [1, 2]
    with pytest.raises(ValueError, match="label has 1 entries for a record of 2 clips"):
        export.to_table(record, labels=["a"])


def test_csv_reads_back(tmp_path, record):
    path = export.save_csv(record, tmp_path / "new" / "attention.csv")
    table = pd.read_csv(path, index_col=0, keep_default_na=False)
    assert list(table.columns[:10]) == PUBLISHED
    np.testing.assert_allclose(table["location_s"].astype(float), export.to_table(record)["location_s"])


def test_npz_reads_back(tmp_path, record):
    back = AttentionRecord.load(export.save_npz(record, tmp_path / "attention.npz"))
    arrays = back.to_arrays()
    assert arrays.keys() == record.to_arrays().keys()
    for name, values in record.to_arrays().items():
        np.testing.assert_array_equal(arrays[name], values)


@pytest.mark.parametrize("save", [export.save_csv, export.save_npz])
def test_a_failed_export_leaves_the_old_file(tmp_path, monkeypatch, save):
    path = tmp_path / "attention.out"
    path.write_text("old")
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(RunError, match=r"attention\.out: cannot be written \(No space left on device\)"):
        save(make_record("softmax"), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_empty_record_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="record=True"):
        export.to_table(AttentionRecord.empty())
    with pytest.raises(ValueError, match="record=True"):
        export.save_npz(AttentionRecord.empty(), tmp_path / "a.npz")
