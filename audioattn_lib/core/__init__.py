"""Errors, ranks of processes and small helpers below all floors."""
