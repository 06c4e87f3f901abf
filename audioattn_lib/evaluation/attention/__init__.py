"""Evaluation of attention: localisation, deletion and insertion, attributions in one table."""
