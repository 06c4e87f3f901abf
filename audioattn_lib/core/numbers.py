"""Numbers as text that every page writes alike.

It lies below all floors, as :mod:`audioattn_lib.core.errors` does.
"""

from __future__ import annotations

__all__ = ["in_percent", "tenths", "with_minus"]

_NOISE = 9
"""Digits behind the point that are kept before rounding: what a sum of floating-point numbers adds lies behind them."""


def tenths(value: float, sign: str = "") -> str:
    """A number with one decimal, the same for all ways to compute it; zero has no minus.

    A half goes to the even digit, as Python writes it: 11.25 is ``11.2``, and so is 100 (0.7875 - 0.675), which is
    11.250000000000004.

    Parameters
    ----------
    value
        Any number; NaN stays ``nan``.
    sign
        ``"+"`` writes the sign of a positive number too.
    """
    return f"{round(round(float(value), _NOISE), 1) + 0.0:{sign}.1f}"


def in_percent(share: float) -> str:
    """A share as a percentage with one decimal, such as ``84.2 %``; NaN stays ``nan %``."""
    return f"{tenths(100 * float(share))} %"


def with_minus(number: str) -> str:
    """A number as a reader sees it: with a minus sign in place of the hyphen that programs read."""
    return number.replace("-", "\N{MINUS SIGN}")
