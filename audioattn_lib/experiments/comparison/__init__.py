"""Comparison: every mechanism on every task of the book that can take it, under one protocol."""

from .config import Config
from .corpus import Prepared, prepare
from .experiment import NAME, baseline, run
from .findings import findings, uses
from .mechanisms import CONTROL, FAMILIES, MECHANISMS, REFUSED, Mechanism
from .results import COLUMNS, ComparisonResults, ResultColumn
from .study import Comparison, study
from .tasks import TASKS, Task

__all__ = [
    "COLUMNS",
    "CONTROL",
    "FAMILIES",
    "MECHANISMS",
    "NAME",
    "REFUSED",
    "TASKS",
    "Comparison",
    "ComparisonResults",
    "Config",
    "Mechanism",
    "Prepared",
    "ResultColumn",
    "Task",
    "baseline",
    "findings",
    "prepare",
    "run",
    "study",
    "uses",
]
