"""Laws of ECAPA-TDNN, its poolings and its loss."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from audioattn_lib.attention.maps.entmax import sparsemax
from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.ecapa import ECAPATDNN, PRESETS
from audioattn_lib.models.layers.statistics_pooling import (
    ContextLinear,
    DiscreteStatisticsPooling,
    MeanStatisticsPooling,
    build_pooling,
)
from audioattn_lib.models.margin import CosineClassifier, angular_margin

CONTINUOUS = [name for name, variant in MECHANISMS.items() if variant.domain == "continuous"]
DISCRETE = [name for name in MECHANISMS if name not in CONTINUOUS]
POOLINGS = [
    *((name, {"hidden_size": 8}) for name in DISCRETE),
    *((name, {"hidden_size": 8, "n_basis": 16}) for name in CONTINUOUS),
    ("triweight", {"hidden_size": 8, "n_basis": 16, "fused": False, "variant": "published"}),
    ("parabola", {"hidden_size": 8, "n_basis": 16, "encoder": "convolution", "boundary": "renormalise"}),
    ("mean", {}),
]


def network(attention="softmax", **options):
    torch.manual_seed(0)
    return ECAPATDNN.preset("tiny", 20, 3, lambda channels: build_pooling(attention, channels, **options))


def pooling(attention, channels=6, **options):
    torch.manual_seed(0)
    options = {"n_basis": 16, **options} if attention in CONTINUOUS else options
    return build_pooling(attention, channels, hidden_size=5, **options).double()


def clips(lengths=(30, 1, 17), filling=0.0):
    x = torch.randn(len(lengths), max(lengths), 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for row, length in zip(x, lengths, strict=True):
        row[length:] = filling
    return x, torch.tensor(lengths)


def size(model):
    return sum(p.numel() for p in model.parameters())


def frames_size(n_mels, width, last):
    """Parameters of the frame layers: kernels 5, 3, 3, 3, 1, eight groups, a bottleneck of 128."""

    def tdnn(inputs, outputs, kernel):
        return inputs * outputs * kernel + outputs + 2 * outputs  # convolution with bias, batch normalisation

    group = width // 8
    gates = width * 128 + 128 + 128 * width + width
    block = 2 * tdnn(width, width, 1) + 7 * tdnn(group, group, 3) + gates
    return tdnn(n_mels, width, 5) + 3 * block + tdnn(3 * width, last, 1)


def test_the_published_sizes():
    with torch.device("meta"):
        sizes = {name: size(ECAPATDNN.preset(name, 80, 10)) for name in PRESETS}
    frames = frames_size(80, 1024, 3072)
    embedding = 2 * 2 * 3072 + 2 * 3072 * 192 + 192
    classifier = 10 * 192
    scores = 3 * 3072 * 128 + 128 + 2 * 128 + 128 * 3072 + 3072
    assert sizes["discrete"] == frames + scores + embedding + classifier == 20_767_552 + classifier
    values = 3 * 3072 * 3072 + 3072
    scorer = 3072 * 128 + 128 + 128
    for name in ("continuous", "continuous_2", "continuous_3"):
        assert sizes[name] == frames + values + scorer + embedding + classifier


@pytest.mark.parametrize(("width", "millions"), [(512, 6.2), (1024, 14.7)])
def test_the_sizes_in_the_paper(width, millions):
    """The paper's systems have 1536 channels at the end, and batch normalisation after the embedding."""
    scores = 3 * 1536 * 128 + 128 + 2 * 128 + 128 * 1536 + 1536
    embedding = 2 * 2 * 1536 + 2 * 1536 * 192 + 192 + 2 * 192
    assert round((frames_size(80, width, 1536) + scores + embedding) / 1e6, 1) == millions


def test_a_margin_of_zero_is_the_cosine_softmax():
    torch.manual_seed(0)
    classifier = CosineClassifier(6, 4, margin=0.0).double()
    embeddings, targets = torch.randn(5, 6, dtype=torch.float64, requires_grad=True), torch.tensor([0, 1, 2, 3, 0])
    logits = classifier(embeddings)
    losses = classifier.loss(logits, targets), F.cross_entropy(logits, targets)
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss, embeddings, retain_graph=True) for loss in losses))


def test_the_margin_is_added_to_the_angle_of_the_right_class():
    angles = torch.linspace(0.01, math.pi - 0.01, 200, dtype=torch.float64)
    cosines = torch.stack([angles.cos(), angles.sin()], dim=1)
    moved = angular_margin(cosines, torch.zeros(200, dtype=torch.long), 0.3)
    assert torch.equal(moved[:, 1], cosines[:, 1])
    turned = angles < math.pi - 0.3
    torch.testing.assert_close(moved[turned, 0], (angles[turned] + 0.3).cos())
    assert (moved[:, 0].diff() < 0).all()  # a larger angle never counts as a smaller one
    assert (moved[:, 0] <= cosines[:, 0]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_of_the_margin_is_finite_at_the_poles(dtype):
    cosines = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0 + 1e-7, 0.0]], dtype=dtype, requires_grad=True)
    moved = angular_margin(cosines, torch.zeros(3, dtype=torch.long))
    moved.sum().backward()
    assert moved.isfinite().all()
    assert cosines.grad.isfinite().all()


def test_the_gradient_of_the_loss_is_the_gradient():
    torch.manual_seed(0)
    classifier = CosineClassifier(6, 4).double()
    embeddings = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 1, 2, 3, 0])
    assert torch.autograd.gradcheck(lambda e: classifier.loss(classifier(e), targets), embeddings)


def test_only_the_direction_of_an_embedding_counts():
    torch.manual_seed(0)
    classifier = CosineClassifier(6, 4, scale=7.0)
    embeddings = torch.randn(5, 6)
    torch.testing.assert_close(classifier(embeddings), classifier(100 * embeddings))
    assert classifier(classifier.weight).diagonal().tolist() == pytest.approx([7.0] * 4)
    assert classifier(embeddings).abs().max() <= 7.0 + 1e-5


@pytest.mark.parametrize(("attention", "options"), POOLINGS)
def test_padding_and_batch_order_change_nothing(attention, options):
    model = network(attention, **options).double().eval()
    x, lengths = clips()
    together, _ = model(x, lengths)
    for i, length in enumerate(lengths):
        alone, _ = model(x[i : i + 1, :length], lengths[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], atol=1e-9, rtol=1e-9)
    turned, _ = model(x.flip(0), lengths.flip(0))
    torch.testing.assert_close(turned.flip(0), together, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(("attention", "options"), POOLINGS)
def test_neither_what_padding_holds_nor_how_much_there_is_changes_training(attention, options, normalise):
    results = []
    for filling, margin in ((0.0, 0), (float("nan"), 7)):
        model = network(attention, **options).double().train()
        model.normalise = normalise
        x, lengths = clips(filling=filling)
        logits, _ = model(F.pad(x, (0, 0, 0, margin), value=filling), lengths)
        model.classifier.loss(logits, torch.tensor([0, 1, 2])).backward()
        results.append((logits, *(p.grad for p in model.parameters()), *model.buffers()))
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("attention", "options"), POOLINGS)
def test_gradients_reach_every_parameter(attention, options):
    model = network(attention, **options).double()
    logits, _ = model(*clips((30, 12, 17)))
    model.classifier.loss(logits, torch.tensor([0, 1, 2])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        # no map from scores to weights sees what all scores have in common
        assert name == "pooling.vectors.bias" or parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("attention", "options"), POOLINGS)
def test_asking_for_a_record_changes_nothing(attention, options):
    model = network(attention, **options).eval()
    model.clock = FrameClock(0.01, -0.005)
    x, lengths = clips()
    silent, empty = model(x.float(), lengths)
    asked, record = model(x.float(), lengths, record=True)
    assert empty.is_empty
    assert torch.equal(silent, asked)
    assert list(record.n_frames) == lengths.tolist()
    assert (record.mechanism, record.clock) == (attention, model.clock)
    for clip, length in enumerate(lengths):
        assert record.frame_attention(clip).shape == (length,)
    if attention in CONTINUOUS:
        assert record.density is not None
    else:
        assert record.weights.sum(axis=2) == pytest.approx(1.0, abs=1e-5)
        assert (record.weights[1, 0, 1:] == 0).all()


@pytest.mark.parametrize(("attention", "options"), POOLINGS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close(attention, options, dtype):
    model = network(attention, **options)
    x, lengths = clips((30, 1, 17))
    expected = model.eval()(x.float(), lengths)[0]
    with torch.autocast("cpu", dtype=dtype):
        logits = model(x.float(), lengths)[0]
        loss = model.classifier.loss(model.train()(x.float(), lengths)[0], torch.tensor([0, 1, 2]))
    loss.backward()
    assert logits.dtype == torch.float32
    assert (logits - expected).abs().max() < 0.1 * model.classifier.scale
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("attention", "options"), POOLINGS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_pooling_in_half_precision_is_close_to_that_in_double(attention, options, dtype):
    torch.manual_seed(0)
    module = build_pooling(attention, 6, **options).to(dtype)
    x = torch.randn(3, 9, 6).to(dtype)
    x[1, 4:] = float("nan")
    lengths, given = torch.tensor([9, 4, 1]), x.clone().requires_grad_()
    output = module(given, lengths)[0]
    output.float().sum().backward()
    assert output.dtype == dtype, "as of every attention"
    assert all(p.grad.isfinite().all() for p in [given, *module.parameters()])
    wanted = module.double().eval()(x.double(), lengths)[0]
    module.to(dtype)
    allowed = 40 * torch.finfo(dtype).eps
    assert (module(x, lengths)[0].double() - wanted).abs().max() < allowed * (1 + wanted.abs().max())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_network_in_half_precision_trains(dtype):
    model = network(**{"hidden_size": 8}).to(dtype)
    x, lengths = clips(filling=float("nan"))
    logits, _ = model(x.to(dtype), lengths)
    model.classifier.loss(logits, torch.tensor([0, 1, 2])).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("attention", "options"), POOLINGS)
def test_clips_without_a_frame_or_with_more_than_there_are_are_refused(attention, options):
    torch.manual_seed(0)
    module = build_pooling(attention, 6, **options)
    for lengths in ([0, 5], [5, 6]):
        with pytest.raises(ValueError, match=r"valid frames; it must have 1 to 5"):
            module(torch.randn(2, 5, 6), torch.tensor(lengths))
    with pytest.raises(ValueError, match="integers of shape"):
        module(torch.randn(2, 5, 6), torch.tensor([1.0, 2.0]))


def test_a_network_refuses_them_too():
    with pytest.raises(ValueError, match="clip 1 of the batch has 21 valid frames"):
        network()(torch.randn(2, 20, 20), torch.tensor([20, 21]))


@pytest.mark.parametrize(("attention", "options"), POOLINGS)
def test_padding_that_is_not_a_number_has_no_gradient_and_gives_none(attention, options):
    torch.manual_seed(0)
    module = build_pooling(attention, 6, **options).double()
    values = torch.randn(2, 5, 6, dtype=torch.float64)
    clean = values.clone().requires_grad_()
    values[0, 3:] = float("nan")
    values.requires_grad_()
    for h in (clean, values):
        module(h, torch.tensor([3, 5]))[0].square().sum().backward()
    torch.testing.assert_close(values.grad, clean.grad)
    assert (values.grad[0, 3:] == 0).all()


@pytest.mark.parametrize(("attention", "options"), POOLINGS)
def test_the_gradients_of_a_pooling_are_the_gradients(attention, options):
    torch.manual_seed(0)
    # in evaluation: the statistics of batch normalisation, which training counts, are of no gradient
    module = build_pooling(attention, 2, **options).double().eval()
    values = 0.3 * torch.randn(2, 3, 2, dtype=torch.float64)

    def pool(values):
        return module(values, torch.tensor([3, 2]))[0]

    assert torch.autograd.gradcheck(pool, values.requires_grad_())
    assert torch.autograd.gradgradcheck(pool, values)


@pytest.mark.parametrize(("attention", "options"), POOLINGS)
def test_a_single_frame_has_a_mean_and_no_deviation_in_training_too(attention, options):
    model = network(attention, **options).train()
    logits, _ = model(torch.randn(1, 1, 20))
    model.classifier.loss(logits, torch.tensor([0])).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    if attention in DISCRETE:
        values = torch.randn(2, 1, 6, dtype=torch.float64)
        mean, deviation = pooling(attention)(values)[0].chunk(2, dim=1)
        torch.testing.assert_close(mean, values[:, 0])
        assert deviation.max() <= 1.01e-6


def test_context_is_joined_without_building_it():
    torch.manual_seed(0)
    layer = ContextLinear(4, 3).double()
    x, mask = torch.randn(2, 7, 4, dtype=torch.float64), torch.ones(2, 7, dtype=torch.bool)
    mask[1, 5:] = False
    for clip, length in enumerate((7, 5)):
        alone = x[clip, :length]
        context = torch.cat([alone.mean(0), alone.std(0, correction=0)]).expand(length, 8)
        expected = F.linear(torch.cat([alone, context], dim=1), layer.weight, layer.bias)
        torch.testing.assert_close(layer(x, mask)[clip, :length], expected)


@pytest.mark.parametrize("attention", DISCRETE)
def test_equal_scores_give_the_statistics_of_all_frames(attention):
    module = pooling(attention)
    nn.init.zeros_(module.vectors.weight)
    x, lengths = clips()
    statistics, record = module(x[..., :6], lengths, record=True)
    expected, everywhere = MeanStatisticsPooling()(x[..., :6], lengths, record=True)
    torch.testing.assert_close(statistics, expected)
    assert record.weights == pytest.approx(everywhere.weights)


def test_each_channel_is_attended_to_by_itself():
    module = DiscreteStatisticsPooling(6, sparsemax, hidden_size=5).double().eval()
    x, _ = clips((12,))
    x = x[..., :6].requires_grad_()
    mean = module(x)[0][0, 2]
    with torch.no_grad():
        nn.init.zeros_(module.vectors.weight[3])
    torch.testing.assert_close(module(x)[0][0, 2], mean)


@pytest.mark.parametrize("attention", CONTINUOUS)
def test_the_mean_is_the_context_of_the_attention(attention):
    module = pooling(attention)
    x, lengths = clips()
    values = module.values(x[..., :6], torch.arange(30) < lengths[:, None])
    context, _ = module.attention(values, lengths)
    torch.testing.assert_close(module(x[..., :6], lengths)[0][:, :6], context)


@pytest.mark.parametrize("attention", CONTINUOUS)
def test_fusion_moves_the_mean_alone(attention):
    statistics = [pooling(attention, fused=fused)(clips()[0][..., :6])[0] for fused in (True, False)]
    torch.testing.assert_close(statistics[0][:, 6:], statistics[1][:, 6:])
    assert not torch.allclose(statistics[0][:, :6], statistics[1][:, :6])


class Largest(TorchDispatchMode):
    """Counts the elements of the largest tensor that is made."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize(
    ("attention", "options"), [("sparsemax", {}), ("biweight", {}), ("biweight", {"fused": False})]
)
def test_nothing_grows_with_the_square_of_the_frames_or_of_the_basis(attention, options):
    module = pooling(attention, **options)
    module(torch.randn(1, 200, 6, dtype=torch.float64))  # the value functions of these lengths are kept
    module(torch.randn(1, 800, 6, dtype=torch.float64))
    sizes = []
    for n_frames in (200, 800):
        with Largest() as largest:
            module(torch.randn(1, n_frames, 6, dtype=torch.float64))
        sizes.append(largest.elements)
    assert sizes[1] <= 4 * sizes[0]


def test_presets_are_what_they_say():
    with torch.device("meta"):
        models = {name: ECAPATDNN.preset(name, 80, 10) for name in PRESETS}
    for name, n_basis, fused in (("continuous", 128, True), ("continuous_2", 256, False), ("continuous_3", 128, False)):
        attention = models[name].pooling.attention
        assert (len(attention.value_function.basis), attention.fused) == (n_basis, fused)
    for name in ("discrete", "continuous"):
        blocks = [models[name].front.first, *(b.scales.blocks[0] for b in models[name].front.blocks)]
        assert [b.convolution.kernel_size[0] for b in blocks] == [5, 3, 3, 3]
        assert [b.convolution.dilation[0] for b in blocks] == [1, 2, 3, 4]
        assert models[name].front.blocks[0].scales.blocks[0].convolution.in_channels == 1024 // 8
        assert (models[name].classifier.margin, models[name].classifier.scale) == (0.2, 30.0)
        assert models[name].classifier.weight.shape == (10, 192)
    assert size(models["tiny"]) < 50_000


def test_it_learns_which_of_two_halves_is_loud():
    torch.manual_seed(0)
    x = 0.3 * torch.randn(24, 16, 20)
    targets = torch.arange(24) % 2
    for clip, target in zip(x, targets, strict=True):
        clip[8 * target : 8 * target + 8] += 1
    model = ECAPATDNN.preset("tiny", 20, 2, lambda channels: build_pooling("triweight", channels, n_basis=16))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(12):
        loss = model.classifier.loss(model(x)[0], targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(x)[0].argmax(1) == targets).float().mean() >= 0.9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ECAPATDNN.preset("huge", 80, 10), "discrete, continuous, continuous_2, continuous_3, tiny"),
        (lambda: build_pooling("sharpmax", 4), "softmax.*parabola, mean"),
        (lambda: build_pooling("softmax", 4, n_basis=8), "softmax.*n_basis"),
        (lambda: build_pooling("parabola", 4, variant="sum"), "variant is 'sum'.*variance, published"),
        (lambda: build_pooling("parabola", 0), "features is 0|channels is 0"),
        (lambda: build_pooling("softmax", 0), "channels is 0"),
        (lambda: build_pooling("softmax", 4, hidden_size=0), "hidden_size is 0"),
        (lambda: build_pooling("softmax", 4, dropout=1.0), "dropout is 1.0"),
        (lambda: CosineClassifier(4, 0), "n_classes is 0"),
        (lambda: CosineClassifier(4, 2, margin=2.0), "margin is 2.0"),
        (lambda: CosineClassifier(4, 2, scale=0.0), "scale is 0.0"),
        (lambda: angular_margin(torch.zeros(2, 3), torch.zeros(2, 3)), r"targets have shape \(2, 3\)"),
    ],
)
def test_impossible_options_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.cuda
@pytest.mark.parametrize(("attention", "options"), POOLINGS)
def test_a_device_gives_the_same_in_half_precision_too(attention, options):
    model = network(attention, **options).double().eval()
    x, lengths = clips(filling=float("nan"))
    wanted = model(x, lengths)[0]
    torch.testing.assert_close(model.cuda()(x.cuda(), lengths)[0].cpu(), wanted, atol=1e-8, rtol=1e-8)
    half = model.train().to(torch.bfloat16)
    logits = half(x.cuda().to(torch.bfloat16), lengths.cuda())[0]
    half.classifier.loss(logits, torch.tensor([0, 1, 2], device="cuda")).backward()
    assert all(p.grad.isfinite().all() for p in half.parameters())
