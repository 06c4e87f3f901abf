"""Scenes and instruments: does attention that keeps frequencies apart survive a device it never heard?"""

from .config import Config
from .corpus import Prepared, prepare
from .experiment import NAME, PATTERNS, attention_layers, baseline, build_model, load_model, run, study
from .findings import findings, main_test

__all__ = [
    "NAME",
    "PATTERNS",
    "Config",
    "Prepared",
    "attention_layers",
    "baseline",
    "build_model",
    "findings",
    "load_model",
    "main_test",
    "prepare",
    "run",
    "study",
]
