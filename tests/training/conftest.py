"""Property tests here are never failed for being slow: the machine is shared."""

from hypothesis import settings

settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")
