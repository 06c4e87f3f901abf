"""Augmentation of sounds and features: masks, mixing, tempo and pitch, noise."""
