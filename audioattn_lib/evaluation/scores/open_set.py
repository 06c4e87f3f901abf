r"""Open-set classification: rejection of clips of unknown classes.

The threshold on the certainty of a prediction is chosen on validation clips of
known classes, so that it accepts an asked share of them; unknown clips have no
part in the choice.

Source: Hendrycks and Gimpel, *A baseline for detecting misclassified and
out-of-distribution examples in neural networks*, ICLR 2017. Book page:
``accents``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..statistics.intervals import numbers
from .verification import equal_error_rate

__all__ = ["rejection_metrics", "rejection_threshold"]


def rejection_threshold(certainties: ArrayLike, accepted: float = 0.95) -> float:
    """Compute the highest threshold that accepts at least a share of the validation clips of known classes.

    Parameters
    ----------
    certainties
        Of the predictions for validation clips, finite, higher for surer; shape ``(clips,)``.
    accepted
        Share that must stay, above 0 and at most 1.

    Returns
    -------
    float
        Predictions whose certainty is at least this are kept.

    Notes
    -----
    Book page: ``accents``.
    """
    if not 0 < accepted <= 1:
        raise ValueError(f"accepted is {accepted}; it must be a share above 0 and at most 1")
    values = np.sort(numbers("certainties", certainties))
    return float(values[len(values) - int(np.ceil(accepted * len(values) - 1e-9))])


def rejection_metrics(known: ArrayLike, is_right: ArrayLike, unknown: ArrayLike, threshold: float) -> dict[str, Any]:
    """Compute the open-set rejection metrics of test clips at one threshold.

    Parameters
    ----------
    known, unknown
        Certainties for clips of known and of unknown classes.
    is_right
        Whether each known clip is predicted right.
    threshold
        From :func:`rejection_threshold`.

    Returns
    -------
    dict
        ``threshold``; ``known_accepted``, the share of known clips that are kept;
        ``accuracy_accepted``, the share of those that is right, ``None`` if none
        is kept; ``unknown_rejected``; ``equal_error_rate`` of telling known from
        unknown at any threshold, 0.5 by chance.

    Notes
    -----
    Book page: ``accents``.
    """
    a, b = numbers("known", known), numbers("unknown", unknown)
    right = np.asarray(is_right, dtype=bool)
    if right.shape != a.shape:
        raise ValueError(f"is_right has shape {right.shape} and known {a.shape}; give one a clip")
    accepted = a >= threshold
    return {
        "threshold": threshold,
        "known": len(a),
        "unknown": len(b),
        "known_accepted": float(accepted.mean()),
        "accuracy_accepted": float(right[accepted].mean()) if accepted.any() else None,
        "unknown_rejected": float((b < threshold).mean()),
        "equal_error_rate": equal_error_rate(np.concatenate([a, b]), np.arange(len(a) + len(b)) < len(a)),
    }
