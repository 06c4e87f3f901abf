"""Convolutional and transformer networks, from spectrograms to frames."""
