"""Numbers as text: the same for all ways to compute them."""

import pytest

from audioattn_lib.core.numbers import tenths


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (11.25, "11.2"),
        (100 * (0.7875 - 0.675), "11.2"),
        (100 * 0.1125, "11.2"),
        (100 * (0.9 - 0.6125), "28.8"),
        (28.75, "28.8"),
        (-0.04, "0.0"),
        (float("nan"), "nan"),
    ],
)
def test_a_half_goes_one_way_however_it_was_computed(value, text):
    assert tenths(value) == text


def test_a_sign_is_written_where_it_is_wanted():
    assert (tenths(11.26, "+"), tenths(-3.0, "+"), tenths(-0.01, "+")) == ("+11.3", "-3.0", "+0.0")
