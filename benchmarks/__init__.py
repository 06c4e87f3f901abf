"""Cost of this project, measured against named references in the same run.

``python -m benchmarks`` runs every module here that defines ``cases(device)``
and writes ``benchmarks/results/<device>.json``.
"""
