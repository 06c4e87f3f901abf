"""Measures of speech that need no knowledge of its synthesis."""

import numpy as np
from scipy.linalg import solve_toeplitz

RATE = 16_000


def fundamental(sound, low=60, high=400):
    """Frequency of the greatest peak of the autocorrelation, which knows nothing of how the sound was made."""
    correlation = np.fft.irfft(np.abs(np.fft.rfft(sound, 2 * len(sound))) ** 2)
    lags = np.arange(RATE // high, RATE // low)
    return RATE / lags[np.argmax(correlation[lags])]


def formants_of(sound, order=18):
    """Resonances of linear prediction in hertz, from the lowest."""
    x = np.append(sound[0], sound[1:] - 0.97 * sound[:-1]) * np.hamming(len(sound))
    correlation = np.correlate(x, x, "full")[len(x) - 1 : len(x) + order]
    correlation[0] *= 1 + 1e-6
    roots = np.roots(np.append(1.0, -solve_toeplitz(correlation[:order], correlation[1:])))
    roots = roots[(roots.imag > 0) & (np.abs(roots) > 0.9)]
    result = np.sort(np.angle(roots) * RATE / 2 / np.pi)
    return result[result > 180]
