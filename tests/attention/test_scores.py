"""Laws of additive scores."""

import pytest
import torch

from audioattn_lib.attention.pooling import scores
from audioattn_lib.attention.pooling.scores import AdditiveScorer


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("shape", [(2, 700), (3, 40, 11), (1, 1), (0, 5)])
def test_large_batches_are_scored_as_small_ones(shape, scaled, dtype, monkeypatch):
    torch.manual_seed(0)
    scorer = AdditiveScorer(3, 5, scaled=scaled).to(dtype)
    values = torch.randn(*shape, 3, dtype=dtype, requires_grad=True)
    gradient = torch.randn(shape, dtype=dtype)
    inputs = (values, *scorer.parameters())
    small = scorer(values)
    truth = torch.autograd.grad(small, inputs, gradient)
    monkeypatch.setattr(scores, "_LARGE", 0)
    large = scorer(values)
    assert scorer._in_blocks(values)
    torch.testing.assert_close(large, small)
    torch.testing.assert_close(torch.autograd.grad(large, inputs, gradient), truth, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.vmap(scorer)(values), small)


def test_gradients_of_both_orders_in_blocks(monkeypatch):
    monkeypatch.setattr(scores, "_LARGE", 0)
    torch.manual_seed(0)
    scorer = AdditiveScorer(3, 4).double()
    values = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in scorer.named_parameters()]

    def score(values, *parameters):
        return torch.func.functional_call(scorer, dict(zip(names, parameters, strict=True)), (values,))

    inputs = (values, *scorer.parameters())
    assert torch.autograd.gradcheck(score, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(score, inputs)


def test_who_hooks_the_hidden_layer_sees_it(monkeypatch):
    monkeypatch.setattr(scores, "_LARGE", 0)
    seen = []
    scorer = AdditiveScorer(3, 4)
    scorer.hidden.register_forward_hook(lambda module, given, out: seen.append(out.shape))
    scorer(torch.randn(2, 5, 3))
    assert seen == [(2, 5, 4)]
