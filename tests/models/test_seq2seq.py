"""Laws of the sequence-to-sequence autoencoders."""

import pytest
import torch

from audioattn_lib.attention.maps.entmax import Entmax15, Sparsemax, softmax, sparsemax
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.layers.recurrence import ParallelLayer, ReusedMatrix, reverse_frames, shift_frames
from audioattn_lib.models.seq2seq import NETWORKS, Seq2SeqAutoencoder, reconstruction_loss

BANDS, UNITS = 6, 8
ATTENDING = [name for name, network in NETWORKS.items() if network.attends]
CODED = [name for name, network in NETWORKS.items() if network.has_code]
LENGTHS = torch.tensor([9, 4, 1])


def make(network="attention_bi_bi_hidden", seed=0, **options):
    torch.manual_seed(seed)
    return Seq2SeqAutoencoder(network, BANDS, UNITS, **options)


def clips(seed=1, frames=9, batch=3):
    return torch.rand(batch, frames, BANDS, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def influence(model, frames, lengths=None):
    """Gradient of each rebuilt frame with respect to each frame given to the decoder, the encoder held fixed."""
    model.eval()
    encoded = model.encode(frames, lengths)
    jacobian = torch.autograd.functional.jacobian(lambda given: model.decode(encoded, given, lengths).frames, frames)
    return jacobian.abs().amax(dim=(2, 5))  # (B, T made, B, T given)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("network", NETWORKS)
def test_no_frame_reaches_its_own_reconstruction_through_the_decoder(network, cell):
    frames = clips(frames=6, batch=2)
    lengths = torch.tensor([6, 4])
    reached = influence(make(network, cell=cell), frames, lengths)
    for clip, length in enumerate(lengths):
        own = reached[clip, :, clip]
        order = torch.arange(length)
        order = order.flip(0) if NETWORKS[network].backwards else order
        ordered = own[order][:, order]  # in the order in which frames are rebuilt
        assert ordered.triu().eq(0).all(), "a frame was seen before it was rebuilt"
        assert ordered.tril(-1)[1:, 0].gt(0).all(), "the decoder remembers the first frame that it was given"
        assert own[:, length:].eq(0).all()
        assert reached[clip, :, 1 - clip].eq(0).all()


def test_the_published_order_has_given_half_of_the_frames_before_they_are_rebuilt():
    reached = influence(make("seq2seq_bi_bi", variant="published"), clips(frames=6, batch=1))[0, :, 0]
    assert reached.diagonal()[:2].gt(0).all()
    assert reached.diagonal()[3:].eq(0).all()


@pytest.mark.parametrize("network", ATTENDING)
def test_the_decoder_remembers_where_the_published_one_forgets(network):
    frames = clips(frames=9, batch=1)
    kept = influence(make(network, dropout=0.0), frames)[0, :, 0]
    far = kept[0, -1] if NETWORKS[network].backwards else kept[-1, 0]
    assert far > 0
    if NETWORKS[network].has_code:
        model = make(network, dropout=0.0, variant="published")
        torch.nn.init.zeros_(model.decoder.attention.vector.weight)  # the past has one way left: memory
        forgets = influence(model, frames)[0, :, 0]
        assert forgets.gt(0).sum() == 8, "each step knows the one frame that it was just given"


@pytest.mark.parametrize(
    ("network", "variant"), [(name, "corrected") for name in NETWORKS] + [(name, "published") for name in CODED]
)
def test_padding_and_order_and_company_change_nothing(network, variant):
    model = make(network, variant=variant).eval()
    frames = clips()
    made, record = model(frames, LENGTHS, record=True)
    features = model.extract(frames, LENGTHS)
    assert features.shape == (3, model.n_features)
    dirty = torch.cat([frames, torch.full((3, 2, BANDS), torch.nan)], dim=1)
    for clip, length in enumerate(LENGTHS):
        dirty[clip, length:] = torch.nan
        alone, own = model(frames[clip : clip + 1, :length], record=True)
        torch.testing.assert_close(made[clip : clip + 1, :length], alone)
        torch.testing.assert_close(features[clip : clip + 1], model.extract(frames[clip : clip + 1, :length]))
        assert made[clip, length:].eq(0).all()
        if network in ATTENDING:
            torch.testing.assert_close(
                torch.from_numpy(record.alignment[clip, :length, :length]), torch.from_numpy(own.alignment[0])
            )
    padded, _ = model(dirty, LENGTHS)
    torch.testing.assert_close(padded[:, :9], made)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(model(frames[order], LENGTHS[order])[0], made[order])
    torch.testing.assert_close(model.extract(frames[order], LENGTHS[order]), features[order])


@pytest.mark.parametrize("network", ATTENDING)
@pytest.mark.parametrize("map", [softmax, sparsemax, Entmax15()])
def test_each_row_of_an_alignment_has_mass_one_inside_the_clip(network, map):
    model = make(network, normalizer=map).eval()
    record = model(clips(), LENGTHS, record=True)[1]
    for clip, length in enumerate(LENGTHS.tolist()):
        rows = record.alignment[clip]
        assert rows[:length].sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert rows[length:].sum() == rows[:, length:].sum() == 0
        assert record.frame_attention(clip).sum() == pytest.approx(1)
    assert make(network).eval()(clips(), LENGTHS)[1].is_empty


def test_a_sparse_map_leaves_frames_out():
    model = make(normalizer=Sparsemax())
    torch.nn.init.constant_(model.decoder.attention.vector.weight, 3.0)
    assert (model(clips(), record=True)[1].alignment == 0).any()


@pytest.mark.parametrize("network", NETWORKS)
def test_dropout_acts_in_training_and_never_on_features(network):
    model = make(network, dropout=0.5).train()
    frames = clips()
    torch.manual_seed(0)
    first, second = model(frames, LENGTHS)[0], model(frames, LENGTHS)[0]
    assert not torch.allclose(first, second)
    torch.testing.assert_close(model.extract(frames, LENGTHS), model.extract(frames, LENGTHS))
    assert model.training


def test_encoder_noise_hides_whole_frames_from_the_encoder_in_training_only():
    model, frames = make(dropout=0.0, frame_dropout=0.5), clips(batch=1)
    jacobian = torch.autograd.functional.jacobian(lambda given: model.train().encode(given).feature, frames)
    read = jacobian.abs().amax(dim=(0, 1, 2))  # (T, F)
    assert (read.gt(0).all(dim=1) | read.eq(0).all(dim=1)).all()
    assert 0 < read.gt(0).all(dim=1).sum() < 9
    torch.testing.assert_close(model.extract(frames), make(dropout=0.0).extract(frames))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("network", NETWORKS)
def test_running_freely_needs_no_true_frame(network, cell):
    model = make(network, cell=cell).eval()
    frames = clips()
    encoded = model.encode(frames, LENGTHS)
    made = model.decode(encoded, frames, LENGTHS, scheduled_sampling=1.0).frames
    torch.testing.assert_close(
        made, model.decode(encoded, torch.zeros_like(frames), LENGTHS, scheduled_sampling=1.0).frames
    )
    forced = model.decode(encoded, frames, LENGTHS).frames
    assert not torch.allclose(made[0], forced[0])
    first = 8 if NETWORKS[network].backwards else 0
    torch.testing.assert_close(made[0, first], forced[0, first])


@pytest.mark.parametrize("network", ["seq2seq_bi_bi", "attention_bi_bi_hidden"])
def test_running_freely_is_teacher_forcing_with_what_was_made(network):
    model = make(network).eval()
    frames = clips(batch=1)
    encoded = model.encode(frames)
    made = model.decode(encoded, frames, scheduled_sampling=1.0).frames
    torch.testing.assert_close(model.decode(encoded, made.detach()).frames, made)


def test_sampling_mixes_both():
    model = make().eval()
    torch.manual_seed(3)
    frames = clips(frames=40)
    forced, free = model(frames)[0], model(frames, scheduled_sampling=1.0)[0]
    mixed = model(frames, scheduled_sampling=0.5)[0]
    assert not torch.allclose(mixed, forced)
    assert not torch.allclose(mixed, free)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_weight_learns_and_a_few_steps_lower_the_loss(network, cell):
    model = make(network, cell=cell, dropout=0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    frames, losses = clips(), []
    for _ in range(15):
        loss = reconstruction_loss(model(frames, LENGTHS)[0], frames, LENGTHS)
        loss.backward()
        if not losses:
            silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
            assert not silent
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("scheduled_sampling", [0.0, 0.6])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_gradient_is_the_gradient(cell, scheduled_sampling):
    model = make(cell=cell, normalizer=sparsemax).double()
    frames = clips(frames=5).double()
    lengths = torch.tensor([5, 3, 1])

    def loss(*changed):
        torch.manual_seed(5)  # the same dropout and the same sampled steps
        named = dict(zip(names, changed, strict=True))
        made, _ = torch.func.functional_call(
            model, named, (frames, lengths), {"scheduled_sampling": scheduled_sampling}
        )
        return reconstruction_loss(made, frames, lengths)

    names = [n for n, _ in model.named_parameters() if n.startswith("decoder")]
    parameters = tuple(dict(model.named_parameters())[n] for n in names)
    if scheduled_sampling:  # what was made is read as if it were given: no gradient goes through it
        value = loss(*parameters)
        assert all(torch.isfinite(g).all() for g in torch.autograd.grad(value, parameters))
    else:
        torch.autograd.gradcheck(loss, parameters, fast_mode=True, atol=1e-6)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_layer_in_one_piece_is_the_layer_step_by_step(cell):
    torch.manual_seed(0)
    layer = ParallelLayer(5, 4, 2, cell)
    inputs = torch.randn(3, 7, 5)
    start = layer.start(torch.randn(2, 3, 4))
    whole = layer(inputs, start)
    gates = torch.nn.functional.linear(inputs, layer.input_weight.T, layer.input_bias)
    steps = layer.steps(7, start)
    torch.testing.assert_close(torch.stack([steps(t, gates[:, t]) for t in range(7)], dim=1), whole)


def test_a_reused_matrix_is_a_product_a_step():
    torch.manual_seed(0)
    matrix = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    offsets = torch.randn(5, 2, 1, 4, dtype=torch.float64, requires_grad=True)
    start = torch.randn(2, 1, 3, dtype=torch.float64, requires_grad=True)

    def run(matrix, offsets, start, product):
        rows, total = start, 0.0
        for step in range(5):
            made = product(step, rows)
            rows, total = made[..., :3].tanh(), total + made.square().sum()
        return total

    fast = run(matrix, offsets, start, ReusedMatrix(matrix, offsets))
    slow = run(matrix, offsets, start, lambda step, rows: offsets[step] + rows @ matrix)
    torch.testing.assert_close(fast, slow)
    for each, other in zip(
        torch.autograd.grad(fast, (matrix, offsets, start)),
        torch.autograd.grad(slow, (matrix, offsets, start)),
        strict=True,
    ):
        torch.testing.assert_close(each, other)


def test_two_passes_before_one_backward_do_not_disturb_each_other():
    model = make(dropout=0.0)
    first, second = clips(1), clips(2)
    expected = []
    for frames in (first, second):
        expected.append(torch.autograd.grad(model(frames)[0].square().sum(), model.decoder.output.weight)[0])
    both = model(first)[0].square().sum(), model(second)[0].square().sum()
    for value, gradient in zip(both, expected, strict=True):
        torch.testing.assert_close(torch.autograd.grad(value, model.decoder.output.weight)[0], gradient)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("network", NETWORKS)
def test_weights_make_the_round_trip(network, cell):
    model, other = make(network, cell=cell).eval(), make(network, seed=1, cell=cell).eval()
    assert not torch.allclose(model.extract(clips()), other.extract(clips()))
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.extract(clips()), model.extract(clips()))


def test_features_have_the_published_widths():
    widths = {name: Seq2SeqAutoencoder(name, 4, 256).n_features for name in NETWORKS}
    assert widths == {
        "seq2seq_bi_bi_fc": 256,
        "seq2seq_bi_bi": 512,
        "attention_bi_bi": 512,
        "attention_bi_bi_hidden": 512,
        "attention_figure": 512,
        "t_rae": 1024,
    }


def test_the_size_is_that_of_the_published_networks_but_for_biases():
    # torch's cells have two vectors of biases, the published ones one; additive attention needs none at its end
    counted = {
        name: sum(p.numel() for p in Seq2SeqAutoencoder(name, 120).parameters())
        for name in ("seq2seq_bi_bi_fc", "attention_bi_bi_hidden")
    }
    second_biases = 8 * 3 * 256
    assert counted["seq2seq_bi_bi_fc"] == 3_713_400 + second_biases
    assert counted["attention_bi_bi_hidden"] == 4_631_417 + second_biases - 256 - 1


def test_reversing_keeps_padding_behind_and_shifting_starts_with_silence():
    frames = torch.arange(6.0).view(1, 6, 1)
    assert reverse_frames(frames, torch.tensor([4]))[0, :, 0].tolist() == [3, 2, 1, 0, 4, 5]
    assert reverse_frames(frames, None)[0, :, 0].tolist() == [5, 4, 3, 2, 1, 0]
    assert shift_frames(frames)[0, :, 0].tolist() == [0, 0, 1, 2, 3, 4]


def test_the_loss_counts_valid_frames_only():
    made, frames = torch.zeros(2, 3, BANDS), torch.ones(2, 3, BANDS)
    frames[1, 1:] = 100.0
    assert reconstruction_loss(made, frames, torch.tensor([3, 1])) == 1
    made[0] = -1.0
    assert reconstruction_loss(made, frames, torch.tensor([3, 1]), "rmse") == pytest.approx((13 / 4) ** 0.5)
    with pytest.raises(ConfigError, match="mse, rmse"):
        reconstruction_loss(made, frames, kind="mae")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "attention"}, "network is 'attention'; it must be one of seq2seq_bi_bi_fc, "),
        ({"cell": "rnn"}, "cell is 'rnn'; it must be one of gru, lstm"),
        ({"variant": "scrambled"}, "variant is 'scrambled'; it must be one of corrected, published"),
        ({"network": "attention_figure", "variant": "published"}, "no published code of attention_figure"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"frame_dropout": 1.0}, "frame_dropout is 1.0"),
        ({"units": 0}, "units is 0"),
        ({"n_bands": 0}, "n_bands is 0"),
    ],
)
def test_impossible_networks_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Seq2SeqAutoencoder(**{"network": "seq2seq_bi_bi", "n_bands": 4, "units": 4, **options})


def test_an_impossible_probability_is_refused():
    with pytest.raises(ConfigError, match="scheduled_sampling is 1.5"):
        make()(clips(), scheduled_sampling=1.5)


@pytest.mark.parametrize("scheduled_sampling", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("network", NETWORKS)
def test_it_learns_in_bfloat16_too(network, cell, scheduled_sampling):
    model = make(network, cell=cell)
    frames = clips()
    results = []
    for low in (False, True):
        torch.manual_seed(2)
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            try:
                rebuilt = model(frames, LENGTHS, scheduled_sampling=scheduled_sampling)[0]
            except RuntimeError as error:
                if not low or "could not create a primitive" not in str(error):
                    raise
                pytest.skip("PyTorch has no LSTM in bfloat16 for this processor, which lacks AVX-512")
            loss = reconstruction_loss(rebuilt, frames, LENGTHS)
        loss.backward()
        results.append([loss.detach(), *(p.grad.norm() for p in model.parameters())])
    exact, rounded = (torch.stack([tensor.float() for tensor in each]) for each in results)
    torch.testing.assert_close(rounded, exact, atol=0.02, rtol=0.05)


@pytest.mark.cuda
@pytest.mark.parametrize("network", NETWORKS)
def test_a_device_gives_the_same(network):
    model = make(network).eval()
    frames = clips()
    made, features = model(frames, LENGTHS)[0], model.extract(frames, LENGTHS)
    model = model.cuda()
    torch.testing.assert_close(model(frames.cuda(), LENGTHS.cuda())[0].cpu(), made, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(model.extract(frames.cuda(), LENGTHS.cuda()).cpu(), features, atol=1e-4, rtol=1e-3)
    with torch.autocast("cuda", torch.bfloat16):
        loss = reconstruction_loss(model(frames.cuda(), LENGTHS.cuda())[0], frames.cuda(), LENGTHS.cuda())
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
