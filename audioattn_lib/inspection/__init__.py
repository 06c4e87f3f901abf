"""Attention of any PyTorch model: captured while it runs, reduced, and given the time of its tokens."""
