"""Accents and speakers: which pooling of an utterance tells how, and who, somebody speaks?"""

from .experiment import (
    NAME,
    Config,
    Embedder,
    Prepared,
    baseline,
    build_model,
    extract_embeddings,
    load_model,
    prepare,
    run,
    study,
    study_heads,
)

__all__ = [
    "NAME",
    "Config",
    "Embedder",
    "Prepared",
    "baseline",
    "build_model",
    "extract_embeddings",
    "load_model",
    "prepare",
    "run",
    "study",
    "study_heads",
]
