r"""Attention under a pattern, computed on the pairs that the pattern allows.

A pattern gives every patch one range of keys (:mod:`.patterns`). Consecutive
patches with the same range are attended to together, with the keys of that
range and those of the global tokens: each such block is an ordinary attention,
:math:`\mathrm{softmax}(q k^\top / \sqrt{d})\,v`, run by PyTorch's fused kernel.
No table of all pairs is ever made for groups of rows, also where patchout or
padding makes them ragged.

Bands are run by blocks, or, where that would cost more, over all keys with a
mask; on CUDA by FlexAttention with a mask of blocks. All ways give the same
result.

Source of the block-wise computation: Mu, Xia and Che, ICME 2023, section 2.3.

Book page: ``attention_patterns``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError
from .patterns import AttentionPattern, PatchGrid, Positions

__all__ = ["KERNELS", "AttentionPlan", "Block"]

KERNELS = ("auto", "blocks", "masked", "flex")
"""Ways to run a pattern; ``auto`` chooses."""

Heads = Float[Tensor, "batch heads tokens features"]

_SHORT = 32
"""Runs of fewer patches with one range, on average, are joined to blocks with a mask."""
_QUERIES = 256
"""Queries of such a block: a fused kernel on a CPU wants about that many at once."""
_WORTH = 0.6
"""Blocks of their own pay where they need less than this share of all pairs: each copies its keys."""


@dataclass(frozen=True)
class Block:
    """Queries ``[first, last)`` that read the keys ``[start, stop)``, all of them unless there is a mask.

    Indices count the patches that are there, without the global tokens.
    """

    first: int
    last: int
    start: int
    stop: int
    mask: Bool[Tensor, "queries keys"] | None = None


class AttentionPlan:
    """How to run one pattern on one arrangement of tokens; made once for all layers and heads of a pass.

    Parameters
    ----------
    pattern
        Which patch attends to which.
    grid
        Rows and columns of the patches.
    n_global
        Global tokens in front, at least 1.
    positions
        The patches that are there, in increasing order, shared by the batch; all by default.
    valid
        False on the patches that are padding, ``(B, patches)``: nothing attends
        to them. None: there is no padding.
    device
        Where the attention will run.
    kernel
        ``"auto"``; or ``"blocks"``, ``"masked"`` (all pairs, with a mask), or
        ``"flex"`` (FlexAttention, compiled on CUDA).

    Raises
    ------
    ConfigError
        When the pattern does not fit the grid, or nothing is left to attend to.

    Notes
    -----
    Calling a plan with query, key and value ``(B, heads, tokens, d)`` gives the
    context, of the same shape. Global tokens come first. What padding holds
    must be finite. Book page: ``attention_patterns``.
    """

    def __init__(
        self,
        pattern: AttentionPattern,
        grid: PatchGrid,
        n_global: int = 2,
        *,
        positions: Positions | None = None,
        valid: Bool[Tensor, "batch patches"] | None = None,
        device: torch.device | str = "cpu",
        kernel: str = "auto",
    ) -> None:
        if n_global < 1:
            raise ConfigError(f"n_global is {n_global}; a pattern needs at least 1 global token to join its parts")
        if kernel not in KERNELS:
            raise ConfigError(f"kernel is {kernel!r}; it must be one of {', '.join(KERNELS)}")
        pattern.check(grid)
        positions = grid.positions() if positions is None else positions.cpu()
        if not len(positions):
            raise ConfigError("no patch is left to attend to; patchout must leave at least one")
        self.pattern, self.grid, self.n_global = pattern, grid, n_global
        self.positions = positions
        self.n_tokens = n_global + len(positions)
        self.device = torch.device(device)
        self.valid = None
        if valid is not None:
            seen = torch.ones(len(valid), n_global, dtype=torch.bool, device=self.device)
            self.valid = torch.cat([seen, valid.to(self.device)], dim=1)  # (B, tokens)
        self._bias: dict[torch.dtype, Tensor] = {}
        self.start, self.stop = (torch.searchsorted(positions, bound) for bound in pattern.windows(positions, grid))
        self.kernel = self._choose(kernel)

    def _choose(self, kernel: str) -> str:
        if kernel != "auto":
            if kernel != "masked" and self._has_bias:
                raise ConfigError(f"kernel is {kernel!r}, and {self.pattern} has a price for every pair; use 'masked'")
            return kernel
        if self._has_bias or self._is_dense:
            return "masked"
        if self._is_partition:
            return "blocks"
        if self.device.type == "cuda":
            return "flex"
        patches = len(self.positions)
        pairs = sum((block.last - block.first) * (block.stop - block.start) for block in self.blocks)
        return "blocks" if pairs < _WORTH * patches**2 else "masked"

    @cached_property
    def _has_bias(self) -> bool:
        return self.pattern.bias(self.positions[:1], self.grid) is not None

    @cached_property
    def _is_dense(self) -> bool:
        return bool((self.start == 0).all()) and bool((self.stop == len(self.positions)).all())

    @cached_property
    def _runs(self) -> tuple[Tensor, Tensor]:
        """Ranges ``(2, runs)`` of consecutive patches with one range, and the number of these patches ``(runs,)``."""
        bounds = torch.stack([self.start, self.stop])
        ranges, counts = torch.unique_consecutive(bounds, dim=1, return_counts=True)
        return ranges, counts

    @cached_property
    def _is_partition(self) -> bool:
        """True where ranges do not overlap, so that each run reads itself."""
        start, stop = self._runs[0]
        return bool((start[1:] == stop[:-1]).all())

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """What is attended to together, in the order of the queries.

        Runs of patches with one range need no mask. Ranges that differ from
        patch to patch are taken in blocks of queries, masked where they differ.
        """
        ranges, counts = self._runs
        if self._is_partition or len(counts) * _SHORT <= len(self.positions):
            ends = counts.cumsum(0)
            found = zip((ends - counts).tolist(), ends.tolist(), *ranges.tolist(), strict=True)
            return tuple(Block(*one) for one in found)
        blocks = []
        for first in range(0, len(self.positions), _QUERIES):
            start, stop = self.start[first : first + _QUERIES], self.stop[first : first + _QUERIES]
            low, high = int(start.min()), int(stop.max())
            keys = torch.arange(low, high)
            mask = (keys >= start[:, None]) & (keys < stop[:, None])
            blocks.append(Block(first, first + len(start), low, high, mask.to(self.device)))
        return tuple(blocks)

    def __call__(self, query: Heads, key: Heads, value: Heads) -> Heads:
        """Context of every token, ``(B, heads, tokens, d)``."""
        if query.shape[2] != self.n_tokens:
            raise ValueError(
                f"there are {query.shape[2]} tokens; this plan is for {self.n_tokens}, of which {self.n_global} global"
            )
        if self.kernel == "blocks":
            return self._run_blocks(query, key, value)
        if self.kernel == "flex":
            return self._run_flex(query, key, value)
        return self._run_masked(query, key, value)

    def weights(
        self, query: Heads, key: Heads, *, queries: int | None = None
    ) -> Float[Tensor, "batch heads queries n"]:
        """Weights of the first ``queries`` tokens (all by default) on every token, in at least float32; for records.

        Rows sum to 1; weights are 0 where the pattern or padding forbids a pair.
        """
        dtype = torch.promote_types(query.dtype, torch.float32)
        query = query[:, :, :queries].to(dtype)
        scores = query @ key.to(dtype).transpose(-1, -2) * query.shape[-1] ** -0.5
        rows = slice(0, query.shape[2])
        if self._has_bias:
            scores = scores + self._bias_table(dtype)[rows]
        elif not self._is_dense:
            scores = scores.masked_fill(~self._mask[rows], -torch.inf)
        if self.valid is not None:
            scores = scores.masked_fill(~self.valid[:, None, None], -torch.inf)
        return scores.softmax(-1)

    def _run_masked(self, query: Heads, key: Heads, value: Heads) -> Heads:
        if self._has_bias:
            # A price of 0.01 is lost in half precision, so this one is computed in float32.
            dtype = torch.promote_types(query.dtype, torch.float32)
            bias = self._bias_table(dtype)
            if self.valid is not None:
                bias = bias.masked_fill(~self.valid[:, None, None], -torch.inf)
            return _attend(query.to(dtype), key.to(dtype), value.to(dtype), bias).to(query.dtype)
        mask = None if self._is_dense else self._mask
        if self.valid is not None:
            seen = self.valid[:, None, None]
            mask = seen if mask is None else mask & seen
        return _attend(query, key, value, mask)

    def _run_blocks(self, query: Heads, key: Heads, value: Heads) -> Heads:
        g = self.n_global
        seen = None if self.valid is None else self.valid[:, None, None]
        parts = [_attend(query[:, :, :g], key, value, seen)]
        blocks = self.blocks
        sizes = {(b.last - b.first, b.stop - b.start) for b in blocks}
        if self._is_partition and len(blocks) > 1 and len(sizes) == 1:
            parts.append(self._run_equal(query, key, value, len(blocks)))
        else:
            for block in blocks:
                keys, values = (_with_global(x, g, block.start, block.stop) for x in (key, value))
                mask = None
                if block.mask is not None:
                    mask = F.pad(block.mask, (g, 0), value=True)
                if self.valid is not None:
                    valid = torch.cat([self.valid[:, :g], self.valid[:, g + block.start : g + block.stop]], dim=1)
                    mask = valid[:, None, None] if mask is None else mask & valid[:, None, None]
                parts.append(_attend(query[:, :, g + block.first : g + block.last], keys, values, mask))
        return torch.cat(parts, dim=2)

    def _run_equal(self, query: Heads, key: Heads, value: Heads, count: int) -> Heads:
        """Groups of one size as heads of one call: small calls waste what a fused kernel gains."""
        g = self.n_global
        batch, heads, _, d = query.shape

        def grouped(x: Tensor) -> Tensor:
            own = x[:, :, g:].unflatten(2, (count, -1))  # (B, heads, count, size, d)
            shared = x[:, :, None, :g].expand(-1, -1, count, -1, -1)
            return torch.cat([shared, own], dim=3).flatten(0, 1)  # (B * heads, count, g + size, d)

        mask = None
        if self.valid is not None:
            own = self.valid[:, g:].unflatten(1, (count, -1))
            mask = F.pad(own, (g, 0), value=True)[:, None].expand(-1, heads, -1, -1).flatten(0, 1)[:, :, None]
        queries = query[:, :, g:].unflatten(2, (count, -1)).flatten(0, 1)
        return _attend(queries, grouped(key), grouped(value), mask).view(batch, heads, -1, d)

    def _run_flex(self, query: Heads, key: Heads, value: Heads) -> Heads:
        return _flex(query.device.type == "cuda")(query, key, value, block_mask=self._block_mask)

    @cached_property
    def _block_mask(self) -> Any:
        from torch.nn.attention.flex_attention import create_block_mask

        g = self.n_global
        everything = self.n_tokens
        # A global token's range is everything, and every token's range has the global tokens.
        bounds = (
            F.pad(self.start + g, (g, 0), value=0).to(self.device),
            F.pad(self.stop + g, (g, 0), value=everything).to(self.device),
        )
        valid = self.valid

        def allowed(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            pair = ((k >= bounds[0][q]) & (k < bounds[1][q])) | (k < g)
            return pair if valid is None else pair & valid[b, k]

        batch = None if valid is None else len(valid)
        return create_block_mask(allowed, batch, None, everything, everything, device=str(self.device))

    @cached_property
    def _mask(self) -> Bool[Tensor, "tokens tokens"]:
        return self.pattern.mask(self.grid, self.n_global, self.positions).to(self.device)

    def _bias_table(self, dtype: torch.dtype) -> Float[Tensor, "tokens tokens"]:
        if dtype not in self._bias:
            price = self.pattern.bias(self.positions, self.grid)
            assert price is not None
            g = self.n_global
            self._bias[dtype] = F.pad(price, (g, 0, g, 0)).to(self.device, dtype)
        return self._bias[dtype]


def _with_global(x: Tensor, g: int, start: int, stop: int) -> Tensor:
    """Global tokens and the patches ``[start, stop)``; no copy where they are neighbours."""
    if start == 0:
        return x[:, :, : g + stop]
    return torch.cat([x[:, :, :g], x[:, :, g + start : g + stop]], dim=2)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


@cache
def _flex(compiled: bool) -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    run: Any = torch.compile(flex_attention, dynamic=False) if compiled else flex_attention
    return run
