r"""Decoder and slots of the published playback model, with its names and shapes: for ablation, and for its weights.

What differs from :mod:`~audioattn_lib.models.playback.layers` and
:mod:`~audioattn_lib.attention.pooling.slots`:

- Tokens have two positions, time and frequency; the attention to them has heads of a
  width of their own, and there is no token for nothing to hear.
- Slots compare the *channels* of the frames by their course over 400 points of time, with a
  soft position; queries, keys and values have biases; each stage has slots of its own.

Source: Stergiou and Damen, *Play it back*, ICASSP 2023, and the code released with it.
Book page: ``playback_published``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.core.errors import ConfigError

from ..layers.common import at_least_float32
from .layers import FUSION_LEVELS, FUSIONS, Latents, fourier_positions

__all__ = ["PublishedDecoder", "PublishedSlots"]

_BANDS = 6
_MAX_FREQUENCY = 10.0
_INSIDE = 4  # width of the feed-forward layers, in widths of the latents
_FUSION_DROPOUT = 0.1
_EPSILON = 1e-8


class _Attention(nn.Module):
    """Attention with heads of any width; a clip without tokens reads zeros."""

    def __init__(self, width: int, context: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, heads * head_width, bias=False)
        self.to_kv = nn.Linear(context, 2 * heads * head_width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_width, width))

    def forward(self, latents: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        query = self.to_q(latents).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, latents, head width)
        source = latents if context is None else context
        # each (B, heads, tokens, head width)
        key, value = self.to_kv(source).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        has_tokens = None
        if mask is not None:
            has_tokens = mask.any(dim=1)[:, None, None]  # (B, 1, 1)
            mask = (mask[:, None] | ~has_tokens)[:, None]  # (B, 1, 1, tokens): softmax over nothing is not a number
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
        return self.to_out(read if has_tokens is None else read.masked_fill(~has_tokens, 0.0))


class _GatedGelu(nn.Module):
    """Half of the features times the GELU of the other half."""

    def forward(self, x: Tensor) -> Tensor:
        values, gates = x.chunk(2, dim=-1)
        return values * F.gelu(gates)


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = nn.Linear(width, 2 * _INSIDE * width), nn.Linear(_INSIDE * width, width)
        self.net = nn.Sequential(first, _GatedGelu(), nn.Identity(), second)

    def forward(self, latents: Tensor) -> Tensor:
        output: Tensor = self.net(latents)
        return output


class _Normed(nn.Module):
    """Residual layer with normalisation of the latents and of the context."""

    def __init__(self, width: int, layer: nn.Module, context: int | None = None) -> None:
        super().__init__()
        self.fn = layer
        self.norm = nn.LayerNorm(width)
        self.norm_context = None if context is None else nn.LayerNorm(context)

    def forward(
        self, latents: Tensor, context: Tensor | None = None, gate: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        if self.norm_context is None:
            return latents + self.fn(self.norm(latents))
        context = self.norm_context(context)
        if gate is not None:  # behind the norm, which would undo it
            context = context * gate[..., None].to(context.dtype)
        return latents + self.fn(self.norm(latents), context, mask)


class _Classifiers(nn.ModuleList):
    """A linear classifier for each task, whose logits lie side by side."""

    def __init__(self, features: int, sizes: Sequence[int]) -> None:
        super().__init__(nn.Linear(features, size) for size in sizes)
        self.out_features = sum(sizes)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([classifier(x) for classifier in self], dim=-1)


class PublishedDecoder(nn.Module):
    r"""Decoder of the published model: latents that read one playback after the other, and predict after each.

    .. math:: z_i = \mathrm{Layer}_i(z_{i-1}, [X_i; \gamma(t), \gamma(f)]), \qquad
       y_i = \mathrm{LN}(\overline{z_i}), \qquad \ell_i = W y_i + b

    with :math:`\gamma(p) = (\sin \pi f_k p, \cos \pi f_k p, p)` of 6 frequencies. It takes the place of a
    :class:`~audioattn_lib.models.playback.layers.PlaybackDecoder` in a
    :class:`~audioattn_lib.models.playback.network.Playback`; :meth:`forward` computes whole maps as published.

    Parameters
    ----------
    features
        Width of the tokens, at least 1; 768 as published.
    n_classes
        Classes of the output, at least 1; or those of each task, which have a classifier each.
    stages
        Playbacks and the first hearing, at least 1.
    n_latents, width
        Number and width of the latents, at least 1; 256 and 512 as published.
    heads, head_width
        Of the attention of latents to each other, at least 1; 8 of 64 as published. Tokens are
        read by one head of the same width.
    self_layers
        Of that attention in each stage, at least 0; 3 as published.
    fusion
        ``"adaptive"`` convolves over the stages; ``"adaptive_concat"`` is two layers with a gated
        GELU over all stages side by side, then the classifier of the stages; ``"mean"`` averages (the published
        code fails there).
    fusion_level
        ``"features"`` fuses :math:`y_i`, ``"predictions"`` :math:`\ell_i`, which
        ``"adaptive_concat"`` cannot: the published code leaves the stages apart.

    Raises
    ------
    ConfigError
        If a number is out of its range, a name is unknown, or fusion and fusion_level do not go together.

    Notes
    -----
    The names of the parameters are those of the released code (its last version), so that a checkpoint of it can be
    loaded with :func:`~audioattn_lib.models.weights.load_weights`. Source: Stergiou and Damen, ICASSP 2023. Book page:
    ``playback_published``.
    """

    def __init__(
        self,
        features: int,
        n_classes: int | Sequence[int],
        stages: int,
        *,
        n_latents: int = 256,
        width: int = 512,
        heads: int = 8,
        head_width: int = 64,
        self_layers: int = 3,
        fusion: str = "adaptive",
        fusion_level: str = "features",
    ) -> None:
        super().__init__()
        sizes = (n_classes,) if isinstance(n_classes, int) else tuple(n_classes)
        for name, value, lowest in (
            ("features", features, 1),
            ("n_classes", min(sizes, default=0), 1),
            ("stages", stages, 1),
            ("n_latents", n_latents, 1),
            ("width", width, 1),
            ("heads", heads, 1),
            ("head_width", head_width, 1),
            ("self_layers", self_layers, 0),
        ):
            if value < lowest:
                raise ConfigError(f"{name} is {value}; it must be at least {lowest}")
        if fusion not in FUSIONS:
            raise ConfigError(f"fusion is {fusion!r}; it must be one of {', '.join(FUSIONS)}")
        if fusion_level not in FUSION_LEVELS:
            raise ConfigError(f"fusion_level is {fusion_level!r}; it must be one of {', '.join(FUSION_LEVELS)}")
        if fusion_level == "predictions" and (fusion == "adaptive_concat" or len(sizes) > 1):
            raise ConfigError(
                f"fusion is {fusion!r} of predictions of {len(sizes)} tasks, which the published code cannot fuse; "
                "make fusion_level 'features', or fusion 'adaptive' or 'mean' with one task"
            )
        self.fusion_name, self.fusion_level = fusion, fusion_level
        self.latents = nn.Parameter(torch.empty(n_latents, width))
        nn.init.kaiming_uniform_(self.latents)
        context = features + 2 * (2 * _BANDS + 1)

        def feed_forward() -> _Normed:
            return _Normed(width, _FeedForward(width))

        def self_attention() -> _Normed:
            return _Normed(width, _Attention(width, width, heads, head_width))

        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    _Normed(width, _Attention(width, context, 1, head_width), context),
                    feed_forward(),
                    nn.ModuleList(nn.ModuleList([self_attention(), feed_forward()]) for _ in range(self_layers)),
                ]
            )
            for _ in range(stages)
        )
        # places in a row are part of the names: those without parameters stand for what only turns axes there
        self.reduce = nn.Sequential(nn.Identity(), nn.Identity(), nn.LayerNorm(width))
        self.fusion: nn.Module = nn.Identity()
        if fusion == "adaptive":
            size, groups = (width, 1) if fusion_level == "features" else (sizes[0], sizes[0])
            # As long as there are stages: one output. Features are mixed with each other; predictions are not, so each
            # class has its own weights over the stages.
            convolution = nn.Conv1d(size, size, stages, groups=groups, bias=False)
            after = [nn.ReLU(), nn.Dropout(_FUSION_DROPOUT)] if fusion_level == "features" else []
            self.fusion = nn.Sequential(nn.Identity(), nn.Identity(), convolution, *after)
        elif fusion == "adaptive_concat":
            first, second = nn.Linear(stages * width, 2 * width), nn.Linear(width, width)
            self.fusion = nn.Sequential(nn.Identity(), first, _GatedGelu(), nn.Dropout(_FUSION_DROPOUT), second)
        self.fc = nn.Linear(width, sizes[0]) if len(sizes) == 1 else _Classifiers(width, sizes)

    @property
    def stages(self) -> nn.ModuleList:
        """Decoder layer of each stage."""
        return self.layers

    @property
    def classifier(self) -> nn.Linear | _Classifiers:
        """From :math:`y_i` to logits, those of several tasks side by side."""
        return self.fc

    def start(self, batch: int) -> Latents:
        """Return the initial latents."""
        return self.latents.expand(batch, -1, -1)

    def read(
        self,
        stage: int,
        latents: Latents,
        tokens: Float[Tensor, "batch tokens features"],
        positions: Float[Tensor, "batch tokens *axes"],
        *,
        gate: Float[Tensor, "batch tokens"] | None = None,
        mask: Bool[Tensor, "batch tokens"] | None = None,
    ) -> tuple[Latents, Float[Tensor, "batch width"]]:
        """Latents that have also read the tokens of one stage, and their normalised mean :math:`y_i`.

        As :meth:`PlaybackDecoder.read <audioattn_lib.models.playback.layers.PlaybackDecoder.read>`; ``positions`` are
        those in time, in [-1, 1], of tokens that are frames, in the middle of the frequencies; or those in time and
        frequency, with a last axis of 2.
        """
        if positions.ndim == 2:
            positions = torch.stack([positions, torch.zeros_like(positions)], dim=-1)
        if mask is not None:
            # 0 times NaN is NaN: masked scores alone would let the padding through to the values
            tokens = tokens.masked_fill(~mask[..., None], 0.0)
            positions = positions.masked_fill(~mask[..., None], 0.0)
        context = torch.cat([tokens, _encode(positions.to(tokens.dtype))], dim=-1)
        layer: Any = self.layers[stage]
        cross, cross_forward, selves = layer
        latents = cross_forward(cross(latents, context, gate, mask))
        for attention, forward in selves:
            latents = forward(attention(latents))
        return latents, self.reduce(latents.mean(dim=1))

    def fuse(self, stage_outputs: Float[Tensor, "batch stages width"]) -> Float[Tensor, "batch classes"]:
        """Logits from the :math:`y_i` of all stages."""
        x = stage_outputs if self.fusion_level == "features" else self.fc(stage_outputs)
        if self.fusion_name == "mean":
            fused = x.mean(dim=1)
        elif self.fusion_name == "adaptive":
            fused = self.fusion(x.mT).squeeze(2)
        else:
            fused = self.fusion(x.flatten(1))
        return self.fc(fused) if self.fusion_level == "features" else fused

    def forward(
        self, maps: Sequence[Float[Tensor, "batch frames bands features"]], *, as_released: bool = False
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "stages batch classes"]]:
        """The published computation: the answer and the prediction after each stage, from whole maps of tokens.

        Parameters
        ----------
        maps
            Of each stage, of one size.
        as_released
            Give a token the positions that the released code gives it, which reads a map of ``frames`` by ``bands`` as
            one of ``bands`` by ``frames``: time and frequency are mixed up. Released weights were trained so.

        Raises
        ------
        ValueError
            If there are not as many maps as stages.
        """
        if len(maps) != len(self.layers):
            raise ValueError(f"maps are {len(maps)}; the decoder has {len(self.layers)} stages, give a map for each")
        batch, frames, bands, _ = maps[0].shape
        first, second = (torch.linspace(-1, 1, n, device=maps[0].device, dtype=maps[0].dtype) for n in (frames, bands))
        if as_released:
            token = torch.arange(frames * bands, device=first.device)
            # token t lies at (t // bands, t % bands); the released code divides by the number of frames instead
            positions = torch.stack([first[token % frames], second[token // frames]], dim=-1)
        else:
            positions = torch.cartesian_prod(first, second)  # (tokens, 2)
        latents, outputs = self.start(batch), []
        for stage, tokens in enumerate(maps):
            latents, y = self.read(stage, latents, tokens.flatten(1, 2), positions.expand(batch, -1, -1))
            outputs.append(y)
        together = torch.stack(outputs, dim=1)  # (B, stages, width)
        return self.fuse(together), self.fc(together).transpose(0, 1)


class PublishedSlots(nn.Module):
    r"""Slots of one stage of the published model: two slots that compare channels by their course over time.

    The frames of a clip become :math:`P` points of time for each channel, joined by a soft position
    :math:`W[t; 1 - t] + b`. Channels are what slots compete for, and what a slot holds is itself a course over time.
    With :math:`a` the first and :math:`b` the second slot,

    .. math:: d(t) = \bigl|b(t) + |\min b| - 1\bigr| - a(t) - |\min a|,

    and the saliency is :math:`d` brought to [0, 1].

    Parameters
    ----------
    features
        Channels of the frames, at least 1; 768 as published.
    points
        :math:`P`, the width of the slots, at least 1; 400 as published.
    iterations
        At least 1; 3 as published.

    Notes
    -----
    Both slots start from one mean and one deviation, so that only chance tells them apart, in evaluation too. Here
    chance is drawn anew in training, and is the same for every clip and every evaluation otherwise; and the least value
    is that of a clip, where the released code takes it over the batch. Names of the parameters are those of the
    released code. Source: Stergiou and Damen, ICASSP 2023; Locatello et al., NeurIPS 2020. Book page:
    ``playback_published``.
    """

    noise: Tensor

    def __init__(self, features: int, points: int = 400, iterations: int = 3) -> None:
        super().__init__()
        for name, value in (("features", features), ("points", points), ("iterations", iterations)):
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        self.points, self.iterations = points, iterations
        self.add_module("0", _SoftPosition(features))
        self.add_module("3", _ChannelSlots(points))  # the two between turn and stretch axes in the released code
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("noise", torch.randn(2, points, generator=generator, device="cpu"), persistent=False)

    def forward(
        self, frames: Float[Tensor, "batch frames features"], counts: Tensor | None = None
    ) -> Float[Tensor, "batch frames"]:
        """Compute the saliency of each frame, in [0, 1]; undefined on padding.

        ``counts`` are the valid frames of each clip, at least 1; all by default.
        """
        batch, n_frames, _ = frames.shape
        if counts is None:
            counts = torch.full((batch,), n_frames, device=frames.device)
        length = counts.to(frames.dtype)[:, None]
        point = torch.arange(self.points, device=frames.device, dtype=frames.dtype)
        # (B, P, C): straight between the centres of frames, which span the points whatever their number
        course = _between(frames, (point + 0.5) / self.points * length - 0.5, counts - 1)
        inputs = self.get_submodule("0")(course).mT  # (B, C, P)
        noise = torch.randn(batch, 2, self.points, device=frames.device) if self.training else self.noise
        slots = self.get_submodule("3")(inputs, noise.to(inputs.dtype), self.iterations)
        # the formula of the class: each slot is lifted by its least value, then the second is compared with 1
        slots = slots + slots.amin(dim=2, keepdim=True).abs()
        difference = (slots[:, 1] - 1).abs() - slots[:, 0]  # (B, P)
        low, high = difference.amin(dim=1, keepdim=True), difference.amax(dim=1, keepdim=True)
        scaled = (difference - low) / (high - low).clamp(min=torch.finfo(difference.dtype).tiny)
        frame = torch.arange(n_frames, device=frames.device, dtype=frames.dtype)
        last = torch.full_like(counts, self.points - 1)
        # back from points to frames, (B, P, 1) -> (B, frames)
        return _between(scaled[..., None], (frame + 0.5) / length * self.points - 0.5, last).squeeze(2)


class _SoftPosition(nn.Module):
    """Adds a linear map of the position and of its complement to one."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(2, features)

    def forward(self, course: Tensor) -> Tensor:
        time = torch.linspace(0, 1, course.shape[1], device=course.device, dtype=course.dtype)
        output: Tensor = course + self.embedding(torch.stack([time, 1 - time], dim=1))
        return output


class _ChannelSlots(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.slots_mu, self.slots_sigma = (nn.Parameter(torch.randn(1, 1, width).abs()) for _ in range(2))
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.gru = nn.GRUCell(width, width)
        hidden = max(width, 128)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm_input, self.norm_slots, self.norm_pre_ff = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, inputs: Tensor, noise: Tensor, iterations: int) -> Tensor:
        batch, _, width = inputs.shape
        slots = (self.slots_mu + self.slots_sigma * noise).expand(batch, -1, -1)
        inputs = self.norm_input(inputs)
        key, value = self.to_k(inputs), self.to_v(inputs)
        for _ in range(iterations):
            scores = torch.bmm(self.to_q(self.norm_slots(slots)), key.mT) * width**-0.5  # (B, 2, C)
            # Softmax over the two slots: they compete for each channel. The weighted mean over channels follows.
            shares = at_least_float32(scores).softmax(dim=1) + _EPSILON  # (B, 2, C)
            update = torch.bmm((shares / shares.sum(dim=2, keepdim=True)).to(value.dtype), value)
            slots = self.gru(update.flatten(0, 1), slots.flatten(0, 1).to(update.dtype)).view_as(update)
            slots = slots + self.fc2(F.relu(self.fc1(self.norm_pre_ff(slots))))
        return slots


def _encode(positions: Tensor) -> Tensor:
    """Fourier features of every axis in the order of the released code: sines, cosines, the position."""
    encoded = fourier_positions(positions.flatten(1), _BANDS, _MAX_FREQUENCY).unflatten(1, positions.shape[1:])
    return torch.cat([encoded[..., 1:], encoded[..., :1]], dim=-1).flatten(-2)


def _between(values: Tensor, places: Tensor, last: Tensor) -> Tensor:
    """Values ``(B, N, C)`` at places ``(B, M)``, straight between neighbours, constant beyond 0 and ``last``."""
    places = places.clamp(min=0).minimum(last[:, None].to(places.dtype))
    low = places.floor().long()
    high = (low + 1).minimum(last[:, None])
    share = (places - low).to(values.dtype)[..., None]

    def at(index: Tensor) -> Tensor:
        return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))

    return at(low) * (1 - share) + at(high) * share
