"""Kernels of another package: the same weights and context, and ours where they do not serve.

Without a CUDA device the real kernels run in Triton's interpreter, where Triton
is installed; a stand-in on the CPU shows everything around them.
"""

import functools
import importlib.util
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import entmax as reference
import pytest
import torch

from audioattn_lib.attention.maps import entmax as maps
from audioattn_lib.attention.maps.entmax import Entmax, entmax
from audioattn_lib.attention.maps.kernels import _adasplash
from audioattn_lib.attention.maps.kernels import _autotune as _fastest
from audioattn_lib.attention.patterns import dot_product
from audioattn_lib.attention.patterns.dot_product import attend
from audioattn_lib.core.errors import ConfigError

ALPHA = [4 / 3, 1.5, 2.0]
INSTALLED = all(importlib.util.find_spec(name) for name in ("adasplash", "triton"))


def as_published(calls, x, alpha, n_iter):
    calls.append(tuple(x.shape))
    assert x.is_contiguous()
    assert x.dtype == torch.float32
    return reference.entmax_bisect(x, alpha, n_iter=60)


def attention_as_published(calls, query, key, value, *, alpha, is_causal, varlen):
    calls.append(tuple(query.shape))
    assert not is_causal
    assert query.shape == key.shape == value.shape
    assert all(tensor.is_contiguous() for tensor in (query, key, value))
    seen = torch.arange(query.shape[2]) < varlen[:, None]
    scores = (query @ key.transpose(-1, -2)).float() / math.sqrt(query.shape[-1])
    weights = reference.entmax_bisect(scores.masked_fill(~seen[:, None, None], -1e4), alpha, n_iter=60)
    return (weights.to(value.dtype) @ value) * seen[:, None, :, None]


@pytest.fixture
def install(monkeypatch):
    """Put something in the place of the package, and the CPU in that of the device; returns the shapes of its calls.

    It is taken wherever it agrees, unless it is to be ``timed``.
    """
    checks = (_adasplash._checked, dot_product._checked)

    def put(entmax_kernel=as_published, attention_kernel=attention_as_published, *, timed=False):
        calls = []
        package = SimpleNamespace(
            triton_entmax=functools.partial(entmax_kernel, calls),
            adasplash_no_block_mask=functools.partial(attention_kernel, calls),
        )
        for module in (_adasplash, dot_product):
            monkeypatch.setattr(module, "package", lambda: package)
            monkeypatch.setattr(module, "is_on_device", _adasplash.are_real)
            monkeypatch.setattr(module, "is_faster", _fastest.is_faster if timed else lambda *ways: True)
        if timed:  # loops that are compiled for the CPU are not there on a device
            monkeypatch.setattr(maps, "are_compiled", lambda x: False)
        for check in checks:
            check.cache_clear()
        _fastest.forget()
        return calls

    yield put
    for check in checks:
        check.cache_clear()
    _fastest.forget()


def by_the_kernel(x, alpha, dim=-1, mask=None):
    return entmax(x, alpha, dim, mask, implementation="adasplash")


@pytest.mark.parametrize("alpha", ALPHA)
def test_weights_and_gradients_are_ours(alpha, install):
    calls = install()
    x = (torch.randn(3, 50, 4) + 1e3).requires_grad_()
    mask = torch.rand(3, 50, 4) > 0.3
    mask[1, :, 2] = False
    p, expected = by_the_kernel(x, alpha, 1, mask), entmax(x, alpha, 1, mask, implementation="ours")
    torch.testing.assert_close(p, expected, atol=1e-6, rtol=0)
    first, other = (torch.autograd.grad(w.square().sum(), x)[0] for w in (p, expected))
    torch.testing.assert_close(first, other, atol=1e-5, rtol=0)
    assert by_the_kernel(x.bfloat16(), alpha).dtype == torch.bfloat16
    assert calls == [(64, 512), (3, 4, 64), (3, 50, 32)]  # the check, then lengths filled up


def test_the_gradient_has_a_gradient(install):
    install()
    x = torch.randn(4, 40, requires_grad=True)

    def second(implementation):
        p = entmax(x, 1.5, implementation=implementation)
        (first,) = torch.autograd.grad((p * x.detach().cos()).sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    torch.testing.assert_close(second("adasplash"), second("ours"), atol=1e-4, rtol=1e-3)


def test_few_lengths_are_compiled(install):
    calls = install()
    for n in range(1, 1025):
        assert by_the_kernel(torch.randn(1, n), 1.5).shape == (1, n)
    lengths = {shape[-1] for shape in calls}
    assert len(lengths) <= 4 * 10
    for n in range(1, 1025):  # a quarter more at most, but for the shortest
        assert any(n <= length <= max(1.25 * n, n + 31) for length in lengths)


@pytest.mark.parametrize(
    ("alpha", "dtype"), [(1.7, torch.float32), (2.5, torch.float32), (1.5, torch.float64), (1.0, torch.float32)]
)
def test_what_the_kernel_does_not_serve_is_ours_or_an_error(alpha, dtype, install):
    calls = install()
    x = torch.randn(3, 5, dtype=dtype)
    assert torch.equal(entmax(x, alpha), entmax(x, alpha, implementation="ours"))
    with pytest.raises(ConfigError, match="implementation is 'adasplash', alpha .* 'auto' takes ours"):
        by_the_kernel(x, alpha)
    assert not calls


def test_function_transforms_take_ours(install):
    calls = install()
    x = torch.randn(3, 5)
    mapped = torch.vmap(functools.partial(entmax, alpha=1.5))(x)
    torch.testing.assert_close(mapped, entmax(x, 1.5, implementation="ours"))
    assert not calls
    with pytest.raises(ConfigError, match="alpha a tensor"):
        by_the_kernel(x, torch.tensor(1.5))


def test_what_the_kernels_cannot_count_is_ours(install, monkeypatch):
    calls = install()
    for module in (_adasplash, dot_product):
        monkeypatch.setattr(module, "MOST_ELEMENTS", 100)
    with pytest.raises(ConfigError, match="the kernel needs"):
        by_the_kernel(torch.randn(10, 10), 1.5)
    attend(*torch.randn(3, 1, 1, 7, 16), alpha=1.5)
    assert not calls
    for empty in (torch.empty(0, 5), torch.empty(2, 0, 5)):
        assert entmax(empty, 1.5).shape == empty.shape
    assert attend(*torch.empty(3, 0, 2, 4, 16), alpha=1.5).shape == (0, 2, 4, 16)


def test_without_the_package_or_a_device_it_is_ours(monkeypatch):
    x = torch.randn(3, 5)
    with pytest.raises(ConfigError, match="scores torch.float32 on cpu"):
        by_the_kernel(x, 1.5)
    monkeypatch.setattr(_adasplash, "is_on_device", lambda x: True)
    monkeypatch.setattr(_adasplash, "package", lambda: None)
    _adasplash._checked.cache_clear()
    with pytest.raises(ConfigError, match="the package adasplash"):
        by_the_kernel(x, 1.5)
    _adasplash._checked.cache_clear()
    with pytest.raises(ConfigError, match="implementation is 'fast'; it must be one of auto, ours, adasplash"):
        Entmax(1.5, implementation="fast")
    assert torch.equal(Entmax(1.5, implementation="ours")(x), entmax(x, 1.5))


def wrong(calls, x, alpha, n_iter):
    return as_published(calls, x, alpha, n_iter) ** 1.01


def broken(calls, *inputs, **options):
    raise RuntimeError("no compiler")


@pytest.mark.parametrize(("kernel", "reason"), [(wrong, "differs from ours by"), (broken, "RuntimeError: no compiler")])
def test_a_kernel_that_does_not_agree_is_not_used(kernel, reason, install):
    install(kernel, lambda calls, *inputs, **options: kernel(calls, inputs[0], 1.5, 10))
    x = torch.randn(3, 5)
    with pytest.warns(RuntimeWarning, match=reason), pytest.raises(ConfigError, match="the kernel needs"):
        by_the_kernel(x, 1.5)
    assert torch.equal(entmax(x, 1.5), entmax(x, 1.5, implementation="ours"))  # without another warning
    heads = [torch.randn(1, 2, 9, 16) for _ in range(3)]
    with pytest.warns(RuntimeWarning, match="attention of adasplash"):
        context = attend(*heads, alpha=1.5)
    torch.testing.assert_close(context, attend(*heads, alpha=1.5, mask=torch.ones(9, 9, dtype=torch.bool)))


@pytest.mark.parametrize("alpha", ALPHA)
@pytest.mark.parametrize(("m", "n"), [(9, 9), (6, 9)])
@pytest.mark.parametrize("padded", [False, True])
def test_context_and_gradients_are_those_of_the_table_of_pairs(alpha, m, n, padded, install):
    calls = install()
    inputs = [torch.randn(2, 3, size, 16, requires_grad=True) for size in (m, n, n)]
    valid = torch.tensor([[1, 1, 0, 1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1, 1, 1, 1]]) > 0 if padded else None
    shown = 1.0 if valid is None else valid[:, None, n - m :, None].float()
    context = attend(*inputs, alpha=alpha, valid=valid)
    assert calls[-1] == (2, 3, n, 16)
    mask = torch.ones(m, n, dtype=torch.bool)
    expected = attend(*inputs, alpha=alpha, mask=mask if valid is None else mask & valid[:, None, None])
    torch.testing.assert_close(context * shown, expected * shown, atol=1e-5, rtol=0)
    gradient, wanted = (torch.autograd.grad((c * shown).square().sum(), inputs) for c in (context, expected))
    for each, other in zip(gradient, wanted, strict=True):
        torch.testing.assert_close(each, other, atol=1e-4, rtol=1e-3)


def test_other_attention_makes_the_table(install):
    calls = install()
    for m, n, features, dtype in ((4, 9, 16, torch.float32), (9, 9, 24, torch.float32), (9, 9, 16, torch.float64)):
        query, key, value = (torch.randn(1, 2, size, features, dtype=dtype) for size in (m, n, n))
        attend(query, key, value, alpha=1.5)
        attend(query, key, value)
    key.requires_grad_()
    attend(query, key, value, alpha=1.5)
    assert not calls


def slowly(calls, *inputs, **options):
    time.sleep(0.02)
    return (as_published if len(inputs) == 1 else attention_as_published)(calls, *inputs, **options)


def test_the_faster_one_is_taken_and_measured_once_for_each_size(install, monkeypatch):
    calls = install(slowly, slowly, timed=True)
    x, heads = torch.randn(3, 40), torch.randn(3, 1, 2, 9, 16)
    assert torch.equal(entmax(x, 1.5), entmax(x, 1.5, implementation="ours"))
    attend(*heads, alpha=1.5)
    measured = len(calls)
    entmax(torch.randn(2, 50), 1.5)
    attend(*heads, alpha=1.5)
    assert len(calls) == measured  # no kernel any more
    by_the_kernel(x, 1.5)
    assert len(calls) == measured + 1  # but where it is asked for
    entmax(torch.randn(3, 70), 1.5)
    attend(*heads.requires_grad_(), alpha=1.5)
    assert len(calls) > measured + 5  # another size, and a gradient

    solve = _adasplash.solve
    monkeypatch.setattr(_adasplash, "solve", lambda *inputs: time.sleep(0.02) or solve(*inputs))
    calls = install(timed=True)
    entmax(x, 1.5)
    measured = len(calls)
    entmax(x, 1.5)
    assert len(calls) == measured + 1


def test_whoever_runs_out_of_memory_is_the_slower_one(install, monkeypatch):
    def out_of_memory(*inputs, **options):
        raise torch.OutOfMemoryError

    def too_much(calls, x, *inputs, **options):
        if x.shape[2] > 130:  # more than it is checked with
            out_of_memory()
        return attention_as_published(calls, x, *inputs, **options)

    install(attention_kernel=too_much, timed=True)
    heads = torch.randn(3, 1, 2, 140, 16)
    table = dot_product._by_table(*heads, 1.5, None, None)
    assert torch.equal(attend(*heads, alpha=1.5), table)
    calls = install(timed=True)
    monkeypatch.setattr(dot_product, "_by_table", out_of_memory)
    torch.testing.assert_close(attend(*heads, alpha=1.5), table)
    assert calls


def test_a_kernel_that_fails_for_some_sizes_is_not_used_for_them(install):
    def limited(calls, x, alpha, n_iter):
        if x.shape[-1] > 600:  # more than it is checked with
            raise RuntimeError("out of resources")
        return as_published(calls, x, alpha, n_iter)

    install(limited, timed=True)
    x = torch.randn(3, 2000)
    with pytest.warns(RuntimeWarning, match="triton_entmax for alpha 1.5 .* out of resources.*ours is used instead"):
        p = entmax(x, 1.5)
    assert torch.equal(p, entmax(x, 1.5))  # without another warning
    torch.testing.assert_close(p, entmax(x, 1.5, implementation="ours"))


def test_the_clock_decides_nothing_where_numbers_must_be_the_same_at_every_run(install):
    calls = install(slowly, slowly, timed=True)
    torch.use_deterministic_algorithms(True)
    try:
        for n in (40, 40, 90):
            entmax(torch.randn(3, n), 1.5)
    finally:
        torch.use_deterministic_algorithms(False)
    assert [shape[-1] for shape in calls] == [512, 64, 64, 96]  # the check, and no turn more than was asked for


def test_timing_leaves_random_numbers_and_graphs_alone(install):
    install(timed=True)
    state = torch.get_rng_state()
    heads = [torch.randn(1, 2, 9, 16, requires_grad=True) for _ in range(3)]
    drawn = torch.get_rng_state()
    context = attend(*heads, alpha=1.5)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not torch.equal(state, drawn)
    assert all(tensor.grad is None for tensor in heads)
    context.sum().backward()
    expected = torch.autograd.grad(dot_product._by_table(*heads, 1.5, None, None).sum(), heads)
    for tensor, gradient in zip(heads, expected, strict=True):
        torch.testing.assert_close(tensor.grad, gradient, atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def interpreted():
    """Errors of the real kernels, by alpha."""
    if not INSTALLED:
        pytest.skip("adasplash and triton are not installed: pip install audioattn[cuda]")
    script = Path(__file__).with_name("adasplash_interpreted.py")

    @functools.cache
    def run(alpha):
        done = subprocess.run([sys.executable, script, str(alpha)], capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ALPHA)
def test_the_real_kernels_equal_ours_in_the_interpreter(alpha, interpreted):
    differences = interpreted(alpha)
    for name, (weights, gradient) in differences["maps"].items():
        half = name in ("half", "bfloat16")
        assert weights <= (8e-3 if half else 2e-6), name
        assert gradient <= (3e-2 if half else 5e-5), name
    for name, (context, *gradients) in differences["attention"].items():
        assert context <= (2e-5 if "float32" in name else 2e-2), name
        if "float32" in name or alpha < 2:  # in half precision rounding decides where the gradient of sparsemax jumps
            assert max(gradients) <= (2e-5 if "float32" in name else 2e-2), name


@pytest.mark.cuda
@pytest.mark.parametrize("alpha", ALPHA)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_kernels_on_a_device_equal_ours(alpha, dtype):
    pytest.importorskip("adasplash")
    exact = dtype == torch.float32
    for n in (1, 50, 400, 32000):
        x = (3 * torch.randn(8, n, device="cuda")).to(dtype).requires_grad_()
        p, expected = by_the_kernel(x, alpha), entmax(x, alpha, implementation="ours")
        torch.testing.assert_close(p.float(), expected.float(), atol=5e-6 if exact else 1e-2, rtol=0)
        first, other = (torch.autograd.grad(w.float().square().sum(), x)[0].float() for w in (p, expected))
        torch.testing.assert_close(first, other, atol=1e-4 if exact else 1e-2, rtol=0)
    rows = torch.full((2, 6), -math.inf, device="cuda")
    assert (by_the_kernel(rows, alpha) == 0).all()


@pytest.mark.cuda
def test_the_default_on_a_device_is_measured_there():
    pytest.importorskip("adasplash")
    _fastest.forget()
    x = torch.randn(8, 400, device="cuda")
    for _ in range(2):
        torch.testing.assert_close(entmax(x, 1.5), entmax(x, 1.5, implementation="ours"), atol=5e-6, rtol=0)
    assert len(_fastest._found) == 1


@pytest.mark.cuda
@pytest.mark.parametrize("features", [16, 64])
@pytest.mark.parametrize("alpha", ALPHA)
def test_attention_on_a_device_equals_the_table_of_pairs(alpha, features):
    pytest.importorskip("adasplash")
    inputs = [torch.randn(2, 3, 300, features, device="cuda", requires_grad=True) for _ in range(3)]
    valid = torch.rand(2, 300, device="cuda") > 0.3
    assert dot_product._checked(alpha, features, torch.float32, inputs[0].device) is not None
    shown = valid[:, None, :, None].float()
    context = attend(*inputs, alpha=alpha, valid=valid) * shown
    expected = attend(*inputs, alpha=alpha, mask=valid[:, None, None]) * shown
    torch.testing.assert_close(context, expected, atol=1e-4, rtol=0)
    gradient, wanted = (torch.autograd.grad(c.square().sum(), inputs) for c in (context, expected))
    for each, other in zip(gradient, wanted, strict=True):
        torch.testing.assert_close(each, other, atol=1e-3, rtol=0)
