"""The exceptions of the library.

Every message says what was given, what is allowed and what to do next. All of
them derive from :class:`AudioAttnError`, so one ``except`` clause catches what
a user can mend, and from the built-in exception of the same meaning, so code
that does not import this library still catches them.
"""

__all__ = ["AudioAttnError", "AudioError", "ConfigError", "ManifestError", "RunError"]


class AudioAttnError(Exception):
    """Base of every error that this library raises on bad input."""


class ConfigError(AudioAttnError, ValueError):
    """An unknown option or an impossible value; the message names the field."""


class AudioError(AudioAttnError, ValueError):
    """A sound that cannot be used; the message names the file."""


class ManifestError(AudioAttnError, ValueError):
    """A table of clips that cannot be used; the message names file, row and column."""


class RunError(AudioAttnError, RuntimeError):
    """A run directory that is missing, incomplete or damaged; the message names it."""
