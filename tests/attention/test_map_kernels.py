"""Compiled loops give what PyTorch gives, and are not missed where they are not to be had."""

import math
import os
import subprocess
import sys

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from audioattn_lib.attention.maps.entmax import entmax
from audioattn_lib.attention.maps.kernels import _numba

ALPHA = [1.1, 4 / 3, 1.5, 1.7, 2.0, 2.5]


@pytest.fixture
def by_pytorch(monkeypatch):
    """Run a function without the loops."""

    def run(function, *arguments, **options):
        with monkeypatch.context() as patch:
            patch.setattr(_numba, "_kernels", lambda: None)
            return function(*arguments, **options)

    return run


def with_gradient(x, alpha, dim, mask):
    x = x.detach().requires_grad_()
    p = entmax(x, alpha, dim, mask)
    (p * torch.arange(1.0, p.numel() + 1).reshape(p.shape).cos()).sum().backward()
    return p.detach(), x.grad


def scores_of_all_kinds():
    generator = torch.Generator().manual_seed(3)
    plain = torch.randn(3, 7, 40, generator=generator)
    yield plain, None
    yield 30 * plain, torch.rand(3, 7, 40, generator=generator) > 0.5
    yield plain + 1e4, torch.zeros(3, 7, 40, dtype=torch.bool)
    yield plain.masked_fill(torch.rand(3, 7, 40, generator=generator) > 0.1, -math.inf), None
    yield torch.zeros(2, 300, 3), None
    yield plain[..., :1], None
    yield torch.randn(2, 6000, 2, generator=generator), None
    yield plain.transpose(0, 2)[::2], None
    yield plain[:, :1].expand(3, 5, 40), None
    yield torch.randn(0, 5, 4), None


@pytest.mark.parametrize("dim", [0, 1, 2, -2])
@pytest.mark.parametrize("alpha", ALPHA)
@pytest.mark.parametrize(("dtype", "budget"), [(torch.float32, 2e-6), (torch.float64, 1e-13)])
def test_loops_equal_pytorch(alpha, dim, dtype, budget, by_pytorch):
    for scores, mask in scores_of_all_kinds():
        x = scores.to(dtype)
        if x.shape[dim] == 0:
            continue
        ours, expected = with_gradient(x, alpha, dim, mask), by_pytorch(with_gradient, x, alpha, dim, mask)
        assert _numba.are_compiled(x)
        for each, other in zip(ours, expected, strict=True):
            torch.testing.assert_close(each, other, atol=budget, rtol=1e-5 if dtype == torch.float32 else 1e-12)
        assert ours[0].is_contiguous()


@pytest.mark.parametrize("alpha", ALPHA)
def test_non_finite_scores_are_named_in_the_layout_given(alpha):
    x = torch.zeros(2, 5, 3)
    for bad in (math.nan, math.inf):
        x[1, 4, 2] = bad
        with pytest.raises(ValueError, match=r"1 values that are NaN or \+inf, the first at \(1, 4, 2\)"):
            entmax(x, alpha, 1)
        x[1, 4, 1] = -math.inf
        with pytest.raises(ValueError, match=r"the first at \(1, 4, 2\)"):
            entmax(x, alpha, -1)


@pytest.mark.parametrize("alpha", ALPHA)
def test_gradients_where_memory_is_not_in_order(alpha):
    base = torch.randn(3, 4, 2, dtype=torch.float64).requires_grad_()
    for view in (lambda x: x.transpose(0, 1), lambda x: x[:, ::2], lambda x: x[..., :1].expand(3, 4, 2) + 0 * x):
        assert gradcheck(lambda x, view=view: entmax(view(x), alpha, 1), base)
        assert gradgradcheck(lambda x, view=view: entmax(view(x), alpha, 1), base)


def test_a_batch_of_gradients_at_once():
    x = torch.randn(3, 4, dtype=torch.float64)
    for alpha in ALPHA:
        single = torch.autograd.functional.jacobian(lambda x, alpha=alpha: entmax(x, alpha), x)
        many = torch.autograd.functional.jacobian(lambda x, alpha=alpha: entmax(x, alpha), x, vectorize=True)
        torch.testing.assert_close(single, many)


def test_devices_and_traces_are_left_to_pytorch():
    assert _numba.are_compiled(torch.randn(2, 3))
    assert not _numba.are_compiled(torch.empty(2, 3, device="meta"))
    assert [_numba.whole_power(alpha) for alpha in (4 / 3, 1.5, 2.0, 1.25, 1.7, 3.0, 1.0001)] == [3, 2, 1] + [None] * 4


IN_PARALLEL = """
import os, threading, torch
from audioattn_lib.attention.maps.kernels import _jobs
from audioattn_lib.attention.maps.entmax import entmax
x = torch.randn(2000, 64)
torch.set_num_threads(1)
expected = entmax(x, 1.5).numpy()
torch.set_num_threads(3)
same = []
threads = [threading.Thread(target=lambda: same.append((entmax(x, 1.5).numpy() == expected).all())) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert same == [True] * 3
assert (_jobs._pool() is not None) == ("OpenMP" in torch.__config__.parallel_info())
process = os.fork()
if not process:
    # PyTorch's own operations would wait for threads that are gone
    os._exit(0 if (entmax(x, 1.5).numpy() == expected).all() else 1)
assert os.waitpid(process, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_threads_share_the_rows_and_a_forked_process_does_without(tmp_path):
    subprocess.run([sys.executable, "-c", IN_PARALLEL], check=True, cwd=tmp_path, timeout=120)


FRESH = """
import sys
import torch, audioattn_lib, audioattn_lib.attention.maps.entmax as maps
assert "numba" not in sys.modules, "numba was imported before it was needed"
{before}
for _ in range(2):
    p = maps.entmax(torch.tensor([[0.0, 1.0, -9.0]]), 1.5)
assert abs(p.sum().item() - 1) < 1e-6 and p[0, 2] == 0
from audioattn_lib.attention.maps.kernels import _numba
assert (_numba._kernels() is not None) is {compiled}
"""

NOWHERE = """
from numba.core.dispatcher import Dispatcher
def fail(self): raise RuntimeError("cannot cache function")
Dispatcher.enable_caching = fail
"""


@pytest.mark.parametrize(
    ("before", "compiled"),
    [
        ("", True),
        ("sys.modules['numba'] = None", False),
        ("import os; os.environ['NUMBA_DISABLE_JIT'] = '1'", False),
        (NOWHERE, True),
    ],
    ids=["as installed", "without numba", "numba switched off", "nowhere to keep the compiled loops"],
)
def test_numba_is_imported_when_needed_and_may_be_missing(before, compiled, tmp_path):
    script = FRESH.format(before=before, compiled=compiled)
    done = subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, capture_output=True, text=True)
    # said once, and not to those who switched it off themselves
    assert done.stderr.count("maps run on PyTorch's operations") == ("modules['numba'] = None" in before)


KEEPS = """
import torch
import audioattn_lib.attention.expectations._numba as expectations
from audioattn_lib.attention.maps.entmax import entmax
entmax(torch.zeros(1, 2, requires_grad=True), 2.0).sum().backward()
assert expectations._loops() is not None
"""


@pytest.mark.parametrize("writable", [True, False])
def test_compiled_loops_are_kept_in_the_cache_and_never_in_the_package(writable, tmp_path, root):
    package = root / "audioattn_lib"
    before = {path: path.stat().st_mtime_ns for path in package.rglob("*.nb[ci]")}
    cache = tmp_path / "cache"
    if not writable:
        cache.write_text("a file where the folder would be")
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"AUDIOATTN_CACHE": str(cache)}
    subprocess.run([sys.executable, "-c", KEEPS], check=True, cwd=root, env=environment)
    assert {path: path.stat().st_mtime_ns for path in package.rglob("*.nb[ci]")} == before
    kept = {path.name.partition("-")[0] for path in tmp_path.rglob("*.nbc")}
    assert kept == (
        {"_numba_loops.weights_1_32", "_numba_loops.gradient_1_32", "_numba_loops.fill"} if writable else set()
    )
