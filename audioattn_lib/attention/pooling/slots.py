r"""Slot attention: a few slots compete for the frames of a clip.

Softmax over the slots makes them compete: what one takes, the others lack. Here
there are two, and the first one is what is *salient*, the second the
*background*; the share that the salient slot has of a frame is its saliency,
in (0, 1), and larger means more worth listening to again.

Source: Locatello et al., *Object-centric learning with slot attention*,
NeurIPS 2020. Book page: ``architecture``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from audioattn_lib.core.errors import ConfigError

from ._padding import Padding

__all__ = ["BACKGROUND", "SALIENT", "Projected", "SlotAttention"]

SALIENT, BACKGROUND = 0, 1
"""Indices of the two slots."""

_EPSILON = 1e-8


@dataclass(frozen=True)
class Projected:
    """Frames as slots meet them; kept where several slots, or the same ones later, meet the same frames.

    Parameters
    ----------
    keys, values
        What slots compare themselves with, and what they take.
    valid
        Which frames are there; None for all.

    Notes
    -----
    Book page: ``architecture``.
    """

    keys: Float[Tensor, "batch frames width"]
    values: Float[Tensor, "batch frames width"]
    valid: Bool[Tensor, "batch frames"] | None = None

    def __getitem__(self, rows: Tensor) -> Projected:
        """The frames of some clips."""
        return Projected(self.keys[rows], self.values[rows], None if self.valid is None else self.valid[rows])

    def beside(self, other: Projected) -> Projected:
        """These frames and others of the same clips."""
        keys, values = torch.cat([self.keys, other.keys], dim=1), torch.cat([self.values, other.values], dim=1)
        if self.valid is None and other.valid is None:
            return Projected(keys, values)
        valid = [
            torch.ones_like(f.keys[..., 0], dtype=torch.bool) if f.valid is None else f.valid for f in (self, other)
        ]
        return Projected(keys, values, torch.cat(valid, dim=1))


class SlotAttention(nn.Module):
    r"""Slots that compete for frames, refined a few times.

    .. math:: A = \mathrm{softmax}_{\text{slots}}\bigl(q(\mathrm{LN}(s))\,k(\mathrm{LN}(x))^\top / \sqrt D\bigr), \quad
       u = \bar A\, v(\mathrm{LN}(x)), \quad
       s \leftarrow \mathrm{GRU}(u, s), \quad s \leftarrow s + \mathrm{MLP}(\mathrm{LN}(s))

    with :math:`\bar A` the attention :math:`A`, in which the shares of a frame
    sum to 1, divided by what each slot has of the whole clip, and :math:`D` the width of slots.

    Parameters
    ----------
    features
        Width of frames, at least 1.
    n_slots
        At least 2.
    iterations
        At least 1; 3 as published.
    width
        Width :math:`D` of slots, of keys and of values, at least 1; None makes it that of frames.

    Notes
    -----
    The first slots are learned means, one a slot. In training they are drawn
    around them with a learned standard deviation, as published; in evaluation they are
    the means, so the same clip always gives the same slots. Softmax runs in at
    least float32. Nothing depends on other clips of the batch. Locatello et
    al., NeurIPS 2020, algorithm 1. Book page: ``architecture``.
    """

    def __init__(self, features: int, n_slots: int = 2, iterations: int = 3, width: int | None = None) -> None:
        super().__init__()
        width = features if width is None else width
        for name, value, lowest in (
            ("features", features, 1),
            ("n_slots", n_slots, 2),
            ("iterations", iterations, 1),
            ("width", width, 1),
        ):
            if value < lowest:
                raise ConfigError(f"{name} is {value}; it must be at least {lowest}")
        self.iterations = iterations
        self.means = nn.Parameter(torch.randn(n_slots, width) * width**-0.5)
        self.log_std = nn.Parameter(torch.full((n_slots, width), -3.0))
        self.frame_norm, self.slot_norm, self.mlp_norm = (nn.LayerNorm(size) for size in (features, width, width))
        self.query, self.key, self.value = (nn.Linear(size, width, bias=False) for size in (width, features, features))
        self.cell = nn.GRUCell(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def start(self, batch: int) -> Float[Tensor, "batch slots width"]:
        """Return the initial slots."""
        means = self.means.expand(batch, -1, -1)
        if not self.training:
            return means
        return means + self.log_std.exp() * torch.randn_like(means)

    def forward(
        self,
        values: Float[Tensor, "batch frames features"],
        lengths: Int[Tensor, " batch"] | None = None,
        slots: Float[Tensor, "batch slots width"] | None = None,
    ) -> tuple[Float[Tensor, "batch slots width"], Float[Tensor, "batch slots frames"]]:
        """Update the slots by one step, and return the share of each slot of each frame.

        Parameters
        ----------
        values
            The frames; what padding holds does not matter.
        lengths
            Valid frames of each clip, in [1, T]; all by default.
        slots
            To begin with; :meth:`start` by default.

        Returns
        -------
        slots : Tensor
            Shape ``(B, slots, width)``.
        shares : Tensor
            In (0, 1), those of a valid frame sum to 1, 0 on padding; shape ``(B, slots, T)``.

        Raises
        ------
        ValueError
            When a clip has no valid frame, or more than there are.
        """
        padding = Padding(values, lengths)
        frames = self.project(padding.clear(values), padding.mask)
        slots = self.refine(frames, slots)
        return slots, self.share(slots, frames)

    def project(
        self, values: Float[Tensor, "batch frames features"], valid: Bool[Tensor, "batch frames"] | None = None
    ) -> Projected:
        """Frames, finite on padding, as slots meet them."""
        frames = self.frame_norm(values)
        return Projected(self.key(frames), self.value(frames), valid)

    def refine(
        self, frames: Projected, slots: Float[Tensor, "batch slots width"] | None = None
    ) -> Float[Tensor, "batch slots width"]:
        """Refine slots over the frames, from ``slots`` or from :meth:`start`."""
        slots = self.start(frames.keys.shape[0]) if slots is None else slots
        for _ in range(self.iterations):
            shares = self.share(slots, frames)  # (B, slots, T)
            # a mean over frames: the update of a slot does not depend on how much of the clip it holds
            weights = shares / (shares.sum(dim=2, keepdim=True) + _EPSILON)
            update = torch.bmm(weights.to(frames.values.dtype), frames.values)  # (B, slots, width)
            # the cell takes rows: every slot of every clip is one
            slots = self.cell(update.flatten(0, 1), slots.flatten(0, 1).to(update.dtype)).view_as(update)
            slots = slots + self.mlp(self.mlp_norm(slots))
        return slots

    def share(
        self, slots: Float[Tensor, "batch slots width"], frames: Projected
    ) -> Float[Tensor, "batch slots frames"]:
        """Compute the share of each slot in each frame, a softmax over slots, without a slot update; 0 on padding."""
        scores = torch.bmm(self.query(self.slot_norm(slots)), frames.keys.transpose(1, 2))
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32)) / frames.keys.shape[2] ** 0.5
        shares = scores.softmax(dim=1)
        return shares if frames.valid is None else shares * frames.valid[:, None]
