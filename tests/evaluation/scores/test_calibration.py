"""Laws of calibration: confidence that is deserved has no error, bins are of equal size."""

import numpy as np
import pytest

from audioattn_lib.evaluation.scores.calibration import measure_calibration


def test_deserved_confidence_has_no_error_and_overconfidence_its_size():
    sure = np.repeat([0.25, 0.5, 0.75], 4)
    right = np.array([1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0])
    calibration = measure_calibration(sure, right, bins=3)
    assert calibration.error == pytest.approx(0)
    assert calibration.clips.tolist() == [4, 4, 4]
    np.testing.assert_allclose(calibration.confidence, [0.25, 0.5, 0.75])
    assert (calibration.low <= calibration.right).all()
    assert (calibration.right <= calibration.high).all()
    assert measure_calibration(np.full(8, 0.9), np.zeros(8), bins=2).error == pytest.approx(0.9)


def test_what_is_no_probability_or_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"confidences go from 0.5 to 1.5"):
        measure_calibration([0.5, 1.5], [1, 0])
    with pytest.raises(ValueError, match="is_right has shape"):
        measure_calibration([0.5], [1, 0])
    with pytest.raises(ValueError, match="bins is 0"):
        measure_calibration([0.5], [1], bins=0)
    assert len(measure_calibration([0.2, 0.4], [0, 1], bins=8).clips) == 2
