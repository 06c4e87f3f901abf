"""The identity of tensors is that of their names, types, shapes and numbers; weights of earlier versions are read."""

import hashlib
import json

import pytest
import torch

from audioattn_lib.core.tensor_files import current_names, load_tensors, tensor_digest, write_tensors
from audioattn_lib.models.acrnn import CorpusNormalisation
from audioattn_lib.models.layers.input_scaling import BandScaling

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1, 2], dtype=torch.int32)}


def test_digest_is_sha256_of_header_and_bytes():
    header = '[{}, {"bias": ["torch.int32", 2], "weight": ["torch.float32", 2, 3]}]'
    assert json.loads(header)
    content = header.encode() + TENSORS["bias"].numpy().tobytes() + TENSORS["weight"].numpy().tobytes()
    assert tensor_digest(TENSORS) == hashlib.sha256(content).hexdigest()


def test_digest_ignores_order_layout_and_gradients():
    transposed = TENSORS["weight"].T.contiguous().T.requires_grad_()
    assert not transposed.is_contiguous()
    assert tensor_digest({"bias": TENSORS["bias"], "weight": transposed}) == tensor_digest(TENSORS)


@pytest.mark.parametrize(
    "changed",
    [
        {"scale": TENSORS["weight"], "bias": TENSORS["bias"]},
        TENSORS | {"weight": TENSORS["weight"].reshape(3, 2)},
        TENSORS | {"weight": TENSORS["weight"].view(torch.int32)},
        TENSORS | {"bias": torch.tensor([2, 1], dtype=torch.int32)},
    ],
    ids=["name", "shape", "type", "numbers"],
)
def test_digest_sees_every_change(changed):
    assert tensor_digest(changed) != tensor_digest(TENSORS)
    assert tensor_digest(TENSORS, {"format": "pt"}) != tensor_digest(TENSORS)


@pytest.mark.parametrize("prefix", ["", "networks.1."])
@pytest.mark.parametrize(("owner", "module"), [("scaling", BandScaling(3)), ("normalisation", CorpusNormalisation(3))])
def test_weights_of_earlier_versions_are_read(tmp_path, prefix, owner, module):
    old = {f"{prefix}{owner}.mean": torch.tensor([1.0, 2, 3]), f"{prefix}{owner}.deviation": torch.tensor([4.0, 5, 6])}
    path = tmp_path / "model.safetensors"
    write_tensors(path, old, {"format": "pt"})
    tensors = load_tensors(path)
    module.load_state_dict({name.removeprefix(f"{prefix}{owner}."): value for name, value in tensors.items()})
    assert module.std.tolist() == [4.0, 5.0, 6.0]
    assert module.mean.tolist() == [1.0, 2.0, 3.0]


def test_names_of_other_modules_stay():
    names = ["deviation", "rescaling.deviation", "scaling.deviation.weight", "head.deviation"]
    assert list(current_names(dict.fromkeys(names, torch.ones(1)))) == names
