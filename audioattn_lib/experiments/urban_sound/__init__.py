"""Urban sounds: which attention finds the event in a noisy street?"""

from .config import ATTENTIONS, CONTROL, CONTROLS, Config
from .corpus import Prepared, prepare
from .experiment import NAME, REFIT_WIDTHS, baseline, build_model, load_model, run, stages, study
from .findings import findings, uses
from .reading import densities_alone, held_out_networks, reading_table, records_of_reading, what_is_read

__all__ = [
    "ATTENTIONS",
    "CONTROL",
    "CONTROLS",
    "NAME",
    "REFIT_WIDTHS",
    "Config",
    "Prepared",
    "baseline",
    "build_model",
    "densities_alone",
    "findings",
    "held_out_networks",
    "load_model",
    "prepare",
    "reading_table",
    "records_of_reading",
    "run",
    "stages",
    "study",
    "uses",
    "what_is_read",
]
