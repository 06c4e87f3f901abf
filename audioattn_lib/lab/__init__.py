"""Exploring in JupyterLab: the test clips of a study, live controls, one's own sound, training and sweeps.

Everything here is for a person with a kernel. Where nobody watches, as in papermill, nbclient and the rendered book,
the same calls return a note of one line at once: they start no widget, and compute nothing. The gallery alone is for a
reader of the book too.
"""

from .calls import explore, film, gallery, hear, sweep, watch

__all__ = ["explore", "film", "gallery", "hear", "sweep", "watch"]
