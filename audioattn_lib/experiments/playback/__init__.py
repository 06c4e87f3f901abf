"""Play it back: does a network gain by listening again, more closely, to what it chose?"""

from .config import Config
from .corpus import Prepared, prepare
from .experiment import COMPARED, NAME, baseline, build_model, load_model, run, study, trace_clip, train_encoder
from .findings import findings
from .prose import describe_conclusions, describe_hops

__all__ = [
    "COMPARED",
    "NAME",
    "Config",
    "Prepared",
    "baseline",
    "build_model",
    "describe_conclusions",
    "describe_hops",
    "findings",
    "load_model",
    "prepare",
    "run",
    "study",
    "trace_clip",
    "train_encoder",
]
