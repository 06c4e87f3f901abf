"""Play it back: does a network gain by listening again, more closely, to what it chose?"""

from .experiment import (
    COMPARED,
    NAME,
    Config,
    Prepared,
    baseline,
    build_model,
    hearings,
    load_model,
    prepare,
    run,
    study,
    train_encoder,
)

__all__ = [
    "COMPARED",
    "NAME",
    "Config",
    "Prepared",
    "baseline",
    "build_model",
    "hearings",
    "load_model",
    "prepare",
    "run",
    "study",
    "train_encoder",
]
