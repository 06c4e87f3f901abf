"""Style, layout and types, as `make lint` checks them."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("command", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]], ids=" ".join)
@pytest.mark.slow
def test_lint_is_clean(command, root):
    done = subprocess.run([sys.executable, "-m", *command], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
