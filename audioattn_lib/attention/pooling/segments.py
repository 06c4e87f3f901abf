"""Segments of a clip, in seconds, from the saliency of its frames.

Rules that choose places carry no gradient; the saliency of what was chosen
does, so whoever weights what is heard there by it teaches the saliency.

Book page: ``architecture``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.tensors import is_exporting

from ..record.record import FrameClock
from ._padding import Padding

__all__ = ["Segments", "read_saliency", "select_runs", "select_windows"]

Saliency = Float[Tensor, "batch frames"]
Lengths = Int[Tensor, " batch"] | None


class Segments(NamedTuple):
    """Parts of clips, in order of time, those that are missing last.

    ``bounds`` are start and stop in seconds, NaN where a clip has fewer parts,
    without gradient; ``scores`` the mean saliency in each part, with gradient,
    0 where it is missing.
    """

    bounds: Float[Tensor, "batch parts 2"]
    scores: Float[Tensor, "batch parts"]


def select_windows(
    saliency: Saliency,
    lengths: Lengths = None,
    *,
    clock: FrameClock,
    count: int,
    seconds: float,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Segments:
    r"""The ``count`` windows of the highest mean saliency that do not overlap, chosen one after the other.

    Parameters
    ----------
    saliency
        At least 0, shape ``(B, T)``; what it says of padding does not matter.
    lengths
        Valid frames of each clip, in [1, T]; all by default.
    clock
        Time of the frames.
    count
        Windows of each clip, at least 1; a clip with less room has fewer.
    seconds
        Length of a window, above 0, rounded to whole frames, at least one. A
        clip that is shorter is one window.
    temperature
        At least 0. Above 0, windows are drawn without replacement with
        probabilities that go as :math:`\mathrm{score}^{1/\mathrm{temperature}}`, by
        adding Gumbel noise to the logarithms of the scores: training that
        sometimes listens elsewhere finds out what is there.
    generator
        Of the noise; torch's by default.

    Raises
    ------
    ConfigError
        When ``count``, ``seconds`` or ``temperature`` is out of range.

    Notes
    -----
    Kool et al., *Stochastic beams and where to find them*, ICML 2019, for
    drawing without replacement. Book page: ``architecture``.
    """
    if count < 1:
        raise ConfigError(f"count is {count}; it must be at least 1")
    if not seconds > 0:
        raise ConfigError(f"seconds is {seconds}; a window must be longer than 0 s")
    if not temperature >= 0:
        raise ConfigError(f"temperature is {temperature}; it must be at least 0")
    padding = Padding(saliency[..., None], lengths)
    valid = padding.clear(saliency[..., None])[..., 0]
    width = max(1, round(seconds / clock.period))
    size = padding.lengths.clamp(max=width)  # of a window, in frames: a short clip is one
    if is_exporting():  # of any number of frames: no start behind the end is free
        valid = F.pad(valid, (0, width - 1))
    elif width > valid.shape[1]:
        valid = F.pad(valid, (0, width - valid.shape[1]))
    means = F.avg_pool1d(valid[:, None], width, 1)[:, 0] * (width / size[:, None])  # (B, starts)
    n_starts = means.shape[1]
    starts = torch.arange(n_starts, device=saliency.device)
    free = starts <= (padding.lengths - size)[:, None]
    rank = means.detach()
    if temperature > 0:
        uniform = torch.rand(rank.shape, generator=generator, device=rank.device, dtype=rank.dtype)
        rank = rank.clamp(min=1e-12).log() - temperature * (-uniform.clamp(1e-12, 1 - 1e-7).log()).log()
    starts_chosen, present = [], []
    for _ in range(count):
        best = rank.masked_fill(~free, -torch.inf).argmax(dim=1)
        present.append(free.any(dim=1))
        starts_chosen.append(best.masked_fill(~present[-1], n_starts))
        free = free & ((starts - best[:, None]).abs() >= width)
    selected = torch.stack(starts_chosen, dim=1)
    # equal starts are those of missing windows alone, whose order other programs do not keep
    first, order = selected.sort(dim=1) if is_exporting() else selected.sort(dim=1, stable=True)
    is_present = torch.stack(present, dim=1).gather(1, order)
    scores = means.gather(1, first.clamp(max=n_starts - 1)).masked_fill(~is_present, 0.0)
    return Segments(_to_seconds(first, first + size[:, None], is_present, clock), scores)


def select_runs(saliency: Saliency, lengths: Lengths = None, *, clock: FrameClock) -> Segments:
    """Every run of frames whose saliency is above the mean of its clip: the published rule, for comparison.

    Its runs are whole ones: the published code breaks a run into pairs of
    frames. A clip whose frames are all equally salient has none.

    Raises
    ------
    RuntimeError
        Under ``torch.func.vmap``, where a result has no size that depends on values.

    Notes
    -----
    Stergiou and Damen, ICASSP 2023, and the code released with it. Book page:
    ``architecture``.
    """
    padding = Padding(saliency[..., None], lengths)
    valid = padding.clear(saliency[..., None])[..., 0]
    mean = valid.sum(dim=1, keepdim=True) / padding.lengths[:, None]
    above = valid.detach() > mean.detach() * (1 + 1e-6)  # equal but for rounding is not above
    if padding.mask is not None:
        above = above & padding.mask
    edge = F.pad(above.long(), (1, 1)).diff(dim=1)  # (B, T + 1): 1 where a run begins, -1 where it has ended
    runs = (edge == 1).sum(dim=1)
    try:
        count = max(int(runs.max()), 1) if len(runs) else 1
    except RuntimeError as error:
        if "vmap" not in str(error):
            raise
        raise RuntimeError(
            "select_runs has no vmap: how many runs there are depends on the saliency; "
            "give it all clips as one batch, (batch, frames)"
        ) from None
    is_present = torch.arange(count, device=saliency.device) < runs[:, None]
    first, last = (_places(edge == sign, count) for sign in (1, -1))
    total = F.pad(valid.cumsum(dim=1), (1, 0))
    scores = (total.gather(1, last) - total.gather(1, first)) / (last - first).clamp(min=1)
    return Segments(_to_seconds(first, last, is_present, clock), scores.masked_fill(~is_present, 0.0))


def read_saliency(
    saliency: Saliency, times: Float[Tensor, "batch places"], lengths: Lengths = None, *, clock: FrameClock
) -> Float[Tensor, "batch places"]:
    """Saliency at any seconds, straight between the centres of frames and constant beyond those at the ends.

    Notes
    -----
    With gradient to the saliency. Book page: ``architecture``.
    """
    padding = Padding(saliency[..., None], lengths)
    position = (times - clock.start) / clock.period - 0.5
    last = (padding.lengths - 1)[:, None]
    position = position.clamp(min=0).minimum(last)
    low = position.floor().long()
    share = (position - low).to(saliency.dtype)
    return saliency.gather(1, low) * (1 - share) + saliency.gather(1, (low + 1).minimum(last)) * share


def _places(marks: Tensor, count: int) -> Tensor:
    """Positions of the first ``count`` marks of each row, in order; 0 where there are fewer."""
    n = marks.shape[1]
    position = torch.arange(n, device=marks.device).masked_fill(~marks, n)
    position = position.sort(dim=1).values[:, :count]
    return position.masked_fill(position == n, 0)


def _to_seconds(first: Tensor, last: Tensor, is_present: Tensor, clock: FrameClock) -> Tensor:
    bounds = clock.start + torch.stack([first, last], dim=-1).double() * clock.period
    return bounds.masked_fill(~is_present[..., None], torch.nan)
