"""Loads what PyTorch has to meet before it is imported: ``device.cpp``, compiled, as ``SIMULATED_CUDA`` says."""

import ctypes
import os
import sys

assert "torch" not in sys.modules, "load this before anything that imports torch"
ctypes.CDLL(os.environ["SIMULATED_CUDA"], mode=ctypes.RTLD_GLOBAL)
