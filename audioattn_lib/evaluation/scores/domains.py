"""Accuracy in and out of the domains that training has seen, and of the worst one.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..statistics.intervals import Interval, bootstrap_interval

__all__ = ["domain_scores"]


def domain_scores(
    correct: ArrayLike,
    domains: ArrayLike,
    seen: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    interval_of: Callable[[NDArray[np.bool_]], Interval] | None = None,
) -> pd.DataFrame:
    """Accuracy of each domain, of those seen in training and those not, and the lowest one.

    Parameters
    ----------
    correct
        Whether each test clip was predicted right, or the share of seeds that did; shape ``(clips,)``.
    domains
        Domain of each clip: its device, source or city.
    seen
        Whether training has clips of this domain, for each clip.
    groups
        Recording of each clip, what is resampled together; by default every
        clip is its own.
    n_resamples, level, seed
        Of the bootstrap.
    interval_of
        Score of some clips with its interval, from a mask of shape ``(clips,)``, in place of the bootstrap.

    Returns
    -------
    DataFrame
        Index ``domain``: every domain by name, then ``seen``, ``unseen`` (where
        there are such clips) and ``worst``. Columns ``score``, ``low``, ``high``,
        ``clips``, ``seen``, and ``of``: which domain is the worst. The interval of the worst
        domain takes no account of its having been picked, and says too little.

    Raises
    ------
    ValueError
        When lengths differ or there is no clip.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """
    right = np.asarray(correct, dtype=np.float64)
    names, is_seen = np.asarray(domains, dtype=np.str_), np.asarray(seen, dtype=bool)
    if not len(right) or not len(right) == len(names) == len(is_seen):
        raise ValueError(f"{len(right)} scores, {len(names)} domains and {len(is_seen)} marks; give one of each a clip")
    units = None if groups is None else np.asarray(groups)

    def bootstrap(mask: NDArray[np.bool_]) -> Interval:
        return bootstrap_interval(
            right[mask],
            groups=None if units is None else units[mask],
            n_resamples=n_resamples,
            level=level,
            seed=seed,
        )

    estimate = interval_of or bootstrap

    def row(mask: NDArray[np.bool_], kind: str) -> dict[str, object]:
        interval = estimate(mask)
        return {
            "score": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "clips": int(mask.sum()),
            "seen": kind,
            "of": "",
        }

    rows: dict[str, dict[str, object]] = {}
    for name in sorted(set(names)):
        mask = names == name
        both = set(is_seen[mask])
        rows[str(name)] = row(mask, "both" if len(both) > 1 else "yes" if both == {True} else "no")
    worst = min(rows, key=lambda name: float(rows[name]["score"]))  # type: ignore[arg-type]
    for name, mask in (("seen", is_seen), ("unseen", ~is_seen)):
        if mask.any():
            rows[name] = row(mask, "yes" if name == "seen" else "no")
    rows["worst"] = {**rows[worst], "of": worst}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("domain")
