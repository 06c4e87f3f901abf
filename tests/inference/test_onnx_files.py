"""Exported networks give what ours give, alone and padded, over lengths that they were not exported with."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audioattn_lib.attention.maps._standard import entmax_of_standard_operations
from audioattn_lib.attention.maps.entmax import entmax
from audioattn_lib.attention.pooling.registry import MECHANISMS, build_attention
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.inference.export.onnx_files import TOLERANCE, write_onnx
from audioattn_lib.models.acrnn import ACRNN
from audioattn_lib.models.ecapa import ECAPATDNN
from audioattn_lib.models.embedding import EmbeddingLayers, EmbeddingNetwork, build_backbone
from audioattn_lib.models.exporting import export_network
from audioattn_lib.models.frequency_transformer import FrequencyTransformer
from audioattn_lib.models.layers.statistics_pooling import build_pooling
from audioattn_lib.models.layers.utterance_pooling import POOLINGS, build_utterance_pooling
from audioattn_lib.models.margin import LinearClassifier
from audioattn_lib.models.playback.network import Playback
from audioattn_lib.models.seq2seq import Seq2SeqAutoencoder

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
CLOCK = FrameClock(0.01, -0.005)
LENGTHS = [1, 2, 13, 150]
LONG = pytest.mark.long


def acrnn(name, n_mels=4, **options):
    more = {} if name == "mean" else {"hidden_size": 4, **options}
    if name in MECHANISMS and MECHANISMS[name].domain == "continuous":
        more = {"n_basis": 16, **more}
    return ACRNN.preset("published", n_mels, 3, lambda width: build_attention(name, width, **more), clock=CLOCK).eval()


def embedding(pooling, backbone="vgg3l", **options):
    front = build_backbone(backbone, 8, 4)
    pooled, width = build_utterance_pooling(pooling, front.out_features, heads=4, **options)
    return EmbeddingNetwork(front, pooled, EmbeddingLayers(width, 8), LinearClassifier(8, 3), clock=CLOCK).eval()


def transformer(pattern, **options):
    return FrequencyTransformer.preset("tiny", 32, 3, max_frames=200, pattern=pattern, **options).eval()


def differences(exported, lengths):
    """Largest difference of each output of the program to the network, relative where values are above 1."""
    result = dict.fromkeys(exported.outputs, 0.0)
    program, shape = exported.program.module(check_guards=False), exported.program.example_inputs[0][0].shape[2:]
    for clips in [*([each] for each in lengths), lengths]:
        inputs, given = torch.randn(len(clips), max(clips), *shape), torch.tensor(clips)
        with torch.no_grad():
            results = zip(exported.outputs, program(inputs, given), exported.traced(inputs, given), strict=True)
            for name, theirs, ours in results:
                apart = float((theirs - ours).abs().max()) / max(1.0, float(ours.abs().max()))
                result[name] = max(result[name], apart)
    return result


def playback(selection, **options):
    return Playback.small(3, 1, selection=selection, segment_seconds=0.4, is_multilabel=False, **options).eval()


def agrees(network, tmp_path, lengths, front_end=None):
    torch.manual_seed(0)
    n_mels = next(p for p in network.parameters() if p.ndim >= 3).shape[1] if front_end is None else 0
    n_mels = getattr(network, "n_mels", n_mels)
    exported = export_network(network, front_end or SimpleNamespace(n_mels=n_mels))
    file = write_onnx(exported, tmp_path / "network.onnx", {"experiment": "test"}, lengths)
    assert file.difference <= TOLERANCE
    assert file.size < 2e6
    return file


# What each record holds beside the answer
FIELDS = {"discrete": ("weights",), "continuous": ("weights", "read_weights", "location", "variance", "mode_weight")}


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_mechanism_can_be_exported(name, tmp_path):
    torch.manual_seed(1)
    exported = export_network(acrnn(name), SimpleNamespace(n_mels=4))
    assert exported.outputs == ("probabilities", "logits", *FIELDS[MECHANISMS[name].domain])
    assert max(differences(exported, LENGTHS).values()) < 1e-5
    if name in ("sparsemax", "triweight"):  # the others in the long form
        file = write_onnx(exported, tmp_path / "network.onnx", {"experiment": "test"}, LENGTHS)
        assert file.difference <= TOLERANCE
        assert file.opset >= 18


@LONG
@pytest.mark.parametrize("name", [*MECHANISMS, "mean"])
def test_every_mechanism_is_right_in_onnxruntime_at_other_lengths(name, tmp_path):
    agrees(acrnn(name), tmp_path, LENGTHS)


def test_traced_tensors_are_the_fields_of_the_record():
    torch.manual_seed(0)
    values, lengths = torch.randn(2, 9, 4), torch.tensor([9, 5])
    for name, variant in MECHANISMS.items():
        network = acrnn(name)
        logits, actual = network.trace(values, lengths)
        wanted, record = network(values, lengths, record=True)
        torch.testing.assert_close(logits, wanted)
        np.testing.assert_allclose(actual["weights"].detach(), record.weights, atol=1e-6)
        if variant.domain == "continuous":
            assert record.density is not None
            np.testing.assert_allclose(actual["read_weights"].detach(), record.read_weights, atol=1e-6)
            for field in ("location", "variance", "mode_weight"):
                np.testing.assert_allclose(actual[field].detach(), getattr(record.density, field), rtol=1e-5)


@pytest.mark.parametrize("name", MECHANISMS)
def test_alpha_given_with_the_input_is_that_of_the_mechanism_with_this_alpha(name):
    torch.manual_seed(0)
    values, lengths = torch.randn(2, 60, 4), torch.tensor([60, 31])
    network = acrnn(name)
    kind = [each for each, variant in MECHANISMS.items() if variant.domain == MECHANISMS[name].domain]
    for other in kind:
        same = acrnn(other)
        same.load_state_dict(network.state_dict())
        wanted, fields = same.trace(values, lengths)
        logits, actual = network.trace(values, lengths, alpha=torch.tensor(MECHANISMS[other].alpha))
        torch.testing.assert_close(logits, wanted, atol=1e-6, rtol=1e-5)
        for field, value in fields.items():
            torch.testing.assert_close(actual[field], value, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 1.001, 1.2, 1.7, 2.0])
@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0])
def test_few_steps_are_enough_up_to_an_alpha_of_two(alpha, scale):
    torch.manual_seed(0)
    scores = scale * torch.randn(20, 300, dtype=torch.float64)
    scores[0, 1:] = -torch.inf
    weights = entmax_of_standard_operations(scores, torch.tensor([[alpha]]), at_most_two=True)
    torch.testing.assert_close(weights, entmax(scores, alpha), atol=2e-6, rtol=0)


@LONG
def test_sound_goes_in_where_the_front_end_can_be_exported(tmp_path):
    front_end = LogMel(8000, 200, None, 80, 8, window="hamming", filters="shared_bandwidth", normalisation="median")
    file = agrees(acrnn("softmax", 8), tmp_path, [401, 1999, 4800], front_end)
    assert file.inputs == ("waveforms", "lengths")


@LONG
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_of_utterances_is_right_in_onnxruntime(pooling, tmp_path):
    agrees(embedding(pooling), tmp_path, [10, 17, 90])


def test_a_pooling_of_utterances_can_be_exported():
    torch.manual_seed(0)
    exported = export_network(embedding("double_multi_head"), SimpleNamespace(n_mels=8))
    assert "embedding" in exported.outputs
    assert max(differences(exported, [10, 17, 90]).values()) < 1e-4


def test_a_sparse_transformer_can_be_exported():
    torch.manual_seed(0)
    exported = export_network(transformer("per_row_2"), SimpleNamespace(n_mels=32))
    assert max(differences(exported, [16, 57, 200]).values()) < 1e-5


@LONG
@pytest.mark.parametrize(
    "pattern",
    [
        "dense",
        "per_row_2",
        "row_overlap_2",
        "token_overlap",
        "attn_penalty",
        "high_low",
        "high_low_branch",
        "high_low_branch_v2",
    ],
)
def test_dense_and_sparse_transformers_are_right_in_onnxruntime(pattern, tmp_path):
    agrees(transformer(pattern), tmp_path, [16, 57, 200])


@LONG
def test_playback_can_be_exported_where_its_parts_have_one_length():
    torch.manual_seed(0)
    network = playback("energy")
    exported = export_network(network, network.front[0])
    assert exported.inputs == ("waveforms", "lengths")
    waveforms, lengths = torch.randn(2, 23_000), torch.tensor([23_000, 7000])  # the second has room for one part
    result = dict(zip(exported.outputs, exported.program.module(check_guards=False)(waveforms, lengths), strict=True))
    with torch.no_grad():
        wanted = network(waveforms, lengths)
    torch.testing.assert_close(result["logits"], wanted.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(result["stage_logits"], wanted.stage_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(result["segments"], wanted.segments.flatten(1, 2).float(), equal_nan=True)


@LONG
@pytest.mark.parametrize("selection", ["energy", "random", "slots"])
def test_playback_is_right_in_onnxruntime(selection, tmp_path):
    torch.manual_seed(0)
    network = playback(selection)
    exported = export_network(network, network.front[0])
    file = write_onnx(exported, tmp_path / "network.onnx", {}, [4000, 9001, 40_000])
    assert file.difference <= TOLERANCE


@LONG
@pytest.mark.parametrize(
    "make",
    [
        partial(acrnn, "gaussian", boundary="reflect", n_components=2),
        partial(acrnn, "biweight", boundary="renormalise", encoder="convolution"),
        partial(acrnn, "parabola", encoder="last_state", learn_alpha=False),
        partial(acrnn, "sparsemax", heads=2),
        partial(transformer, "dense", alpha=1.5),
        partial(embedding, "multi_head", "resnet34"),
        partial(embedding, "attentive_statistics", attention="parabola"),
        partial(embedding, "double_multi_head", attention="sparsemax"),
        lambda: ECAPATDNN.preset("tiny", 8, 3, lambda width: build_pooling("triweight", width, n_basis=16)).eval(),
    ],
)
def test_options_are_right_in_onnxruntime(make, tmp_path):
    agrees(make(), tmp_path, [16, 33, 120])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("alpha", [4 / 3, 1.5, 2.0, *(pytest.param(alpha, marks=LONG) for alpha in (1.0, 1.2, 3.0))])
def test_maps_that_are_traced_by_torchscript_hold_for_other_lengths(alpha):
    traced = torch.jit.trace(lambda scores: entmax(scores, alpha), torch.randn(2, 5), check_trace=False)
    for scale in (0.1, 1.0, 30.0):
        scores = torch.randn(7, 90) * scale
        scores[0, 1:] = -torch.inf
        scores[1] = -torch.inf
        torch.testing.assert_close(traced(scores), entmax(scores, alpha), atol=1e-6, rtol=1e-5)


@LONG
def test_alpha_that_is_learned_can_be_exported():
    alpha = torch.tensor([[1.0], [1.3], [1.9], [2.7]])
    program = torch.export.export(
        _Rows(), (torch.randn(4, 6), alpha), dynamic_shapes=({1: torch.export.Dim.AUTO}, {})
    ).module()
    scores = torch.randn(4, 70) * 3
    torch.testing.assert_close(program(scores, alpha), entmax(scores, alpha), atol=1e-6, rtol=1e-5)


class _Rows(torch.nn.Module):
    def forward(self, scores, alpha):
        return entmax(scores, alpha)


def test_attention_alone_can_be_exported():
    attention = build_attention("triweight", 4, n_basis=16).eval()
    frames = torch.export.Dim("frames", min=2, max=1000)
    program = torch.export.export(attention, (torch.randn(2, 7, 4),), dynamic_shapes=({1: frames},)).module()
    values = torch.randn(2, 31, 4)
    torch.testing.assert_close(program(values)[0], attention(values)[0], atol=1e-5, rtol=1e-5)


def test_networks_that_cannot_be_exported_are_named():
    for selection in ("published", "given"):
        network = playback(selection)
        with pytest.raises(ConfigError, match=f"selection '{selection}' cannot be exported"):
            export_network(network, network.front[0])
    with pytest.raises(ConfigError, match="Seq2SeqAutoencoder cannot be exported"):
        export_network(Seq2SeqAutoencoder.__new__(Seq2SeqAutoencoder), SimpleNamespace(n_mels=4))
    network = ACRNN.preset("published", 4, 3, lambda width: build_attention("softmax", width), recurrent="gru").eval()
    with pytest.raises(ConfigError, match="a recurrent layer cannot be exported"):
        export_network(network, SimpleNamespace(n_mels=4))
    with pytest.raises(ConfigError, match="SimpleNamespace cannot be exported"):
        export_network(acrnn("softmax"), SimpleNamespace(n_mels=4), from_waveform=True)
