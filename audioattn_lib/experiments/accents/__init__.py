"""Accents and speakers: which pooling of an utterance tells how, and who, somebody speaks?"""

from .experiment import (
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
