"""Urban sounds: which attention finds the event in a noisy street?"""

from .config import ATTENTIONS, CONTROL, Config
from .corpus import Prepared, prepare
from .experiment import NAME, REFIT_WIDTHS, baseline, build_model, load_model, run, stages, study

__all__ = [
    "ATTENTIONS",
    "CONTROL",
    "NAME",
    "REFIT_WIDTHS",
    "Config",
    "Prepared",
    "baseline",
    "build_model",
    "load_model",
    "prepare",
    "run",
    "stages",
    "study",
]
