"""Boxes of a page: findings, papers, questions and tabs."""
