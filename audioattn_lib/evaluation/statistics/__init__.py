"""Intervals, comparisons of systems, corrections for their number, Pareto fronts."""
