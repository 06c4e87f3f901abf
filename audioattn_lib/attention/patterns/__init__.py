"""Patterns of attention between patches, and their kernels."""
