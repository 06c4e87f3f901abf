"""Tests that ask for a device, where there is none: see ``simulated_cuda/plugin.py``."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).with_name("simulated_cuda")


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """The library that the plugin needs, compiled for the PyTorch that is installed."""
    if torch.version.cuda or torch.version.hip:
        pytest.skip("this PyTorch asks a device of its own")
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler: install g++")
    torch_root = Path(importlib.util.find_spec("torch").origin).parent
    library = tmp_path_factory.mktemp("cuda") / "device.so"
    headers = [f"-I{torch_root / 'include'}"]
    libraries = ["-Wl,--no-as-needed", f"-L{torch_root / 'lib'}", f"-Wl,-rpath,{torch_root / 'lib'}"]
    command = [compiler, "-std=c++20", "-shared", "-fPIC", *headers, str(HERE / "device.cpp"), "-o", str(library)]
    done = subprocess.run([*command, *libraries, "-lc10", "-ltorch_cpu"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return library


def run(device, *arguments):
    plugins = "-p tests.simulated_cuda.library -p tests.simulated_cuda.plugin -p no:cacheprovider"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins.split(), *arguments],
        cwd=ROOT,
        env={**os.environ, "SIMULATED_CUDA": str(device)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("parts", ["experiments", "attention audio data models training"])
def test_what_asks_for_a_device_passes_on_one_that_is_simulated(parts, device):
    done = run(device, "-m", "cuda", *(f"tests/{path}" for path in parts.split()))
    assert done.returncode == 0, done.stdout[-5000:]


@pytest.mark.slow
def test_the_simulation_refuses_what_a_device_refuses(device):
    done = run(device, HERE / "mistakes.py")
    assert done.returncode == 0, done.stdout[-5000:]
    assert "9 passed" in done.stdout
