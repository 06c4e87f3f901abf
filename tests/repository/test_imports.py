"""Laws of imports that wait: nothing is loaded before it is asked for, and then it is the package itself."""

import gc
import subprocess
import sys

import pytest

from audioattn_lib.core.imports import import_later, without_collection


@pytest.mark.parametrize(
    ("ask", "printed"),
    [
        ("import wave as w", "False"),
        ("import wave as w; import importlib.util; importlib.util.find_spec('wave')", "False"),
        ("import wave as w; w.open", "True"),
        ("from wave import open", "True"),
    ],
)
def test_a_package_is_loaded_when_something_in_it_is_asked_for(ask, printed):
    code = f"""
import sys
from audioattn_lib.core.imports import import_later
import_later("wave")
{ask}
print("Wave_read" in vars(sys.modules["wave"]))
import wave
assert wave.open is wave.open and wave.Wave_read.__module__ == "wave"
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == printed


def test_what_is_imported_stays_and_what_is_not_installed_is_not_found():
    before = sys.modules["pytest"]
    import_later("pytest")
    assert sys.modules["pytest"] is before
    import_later("no_package_of_this_name")
    assert "no_package_of_this_name" not in sys.modules


def test_garbage_is_collected_again_after_an_error():
    with pytest.raises(ZeroDivisionError), without_collection():
        assert not gc.isenabled()
        raise ZeroDivisionError
    assert gc.isenabled()
