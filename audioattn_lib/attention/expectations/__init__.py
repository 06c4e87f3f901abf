"""Expectations of basis functions and of values under densities."""
