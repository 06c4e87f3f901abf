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
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.simulated_cuda.plugin",
            "-p",
            "no:cacheprovider",
            "-q",
            *arguments,
        ],
        cwd=ROOT,
        env={**os.environ, "SIMULATED_CUDA": str(device)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("parts", ["experiments", "attention audio data models training"])
def test_what_asks_for_a_device_passes_on_one_that_is_simulated(parts, device):
    done = run(device, "-m", "cuda", *(f"tests/{part}" for part in parts.split()))
    assert done.returncode == 0, done.stdout[-5000:]


MISTAKES = """
import numpy as np
import pytest
import torch

pytestmark = pytest.mark.cuda

@pytest.mark.parametrize("mistake", [
    lambda x: x + torch.ones(3),
    lambda x: torch.where(x > 0, x, torch.zeros(3)),
    lambda x: torch.ones(3)[x > 0],
    lambda x: torch.nn.Linear(3, 2)(x),
    lambda x: np.asarray(x),
    lambda x: torch.rand(3, device="cuda", generator=torch.Generator()),
    lambda x: torch.lerp(x, x.bfloat16(), 0.5),
    lambda x: torch.cat([x, torch.ones(3)]),
])
def test_a_mistake(mistake):
    with pytest.raises((RuntimeError, TypeError)):
        mistake(torch.ones(3, device="cuda"))

def test_what_is_right():
    x = torch.tensor([1.0, 2.0, 3.0], device="cuda").requires_grad_()
    assert x.is_cuda and not x.cpu().is_cuda
    net = torch.nn.GRU(3, 2).cuda()
    with torch.autocast("cuda", torch.bfloat16):
        assert torch.nn.Linear(3, 2, device="cuda")(x).dtype == torch.bfloat16
    (net(x[None])[0].sum() + (2.0 * x)[torch.tensor([0, 2])].sum()).backward()
    assert x.grad.is_cuda and all(p.grad.is_cuda for p in net.parameters())
    assert x.tolist() == [1, 2, 3] and x.sum().item() == 6
"""


@pytest.mark.slow
def test_the_simulation_refuses_what_a_device_refuses(device, tmp_path):
    (tmp_path / "test_mistakes.py").write_text(MISTAKES)
    done = run(device, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), str(tmp_path / "test_mistakes.py"))
    assert done.returncode == 0, done.stdout[-5000:]
    assert "9 passed" in done.stdout
