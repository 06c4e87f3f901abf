r"""Attention under a pattern, computed on the pairs that the pattern allows.

A pattern gives every patch one range of keys (:mod:`.patterns`). Consecutive
patches with the same range are attended to together, with the keys of that
range and those of the global tokens: each such block is an ordinary attention,
:math:`\mathrm{softmax}(q k^\top / \sqrt{d})\,v`, run by PyTorch's fused kernel, or
the same with alpha-entmax (:mod:`.dot_product`).
No table of all pairs is ever made for groups of rows, also where patchout or
padding makes them ragged.

Bands are run by blocks, or, where that would cost more, over all keys with a
mask; on CUDA, for softmax, by FlexAttention with a mask of blocks. All ways give the same
result.

Source of the block-wise computation: Mu, Xia and Che, ICME 2023, section 2.3.

Book page: ``attention_patterns``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from audioattn_lib.core.errors import ConfigError

from ..maps._checks import check_alpha
from ..maps.entmax import entmax
from .dot_product import attend
from .grid import AttentionPattern, PatchGrid, Positions

__all__ = ["KERNELS", "AttentionPlan", "Block"]

KERNELS = ("auto", "blocks", "masked", "flex")
"""Backends of a pattern; ``auto`` selects one."""

Heads = Float[Tensor, "batch heads tokens features"]

_QUERIES = 256
"""Queries of a block where ranges overlap: a fused kernel on a CPU is fastest with about as many."""
_WORTH = 0.8
"""Largest share of all pairs for which blocks are used: each block copies its keys."""


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
    """Execution plan of one pattern on one arrangement of tokens; shared by all layers and heads of a forward pass.

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
    alpha
        Of the map from scores to weights, alpha-entmax, at least 1; 1 is softmax.
    device
        Where the attention will run.
    kernel
        ``"auto"``; or ``"blocks"``, ``"masked"`` (all pairs, with a mask), or
        ``"flex"`` (FlexAttention, compiled on CUDA; softmax only).

    Raises
    ------
    ConfigError
        When the pattern does not fit the grid, nothing is left to attend to, or
        the kernel has no such map.

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
        alpha: float = 1.0,
        device: torch.device | str = "cpu",
        kernel: str = "auto",
    ) -> None:
        if n_global < 1:
            raise ConfigError(f"n_global is {n_global}; a pattern needs at least 1 global token to join its parts")
        if kernel not in KERNELS:
            raise ConfigError(f"kernel is {kernel!r}; it must be one of {', '.join(KERNELS)}")
        check_alpha(alpha)
        pattern.check(grid)
        positions = grid.positions() if positions is None else positions.cpu()
        if not len(positions):
            raise ConfigError("no patch is left to attend to; patchout must leave at least one")
        self.pattern, self.grid, self.n_global, self.alpha = pattern, grid, n_global, alpha
        self.positions = positions
        self.n_tokens = n_global + len(positions)
        self.device = torch.device(device)
        self.valid = None
        if valid is not None:
            seen = torch.ones(len(valid), n_global, dtype=torch.bool, device=self.device)
            self.valid = torch.cat([seen, valid.to(self.device)], dim=1)  # (B, tokens)
        self._bias: dict[torch.dtype, Tensor] = {}
        # Ranges as indices of the patches that are there, (patches,) each: patchout and padding only shift them.
        self.start, self.stop = (torch.searchsorted(positions, bound) for bound in pattern.windows(positions, grid))
        self.kernel = self._choose(kernel)

    def _choose(self, kernel: str) -> str:
        if kernel != "auto":
            if kernel != "masked" and self._has_bias:
                raise ConfigError(f"kernel is {kernel!r}, and {self.pattern} has a price for every pair; use 'masked'")
            if kernel == "flex" and self.alpha != 1:
                raise ConfigError(f"kernel is 'flex' and alpha {self.alpha:g}; it knows softmax, alpha 1: use 'auto'")
            return kernel
        if self._has_bias or self._is_dense:  # every pair is needed
            return "masked"
        if self._is_partition:
            return "blocks"
        if self.device.type == "cuda" and self.alpha == 1:
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
        """Blocks of queries that share a range of keys, in the order of the queries.

        Groups need no mask. Where ranges overlap, queries are taken in blocks
        and masked where their ranges differ.
        """
        ranges, counts = self._runs
        if self._is_partition:
            ends = counts.cumsum(0)
            bounds = zip((ends - counts).tolist(), ends.tolist(), *ranges.tolist(), strict=True)
            return tuple(Block(*bound) for bound in bounds)
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
        contexts = self.parts(query, key, value)
        if len(contexts) == 1:
            return contexts[0]
        # The fused kernel leaves the heads of a token side by side, as the projection that follows wants them.
        return torch.cat([context.transpose(1, 2) for context in contexts], dim=1).transpose(1, 2)

    def parts(self, query: Heads, key: Heads, value: Heads) -> list[Heads]:
        """The same in parts that follow each other, as they were computed.

        What comes next for each token by itself is best done to each part: joined first, a second copy is kept for the
        gradient.
        """
        if query.shape[2] != self.n_tokens:
            raise ValueError(
                f"there are {query.shape[2]} tokens; this plan is for {self.n_tokens}, of which {self.n_global} global"
            )
        if self.kernel == "blocks":
            return self._run_blocks(query, key, value)
        return [(self._run_flex if self.kernel == "flex" else self._run_masked)(query, key, value)]

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
        return entmax(scores, self.alpha)

    def _run_masked(self, query: Heads, key: Heads, value: Heads) -> Heads:
        if self._has_bias:
            # A price of 0.01 is lost in half precision, so this one is computed in float32.
            dtype = torch.promote_types(query.dtype, torch.float32)
            inputs = (x.to(dtype) for x in (query, key, value))
            context = attend(*inputs, alpha=self.alpha, mask=self._bias_table(dtype), valid=self.valid)
            return context.to(query.dtype)
        mask = None if self._is_dense else self._mask
        return attend(query, key, value, alpha=self.alpha, mask=mask, valid=self.valid)

    def _run_blocks(self, query: Heads, key: Heads, value: Heads) -> list[Heads]:
        g = self.n_global
        blocks = self.blocks
        seen = None if self.valid is None else self.valid[:, None, None]
        # Global tokens attend to all tokens; queries of a block to the global tokens and the keys of its range.
        # Splitting once is cheaper than slicing: the gradients of the parts are joined, not added up over all tokens.
        queries = query.split([g, *(block.last - block.first for block in blocks)], dim=2)
        parts = [attend(queries[0], key, value, alpha=self.alpha, mask=seen)]
        for block, own, keys, values in zip(
            blocks, queries[1:], self._keys_of_blocks(key), self._keys_of_blocks(value), strict=True
        ):
            # (queries, g + keys): all queries see the global tokens
            mask = None if block.mask is None else F.pad(block.mask, (g, 0), value=True)
            valid = self.valid
            if valid is not None:
                valid = torch.cat([valid[:, :g], valid[:, g + block.start : g + block.stop]], dim=1)
            parts.append(attend(own, keys, values, alpha=self.alpha, mask=mask, valid=valid))
        return parts

    def _keys_of_blocks(self, x: Tensor) -> Iterator[Tensor]:
        """For each block the global tokens and its keys."""
        g = self.n_global
        if self._is_partition:
            # the first has them in front of it as it is, and needs no copy
            first, *own = x.split([g + self.blocks[0].stop, *(b.stop - b.start for b in self.blocks[1:])], dim=2)
            yield first
            yield from (torch.cat([first[:, :, :g], keys], dim=2) for keys in own)
        else:
            for block in self.blocks:
                yield torch.cat([x[:, :, :g], x[:, :, g + block.start : g + block.stop]], dim=2)

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
            price = self.pattern.bias(self.positions, self.grid, dtype)
            assert price is not None
            g = self.n_global
            self._bias[dtype] = F.pad(price, (g, 0, g, 0)).to(self.device, dtype)
        return self._bias[dtype]


@cache
def _flex(compiled: bool) -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    run: Any = torch.compile(flex_attention, dynamic=False) if compiled else flex_attention
    return run
