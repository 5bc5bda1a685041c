"""Recurrent layers written out step by step, so that the gradients of their pre-activations can be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from lamina.errors import ConfigError

State = tuple[Tensor, ...]  # (h,), or (h, c) of a long short-term memory


@dataclass(frozen=True)
class Product:
    """One multiplication z = W a + b within the layer: the weight's own name, a, and z with its graph."""

    weight: str
    inputs: Tensor
    outputs: Tensor


def replay(
    layer: str, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[Any, list[Product]]:
    """Compute what a recurrent cell or layer of PyTorch computes, with every pre-activation in the open.

        tanh, ReLU   h' = f(W_i x + b_i + W_h h + b_h)
        GRU          r, u = σ(·), σ(·);  n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn));  h' = (1 - u) ⊙ n + u ⊙ h
        LSTM         i, f, g, o = σ, σ, tanh, σ(W_i x + b_i + W_h h + b_h);  c' = f ⊙ c + i ⊙ g;  h' = o ⊙ tanh(c')

    PyTorch's fused layers hide these sums; the weights are the same, and the results to rounding. The products with the
    inputs of all times are one product; a step's z is its slice.

    Args:
        layer: The layer's name, for messages.
        module: A cell, or an ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``.
        arguments: What it was called with.
        keywords: Likewise.

    Returns:
        What the module returns, and the products in it.

    Raises:
        ConfigError: If the layer drops units between its levels or its sequences are packed.
    """
    x, state = _arguments(arguments, keywords)
    products: list[Product] = []
    if isinstance(module, nn.RNNCellBase):
        found = _cell(module, x, state, products)
        return (found if isinstance(module, nn.LSTMCell) else found[0]), products
    if not isinstance(x, Tensor):
        raise ConfigError(
            f'the sequences of "{layer}" are packed', where="KroneckerFactors", mend="give a padded tensor"
        )
    assert isinstance(module, nn.RNNBase)
    if module.dropout and module.training and module.num_layers > 1:
        raise ConfigError(
            f'"{layer}" drops units between its levels, which cannot be repeated',
            where="KroneckerFactors",
            mend="set its dropout to 0 and put nn.Dropout between layers of one level",
        )
    return _layers(module, x, state, products), products


def _arguments(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, Any]:
    given = dict(zip(("input", "hx"), arguments, strict=False)) | keywords
    return given["input"], given.get("hx")


def _cell(module: nn.RNNCellBase, x: Tensor, state: Any, products: list[Product]) -> State:
    lone = x.ndim == 1
    x = x.unsqueeze(0) if lone else x
    long_memory = isinstance(module, nn.LSTMCell)
    parts: State
    if state is None:
        parts = (x.new_zeros(x.shape[0], module.hidden_size),) * (2 if long_memory else 1)
    else:
        parts = tuple(part.unsqueeze(0) if lone else part for part in (state if long_memory else (state,)))
    fed = linear(x, module.weight_ih, module.bias_ih)
    products.append(Product("weight_ih", x, fed))
    back = linear(parts[0], module.weight_hh, module.bias_hh)
    products.append(Product("weight_hh", parts[0], back))
    found = _rule(module)(fed, back, parts)
    return tuple(part.squeeze(0) for part in found) if lone else found


def _layers(module: nn.RNNBase, x: Tensor, state: Any, products: list[Product]) -> tuple[Tensor, Any]:
    long_memory = isinstance(module, nn.LSTM)
    lone = x.ndim == 2
    x = x.unsqueeze(1) if lone else x.transpose(0, 1) if module.batch_first else x  # (T, N, D) from here on
    ways = 2 if module.bidirectional else 1
    given: tuple[Tensor, ...] | None = None
    if state is not None:
        given = tuple(part.unsqueeze(1) if lone else part for part in (state if long_memory else (state,)))
    last: list[State] = []
    for level in range(module.num_layers):
        outputs = []
        for way in range(ways):
            place = level * ways + way
            suffix = f"_l{level}" + ("_reverse" if way else "")
            width = module.proj_size or module.hidden_size
            start: State
            if given is not None:
                start = tuple(part[place] for part in given)
            elif long_memory:
                start = (x.new_zeros(x.shape[1], width), x.new_zeros(x.shape[1], module.hidden_size))
            else:
                start = (x.new_zeros(x.shape[1], width),)
            steps, end = _sweep(module, x.flip(0) if way else x, start, suffix, products)
            outputs.append(steps.flip(0) if way else steps)
            last.append(end)
        x = torch.cat(outputs, dim=-1) if ways == 2 else outputs[0]
    ends = tuple(torch.stack(parts) for parts in zip(*last, strict=True))
    x = x.squeeze(1) if lone else x.transpose(0, 1) if module.batch_first else x
    ends = tuple(part.squeeze(1) for part in ends) if lone else ends
    return x, (ends if long_memory else ends[0])


def _sweep(module: nn.RNNBase, x: Tensor, state: State, suffix: str, products: list[Product]) -> tuple[Tensor, State]:
    """Return the outputs of one level and one direction, and its last state."""

    def named(name: str) -> Tensor | None:
        found: Tensor | None = getattr(module, name + suffix, None)
        return found

    w_in, w_back, w_out = named("weight_ih"), named("weight_hh"), named("weight_hr") if module.proj_size else None
    assert w_in is not None and w_back is not None
    rows = x.transpose(0, 1)  # examples first, as the products are read
    fed = linear(rows, w_in, named("bias_ih") if module.bias else None)
    products.append(Product("weight_ih" + suffix, rows, fed))
    rule, steps = _rule(module), []
    for fed_t in fed.unbind(1):
        back = linear(state[0], w_back, named("bias_hh") if module.bias else None)
        products.append(Product("weight_hh" + suffix, state[0], back))
        state = rule(fed_t, back, state)
        if w_out is not None:
            inner = state[0]
            state = (linear(inner, w_out), *state[1:])
            products.append(Product("weight_hr" + suffix, inner, state[0]))
        steps.append(state[0])
    return torch.stack(steps), state


def _rule(module: nn.Module) -> Callable[[Tensor, Tensor, State], State]:
    if isinstance(module, nn.LSTM | nn.LSTMCell):
        return _long_memory
    if isinstance(module, nn.GRU | nn.GRUCell):
        return _gated
    unit = torch.relu if getattr(module, "nonlinearity", "tanh") == "relu" else torch.tanh
    return lambda fed, back, state: (unit(fed + back),)


def _long_memory(fed: Tensor, back: Tensor, state: State) -> State:
    i, f, g, o = (fed + back).chunk(4, dim=1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gated(fed: Tensor, back: Tensor, state: State) -> State:
    (fed_r, fed_u, fed_n), (back_r, back_u, back_n) = fed.chunk(3, dim=1), back.chunk(3, dim=1)
    update = (fed_u + back_u).sigmoid()
    new = (fed_n + (fed_r + back_r).sigmoid() * back_n).tanh()
    return (torch.lerp(new, state[0], update),)
