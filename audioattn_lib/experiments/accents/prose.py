"""Sentences of the chapter that depend on its corpus.

Book page: ``accents``.
"""

from __future__ import annotations

from .config import Config
from .corpus import Prepared

__all__ = ["describe_carriers", "describe_protocol", "describe_speakers"]


def describe_protocol(config: Config, corpus: Prepared) -> str:
    """Say on whose clips the networks train, choose the epoch and are tested.

    Parameters
    ----------
    config, corpus
        Of the study.

    Notes
    -----
    Book page: ``accents``.
    """
    text = "Every network hears windows of the training clips and is tested on whole utterances"
    are_known = corpus.unit == "speakers"
    if corpus.closed_set:
        text += " of a closed set: other clips of speakers that it heard in training."
    elif are_known:
        text += " of speakers that it never heard."
    else:
        text += ". Who speaks is not known, so a speaker may be heard both in training and in the test."
    if config.protocol == "published":
        return f"{text} As published, the clips of the test choose the epoch, so the scores are too high."
    others = " of other speakers still" if are_known and not corpus.closed_set else " that are not tested"
    return f"{text} The epoch is chosen on clips{others}."


def describe_carriers(corpus: Prepared) -> str:
    """Say what is known of the places that carry the label, so whether attention can be compared with them.

    Parameters
    ----------
    corpus
        Of the study.

    Notes
    -----
    Book page: ``accents``.
    """
    table = corpus.manifest.table
    if "vowel_labels" in table:
        return (
            "In this corpus, which the library makes, it is known where accents are carried. Three of the five move "
            "some vowels, one moves all; the fifth only differs in rhythm and melody, and its clips are left out here. "
            "So attention can be marked like an exam: how much of it lies in the vowels that the accent moves, and is "
            "its peak in one of them?"
        )
    if "event_onsets" in table:
        return "How much of the attention lies in the events of the label, and is its peak in one of them?"
    return (
        "Where the label is carried is not known in this corpus, so attention cannot be compared with the true place."
    )


def describe_speakers(config: Config, corpus: Prepared) -> str:
    """Say what the label that the networks were trained on makes of the identity of the speaker.

    Parameters
    ----------
    config, corpus
        Of the study.

    Notes
    -----
    Book page: ``accents``.
    """
    if config.target == "speaker":
        return "The networks of this page were trained for speakers."
    text = "A network that learns accents well *should* discard the identity of the speaker."
    if corpus.manifest.name == "accents":
        text += " In this corpus voices are drawn alike in all accents."
    return text + " Statistics of the bands hold the timbre of a voice, which makes the linear baseline a strong one."
