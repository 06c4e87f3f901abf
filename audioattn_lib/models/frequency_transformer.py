r"""A transformer over the patches of a spectrogram, with attention restricted over frequency.

``features (B, T, n_mels)`` -> patches ``(B, F' T', D)`` with embeddings of time
and frequency -> patchout (in training) -> global tokens in front -> layers, each
under an attention pattern -> mean of the global tokens ``(B, D)`` -> classifier.

Padding changes nothing: a column of patches that reaches into it is not there
for any other token.

Sources: Koutini et al., *Efficient training of audio transformers with
patchout*, Interspeech 2022; Mu, Xia and Che, *Improving domain generalization
for sound classification with sparse frequency-regularized transformer*, ICME
2023, and the code released with both.

Book page: ``attention_patterns``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from ..attention.patterns.names import AttentionPattern, PatchGrid, TwoBranches, parse_patterns
from ..attention.pooling.frames import Traced
from ..attention.record.record import AttentionRecord, FrameClock
from ..core.errors import ConfigError
from ..core.tensors import is_exporting
from .layers.common import frame_mask
from .layers.transformer import ARCHITECTURES, PRESETS, Arrangement, Block, Shape

__all__ = ["FrequencyTransformer"]


class FrequencyTransformer(nn.Module):
    r"""A transformer over patches, with a pattern of attention for each layer.

    Parameters
    ----------
    shape
        Sizes; one of :data:`~audioattn_lib.models.layers.transformer.PRESETS` or one's own.
    n_mels, n_classes
        Bands of the input and classes of the output, at least 1.
    max_frames
        Longest input in frames; it sets the size of the embedding of time.
    pattern
        A name for all layers, names joined by commas, or a pattern for each
        layer; see :func:`~audioattn_lib.attention.patterns.names.parse_patterns`.
        ``high_low_branch_v2`` is a pattern of all layers or of none.
    n_global
        Global tokens, an even number from 2: CLS and DIST, or as many pairs.
    patchout
        Patches left out in training, of any row and column.
    patchout_time, patchout_frequency
        Columns and rows left out in training.
    dropout
        Of what each layer adds, in [0, 1); 0 as published.
    alpha
        Of the map from scores to weights in every layer, alpha-entmax, at least
        1; 1 is softmax, as published. Above 1 most weights are exactly 0.
    clock, frequencies
        Time of the frames, and centre of the bands in hertz ``(n_mels,)``, for
        the record.

    Notes
    -----
    The record holds, for every layer and head, the mean weight with which the
    global tokens read each patch: ``maps``, on the grid of patches. Names of
    parameters are those of the published checkpoints, which
    :func:`audioattn_lib.models.pretrained.load_pretrained` reads; the second
    classifier of these checkpoints, which nothing uses, is not there.

    The same draw of patchout serves the whole batch, as published. Book page:
    ``attention_patterns``.
    """

    def __init__(
        self,
        shape: Shape,
        n_mels: int,
        n_classes: int,
        *,
        max_frames: int = 998,
        pattern: str | Sequence[AttentionPattern] = "dense",
        n_global: int = 2,
        patchout: int = 0,
        patchout_time: int = 0,
        patchout_frequency: int = 0,
        dropout: float = 0.0,
        alpha: float = 1.0,
        clock: FrameClock = FrameClock(),
        frequencies: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.n_mels, self.n_global = shape, n_mels, n_global
        self.grid = shape.grid(n_mels, max_frames)
        self.patterns = self._check_patterns(pattern)
        if n_global < 2 or n_global % 2:
            raise ConfigError(f"n_global is {n_global}; it must be an even number, at least 2")
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout is {dropout}; it must be in [0, 1)")
        if not 1 <= alpha < math.inf:
            raise ConfigError(f"alpha is {alpha}; it must be a finite number, at least 1 (1 is softmax)")
        self.alpha = alpha
        self.patchout, self.patchout_time, self.patchout_frequency = patchout, patchout_time, patchout_frequency
        self._check_patchout(self.grid)
        self.clock, self.frequencies = clock, frequencies
        width = shape.features
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, width, shape.patch, shape.stride)})
        if n_global == 2:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
            self.dist_token = nn.Parameter(torch.zeros(1, 1, width))
        else:
            self.global_tokens = nn.Parameter(torch.zeros(1, n_global, width))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, n_global, width))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, width, self.grid.rows, 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, width, 1, self.grid.columns))
        self.blocks = nn.ModuleList(Block(width, shape.heads, pattern, dropout) for pattern in self.patterns)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.has_streams = self.patterns[0].branches == "network"
        if self.has_streams:
            self.blocks_2 = nn.ModuleList(Block(width, shape.heads, pattern, dropout) for pattern in self.patterns)
            self.norm_2 = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, n_classes))
        self._initialise()

    @classmethod
    def preset(cls, name: str, n_mels: int, n_classes: int, **options: Any) -> FrequencyTransformer:
        """A network by the name of its size (``tiny``, ``small``, ``published``) or of a published architecture.

        Raises
        ------
        ConfigError
            When there is no such size; the message lists what there is.
        """
        if name in ARCHITECTURES:
            stride, frames = ARCHITECTURES[name]
            shape = dataclasses.replace(PRESETS["published"], stride=(stride, stride))
            return cls(shape, n_mels, n_classes, **{"max_frames": frames, **options})
        if name not in PRESETS:
            raise ConfigError(f"size is {name!r}; it must be one of {', '.join((*PRESETS, *ARCHITECTURES))}")
        return cls(PRESETS[name], n_mels, n_classes, **options)

    def forward(
        self,
        features: Float[Tensor, "batch frames mels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        record: bool = False,
    ) -> tuple[Float[Tensor, "batch classes"], AttentionRecord]:
        """Compute the logits of each clip, and the record of the global tokens if asked for."""
        tokens, arrangement = self.embed(features, lengths)  # (B, G + patches, D)
        maps: list[Tensor] | None = [] if record else None
        hidden = self._encode(tokens, arrangement, maps)  # (B, D)
        logits = self.head(hidden)
        if maps is None:
            return logits, AttentionRecord.empty()
        stacked = torch.stack(maps, dim=1)  # (B, depth, heads, patches)
        return logits, self._describe(stacked, arrangement)

    @property
    def frame_range(self) -> tuple[int, int | None]:
        """Fewest frames of a clip of an exported network, those of two columns of patches, and most."""
        patch, stride = self.shape.patch[1], self.shape.stride[1]
        return patch + stride, self.grid.columns * stride + patch - 1

    def trace(
        self, features: Float[Tensor, "batch frames mels"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Traced:
        """Compute the logits of each clip, and the fields of the record as tensors by name."""
        tokens, arrangement = self.embed(features, lengths)
        maps: list[Tensor] = []
        logits = self.head(self._encode(tokens, arrangement, maps))
        return logits, {"maps": torch.stack(maps, dim=1).unflatten(-1, (self.grid.rows, -1))}

    def embed(
        self, features: Float[Tensor, "batch frames mels"], lengths: Int[Tensor, " batch"] | None = None
    ) -> tuple[Float[Tensor, "batch tokens features"], Arrangement]:
        """Embed the patches as tokens, global tokens first, and return their grid.

        Raises
        ------
        ConfigError
            When the input is longer than the embedding of time, has other
            bands, or patchout leaves nothing of it.
        """
        if features.ndim != 3 or features.shape[2] != self.n_mels:
            raise ConfigError(f"features have shape {tuple(features.shape)}; they must be (B, frames, {self.n_mels})")
        mask = frame_mask(lengths, features.shape[1], features.device)
        if mask is not None:
            features = features.masked_fill(~mask[..., None], 0.0)
        patch, stride = self.shape.patch, self.shape.stride
        image = features.transpose(1, 2)[:, None]  # (B, 1, n_mels, T)
        if not is_exporting():  # there a clip has the frames of a patch at least
            image = nn.functional.pad(image, (0, max(patch[1] - features.shape[1], 0)))
        x = self.patch_embed["proj"](image)  # (B, D, rows, columns)
        grid = PatchGrid(x.shape[2], x.shape[3])
        if not is_exporting() and grid.columns > self.grid.columns:
            longest = (self.grid.columns - 1) * stride[1] + patch[1]
            raise ConfigError(
                f"the input has {features.shape[1]} frames; the embedding of time reaches {longest + stride[1] - 1}: "
                "cut the input, or build the model with a larger max_frames"
            )
        self._check_patchout(grid)
        spare = self.grid.columns - grid.columns
        first = int(torch.randint(spare + 1, ())) if self.training and spare else 0
        x = x + self.time_new_pos_embed[..., first : first + grid.columns] + self.freq_new_pos_embed
        x = x.flatten(2).transpose(1, 2)  # (B, rows * columns, D), row by row
        positions = self._draw(grid)
        if self.training and len(positions) < grid.size:
            x = x[:, positions.to(x.device)]
        if is_exporting():  # all of them, of any number of columns
            row, column = torch.meshgrid(torch.arange(grid.rows), torch.arange(grid.columns), indexing="ij")
            row, column = row.flatten(), column.flatten()
        else:
            row, column = positions // grid.columns, positions % grid.columns
        valid = None
        if mask is not None:
            assert lengths is not None
            columns = ((lengths.to(x.device) - patch[1]) // stride[1] + 1).clamp(min=1)
            valid = column.to(x.device) < columns[:, None]
            x = x * valid[..., None]  # what reaches into padding must stay finite, and is 0
        together = self._global() + self.new_pos_embed
        x = torch.cat([together.to(x.dtype).expand(x.shape[0], -1, -1), x], dim=1)
        # Patches are counted as in the longest input: who attends to whom must not depend on the longest of the batch.
        return x, Arrangement(self.grid, self.n_global, row * self.grid.columns + column, valid, x.device, self.alpha)

    @torch.no_grad()
    def rollout(
        self, features: Float[Tensor, "batch frames mels"], lengths: Int[Tensor, " batch"] | None = None
    ) -> AttentionRecord:
        r"""Compute the attention rollout from the patches to the global tokens, up to each layer.

        .. math:: R_l = \tfrac12\bigl(I + \bar A_l\bigr) R_{l-1}, \qquad R_0 = I

        with the mean :math:`\bar A_l` of the heads of layer :math:`l`. The
        record has one head; its last layer is the usual rollout. It follows
        attention and residuals, and ignores the MLPs.

        Notes
        -----
        Abnar and Zuidema, *Quantifying attention flow in transformers*, ACL
        2020, section 3.1. Book page: ``attention_patterns``.
        """
        tokens, arrangement = self.embed(features, lengths)
        if not self.has_streams:
            weights = self._roll(self.blocks, tokens, arrangement)
        else:
            parts, halves = self._streams(tokens, arrangement)
            stacks = (self.blocks, self.blocks_2)
            rolled = [self._roll(b, t, a) for b, t, a in zip(stacks, parts, halves, strict=True)]
            weights = torch.cat(rolled, dim=-1) / 2
        return self._describe(weights[:, :, None], arrangement)

    def multiply_adds(self, n_frames: int) -> int:
        r"""Multiply-adds of one clip of ``n_frames`` frames in the layers and the embedding of patches.

        :math:`12 D^2` for every token and layer, and the pairs of the pattern.
        """
        grid, width = self.shape.grid(self.n_mels, n_frames), self.shape.features
        tokens = grid.size + self.n_global
        embedding = grid.size * width * self.shape.patch[0] * self.shape.patch[1]
        linear = 12 * width**2 * tokens
        return embedding + sum(linear + p.multiply_adds(grid, width, self.n_global) for p in self.patterns)

    def _encode(self, tokens: Tensor, arrangement: Arrangement, maps: list[Tensor] | None) -> Tensor:
        if not self.has_streams:
            return self._run(self.blocks, self.norm, tokens, arrangement, maps)
        parts, halves = self._streams(tokens, arrangement)
        lower: list[Tensor] | None = None if maps is None else []
        upper: list[Tensor] | None = None if maps is None else []
        first = self._run(self.blocks, self.norm, parts[0], halves[0], lower)
        second = self._run(self.blocks_2, self.norm_2, parts[1], halves[1], upper)
        if maps is not None and lower is not None and upper is not None:
            maps += [torch.cat(pair, dim=-1) / 2 for pair in zip(lower, upper, strict=True)]
        return (first + second) / 2

    def _run(
        self,
        blocks: nn.ModuleList,
        norm: nn.Module,
        tokens: Tensor,
        arrangement: Arrangement,
        maps: list[Tensor] | None,
    ) -> Tensor:
        g = self.n_global
        for block in blocks:
            if maps is not None:
                weights = block.weights(tokens, arrangement, g)  # type: ignore[operator]
                maps.append(weights[..., g:].mean(dim=2))  # (B, heads, patches)
            tokens = block(tokens, arrangement)
        return norm(tokens[:, :g]).mean(dim=1)

    def _roll(self, blocks: nn.ModuleList, tokens: Tensor, arrangement: Arrangement) -> Tensor:
        n, g = tokens.shape[1], self.n_global
        rolled = torch.eye(n, device=tokens.device).expand(len(tokens), n, n)
        maps = []
        for block in blocks:
            mean = block.weights(tokens, arrangement).float().mean(dim=1)  # type: ignore[operator]
            rolled = (rolled + mean @ rolled) / 2
            maps.append(rolled[:, :g, g:].mean(dim=1))
            tokens = block(tokens, arrangement)
        return torch.stack(maps, dim=1)  # (B, depth, patches)

    def _streams(
        self, tokens: Tensor, arrangement: Arrangement
    ) -> tuple[tuple[Tensor, Tensor], tuple[Arrangement, Arrangement]]:
        halves, g = arrangement.halves, self.n_global
        cut = g + halves[0].positions.shape[0]
        return (tokens[:, :cut], torch.cat([tokens[:, :g], tokens[:, cut:]], dim=1)), halves

    def _draw(self, grid: PatchGrid) -> Tensor:
        """The patches that stay, in order; drawn on the host, so that devices agree."""
        if not self.training or not (self.patchout or self.patchout_time or self.patchout_frequency):
            return grid.positions()
        columns = torch.randperm(grid.columns)[self.patchout_time :].sort().values
        rows = torch.randperm(grid.rows)[self.patchout_frequency :].sort().values
        positions = (rows[:, None] * grid.columns + columns).flatten()
        return positions[torch.randperm(len(positions))[self.patchout :].sort().values]

    def _describe(self, maps: Tensor, arrangement: Arrangement) -> AttentionRecord:
        grid, positions = arrangement.grid, arrangement.positions.to(maps.device)
        whole = maps.new_zeros(*maps.shape[:3], grid.size)
        whole[..., positions] = maps.detach()
        shown = (positions % grid.columns + 1).expand(len(maps), -1)
        shown = shown if arrangement.valid is None else shown * arrangement.valid
        columns = shown.amax(dim=1).cpu().numpy().astype(np.int64)
        patch, stride = self.shape.patch, self.shape.stride
        period = self.clock.period
        frequencies = None
        if self.frequencies is not None:
            middle = np.arange(grid.rows) * stride[0] + (patch[0] - 1) / 2
            frequencies = np.interp(middle, np.arange(self.n_mels), np.asarray(self.frequencies))
        return AttentionRecord(
            mechanism=",".join(dict.fromkeys(str(pattern) for pattern in self.patterns)),
            clock=FrameClock(stride[1] * period, self.clock.start + (patch[1] - stride[1]) / 2 * period),
            n_frames=columns,
            maps=whole.unflatten(-1, (grid.rows, grid.columns))[..., : columns.max()].float().cpu().numpy(),
            frequencies=frequencies,
        )

    def _global(self) -> Tensor:
        return torch.cat([self.cls_token, self.dist_token], dim=1) if self.n_global == 2 else self.global_tokens

    def _check_patterns(self, pattern: str | Sequence[AttentionPattern]) -> tuple[AttentionPattern, ...]:
        depth = self.shape.depth
        patterns = parse_patterns(pattern, depth) if isinstance(pattern, str) else tuple(pattern)
        if len(patterns) != depth:
            raise ConfigError(f"there are {len(patterns)} patterns; each of the {depth} layers needs one")
        streams = {layer_pattern.branches == "network" for layer_pattern in patterns}
        if len(streams) > 1:
            raise ConfigError(f"{TwoBranches(streams=True)} makes two networks; give it to all layers or to none")
        for layer_pattern in patterns:
            layer_pattern.check(self.grid)
        return patterns

    def _check_patchout(self, grid: PatchGrid) -> None:
        for name in ("patchout", "patchout_time", "patchout_frequency"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 0")
        left = (grid.rows - self.patchout_frequency, grid.columns - self.patchout_time)
        if self.training and (min(left) < 1 or left[0] * left[1] <= self.patchout):
            raise ConfigError(
                f"patchout of {self.patchout_frequency} rows, {self.patchout_time} columns and {self.patchout} patches "
                f"leaves nothing of a grid of {grid.rows} x {grid.columns}; leave out less"
            )

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 2 or "token" in name or "pos_embed" in name:
                nn.init.trunc_normal_(parameter, std=0.02)
        self.copy_branches()

    def copy_branches(self) -> None:
        """The second branch starts as a copy of the first."""
        for block in self.blocks:
            if isinstance(block, Block) and block.attn2 is not None and block.norm1_2 is not None:
                block.attn2.load_state_dict(block.attn.state_dict())
                block.norm1_2.load_state_dict(block.norm1.state_dict())
        if self.has_streams:
            self.blocks_2.load_state_dict(self.blocks.state_dict())
            self.norm_2.load_state_dict(self.norm.state_dict())
