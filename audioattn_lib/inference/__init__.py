"""Trained models on any sound: a model is loaded from its folder alone, and listens to files, samples and recordings.

Book page: ``your_sounds``.
"""
