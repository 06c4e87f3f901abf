"""Laws of the layers that leave padding out."""

import pytest
import torch
from torch import nn

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.backbones.tdnn import FrameLayers, Res2NetBlock, SERes2NetBlock, SqueezeExcitation, TDNNBlock
from audioattn_lib.models.layers.common import MaskedBatchNorm1d, frame_mask, masked_mean, subtract_mean
from audioattn_lib.models.layers.window_maximum import window_maximum


def batch(channels=4, lengths=(9, 1, 5), filling=0.0):
    torch.manual_seed(0)
    x = torch.randn(len(lengths), channels, max(lengths), dtype=torch.float64)
    mask = frame_mask(torch.tensor(lengths), max(lengths), x.device)[:, None]
    return x.masked_fill(~mask, filling), mask


def test_batch_statistics_are_those_of_the_valid_frames():
    x, mask = batch()
    norm = MaskedBatchNorm1d(4).double()
    frames = x.transpose(1, 2)[mask[:, 0]]  # all valid frames in a row
    expected = nn.BatchNorm1d(4).double()
    torch.testing.assert_close(norm(x, mask).transpose(1, 2)[mask[:, 0]], expected(frames))
    torch.testing.assert_close(norm.running_mean, expected.running_mean)
    torch.testing.assert_close(norm.running_var, expected.running_var)
    assert norm.num_batches_tracked == 1


def test_the_gradient_of_batch_normalisation_is_the_gradient():
    x, mask = batch()
    norm = MaskedBatchNorm1d(4).double()
    assert torch.autograd.gradcheck(lambda x: norm(x, mask).masked_fill(~mask, 0.0), x.requires_grad_())


def test_a_single_frame_is_normalised_by_the_running_estimates():
    norm = MaskedBatchNorm1d(4)
    norm.running_mean.copy_(torch.arange(4.0))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x = torch.randn(1, 4)
    output = norm(x)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    torch.testing.assert_close(output, norm.eval()(x))


def test_means_are_of_the_valid_frames():
    x, mask = batch(filling=float("nan"))
    mean = masked_mean(x, mask, dim=2)
    torch.testing.assert_close(mean[2, :, 0], x[2, :, :5].mean(1))
    centred = subtract_mean(x.transpose(1, 2), mask[:, 0])
    torch.testing.assert_close(centred.sum(1), torch.zeros(3, 4, dtype=torch.float64))
    assert frame_mask(torch.tensor([9, 9]), 9, x.device) is None


@pytest.mark.parametrize(
    "layer",
    [
        lambda: TDNNBlock(4, 6, 5, 2),
        lambda: Res2NetBlock(4, 3, 2, scale=2),
        lambda: SqueezeExcitation(4, 3),
        lambda: SERes2NetBlock(4, 8, 3, 2, scale=4, bottleneck=3),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_what_padding_holds_changes_nothing(layer, training):
    outputs = []
    for filling in (0.0, 1e6):
        x, mask = batch(filling=filling)
        torch.manual_seed(1)
        outputs.append(layer().double().train(training)(x, mask).masked_fill(~mask, 0.0))
    torch.testing.assert_close(*outputs)


def test_each_group_sees_further_than_the_one_before():
    block = Res2NetBlock(8, kernel_size=3, dilation=2, scale=4).eval()
    for parameter in block.parameters():
        parameter.data.abs_()  # nothing is lost in a ReLU
    x = torch.rand(1, 8, 31, requires_grad=True)
    output = block(x)
    assert torch.equal(output[:, :2], x[:, :2])
    for group in range(4):
        (gradient,) = torch.autograd.grad(output[0, 2 * group, 15], x, retain_graph=True)
        seen = gradient[0].abs().sum(0).nonzero().ravel() - 15
        assert (seen[0], seen[-1]) == (-2 * group, 2 * group) if group else (0, 0)


def test_summed_residuals_add_no_parameters_and_change_the_result():
    outputs, sizes = [], []
    for summed in (True, False):
        torch.manual_seed(0)
        layers = FrameLayers(
            5, (8, 8, 8, 8, 12), (5, 3, 3, 3, 1), (1, 2, 3, 4, 1), scale=2, bottleneck=3, summed_residuals=summed
        ).eval()
        outputs.append(layers(torch.ones(1, 9, 5), None))
        sizes.append(sum(p.numel() for p in layers.parameters()))
    assert outputs[0].shape == (1, 9, 12)
    assert sizes[0] == sizes[1]
    assert not torch.allclose(*outputs)


def test_padding_that_is_not_a_number_leaves_gradients_finite():
    layers = FrameLayers(4, (8, 8, 8), (1, 3, 1), (1, 2, 1), scale=2, bottleneck=3).double()
    x, mask = batch(filling=float("nan"))
    layers(x.transpose(1, 2), mask[:, 0])[mask[:, 0]].sum().backward()
    assert all(p.grad.isfinite().all() for p in layers.parameters())


def test_impossible_options_are_named():
    with pytest.raises(ConfigError, match="kernel_size is 4"):
        TDNNBlock(3, 3, 4)
    with pytest.raises(ConfigError, match="dilation is 0"):
        TDNNBlock(3, 3, 3, 0)
    with pytest.raises(ConfigError, match="scale is 8 for 12 channels"):
        Res2NetBlock(12)
    with pytest.raises(ConfigError, match="bottleneck is 0"):
        SqueezeExcitation(4, 0)
    with pytest.raises(ConfigError, match="5, 4 and 5 entries"):
        FrameLayers(80, kernel_sizes=(5, 3, 3, 1))
    with pytest.raises(ConfigError, match="summed_residuals"):
        FrameLayers(80, (16, 16, 8, 16, 32))


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("frames", [1, 2, 50])
def test_the_maximum_of_a_window_is_that_of_pytorch_to_the_bit(size: int, frames: int) -> None:
    x = torch.randn(3, 4, frames, generator=torch.Generator().manual_seed(0))
    x[0, :, frames // 2 :] = float("-inf")  # padding
    x[1, 0, 0] = float("nan")
    x[2, :, -1] = -0.0
    pooled = torch.nn.functional.max_pool1d(x, size, stride=1, padding=size // 2)
    torch.testing.assert_close(window_maximum(x, size), pooled, rtol=0, atol=0, equal_nan=True)
    trained = window_maximum(x.clone().requires_grad_(), size)
    torch.testing.assert_close(trained, pooled, rtol=0, atol=0, equal_nan=True)
    assert trained.requires_grad
