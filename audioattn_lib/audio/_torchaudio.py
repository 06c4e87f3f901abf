"""The only place that imports torchaudio.

The released wheel of torchaudio is a CUDA build: beside a CPU build of torch
its compiled extension fails to load with ``OSError``. Everything used here is
pure Python on tensors, so in that case the extension is replaced by an empty
one and the import repeated.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import Any

__all__ = ["torchaudio"]


@lru_cache(maxsize=1)
def torchaudio() -> ModuleType:
    """The module ``torchaudio``, without its compiled extension where that cannot load."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its deprecation notices are about loading and saving, unused here
        try:
            return importlib.import_module("torchaudio")
        except OSError as error:
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
                del sys.modules[name]
            sys.modules["torchaudio._extension"] = _no_extension(str(error))
            return importlib.import_module("torchaudio")


def _no_extension(reason: str) -> ModuleType:
    """Create a replacement of the module ``torchaudio._extension`` without compiled functions."""

    def needs_extension(function: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*arguments: Any, **options: Any) -> Any:
            raise RuntimeError(f"torchaudio's {function.__name__} needs its compiled extension ({reason})")

        return refuse

    module: Any = ModuleType("torchaudio._extension")
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False
    module._IS_ALIGN_AVAILABLE = False
    module._check_cuda_version = lambda: None
    module.fail_if_no_align = needs_extension
    return module  # type: ignore[no-any-return]
