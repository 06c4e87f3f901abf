"""Pictures, players and tables of what a mechanism attends to.

They read records and run directories and know nothing of models, corpora or
how a run was made. Everything here shows itself in a notebook, fits light and
dark pages, has alternative text, and needs no network.
"""

from .attention import compare_attention, plot_attention
from .detection import plot_detection
from .feature_map import FeatureMap, feature_map, neighbour_axes, principal_axes
from .figure import Figure
from .film_strip import FilmStrip, Hearing, film_strip
from .heads import head_player, plot_heads, split_heads
from .lines import plot_lines
from .maps import plot_simplex, plot_threshold
from .panels import Panel, plot_panels
from .player import Player, player
from .regression import plot_alignment, plot_correlations, plot_predictions
from .results import plot_confusion, plot_evidence, plot_faithfulness, plot_results, plot_training
from .scrubber import Scrubber, scrubber
from .spectrogram import plot_spectrogram
from .table import Table, results_table
from .widgets import AttentionExplorer, explore, is_interactive

__all__ = [
    "AttentionExplorer",
    "FeatureMap",
    "Figure",
    "FilmStrip",
    "Hearing",
    "Panel",
    "Player",
    "Scrubber",
    "Table",
    "compare_attention",
    "explore",
    "feature_map",
    "film_strip",
    "head_player",
    "is_interactive",
    "neighbour_axes",
    "player",
    "plot_alignment",
    "plot_attention",
    "plot_confusion",
    "plot_correlations",
    "plot_detection",
    "plot_evidence",
    "plot_faithfulness",
    "plot_heads",
    "plot_lines",
    "plot_panels",
    "plot_predictions",
    "plot_results",
    "plot_simplex",
    "plot_spectrogram",
    "plot_threshold",
    "plot_training",
    "principal_axes",
    "results_table",
    "scrubber",
    "split_heads",
]
