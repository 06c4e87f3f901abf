"""Cost of the log-mel front end: a batch at once against librosa, clip after clip."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from audioattn_lib.audio._torchaudio import torchaudio
from audioattn_lib.audio.features.log_mel import LogMel

from .harness import Case, Target

Work = dict[str, Callable[[], object]]

RATE, N_FFT, HOP, N_MELS = 16_000, 400, 160, 80
CLIPS, SECONDS = 32, 4.0


def cases(device: str) -> list[Case]:
    """Everything that this module measures."""
    name = f"log-mel of {CLIPS} clips of"
    third = [Target("batched", "ratio", 1 / 3)]
    return [
        Case(f"{name} {SECONDS:g} s", partial(front_ends, device, False), "librosa", third, seconds=4),
        Case(f"{name} 0.5 to {SECONDS:g} s", partial(front_ends, device, True), "librosa", seconds=4),
        Case(f"normalisation of the {name} 0.5 to {SECONDS:g} s", partial(normalisations, device), "none"),
    ]


def front_ends(device: str, ragged: bool) -> Work:
    """The same features from librosa, from torchaudio and from here; checked to be the same first."""
    waves, lengths = sounds(ragged)
    batch, counts = torch.from_numpy(waves).to(device), torch.from_numpy(lengths).to(device)
    clips = [wave[:length] for wave, length in zip(waves, lengths, strict=True)]
    ours = LogMel.librosa_like(RATE, N_FFT, HOP, N_MELS).to(device)
    theirs = torchaudio()
    mel = theirs.transforms.MelSpectrogram(
        RATE, N_FFT, hop_length=HOP, n_mels=N_MELS, norm="slaney", mel_scale="slaney", pad_mode="constant"
    ).to(device)
    decibels = theirs.transforms.AmplitudeToDB(top_db=80.0)

    def each() -> list[NDArray[np.float32]]:
        return [logmel(clip) for clip in clips]

    features, n_frames = ours(batch, counts)
    for row, (expected, count) in enumerate(zip(each(), n_frames, strict=True)):
        # float32 keeps 1e-4 dB within 40 dB of the loudest; the test suite compares everything in float64
        loud = expected > expected.max() - 40
        error = np.abs(features[row, :count].cpu().numpy() - expected)[loud].max()
        if error > 1e-4:
            raise AssertionError(f"clip {row} differs from librosa by {error:.2g} dB")
    published = LogMel.published().to(device)
    return {
        "librosa": each,
        "batched": lambda: ours(batch, counts),
        "published front end, batched": lambda: published(batch, counts),
        "torchaudio, batched": lambda: decibels(mel(batch)[:, None]),
    }


def normalisations(device: str) -> Work:
    """Cost that each normalisation adds."""
    waves, lengths = sounds(ragged=True)
    batch, counts = torch.from_numpy(waves).to(device), torch.from_numpy(lengths).to(device)

    def work(front_end: LogMel) -> Callable[[], object]:
        return lambda: front_end(batch, counts)

    choices = (None, "mean", "median", "mean_variance")
    return {str(choice or "none"): work(LogMel(normalisation=choice).to(device)) for choice in choices}


def sounds(ragged: bool) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Noise with a tone in it, and the samples of each clip."""
    rng = np.random.default_rng(0)
    samples = round(SECONDS * RATE)
    tone = np.sin(2 * np.pi * rng.uniform(200, 4000, (CLIPS, 1)) * np.arange(samples) / RATE)
    waves = (0.1 * rng.standard_normal((CLIPS, samples)) + 0.2 * tone).astype(np.float32)
    lengths = rng.integers(RATE // 2, samples + 1, CLIPS) if ragged else np.full(CLIPS, samples)
    return waves, lengths.astype(np.int64)


def logmel(clip: NDArray[np.float32]) -> NDArray[np.float32]:
    """A loop over librosa, as in notebooks: decibels of each clip, shape ``(frames, bands)``."""
    power = librosa.feature.melspectrogram(y=clip, sr=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS)
    return np.asarray(librosa.power_to_db(power).T, dtype=np.float32)
