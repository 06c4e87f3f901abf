"""Pictures of pages that are text, made while the page is: no run is read, nothing is trained.

``{pattern-figures} NAME ...`` draws attention patterns on a small grid of patches, a tab each; ``{log-mel-figures}``
the filters of the published front end, and what it gives for a sound.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROWS, COLUMNS = 6, 10
"""Patches of a grid whose table of all pairs can still be read."""
FILTERS_BETWEEN = 16
"""Every sixteenth filter is drawn: all of them would cover each other, and more have no colours of their own."""


class PatternFigures(SphinxDirective):
    """Patterns by the names that a configuration takes."""

    required_arguments = 1
    optional_arguments = 9

    def run(self) -> list[nodes.Node]:
        from audioattn_lib import display
        from audioattn_lib.attention.patterns.names import PatchGrid, parse_pattern

        grid = PatchGrid(rows=ROWS, columns=COLUMNS)
        figures = {
            name: display.plot_pattern(
                parse_pattern(name).mask(grid, n_global=0).numpy(),
                ROWS,
                COLUMNS,
                caption=f"{ROWS} rows of frequency, {COLUMNS} columns of time, no global token. Orange: attends. "
                "Row 1 is the lowest frequency: at the bottom of the first picture, at the top of the second.",
            )
            for name in self.arguments
        }
        return [nodes.raw("", display.tabs(figures, label="Pattern").html(), format="html")]


class LogMelFigures(SphinxDirective):
    """Filters, and the same sound before and after the mean of each band is taken away."""

    def run(self) -> list[nodes.Node]:
        import numpy as np

        from audioattn_lib import display
        from audioattn_lib.audio.features.log_mel import LogMel, mel_filters
        from audioattn_lib.experiments import foundations

        front_end = LogMel.published()
        weights, centres = mel_filters(
            front_end.sample_rate, front_end.n_fft, front_end.n_mels, filters="shared_bandwidth"
        )
        kilohertz = np.linspace(0, front_end.sample_rate / 2000, len(weights))
        drawn_bands = range(FILTERS_BETWEEN - 1, front_end.n_mels, FILTERS_BETWEEN)
        filters = display.plot_lines(
            {f"{float(centres[band]) / 1000:.2f} kHz": (kilohertz, weights[:, band]) for band in drawn_bands},
            x_label="Frequency (kHz)",
            y_label="Weight",
            alt="Triangular filters over frequency, wider the higher they are.",
            caption=f"Every sixteenth of the {front_end.n_mels} filters of LogMel.published(), by its centre.",
        )
        clip = foundations.example("city?classes=dog_bark,car_horn&clips_per_class=5").clip
        without_mean = clip.features - clip.features.mean(axis=0)
        panels = [
            display.Panel(title, values, clip.clock, clip.frequencies)
            for title, values in (("Level in decibels", clip.features), ("Mean of each band removed", without_mean))
        ]
        caption = f"A synthetic sound, {clip.title}. The darker on a light page, the lighter on a dark one, the louder."
        levels = display.plot_panels(panels, clip.events, caption=caption)
        return [nodes.raw("", figure.html(), format="html") for figure in (filters, levels)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.add_directive("pattern-figures", PatternFigures)
    app.add_directive("log-mel-figures", LogMelFigures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
