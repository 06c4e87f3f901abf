"""One table for any model: what it uses comes first, and what does not depend on its weights is seen."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.display import plot_attention_evaluation
from audioattn_lib.evaluation.attention.attributions import compare_attributions, judge_attributions
from audioattn_lib.evaluation.attention.perturbation import deletion_curve
from audioattn_lib.experiments.common.held_out import HeldOutNetwork
from audioattn_lib.inference.attention_evaluation import measure_attention
from audioattn_lib.inference.network_evaluation import evaluation_table, judge_networks, measure_networks
from audioattn_lib.inspection.tokens import PatchTokens, TimeTokens
from audioattn_lib.models.attentive_head import AttentiveHead


class Attention(nn.Module):
    """One query attends to the loud tokens, whose mean decides."""

    def __init__(self, patch=None):
        super().__init__()
        self.patch = patch
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[-1.0], [1.0]]))
            self.head.bias.zero_()

    def forward(self, x):
        if self.patch is not None:  # (clips, frames, bands) to patches, all frames of the lowest band first
            x = F.avg_pool2d(x.mT[:, None], self.patch).flatten(2).mT
        else:
            x = x.mean(-1, keepdim=True) if x.dim() == 3 else x.unflatten(1, (-1, 20)).square().mean(-1, keepdim=True)
        context = F.scaled_dot_product_attention(torch.ones_like(x[:, :1]), x, x)
        return self.head(context[:, 0])


def clips():
    """Six clips of 40 frames and 8 bands; in each a loud cell."""
    x = 0.1 * torch.randn(6, 40, 8, generator=torch.Generator().manual_seed(0))
    places = [(5, 2), (12, 4), (21, 0), (29, 6), (33, 2), (16, 4)]
    for clip, (frame, band) in enumerate(places):
        x[clip, frame : frame + 4, band : band + 2] += 8
    return x, [[(0.1 * frame, 0.1 * (frame + 4))] for frame, _ in places]


FEW = {"n_draws": 50, "n_resamples": 100}


def test_the_attention_of_a_model_that_uses_it():
    x, events = clips()
    inside = np.array([[start <= 0.1 * t + 0.05 < stop for t in range(40)] for ((start, stop),) in events])
    perfect = AttentionRecord.from_weights(inside / inside.sum(1, keepdims=True), FrameClock(0.1))
    others = ("integrated_gradients", "occlusion", "random")
    options = {"tokens": TimeTokens(0.1), "reductions": ("received", "gradient"), "others": others, "events": events}
    evaluation = measure_attention(Attention(), x, attributions={"events": perfect}, **options, **FEW)
    assert evaluation.table["value"]["events", "mass_inside_events"] == pytest.approx(1)
    assert ("events", "randomised_weights") not in evaluation.table.index
    assert list(evaluation.records) == ["events", "received", "gradient", "integrated_gradients", "occlusion", "random"]
    assert evaluation.targets.tolist() == [1] * 6
    value = evaluation.table["value"]
    for name in ("received", "integrated_gradients", "occlusion"):
        assert value[name, "deletion_area"] < value["random", "deletion_area"] - 0.1
        assert value[name, "pointing_game"] == pytest.approx(1)
    assert value["random", "pointing_game"] < 1
    assert ("random", "randomised_weights") not in evaluation.table.index
    # attention to loud frames is that of any weights of the head
    assert value["received", "randomised_weights"] == pytest.approx(1)
    drawn = plot_attention_evaluation(evaluation.table.reset_index())
    assert "randomised weights" in drawn.alt


@pytest.mark.parametrize("axes", ["time", "frequency", "cells"])
def test_patches_over_every_axis(axes):
    x, _ = clips()
    tokens = PatchTokens(4, 20, 0.2)
    evaluation = measure_attention(
        Attention(patch=(2, 2)), x, tokens=tokens, reductions=("received",), axes=axes, randomise=False, **FEW
    )
    assert evaluation.table.index.get_level_values("measure").unique().tolist() == ["deletion_area", "insertion_area"]
    value = evaluation.table["value"]
    for name in ("received", "occlusion"):
        assert value[name, "deletion_area"] < value["random", "deletion_area"]
        assert value[name, "insertion_area"] > value["random", "insertion_area"]


def test_samples():
    time = torch.arange(400)
    x = torch.stack([torch.sin(time) * 4 * ((time >= start) & (time < start + 60)) for start in (40, 200, 300)])
    evaluation = measure_attention(
        Attention(), x, tokens=TimeTokens(0.05), reductions=("received",), others=("random",),
        events=[[(start / 400, (start + 60) / 400)] for start in (40, 200, 300)], **FEW,
    )  # fmt: skip
    assert evaluation.table["value"]["received", "pointing_game"] == pytest.approx(1)


def test_neither_the_model_nor_its_gradients_change():
    model, (x, _) = Attention().train(), clips()
    before = [parameter.clone() for parameter in model.parameters()]
    measure_attention(model, x, tokens=TimeTokens(0.1), reductions=("gradient",), others=(), **FEW)
    assert model.training
    assert all(map(torch.equal, before, model.parameters()))
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_cells_that_count_are_deleted_first():
    """By hand: a model that hears one cell of four."""
    x = torch.zeros(1, 4, 4)
    x[0, :2, 2:] = 4  # early and high
    maps = np.array([[[[[1, 1], [5, 1]]]]]) / 8
    record = AttentionRecord("some", FrameClock(2.0), n_frames=np.array([2]), maps=maps)

    def predict(features, _):
        heard = (features[:, :2, 2:].mean((1, 2)) / 4).clamp(0, 1)
        return torch.stack([1 - heard, heard], 1)

    def curve(axes):
        fractions = (0.0, 0.25, 0.5, 1.0) if axes == "cells" else (0.0, 0.5, 1.0)
        target, lengths = torch.tensor([1]), torch.tensor([4])
        return deletion_curve(predict, x, lengths, record, axes=axes, targets=target, fractions=fractions).attention[0]

    # what is deleted becomes the mean of the clip, 1
    assert curve("cells").tolist() == [1, 0.25, 0.25, 0.25]
    maps[..., 0, 0] = 0  # the upper band counts more
    assert curve("frequency").tolist() == [1, 0.25, 0.25]


def test_what_does_not_fit_is_named():
    x, _ = clips()
    for says, options in {
        "reductions has 'best'": {"reductions": ("best",)},
        "others has 'lime'": {"others": ("lime",)},
        "integrated_gradients": {"axes": "cells"},
    }.items():
        with pytest.raises(ConfigError, match=says):
            measure_attention(Attention(), x, tokens=TimeTokens(0.1), **{"reductions": ("received",), **options}, **FEW)
    with pytest.raises(ConfigError, match="no scores of shape"):
        measure_attention(nn.Identity(), x, tokens=TimeTokens(0.1))
    with pytest.raises(ConfigError, match="inputs is list"):
        measure_attention(Attention(), [1], tokens=TimeTokens(0.1))
    record = AttentionRecord("some", n_frames=np.full(2, 4), weights=np.full((2, 1, 4), 0.25))
    with pytest.raises(ValueError, match="attribution 'mine': record describes 2 clips, features 6"):
        compare_attributions(lambda f, _: f.mean(1).softmax(1), x, {"mine": record}, **FEW)


def test_attributions_by_a_function_are_made_again_with_shuffled_weights():
    x, _ = clips()
    calls = []

    def loudest(model, features):
        calls.append(model)
        level = features.abs().sum(-1).numpy()
        return AttentionRecord.from_weights(level / level.sum(1, keepdims=True), FrameClock(0.1))

    table = measure_attention(
        Attention(), x, tokens=TimeTokens(0.1), reductions=(), others=("random",), attributions={"level": loudest},
        fractions=(0.0, 0.5, 1.0), **FEW,
    ).table  # fmt: skip
    assert len(calls) == 2
    assert table["value"]["level", "randomised_weights"] == pytest.approx(1)  # the weights play no part
    assert judge_attributions(table).loc["level", "depends on the weights"] == "no"


def test_networks_of_this_book_are_judged_beside_other_attributions():
    torch.manual_seed(0)
    x, events = clips()
    head = AttentiveHead(torch.nn.Linear(8, 6), "softmax", 6, 2, clock=FrameClock(0.1))
    same = {"the same again": lambda record: record}
    network = HeldOutNetwork(head, x, events, np.array(list("aabbcc")), same)
    measured = measure_networks({"Mine": network}, ("random",), n_draws=20, n_resamples=100)
    names = ["attention", "the same again", "random"]
    assert list(measured["Mine"].records) == names
    value = measured["Mine"].table["value"]
    for measure in value["attention"].index:
        assert value["attention", measure] == pytest.approx(value["the same again", measure])
    # only the order counts, and the frames are those of the network
    assert measured["Mine"].table["value"]["attention", "rank_accuracy"] <= 1
    joined = evaluation_table(measured)
    assert list(dict.fromkeys(joined["attribution"])) == [f"Mine: {name}" for name in names]
    assert "support_iou" not in set(joined["measure"])
    assert list(judge_networks(measured).index) == [("Mine", name) for name in names]
    assert evaluation_table({}).empty
    assert judge_networks({}).empty
