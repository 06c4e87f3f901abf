"""Sounds and records made by hand: a second of noise with a tone, and every kind of attention."""

import re

import numpy as np

from audioattn_lib.attention.record.density import Density, Regions
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock

SAMPLE_RATE = 16000
FRAMES = 101
CLOCK = FrameClock(0.01, -0.005)


def make_record(kind: str, clips: int = 2) -> AttentionRecord:
    """A record of ``clips`` clips of one second; the last clip is four frames shorter."""
    n_frames = np.full(clips, FRAMES)
    n_frames[-1] -= 4 if clips > 1 else 0
    names = tuple(f"clip {i}" for i in range(clips))
    weights = np.exp(-(((CLOCK.centres(FRAMES) - 0.4) / 0.1) ** 2))[None, None].repeat(clips, 0)
    weights = weights * (np.arange(FRAMES) < n_frames[:, None])[:, None]
    weights /= weights.sum(-1, keepdims=True)
    sparse = np.clip(weights - weights.max() / 3, 0, None)
    sparse /= sparse.sum(-1, keepdims=True)
    column = np.ones((clips, 1))
    regions = Regions(
        np.array([[[0.3, 5.0], [0.7, 14.0]]]).repeat(clips, 0),
        np.array([[[[0.003, 0.05], [0.05, 3.0]], [[0.002, 0.0], [0.0, 1.0]]]]).repeat(clips, 0),
        np.array([[1.5, 1.0]]).repeat(clips, 0),
        np.array([[0.7, 0.3]]).repeat(clips, 0),
    )
    ellipses = np.stack([regions.cells(clip, CLOCK.edges(FRAMES), 20) for clip in range(clips)])[:, None, None]
    fields: dict[str, object] = {
        "softmax": {"weights": weights},
        "sparsemax": {"weights": sparse},
        "heads": {
            "weights": np.concatenate([weights, sparse], 1),
            "head_weights": np.array([[0.7, 0.3]]).repeat(clips, 0),
        },
        "gaussian": {"density": Density(0.5 * column, 0.01 * column, column, column)},
        "triweight": {
            "density": Density(0.5 * column, 0.01 * column, 4 / 3 * column, column),
            "read_weights": weights[:, 0],
        },
        "parabola": {"density": Density(0.95 * column, 0.004 * column, 2 * column, column)},
        "mixture": {
            "density": Density(
                np.array([[0.2, 0.7]]).repeat(clips, 0),
                np.array([[0.001, 0.002]]).repeat(clips, 0),
                np.full((clips, 2), 1.5),
                np.full((clips, 2), 0.5),
            )
        },
        "maps": {
            "maps": np.random.default_rng(0).random((clips, 2, 2, 20, FRAMES)),
            "frequencies": np.geomspace(100, 7500, 20),
        },
        "regions": {"maps": ellipses, "regions": regions, "frequencies": np.geomspace(100, 7500, 20)},
        "alignment": {"alignment": weights.repeat(FRAMES, 1)},
        "playback": {"segments": np.array([[[0.6, 0.8], [0.1, 0.2], [np.nan, np.nan]]]).repeat(clips, 0)},
    }[kind]
    return AttentionRecord(kind, CLOCK, names, n_frames, **fields)


KINDS = ("softmax", "sparsemax", "heads", "gaussian", "triweight", "parabola", "mixture", "maps", "regions", "playback")

EVENTS = [("dog bark", 0.3, 0.5), ("siren", 0.45, 0.9)]
HOSTILE = '"><script>alert(1)</script><img src="https://example.org/x.png">$\\frac{$'


def require_offline(html: str) -> None:
    """No address of any network outside of texts."""
    bare = re.sub(r"(alt|title|data-\w+|aria-label)=\"[^\"]*\"|>[^<]*<", "", html)
    assert not re.search(r"https?://|@import|url\((?!data:|\$\{canvas)", bare)
