"""Attention as files that other programs read: tables and arrays.

Every file is written next to its destination and moved into place, so a reader
never sees half of one and an interrupted export leaves the old file whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from audioattn_lib.core.errors import RunError
from audioattn_lib.core.files import write_whole

from .record import AttentionRecord

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["moments", "save_csv", "save_npz", "to_table", "write_file"]

PUBLISHED_COLUMNS = ("file_id", "label", "pred", "duration", "fold", "mu", "var", "sigma_sq", "supp", "alpha")
SECONDS_COLUMNS = ("duration_s", "location_s", "deviation_s", "support_start_s", "support_stop_s", "mass_inside")

#: What the published table writes as the support of a Gaussian, which has none.
UNBOUNDED_SUPPORT = 1e8


def moments(record: AttentionRecord, clip: int = 0) -> tuple[float, float]:
    r"""Mean and variance of the attention of one clip over time.

    For a density, the moments of the mixture,
    :math:`\mu = \sum_m w_m \mu_m` and
    :math:`\sigma^2 = \sum_m w_m (\sigma_m^2 + \mu_m^2) - \mu^2`; they count what
    lies outside the clip too. For everything else, the moments of the centres
    of the frames under :meth:`AttentionRecord.frame_attention`.

    Parameters
    ----------
    record
        What the mechanism looked at.
    clip
        Which clip of the record.

    Returns
    -------
    mean, variance
        Seconds and square seconds.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    single = record[clip]
    if single.density is not None:
        times, share = single.density.location[0], single.density.mode_weight[0]
        mean = float(share @ times)
        return mean, float(share @ (single.density.variance[0] + (times - mean) ** 2))
    share, times = single.frame_attention(), single.frame_times()
    mean = float(share @ times)
    return mean, float(share @ (times - mean) ** 2)


def to_table(
    record: AttentionRecord,
    *,
    labels: Sequence[str] | None = None,
    predicted: Sequence[str] | None = None,
    durations: Sequence[float] | None = None,
    folds: Sequence[object] | None = None,
    sample_rate: int = 16000,
) -> pd.DataFrame:
    r"""One row a clip: the columns of the published attention table, and the same in seconds.

    The first ten columns are those of the published ``save_attentions`` script,
    with its names and units, so its analyses still run: ``mu`` and ``var`` are
    of the *position* in the clip (0 where frame 0 begins, 1 where the last one
    ends), ``sigma_sq`` is the scale parameter :math:`(a/R)^{\alpha+1}` of the
    density in those units (the variance for a Gaussian and for discrete
    attention, NaN for a mixture), ``supp`` the length of the support (for a
    density unclipped, 1e8 for a Gaussian; for discrete attention the share of
    valid frames above zero), and ``alpha`` the weights of the frames to four
    decimals, joined by ``;`` (empty for a density). ``duration`` counts samples
    at ``sample_rate``. The rest is ours: ``duration_s``, ``location_s``,
    ``deviation_s`` (standard deviation), ``support_start_s``,
    ``support_stop_s`` (first and last attended instant of the sound, which
    begins at 0) and ``mass_inside`` (share of the attention that falls inside the frames of the clip).

    Parameters
    ----------
    record
        What the mechanism looked at; not empty.
    labels, predicted, folds
        True class, predicted class and fold of each clip; empty cells when not given.
    durations
        Seconds of each clip; by default those of the record, else the span of its frames.
    sample_rate
        Rate in hertz at which ``duration`` counts samples, above 0; 16 kHz in the published table.

    Returns
    -------
    DataFrame
        ``len(record)`` rows in the order of the record.

    Raises
    ------
    ValueError
        When the record is empty or a sequence has another length than it.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    import pandas as pd

    if record.is_empty:
        raise ValueError("the record is empty, so there is nothing to export; ask the model for it with record=True")
    columns = {"label": labels, "pred": predicted, "duration_s": durations, "fold": folds}
    for name, values in columns.items():
        if values is not None and len(values) != len(record):
            raise ValueError(f"{name} has {len(values)} entries for a record of {len(record)} clips; give one a clip")
    rows = [_row(record, clip) for clip in range(len(record))]
    table = pd.DataFrame(rows)
    for name, values in columns.items():
        if values is not None:
            table[name] = list(values)
    table["duration"] = np.rint(table["duration_s"].astype(float) * sample_rate).astype(int)
    return table[[*PUBLISHED_COLUMNS, *SECONDS_COLUMNS]]


def save_csv(record: AttentionRecord, path: str | Path, **columns: Any) -> Path:
    """Write :func:`to_table` as CSV with the published unnamed index first, and return the path.

    Parameters
    ----------
    record
        What the mechanism looked at; not empty.
    path
        File to write; its folder is made when missing.
    **columns
        ``labels``, ``predicted``, ``durations``, ``folds`` and ``sample_rate`` of :func:`to_table`.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    text = to_table(record, **columns).to_csv(lineterminator="\n")
    return write_file(path, lambda file: file.write(text.encode()))


def save_npz(record: AttentionRecord, path: str | Path) -> Path:
    """Write the whole record as compressed arrays, which :meth:`AttentionRecord.load` reads, and return the path.

    Parameters
    ----------
    record
        What the mechanism looked at; not empty.
    path
        File to write; its folder is made when missing.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if record.is_empty:
        raise ValueError("the record is empty, so there is nothing to save; ask the model for it with record=True")
    arrays: dict[str, Any] = record.to_arrays()
    return write_file(path, lambda file: np.savez_compressed(file, **arrays))


def write_file(path: str | Path, write: Callable[[IO[bytes]], Any]) -> Path:
    """Let ``write`` fill a file beside ``path`` and move it there, whole or not at all; the path."""
    try:
        with write_whole(path) as temporary, open(temporary, "wb") as file:
            write(file)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}); what was there before is intact") from error
    return Path(path)


def _row(record: AttentionRecord, clip: int) -> dict[str, object]:
    single = record[clip]
    start, stop = single.span()
    length = stop - start
    mean, variance = moments(single)
    share = single.frame_attention()
    mass_inside, sigma_sq, weights = 1.0, variance / length**2, ";".join(f"{w:.4f}" for w in share)
    supp = float(np.mean(share > 0))
    if single.density is not None:
        cdf = single.density.cdf(np.array([start, stop]))[0]
        mass_inside, sigma_sq, weights = float(cdf[1] - cdf[0]), math.nan, ""
        reach = single.density.half_width[0][single.density.mode_weight[0] > 0] / length
        supp = _union(single.density.location[0][single.density.mode_weight[0] > 0] / length, reach)
        if len(single.density.location[0]) == 1:
            sigma_sq = _scale_parameter(float(single.density.alpha[0, 0]), float(reach[0]), variance / length**2)
    spans = single.attended()
    return {
        "file_id": single.clips[0],
        "label": "",
        "pred": "",
        "fold": "",
        "duration_s": length if single.durations is None else float(single.durations[0]),
        "mu": (mean - start) / length,
        "var": variance / length**2,
        "sigma_sq": sigma_sq,
        "supp": supp,
        "alpha": weights,
        "location_s": mean,
        "deviation_s": math.sqrt(max(variance, 0.0)),
        "support_start_s": spans[0][0] if spans else math.nan,
        "support_stop_s": spans[-1][1] if spans else math.nan,
        "mass_inside": mass_inside,
    }


def _scale_parameter(alpha: float, half_width: float, variance: float) -> float:
    r"""The scale :math:`\sigma^2 = (a/R(1,\alpha))^{\alpha+1}`, in logarithms because it underflows early."""
    from scipy import special  # imports for long, and few need it

    if alpha == 1:
        return variance
    shape = alpha / (alpha - 1)
    log_radius = (alpha - 1) / (alpha + 1) * (
        special.gammaln(0.5 + shape) - special.gammaln(shape) - 0.5 * math.log(math.pi)
    ) + math.log(2 / (alpha - 1)) / (alpha + 1)
    return math.exp((alpha + 1) * (math.log(half_width) - log_radius))


def _union(centres: np.ndarray, reach: np.ndarray) -> float:
    if np.any(np.isinf(reach)):
        return UNBOUNDED_SUPPORT
    total, end = 0.0, -math.inf
    for low, high in sorted(zip(centres - reach, centres + reach, strict=True)):
        total += max(0.0, high - max(low, end))
        end = max(end, high)
    return total
