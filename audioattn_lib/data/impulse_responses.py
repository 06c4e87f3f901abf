"""Impulse responses of recording devices: read from a folder, or drawn.

They serve :func:`audioattn_lib.audio.augmentation.mixing.apply_impulse_responses`, which
records training clips with other devices.

Book page: ``data``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..audio import io
from ..core.errors import ConfigError
from .synthetic.corpus import random_numbers
from .synthetic.instruments import Device

__all__ = ["draw_impulse_responses", "read_impulse_responses"]

_LONGEST = 1.0


def read_impulse_responses(folder: str | Path, sample_rate: int) -> Float[Tensor, "devices taps"]:
    """Every sound in a folder (and below it) as the impulse response of a device, at one rate.

    Each is scaled to energy 1, so that white noise keeps its level, and padded
    with zeros; what is further than a second behind its beginning is cut off.

    Raises
    ------
    ConfigError
        When there is no such folder, it holds no sound, or a sound is silent.
    AudioError
        When a sound cannot be read.

    Notes
    -----
    Book page: ``data``.
    """
    folder = Path(folder)
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in io.EXTENSIONS)
    if not files:
        raise ConfigError(
            f"{folder}: no impulse responses; give a folder with one sound a device ({', '.join(io.EXTENSIONS)})"
        )
    sounds = [io.read(file, sample_rate)[0][: round(_LONGEST * sample_rate)] for file in files]
    for file, sound in zip(files, sounds, strict=True):
        if not np.any(sound):
            raise ConfigError(f"{file}: is silent, and no impulse response; take it out of the folder")
    padded = np.zeros((len(sounds), max(map(len, sounds))), dtype=np.float32)
    for row, sound in zip(padded, sounds, strict=True):
        row[: len(sound)] = sound / np.sqrt(np.sum(np.square(sound, dtype=np.float64)))
    return torch.from_numpy(padded)


def draw_impulse_responses(
    count: int, sample_rate: int, *, coloration: float = 8.0, taps: int = 512, seed: int = 0
) -> Float[Tensor, "devices taps"]:
    """Impulse responses of cheap devices that were never built, of energy 1.

    They are drawn as the devices of the synthetic orchestra are, and are none of
    these; on that corpus this is the best case of the augmentation.

    Parameters
    ----------
    count
        Devices, at least 1.
    sample_rate
        Hertz, at least 1000.
    coloration
        Deviation of their responses in dB, at least 0.
    taps
        Samples of each, at least 1.
    seed
        Another seed, other devices.

    Notes
    -----
    Book page: ``data``.
    """
    if count < 1:
        raise ConfigError(f"count is {count}; it must be at least 1")
    if taps < 1 or sample_rate < 1000 or coloration < 0:
        raise ConfigError(
            f"taps is {taps}, sample_rate {sample_rate}, coloration {coloration}; they must be at least 1, 1000 and 0"
        )
    drawn = [Device.draw(random_numbers(seed, "impulse response", number), coloration) for number in range(count)]
    responses = np.stack([device.impulse_response(taps, sample_rate) for device in drawn])
    responses /= np.sqrt(np.sum(responses**2, axis=1, keepdims=True))
    return torch.from_numpy(responses.astype(np.float32))
