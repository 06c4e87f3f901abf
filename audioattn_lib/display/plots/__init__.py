"""Static pictures and tables."""
