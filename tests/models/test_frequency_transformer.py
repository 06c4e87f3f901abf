"""Laws of the transformer over patches, of its published weights, and of the convolutional baseline."""

import copy
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from audioattn_lib.attention.patterns.names import Dense, RowGroups, TwoBranches
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.frequency_transformer import FrequencyTransformer
from audioattn_lib.models.layers.mid_level_split import MidLevelSplit
from audioattn_lib.models.layers.transformer import ARCHITECTURES, PRESETS, Shape
from audioattn_lib.models.pretrained import load_pretrained
from audioattn_lib.models.weights import read_weights

SHAPE = Shape(12, 2, 2, (8, 8), (5, 5))
MELS, FRAMES, CLASSES = 28, 60, 4
PATTERNS = [
    "dense",
    "high_low",
    "per_row_2",
    "sparse_row_2",
    "row_overlap_2",
    "token_overlap",
    "token_overlap_20_0.5",
    "attn_penalty",
    "high_low_branch",
    "high_low_branch_v2",
    "dense,per_row_2",
]
EVERY = pytest.mark.parametrize("pattern", PATTERNS)


def make(pattern="dense", *, seed=0, **options):
    torch.manual_seed(seed)
    model = FrequencyTransformer(SHAPE, MELS, CLASSES, max_frames=FRAMES, pattern=pattern, **options)
    for parameter in model.parameters():  # weights of 0.02 hide what attention does
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model.double().eval()


def sounds(batch=3, frames=FRAMES, seed=1):
    return torch.randn(batch, frames, MELS, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@EVERY
@pytest.mark.parametrize("alpha", [1.0, 1.5])
def test_padding_batch_and_order_change_nothing(pattern, alpha):
    model, lengths = make(pattern, alpha=alpha), torch.tensor([60, 31, 4])
    x = sounds()
    together, record = model(x, lengths, record=True)
    spoiled = x.clone()
    for clip, length in enumerate(lengths):
        spoiled[clip, length:] = float("nan")
    torch.testing.assert_close(model(spoiled, lengths)[0], together)
    torch.testing.assert_close(model(x.flip(0), lengths.flip(0))[0].flip(0), together)
    for clip, length in enumerate(lengths):
        alone, alone_record = model(x[clip : clip + 1, :length], record=True)
        torch.testing.assert_close(alone[0], together[clip])
        assert alone_record.n_frames[0] == record.n_frames[clip]
        np.testing.assert_allclose(alone_record.frame_attention(), record.frame_attention(clip), atol=1e-6)
    assert record.n_frames.tolist() == [11, 5, 1]


@EVERY
def test_gradients_reach_every_parameter_and_ignore_padding(pattern):
    model, lengths = make(pattern), torch.tensor([60, 33])
    x = sounds(2)
    x[1, 33:] = float("nan")
    x.requires_grad_()
    model(x, lengths)[0].square().sum().backward()
    assert (x.grad[1, 33:] == 0).all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@EVERY
def test_asking_for_a_record_changes_nothing(pattern):
    model, x = make(pattern, clock=FrameClock(0.01, -0.005), frequencies=np.linspace(50, 2750, MELS)), sounds()
    logits, empty = model(x)
    asked, record = model(x, record=True)
    assert empty.is_empty
    assert torch.equal(logits, asked)
    assert record.maps.shape == (3, 2, 2, 5, 11)
    assert (record.maps >= 0).all()
    assert (record.maps.sum((3, 4)) < 1).all()  # the rest is what global tokens give each other
    # patch 0 covers frames 0 to 7 and bands 0 to 7
    assert record.frame_times()[0] == pytest.approx(0.01 * 4 - 0.005)
    assert record.frame_times()[1] - record.frame_times()[0] == pytest.approx(0.05)
    assert record.frequencies[0] == pytest.approx(np.linspace(50, 2750, MELS)[:8].mean())
    assert len(record.frequencies) == 5


@EVERY
def test_rollout_is_a_share_of_what_reaches_the_global_tokens(pattern):
    model, x, lengths = make(pattern), sounds(2), torch.tensor([60, 30])
    record = model.rollout(x, lengths)
    assert record.maps.shape == (2, 2, 1, 5, 11)
    assert (record.maps.sum((3, 4)) <= 1).all()
    assert (np.diff(record.maps.sum((3, 4))[:, :, 0], axis=1) > 0).all()  # layer after layer, more comes from patches
    assert (record.maps[1, ..., 5:] == 0).all()


@EVERY
def test_entmax_reads_few_patches_and_learns(pattern):
    x = sounds(2)
    sparse, dense = (make(pattern, alpha=alpha) for alpha in (1.5, 1.0))
    assert sparse.state_dict().keys() == dense.state_dict().keys()
    logits, record = sparse(x, record=True)
    assert (record.maps == 0).mean() > (dense(x, record=True)[1].maps == 0).mean()
    assert not torch.allclose(logits, dense(x)[0])
    logits.square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in sparse.parameters())


def test_rollout_of_one_layer_is_half_of_its_attention():
    model, x = make("per_row_2"), sounds(2)
    first = model.rollout(x).maps[:, 0, 0]
    np.testing.assert_allclose(first, model(x, record=True)[1].maps[:, 0].mean(1) / 2, atol=1e-6)


@EVERY
def test_global_tokens_see_all_frequencies(pattern):
    # as published, the branches hid the upper half from CLS: the logits did not change at all
    model, x = make(pattern), sounds(1)
    for band in (0, MELS - 1):
        changed = x.clone()
        changed[..., band] += 1
        assert (model(changed)[0] - model(x)[0]).abs().max() > 1e-6


def test_groups_keep_frequencies_apart():
    shape = Shape(12, 1, 2, (7, 8), (7, 5))
    torch.manual_seed(0)
    model = FrequencyTransformer(shape, MELS, CLASSES, max_frames=FRAMES, pattern="per_row").double().eval()
    x = sounds(1)
    changed = x.clone()
    changed[..., :7] += 1
    states = []
    for each in (x, changed):
        tokens, arrangement = model.embed(each)
        states.append(model.blocks[0](tokens, arrangement))
    same = (states[0] == states[1]).all(-1)[0, 2:].unflatten(0, (4, -1))
    assert not same[0].any()
    assert same[1:].all()


def test_branches_start_as_copies_so_one_layer_is_high_low():
    options = {"max_frames": FRAMES}
    torch.manual_seed(0)
    plain = FrequencyTransformer(SHAPE, MELS, CLASSES, pattern="high_low", **options).double().eval()
    torch.manual_seed(0)
    branched = FrequencyTransformer(SHAPE, MELS, CLASSES, pattern="high_low_branch", **options).double().eval()
    branched.load_state_dict(plain.state_dict(), strict=False)
    branched.copy_branches()
    tokens, arrangement = plain.embed(sounds(1))
    alone_record, two = plain.blocks[0](tokens, arrangement), branched.blocks[0](tokens, arrangement)
    torch.testing.assert_close(alone_record[:, 2:], two[:, 2:])
    assert branched.blocks[0].attn2 is not None


def test_streams_keep_the_residual():
    # with attention and MLP silenced, a layer passes its input on
    model = make("high_low_branch_v2")
    for block in (*model.blocks, *model.blocks_2):
        for layer in (block.attn.proj, block.mlp.fc2):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    tokens, arrangement = model.embed(sounds(1))
    assert torch.equal(model.blocks[0](tokens, arrangement), tokens)


@pytest.mark.parametrize(
    "pattern", ["dense", "per_row_2", "row_overlap_2", "token_overlap", "high_low_branch", "high_low_branch_v2"]
)
def test_patchout_acts_in_training_only(pattern):
    model, x = make(pattern, patchout=6, patchout_time=2, patchout_frequency=1), sounds()
    without = make(pattern)
    assert torch.equal(model(x)[0], without(x)[0])
    model.train()
    arrangement = model.embed(x, torch.tensor([60, 31, 10]))[1]
    assert len(arrangement.positions) == 4 * 9 - 6
    assert (arrangement.positions.diff() > 0).all()
    assert len(set((arrangement.positions // 11).tolist())) <= 4
    logits = model(x, torch.tensor([60, 31, 10]))[0]
    assert logits.isfinite().all()
    logits.sum().backward()
    torch.manual_seed(5)
    first = model(x)[0]
    torch.manual_seed(5)
    assert torch.equal(model(x)[0], first)
    assert not torch.equal(model(x)[0], first)


@pytest.mark.parametrize("n_global", [2, 6])
def test_predictions_are_always_the_same(n_global):
    # as published, more than two global tokens drew new links at every pass, also in evaluation
    model, x = make("per_row_2", n_global=n_global), sounds()
    assert torch.equal(model(x)[0], model(x)[0])
    assert model.embed(x)[0].shape[1] == n_global + 55


def test_shorter_inputs_move_over_the_embedding_of_time_in_training():
    model, x = make(), sounds(1, 30)
    assert torch.equal(model(x)[0], model(x)[0])
    model.train()
    torch.manual_seed(0)
    assert len({model(x)[0][0, 0].item() for _ in range(8)}) > 1


def test_sizes():
    model = FrequencyTransformer(PRESETS["published"], 128, 527)
    assert (model.grid.rows, model.grid.columns) == (12, 99)
    assert PRESETS["published"].grid(128, 1000).size + 2 == 1190
    assert PRESETS["published"].grid(128, 400).size + 2 == 470
    assert sum(p.numel() for p in model.parameters()) == 85_748_495
    dense = 12 * (12 * 768**2 * 1190 + 2 * 1190**2 * 768) + 1188 * 768 * 256
    assert model.multiply_adds(998) == dense
    assert pytest.approx(0.205, abs=5e-4) == 2 * 1190 * 768 / (12 * 768**2 + 2 * 1190 * 768)  # share of dense attention
    rows = {10: 12, 12: 10, 14: 9, 16: 8}
    for stride, frames in ARCHITECTURES.values():
        assert Shape(768, 12, 12, stride=(stride, stride)).grid(128, frames).rows == rows[stride]
    tiny = FrequencyTransformer.preset("tiny", 64, 5, max_frames=100)
    assert sum(p.numel() for p in tiny.parameters()) < 100_000
    assert FrequencyTransformer.preset("small", 64, 5).shape == PRESETS["small"]


def passt_checkpoint(width=12, depth=2, rows=5, columns=11, classes=CLASSES, patch=8):
    """Tensors with the names and sizes of a published checkpoint, drawn at random."""
    torch.manual_seed(3)
    sizes = {
        "cls_token": (1, 1, width),
        "dist_token": (1, 1, width),
        "new_pos_embed": (1, 2, width),
        "freq_new_pos_embed": (1, width, rows, 1),
        "time_new_pos_embed": (1, width, 1, columns),
        "patch_embed.proj.weight": (width, 1, patch, patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "head.0.weight": (width,),
        "head.0.bias": (width,),
        "head.1.weight": (classes, width),
        "head.1.bias": (classes,),
        "head_dist.weight": (classes, width),
        "head_dist.bias": (classes,),
    }
    for block in range(depth):
        for name, size in {
            "norm1.weight": (width,),
            "norm1.bias": (width,),
            "attn.qkv.weight": (3 * width, width),
            "attn.qkv.bias": (3 * width,),
            "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,),
            "norm2.weight": (width,),
            "norm2.bias": (width,),
            "mlp.fc1.weight": (4 * width, width),
            "mlp.fc1.bias": (4 * width,),
            "mlp.fc2.weight": (width, 4 * width),
            "mlp.fc2.bias": (width,),
        }.items():
            sizes[f"blocks.{block}.{name}"] = size
    return {name: 0.3 * torch.randn(size) for name, size in sizes.items()}


def by_hand(state, x, rows=5, columns=11, heads=2):
    """The published forward pass, written out."""
    patches = torch.nn.functional.conv2d(
        x.transpose(1, 2)[:, None], state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=5
    )
    patches = patches + state["time_new_pos_embed"][..., : patches.shape[3]] + state["freq_new_pos_embed"]
    t = patches.flatten(2).transpose(1, 2)
    both = torch.cat([state["cls_token"], state["dist_token"]], dim=1) + state["new_pos_embed"]
    t = torch.cat([both.expand(len(t), -1, -1), t], dim=1)

    def norm(t, name, eps=1e-6):
        return torch.nn.functional.layer_norm(t, t.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)

    def linear(t, name):
        return t @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    for i in range(2):
        q, k, v = linear(norm(t, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv").chunk(3, dim=-1)
        q, k, v = (each.unflatten(2, (heads, -1)).transpose(1, 2) for each in (q, k, v))
        a = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v
        t = t + linear(a.transpose(1, 2).flatten(2), f"blocks.{i}.attn.proj")
        inner = torch.nn.functional.gelu(linear(norm(t, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1"))
        t = t + linear(inner, f"blocks.{i}.mlp.fc2")
    t = norm(t, "norm")
    return linear(norm((t[:, 0] + t[:, 1]) / 2, "head.0", 1e-5), "head.1")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_published_checkpoint_loads_and_means_the_same(tmp_path, suffix):
    state = passt_checkpoint()
    path = tmp_path / f"passt{suffix}"
    torch.save(state, path) if suffix == ".pt" else save_file(state, path)
    model = make().float()
    report = load_pretrained(model, path)
    assert report.resized == report.replaced == report.added == ()
    x = sounds().float()
    torch.testing.assert_close(model(x)[0], by_hand(state, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("wrap", ["net.", "model", "state_dict"])
def test_wrapped_checkpoints_load(tmp_path, wrap):
    state = passt_checkpoint()
    wrapped = {f"net.{k}": v for k, v in state.items()} if wrap == "net." else {wrap: state}
    torch.save(wrapped, tmp_path / "passt.pt")
    model = make().float()
    load_pretrained(model, tmp_path / "passt.pt")
    assert torch.equal(model.norm.weight, state["norm.weight"])


def test_several_networks_in_one_file_need_a_choice():
    state = passt_checkpoint()
    both = {f"{net}.{k}": v for net in ("net", "net_swa") for k, v in state.items()}
    with pytest.raises(ConfigError, match="several networks; give prefix, one of 'net.', 'net_swa.'"):
        load_pretrained(make().float(), both)
    load_pretrained(make().float(), both, prefix="net_swa.")
    with pytest.raises(ConfigError, match="no name of the weights begins with it"):
        load_pretrained(make().float(), both, prefix="ema.")


def test_longer_tables_are_cut_and_shorter_ones_interpolated():
    long = passt_checkpoint(columns=20)
    model = make().float()
    assert load_pretrained(model, long).resized == ("time_new_pos_embed",)
    assert torch.equal(model.time_new_pos_embed, long["time_new_pos_embed"][..., :11])
    short = passt_checkpoint(columns=6, rows=3)
    assert load_pretrained(model, short).resized == ("time_new_pos_embed", "freq_new_pos_embed")
    np.testing.assert_allclose(
        model.time_new_pos_embed[..., [0, -1]].detach(), short["time_new_pos_embed"][..., [0, -1]], atol=0.3
    )


def test_a_classifier_of_other_classes_is_replaced():
    model = make().float()
    before = model.head[1].weight.clone()
    report = load_pretrained(model, passt_checkpoint(classes=527))
    assert report.replaced == ("head.1.weight", "head.1.bias")
    assert torch.equal(model.head[1].weight, before)


@pytest.mark.parametrize("pattern", ["high_low_branch", "high_low_branch_v2"])
def test_second_branches_start_as_copies(pattern):
    model = make(pattern).float()
    report = load_pretrained(model, passt_checkpoint())
    assert report.added
    if pattern == "high_low_branch":
        assert torch.equal(model.blocks[1].attn2.qkv.weight, model.blocks[1].attn.qkv.weight)
    else:
        assert torch.equal(model.blocks_2[1].attn.qkv.weight, model.blocks[1].attn.qkv.weight)
    again = make(pattern, seed=9).float()
    assert load_pretrained(again, model.state_dict()).added == ()


def test_more_global_tokens_start_near_the_two_of_the_checkpoint():
    state = passt_checkpoint()
    model = make(n_global=6).float()
    assert load_pretrained(model, state).added == ("global_tokens", "new_pos_embed")
    assert torch.equal(model.global_tokens[:, :1], state["cls_token"])
    assert not torch.equal(model.global_tokens[:, :2], model.global_tokens[:, 2:4])
    torch.testing.assert_close(model.global_tokens[:, 2:4], model.global_tokens[:, :2], atol=0.2, rtol=0)


def test_image_weights_load():
    state = passt_checkpoint()
    for name in ("new_pos_embed", "freq_new_pos_embed", "time_new_pos_embed"):
        del state[name]
    state["pos_embed"] = torch.randn(1, 2 + 36, 12)
    state["patch_embed.proj.weight"] = torch.randn(12, 3, 8, 8)
    state["head.weight"], state["head.bias"] = torch.randn(1000, 12), torch.randn(1000)
    for name in ("head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias"):
        del state[name]
    colours = state["patch_embed.proj.weight"].clone()
    model = make().float()
    report = load_pretrained(model, state)
    assert "patch_embed.proj.weight" in report.resized
    assert set(report.replaced) == {"head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias"}
    torch.testing.assert_close(model.patch_embed["proj"].weight[:, 0], colours.sum(1))


def test_weights_that_do_not_fit_are_listed():
    model = make().float()
    state = passt_checkpoint(width=24)
    with pytest.raises(ConfigError) as caught:
        load_pretrained(model, state)
    assert "cls_token: 1 x 1 x 24 in the weights, 1 x 1 x 12 in the model" in str(caught.value)
    state = passt_checkpoint(depth=3)
    state["spare"] = state.pop("norm.weight")
    with pytest.raises(ConfigError) as caught:
        load_pretrained(model, state)
    for line in ("missing: norm.weight", "unknown: spare", "unknown: blocks.2.attn.qkv.weight"):
        assert line in str(caught.value)


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_weights(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ConfigError, match="not a file of weights that is safe to read"):
        read_weights(tmp_path / "text.pt")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(ConfigError, match="not a file of weights that is safe to read"):
        read_weights(tmp_path / "text.safetensors")
    torch.save({"epoch": 3}, tmp_path / "epoch.pt")
    with pytest.raises(ConfigError, match="no table of tensors"):
        read_weights(tmp_path / "epoch.pt")
    with pytest.raises(ConfigError, match=r"no patch_embed\.proj\.weight"):
        load_pretrained(make().float(), {"a": torch.zeros(1)})

    class Harmful:
        def __reduce__(self):
            return print, ("code ran",)

    torch.save({"a": Harmful()}, tmp_path / "harm.pt")
    with pytest.raises(ConfigError, match="not a file of weights that is safe to read"):
        read_weights(tmp_path / "harm.pt")


def test_what_cannot_be_is_named():
    with pytest.raises(ConfigError, match="the input has 90 frames; the embedding of time reaches 62"):
        make()(sounds(1, 90))
    with pytest.raises(ConfigError, match=r"features have shape \(3, 60, 28\); they must be \(B, frames, 30\)"):
        FrequencyTransformer(SHAPE, 30, 2)(sounds().float())
    with pytest.raises(ConfigError, match="at most the 5 rows of the grid"):
        make("per_row_6")
    with pytest.raises(ConfigError, match="leaves nothing of a grid of 5 x 11"):
        make(patchout_frequency=5)
    with pytest.raises(ConfigError, match="leaves nothing of a grid of 5 x 11"):
        make(patchout=55)
    with pytest.raises(ConfigError, match="leaves nothing of a grid of 5 x 2"):
        make(patchout_time=2).train()(sounds(1, 13))
    with pytest.raises(ConfigError, match="patchout_time is -1"):
        make(patchout_time=-1)
    with pytest.raises(ConfigError, match="n_global is 3; it must be an even number"):
        make(n_global=3)
    with pytest.raises(ConfigError, match=r"alpha is 0\.5; it must be a finite number, at least 1"):
        make(alpha=0.5)
    with pytest.raises(ConfigError, match=r"dropout is 1\.0"):
        make(dropout=1.0)
    with pytest.raises(ConfigError, match="n_mels is 6; it must be at least the 8 bands"):
        FrequencyTransformer(SHAPE, 6, 2)
    with pytest.raises(ConfigError, match="size is 'huge'; it must be one of tiny, small, published, passt_deit"):
        FrequencyTransformer.preset("huge", 128, 2)
    with pytest.raises(ConfigError, match="heads is 5; it must be at least 1 and divide features, 12"):
        FrequencyTransformer(Shape(12, 1, 5), 128, 2)
    with pytest.raises(ConfigError, match="there are 1 patterns; each of the 2 layers needs one"):
        make([Dense()])
    with pytest.raises(ConfigError, match="makes two networks; give it to all layers or to none"):
        make([RowGroups(1), TwoBranches(streams=True)])


def test_a_copy_and_a_saved_state_give_the_same():
    model, x = make("high_low_branch"), sounds()
    assert torch.equal(copy.deepcopy(model)(x)[0], model(x)[0])
    other = make("high_low_branch", seed=5)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x)[0], model(x)[0])


@pytest.mark.parametrize("pattern", ["dense", "per_row_2", "row_overlap_2", "attn_penalty"])
def test_autocast(pattern):
    model, x = make(pattern).float(), sounds().float()
    full = model(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        low = model(x, torch.tensor([60, 60, 60]))[0]
    torch.testing.assert_close(low.float(), full, atol=0.1, rtol=0.1)


@pytest.mark.cuda
@EVERY
def test_cuda_gives_the_same(pattern):
    model, x, lengths = make(pattern).float(), sounds().float(), torch.tensor([60, 31, 20])
    expected = model(x, lengths)[0]
    result = model.cuda()(x.cuda(), lengths.cuda())[0]
    torch.testing.assert_close(result.cpu(), expected, atol=1e-3, rtol=1e-3)


class TestMidLevelSplit:
    def make(self, seed=0):
        torch.manual_seed(seed)
        return MidLevelSplit(MELS, CLASSES, channels=4).double()

    def test_padding_and_order_change_nothing(self):
        model, lengths, x = self.make(), torch.tensor([60, 31, 4]), sounds()
        for training in (False, True):
            model.train(training)
            together = copy.deepcopy(model)(x, lengths)[0]
            spoiled = x.clone()
            for clip, length in enumerate(lengths):
                spoiled[clip, length:] = float("nan")
            torch.testing.assert_close(copy.deepcopy(model)(spoiled, lengths)[0], together)
            torch.testing.assert_close(copy.deepcopy(model)(x.flip(0), lengths.flip(0))[0].flip(0), together)
        model.eval()
        for clip, length in enumerate(lengths):
            torch.testing.assert_close(model(x[clip : clip + 1, :length])[0][0], model(x, lengths)[0][clip])

    def test_gradients_reach_every_parameter(self):
        model = self.make()
        model(sounds())[0].square().sum().backward()
        for name, parameter in model.named_parameters():
            assert not parameter.requires_grad or parameter.grad.abs().sum() > 0, name

    def test_the_published_size(self):
        model = MidLevelSplit(128, 10)
        convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
        assert len(convolutions) == 2 * 17 + 2
        assert convolutions[-2].out_channels == 2 * convolutions[-2].in_channels == 768
        assert model(torch.randn(1, 50, 128))[1].is_empty

    def test_what_cannot_be_is_named(self):
        with pytest.raises(ConfigError, match="n_mels is 27; it must be even"):
            MidLevelSplit(27, 2)
        with pytest.raises(ConfigError, match="channels is 0"):
            MidLevelSplit(28, 2, channels=0)
        with pytest.raises(ConfigError, match="features have shape"):
            self.make()(sounds()[..., :3])
