"""Beta-Gaussian densities, their mixtures and losses."""
