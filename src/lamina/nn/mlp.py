"""Multilayer perceptron."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from torch import Generator, nn

from lamina.nn._chain import NamedChain
from lamina.nn._checks import at_least, fraction
from lamina.nn._hidden_layers import Affine, check_low_rank, check_words, connected, first_of, share
from lamina.nn.activations import Activation, read_activation
from lamina.nn.column_embedding import ColumnEmbedding, TableShape
from lamina.nn.connections.low_rank import LowRankLinear
from lamina.nn.linear import linear
from lamina.nn.normalisation.batch_norm import BatchNorm
from lamina.nn.normalisation.weight_norm import weight_norm
from lamina.nn.residual import Residual


def _hidden(  # noqa: PLR0917
    width: int, units: int, activation: Activation, pieces: int, low_rank: int | None, generator: Generator | None
) -> tuple[Affine, nn.Module]:
    if activation.pools:
        whole = activation.pooling(width, units, pieces, generator)
        return whole.affine, whole.pool
    start, unit = activation.start, activation.module(units)
    if low_rank is not None and low_rank < min(width, units):
        assert isinstance(start, str)
        return LowRankLinear(width, units, low_rank, start, generator), unit
    return linear(width, units, start, generator), unit


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "batch-unbiased": partial(BatchNorm, unbiased=True),
    "layer": nn.LayerNorm,
}


class MLP(NamedChain):
    """A chain of affine layers with a unit's function between them, over a vector or a row of a table.

        h⁰ = x,   hᵏ = mᵏ ⊙ g(Wᵏ hᵏ⁻¹ + bᵏ)  for k = 1 … L,   output = W hᴸ + b

    m is the dropout mask, divided by the probability of keeping so that evaluation needs no factor. The chain is flat:
    ``columns`` (a ``ColumnEmbedding``, only where the table has categories), ``dropout0`` (only with input dropout),
    then ``linear1``, ``norm1`` (only with batch or layer normalisation), ``relu1`` (named for the unit), ``dropout1``
    (only where p > 0), …, ``output``. A unit of ``POOLING_UNITS`` takes the largest, or a norm, of ``pieces`` affine
    maps of its own, all of which ``linear1`` holds. Hidden layers of one group of ``shared`` are affine layers with one
    and the same weights, whose gradient is the sum over its places (hard parameter sharing). Weights are a pure
    function of the generator: He's rule before ReLU and its kin, Glorot's before tanh, sigmoid and the output; biases
    are zero.

    With fₖ(h) = mᵏ ⊙ g(norm(Wᵏ h + bᵏ)), where ``normalisation`` is ``torch.nn.BatchNorm1d`` over the mini-batch
    (``batch-unbiased``: ``lamina.nn.BatchNorm`` with the variance over n - 1), ``torch.nn.LayerNorm`` over the sums of
    one example, or ``lamina.nn.weight_norm`` of Wᵏ itself, the layers are joined by ``connections``:

        plain      hᵏ = fₖ(hᵏ⁻¹)
        residual   hᵏ = hᵏ⁻¹ + fₖ(hᵏ⁻¹)                               for k ≥ 2 (``residual2``: ``Residual``)
        highway    hᵏ = gᵏ ⊙ fₖ(hᵏ⁻¹) + (1 - gᵏ) ⊙ hᵏ⁻¹               for k ≥ 2 (``highway2``: ``Highway``)
        skip       hᵏ = fₖ((hᵏ⁻¹, x)) for k ≥ 2, output = W (hᴸ, x) + b  (``skips``: ``SkipConnections``)

    ``low_rank`` = K makes Wᵏ = U V with K rows in V (``LowRankLinear``) where K is below both sizes of Wᵏ; a layer of K
    inputs or units, or fewer, stays whole, since a product of rank K can be any matrix there.

    Input (N, in_features), or (N, n_numeric + number of categories); output (N, n_outputs), unbounded numbers for a
    likelihood to read.

    Args:
        inputs: The number of input features, or a table's ``n_numeric`` and ``cardinalities``.
        n_outputs: Outputs that the likelihood reads (its ``n_outputs``).
        hidden: Units of each hidden layer; empty gives an affine map.
        activation: g: one of ``ACTIVATIONS`` or ``POOLING_UNITS``, with options as in ``leaky_relu:slope=0.1``,
            ``elu:alpha=1``, ``noisy_relu:std=1``, ``sigmoid:slope=2``, ``p_norm:p=3``; ``prelu`` learns a slope a unit.
        dropout: Probability of dropping a hidden unit, in [0, 1).
        pieces: Affine maps of a unit of ``POOLING_UNITS``, at least 1; other units have one.
        shared: Groups of hidden layers, by number from 1 on, that share their weights; of as many inputs and units.
        input_dropout: Probability of dropping an input (after the embedding), in [0, 1).
        normalisation: One of ``NORMALISATIONS``, of the hidden layers.
        connections: One of ``CONNECTIONS``; residual and highway need hidden layers of as many units, at least two.
        low_rank: K, at least 1; None gives every layer a matrix of its own. Not with ``POOLING_UNITS``, nor with
            weight normalisation.
        embedding_widths: Width of each categorical column's vector; None takes the customary rule.
        generator: Source of the weights; None is PyTorch's default generator.

    Raises:
        ConfigError: If a size is below 1, a probability is outside [0, 1), a word or an option is unknown, the hidden
            layers cannot be joined so, or no layer is narrowed by ``low_rank``.

    Reference: Goodfellow, Bengio & Courville, "Deep Learning", 2016, chapter 6.
    """

    def __init__(
        self,
        inputs: int | TableShape,
        n_outputs: int,
        hidden: Sequence[int] = (256, 128),
        activation: str = "relu",
        dropout: float = 0.0,
        *,
        pieces: int = 2,
        shared: Sequence[Sequence[int]] = (),
        input_dropout: float = 0.0,
        normalisation: str = "none",
        connections: str = "plain",
        low_rank: int | None = None,
        embedding_widths: Sequence[int] | None = None,
        generator: Generator | None = None,
    ) -> None:
        chosen = read_activation(activation, where="MLP")
        at_least(1, owner="MLP", n_outputs=n_outputs, pieces=pieces)
        fraction(owner="MLP", dropout=dropout, input_dropout=input_dropout)
        for units in hidden:
            at_least(1, owner="MLP", hidden=units)
        check_words(hidden, normalisation, connections)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        into = _input_layers(layers, "MLP", inputs, embedding_widths, generator)
        if input_dropout:
            layers["dropout0"] = nn.Dropout(input_dropout)
        sizes, extra = [into, *hidden], into if connections == "skip" else 0
        shapes = [(width + extra * (k > 0), units) for k, (width, units) in enumerate(pairwise(sizes))]
        if low_rank is not None:
            check_low_rank(shapes, low_rank, normalisation=normalisation, activation=chosen.name, own_maps=chosen.pools)
        first = first_of(shared, len(hidden))
        affines: dict[int, Affine] = {}
        blocks: list[OrderedDict[str, nn.Module]] = []
        for k, (width, units) in enumerate(shapes, start=1):
            affine, unit = _hidden(width, units, chosen, pieces, low_rank, generator)
            if normalisation == "weight":
                weight_norm(affine)
            if k in first:
                share(affines[first[k]], affine, first[k], k)
            affines[k] = affine
            block = OrderedDict[str, nn.Module]({f"linear{k}": affine})
            if normalisation in _NORMS:
                block[f"norm{k}"] = _NORMS[normalisation](affine.out_features)
            block[f"{chosen.name}{k}"] = unit
            if dropout:
                block[f"dropout{k}"] = nn.Dropout(dropout)
            blocks.append(block)
        layers.update(connected(blocks, connections, sizes, generator))
        layers["output"] = linear(sizes[-1] + extra, n_outputs, "glorot", generator)
        super().__init__(layers)


class ResidualMLP(NamedChain):
    """A multilayer perceptron of residual blocks, for tables where depth helps.

        h⁰ = W⁰ x + b⁰,   hᵏ = hᵏ⁻¹ + V ᵏ m ⊙ g(Wᵏ norm(hᵏ⁻¹) + bᵏ)  for k = 1 … L,   output = W g(norm(hᴸ)) + b

    norm is batch normalisation and V starts at zero, so that every block starts as the identity.

    Differs from the reference: one dropout a block, V starts at zero.

    Args:
        inputs: The number of input features, or a table's ``n_numeric`` and ``cardinalities``.
        n_outputs: Outputs that the likelihood reads.
        width: Size of h.
        blocks: L, at least 1.
        expansion: Units inside a block, as a multiple of ``width``, at least 1.
        activation: g: one of ``ACTIVATIONS``, with options as ``MLP`` has them.
        dropout: Probability of dropping a unit inside a block, in [0, 1).
        embedding_widths: Width of each categorical column's vector; None takes the customary rule.
        generator: Source of the weights; None is PyTorch's default generator.

    Raises:
        ConfigError: If a size is below 1, the probability is outside [0, 1), or the activation is unknown.

    Reference: Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021, section 3.2.
    """

    def __init__(
        self,
        inputs: int | TableShape,
        n_outputs: int,
        width: int = 128,
        blocks: int = 3,
        *,
        expansion: int = 2,
        activation: str = "relu",
        dropout: float = 0.1,
        embedding_widths: Sequence[int] | None = None,
        generator: Generator | None = None,
    ) -> None:
        chosen = read_activation(activation, where="ResidualMLP", pooling=False)
        at_least(1, owner="ResidualMLP", n_outputs=n_outputs, width=width, blocks=blocks, expansion=expansion)
        fraction(owner="ResidualMLP", dropout=dropout)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        size = _input_layers(layers, "ResidualMLP", inputs, embedding_widths, generator)
        layers["linear0"] = linear(size, width, "glorot", generator)
        for k in range(1, blocks + 1):
            branch = OrderedDict[str, nn.Module](
                norm=nn.BatchNorm1d(width),
                linear1=linear(width, expansion * width, chosen.start, generator),
                unit=chosen.module(expansion * width),
                dropout=nn.Dropout(dropout),
                linear2=linear(expansion * width, width, "zero"),
            )
            layers[f"block{k}"] = Residual(nn.Sequential(branch))
        layers["norm"] = nn.BatchNorm1d(width)
        layers["unit"] = chosen.module(width)
        layers["output"] = linear(width, n_outputs, "glorot", generator)
        super().__init__(layers)


def _input_layers(
    layers: "OrderedDict[str, nn.Module]",
    owner: str,
    inputs: int | TableShape,
    widths: Sequence[int] | None,
    generator: Generator | None,
) -> int:
    """Add the embedding that the inputs need, if any.

    Returns:
        The width of what reaches the first affine layer.
    """
    if isinstance(inputs, int):
        at_least(1, owner=owner, inputs=inputs)
        return inputs
    if not inputs.cardinalities:
        at_least(1, owner=owner, n_numeric=inputs.n_numeric)
        return inputs.n_numeric
    embedding = ColumnEmbedding(inputs, widths, generator)
    layers["columns"] = embedding
    return embedding.out_features
