"""Every function transform of PyTorch takes the maps and their losses, and alpha."""

from functools import partial

import pytest
import torch
from torch.autograd import forward_ad, functional, gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

from audioattn_lib.attention.maps.entmax import entmax
from audioattn_lib.attention.maps.losses import entmax_loss

F64 = torch.float64
ALPHA = [1.0, 4 / 3, 1.5, 1.7, 2.0, 2.5, torch.tensor(1.4, dtype=F64), torch.tensor([[1.2], [1.0], [2.5]], dtype=F64)]
generator = torch.Generator().manual_seed(0)
X, V = (torch.randn(3, 4, dtype=F64, generator=generator) for _ in range(2))


def cube(x, alpha):
    return (entmax(x, alpha) ** 3).sum()


@pytest.mark.parametrize("alpha", ALPHA, ids=str)
def test_first_derivatives_agree(alpha):
    f = partial(entmax, alpha=alpha)
    expected = functional.jacobian(f, X)
    along = torch.einsum("abcd,cd->ab", expected, V)
    torch.testing.assert_close(jacrev(f)(X), expected)
    torch.testing.assert_close(jacfwd(f)(X), expected)
    torch.testing.assert_close(jvp(f, (X,), (V,))[1], along)
    with forward_ad.dual_level():
        torch.testing.assert_close(forward_ad.unpack_dual(f(forward_ad.make_dual(X, V))).tangent, along)


@pytest.mark.parametrize("alpha", ALPHA, ids=str)
def test_second_derivatives_agree(alpha):
    f = partial(cube, alpha=alpha)
    expected = functional.hessian(f, X)
    for transform in (hessian(f), jacrev(jacrev(f)), jacrev(jacfwd(f))):
        torch.testing.assert_close(transform(X), expected)


@pytest.mark.parametrize("alpha", [1.5, 1.7, 2.5, torch.tensor(1.4, dtype=F64)], ids=str)
def test_modes_and_batches_pass_the_checks_of_pytorch(alpha):
    x = X.clone().requires_grad_()
    f = partial(entmax, alpha=alpha)
    options = {"check_forward_ad": True, "check_batched_grad": True, "check_batched_forward_grad": True}
    assert gradcheck(f, x, **options)
    assert gradgradcheck(f, x, check_fwd_over_rev=True)


@pytest.mark.parametrize("alpha", [4 / 3, 1.7, 2.0, 2.5])
def test_vmap_of_derivatives_is_the_loop(alpha):
    row = partial(cube, alpha=alpha)
    for transform in (grad(row), hessian(row), jacfwd(partial(entmax, alpha=alpha))):
        torch.testing.assert_close(vmap(transform)(X), torch.stack([transform(x) for x in X]))
    over_columns = vmap(lambda x: entmax(x, alpha, 0), in_dims=1, out_dims=1)(X)
    torch.testing.assert_close(over_columns, entmax(X, alpha, 0))


def test_transforms_of_alpha():
    alpha = torch.tensor([1.2, 1.5, 2.3], dtype=F64)

    def of_alpha(alpha):
        return entmax(X, alpha[:, None])

    assert gradcheck(of_alpha, alpha.clone().requires_grad_(), check_forward_ad=True)
    expected = functional.jacobian(of_alpha, alpha)
    torch.testing.assert_close(jacfwd(of_alpha)(alpha), expected)
    torch.testing.assert_close(jacrev(of_alpha)(alpha), expected)
    second = functional.hessian(lambda a: (of_alpha(a) ** 3).sum(), alpha)
    torch.testing.assert_close(hessian(lambda a: (of_alpha(a) ** 3).sum())(alpha), second)
    torch.testing.assert_close(vmap(entmax)(X, alpha), of_alpha(alpha))
    torch.testing.assert_close(vmap(lambda a: entmax(X, a))(alpha)[1], entmax(X, 1.5))
    single = grad(lambda x, a: cube(x, a), argnums=1)
    torch.testing.assert_close(
        vmap(single)(X, alpha), torch.stack([single(x, a) for x, a in zip(X, alpha, strict=True)])
    )


def test_forward_mode_of_forward_mode_is_refused_not_wrong():
    for alpha in (1.5, torch.tensor(1.5)):
        with pytest.raises(NotImplementedError, match=r"jacfwd\(jacfwd\(f\)\).* take jacfwd\(jacrev\(f\)\)"):
            jacfwd(jacfwd(partial(cube, alpha=alpha)))(X)


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.5])
def test_losses_have_every_derivative(alpha):
    target = torch.tensor([0, 1, 2])

    def loss(x):
        return entmax_loss(x, target, alpha)

    torch.testing.assert_close(jvp(loss, (X,), (V,))[1], (grad(loss)(X) * V).sum())
    expected = functional.hessian(loss, X)
    for transform in (hessian(loss), jacrev(jacfwd(loss)), jacrev(jacrev(loss))):
        torch.testing.assert_close(transform(X), expected)


def test_a_change_in_place_is_named_like_that_of_softmax():
    x = X.clone().requires_grad_()
    messages = []
    for map in (partial(torch.softmax, dim=-1), partial(entmax, alpha=1.5), partial(entmax, alpha=torch.tensor(1.5))):
        p = map(x)
        p.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation") as raised:
            p.sum().backward()
        messages.append(str(raised.value).split("which is output 0")[0])
    assert messages == messages[:1] * 3


# Dynamo makes an instance of a Function, which Function warns of
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_a_compilers_graph_holds_the_map_as_one_operation():
    """The unrolled steps of alpha above 2 took its compiler two minutes."""
    for alpha in (1.5, 2.5):
        graphs = []
        compiled = torch.compile(
            lambda x, alpha=alpha: entmax(x, alpha),
            backend=lambda graph, _, graphs=graphs: graphs.append(graph) or graph,
            fullgraph=True,
        )
        torch.testing.assert_close(compiled(X), entmax(X, alpha))
        assert sum(node.op == "call_function" for node in graphs[0].graph.nodes) < 10
