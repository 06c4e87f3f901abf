"""Mixtures: what attention is worth where an event fills a small share of a clip."""

from .config import ATTENTIONS, CONTROLS, Config
from .corpus import Prepared, prepare
from .experiment import run
from .results import GainResults
from .study import LEARNING_RATES, study

__all__ = ["ATTENTIONS", "CONTROLS", "LEARNING_RATES", "Config", "GainResults", "Prepared", "prepare", "run", "study"]
