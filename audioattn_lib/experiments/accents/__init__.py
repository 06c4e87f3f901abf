"""Accents and speakers: which pooling of an utterance tells how, and who, somebody speaks?"""

from .config import Config
from .corpus import Prepared, prepare
from .embedder import Embedder
from .experiment import NAME, baseline, build_model, extract_embeddings, load_model, run, study, study_heads
from .findings import findings, uses

__all__ = [
    "NAME",
    "Config",
    "Embedder",
    "Prepared",
    "baseline",
    "build_model",
    "extract_embeddings",
    "findings",
    "load_model",
    "prepare",
    "run",
    "study",
    "study_heads",
    "uses",
]
