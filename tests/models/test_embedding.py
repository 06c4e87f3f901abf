"""Laws of the backbones, the poolings by name, the embedding network and its losses."""

import copy
import os

import pytest
import torch
from torch.nn import functional as F

from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.backbones.vgg import VGG, halved
from audioattn_lib.models.embedding import BACKBONES, EmbeddingLayers, EmbeddingNetwork, build_backbone
from audioattn_lib.models.layers.utterance_pooling import POOLINGS, build_utterance_pooling
from audioattn_lib.models.margin import LOSSES, CosineClassifier, additive_margin, build_classifier

MELS = 12
CHANNELS = {"vgg3l": 8, "vgg4l": 8, "resnet34": 2}
OPTIONS = {"heads": 2, "head_dropout": 0.2}


def network(backbone="vgg3l", pooling="double_multi_head", loss="am_softmax", seed=0, **options):
    torch.manual_seed(seed)
    front = build_backbone(backbone, MELS, CHANNELS[backbone])
    pooled, width = build_utterance_pooling(pooling, front.out_features, **{**OPTIONS, **options})
    clock = FrameClock(0.01, -0.005)
    made = EmbeddingNetwork(front, pooled, EmbeddingLayers(width, 6), build_classifier(loss, 6, 3), clock=clock)
    return made.double().eval()


def features(*shape, seed=3):
    return torch.randn(*shape, MELS, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_batch_and_order_change_nothing(backbone, pooling):
    net, lengths = network(backbone, pooling), torch.tensor([37, 1, 16, 17, 37])
    x = features(5, 37)
    together, record = net.embed(x, lengths, record=True)
    spoiled = x.clone()
    for clip, length in enumerate(lengths):
        spoiled[clip, length:] = float("nan")
    torch.testing.assert_close(net.embed(spoiled, lengths)[0], together)
    for clip, length in enumerate(lengths):
        alone, alone_record = net.embed(x[clip : clip + 1, :length], record=True)
        torch.testing.assert_close(alone[0], together[clip], atol=1e-9, rtol=1e-7)
        assert (
            alone_record.n_frames[0]
            == record.n_frames[clip]
            == halved(int(length), net.front.reduction.bit_length() - 1)
        )
    torch.testing.assert_close(net.embed(x.flip(0), lengths.flip(0))[0].flip(0), together)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_padding_changes_no_gradient_in_training(backbone):
    net, lengths = network(backbone, head_dropout=0.0).train(), torch.tensor([17, 9])
    x, targets = features(2, 17), torch.tensor([0, 2])

    def gradients(x, lengths):
        net.zero_grad()
        net.classifier.loss(net(x, lengths)[0], targets).backward()
        return [parameter.grad.clone() for parameter in net.parameters()]

    given = gradients(x, lengths)
    longer = torch.cat([x, torch.full((2, 20, MELS), float("inf"), dtype=torch.float64)], dim=1)
    for each, two in zip(given, gradients(longer, lengths), strict=True):
        torch.testing.assert_close(each, two)
        assert each.isfinite().all()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("backbone", ["vgg3l", "resnet34"])
def test_one_frame_one_head_and_a_batch_of_one_work_in_training(backbone, pooling):
    net = network(backbone, pooling, heads=1, head_dropout=0.0).train()
    net.classifier.loss(net(features(1, 1))[0], torch.tensor([1])).backward()
    # the slope of a deviation over one frame has nothing to say
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_the_clock_is_that_of_the_reduced_frames():
    _, record = network("vgg3l")(features(1, 37), record=True)
    assert record.clock == FrameClock(0.08, -0.005)
    assert record.n_frames.tolist() == [5]
    assert record.head_weights.shape == (1, 2)


def test_the_published_network_has_the_published_parameters():
    front = VGG(80)
    assert front.out_features == 5120
    assert VGG(80, n_blocks=3).out_features == 10240
    pooling, width = build_utterance_pooling("double_multi_head", 5120)
    assert width == 160
    net = EmbeddingNetwork(front, pooling, EmbeddingLayers(width), build_classifier("am_softmax", 400, 5))
    assert sum(p.numel() for p in net.parameters()) == 19_126_784 - 2 * 2 * 400


def test_the_vgg_is_the_formula():
    net, x = VGG(MELS, 4, n_blocks=2).double(), features(1, 7)
    image = x[:, None]
    for first, second in net.blocks:
        image = F.max_pool2d(F.relu(second(F.relu(first(image)))), 2, ceil_mode=True)
    torch.testing.assert_close(net(x, None)[0, 1], image[0, :, 1].flatten())
    assert net(x, None).shape == (1, 2, net.out_features)


def test_a_copy_and_a_saved_state_give_the_same():
    net, x = network(), features(2, 9)
    assert torch.equal(copy.deepcopy(net)(x)[0], net(x)[0])
    other = network(seed=7)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x)[0], net(x)[0])


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_of_every_loss_is_the_gradient(loss):
    torch.manual_seed(0)
    classifier = build_classifier(loss, 4, 3).double()
    embeddings = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 1, 2, 2, 0])
    assert torch.autograd.gradcheck(lambda e: classifier.loss(classifier(e), targets), embeddings)


def test_the_additive_margin_is_taken_from_the_right_class_alone():
    cosines, targets = torch.tensor([[0.5, 0.2], [0.1, -0.3]]), torch.tensor([0, 1])
    torch.testing.assert_close(additive_margin(cosines, targets), torch.tensor([[0.1, 0.2], [0.1, -0.7]]))
    torch.testing.assert_close(additive_margin(cosines, targets, 0.0), cosines)


def test_the_margin_is_annealed_as_published_and_counted_in_training():
    classifier = build_classifier("am_softmax", 4, 3, annealing=2)
    logits, targets = classifier(torch.randn(5, 4)), torch.tensor([0, 1, 2, 2, 0])
    none, full = (build_classifier("am_softmax", 4, 3, margin=m).loss(logits, targets) for m in (0.0, 0.4))
    for updates, share in ((0, 1 / 1001), (10_000, 1 / 251), (250_000, 26**2 / (26**2 + 1000))):
        classifier.updates.fill_(2 * updates)
        wanted = build_classifier("am_softmax", 4, 3, margin=0.4 * share).loss(logits, targets)
        torch.testing.assert_close(classifier.eval().loss(logits, targets), wanted)
        assert none < wanted < full
    classifier.train().loss(logits, targets)
    assert classifier.updates == 500_001


def test_the_focal_loss_without_focus_is_the_cross_entropy():
    logits, targets = torch.randn(5, 3), torch.tensor([0, 1, 2, 2, 0])
    focal = build_classifier("focal", 4, 3, gamma=0.0)
    torch.testing.assert_close(focal.loss(logits, targets), F.cross_entropy(logits, targets))
    assert build_classifier("focal", 4, 3).loss(logits, targets) < focal.loss(logits, targets)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("focus", [0.1, 0.5, 1.0, 2.0])
def test_the_focal_loss_has_a_gradient_where_the_cross_entropy_rounds_to_nothing(dtype, focus):
    focal = build_classifier("focal", 4, 3, gamma=focus)
    logits = torch.tensor([[200.0, 0.0, 0.0], [10.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=dtype, requires_grad=True)
    targets = torch.zeros(3, dtype=torch.long)
    (gradient,) = torch.autograd.grad(focal.loss(logits, targets), logits, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), logits)
    assert gradient.isfinite().all()
    assert second.isfinite().all()
    assert gradient[0].abs().max() < 1e-6
    assert (gradient[1:, 0] < 0).all(), "a clip that is not yet sure still learns"


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("focus", [0.0, 0.5, 2.0])
def test_the_gradients_of_the_focal_loss_are_the_gradients(focus, published):
    focal = build_classifier("focal", 4, 3, gamma=focus, published_gamma=published)
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 1, 2, 0])
    assert torch.autograd.gradcheck(lambda x: focal.loss(x, targets), logits)
    assert torch.autograd.gradgradcheck(lambda x: focal.loss(x, targets), logits)


def test_the_focus_is_each_clips_own_or_as_published_that_of_the_batch():
    logits, targets = torch.randn(5, 3), torch.tensor([0, 1, 2, 2, 0])
    own, batch = (build_classifier("focal", 4, 3, published_gamma=published) for published in (False, True))
    alone = [own.loss(logits[i : i + 1], targets[i : i + 1]) for i in range(5)]
    torch.testing.assert_close(own.loss(logits, targets), torch.stack(alone).mean())
    torch.testing.assert_close(batch.loss(logits[:1], targets[:1]), alone[0])
    mean = F.cross_entropy(logits, targets)
    torch.testing.assert_close(batch.loss(logits, targets), (1 - torch.exp(-mean)) ** 2 * mean)


def test_the_share_of_the_margin_has_the_digits_of_the_logits():
    classifier = build_classifier("am_softmax", 4, 3, annealing=1)
    logits, targets = classifier(torch.randn(5, 4, dtype=torch.float64)), torch.tensor([0, 1, 2, 2, 0])
    classifier.updates.fill_(123_457)
    wanted = build_classifier("am_softmax", 4, 3, margin=0.4 / (1 + 1000 / (1 + 12.3457) ** 2)).loss(logits, targets)
    assert abs(classifier.eval().loss(logits, targets) / wanted - 1) < 1e-14


def test_what_cannot_be_is_named():
    with pytest.raises(ConfigError, match="backbone is 'vgg5l'; it must be one of vgg3l, vgg4l, resnet34"):
        build_backbone("vgg5l", 80, 64)
    with pytest.raises(ConfigError, match="channels is 100; with 4 blocks it must be a multiple of 8"):
        VGG(80, 100)
    with pytest.raises(ConfigError, match="n_blocks is 7; it must be from 1 to 6"):
        VGG(80, 64, 7)
    with pytest.raises(ConfigError, match="pooling is 'max'; it must be one of mean, statistics"):
        build_utterance_pooling("max", 8)
    with pytest.raises(ConfigError, match="attention is 'hardmax'"):
        build_utterance_pooling("mean", 8, attention="hardmax")
    with pytest.raises(ConfigError, match="attention is 'sparsemax'; with the continuous pooling it must be a density"):
        build_utterance_pooling("continuous", 8, attention="sparsemax")
    with pytest.raises(ConfigError, match="loss is 'hinge'; it must be one of am_softmax"):
        build_classifier("hinge", 4, 3)
    with pytest.raises(ConfigError, match=r"margin is 2\.5; it must be a difference of cosines in \[0, 2\)"):
        build_classifier("am_softmax", 4, 3, margin=2.5)
    with pytest.raises(ConfigError, match="annealing is 1; .* 0 for an angular margin"):
        CosineClassifier(4, 3, annealing=1)
    with pytest.raises(ConfigError, match="embedding_size is 0"):
        EmbeddingLayers(4, 0)


@pytest.mark.cuda
@pytest.mark.skipif(
    "SIMULATED_CUDA" in os.environ and torch.backends.cpu.get_cpu_capability() != "AVX512",
    reason="a processor without AVX-512 takes many minutes for bfloat16",
)
def test_the_published_network_trains_in_bfloat16_on_a_device():
    front = VGG(80)
    pooling, width = build_utterance_pooling("double_multi_head", front.out_features)
    net = EmbeddingNetwork(front, pooling, EmbeddingLayers(width), build_classifier("am_softmax", 400, 5)).cuda()
    with torch.autocast("cuda", torch.bfloat16):
        logits, _ = net(torch.randn(4, 350, 80, device="cuda"), torch.tensor([350, 200, 16, 1], device="cuda"))
        loss = net.classifier.loss(logits, torch.tensor([0, 1, 2, 3], device="cuda"))
    loss.backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())
