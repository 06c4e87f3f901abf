"""The kernels of adasplash on the CPU, by Triton's interpreter, beside ours: prints errors as JSON.

The interpreter is chosen by the environment before Triton is imported, and for
good: so this is a process of its own, which ``test_adasplash.py`` starts. What
the interpreter lacks is put in its place here: two functions of CUDA's library,
and the size of a block, which the package leaves to its tuner. It computes
nothing right in bfloat16, so attention is compared in float32 and float16.
"""

import importlib
import json
import math
import os
import sys
import warnings

os.environ["TRITON_INTERPRET"] = "1"

import torch
import triton
import triton.language as tl

from audioattn_lib.attention.maps.entmax import entmax
from audioattn_lib.attention.maps.kernels import _adasplash
from audioattn_lib.attention.patterns import dot_product
from audioattn_lib.attention.patterns.dot_product import attend


@triton.jit
def round_down(x):
    # -inf becomes the lowest number, as on the device
    return tl.floor(tl.maximum(x, -1e6)).to(tl.int32)


@triton.jit
def is_infinite(x):
    return tl.abs(x) == float("inf")


class Sized:
    """A kernel that is told the size of its blocks."""

    def __init__(self, kernel, size):
        self.kernel, self.size = kernel, size

    def __getitem__(self, grid):
        return lambda *arguments: self.kernel[grid](*arguments, BLOCK_N=self.size)


def prepare(size=1024):
    module = importlib.import_module("adasplash.triton_entmax_v2")
    module.float2int_rd, module.isinf = round_down, is_infinite
    for name in ("_fwd_entmax", "_bwd_entmax"):
        setattr(module, name, Sized(getattr(module, name), size))
    _adasplash.is_on_device = dot_product.is_on_device = lambda x: True
    dot_product.is_faster = lambda *ways: True  # an interpreter never is


def far(ours, other):
    return float((ours.detach().double() - other.detach().double()).abs().max())


def weights_and_gradient(x, alpha, mask, implementation):
    x = x.detach().requires_grad_()
    p = entmax(x, alpha, -1, mask, implementation=implementation)
    (p.float() * torch.arange(1.0, p.numel() + 1).reshape(p.shape).cos()).sum().backward()
    return p.detach(), x.grad


def maps():
    generator = torch.Generator().manual_seed(1)
    for n in (1, 2, 7, 400, 1000):
        for scale in (0.1, 1, 10):
            yield f"{n} scores of scale {scale}", scale * torch.randn(4, n, generator=generator), None
    plain = torch.randn(3, 5, 40, generator=generator)
    n = torch.arange(2000.0)
    yield "a line", -n[None], None
    yield "a slow line", -n[None] / 2000, None
    yield "a parabola", -(n[None] ** 2) / 2000, None
    yield "one above the others", torch.where(n == 7, 0.0, -0.9)[None], None
    yield "one below the others", torch.where(n == 7, -1e-3, 0.0)[None], None
    yield "heavy tails", torch.distributions.Cauchy(0.0, 1.0).icdf((n + 0.5) / 2000)[None], None
    yield "many", 3 * torch.randn(1, 32000, generator=generator), None
    yield "far from 0", plain + 1e4, None
    yield "equal", torch.zeros(2, 300), None
    yield "ties", torch.randint(0, 3, (4, 100), generator=generator).float(), None
    yield "a row of nothing", plain, torch.ones(3, 5, 40, dtype=torch.bool).index_fill(1, torch.tensor([2]), False)
    yield "few", plain.masked_fill(torch.rand(3, 5, 40, generator=generator) > 0.1, -math.inf), None
    yield "half", plain.half(), None
    yield "bfloat16", plain.bfloat16(), None


def compare_maps(alpha):
    results = {}
    for name, x, mask in maps():
        ours, theirs = (weights_and_gradient(x, alpha, mask, each) for each in ("ours", "adasplash"))
        results[name] = [far(a, b) for a, b in zip(ours, theirs, strict=True)]
    return results


def compare_attention(alpha):
    generator = torch.Generator().manual_seed(2)
    collected = {}
    for dtype in (torch.float32, torch.float16):
        for features, m, n, padded in ((16, 70, 70, False), (32, 66, 70, True), (64, 40, 40, True)):
            q, k, v, g = (torch.randn(2, 2, size, features, generator=generator).to(dtype) for size in (m, n, n, m))
            valid = (torch.rand(2, n, generator=generator) > 0.4) if padded else None
            shown = torch.ones(2, 1, m, 1) if valid is None else valid[:, None, n - m :, None]
            results = []
            for served in (False, True):
                dot_product.is_on_device = lambda x, served=served: served
                inputs = [x.to(dtype if served else torch.float64).requires_grad_() for x in (q, k, v)]
                context = attend(*inputs, alpha=alpha, valid=valid) * shown.to(inputs[0].dtype)
                results.append([context, *torch.autograd.grad(context, inputs, g.to(context.dtype))])
            name = f"{dtype}, {features} features, {m} of {n} tokens{', padding' if padded else ''}"
            collected[name] = [far(a, b) for a, b in zip(*results, strict=True)]
    return collected


if __name__ == "__main__":
    prepare()
    # so that what is compared is a kernel, and not ours in its place
    warnings.filterwarnings("error", "(triton_entmax|attention) of adasplash", RuntimeWarning)
    alpha = float(sys.argv[1])
    print(json.dumps({"maps": compare_maps(alpha), "attention": compare_attention(alpha)}))
