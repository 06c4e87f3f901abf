"""Sentences of the chapter that depend on its corpus.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

from .corpus import Prepared

__all__ = ["describe_heard", "describe_limits"]


def describe_heard(corpus: Prepared) -> str:
    """Say whether the sounds of the devices are one phrase, and what their curves are.

    Parameters
    ----------
    corpus
        Of the study.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """
    if corpus.manifest.name == "orchestra":
        return "All devices of this corpus record the same phrase, so only the device differs between the tabs."
    return (
        "The devices of this corpus recorded different sounds, so a curve holds what its device adds and what its "
        "sounds are."
    )


def describe_limits(corpus: Prepared) -> str:
    """Say what the devices of the corpus are, which limits what a result on them shows.

    Parameters
    ----------
    corpus
        Of the study.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """
    if corpus.manifest.name == "orchestra":
        return "The sound here is synthetic, and its devices are filters with a noise floor: centring is made for them."
    return (
        f"The sound here was recorded. The result holds for the devices and sounds of {corpus.manifest.name}; another "
        "corpus may differ in more than the response of its devices."
    )
