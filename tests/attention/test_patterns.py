"""Laws of the attention patterns: what a name means, and that every kernel computes the masked dense reference."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audioattn_lib.attention.maps.entmax import entmax
from audioattn_lib.attention.patterns.kernels import AttentionPlan
from audioattn_lib.attention.patterns.names import (
    PATTERNS,
    Dense,
    DistancePenalty,
    HighLow,
    PatchGrid,
    RowBand,
    RowGroups,
    TokenBand,
    TokenBlocks,
    TwoBranches,
    parse_pattern,
    parse_patterns,
)
from audioattn_lib.core.errors import ConfigError

GRID = PatchGrid(5, 7)
NAMES = [
    "dense",
    "high_low",
    "per_row",
    "per_row_2",
    "sparse_row_3",
    "row_overlap_2",
    "row_overlap_4",
    "token_overlap",
    "token_overlap_3",
    "token_overlap_9_0.5",
    "token_overlap_4_1",
    "attn_penalty",
    "attn_penalty_6_4_2.5",
    "high_low_branch",
    "high_low_branch_v2",
]
BANDS = ["row_overlap_2", "row_overlap_4", "token_overlap", "token_overlap_3", "token_overlap_9_0.5"]


def tokens(n, *, batch=2, heads=3, width=4, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, heads, n, width, generator=generator, dtype=dtype).requires_grad_() for _ in range(3)]


def reference(pattern, grid, query, key, value, n_global=2, positions=None, valid=None, alpha=1.0):
    """The definition: all pairs, minus infinity where the pattern says no."""
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(~pattern.mask(grid, n_global, positions), -torch.inf)
    bias = pattern.bias(grid.positions() if positions is None else positions, grid, scores.dtype)
    if bias is not None:
        padded = torch.zeros_like(scores[0, 0])
        padded[n_global:, n_global:] = bias
        scores = scores + padded
    if valid is not None:
        seen = torch.cat([torch.ones(len(valid), n_global, dtype=torch.bool), valid], dim=1)
        scores = scores.masked_fill(~seen[:, None, None], -torch.inf)
    return entmax(scores, alpha) @ value


def compare(
    pattern, grid, *, kernel="auto", n_global=2, positions=None, valid=None, alpha=1.0, dtype=torch.float64, tol=1e-10
):
    n = n_global + (grid.size if positions is None else len(positions))
    inputs = tokens(n, dtype=dtype)
    plan = AttentionPlan(pattern, grid, n_global, positions=positions, valid=valid, alpha=alpha, kernel=kernel)
    ours, expected = plan(*inputs), reference(pattern, grid, *inputs, n_global, positions, valid, alpha)
    # What padding is given is nobody's business.
    weight = torch.randn(ours.shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
    if valid is not None:
        weight[:, :, n_global:] *= valid[:, None, :, None]
    torch.testing.assert_close(ours * (weight != 0), expected * (weight != 0), atol=tol, rtol=tol)
    gradient = torch.autograd.grad((ours * weight).sum(), inputs)
    wanted = torch.autograd.grad((expected * weight).sum(), inputs)
    for each, other in zip(gradient, wanted, strict=True):
        torch.testing.assert_close(each, other, atol=tol, rtol=tol)
    return plan


def ways(name):
    yield "auto"
    if not name.startswith("attn_penalty"):
        yield "blocks"
    yield "masked"


EVERY = pytest.mark.parametrize(("name", "kernel"), [(n, k) for n in NAMES for k in ways(n)])


def by_definition(name, grid):
    """The published rules, pair by pair."""
    rows = [i // grid.columns for i in range(grid.size)]
    step = int(9 * 0.5)
    rules = {
        "high_low": lambda i, j: (rows[i] < grid.rows // 2) == (rows[j] < grid.rows // 2),
        "per_row": lambda i, j: rows[i] == rows[j],
        "per_row_2": lambda i, j: rows[i] // 2 == rows[j] // 2,
        "sparse_row_3": lambda i, j: rows[i] // 3 == rows[j] // 3,
        "row_overlap_2": lambda i, j: abs(rows[i] - rows[j]) <= 1,
        "row_overlap_4": lambda i, j: abs(rows[i] - rows[j]) <= 3,
        "token_overlap": lambda i, j: abs(i - j) < grid.columns,
        "token_overlap_3": lambda i, j: abs(i - j) < 3,
        "token_overlap_9_0.5": lambda i, j: any(a <= i < a + 9 and a <= j < a + 9 for a in range(0, grid.size, step)),
        "token_overlap_4_1": lambda i, j: i // 4 == j // 4,
    }
    rule = rules.get(name, rules["high_low"] if "branch" in name else lambda i, j: True)
    return torch.tensor([[rule(i, j) for j in range(grid.size)] for i in range(grid.size)])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("grid", [GRID, PatchGrid(6, 2)], ids=str)
def test_a_mask_is_the_published_rule(name, grid):
    pattern = parse_pattern(name)
    mask = pattern.mask(grid)
    assert torch.equal(mask[2:, 2:], by_definition(name, grid))
    assert mask[:2].all()
    assert mask[:, :2].all()
    assert pattern.pairs(grid) == mask.sum()
    assert pattern.multiply_adds(grid, 64) == 2 * 64 * mask.sum()
    assert f"{100 * mask.float().mean():.1f} %" in pattern.describe(grid)


@EVERY
def test_every_kernel_is_the_masked_reference(name, kernel):
    compare(parse_pattern(name), GRID, kernel=kernel)
    compare(parse_pattern(name), GRID, kernel=kernel, n_global=5)
    compare(parse_pattern(name), GRID, kernel=kernel, dtype=torch.float32, tol=1e-5)


@EVERY
def test_patchout_and_padding_make_patterns_ragged(name, kernel):
    pattern = parse_pattern(name)
    generator = torch.Generator().manual_seed(2)
    positions = torch.randperm(GRID.size, generator=generator)[:21].sort().values
    columns = torch.tensor([7, 3])
    valid = torch.arange(7) < columns[:, None]
    compare(pattern, GRID, kernel=kernel, positions=positions)
    compare(pattern, GRID, kernel=kernel, valid=valid.repeat(1, 5))
    for alpha in (1.0, 1.5, 1.7):
        ragged = valid.repeat(1, 5)[:, positions]
        compare(pattern, GRID, kernel=kernel, valid=ragged, positions=positions, alpha=alpha, tol=1e-9)
    rows_gone = GRID.positions()[7:28]
    compare(pattern, GRID, kernel=kernel, positions=rows_gone, n_global=1)


@settings(max_examples=40)
@given(
    name=st.sampled_from(NAMES),
    rows=st.integers(4, 9),
    columns=st.integers(3, 12),
    n_global=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_any_grid_and_any_patchout(name, rows, columns, n_global, seed):
    grid = PatchGrid(rows, columns)
    generator = torch.Generator().manual_seed(seed)
    left = int(torch.randint(1, grid.size + 1, (), generator=generator))
    positions = torch.randperm(grid.size, generator=generator)[:left].sort().values
    compare(parse_pattern(name), grid, n_global=n_global, positions=positions)


@pytest.mark.parametrize(("name", "parts"), [("dense", 1), ("per_row_2", 4), ("high_low", 3), ("row_overlap_2", 1)])
def test_parts_are_the_context_cut_into_pieces(name, parts):
    grid = PatchGrid(6, 5)
    inputs = tokens(32)
    plan = AttentionPlan(parse_pattern(name), grid)
    result = plan.parts(*inputs)
    assert len(result) == parts, "the global tokens, then one for each group"
    torch.testing.assert_close(torch.cat(result, dim=2), plan(*inputs), atol=0, rtol=0)


def test_long_bands_are_run_in_blocks_of_queries():
    grid = PatchGrid(6, 130)
    for name in ("token_overlap_50", "row_overlap_2"):
        plan = compare(parse_pattern(name), grid, kernel="blocks")
        assert len(plan.blocks) > 2
        widest = max((b.last - b.first) * (b.stop - b.start) for b in plan.blocks)
        assert widest < grid.size**2 / 3


@pytest.mark.parametrize("name", ["per_row", "sparse_row_3", "high_low", "token_overlap_5_1"])
@pytest.mark.parametrize("left", [None, 20])
def test_groups_never_make_a_table_of_all_pairs(name, left):
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            for each in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(each, torch.Tensor):
                    largest = max(largest, each.numel())
            return result

    grid = PatchGrid(6, 40)
    positions = None if left is None else torch.randperm(240, generator=torch.Generator().manual_seed(0))[: left * 6]
    if positions is not None:
        positions = positions.sort().values
    n = 2 + (240 if positions is None else len(positions))
    query, key, value = tokens(n, batch=1, heads=1, width=1)
    with Watch():
        plan = AttentionPlan(parse_pattern(name), grid, positions=positions, valid=torch.ones(1, n - 2) > 0)
        plan(query, key, value).sum().backward()
    assert plan.kernel == "blocks"
    assert largest < n * n / 2


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("attn_penalty")])
def test_flex_attention_agrees(name):
    # its backward needs CUDA; the mask, which is ours, is the same
    pattern, positions = parse_pattern(name), GRID.positions()[3:30]
    valid = (torch.arange(27) < torch.tensor([[20], [27]])) | (torch.arange(27) < 2)
    query, key, value = (x.detach().float() for x in tokens(29))
    for mask in (None, valid):
        plan = AttentionPlan(pattern, GRID, positions=positions, valid=mask, kernel="flex")
        expected = reference(pattern, GRID, query, key, value, 2, positions, mask)
        torch.testing.assert_close(plan(query, key, value), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.cuda
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ragged", [False, True])
def test_cuda_agrees_with_the_reference(name, ragged):
    grid, pattern = PatchGrid(12, 39), parse_pattern(name)
    positions = torch.randperm(468, generator=torch.Generator().manual_seed(0))[:300].sort().values if ragged else None
    valid = None
    if ragged:
        valid = (positions % 39 < torch.tensor([[39], [20]])).cuda()
    n = 2 + (468 if positions is None else 300)
    inputs = [x.detach().float().cuda().requires_grad_() for x in tokens(n, width=32)]
    plan = AttentionPlan(pattern, grid, positions=positions, valid=valid, device="cuda")
    masked = AttentionPlan(pattern, grid, positions=positions, valid=valid, device="cuda", kernel="masked")
    ours, expected = plan(*inputs), masked(*inputs)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    for each, other in zip(
        torch.autograd.grad(ours.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(each, other, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_the_gradient(name):
    grid = PatchGrid(4, 3)
    plan = AttentionPlan(parse_pattern(name), grid) if "9" not in name else AttentionPlan(TokenBlocks(5, 0.4), grid)
    inputs = tokens(14, batch=1, heads=1, width=2)
    assert torch.autograd.gradcheck(plan, inputs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kernel", ["auto", "masked"])
@pytest.mark.parametrize("alpha", [1.0, 1.5])
def test_weights_are_what_the_context_is_read_with(name, kernel, alpha):
    pattern = parse_pattern(name)
    positions = GRID.positions()[4:31]
    valid = torch.arange(27) < torch.tensor([[27], [20]])
    query, key, value = tokens(29)
    plan = AttentionPlan(pattern, GRID, positions=positions, valid=valid, alpha=alpha, kernel=kernel)
    weights = plan.weights(query, key)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    torch.testing.assert_close(weights @ value, plan(query, key, value))
    torch.testing.assert_close(plan.weights(query, key, queries=2), weights[:, :, :2])
    assert (weights[1, :, :, 22:] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision(name, dtype):
    plan = AttentionPlan(parse_pattern(name), GRID)
    inputs = [x.detach() for x in tokens(37)]
    low = plan(*(x.to(dtype) for x in inputs))
    assert low.dtype == dtype
    torch.testing.assert_close(low.double(), plan(*inputs), atol=0.05, rtol=0.05)


def test_large_scores_do_not_break_a_mask():
    # the published mask adds -10000, which a score of 20000 outweighs
    query, key, value = (x.detach() for x in tokens(37))
    plan = AttentionPlan(RowGroups(1), GRID)
    changed = value.clone()
    changed[:, :, 9:] = 1e6
    inside = slice(2, 9)
    expected = plan(query * 1e5, key, value)[:, :, inside]
    assert torch.equal(plan(query * 1e5, key, changed)[:, :, inside], expected)


def test_names():
    assert parse_pattern("") == parse_pattern("dense") == Dense()
    assert parse_pattern("sparse_row_6") == parse_pattern("per_row_6") == RowGroups(6)
    assert parse_pattern("per_row") == RowGroups(1)
    assert parse_pattern("row_overlap") == RowBand(2)
    assert parse_pattern("row_overlap_8") == RowBand(8)
    assert parse_pattern("token_overlap") == TokenBand()
    assert parse_pattern("token_overlap_50") == TokenBand(50)
    assert parse_pattern("token_overlap_50_0.5") == TokenBlocks(50, 0.5)
    assert parse_pattern("attn_penalty_297_99_16") == DistancePenalty(297, 99, 16)
    assert parse_pattern("high_low_branch") == TwoBranches()
    assert parse_pattern("high_low_branch_v2") == TwoBranches(streams=True)
    assert HighLow() != TwoBranches()
    assert parse_pattern(RowBand(3)) == RowBand(3)
    for name in NAMES:
        assert parse_pattern(str(parse_pattern(name))) == parse_pattern(name)
        assert parse_pattern(name).describe().endswith(".")


def test_the_published_penalty():
    grid = PatchGrid(12, 99)
    ours = DistancePenalty().bias(grid.positions(), grid)
    assert torch.equal(ours, DistancePenalty(297, 99, 16).bias(grid.positions(), grid))
    exact = DistancePenalty().bias(grid.positions(), grid, torch.float64)
    steps = (
        ((grid.positions()[:, None] - grid.positions()).abs() - 297).div(99, rounding_mode="floor").add(1).clamp(min=0)
    )
    torch.testing.assert_close(exact, -(1 + 16 * steps.double()).log(), atol=0, rtol=1e-15)
    for distance in (0, 296, 297, 395, 396, 1000):
        steps = sum(1 for k in range(297, grid.size, 99) if k <= distance)
        assert ours[0, distance] == pytest.approx(-math.log(1 + 16 * steps))


def test_high_low_is_groups_of_six_of_twelve_rows():
    grid = PatchGrid(12, 3)
    assert torch.equal(HighLow().mask(grid), RowGroups(6).mask(grid))


def test_cost_of_groups_of_rows():
    # 2 d (G N + sum over groups of L (L + G)), with G = 2 and N = 1190
    grid = PatchGrid(12, 99)
    assert RowGroups(6).multiply_adds(grid, 768) == 2 * 768 * (2 * 1190 + 2 * 594 * 596)
    assert Dense().multiply_adds(grid, 768) == 2 * 768 * 1190**2


def test_a_pattern_for_each_layer():
    assert parse_patterns("per_row_2", 3) == (RowGroups(2),) * 3
    assert parse_patterns("dense, high_low,per_row", 3) == (Dense(), HighLow(), RowGroups(1))
    with pytest.raises(ConfigError, match="names 2 patterns; give one, or one for each of the 3 layers"):
        parse_patterns("dense,high_low", 3)


@pytest.mark.parametrize(
    "name", ["pre_row_6", "sparse_row", "sparse_row_", "per_row_6x", "row_overlap_2_3", "low_high"]
)
def test_an_unknown_name_lists_the_valid_ones(name):
    with pytest.raises(ConfigError) as caught:
        parse_pattern(name)
    assert repr(name) in str(caught.value)
    assert all(valid in str(caught.value) for valid in PATTERNS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("per_row_0", "rows of the attention pattern per_row_0 is 0; it must be at least 1"),
        ("per_row_6", "rows of the attention pattern per_row_6 is 6; it must be at most the 5 rows of the grid"),
        ("row_overlap_0", "overlap .* is 0"),
        ("row_overlap_6", "overlap .* at most the 5 rows"),
        ("token_overlap_0", "length .* is 0"),
        ("token_overlap_36", "length .* at most the 35 patches"),
        ("token_overlap_36_0.5", "length .* at most the 35 patches"),
        ("token_overlap_4_2", "share .* is 2.0; it must be above 0 and at most 1"),
        ("token_overlap_4_0", "share .* is 0"),
        ("attn_penalty_0_1_1", "width .* is 0"),
    ],
)
def test_impossible_numbers(name, message):
    with pytest.raises(ConfigError, match=message):
        AttentionPlan(parse_pattern(name), GRID)


def test_what_cannot_be_is_named():
    with pytest.raises(ConfigError, match="the grid has 1 row of patches; high_low needs at least 2"):
        HighLow().mask(PatchGrid(1, 4))
    with pytest.raises(ConfigError, match="rows is 0; a grid of patches has at least 1"):
        PatchGrid(0, 4)
    with pytest.raises(ConfigError, match="n_global is 0"):
        AttentionPlan(Dense(), GRID, 0)
    with pytest.raises(ConfigError, match="kernel is 'fast'; it must be one of auto, blocks, masked, flex"):
        AttentionPlan(Dense(), GRID, kernel="fast")
    with pytest.raises(ConfigError, match="kernel is 'flex' and alpha 1.5; it knows softmax"):
        AttentionPlan(Dense(), GRID, alpha=1.5, kernel="flex")
    with pytest.raises(ConfigError, match=r"alpha is 0\.9"):
        AttentionPlan(Dense(), GRID, alpha=0.9)
    with pytest.raises(ConfigError, match="use 'masked'"):
        AttentionPlan(DistancePenalty(), GRID, kernel="blocks")
    with pytest.raises(ConfigError, match="no patch is left"):
        AttentionPlan(Dense(), GRID, positions=torch.arange(0))
    with pytest.raises(ValueError, match="there are 9 tokens; this plan is for 37, of which 2 global"):
        AttentionPlan(Dense(), GRID)(*tokens(9))
