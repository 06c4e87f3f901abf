"""Rank of this process among those that torchrun started, from environment variables alone.

Their communication is in :mod:`audioattn_lib.training.distributed`.

Book page: ``batch``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from audioattn_lib.core.errors import ConfigError

__all__ = ["RankInfo", "is_main_process", "rank_info"]

_VARIABLES: Final = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class RankInfo:
    """Place of a process among those that work together.

    Parameters
    ----------
    rank
        Its number, from 0; 0 is the main process.
    world_size
        How many there are, on all machines.
    local_rank
        Its number on its machine, from 0; that of its CUDA device.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """True in the one process that evaluates, writes and prints."""
        return self.rank == 0


def rank_info() -> RankInfo:
    """Place of this process among those that torchrun started; without torchrun it is alone.

    Raises
    ------
    ConfigError
        When the environment speaks of several processes and a variable is missing or no number.

    Notes
    -----
    Book page: ``batch``.
    """
    if os.environ.get("WORLD_SIZE", "") in ("", "1"):
        return RankInfo()
    variables = {name: os.environ.get(name, "") for name in _VARIABLES}
    missing = [name for name, value in variables.items() if not value]
    advice = "start the program with torchrun, which sets them all, or unset WORLD_SIZE"
    if missing:
        names = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'}"
        raise ConfigError(
            f"WORLD_SIZE is {variables['WORLD_SIZE']}, but {names} missing from the environment; {advice}"
        )
    numbers = [variables[name] for name in _VARIABLES[:3]]
    if not all(number.isdigit() for number in numbers) or int(variables["RANK"]) >= int(variables["WORLD_SIZE"]):
        text = ", ".join(f"{name} {variables[name]}" for name in _VARIABLES[:3])
        raise ConfigError(f"the environment has {text}; they must be whole numbers, RANK below WORLD_SIZE; {advice}")
    return RankInfo(*map(int, numbers))


def is_main_process() -> bool:
    """True without torchrun, and in the first of its processes: who prints, logs and shows progress."""
    return rank_info().is_main
