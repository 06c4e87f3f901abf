"""Cost of listening again: the whole network against what its encoder and decoder alone take, and its front end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import torch

from audioattn_lib.audio.features.multi_resolution import MultiResolutionLogMel
from audioattn_lib.experiments.playback.config import Config
from audioattn_lib.experiments.playback.training import build_network
from audioattn_lib.models.backbones.mvit import MViT
from audioattn_lib.models.embedding import Backbone
from audioattn_lib.models.playback.layers import PlaybackDecoder, SmallEncoder
from audioattn_lib.models.playback.network import Playback

from .harness import Case, Target

Work = dict[str, Callable[[], object]]

RATE, SECONDS, PLAYBACKS, CLASSES = 16_000, 10, 3, 527
SELECTIONS = ("slots", "energy")


def cases(device: str) -> list[Case]:
    """Everything that this module measures."""
    name = f"Playing back {PLAYBACKS} times (X{PLAYBACKS}), forward,"
    targets = [Target("slots", "ratio", 1.1), Target("front end", "ratio", 0.05)]
    reference = "encoder and decoder"
    clip = f"1 clip of {SECONDS} s"
    return [
        Case(f"{name} 8 clips of {SECONDS} s, small encoder", partial(small, device), reference, targets, seconds=6),
        *(
            Case(f"{name} {clip}, MViTv2-{size}", partial(transformer, device, size), reference, targets, seconds=15)
            for size in ("T", "S")
        ),
        Case(f"{name} {clip}, as published", partial(published, device), reference, targets, seconds=30),
    ]


def small(device: str) -> Work:
    """The encoder that a processor trains, at the default hops."""
    front = MultiResolutionLogMel(PLAYBACKS + 1, n_fft=256, n_mels=32)
    return _work(8, partial(_with_small_decoder, front, SmallEncoder(32, 24, 96)), device)


def transformer(device: str, size: str) -> Work:
    """A transformer and the small decoder, at the published hops."""
    front = MultiResolutionLogMel(PLAYBACKS + 1, n_fft=512, win_length=320, hop_length=400, n_mels=128)
    return _work(1, partial(_with_small_decoder, front, MViT.preset(size)), device)


def published(device: str) -> Work:
    """The published network: MViTv2-B at the published hops, and a decoder of 256 latents."""
    config = Config.paper(playbacks=PLAYBACKS)
    return _work(
        1, lambda selection: build_network(replace(config, selection=selection), CLASSES, is_multilabel=True), device
    )


def _with_small_decoder(front: MultiResolutionLogMel, encoder: Backbone, selection: str) -> Playback:
    decoder = PlaybackDecoder(encoder.out_features, CLASSES, PLAYBACKS + 1)
    return Playback(front, encoder, decoder, selection=selection, segment_seconds=1.25)


def _work(clips: int, build: Callable[[str], Playback], device: str) -> Work:
    """The network with each selection; its encoder and decoder alone and its front end alone, on the same numbers."""
    torch.manual_seed(0)
    sound = 0.1 * torch.randn(clips, RATE * SECONDS)
    sound = (sound * torch.rand(clips, SECONDS).repeat_interleave(RATE, dim=1)).to(device)
    work: Work = {}
    for selection in SELECTIONS:
        model = build(selection).to(device).eval()
        work[selection] = partial(_listen, model, sound)
        if selection == "slots":
            calls = _calls(model, sound)
            work["encoder and decoder"] = partial(_again, calls["encoder"] + calls["decoder"])
            work["front end"] = partial(_again, calls["front"])
    return work


@torch.no_grad()
def _listen(model: Playback, sound: torch.Tensor) -> None:
    model(sound)


@torch.no_grad()
def _calls(model: Playback, sound: torch.Tensor) -> dict[str, list[Callable[[], object]]]:
    """Every call of the encoder, of the decoder and of the front end in one pass, ready to be made again."""
    calls: dict[str, list[Callable[[], object]]] = {"encoder": [], "decoder": [], "front": []}
    watched = {
        "encoder": [(model.encoder, "forward")],
        "decoder": [(model.decoder, "read"), (model.decoder, "fuse")],
        "front": [(resolution, "forward") for resolution in model.front.resolutions],
    }
    with ExitStack() as stack:
        for module, methods in watched.items():
            for owner, name in methods:
                method = getattr(owner, name)

                def note(*args: Any, module: str = module, method: Any = method, **kwargs: Any) -> Any:
                    calls[module].append(partial(method, *args, **kwargs))
                    return method(*args, **kwargs)

                stack.enter_context(patch.object(owner, name, note))
        model(sound)
    return calls


@torch.no_grad()
def _again(calls: list[Callable[[], object]]) -> None:
    for call in calls:
        call()
