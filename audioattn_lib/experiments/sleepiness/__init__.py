"""Sleepiness: does an autoencoder that attends describe a voice better than one that does not?"""

from .config import MAPS, Config
from .corpus import Prepared, prepare
from .experiment import baseline, regress, run, study, study_thresholds
from .findings import MATCHED, describe_alignment, findings, uses
from .results import CorrelationResults
from .training import (
    FEATURES,
    NAME,
    autoencode,
    build_model,
    extract_features,
    features_of,
    load_model,
    rebuild,
)

__all__ = [
    "FEATURES",
    "MAPS",
    "MATCHED",
    "NAME",
    "Config",
    "CorrelationResults",
    "Prepared",
    "autoencode",
    "baseline",
    "build_model",
    "describe_alignment",
    "extract_features",
    "features_of",
    "findings",
    "load_model",
    "prepare",
    "rebuild",
    "regress",
    "run",
    "study",
    "study_thresholds",
    "uses",
]
