"""Laws of the learning rate schedules."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, OneCycleLR, SequentialLR

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.training.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    OneCycle,
    Schedule,
    Triangular,
    attach,
    build_schedule,
)


def adam(lr: float = 1e-3) -> torch.optim.Adam:
    return torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rates(optimizer: torch.optim.Optimizer, scheduler: LRScheduler, steps: int) -> list[float]:
    used = []
    for _ in range(steps):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return used


class TestTriangular:
    def test_published_first_update(self) -> None:
        assert Triangular()(0) == pytest.approx(1.009e-4, rel=1e-12)

    @pytest.mark.parametrize(
        ("update", "lr"), [(1000, 1e-3), (2000, 1e-4), (500, 5.5e-4), (1500, 5.5e-4), (3000, 1e-3)]
    )
    def test_corners(self, update: int, lr: float) -> None:
        assert Triangular()(update - 1) == pytest.approx(lr, rel=1e-12)

    @given(st.integers(0, 10**6), st.integers(1, 5000))
    def test_is_periodic_and_stays_between_its_rates(self, step: int, step_size: int) -> None:
        schedule = Triangular(1e-4, 1e-3, step_size)
        assert 1e-4 <= schedule(step) <= 1e-3 * (1 + 1e-12)
        assert schedule(step + 2 * step_size) == pytest.approx(schedule(step), abs=1e-11)

    def test_is_torchs_cyclic_rate_one_update_ahead(self) -> None:
        optimizer = adam()
        scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 1e-4, 1e-3, step_size_up=7, cycle_momentum=False)
        theirs = rates(optimizer, scheduler, 40)
        ours = [Triangular(step_size=7)(i) for i in range(39)]
        assert ours == pytest.approx(theirs[1:], rel=1e-9)


@given(st.integers(2, 200), st.data())
def test_cosine_is_torchs_linear_and_cosine(total: int, data: st.DataObject) -> None:
    warmup = data.draw(st.integers(2, max(2, total - 1)))
    total = max(total, warmup + 1)
    schedule = Cosine(1e-3, total, warmup, 1e-5)
    optimizer = adam()
    rise = LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
    fall = CosineAnnealingLR(optimizer, T_max=total - warmup, eta_min=1e-5)
    theirs = rates(optimizer, SequentialLR(optimizer, [rise, fall], milestones=[warmup]), total)
    assert [schedule(i) for i in range(total)] == pytest.approx(theirs, rel=1e-6)
    assert schedule(total) == schedule(10 * total) == pytest.approx(1e-5)


@pytest.mark.parametrize(("total", "share"), [(10, 0.3), (100, 0.3), (257, 0.5)])
def test_one_cycle_is_torchs(total: int, share: float) -> None:
    optimizer = adam()
    scheduler = OneCycleLR(optimizer, 1e-3, total_steps=total, pct_start=share, cycle_momentum=False)
    ours = [OneCycle(1e-3, total, share)(i) for i in range(total)]
    assert ours == pytest.approx(rates(optimizer, scheduler, total), rel=1e-9)


def test_constant_is_torchs() -> None:
    optimizer = adam(3e-4)
    scheduler = ConstantLR(optimizer, factor=1.0)
    assert [Constant(3e-4)(i) for i in range(5)] == rates(optimizer, scheduler, 5)


SOME: list[Schedule] = [Constant(1e-3), Triangular(step_size=3), Cosine(1e-3, 20, 4), OneCycle(1e-3, 20)]


@pytest.mark.parametrize("schedule", SOME, ids=lambda s: type(s).__name__)
def test_attached_gives_every_group_the_rate_of_each_update(schedule: Schedule) -> None:
    a, b = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [a]}, {"params": [b], "lr": 5.0}], lr=0.1)
    scheduler = attach(schedule, optimizer)
    for step in range(20):
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([schedule(step)] * 2, rel=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("schedule", SOME, ids=lambda s: type(s).__name__)
def test_a_resumed_run_continues_at_the_same_rate(schedule: Schedule) -> None:
    whole = adam()
    expected = rates(whole, attach(schedule, whole), 20)[8:]
    resumed = adam()
    assert rates(resumed, attach(schedule, resumed, step=8), 12) == expected


@given(st.integers(0, 5000))
def test_every_rate_is_positive_and_at_most_the_peak(step: int) -> None:
    for schedule in (Triangular(), Cosine(1e-3, 5000, 100, 1e-6), OneCycle(1e-3, 5000)):
        assert 0 < schedule(step) <= 1e-3 * (1 + 1e-12)


def test_build_makes_each_by_name() -> None:
    assert build_schedule("triangular", step_size=5) == Triangular(step_size=5)
    assert build_schedule("constant", lr=1e-3) == Constant(1e-3)
    assert set(SCHEDULES) == {"constant", "triangular", "cosine", "one_cycle"}


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("linear", {}, "constant, triangular, cosine, one_cycle"),
        ("constant", {"lr": 1e-3, "step_size": 3}, "step_size; it takes lr"),
        ("cosine", {"lr": 1e-3}, "needs total_steps"),
        ("constant", {"lr": 0.0}, "lr is 0.0"),
        ("constant", {"lr": math.nan}, "lr is nan"),
        ("triangular", {"base_lr": 1e-2}, "above max_lr"),
        ("triangular", {"step_size": 0}, "step_size is 0"),
        ("cosine", {"lr": 1e-3, "total_steps": 5, "warmup_steps": 5}, "warmup_steps is 5"),
        ("cosine", {"lr": 1e-3, "total_steps": 5, "final_lr": 1.0}, "final_lr is 1.0"),
        ("one_cycle", {"lr": 1e-3, "total_steps": 100, "rise": 1.0}, "rise is 1.0"),
        ("one_cycle", {"lr": 1e-3, "total_steps": 5}, "at least 2"),
    ],
)
def test_impossible_options_are_named(name: str, options: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build_schedule(name, **options)


@pytest.mark.parametrize("schedule", SOME, ids=lambda s: type(s).__name__)
def test_steps_are_counted_from_zero(schedule: Schedule) -> None:
    with pytest.raises(ValueError, match="counted from 0"):
        schedule(-1)
