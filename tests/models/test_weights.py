"""Weights load as far as they fit, say what did, and never run code."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.backbones.mvit import MViT, MViTShape
from audioattn_lib.models.weights import Mismatch, load_weights, read_weights, transfer_weights, without_prefix


class Whole(nn.Module):
    """An encoder and a decoder, and a norm that has the name of one in the encoder."""

    def __init__(self, classes=3, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = MViT(MViTShape(2, (1,), features=8))
        self.norm = nn.LayerNorm(16)
        self.decoder = nn.Sequential(nn.Linear(16, 5), nn.Linear(5, classes))


def equal(model, other):
    return all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("kind", ["mapping", "safetensors", "published"])
def test_a_whole_model(tmp_path, kind):
    source, model = Whole(seed=1), Whole()
    weights = source.state_dict()
    if kind == "safetensors":
        save_file(weights, tmp_path / "weights.safetensors")
        weights = tmp_path / "weights.safetensors"
    elif kind == "published":  # as a checkpoint of the published training
        whole = {"epoch": 3, "model_state": weights, "optimizer_state": {"state": {}}, "cfg": "TRAIN: 1"}
        torch.save(whole, tmp_path / "checkpoint_best.pyth")
        weights = tmp_path / "checkpoint_best.pyth"
    report = load_weights(model, weights, strict=True)
    assert report.is_complete
    assert not report.renamed
    assert equal(model, source)
    assert str(report) == f"{len(report.matched)} of {len(report.matched)} parameters of the model matched"


def test_an_encoder_alone_into_a_whole_model():
    source, model = Whole(seed=1), Whole()
    norm = model.norm.weight.clone()
    state = source.encoder.state_dict() | {"head.projection.weight": torch.zeros(527, 16)}
    report = load_weights(model, state)
    assert report.renamed == "with encoder. before every name"
    assert report.unknown == ("head.projection.weight",)
    assert set(report.missing) == {name for name in model.state_dict() if not name.startswith("encoder.")}
    assert equal(model.encoder, source.encoder)
    assert torch.equal(model.norm.weight, norm)


def test_a_whole_model_into_an_encoder_alone():
    source, model = Whole(seed=1), Whole()
    with torch.no_grad():
        source.norm.weight.fill_(7.0)
    report = load_weights(model.encoder, source.state_dict())
    assert report.renamed == "without encoder."
    assert not report.missing
    assert {name.split(".")[0] for name in report.unknown} == {"norm", "decoder"}
    assert equal(model.encoder, source.encoder), "the outer norm stays out of the encoder"


def test_a_decoder_alone():
    source, model = Whole(seed=1), Whole()
    assert load_weights(model, source.decoder.state_dict()).renamed == "with decoder. before every name"
    assert equal(model.decoder, source.decoder)


def test_other_shapes_are_listed_and_left():
    source, model = Whole(classes=4, seed=1), Whole()
    before = model.decoder[1].weight.clone()
    report = load_weights(model, source.state_dict())
    assert report.mismatches == (Mismatch("decoder.1.weight", (4, 5), (3, 5)), Mismatch("decoder.1.bias", (4,), (3,)))
    assert torch.equal(model.decoder[1].weight, before)
    assert torch.equal(model.decoder[0].weight, source.decoder[0].weight)
    assert "other shape: decoder.1.weight: 4 x 5 in the weights, 3 x 5 in the model" in str(report)
    untouched = Whole()
    with pytest.raises(
        ConfigError, match="does not fit the model as a whole: (?s:.*)other shape: decoder.1.weight"
    ) as caught:
        load_weights(untouched, source.state_dict(), strict=True)
    assert "Traceback" not in str(caught.value)
    assert equal(untouched, Whole())


def test_a_file_that_matches_nothing(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(2), "conv2.weight": torch.zeros(2)}, path)
    with pytest.raises(ConfigError, match="matches no parameter of the model; it holds conv1.weight, conv2.weight"):
        load_weights(Whole(), path)
    with pytest.raises(ConfigError, match="the weights: matches no parameter of the model; it holds nothing"):
        load_weights(Whole(), {})


def test_long_lists_are_cut():
    text = str(load_weights(Whole(), {"decoder.0.bias": torch.zeros(5)}))
    assert "more of missing" in text
    assert len(text.splitlines()) < 20


def test_no_code_of_a_file_runs(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    torch.save({"model_state": {"a": Harmful()}}, tmp_path / "harm.pyth")
    with pytest.raises(ConfigError, match="not a file of weights that is safe to read"):
        read_weights(tmp_path / "harm.pyth")
    assert not (tmp_path / "ran").exists()


class Callback:
    """Objects that Lightning keeps beside weights, of packages that this environment need not have."""

    def __init__(self):
        self.best = 0.5


class Settings(dict):
    pass


def test_checkpoints_of_lightning_are_read_without_what_lies_beside_their_weights(tmp_path):
    network = nn.Linear(3, 2)
    state = {f"{name}.{key}": value for name in ("net", "net_swa") for key, value in network.state_dict().items()}
    beside = {"callbacks": {Callback: {"state": Callback()}}, "hyper_parameters": Settings(lr=1e-3), "epoch": 3}
    torch.save({**beside, "state_dict": state}, tmp_path / "last.ckpt")
    weights = read_weights(tmp_path / "last.ckpt")
    assert set(weights) == set(state)
    assert load_weights(nn.Linear(3, 2), without_prefix(weights, "net_swa."), strict=True).is_complete
    with pytest.raises(ConfigError, match="prefix is 'ema.', and no name .* they begin with net., net_swa."):
        without_prefix(weights, "ema.")


def test_outputs_go_by_the_names_of_their_classes():
    torch.manual_seed(0)
    old, new = nn.Linear(4, 3), nn.Linear(4, 4)
    drawn = new.weight.detach().clone()
    report = transfer_weights(
        new,
        old.state_dict(),
        classes=["c", "new", "a", "other"],
        found_classes=["a", "b", "c"],
        heads={"weight": 0, "bias": 0},
    )
    assert torch.equal(new.weight[0], old.weight[2])
    assert torch.equal(new.weight[2], old.weight[0])
    assert torch.equal(new.weight[[1, 3]], drawn[[1, 3]])
    assert (report.classes_drawn, report.classes_left) == (("new", "other"), ("b",))
    assert not report.is_complete
    assert "class left out: b" in str(report)
    same = transfer_weights(nn.Linear(4, 3), old.state_dict(), selected=["weight"])
    assert (same.taken, same.left) == (("weight",), ("bias",))
    with pytest.raises(ConfigError, match="the weights match no parameter of the model; they hold other"):
        transfer_weights(new, {"other": torch.zeros(1)})
