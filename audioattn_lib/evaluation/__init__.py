"""Metrics, intervals, comparisons, baselines and measures of faithfulness."""
