"""Fixtures over what handmade.py makes."""

import numpy as np
import pytest
from handmade import FRAMES, KINDS, SAMPLE_RATE, make_record


@pytest.fixture(params=KINDS)
def record(request):
    return make_record(request.param)


@pytest.fixture(scope="session")
def sound():
    """One second: quiet noise, a tone from 0.3 to 0.5 s."""
    times = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    noise = 0.01 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    tone = 0.3 * np.sin(2 * np.pi * 1000 * times) * ((times > 0.3) & (times < 0.5))
    return (noise + tone).astype(np.float32)


@pytest.fixture(scope="session")
def features():
    """Something like its log-mel levels, and the frequencies of the bands."""
    rng = np.random.default_rng(1)
    levels = rng.normal(-60, 5, (FRAMES, 40))
    levels[30:50, 12:15] = -10
    return levels, np.geomspace(60, 7800, 40)
