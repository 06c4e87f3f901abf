"""Pictures, players and tables of attention.

They read records and run directories and do not depend on models, corpora or
how a run was made. Everything here shows itself in a notebook, fits light and
dark pages, has alternative text, and needs no network.
"""

from .boxes.findings import Findings, findings
from .boxes.papers import Paper, papers_table
from .boxes.question import Question, guess_first
from .boxes.tabs import Tabs, tabs
from .cell_runs import mark_cells
from .diagram import Diagram, network_diagram
from .figure import Figure
from .players.feature_map import FeatureMap, feature_map, neighbour_axes, principal_axes
from .players.film_strip import FilmStrip, PlaybackStage, film_strip
from .players.heads import head_player, plot_heads, split_heads
from .players.player import Player, player
from .players.scrubber import Scrubber, scrubber
from .plots.attention import compare_attention, plot_attention
from .plots.detection import plot_detection
from .plots.gains import plot_gain_curves, plot_gain_panels, plot_gains
from .plots.lines import plot_lines
from .plots.maps import plot_simplex, plot_threshold
from .plots.masks import plot_pattern
from .plots.panels import Panel, plot_panels
from .plots.pareto import plot_pareto
from .plots.regression import plot_alignment, plot_correlations, plot_predictions
from .plots.results import plot_attention_evaluation, plot_confusion, plot_faithfulness, plot_results, plot_training
from .plots.scores import plot_calibration, plot_class_scores, plot_sparsity
from .plots.slopes import plot_slopes
from .plots.sortable import Column, SortableTable, sortable_table
from .plots.spectrogram import plot_spectrogram
from .plots.table import Table, attention_evaluation_table, results_table
from .show import show
from .widgets import AttentionExplorer, explore, is_interactive

__all__ = [
    "AttentionExplorer",
    "Column",
    "Diagram",
    "FeatureMap",
    "Figure",
    "FilmStrip",
    "Findings",
    "Panel",
    "Paper",
    "PlaybackStage",
    "Player",
    "Question",
    "Scrubber",
    "SortableTable",
    "Table",
    "Tabs",
    "attention_evaluation_table",
    "compare_attention",
    "explore",
    "feature_map",
    "film_strip",
    "findings",
    "guess_first",
    "head_player",
    "is_interactive",
    "neighbour_axes",
    "network_diagram",
    "papers_table",
    "player",
    "plot_alignment",
    "plot_attention",
    "plot_attention_evaluation",
    "plot_calibration",
    "plot_class_scores",
    "plot_confusion",
    "plot_correlations",
    "plot_detection",
    "plot_faithfulness",
    "plot_gain_curves",
    "plot_gain_panels",
    "plot_gains",
    "plot_heads",
    "plot_lines",
    "plot_panels",
    "plot_pareto",
    "plot_pattern",
    "plot_predictions",
    "plot_results",
    "plot_simplex",
    "plot_slopes",
    "plot_sparsity",
    "plot_spectrogram",
    "plot_threshold",
    "plot_training",
    "principal_axes",
    "results_table",
    "scrubber",
    "show",
    "sortable_table",
    "split_heads",
    "tabs",
]

mark_cells()
