"""Cost of listening again: the whole network against what its encoder and decoder alone take, and its front end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from audioattn_lib.audio.multi_resolution import MultiResolutionLogMel
from audioattn_lib.models.embedding import FrontEnd
from audioattn_lib.models.mvit import MViT
from audioattn_lib.models.playback import Playback
from audioattn_lib.models.playback_layers import PlaybackDecoder, SmallEncoder

from .harness import Case, Target

Work = dict[str, Callable[[], object]]

RATE, SECONDS, PLAYBACKS, CLASSES = 16_000, 10, 3, 527
SELECTIONS = ("slots", "energy")


def cases(device: str) -> list[Case]:
    """Everything that this module measures."""
    name = f"Playing back {PLAYBACKS} times (X{PLAYBACKS}), forward,"
    targets = [Target("slots", "ratio", 1.1), Target("front end", "ratio", 0.05)]
    reference = "encoder and decoder"
    return [
        Case(f"{name} 8 clips of {SECONDS} s, small encoder", partial(small, device), reference, targets, seconds=6),
        Case(f"{name} 1 clip of {SECONDS} s, MViTv2-T", partial(transformer, device), reference, targets, seconds=12),
    ]


def small(device: str) -> Work:
    """The encoder that a processor trains, at the default hops."""
    return _work(8, SmallEncoder(32, 24, 96), MultiResolutionLogMel(PLAYBACKS + 1, n_fft=256, n_mels=32), device)


def transformer(device: str) -> Work:
    """A transformer, at the published hops."""
    front = MultiResolutionLogMel(PLAYBACKS + 1, n_fft=512, win_length=320, hop_length=400, n_mels=128)
    return _work(1, MViT.preset("T"), front, device)


def _work(clips: int, encoder: FrontEnd, front: MultiResolutionLogMel, device: str) -> Work:
    """The network with each selection; its encoder and decoder alone and its front end alone, on the same numbers."""
    torch.manual_seed(0)
    sound = 0.1 * torch.randn(clips, RATE * SECONDS)
    sound = (sound * torch.rand(clips, SECONDS).repeat_interleave(RATE, dim=1)).to(device)
    work: Work = {}
    for selection in SELECTIONS:
        decoder = PlaybackDecoder(encoder.out_features, CLASSES, PLAYBACKS + 1)
        model = Playback(front, encoder, decoder, selection=selection, segment_seconds=1.25).to(device).eval()
        work[selection] = partial(_listen, model, sound)
        if selection == "slots":
            calls = _calls(model, sound)
            work["encoder and decoder"] = partial(_again, calls["encoder"] + calls["stages"])
            work["front end"] = partial(_again, calls["front"])
    return work


@torch.no_grad()
def _listen(model: Playback, sound: torch.Tensor) -> None:
    model(sound)


@torch.no_grad()
def _calls(model: Playback, sound: torch.Tensor) -> dict[str, list[tuple[Any, Any, Any]]]:
    """Every call of the encoder, of a stage of the decoder and of the front end in one pass, with what it was given."""
    calls: dict[str, list[tuple[Any, Any, Any]]] = {"encoder": [], "stages": [], "front": []}
    watched = {"encoder": [model.encoder], "stages": model.decoder.stages, "front": model.front.resolutions}
    hooks = []
    for name, modules in watched.items():
        for module in modules:  # type: ignore[attr-defined]

            def note(called: Any, args: Any, kwargs: Any, name: str = name) -> None:
                calls[name].append((called, args, kwargs))

            hooks.append(module.register_forward_pre_hook(note, with_kwargs=True))
    model(sound)
    for hook in hooks:
        hook.remove()
    return calls


@torch.no_grad()
def _again(calls: list[tuple[Any, Any, Any]]) -> None:
    for module, args, kwargs in calls:
        module(*args, **kwargs)
