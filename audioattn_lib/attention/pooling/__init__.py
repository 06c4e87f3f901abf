"""Attention modules, from frames to one vector a clip."""
