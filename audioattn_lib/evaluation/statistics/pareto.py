"""Systems that no other system beats in everything: Pareto fronts.

Book page: ``comparison``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["pareto_front"]


def pareto_front(lower: ArrayLike, higher: ArrayLike) -> NDArray[np.bool_]:
    """Tell which systems lie on the Pareto front of two numbers.

    A system is on it unless another one is at least as good in both numbers and better in one.

    Parameters
    ----------
    lower
        Number of each system that is better the lower it is, such as its time, shape ``(systems,)``.
    higher
        Number of each system that is better the higher it is, such as its score, shape ``(systems,)``.

    Returns
    -------
    ndarray
        True on the front, shape ``(systems,)``; False where a number is NaN.

    Raises
    ------
    ValueError
        When the two have not the same length.

    Notes
    -----
    Points without their intervals: two systems on and off the front need not differ. Book page: ``comparison``.

    Examples
    --------
    >>> pareto_front([1.0, 2.0, 3.0], [0.5, 0.7, 0.6]).tolist()
    [True, True, False]
    """
    cost, gain = np.asarray(lower, dtype=np.float64), np.asarray(higher, dtype=np.float64)
    if cost.ndim != 1 or cost.shape != gain.shape:
        raise ValueError(f"lower has shape {cost.shape} and higher {gain.shape}; give one number of each a system")
    at_least = (cost[:, None] <= cost) & (gain[:, None] >= gain)  # row is at least as good as column in both
    better = (cost[:, None] < cost) | (gain[:, None] > gain)
    return np.isfinite(cost) & np.isfinite(gain) & ~(at_least & better).any(axis=0)
