"""Sentences of the chapter that depend on its corpus.

Book page: ``playback``.
"""

from __future__ import annotations

from .corpus import Prepared

__all__ = ["describe_conclusions", "describe_hops"]


def describe_hops(corpus: Prepared) -> str:
    """Say what a finer hop is expected to change on the clips of the corpus.

    Parameters
    ----------
    corpus
        Of the study.

    Notes
    -----
    Book page: ``playback``.
    """
    if corpus.manifest.name == "needles":
        return (
            "The needles of this corpus flutter like that, for half a second or so, somewhere in a clip with louder "
            "events. A clip may hold several; its label names them, not their times. So the scores should agree with "
            "the arithmetic:"
        )
    return "Whether a finer hop helps on the clips of this corpus is not known beforehand; this picture shows it:"


def describe_conclusions(corpus: Prepared) -> str:
    """Say which corpus the findings and the conclusions of the page are about.

    Parameters
    ----------
    corpus
        Of the study.

    Notes
    -----
    Book page: ``playback``.
    """
    if corpus.manifest.name == "needles":
        return ""
    return (
        f"What {corpus.manifest.name} shows is in the box on top of this page. What follows is about another corpus, "
        "and need not hold here."
    )
