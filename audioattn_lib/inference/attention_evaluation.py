"""Evidence for the attention of any PyTorch model: every reduction beside other attributions, in one table.

Book page: ``your_sounds``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.evaluation.attention.attributions import compare_attributions
from audioattn_lib.evaluation.attention.localisation import Events
from audioattn_lib.evaluation.attention.perturbation import FRACTIONS
from audioattn_lib.inspection.capture import capture
from audioattn_lib.inspection.known_models import tokens_of
from audioattn_lib.inspection.reductions import OF_VALUES, REDUCTIONS
from audioattn_lib.inspection.tokens import PatchTokens, TimeTokens

__all__ = ["OTHERS", "Evidence", "attribute_input", "measure_attention"]

OTHERS = ("integrated_gradients", "occlusion", "random")
"""Attributions of the input beside attention; the first two are captum's."""

Forward = Callable[[nn.Module, Tensor], Tensor]
Attribute = Callable[[nn.Module, Tensor], AttentionRecord]


@dataclass(frozen=True)
class Evidence:
    """Attributions of one model and what speaks for each.

    Attributes
    ----------
    table
        Of :func:`~audioattn_lib.evaluation.attention.attributions.compare_attributions`.
    records
        Attribution of each clip by name, for players: ``show(sound, curve=measured.records["relevance"][0])``.
    targets
        Class of each clip that was explained, shape ``(clips,)``.
    """

    table: pd.DataFrame
    records: dict[str, AttentionRecord]
    targets: Tensor


def measure_attention(
    model: nn.Module,
    inputs: Tensor,
    *,
    forward: Forward | None = None,
    tokens: TimeTokens | PatchTokens | None = None,
    reductions: Sequence[str] = ("received", "rollout", "gradient", "relevance"),
    others: Sequence[str] = OTHERS,
    attributions: Mapping[str, AttentionRecord | Attribute] | None = None,
    query: int | None = None,
    targets: Tensor | None = None,
    events: Events | None = None,
    axes: str = "time",
    grid: tuple[int, int] | None = None,
    groups: ArrayLike | None = None,
    randomise: bool = True,
    n_draws: int = 1000,
    n_resamples: int = 2000,
    seed: int = 0,
    batch_size: int = 64,
    fractions: Sequence[float] = FRACTIONS,
) -> Evidence:
    """Measure which attention of a model says what the model uses.

    Each reduction of the attention is an attribution, and so are integrated gradients, occlusion and random numbers.
    All are judged alike: by deletion and insertion, by the events where these are known, and by their likeness to the
    same attribution after the weights of the model were shuffled.

    Parameters
    ----------
    model
        A classifier; it is evaluated in evaluation mode, and neither its weights nor their gradients change.
    inputs
        Clips of one length: spectrograms ``(clips, frames, bands)``, or samples ``(clips, samples)``.
    forward
        From model and inputs to scores of classes before softmax, shape ``(clips, classes)``. By default what the model
        returns, or its ``logits``.
    tokens
        Clock of the tokens; from the model, if it is known.
    reductions
        Of :data:`~audioattn_lib.inspection.reductions.REDUCTIONS`.
    others
        Of :data:`OTHERS`; integrated gradients and occlusion need captum.
    attributions
        Attributions of the same clips from elsewhere by name, such as the record of a pooling that is a density. A
        function from model and inputs to a record is also called with the shuffled weights.
    query
        As in :func:`~audioattn_lib.inspection.reductions.attention_record`: 0 for a class token in front, None for the
        mean over all queries.
    targets
        Class to explain in each clip; by default the predicted one.
    events, axes, grid, groups, n_draws, n_resamples, seed, batch_size, fractions
        As in :func:`~audioattn_lib.evaluation.attention.attributions.compare_attributions`. By default a grid has as
        many units as there are tokens.
    randomise
        Shuffle the weights, each parameter within itself, and compare.

    Raises
    ------
    ConfigError
        When a name is not known, a shape does not fit, or captum is not installed.
    ValueError
        When a reduction does not fit the model, such as a rollout of layers of different lengths.

    Notes
    -----
    Occlusion covers one unit of the grid at a time with the mean of the clip; integrated gradients begin at that mean
    (50 steps), and the absolute value counts. Sources: Sundararajan et al., *Axiomatic attribution for deep networks*,
    ICML 2017; Zeiler and Fergus, *Visualizing and understanding convolutional networks*, ECCV 2014; those of
    :func:`~audioattn_lib.evaluation.attention.attributions.compare_attributions`. Book page: ``your_sounds``.
    """
    _check(inputs, reductions, others)
    tokens = tokens_of(model) if tokens is None else tokens
    of_model = _scores if forward is None else forward
    samples = inputs.dim() == 2
    features = inputs[..., None] if samples else inputs

    def scores_of(copied: nn.Module) -> Callable[[Tensor], Tensor]:
        return lambda x: of_model(copied, x[..., 0] if samples else x)

    watched = _frozen(model)
    scores = scores_of(watched)
    with torch.no_grad():
        if targets is None:
            targets = torch.cat([scores(batch).argmax(1) for batch in features.split(batch_size)])
    records = _from_elsewhere(attributions, watched, inputs)
    reduced = _reduced(watched, scores, features, targets, tokens, reductions, query)
    places = _places(reduced or records, features, tokens)
    records |= reduced
    size = (1 if axes == "time" else places[0], 1 if axes == "frequency" else places[1]) if grid is None else grid
    records |= _other(scores, features, targets, tokens, others, size, places, seed)
    again = None
    if randomise:
        shuffled = _frozen(model, torch.Generator().manual_seed(seed))
        again = _from_elsewhere(attributions, shuffled, inputs, shuffled=True)
        again |= _reduced(shuffled, scores_of(shuffled), features, targets, tokens, reductions, query)
        learned = [name for name in others if name != "random"]
        again |= _other(scores_of(shuffled), features, targets, tokens, learned, size, places, seed)
    if axes != "time":
        without = [name for name, record in records.items() if record.maps is None]
        if without:
            raise ConfigError(f"axes is {axes!r}, and {', '.join(without)} say nothing of frequency; take 'time'")
    table = compare_attributions(
        lambda x, _: scores(x).softmax(1),
        features,
        records,
        events=events,
        randomised=again,
        targets=targets,
        axes=axes,
        grid=size,
        groups=groups,
        n_draws=n_draws,
        n_resamples=n_resamples,
        seed=seed,
        batch_size=batch_size,
        fractions=fractions,
    )
    return Evidence(table, records, targets)


def attribute_input(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    tokens: TimeTokens,
    frames: int,
    *,
    others: Sequence[str] = OTHERS,
    forward: Forward | None = None,
    seed: int = 0,
) -> dict[str, AttentionRecord]:
    """Attribute the score of a class to the input over time, by methods that know nothing of attention.

    Parameters
    ----------
    model, inputs, targets, others, forward, seed
        As in :func:`measure_attention`.
    tokens
        Clock of the records.
    frames
        Of the records, at most those of the inputs: what lies in one is added up.

    Returns
    -------
    dict
        A record of all clips for each of ``others``.

    Raises
    ------
    ConfigError
        As :func:`measure_attention`.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    _check(inputs, (), others)
    of_model, watched = _scores if forward is None else forward, _frozen(model)
    samples = inputs.dim() == 2
    features = inputs[..., None] if samples else inputs
    size = (1, min(frames, features.shape[1]))
    return _other(
        lambda x: of_model(watched, x[..., 0] if samples else x), features, targets, tokens, others, size, size, seed
    )


def _check(inputs: Tensor, reductions: Sequence[str], others: Sequence[str]) -> None:
    for name, values, allowed in (("reductions", reductions, REDUCTIONS), ("others", others, OTHERS)):
        wrong = [value for value in values if value not in allowed]
        if wrong:
            raise ConfigError(f"{name} has {', '.join(map(repr, wrong))}; allowed are {', '.join(allowed)}")
    if (
        not isinstance(inputs, Tensor)
        or inputs.dim() not in (2, 3)
        or not inputs.is_floating_point()
        or not len(inputs)
    ):
        shape = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ConfigError(f"inputs is {shape}; give floats, (clips, frames, bands) or (clips, samples)")


def _scores(model: nn.Module, inputs: Tensor) -> Tensor:
    output = model(inputs)
    scores = getattr(output, "logits", output)
    if not isinstance(scores, Tensor) or scores.dim() != 2:
        raise ConfigError(
            f"{type(model).__name__} gave {type(output).__name__} and no scores of shape (clips, classes); give forward"
        )
    return scores


def _frozen(model: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
    """A copy in evaluation mode whose parameters need no gradient, each shuffled where there is a generator."""
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    if generator is not None:
        for parameter in copied.parameters():
            flat = parameter.data.flatten()
            parameter.data = flat[torch.randperm(len(flat), generator=generator).to(flat.device)].reshape_as(parameter)
    return copied


def _from_elsewhere(
    attributions: Mapping[str, AttentionRecord | Attribute] | None,
    model: nn.Module,
    inputs: Tensor,
    shuffled: bool = False,
) -> dict[str, AttentionRecord]:
    """Records from elsewhere; of shuffled weights those alone that a function makes."""
    with torch.no_grad():
        return {
            name: each if isinstance(each, AttentionRecord) else each(model, inputs)
            for name, each in (attributions or {}).items()
            if not (shuffled and isinstance(each, AttentionRecord))
        }


def _reduced(
    model: nn.Module,
    scores: Callable[[Tensor], Tensor],
    features: Tensor,
    targets: Tensor,
    tokens: TimeTokens | PatchTokens,
    reductions: Sequence[str],
    query: int | None,
) -> dict[str, AttentionRecord]:
    """Reductions of the attention, with gradients of the score of the target."""
    if not reductions:
        return {}
    x = features.detach().clone().requires_grad_()
    with (
        torch.enable_grad(),
        capture(model, gradients=True, values=any(each in OF_VALUES for each in reductions)) as captured,
    ):
        scores(x).gather(1, targets[:, None]).sum().backward()
    return {
        each: captured.record(tokens, reduction=each, query=0 if each == "query" and query is None else query)
        for each in reductions
    }


def _places(records: dict[str, AttentionRecord], features: Tensor, tokens: TimeTokens | PatchTokens) -> tuple[int, int]:
    """Bands and frames of the tokens, at most those of the features."""
    if isinstance(tokens, PatchTokens):
        return min(tokens.bands, features.shape[2]), min(tokens.frames, features.shape[1])
    counts = [int(record.n_frames[0]) for record in records.values() if record.n_frames is not None]
    if not counts:
        raise ConfigError(
            "reductions and attributions are empty, and only PatchTokens say how many tokens there are; give one"
        )
    return 1, min(counts[0], features.shape[1])


def _other(
    scores: Callable[[Tensor], Tensor],
    features: Tensor,
    targets: Tensor,
    tokens: TimeTokens | PatchTokens,
    others: Sequence[str],
    size: tuple[int, int],
    places: tuple[int, int],
    seed: int,
) -> dict[str, AttentionRecord]:
    """Attributions of the input, added up within equal parts of the clip, one for each token."""
    records = {}
    bands, frames = size
    step, height = -(-features.shape[1] // frames), -(-features.shape[2] // bands)
    mean = features.mean((1, 2), keepdim=True).expand_as(features)
    for name in others:
        if name == "random":
            values = torch.rand(features.shape, generator=torch.Generator().manual_seed(seed))
        else:
            attr = _captum()
            if name == "integrated_gradients":
                values = attr.IntegratedGradients(scores).attribute(
                    features, mean, target=targets, internal_batch_size=max(len(features), 64)
                )
            else:
                window = (step, height)
                values = attr.Occlusion(scores).attribute(
                    features, sliding_window_shapes=window, strides=window, baselines=mean, target=targets
                )
        records[name] = _record_of(name, values.detach().abs().cpu(), tokens, places)
    return records


def _record_of(name: str, values: Tensor, tokens: TimeTokens | PatchTokens, places: tuple[int, int]) -> AttentionRecord:
    clips, length, height = values.shape
    bands, frames = places
    unit = torch.arange(height) * bands // height * frames + (torch.arange(length) * frames // length)[:, None]
    own = torch.zeros(clips, bands * frames, dtype=torch.float64).index_add_(
        1, unit.flatten(), values.double().flatten(1)
    )
    total = own.sum(1, keepdim=True)
    share = torch.where(total > 0, own / total.clamp_min(1e-300), 1 / own.shape[1]).reshape(clips, 1, bands, frames)
    count = np.full(clips, frames)
    if isinstance(tokens, TimeTokens):
        return AttentionRecord(name, tokens.clock, n_frames=count, weights=share[:, 0].numpy())
    return AttentionRecord(
        name, tokens.clock, n_frames=count, maps=share[:, None].numpy(), frequencies=tokens.frequencies
    )


def _captum() -> Any:
    try:
        import captum.attr
    except ImportError as error:
        raise ConfigError(
            f"{error.name} is not installed; leave integrated_gradients and occlusion out of others, or install it "
            "with: pip install 'audioattn[models]'"
        ) from None
    return captum.attr
