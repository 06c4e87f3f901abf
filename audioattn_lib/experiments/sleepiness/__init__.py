"""Sleepiness: does an autoencoder that attends describe a voice better than one that does not?"""

from .experiment import (
    FEATURES,
    MAPS,
    Config,
    Prepared,
    autoencode,
    baseline,
    build_model,
    extract_features,
    features_of,
    load_model,
    prepare,
    rebuild,
    regress,
    run,
    study,
    study_thresholds,
)
from .training import NAME

__all__ = [
    "FEATURES",
    "MAPS",
    "NAME",
    "Config",
    "Prepared",
    "autoencode",
    "baseline",
    "build_model",
    "extract_features",
    "features_of",
    "load_model",
    "prepare",
    "rebuild",
    "regress",
    "run",
    "study",
    "study_thresholds",
]
