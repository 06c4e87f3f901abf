"""The Pareto front of two numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioattn_lib.evaluation.statistics.pareto import pareto_front

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


def test_by_hand():
    assert pareto_front([1, 2, 3, 2], [5, 7, 6, 7]).tolist() == [True, True, False, True]
    assert pareto_front([1.0, np.nan], [0.1, 0.9]).tolist() == [True, False]
    assert pareto_front([], []).tolist() == []


@given(POINTS)
def test_no_point_of_the_front_is_beaten_and_every_other_one_is(points):
    front = pareto_front(*zip(*points, strict=True))
    assert front.any()
    for (cost, gain), on in zip(points, front, strict=True):
        beaten = any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in points)
        assert beaten != on


def test_both_have_one_number_a_system():
    with pytest.raises(ValueError, match="one number of each"):
        pareto_front([1.0, 2.0], [1.0])
