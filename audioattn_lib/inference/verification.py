"""Speaker verification by a trained model.

Book page: commands.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from audioattn_lib.core.errors import ConfigError, RunError

from .model import Model
from .sources import Sound

__all__ = ["verify_speaker"]


def verify_speaker(model: Model, first: Sound, second: Sound, threshold: float | None = None) -> dict[str, Any]:
    r"""Decide if two sounds are of one speaker.

    The score is the cosine of their embeddings, :math:`s = a \cdot b / (|a||b|)` in [-1, 1], as in the test of the run.

    Parameters
    ----------
    model
        Of the chapter on accents.
    first, second
        Sounds, see :meth:`.Model.listen`.
    threshold
        Lowest score of a same speaker, in [-1, 1]; None is the one at which both errors were equal in the test.

    Returns
    -------
    dict
        ``first``, ``second``, ``score``, ``threshold``, and ``same``.

    Raises
    ------
    RunError
        When the model gives no embeddings of speakers.
    ConfigError
        When it has no threshold and none is given.
    AudioError
        When a sound cannot be used.

    Notes
    -----
    Book page: commands.
    """
    if model.experiment != "accents":
        raise RunError(
            f"{model.path}: is a model of {model.experiment}, which tells no speakers apart; give one of accents, "
            "trained by `audioattn train accents`"
        )
    if threshold is None:
        threshold = model.thresholds.get("equal_error_rate")
        if threshold is None:
            raise ConfigError(
                f"{model.path}: its test had no pairs of utterances, so it has no threshold; give one with --threshold"
            )
    if not (math.isfinite(threshold) and -1 <= threshold <= 1):
        raise ConfigError(f"threshold is {threshold}; it must be from -1 to 1")
    a, b = (listening.embedding.astype(np.float64) for listening in model.listen([first, second]))
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    score = float(a @ b / norm) if norm > 0 else 0.0
    names = [str(sound) if isinstance(sound, (str, Path)) else "sound" for sound in (first, second)]
    return {
        "first": names[0],
        "second": names[1],
        "score": score,
        "threshold": float(threshold),
        "same": score >= threshold,
    }
