"""Synthetic corpora: reproducible on every machine, with ground truth."""
