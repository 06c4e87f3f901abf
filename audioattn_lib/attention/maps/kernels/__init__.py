"""Compiled loops and GPU kernels behind the maps, and the choice between them."""
