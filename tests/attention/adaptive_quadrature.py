"""Integrals by the adaptive quadrature of SciPy, as truth."""

import math
from itertools import pairwise

from scipy.integrate import quad


def density(alpha, location, variance):
    """The formula of the paper, in plain Python."""
    if alpha == 1:
        return lambda t: math.exp(-((t - location) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    k = 1 / (alpha - 1)
    a = math.sqrt((2 * k + 3) * variance)
    constant = math.exp(math.lgamma(k + 1.5) - math.lgamma(k + 1)) / math.sqrt(math.pi) / a

    def pdf(t):
        rest = 1 - ((t - location) / a) ** 2
        return constant * rest**k if rest > 0 else 0.0

    return pdf


def integrate(f, points):
    """Adaptive quadrature between consecutive break points."""
    points = sorted(set(points))
    return math.fsum(quad(f, p, q, epsabs=1e-15, epsrel=1e-13, limit=400)[0] for p, q in pairwise(points))


def expectation(alpha, location, variance, centre, width, interval=(-math.inf, math.inf)):
    """Expectation of a Gaussian basis function, by adaptive quadrature."""
    pdf = density(alpha, location, variance)
    deviation = math.sqrt(variance)
    a = 9 * deviation if alpha == 1 else math.sqrt((3 * alpha - 1) / (alpha - 1)) * deviation
    low, high = max(location - a, interval[0]), min(location + a, interval[1])
    breaks = [low, high]
    for middle, scale in ((centre, width), (location, deviation)):
        breaks += [min(max(middle + s * scale, low), high) for s in (-9, -4, -1.5, 0, 1.5, 4, 9)]

    def integrand(t):
        return pdf(t) * math.exp(-0.5 * ((t - centre) / width) ** 2) / (width * math.sqrt(2 * math.pi))

    total = integrate(integrand, breaks)
    return total if interval == (-math.inf, math.inf) else total / integrate(pdf, breaks)
