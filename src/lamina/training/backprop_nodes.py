"""The nodes of back-propagation: each has a forward, a backward and a parameter-gradient function.

With δ = ∂L/∂y for a node y = f(x; w), going backwards through the stack,

    parameter gradient   ∂L/∂w = (∂y/∂w)ᵀ δ
    backward             ∂L/∂x = (∂y/∂x)ᵀ δ

so three short functions a node are the whole algorithm (Goodfellow, Bengio & Courville, "Deep Learning", 2016, section
6.5; Rumelhart, Hinton & Williams, Nature 323, 1986). Activations keep what their derivative needs from the forward
pass, and turn δ into the next δ in place. Every node owns its result for one batch size, so that an update allocates
almost nothing.

Each number is held once and seen as a tensor and as a NumPy array (``Sheet``), because each library is the quicker one
for something: row sums and tanh are NumPy's here, matrix products as ``products`` says, the rest is PyTorch's
(benchmarks/RESULTS.md).
"""

# ruff: noqa: D102 - what each method returns is said by its class and by Node

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lamina.nn.column_embedding import ColumnEmbedding
from lamina.nn.pixels import PixelScaling

Gradients = Callable[[Tensor], Tensor]
"""Where the gradient of a parameter is to be written: a tensor of its shape."""


class Sheet(NamedTuple):
    """One (N, D) matrix of activations or of their derivatives, as a tensor and as an array over the same memory."""

    tensor: Tensor
    array: np.ndarray


def sheet(tensor: Tensor) -> Sheet:
    """Return both views of a tensor."""
    return Sheet(tensor, tensor.numpy())


def empty(n: int, width: int, dtype: torch.dtype, *, by_columns: bool = False) -> Sheet:
    """Return an uninitialised (n, width) sheet, row after row in memory or column after column."""
    return sheet(torch.empty(width, n, dtype=dtype).T if by_columns else torch.empty(n, width, dtype=dtype))


class Node:
    """y = f(x; w) for a batch of a fixed number of rows."""

    def forward(self, x: Sheet) -> Sheet:
        """Return y, and keep what the derivatives need."""
        raise NotImplementedError

    def backward(self, delta: Sheet) -> Sheet:
        """Return ∂L/∂x from δ = ∂L/∂y; may overwrite δ."""
        raise NotImplementedError

    def parameter_gradient(self, delta: Sheet) -> None:
        """Write ∂L/∂w from δ = ∂L/∂y into the place kept for it; called before ``backward``."""


class Affine(Node):
    """y = x Wᵀ + b;   ∂L/∂x = δ W,   ∂L/∂W = δᵀ x,   ∂L/∂b = Σ_n δ_n = 1ᵀ δ.

    The last node before a softmax lays y out column after column, as yᵀ = W xᵀ + b: normalising over a few classes is
    five times quicker across the rows of yᵀ than along the short rows of y.
    """

    def __init__(self, layer: nn.Linear, gradients: Gradients, n: int, *, by_columns: bool = False) -> None:
        dtype = layer.weight.dtype
        self.w = layer.weight.detach().numpy()
        self.w_transposed = self.w.T
        self.dw = gradients(layer.weight).numpy()
        self.b = None if layer.bias is None else layer.bias.detach()
        self.db = None if layer.bias is None else gradients(layer.bias).numpy()
        self.y, self.dx = empty(n, layer.out_features, dtype, by_columns=by_columns), empty(n, layer.in_features, dtype)
        self.by_columns, self.y_transposed = by_columns, self.y.array.T
        self.ones = torch.ones(n, dtype=dtype).numpy()

    def forward(self, x: Sheet) -> Sheet:
        self.x = x.array
        if self.by_columns:
            np.dot(self.w, x.array.T, out=self.y_transposed)
        else:
            np.dot(x.array, self.w_transposed, out=self.y.array)
        if self.b is not None:
            self.y.tensor.add_(self.b)
        return self.y

    def backward(self, delta: Sheet) -> Sheet:
        np.dot(delta.array, self.w, out=self.dx.array)
        return self.dx

    def parameter_gradient(self, delta: Sheet) -> None:
        np.dot(delta.array.T, self.x, out=self.dw)
        if self.db is not None:
            np.dot(self.ones, delta.array, out=self.db)


class TorchAffine(Affine):
    """The same node with PyTorch's products, where ``lamina.training.products`` says that they are the better ones."""

    def __init__(self, layer: nn.Linear, gradients: Gradients, n: int, *, by_columns: bool = False) -> None:
        super().__init__(layer, gradients, n, by_columns=by_columns)
        self.tensors = layer.weight.detach(), gradients(layer.weight)
        self.bias_gradient = None if layer.bias is None else gradients(layer.bias)

    def forward(self, x: Sheet) -> Sheet:
        self.inputs = x.tensor
        torch.mm(x.tensor, self.tensors[0].T, out=self.y.tensor)
        if self.b is not None:
            self.y.tensor.add_(self.b)
        return self.y

    def backward(self, delta: Sheet) -> Sheet:
        torch.mm(delta.tensor, self.tensors[0], out=self.dx.tensor)
        return self.dx

    def parameter_gradient(self, delta: Sheet) -> None:
        torch.mm(delta.tensor.T, self.inputs, out=self.tensors[1])
        if self.bias_gradient is not None:
            torch.sum(delta.tensor, 0, out=self.bias_gradient)


class Relu(Node):
    """y = max(x, 0);   ∂L/∂x = δ [y > 0]."""

    def __init__(self, n: int, width: int, dtype: torch.dtype) -> None:
        self.y, self.slope = empty(n, width, dtype), empty(n, width, dtype)
        self.zeros = np.zeros_like(self.y.array)  # a whole sheet: no broadcasting, a third of the time

    def forward(self, x: Sheet) -> Sheet:
        np.maximum(x.array, self.zeros, out=self.y.array)
        return self.y

    def backward(self, delta: Sheet) -> Sheet:
        torch.sign(self.y.tensor, out=self.slope.tensor)  # y is never negative, so its sign is the slope, 0 or 1
        np.multiply(delta.array, self.slope.array, out=delta.array)
        return delta


class LeakyRelu(Node):
    """y = x [x > 0] + a x [x ≤ 0];   ∂L/∂x = δ ([x > 0] + a [x ≤ 0])."""

    def __init__(self, n: int, width: int, dtype: torch.dtype, slope: float) -> None:
        self.y, self.a = empty(n, width, dtype), slope

    def forward(self, x: Sheet) -> Sheet:
        self.x = x.tensor
        torch.where(self.x > 0, self.x, self.a * self.x, out=self.y.tensor)
        return self.y

    def backward(self, delta: Sheet) -> Sheet:
        torch.where(self.x > 0, delta.tensor, self.a * delta.tensor, out=delta.tensor)
        return delta


class Tanh(Node):
    """y = tanh x;   ∂L/∂x = δ (1 - y²)."""

    def __init__(self, n: int, width: int, dtype: torch.dtype) -> None:
        self.y, self.slope = empty(n, width, dtype), empty(n, width, dtype)

    def forward(self, x: Sheet) -> Sheet:
        np.tanh(x.array, out=self.y.array)
        return self.y

    def backward(self, delta: Sheet) -> Sheet:
        y, slope = self.y.array, self.slope.array
        np.subtract(1, np.multiply(y, y, out=slope), out=slope)
        np.multiply(delta.array, slope, out=delta.array)
        return delta


class Sigmoid(Node):
    """y = σ(x) = 1 / (1 + e⁻ˣ);   ∂L/∂x = δ y (1 - y)."""

    def __init__(self, n: int, width: int, dtype: torch.dtype) -> None:
        self.y, self.slope = empty(n, width, dtype), torch.empty(n, width, dtype=dtype)

    def forward(self, x: Sheet) -> Sheet:
        torch.sigmoid(x.tensor, out=self.y.tensor)
        return self.y

    def backward(self, delta: Sheet) -> Sheet:
        torch.addcmul(self.y.tensor, self.y.tensor, self.y.tensor, value=-1, out=self.slope)
        delta.tensor.mul_(self.slope)
        return delta


class Elu(Node):
    """y = x where x > 0, else α (eˣ - 1);   ∂L/∂x = δ where x > 0, else δ (y + α)."""

    def __init__(self, n: int, width: int, dtype: torch.dtype, alpha: float) -> None:
        self.y, self.alpha = empty(n, width, dtype), alpha

    def forward(self, x: Sheet) -> Sheet:
        self.x = x.tensor
        torch.where(self.x > 0, self.x, self.alpha * torch.expm1(self.x), out=self.y.tensor)
        return self.y

    def backward(self, delta: Sheet) -> Sheet:
        slope = torch.where(self.x > 0, 1.0, self.y.tensor + self.alpha)
        delta.tensor.mul_(slope)
        return delta


class Silu(Node):
    """y = x s with s = σ(x);   ∂L/∂x = δ s (1 + x (1 - s)) = δ (s + y (1 - s))."""

    def __init__(self, n: int, width: int, dtype: torch.dtype) -> None:
        self.y, self.s = empty(n, width, dtype), torch.empty(n, width, dtype=dtype)

    def forward(self, x: Sheet) -> Sheet:
        torch.sigmoid(x.tensor, out=self.s)
        torch.mul(x.tensor, self.s, out=self.y.tensor)
        return self.y

    def backward(self, delta: Sheet) -> Sheet:
        delta.tensor.mul_(torch.lerp(self.y.tensor, torch.ones_like(self.s), self.s))  # y + s (1 - y)
        return delta


class Gelu(Node):
    """y = x Φ(x), Φ the normal distribution function;   ∂L/∂x = δ (Φ(x) + x φ(x)), φ its density."""

    def __init__(self, n: int, width: int, dtype: torch.dtype) -> None:
        self.y, self.phi = empty(n, width, dtype), torch.empty(n, width, dtype=dtype)

    def forward(self, x: Sheet) -> Sheet:
        self.x = x.tensor
        torch.special.ndtr(x.tensor, out=self.phi)
        torch.mul(x.tensor, self.phi, out=self.y.tensor)
        return self.y

    def backward(self, delta: Sheet) -> Sheet:
        density = torch.exp(-0.5 * self.x.square()) / math.sqrt(2 * math.pi)
        delta.tensor.mul_(self.phi + self.x * density)
        return delta


class Dropout(Node):
    """y = m ⊙ x / q with m ~ Bernoulli(q), q = 1 - p;   ∂L/∂x = m ⊙ δ / q; both the identity in evaluation mode.

    The mask comes from 16-bit uniform numbers, four to one draw of PyTorch's global generator: ten times quicker than
    ``bernoulli_``. So q is rounded to a multiple of 2⁻¹⁶; the division uses the rounded q, and the mean is exact.
    """

    def __init__(self, layer: nn.Dropout, n: int, width: int, dtype: torch.dtype) -> None:
        self.layer = layer
        self.y, self.factor = empty(n, width, dtype), empty(n, width, dtype)
        self.words = torch.empty(-(-n * width // 4), dtype=torch.int64)
        self.uniform = self.words.numpy().view(np.int16)[: n * width].reshape(n, width)
        dropped = min(round(layer.p * 2**16), 2**16)
        self.threshold = dropped - 2**15
        self.scale = self.y.array.dtype.type(2**16 / (2**16 - dropped) if dropped < 2**16 else 0.0)
        self.mask = np.empty((n, width), dtype=bool)

    def draw(self) -> None:
        """Fill ``mask`` anew."""
        self.words.random_(-(2**63), None)  # all 64 bits
        np.greater_equal(self.uniform, self.threshold, out=self.mask)

    def forward(self, x: Sheet) -> Sheet:
        self.active = self.layer.training and self.layer.p > 0
        if not self.active:
            return x
        self.draw()
        np.multiply(self.mask, self.scale, out=self.factor.array)
        torch.mul(x.tensor, self.factor.tensor, out=self.y.tensor)
        return self.y

    def backward(self, delta: Sheet) -> Sheet:
        if self.active:
            delta.tensor.mul_(self.factor.tensor)
        return delta


class Flatten(Node):
    """y = x with all axes but the first joined; ∂L/∂x = δ: stands only before anything with weights."""

    def forward(self, x: Sheet) -> Sheet:
        return sheet(x.tensor.flatten(1))

    def backward(self, delta: Sheet) -> Sheet:
        return delta


class Scaling(Node):
    """y = x ⊙ scale + shift, channel by channel, over pictures (N, C, H, W); stands first, so nobody asks for ∂L/∂x."""

    def __init__(self, layer: PixelScaling, dtype: torch.dtype) -> None:
        self.scale, self.shift = layer.scale.to(dtype), layer.shift.to(dtype)
        self.y: Sheet | None = None

    def forward(self, x: Sheet) -> Sheet:
        if self.y is None:
            self.y = sheet(torch.empty_like(x.tensor))
        torch.addcmul(self.shift, x.tensor, self.scale, out=self.y.tensor)
        return self.y


class Identity(Node):
    """y = x;   ∂L/∂x = δ."""

    def forward(self, x: Sheet) -> Sheet:
        return x

    def backward(self, delta: Sheet) -> Sheet:
        return delta


class Embedding(Node):
    """y = [x_1 … x_M, w[i(x)]]: numbers as they are, then the entries of w that the codes point at.

    ∂L/∂w_j = Σ of the δ of all outputs that are w_j. Inputs are data: no ∂L/∂x, so this stands first.
    """

    def __init__(self, layer: ColumnEmbedding, gradients: Gradients, n: int) -> None:
        self.layer, self.m = layer, layer.n_numeric
        self.w, self.dw = layer.weight.detach(), gradients(layer.weight)
        self.y = empty(n, layer.out_features, layer.weight.dtype)

    def forward(self, x: Sheet) -> Sheet:
        self.places = self.layer.index(x.tensor)
        self.y.tensor[:, : self.m] = x.tensor[:, : self.m]
        self.y.tensor[:, self.m :] = self.w.take(self.places)
        return self.y

    def parameter_gradient(self, delta: Sheet) -> None:
        self.dw.zero_().index_add_(0, self.places.flatten(), delta.tensor[:, self.m :].flatten())
