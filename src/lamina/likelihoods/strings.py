"""Strings of symbols: n independent softmaxes and the joint probability of the whole string."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Generator, Tensor

from lamina.errors import ConfigError
from lamina.likelihoods._checks import (
    check_column_count,
    check_count,
    check_outputs,
    drop_lone_column,
    refuse_rows,
)
from lamina.likelihoods._products import check_vector, softmax_product

_END = -1  # fills the places behind the end of a shorter string


@dataclass(frozen=True)
class Strings:
    """A string of n symbols out of K each, from n softmaxes that are independent given the outputs.

        log p(y | z) = Σ_i log softmax(z_i)_{y_i}                            (nats)
        d(-log p)/dz_i = softmax(z_i) - onehot(y_i)

    The target is a matrix (N, n) of codes. Its probability is that of the whole string, which is right only if every
    symbol is: what a transcription is trusted or refused by (``Rejecting``).

    With ``variable`` the strings have 0 to n symbols and one softmax more, over the length ℓ: a shorter target is
    filled up with -1, and symbols behind the end have no part in it,

        log p(y | z) = log softmax(z_length)_ℓ + Σ_{i ≤ ℓ} log softmax(z_i)_{y_i}

    The outputs are n K symbol logits, place by place, then the n + 1 length logits if ``variable``.

    Args:
        length: n, the greatest number of symbols, at least 1.
        n_symbols: K, at least 2. Symbols are the codes 0 … K - 1.
        variable: Whether shorter strings are possible.

    Raises:
        ConfigError: If an argument is outside its range.

    Reference: Goodfellow, Bulatov, Ibarz, Arnoud & Shet, "Multi-digit Number Recognition from Street View Imagery using
    Deep Convolutional Neural Networks", ICLR 2014, section 4.
    """

    length: int
    n_symbols: int
    variable: bool = False

    def __post_init__(self) -> None:
        check_count("Strings", "length", self.length)
        check_count("Strings", "n_symbols", self.n_symbols, least=2)
        if not isinstance(self.variable, bool):
            raise ConfigError(
                f"variable must be true or false, got {self.variable!r}", where="Strings", mend="use True"
            )

    @property
    def n_outputs(self) -> int:
        """K logits a place, and n + 1 for the length if it varies."""
        return self.length * self.n_symbols + (self.length + 1 if self.variable else 0)

    @property
    def n_targets(self) -> int:
        """The number of columns n of the target."""
        return self.length

    def log_prob(self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """Return log p(whole string | z) in nats.

        Returns:
            One number an example.
        """
        symbols, lengths = self._log_softmaxes(outputs)
        codes = self._codes(outputs, target)
        chosen = symbols.gather(2, self._places(codes).unsqueeze(2)).squeeze(2)
        if lengths is None:
            return chosen.sum(1)
        real = codes >= 0
        return chosen.masked_fill(~real, 0.0).sum(1) + lengths.gather(1, real.sum(1, keepdim=True)).squeeze(1)

    def nll_gradient(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]
    ) -> Float[Tensor, "N outputs"]:
        """Return softmax(z) - onehot(y) of each softmax; 0 at the places behind the end.

        Returns:
            The gradient of -log_prob of each example.
        """
        symbols, lengths = self._log_softmaxes(outputs)
        codes = self._codes(outputs, target).unsqueeze(2)
        by_symbol = symbols.exp().scatter_add_(2, self._places(codes), symbols.new_full(codes.shape, -1.0))
        if lengths is None:
            return by_symbol.flatten(1)
        by_symbol.masked_fill_(codes < 0, 0.0)
        count = (codes >= 0).sum(1)
        by_length = lengths.exp().scatter_add_(1, count, lengths.new_full(count.shape, -1.0))
        return torch.cat([by_symbol.flatten(1), by_length], dim=1)

    def hessian_product(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return (diag p - p pᵀ) v of each softmax; 0 at the places behind the end.

        Returns:
            One row an example.
        """
        check_vector("Strings", outputs, vector)
        symbols, lengths = self._log_softmaxes(outputs)
        real = None if lengths is None else (self._codes(outputs, target) >= 0).to(outputs.dtype)
        return self._softmax_products(symbols, lengths, real, vector)

    def fisher_product(
        self, outputs: Float[Tensor, "N outputs"], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return (diag p - p pᵀ) v of each softmax, at each place times the probability p(ℓ ≥ i) of reaching it.

        Returns:
            One row an example.
        """
        check_vector("Strings", outputs, vector)
        symbols, lengths = self._log_softmaxes(outputs)
        return self._softmax_products(symbols, lengths, None if lengths is None else self._reached(lengths), vector)

    def probabilities(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N n K"]:
        """Return p(y_i = k) of each place, which sums to the probability that the string reaches it.

        Returns:
            Probabilities, (N, n, K).
        """
        symbols, lengths = self._log_softmaxes(outputs)
        if lengths is None:
            return symbols.exp()
        return symbols.exp() * self._reached(lengths).unsqueeze(2)

    def mean(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N n K"]:
        """Return the expected one-hot vector of each place, which is the probabilities.

        Returns:
            Rows that sum to one, or to less where a string may end before.
        """
        return self.probabilities(outputs)

    def predict(self, outputs: Float[Tensor, "N outputs"]) -> Int[Tensor, "N ..."]:
        """Return the most probable of all strings, filled up with -1 behind its end; of equals, the shortest.

        Returns:
            Codes, int64, (N, n), or (N,) for n = 1.
        """
        symbols, lengths = self._log_softmaxes(outputs)
        best, codes = symbols.max(2)
        if lengths is not None:
            so_far = torch.cat([torch.zeros_like(best[:, :1]), best.cumsum(1)], dim=1)  # of the first 0, 1, … n places
            codes = self._cut(codes, (so_far + lengths).argmax(1))
        return drop_lone_column(codes)

    def sample(self, outputs: Float[Tensor, "N outputs"], generator: Generator | None = None) -> Int[Tensor, "N ..."]:
        """Draw one string an example.

        Returns:
            Codes, int64, (N, n), or (N,) for n = 1; -1 behind the end.
        """
        symbols, lengths = self._log_softmaxes(outputs.detach())
        if not len(outputs):  # multinomial refuses to draw nothing
            return drop_lone_column(symbols.new_zeros((0, self.length), dtype=torch.int64))
        codes = torch.multinomial(symbols.exp().flatten(0, 1), 1, generator=generator).view(-1, self.length)
        if lengths is not None:
            codes = self._cut(codes, torch.multinomial(lengths.exp(), 1, generator=generator).squeeze(1))
        return drop_lone_column(codes)

    def kl(self, outputs: Float[Tensor, "N outputs"], other: Float[Tensor, "N outputs"]) -> Float[Tensor, " N"]:
        """Return KL(p ‖ q) in nats: the softmaxes' own, each place times p(ℓ ≥ i), plus the length's.

        Returns:
            One number an example.
        """
        (symbols, lengths), (other_symbols, other_lengths) = self._log_softmaxes(outputs), self._log_softmaxes(other)
        by_place = (symbols.exp() * (symbols - other_symbols)).sum(2)
        if lengths is None or other_lengths is None:
            return by_place.sum(1)
        return (self._reached(lengths) * by_place).sum(1) + (lengths.exp() * (lengths - other_lengths)).sum(1)

    def check_target(self, target: Shaped[Tensor, "N ..."]) -> None:
        """Refuse codes that are not whole numbers in 0 … K - 1, and symbols behind an end, by row."""
        codes = check_column_count("Strings", target, self.length)
        least = _END if self.variable else 0
        bad = (codes < least) | (codes >= self.n_symbols) | (codes != codes.floor())
        shorter = ", or -1 behind the end" if self.variable else ""
        refuse_rows("Strings", bad, codes, f"a symbol's code from 0 to {self.n_symbols - 1}{shorter}")
        late = torch.zeros_like(bad)
        late[:, 1:] = (codes[:, 1:] >= 0) & (codes[:, :-1] < 0)
        refuse_rows("Strings", late, codes, "-1 at every place behind the end of its string")

    def _softmax_products(
        self, symbols: Tensor, lengths: Tensor | None, share: Tensor | None, vector: Tensor
    ) -> Tensor:
        """Return (diag p - p pᵀ) v of each softmax, a place's times its share, (N, n)."""
        end = self.length * self.n_symbols
        turned = softmax_product(symbols.exp(), vector[:, :end].reshape(symbols.shape))
        if lengths is None or share is None:
            return turned.flatten(1)
        by_length = softmax_product(lengths.exp(), vector[:, end:])
        return torch.cat([(turned * share.unsqueeze(2)).flatten(1), by_length], dim=1)

    def _log_softmaxes(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the log-probabilities of the symbols, (N, n, K), and of the lengths, (N, n + 1)."""
        check_outputs("Strings", outputs, self.n_outputs)
        end = self.length * self.n_symbols
        symbols = outputs[:, :end].reshape(len(outputs), self.length, self.n_symbols).log_softmax(-1)
        return symbols, outputs[:, end:].log_softmax(-1) if self.variable else None

    def _codes(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the target as (N, n) int64.

        Raises:
            ConfigError: If its shape does not fit.
        """
        shape = (outputs.shape[0], self.length)
        if target.shape == shape:
            return target.long()
        if self.length == 1 and target.shape == shape[:1]:
            return target.long().unsqueeze(1)
        raise ConfigError(
            f"target must have shape (N, {self.length}) with N = {shape[0]}, got {tuple(target.shape)}",
            where="Strings",
            mend="give one column of codes for each place",
        )

    def _places(self, codes: Tensor) -> Tensor:
        """Return the codes as indices: what stands behind an end may be any, and a -1 without one raises in torch."""
        return codes.clamp(min=0) if self.variable else codes

    def _reached(self, lengths: Tensor) -> Tensor:
        """Return p(ℓ ≥ i) for the places i = 1 … n, (N, n), summed from the far end."""
        return lengths.exp()[:, 1:].flip(1).cumsum(1).flip(1)

    def _cut(self, codes: Tensor, count: Tensor) -> Tensor:
        """Return the codes with -1 behind the first ``count`` of each row."""
        place = torch.arange(self.length, device=codes.device)
        return codes.masked_fill(place >= count.unsqueeze(1), _END)
