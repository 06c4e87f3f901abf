"""Layers over time that see only the frames that belong to a clip.

A mask is True on valid frames; ``None`` means that every frame is valid, which
needs no mask at all. What padding holds, even NaN, never reaches a result.

Book page: ``urban_sound``.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, distributed, nn

from audioattn_lib.attention.record import _pytree as _pytree

__all__ = ["MaskedBatchNorm1d", "at_least_float32", "frame_mask", "masked_mean", "subtract_mean"]


def frame_mask(lengths: Int[Tensor, " batch"] | None, n_frames: int, device: torch.device) -> Tensor | None:
    """``(B, T)``, True on the frames below each length; None where nothing is padded."""
    if lengths is None:
        return None
    # Without padding nothing needs a mask; only on the CPU is it cheaper to look than to mask anyway.
    looks = lengths.device.type == "cpu" and not torch.compiler.is_compiling()
    if looks and bool((lengths >= n_frames).all()):
        return None
    return torch.arange(n_frames, device=device) < lengths.to(device)[:, None]


def at_least_float32(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The values in float32, or in float64 if they are: sums over frames need the digits."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def masked_mean(
    values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*mask"] | None, dim: int
) -> Float[Tensor, "*mean"]:
    """Mean over the valid frames along ``dim``, which is kept with size 1, in at least float32; 0 without frames.

    The mask broadcasts with the values.
    """
    values = at_least_float32(values)
    if mask is None:
        return values.mean(dim, keepdim=True)
    return values.masked_fill(~mask, 0.0).sum(dim, keepdim=True) / mask.sum(dim, keepdim=True).clamp(min=1)


def subtract_mean(
    features: Float[Tensor, "batch frames mels"], mask: Bool[Tensor, "batch frames"] | None
) -> Float[Tensor, "batch frames mels"]:
    """Take from each clip the mean of its valid frames; padded frames of the result are 0."""
    if mask is None:
        return features - features.mean(dim=1, keepdim=True)
    valid = mask[..., None]
    return (features - masked_mean(features, valid, dim=1).to(features.dtype)).masked_fill(~valid, 0.0)


class MaskedBatchNorm1d(nn.BatchNorm1d):
    r"""Batch normalisation whose statistics leave padding out.

    .. math:: y = \gamma\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    with mean and variance over the valid frames of the batch in training and the
    running estimates in evaluation. Without a mask it is ``nn.BatchNorm1d``,
    except that a batch of a single value a channel, which has no variance, is
    normalised by the running estimates and leaves them as they are.

    Attributes
    ----------
    syncs_statistics
        Take mean and variance over the clips of all processes that train together, on CPU and CUDA alike. The training
        loop sets it.
    has_clips
        Whether clips of this process count in what is shared; the training loop sets it for every batch.
    """

    syncs_statistics = False
    has_clips = True
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(features, eps, momentum)
        self.rate = momentum

    def forward(  # type: ignore[override]
        self,
        inputs: Float[Tensor, "batch channels *frames"],
        mask: Bool[Tensor, "batch 1 frames"] | None = None,
    ) -> Float[Tensor, "batch channels *frames"]:
        """Normalise; ``mask`` is True on valid frames."""
        if not self.training:
            return super().forward(inputs)
        if mask is None and inputs.numel() > inputs.shape[1] and not self.syncs_statistics:
            return super().forward(inputs)
        if mask is None:
            mask = torch.ones_like(inputs[:, :1], dtype=torch.bool)
        per_channel = (1, -1, *[1] * (inputs.ndim - 2))
        others = [d for d in range(inputs.ndim) if d != 1]
        count = self._of_all(mask.sum()).clamp(min=1)
        enough = count > 1  # stays on the device: nothing waits for the answer
        x = at_least_float32(inputs)
        mean = self._of_all(x.masked_fill(~mask, 0.0).sum(others)) / count
        mean = torch.where(enough, mean, self.running_mean)
        centred = (x - mean.view(per_channel)).masked_fill(~mask, 0.0)
        variance = self._of_all(centred.square().sum(others)) / count
        variance = torch.where(enough, variance, self.running_var)
        with torch.no_grad():
            self.num_batches_tracked += enough
            self.running_mean.add_((mean - self.running_mean) * self.rate)
            self.running_var.add_((variance * (count / (count - 1).clamp(min=1)) - self.running_var) * self.rate)
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return (centred * scale.view(per_channel) + self.bias.view(per_channel)).to(inputs.dtype)

    def _of_all(self, sums: Tensor) -> Tensor:
        if not self.syncs_statistics:
            return sums
        return _SumOfProcesses.apply(sums if self.has_clips else sums * 0)  # the gradient still goes all ways


class _SumOfProcesses(torch.autograd.Function):
    """Sum over processes; the backward pass sums the gradients of all processes."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return _SumOfProcesses.apply(gradient)
