"""Loading of published weights of audio transformers.

Book page: ``attention_patterns``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import ConfigError
from .frequency_transformer import FrequencyTransformer
from .weights import compare_weights, read_weights, without_prefix

__all__ = ["LoadReport", "load_pretrained"]

log = logging.getLogger("audioattn")

_ANCHOR = "patch_embed.proj.weight"
_UNUSED = ("head_dist.weight", "head_dist.bias")
"""The second classifier: in every published checkpoint, and used by no forward pass."""


@dataclass(frozen=True)
class LoadReport:
    """Changes made to fit pretrained weights into a model, by names of parameters.

    Parameters
    ----------
    resized
        Embeddings that were cut or interpolated.
    replaced
        Parameters that stay as drawn: a classifier of other classes.
    added
        Parameters that the weights do not have, and what they start as a copy of.
    """

    resized: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


@torch.no_grad()
def load_pretrained(
    model: FrequencyTransformer, weights: str | Path | Mapping[str, Tensor], *, prefix: str | None = None
) -> LoadReport:
    """Load published weights into a model, and return the changes that were needed.

    - Embeddings of time longer than the model's are cut, as the published
      evaluation does; shorter ones, and those of frequency, are interpolated
      linearly.
    - A classifier of another number of classes stays as it was drawn.
    - More than two global tokens start as copies of CLS and DIST with noise of
      deviation 0.02, without which they would stay equal for ever.
    - Second branches start as copies of the first.
    - Image transformers (three colours, one table of positions): colours are
      added up; the table is resized to the grid and averaged over time for the
      embedding of frequency and over frequency for that of time.

    Parameters
    ----------
    model
        Is changed.
    weights
        A file for :func:`~audioattn_lib.models.weights.read_weights`, or tensors by name.
    prefix
        What stands before every name, such as ``"net."``; found where None.

    Raises
    ------
    ConfigError
        When names or sizes do not fit otherwise; the message lists them.

    Notes
    -----
    Koutini et al., Interspeech 2022, section 3, and the code released with it.
    Book page: ``attention_patterns``.
    """
    tensors = dict(weights) if isinstance(weights, Mapping) else read_weights(weights)
    tensors = _without_prefix(tensors, prefix)
    for name in _UNUSED:
        tensors.pop(name, None)
    resized, replaced, added = _fit(model, tensors)
    expected = model.state_dict()
    compared = compare_weights(expected, tensors)
    branches = [name for name in compared.missing if _is_branch(name)]
    problems = [f"missing: {name}" for name in compared.missing if name not in (*branches, *replaced)]
    problems += [f"unknown: {name}" for name in compared.unknown]
    problems += map(str, compared.mismatches)
    if problems:
        raise ConfigError(
            f"the weights do not fit the model in {len(problems)} parameters; check size, stride and patch:\n  "
            + "\n  ".join(problems)
        )
    model.load_state_dict(tensors, strict=False)
    if len(branches) == sum(map(_is_branch, expected)):
        model.copy_branches()
    report = LoadReport(tuple(resized), tuple(replaced), tuple(added + branches))
    log.info("weights read; resized %s; new %s", report.resized or "nothing", report.replaced or "nothing")
    return report


def _fit(model: FrequencyTransformer, weights: dict[str, Tensor]) -> tuple[list[str], list[str], list[str]]:
    resized: list[str] = []
    added: list[str] = []
    expected = model.state_dict()
    if "pos_embed" in weights:
        resized += _from_image(model, weights)
    first = weights.get(_ANCHOR)
    if first is not None and first.ndim == 4 and first.shape[1] == 3:
        weights[_ANCHOR] = first.sum(dim=1, keepdim=True)
        resized.append(_ANCHOR)
    for name, axis in (("time_new_pos_embed", 3), ("freq_new_pos_embed", 2)):
        if name in weights and weights[name].ndim == 4 and weights[name].shape[axis] != expected[name].shape[axis]:
            weights[name] = _resize(weights[name], axis, expected[name].shape[axis], may_cut=axis == 3)
            resized.append(name)
    if model.n_global > 2 and "cls_token" in weights:
        both = torch.cat([weights.pop("cls_token"), weights.pop("dist_token")], dim=1)
        for name, pair in (("global_tokens", both), ("new_pos_embed", weights["new_pos_embed"])):
            many = pair.repeat(1, model.n_global // 2, 1)
            many[:, 2:] += 0.02 * torch.randn_like(many[:, 2:])
            weights[name] = many
            added.append(name)
    replaced = []
    if "head.1.weight" in weights and len(weights["head.1.weight"]) != len(expected["head.1.weight"]):
        replaced = ["head.1.weight", "head.1.bias"]
    elif "head.weight" in weights:  # of an image transformer, whose classes are none of ours
        replaced = [name for name in expected if name.startswith("head.")]
        weights.pop("head.weight"), weights.pop("head.bias", None)
    for name in replaced:
        weights.pop(name, None)
    return resized, replaced, added


def _from_image(model: FrequencyTransformer, weights: dict[str, Tensor]) -> list[str]:
    table = weights.pop("pos_embed")
    n_global = 2 if "dist_token" in weights else 1
    side = round((table.shape[1] - n_global) ** 0.5)
    if side**2 != table.shape[1] - n_global or n_global != 2:
        raise ConfigError(
            f"pos_embed is {' x '.join(map(str, table.shape))}; it must hold two global tokens and a square of "
            "patches, as in distilled DeiT"
        )
    square = table[:, 2:].transpose(1, 2).unflatten(2, (side, side))
    whole = F.interpolate(square, (model.grid.rows, model.grid.columns), mode="bicubic", align_corners=False)
    weights["new_pos_embed"] = table[:, :2]
    weights["freq_new_pos_embed"] = whole.mean(dim=3, keepdim=True)
    weights["time_new_pos_embed"] = whole.mean(dim=2, keepdim=True)
    return ["new_pos_embed", "freq_new_pos_embed", "time_new_pos_embed"]


def _resize(table: Tensor, axis: int, size: int, *, may_cut: bool) -> Tensor:
    if may_cut and table.shape[axis] > size:
        return table.narrow(axis, 0, size)
    shape = list(table.shape[2:])
    shape[axis - 2] = size
    return F.interpolate(table, tuple(shape), mode="bilinear", align_corners=False)


def _without_prefix(weights: dict[str, Tensor], prefix: str | None) -> dict[str, Tensor]:
    if prefix is None:
        prefixes = sorted(name[: -len(_ANCHOR)] for name in weights if name.endswith(_ANCHOR))
        if not prefixes:
            some = ", ".join(list(weights)[:5])
            raise ConfigError(f"the weights have no {_ANCHOR}, as every transformer over patches has; they have {some}")
        if len(prefixes) > 1:
            names = ", ".join(map(repr, prefixes))
            raise ConfigError(f"the weights hold several networks; give prefix, one of {names} (--pretrained-prefix)")
        prefix = prefixes[0]
    return without_prefix(weights, prefix)


def _is_branch(name: str) -> bool:
    parts = name.split(".")
    return parts[0] in ("blocks_2", "norm_2") or "attn2" in parts or "norm1_2" in parts
