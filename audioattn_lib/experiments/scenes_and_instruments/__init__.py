"""Scenes and instruments: does attention that keeps frequencies apart survive a device it never heard?"""

from .config import Config
from .corpus import Prepared, prepare
from .devices import Domain, domains_heard
from .domain_methods import domain_method_title
from .experiment import NAME, PATTERNS, attention_layers, baseline, build_model, load_model, run, study
from .findings import findings, main_test
from .prose import describe_heard, describe_limits
from .results import test_title

__all__ = [
    "NAME",
    "PATTERNS",
    "Config",
    "Domain",
    "Prepared",
    "attention_layers",
    "baseline",
    "build_model",
    "describe_heard",
    "describe_limits",
    "domain_method_title",
    "domains_heard",
    "findings",
    "load_model",
    "main_test",
    "prepare",
    "run",
    "study",
    "test_title",
]
