"""Derivatives of autoencoders, their objectives and corruptions, and of features that inputs can learn through."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from gradients.case import GradientCase, Made, asked, numbers
from lamina import autoencoders as ae
from lamina.data.batch import Batch
from lamina.energy import RBM, Gaussian
from lamina.likelihoods import Bernoulli, Categorical
from lamina.penalties import L2, Contractive, Penalty
from lamina.training import GreedyLayer, History, hidden_layers

X = torch.rand(4, 3, generator=Generator().manual_seed(2), dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 0.0, 1.5, 2.0], dtype=torch.float64)


def seeded() -> Generator:
    return Generator().manual_seed(0)


def plain(make: Callable[[], nn.Module], *shape: int) -> Callable[[], Made]:
    """What a module gives for inputs that want a gradient."""
    return lambda: asked(make(), lambda part, x: part(x), numbers(*shape))


def tied() -> nn.Module:
    layer = nn.Linear(3, 2)
    return nn.Sequential(layer, nn.Tanh(), ae.TiedLinear(layer))


def convolutions() -> nn.Module:
    layer = nn.Conv2d(1, 2, 2, stride=2)
    return nn.Sequential(layer, nn.Tanh(), ae.transposed_convolution(layer, (5, 4)))


def unrolled() -> nn.Module:
    network = nn.Sequential(
        OrderedDict(a=nn.Linear(3, 2), b=nn.Sigmoid(), c=nn.Linear(2, 2), d=nn.Sigmoid(), e=nn.Linear(2, 1))
    )
    trained = []
    for layer in hidden_layers(network, "test")[0]:
        assert isinstance(layer.affine, nn.Linear)
        model = ae.Autoencoder(layer.encoder, ae.TiedLinear(layer.affine), Bernoulli(layer.affine.in_features))
        trained.append(GreedyLayer(layer, model, History()))
    return ae.unroll(trained)


def reconstruction(penalty: Callable[[], Penalty]) -> Callable[[], Made]:
    def total(model: nn.Module) -> Tensor:
        objective = ae.Reconstruction(Bernoulli(3), ae.Masking(0.3), penalty(), seeded())
        return objective(model, Batch(X, None, WEIGHTS)).total

    return lambda: asked(ae.autoencoder([3, 4, 2], tied=False), total)


class Settled(ae.SparseCoder):
    """Codes that stand still, as the objective's definition has them."""

    def infer(self, x: Tensor, iterations: int = 20, rate: float = 0.1) -> Tensor:
        return numbers(4, 2, seed=5).detach()


def coding(model: nn.Module) -> Tensor:
    return ae.SparseCoding()(model, Batch(X, None, WEIGHTS)).total


def embedding() -> Made:
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    model = ae.EmbeddingNetwork(net, (1, "output"), {1: nn.Linear(3, 2)})
    objective = ae.SemiSupervisedEmbedding(Categorical(2), 2, 1, 1, 0.7, 3.0, penalty=L2())
    codes = torch.tensor([0, 1, 0, 0, 0, 0])
    weights = torch.tensor([1.0, 2.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    return asked(model, lambda part, x: objective(part, Batch(x, codes, weights)).total, numbers(6, 3))


def layer_of_pairs() -> Made:
    objective = ae.EmbeddingLayer(1, 1, 1, margin=3.0)
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    return asked(model, lambda part, x: objective(part, Batch(x)).total, numbers(5, 3))


def corrupted(corruption: ae.Corruption) -> Callable[[], Made]:
    return lambda: (lambda x: corruption(x, seeded()), (numbers(4, 5),))


def subspaces() -> nn.Module:
    return ae.SubspaceAnalysis(numbers(5), numbers(4, 5, seed=1), numbers(4, 4, seed=2), 2)


CASES: list[GradientCase] = [
    GradientCase("tied-linear", ("lamina.autoencoders.TiedLinear",), plain(tied, 4, 3), True),
    GradientCase(
        "transposed-convolution", ("lamina.autoencoders.transposed_convolution",), plain(convolutions, 2, 1, 5, 4), True
    ),
    GradientCase(
        "autoencoder",
        ("lamina.autoencoders.Autoencoder", "lamina.autoencoders.autoencoder"),
        lambda: asked(ae.autoencoder([3, 4, 2], "tanh"), lambda part, x: part.reconstruct(x), numbers(4, 3)),
        True,
    ),
    GradientCase("unrolled", ("lamina.autoencoders.unroll",), plain(unrolled, 4, 3), True),
    GradientCase(
        "unrolled-machines",
        ("lamina.autoencoders.unroll_rbms",),
        plain(lambda: ae.unroll_rbms([RBM(3, 4), RBM(4, 2, hidden=Gaussian(False))]), 4, 3),
        True,
    ),
    GradientCase(
        "denoising-reconstruction-to-a-sparse-target",
        ("lamina.autoencoders.Reconstruction", "lamina.autoencoders.CodeContext", "lamina.autoencoders.SparseTarget"),
        reconstruction(lambda: ae.SparseTarget(0.1)),
        True,
    ),
    GradientCase(
        "contractive-reconstruction",
        ("lamina.autoencoders.Reconstruction",),
        reconstruction(lambda: 0.3 * Contractive(generator=seeded())),
    ),
    GradientCase("k-sparse", ("lamina.autoencoders.KSparse",), plain(lambda: ae.KSparse(2), 4, 5), True),
    GradientCase(
        "sparsifying-logistic",
        ("lamina.autoencoders.SparsifyingLogistic",),
        plain(lambda: ae.SparsifyingLogistic(3, 0.2, 1.5), 4, 3),
        True,
    ),
    GradientCase(
        "sparse-coder",
        ("lamina.autoencoders.SparseCoder",),
        lambda: asked(
            ae.SparseCoder(3, 2, eta=0.2), lambda part, x, z: part.energy(x, z), numbers(4, 3), numbers(4, 2, seed=1)
        ),
        True,
    ),
    GradientCase(
        "sparse-coding", ("lamina.autoencoders.SparseCoding",), lambda: asked(Settled(3, 2, eta=0.2), coding), True
    ),
    GradientCase(
        "embedding", ("lamina.autoencoders.EmbeddingNetwork", "lamina.autoencoders.SemiSupervisedEmbedding"), embedding
    ),
    GradientCase("embedding-layer", ("lamina.autoencoders.EmbeddingLayer",), layer_of_pairs, True),
    GradientCase("masking", ("lamina.autoencoders.Masking",), corrupted(ae.Masking(0.5)), True),
    GradientCase("salt-and-pepper", ("lamina.autoencoders.SaltAndPepper",), corrupted(ae.SaltAndPepper(0.5)), True),
    GradientCase(
        "gaussian-corruption", ("lamina.autoencoders.GaussianCorruption",), corrupted(ae.GaussianCorruption(0.5)), True
    ),
    *(
        GradientCase(
            f"fixed-convolution-{rectification}-{pooling}",
            ("lamina.autoencoders.FixedConvolution",),
            plain(
                lambda rectification=rectification, contrast=contrast, pooling=pooling: ae.FixedConvolution(  # type: ignore[misc]
                    ae.random_kernels(2, 1, 2, seeded()),
                    rectification=rectification,
                    contrast=contrast,
                    pooling=pooling,
                    pool=2,
                ),
                1,
                1,
                5,
                5,
            ),
        )
        for rectification, contrast, pooling in (
            ("absolute", 3, "average"),
            ("relu", 0, "max"),
            ("tanh-absolute", 0, "root-mean-square"),
            ("none", 3, "average"),
        )
    ),
    GradientCase("pca", ("lamina.autoencoders.PCA",), plain(lambda: ae.PCA(numbers(9, 4).detach(), 2), 3, 4), True),
    GradientCase("subspace-analysis", ("lamina.autoencoders.SubspaceAnalysis",), plain(subspaces, 3, 5), True),
    GradientCase(
        "random-patches",
        ("lamina.autoencoders.random_patches",),
        lambda: (lambda x: ae.random_patches(x, 2, 5, seeded()), (numbers(2, 1, 3, 3),)),
        True,
    ),
]

_FITTED = "fitted in closed form or by an iteration, and records no gradient"
_LEARNER = "trains layers: what it trains them by has rows of its own"

NOT_DIFFERENTIABLE: dict[str, str] = {
    "lamina.autoencoders.ArcCosine": "worked out in float64 without gradients, for kernel methods that need none",
    "lamina.autoencoders.AutoencoderLayer": _LEARNER,
    "lamina.autoencoders.KMeansFeatures": _FITTED,
    "lamina.autoencoders.KernelPCA": _FITTED,
    "lamina.autoencoders.StackedSubspaceAnalysis": _FITTED,
    "lamina.autoencoders.learn_dictionary": _FITTED,
    "lamina.autoencoders.mutual_information": "a statistic of counts",
    "lamina.autoencoders.pretrain_rbms": _LEARNER,
    "lamina.autoencoders.random_kernels": "draws numbers",
    "lamina.autoencoders.select_features": "a choice",
    "lamina.autoencoders.stacked_kernel_pca": _FITTED,
}
