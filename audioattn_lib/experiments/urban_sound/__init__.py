"""Urban sounds: which attention finds the event in a noisy street?"""

from .experiment import (
    ATTENTIONS,
    CONTROL,
    NAME,
    REFIT_WIDTHS,
    Config,
    baseline,
    build_model,
    load_model,
    prepare,
    run,
    stages,
    study,
)

__all__ = [
    "ATTENTIONS",
    "CONTROL",
    "NAME",
    "REFIT_WIDTHS",
    "Config",
    "baseline",
    "build_model",
    "load_model",
    "prepare",
    "run",
    "stages",
    "study",
]
