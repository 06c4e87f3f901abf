"""Pretrained encoders of Hugging Face's ``transformers``, read from a folder, the cache or the hub.

Book page: ``bring_your_own_model``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from audioattn_lib.core.errors import ConfigError

from .known_models import KNOWN_MODELS
from .libraries import import_transformers

__all__ = ["WHISPER", "PretrainedEncoder", "load_encoder"]

WHISPER = "whisper"


class PretrainedEncoder(NamedTuple):
    """Type of a model, its network (of Whisper the encoder) in evaluation mode, and what prepares its input.

    ``whole`` is the network with all that the folder holds: of Whisper with its decoder, if it has one.
    """

    kind: str
    network: nn.Module
    extractor: Any
    whole: nn.Module


def load_encoder(name: str | Path, model_type: str = "auto", device: str = "cpu") -> PretrainedEncoder:
    """Load a pretrained network from a local folder, or by its identifier on the hub of Hugging Face.

    Weights are read from safetensors alone, and no code of the hub is run.

    Parameters
    ----------
    name
        Folder with ``config.json``, ``model.safetensors`` and ``preprocessor_config.json``, or an identifier such as
        ``facebook/wav2vec2-base``, which is downloaded unless it is in the cache of ``transformers``.
    model_type
        One of :data:`~audioattn_lib.inspection.known_models.KNOWN_MODELS`; ``auto`` reads it from the configuration.
    device
        Where to compute, a name that PyTorch knows.

    Raises
    ------
    ConfigError
        When ``transformers`` is not installed, nothing is found, the type is not known, or there are no safe weights.

    Notes
    -----
    Book page: ``bring_your_own_model``.
    """
    if model_type != "auto" and model_type not in KNOWN_MODELS:
        raise ConfigError(f"model_type is {model_type!r}; it must be auto or one of {', '.join(KNOWN_MODELS)}")
    library = import_transformers()
    where = str(name)
    if Path(where).exists() and not (Path(where) / "config.json").is_file():
        raise ConfigError(f"{where}: holds no config.json; name a folder that save_pretrained wrote")
    try:
        config = (library.AutoConfig if model_type == "auto" else library.CONFIG_MAPPING[model_type]).from_pretrained(
            where
        )
        kind = config.model_type
        if kind not in KNOWN_MODELS:
            raise ConfigError(
                f"{where} is of model type {kind!r}; known are {', '.join(KNOWN_MODELS)}: capture another one with "
                "audioattn_lib.capture"
            )
        model_class = getattr(library, (config.architectures or [""])[0] or "AutoModel", library.AutoModel)
        model = (
            model_class.from_pretrained(where, config=config, use_safetensors=True, dtype=torch.float32)
            .eval()
            .to(device)
        )
        extractor = library.AutoFeatureExtractor.from_pretrained(where)
    except ConfigError:
        raise
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{where}: no network could be read from a folder of this name, the cache or the hub ({reason}); "
            "give a local folder with config.json, model.safetensors and preprocessor_config.json, or download it first"
        ) from error
    encoder = model.get_encoder() if kind == WHISPER and hasattr(model, "get_encoder") else model
    encoder = getattr(model, "encoder", encoder) if kind == WHISPER and encoder is model else encoder
    return PretrainedEncoder(kind, encoder, extractor, model)
