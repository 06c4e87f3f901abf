"""Attention of pretrained networks from elsewhere over any sound."""
