"""Accents and speakers: which pooling of an utterance tells how, and who, somebody speaks?"""

from .config import Config
from .corpus import Prepared, prepare
from .embedder import Embedder
from .experiment import (
    NAME,
    baseline,
    build_model,
    extract_embeddings,
    load_model,
    run,
    study,
    study_heads,
    study_larger,
)
from .findings import describe_shown, findings, uses, where_it_attends
from .prose import describe_carriers, describe_protocol, describe_speakers

__all__ = [
    "NAME",
    "Config",
    "Embedder",
    "Prepared",
    "baseline",
    "build_model",
    "describe_carriers",
    "describe_protocol",
    "describe_shown",
    "describe_speakers",
    "extract_embeddings",
    "findings",
    "load_model",
    "prepare",
    "run",
    "study",
    "study_heads",
    "study_larger",
    "uses",
    "where_it_attends",
]
