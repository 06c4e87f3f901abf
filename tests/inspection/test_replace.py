"""Softmax in place of softmax changes nothing; another map is the one that is used."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from audioattn_lib.attention.maps.entmax import softmax, sparsemax
from audioattn_lib.attention.maps.learned import LearnedEntmax
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.inspection.replace import replace_attention


def encoder(**options):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double().eval()


X = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(0)).double()
PADDING = torch.arange(7) >= torch.tensor([[7], [4], [6]])


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("call", [{}, {"src_key_padding_mask": PADDING}, {"mask": torch.eye(7, dtype=torch.bool)}])
def test_softmax_for_softmax_changes_nothing(call, gradient):
    model = encoder()
    with torch.set_grad_enabled(gradient):
        alone = model(X, **call)
        with replace_attention(model, softmax):
            replaced = model(X, **call)
    torch.testing.assert_close(replaced, alone)


@pytest.mark.parametrize(
    "options",
    [
        {"is_causal": True},
        {"attn_mask": torch.ones(7, 7, dtype=torch.bool).tril(2)},
        {"attn_mask": torch.randn(7, 7, generator=torch.Generator().manual_seed(1)).double()},
        {"scale": 0.3},
    ],
)
def test_all_arguments_of_the_function_are_kept(options):
    class Own(nn.Module):
        def forward(self, x):
            heads = x.unflatten(-1, (4, 4)).transpose(1, 2)
            grouped = heads[:, :2]
            return F.scaled_dot_product_attention(heads, grouped, grouped, enable_gqa=True, **options)

    model = Own()
    alone = model(X)
    with replace_attention(model, softmax):
        torch.testing.assert_close(model(X), alone)
    assert torch.equal(model(X), alone)


def test_another_map_is_used_and_learned():
    layer = nn.MultiheadAttention(16, 4, batch_first=True).double()
    normalizer = LearnedEntmax(initial=1.5).double()
    query = 3 * X
    with replace_attention(layer, normalizer):
        layer(query, query, query, need_weights=False)[0].square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in normalizer.parameters())
    seen = []

    def watched(scores, mask=None):
        seen.append(sparsemax(scores, mask=mask))
        return seen[-1]

    with replace_attention(layer, watched):
        output = layer(query, query, query, need_weights=False)[0]
    assert (seen[0] == 0).any()
    value = F.linear(query, layer.in_proj_weight[32:], layer.in_proj_bias[32:]).unflatten(-1, (4, 4)).transpose(1, 2)
    expected = layer.out_proj((seen[0] @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(output, expected)


def test_what_cannot_be_replaced_is_named():
    with pytest.raises(ConfigError, match="normalizer is 'sparsemax'"), replace_attention(encoder(), "sparsemax"):
        pass
    with pytest.raises(ConfigError, match="replicates"), replace_attention(nn.DataParallel(encoder()), softmax):
        pass
    with pytest.raises(RuntimeError, match="boom"), replace_attention(encoder(), softmax):
        raise RuntimeError("boom")
    assert F.scaled_dot_product_attention.__name__ == "scaled_dot_product_attention"
