"""Play it back: does a network gain by listening again, more closely, to what it chose?"""

from .experiment import (
    COMPARED,
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
