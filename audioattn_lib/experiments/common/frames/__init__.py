"""Frames of a pretrained encoder as features: computed once, averaged, or of windows of a long clip."""
