"""What regularisers change in plain training, where it is more than a penalty or a callback."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lamina.autoencoders.autoencoder_layer import AutoencoderLayer
from lamina.autoencoders.corruption import Masking
from lamina.data.batch import Batch
from lamina.data.nearest_pairs import nearest_pairs
from lamina.data.noisy_labels import NoisyLabels
from lamina.data.pairs import LabelledAndPairs
from lamina.data.stream import InMemory
from lamina.initialisers import fill
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.gaussian import Gaussian
from lamina.likelihoods.heads import Heads
from lamina.methodology.manifold import with_encoders
from lamina.nn.hints import with_hints
from lamina.nn.noise.insert import insert_noise
from lamina.nn.noise.multiplicative_noise import MultiplicativeNoise
from lamina.nn.noise.weight_noise import WeightNoise
from lamina.penalties.manifold_tangent import ManifoldTangentProp
from lamina.penalties.sparse_representation import SparseRepresentation
from lamina.penalties.tying import TyingTo
from lamina.recipes.regularisation.parts import BATCH, CLASSES, Change, Parts, SecondPass, Wrapped
from lamina.runs.dropout_inference import DropoutInference, Way
from lamina.training.early_stopping import EarlyStopping
from lamina.training.evaluation import Validation
from lamina.training.greedy import pretrain_greedy
from lamina.training.pairwise import PairwiseSemiSupervised

_PAIRS = 16  # of each kind an update
_SUB_NETWORKS = 50
_BEFOREHAND = 2_000  # updates at least of an autoencoder, on few examples too
_STYLE = ("slant", "width", "height", "ink")


def early(parts: Parts, monitor: str, patience: int) -> Parts:
    """Return parts whose training stops by the validation part."""
    return replace(parts, callbacks=(watching(parts.valid, parts), EarlyStopping(f"valid_{monitor}", patience)))


def watching(held_out: Batch, parts: Parts) -> Validation:
    """Return what records ``valid_loss`` and ``valid_error`` after each epoch."""
    return Validation(held_out, parts.likelihood, {"error": _error})


def _error(outputs: Any, targets: Any) -> Any:
    return (outputs.argmax(1) != targets).float().mean()


def twice(way: Literal["retrain", "continue"]) -> Change:
    """Return the change that stops by a part of the training examples, then uses it for training too."""
    return lambda parts, monitor, patience: replace(parts, second=SecondPass(way, monitor, patience))


def sparse(parts: Parts, weight: float) -> Parts:
    """Return parts with a penalty on the hidden activities."""
    penalty = SparseRepresentation(layers="silu*")
    return replace(parts, penalty=weight * penalty, around=penalty.watch(parts.network))


def dropout(parts: Parts, hidden: float, inputs: float) -> Parts:
    """Return parts that leave out units while training."""
    return replace(parts, network=_with_masks(parts.network, lambda: nn.Dropout(hidden), nn.Dropout(inputs)))


def dropout_answering(way: Way) -> Change:
    """Return the change that trains with dropout and answers with the mean of sub-networks."""

    def change(parts: Parts, hidden: float, inputs: float) -> Parts:
        inference = DropoutInference(way, _SUB_NETWORKS, parts.seed)
        return replace(dropout(parts, hidden, inputs), answering=lambda trained: _SubNetworks(trained, inference))

    return change


class _SubNetworks(nn.Module):
    """The mean of a network's sub-networks, as logits."""

    def __init__(self, network: nn.Module, inference: DropoutInference) -> None:
        super().__init__()
        self.network, self.inference = network, inference

    def forward(self, x: Tensor) -> Tensor:
        return self.inference.outputs(self.network, x, Categorical(CLASSES))


def multiplied(parts: Parts, drop: float) -> Parts:
    """Return parts that multiply hidden units with a factor around 1."""
    return replace(parts, network=_with_masks(parts.network, lambda: MultiplicativeNoise.like_dropout(drop)))


def _with_masks(
    network: nn.Sequential, make: Callable[[], nn.Module], on_inputs: nn.Module | None = None
) -> nn.Sequential:
    """Return the same layers with a module behind each hidden unit, and one before the first affine layer."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in network.named_children():
        layers[name] = layer
        if name == "flatten" and on_inputs is not None:
            layers["mask0"] = on_inputs
        if name.startswith("silu"):
            layers[f"mask{name[4:]}"] = make()
    return nn.Sequential(layers)


def tied_to_autoencoder(parts: Parts, weight: float) -> Parts:
    """Return parts that hold the hidden layers near those of a stacked denoising autoencoder of the same pictures.

    The starting weights are the usual ones.

    Reference: Lasserre, Bishop & Minka, CVPR 2006, in the reading of Goodfellow et al., Deep Learning, 2016, section
    7.9: a classifier near a model trained without labels.
    """
    earlier = copy.deepcopy(parts.network)
    layer = AutoencoderLayer(1e-3, Masking(0.25), optimizer=torch.optim.Adam)
    pictures = InMemory(Batch(parts.examples.inputs), BATCH, seed=parts.seed)
    generator = torch.Generator().manual_seed(parts.seed)
    pretrain_greedy(earlier, pictures, layer, epochs=_epochs(len(pictures)), generator=generator)
    reference = {name: value for name, value in earlier.state_dict().items() if name.startswith("linear")}
    return replace(parts, penalty=weight * TyingTo(reference))


def manifold_tangents(parts: Parts, weight: float, rank: int) -> Parts:
    """Return parts with tangent propagation along what a contractive autoencoder of the same pictures has learnt."""
    pictures = InMemory(parts.examples, BATCH, seed=parts.seed)
    wanted = weight * ManifoldTangentProp(rank, epochs=_epochs(len(pictures)))
    return replace(parts, penalty=with_encoders(wanted, parts.network, pictures, parts.seed))


def _epochs(updates: int) -> int:
    return max(10, math.ceil(_BEFOREHAND / updates))


def noisy(where: str) -> Change:
    """Return the change that adds noise to ``inputs`` or ``hidden`` units."""
    return lambda parts, std: replace(parts, network=insert_noise(parts.network, **{where: std}))


def noisy_weights(parts: Parts, std: float) -> Parts:
    """Return parts with noise on the weights."""
    return Wrapped(parts.network, parts.valid, parts.examples, wrapper=WeightNoise(parts.network, std))


def noisy_labels(parts: Parts, rate: float) -> Parts:
    """Return parts some of whose labels are wrong, drawn anew in each epoch."""
    return replace(parts, stream=lambda stream: NoisyLabels(stream, rate, CLASSES, seed=parts.seed))


def shared_over_places(parts: Parts, maps: int, field: float) -> Parts:
    """Put the first hidden layer's units into maps, whose units read patches and share their weights.

    Args:
        parts: What training is put together from.
        maps: Of as many places each as make up the layer; the places stand in a square.
        field: Side of a patch as a share of the picture's.

    Returns:
        Parts with a network of layers as wide as before.
    """
    first = parts.network.linear1
    assert isinstance(first, nn.Linear)
    side = parts.examples.inputs.shape[-1]
    places, reach = math.isqrt(first.out_features // maps), round(field * side)
    stride = math.ceil((side - reach) / (places - 1))
    short = stride * (places - 1) + reach - side  # what the patches reach over the border
    layer = nn.utils.skip_init(nn.Conv2d, 1, maps, reach, stride)  # type: ignore[no-untyped-call]
    fill(layer.weight, "he", torch.Generator().manual_seed(parts.seed))
    nn.init.zeros_(layer.bias)
    rest = list(parts.network.named_children())[3:]
    border = nn.ZeroPad2d((short // 2, short - short // 2) * 2)
    front = [("border", border), ("shared1", layer), ("silu1", nn.SiLU()), ("flatten", nn.Flatten())]
    return replace(parts, network=nn.Sequential(OrderedDict([*front, *rest])))


def hinted(parts: Parts, scale: float) -> Parts:
    """Return parts whose network says the digit's style too while it is trained."""
    style = _style(parts.examples.inputs)
    targets = parts.examples.targets
    assert targets is not None
    generator = torch.Generator().manual_seed(parts.seed)
    network = with_hints(parts.network, len(_STYLE), generator=generator)
    assert isinstance(network, nn.Sequential)
    return replace(
        parts,
        network=network,
        examples=Batch(parts.examples.inputs, torch.cat([targets.unsqueeze(1).float(), style], 1)),
        likelihood=Heads((Categorical(CLASSES), *[Gaussian(scale=scale) for _ in _STYLE]), ("digit", *_STYLE)),
    )


def _style(pictures: Tensor) -> Tensor:
    """Return slant, width, height and ink of each picture, (N, 4), standardised.

    With moments about the centre of mass: slant is the covariance of x and y over the variance of y, width and height
    are standard deviations.
    """
    ink = pictures.squeeze(1)
    whole = ink.sum((1, 2)).clamp_min(1e-6)
    y, x = (torch.arange(side, dtype=ink.dtype) for side in ink.shape[1:])
    across, down = ink.sum(1), ink.sum(2)
    mean_x, mean_y = across @ x / whole, down @ y / whole
    var_x = across @ x.square() / whole - mean_x.square()
    var_y = (down @ y.square() / whole - mean_y.square()).clamp_min(1e-6)
    covariance = torch.einsum("nyx,y,x->n", ink, y, x) / whole - mean_x * mean_y
    style = torch.stack([covariance / var_y, var_x.clamp_min(0.0).sqrt(), var_y.sqrt(), whole], 1)
    return (style - style.mean(0)) / style.std(0)


def paired(parts: Parts, weight: float, margin: float) -> Parts:
    """Return parts that draw neighbours among the training pictures together and hold others apart."""
    pictures = parts.examples.inputs
    pairs, similar = nearest_pairs(pictures, 5, seed=parts.seed)
    stream = LabelledAndPairs(
        parts.examples,
        pictures,
        pairs,
        similar,
        n_labelled=BATCH,
        n_similar=_PAIRS,
        n_dissimilar=_PAIRS,
        seed=parts.seed,
    )
    return replace(
        parts,
        stream=lambda _: stream,
        objective=lambda likelihood, penalty: PairwiseSemiSupervised(
            likelihood, BATCH, _PAIRS, _PAIRS, weight, margin, penalty=penalty
        ),
    )
