"""Scores of predictions: classes, labels, numbers, verification, open set, domains, calibration."""
