"""Laws of the learning rate schedules."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.training.schedules import (
    constant,
    cosine,
    epoch_cosine,
    epoch_ramp,
    fitted_epoch_ramp,
    triangular,
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
    @pytest.mark.parametrize(
        ("update", "lr"), [(1, 1.009e-4), (1000, 1e-3), (2000, 1e-4), (500, 5.5e-4), (1500, 5.5e-4), (3000, 1e-3)]
    )
    def test_published_corners(self, update: int, lr: float) -> None:
        assert triangular()(update - 1) == pytest.approx(lr, rel=1e-12)

    @given(st.integers(0, 10**6), st.integers(1, 5000))
    def test_is_periodic_and_stays_between_its_rates(self, step: int, step_size: int) -> None:
        schedule = triangular(1e-4, 1e-3, step_size)
        assert 1e-4 <= schedule(step) <= 1e-3 * (1 + 1e-12)
        assert schedule(step + 2 * step_size) == pytest.approx(schedule(step), abs=1e-11)

    def test_is_torchs_cyclic_rate_one_update_ahead(self) -> None:
        optimizer = adam()
        scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 1e-4, 1e-3, step_size_up=7, cycle_momentum=False)
        theirs = rates(optimizer, scheduler, 40)
        ours = [triangular(step_size=7)(i) for i in range(39)]
        assert ours == pytest.approx(theirs[1:], rel=1e-9)


@given(st.integers(2, 200), st.data())
def test_cosine_is_torchs_linear_and_cosine(total: int, data: st.DataObject) -> None:
    warmup = data.draw(st.integers(2, max(2, total - 1)))
    total = max(total, warmup + 1)
    schedule = cosine(1e-3, total, warmup, 1e-5)
    optimizer = adam()
    rise = LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
    fall = CosineAnnealingLR(optimizer, T_max=total - warmup, eta_min=1e-5)
    theirs = rates(optimizer, SequentialLR(optimizer, [rise, fall], milestones=[warmup]), total)
    assert [schedule(i) for i in range(total)] == pytest.approx(theirs, rel=1e-6)
    assert schedule(total) == schedule(10 * total) == pytest.approx(1e-5)


@given(st.integers(0, 5000))
def test_every_rate_is_positive_and_at_most_the_peak(step: int) -> None:
    for schedule in (constant(1e-3), triangular(), cosine(1e-3, 5000, 100, 1e-6), epoch_ramp(1e-3, 50)):
        assert 0 < schedule(step) <= 1e-3 * (1 + 1e-12)


class TestEpochs:
    def test_the_published_warm_up(self) -> None:
        schedule = epoch_ramp(1e-5, steps_per_epoch=10)
        factors = [schedule(10 * epoch) / 1e-5 for epoch in range(7)]
        np.testing.assert_allclose(factors, [0.0174, 0.0408, 0.1653, 0.4493, 0.8187, 1, 1], atol=1e-4)
        assert schedule(9) == schedule(0)
        assert schedule(10 * 100) == pytest.approx(1e-7)
        assert schedule(10 * 75) == pytest.approx(1e-5 * (0.01 + 0.99 * 0.5))

    def test_the_published_schedule_for_notes_never_leaves_its_warm_up(self) -> None:
        schedule = epoch_ramp(1e-3, 1, warm_up=100, ramp_down_start=250, ramp_down_length=400, last=0.005)
        used = [schedule(epoch) for epoch in range(20)]
        assert max(used) == used[-1] == pytest.approx(1e-3 * math.exp(-5 * 0.81**2))
        assert max(used) < 4e-5

    @pytest.mark.parametrize("epochs", [1, 2, 5, 10, 100])
    def test_a_fitted_ramp_reaches_its_highest_and_lowest_rate(self, epochs: int) -> None:
        used = [fitted_epoch_ramp(1.0, 3, epochs)(3 * epoch) for epoch in range(epochs)]
        if epochs >= 5:
            assert max(used) == 1
            assert used[-1] == pytest.approx(0.01)
        assert all(rate > 0 for rate in used)

    def test_cosines(self) -> None:
        schedule = epoch_cosine(1.0, 1, cycle=4, start=8, last=0.1)
        assert [round(schedule(epoch), 3) for epoch in range(10)] == [0.1, 0.55, 1, 0.55, 0.1, 0.55, 1, 0.55, 0.1, 0.1]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: constant(0.0), "lr is 0.0"),
        (lambda: constant(math.nan), "lr is nan"),
        (lambda: triangular(1e-2), "base_lr is 0.01 and max_lr 0.001"),
        (lambda: triangular(step_size=0), "step_size is 0"),
        (lambda: cosine(1e-3, 5, 5), "warmup_steps is 5"),
        (lambda: cosine(1e-3, 5, final_lr=1.0), "final_lr is 1.0"),
        (lambda: epoch_ramp(0.0, 1), "lr is 0.0"),
        (lambda: epoch_ramp(1.0, 0), "steps_per_epoch is 0"),
        (lambda: epoch_ramp(1.0, 1, ramp_down_length=0), "ramp_down_length is 0; it must be at least 1 epochs"),
        (lambda: epoch_ramp(1.0, 1, last=2.0), "last is 2.0"),
        (lambda: epoch_cosine(1.0, 1, cycle=0), "cycle is 0"),
        (lambda: fitted_epoch_ramp(1.0, 1, 0), "epochs is 0"),
    ],
)
def test_impossible_options_are_named(make, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()
