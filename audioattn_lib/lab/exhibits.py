"""Clips of a study to look at and listen to, chosen by rules that are named, so that nobody picks.

Book page: ``urban_sound``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from audioattn_lib.display.players.gallery import Exhibit, Gallery
from audioattn_lib.display.players.gallery import gallery as show_gallery
from audioattn_lib.display.players.player import player
from audioattn_lib.experiments.common.corpus import PreparedCorpus
from audioattn_lib.experiments.common.studies.study import Study

from .compared import Compared, compared_models

__all__ = ["choose_clips", "make_gallery"]

ENOUGH = 8
"""Clips of a gallery that need no others."""
LONGEST = 20.0
"""Seconds of a clip that one player holds; longer ones are taken where there are no others."""


def make_gallery(study: Study, corpus: PreparedCorpus, count: int = 10, shown: str = "") -> Gallery:
    """Make players of ``count`` test clips, which :func:`choose_clips` chooses; it opens on another than ``shown``.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    compared = compared_models(study)
    losses, right = judge(compared)
    exhibits = []
    for clip_name, rule in choose_clips(losses, right, corpus, kept_clips(compared), count):
        clip = corpus.clip(clip_name)
        title = clip.title if len(right.columns) else f"label {clip.title}"
        records = {name: model.record_of(clip) for name, model in compared.items()}
        drawn = player(
            clip.samples,
            clip.sample_rate,
            records={name: record for name, record in records.items() if not record.is_empty},
            title=f"{rule}: {title}",
            **clip.picture,
        )
        exhibits.append(Exhibit(clip_name, rule, title, summarise_answers(compared, clip_name), drawn))
    start = next((number for number, exhibit in enumerate(exhibits) if exhibit.clip != shown), 0)
    return show_gallery(exhibits, label="Test clips, each chosen by a rule", start=start)


def judge(compared: Mapping[str, Compared]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Loss of each model for each clip that all of them predicted, and 1 where it is right; no column of numbers.

    The loss of a number is its distance to the label.
    """
    losses, right = {}, {}
    for title, model in compared.items():
        table = model.predictions
        if model.classes:
            losses[title] = table["loss"].astype(float)
            right[title] = (table["label"] == table["predicted"]).astype(float)
        else:
            losses[title] = (table["predicted"].astype(float) - table["label"].astype(float)).abs()
    return pd.DataFrame(losses).dropna(), pd.DataFrame(right).dropna()


def kept_clips(compared: Mapping[str, Compared]) -> set[str]:
    """Clips whose attention every model that attends has kept."""
    kept = [
        {clip for run in model.networks for clip in run.attention.clips}
        for model in compared.values()
        if any(not run.attention.is_empty for run in model.networks)
    ]
    return set.intersection(*kept) if kept else set()


def choose_clips(
    losses: pd.DataFrame, right: pd.DataFrame, corpus: PreparedCorpus, kept: set[str], count: int
) -> list[tuple[str, str]]:
    """Choose clips by rules: each rule takes the first clip in its order that no rule before it has taken.

    Parameters
    ----------
    losses, right
        Of :func:`judge`.
    corpus
        Sounds and events.
    kept
        Clips to choose from, where there are enough of them.
    count
        Clips to choose, at least 1.

    Returns
    -------
    list of tuple
        Name of a clip and its rule, at most ``count``.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    rows = {name: row for row, name in enumerate(corpus.manifest.ids)}
    names = [name for name in losses.index if name in rows]
    short = [name for name in names if corpus.manifest.durations[rows[name]] <= LONGEST]
    for fewer in ([name for name in short if name in kept], short):
        if len(fewer) >= min(count, ENOUGH):
            names = fewer
            break
    order = losses.loc[names].mean(axis=1).sort_values(kind="stable").index
    rules: dict[str, str] = {}
    for rule, ranked in _rules(list(order), right, corpus, rows):
        free = next((name for name in ranked if name not in rules), None)
        if free is not None and len(rules) < count:
            rules[free] = rule
    return list(rules.items())


def _rules(
    order: list[str], right: pd.DataFrame, corpus: PreparedCorpus, rows: Mapping[str, int]
) -> Iterator[tuple[str, list[str]]]:
    """Rules, each with the clips in its order; ``order`` is that of the mean loss, from the lowest on."""
    place = {name: number for number, name in enumerate(order)}

    def near(share: float) -> list[str]:
        return sorted(order, key=lambda name: abs(place[name] - share * (len(order) - 1)))

    shares = right.mean(axis=1).reindex(order) if len(right.columns) else pd.Series(dtype=float)
    surest = "The surest" if len(shares) else "The lowest loss"
    yield surest, sorted(order, key=lambda name: (-shares.get(name, 0.0), place[name]))
    yield "The median loss", near(0.5)
    yield "The highest loss", order[::-1]
    if len(shares) and shares.min() < 1:
        wrong = [name for name in order if shares[name] < 1]
        yield "Most are wrong", sorted(wrong, key=lambda name: (shares[name], place[name]))
        if len(right.columns) > 1:
            yield "The models disagree", sorted(wrong, key=lambda name: (abs(shares[name] - 0.5), place[name]))
    events = {name: corpus.events_of(rows[name]) for name in order}
    several = [name for name in order if len(events[name]) > 1]
    yield "Several events", sorted(several, key=lambda name: (-len(events[name]), place[name]))
    with_events = [name for name in order if events[name]]
    yield (
        "The shortest event",
        sorted(with_events, key=lambda name: min(event.offset - event.onset for event in events[name])),
    )
    spread = {name: float(np.std(corpus.store[rows[name]].numpy().mean(axis=1))) for name in order}
    yield "The steadiest sound", sorted(order, key=lambda name: spread[name])
    yield "The most changeable sound", sorted(order, key=lambda name: -spread[name])
    yield "A low loss", near(0.25)
    yield "A high loss", near(0.75)
    yield "A very low loss", near(0.1)
    yield "A very high loss", near(0.9)


def summarise_answers(compared: Mapping[str, Compared], clip: str) -> str:
    """Summarise the answers of the models to a clip in a few words."""
    rows = {title: model.predictions.loc[clip] for title, model in compared.items()}
    if not next(iter(compared.values())).classes:
        mean = np.mean([float(row["predicted"]) for row in rows.values()])
        return f"predicted {mean:.2g} on average"
    correct = sum(row["label"] == row["predicted"] for row in rows.values())
    answers = pd.Series([str(row["predicted"]) for row in rows.values()])
    if correct == len(rows):
        return "all models are right" if len(rows) > 1 else "the model is right"
    wrong = answers[[row["label"] != row["predicted"] for row in rows.values()]]
    most = str(wrong.mode()[0]).replace("_", " ").replace(";", ", ") or "nothing"
    return f"{correct} of {len(rows)} right; others: {most}"
