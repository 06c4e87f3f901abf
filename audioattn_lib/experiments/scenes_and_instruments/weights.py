"""Initial weights of the networks of the chapter on scenes and instruments: from runs, from PaSST, or random.

Book page: ``scenes_published``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from audioattn_lib.models.ensemble import Ensemble
from audioattn_lib.models.frequency_transformer import FrequencyTransformer
from audioattn_lib.models.layers.input_scaling import Scaled
from audioattn_lib.models.pretrained import load_pretrained
from audioattn_lib.models.weights import Transfer

from ..common.initial_weights import Origin, check_complete, files_of, read_origin, select_part, start_from
from .config import Config
from .corpus import Prepared
from .training import fit_scaling

__all__ = ["start_networks"]

log = logging.getLogger("audioattn")

_HEADS = ("network.head.", "network.classify.convolution.", "network.last_norm.")
"""Tensors with a row for each class."""
_OF_WEIGHTS = (
    *("pattern", "attention_alpha", "n_global", "band_normalization", "front_end", "sample_rate", "n_mels"),
    "hop_seconds",
)
"""Fields that weights were trained with and need for their evaluation."""


def start_networks(model: Scaled | Ensemble, config: Config, prepared: Prepared) -> None:
    """Put the weights that a configuration names into its networks, and scale their input.

    The scaling that a network was trained with belongs to its weights and stays. Where the weights hold none, as those
    of other programs, the input is scaled as the published networks expect it or by the training clips.

    Raises
    ------
    ConfigError
        When weights do not fit; the message says what.
    """
    files = [str(file) for file in files_of(config.pretrained)]
    sources = [name.strip() for name in config.pretrained.split(",") if name.strip()]
    networks = [each for each in model.networks if isinstance(each, Scaled)] if isinstance(model, Ensemble) else [model]
    if len(files) == 1 and len(networks) > 1:  # weights of the ensemble as a whole
        origin = _current(read_origin(sources[0], config.pretrained_prefix))
        heads = {f"networks.{i}.{head}": 0 for i in range(len(networks)) for head in _HEADS}
        loaded = _start(model, origin, config, prepared, heads)
        for place, network in enumerate(networks):
            if f"networks.{place}.scaling.mean" not in loaded:
                fit_scaling(network.scaling, config, prepared)
        return
    for place, network in enumerate(networks):
        if not files:
            fit_scaling(network.scaling, config, prepared)
            continue
        origin = _current(read_origin(sources[place], ""))
        if origin.config or "scaling.mean" in origin.tensors or not isinstance(network.network, FrequencyTransformer):
            if config.pretrained_prefix:
                origin = read_origin(sources[place], config.pretrained_prefix)
            loaded = _start(network, origin, config, prepared, dict.fromkeys(_HEADS, 0))
        else:
            _start_published(network, origin, config, prepared)
            loaded = ()
        if "scaling.mean" not in loaded:
            fit_scaling(network.scaling, config, prepared)
            fixed = config.front_end == "published" and config.band_normalization in ("none", "clip")
            whose = "that of the published networks" if fixed else "that of the training clips"
            log.warning("%s: gives no scaling of the input; %s is taken", sources[place], whose)


def _start(
    model: Scaled | Ensemble, origin: Origin, config: Config, prepared: Prepared, heads: Mapping[str, int]
) -> tuple[str, ...]:
    encoder = [name for name in model.state_dict() if not name.startswith(tuple(heads))]
    classes = prepared.manifest.classes
    return start_from(model, config, classes, origin, encoder=encoder, heads=heads, same=_OF_WEIGHTS).taken


@torch.no_grad()
def _start_published(network: Scaled, origin: Origin, config: Config, prepared: Prepared) -> None:
    """Weights of other programs, whose classes have no names."""
    inner = network.network
    assert isinstance(inner, FrequencyTransformer)
    encoder = [name for name in inner.state_dict() if not name.startswith("head.")]
    selected = set(select_part(inner, config.pretrained_part, encoder))
    before = {name: tensor.clone() for name, tensor in inner.state_dict().items() if name not in selected}
    report = load_pretrained(inner, origin.tensors, prefix=config.pretrained_prefix or None)
    inner.load_state_dict(before, strict=False)
    drawn = (*report.replaced, *before)
    loaded = tuple(name for name in inner.state_dict() if name not in drawn)
    check_complete(origin, config, Transfer(loaded, drawn), prepared.manifest.classes)
    if not report.replaced and config.pretrained_part != "encoder":
        log.warning(
            "%s: does not name its classes; they are taken in this order: %s",
            origin.source,
            ", ".join(prepared.manifest.classes),
        )


def _current(origin: Origin) -> Origin:
    """Of a network with an average of its weights, those that its run was tested with."""
    if not {"updates", "averaged"} <= origin.tensors.keys():
        return origin
    used = "average." if int(origin.tensors["averaged"]) else "network."
    tensors: dict[str, Tensor] = {
        name.removeprefix(used): tensor for name, tensor in origin.tensors.items() if name.startswith(used)
    }
    return Origin(origin.source, tensors, origin.experiment, origin.config, origin.classes, origin.more)
