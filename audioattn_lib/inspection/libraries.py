"""Import of the libraries of other people's networks, which are optional.

Book page: ``bring_your_own_model``.
"""

from __future__ import annotations

from typing import Any

from audioattn_lib.audio._torchaudio import torchaudio
from audioattn_lib.core.errors import ConfigError

__all__ = ["import_transformers"]


def import_transformers() -> Any:
    """Import ``transformers``, quiet.

    Returns
    -------
    module
        ``transformers``.

    Raises
    ------
    ConfigError
        When it is not installed.

    Notes
    -----
    It imports torchaudio, and fails where the extension of that does not load: torchaudio is loaded first, without it.
    Book page: ``bring_your_own_model``.
    """
    try:
        torchaudio()
        import transformers
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed; install it with: pip install 'audioattn[models]'") from None
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return transformers
