"""Corpora as tables of clips: the manifest and its check, corpora, the synthetic city, stored features, batches."""
