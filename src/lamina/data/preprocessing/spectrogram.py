"""Spectrogram of a signal: its power by time and frequency, in mel bands, or as cepstra, for speech and audio."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lamina.data.preprocessing._arrays import Array, Arrays, as_floats, broken, constant, positive, same_kind, scalars
from lamina.errors import ConfigError, DataError


@dataclass(frozen=True)
class Spectrogram:
    """Cut a signal into overlapping frames and take the power of each frame's Fourier transform.

        P_tf = |Σ_n w_n x_(t h + n) e^(-2πi f n / L)|²,   f = 0 … L/2 in steps of rate / L Hz
        mel bands:  B_tm = Σ_f F_mf P_tf,   logarithm:  ln max(B, floor)
        cepstra:    c_tk = s_k Σ_m ln max(B_tm, floor) cos(πk (m + ½) / M),   s_0 = √(1/M), s_k = √(2/M)

    L is ``frame``, h is ``hop`` and w Hann's window (periodic). The bands' filters F are triangles, 1 at their centre,
    whose corners are equally spaced on the mel scale m(f) = 2595 log10(1 + f/700) from 0 Hz to rate/2. Only whole
    frames are taken and nothing is padded: 1 + ⌊(T - L) / h⌋ frames. Mel-frequency cepstral coefficients (MFCC) are the
    first few of an orthonormal cosine transform of the M logarithms; 13 of 26 are customary. No part is learned.
    Together with ``Standardisation`` over the last axis it gives the usual input of a speech recogniser.

    Differs from ``torch.stft``, which pads the signal by default, and from HTK, which numbers its bins from 0 and
    pre-emphasises the signal.

    Args:
        rate: Samples a second.
        frame: L, samples of a frame; 400 at 16 kHz is 25 ms.
        hop: h, samples from one frame to the next; 160 at 16 kHz is 10 ms.
        bands: Number of mel bands; None gives the L/2 + 1 frequencies themselves.
        logarithm: Whether to take the natural logarithm.
        floor: Smallest power that the logarithm sees, above 0.
        cepstra: Number of cepstral coefficients, at most ``bands``; None gives the bands themselves.

    Raises:
        ConfigError: If an argument is out of range, a band is so narrow that no frequency falls into it, or cepstra are
            asked of anything but logarithms of mel bands.

    Reference: Davis & Mermelstein, "Comparison of Parametric Representations for Monosyllabic Word Recognition", 1980.
    """

    rate: float = 16_000.0
    frame: int = 400
    hop: int = 160
    bands: int | None = None
    logarithm: bool = True
    floor: float = 1e-10
    cepstra: int | None = None

    def __post_init__(self) -> None:
        positive("Spectrogram", rate=self.rate, floor=self.floor)
        counts = (("bands", self.bands), ("cepstra", self.cepstra))
        wanted = [(name, value, 1) for name, value in counts if value is not None]
        for name, value, least in (("frame", self.frame, 2), ("hop", self.hop, 1), *wanted):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(
                    f"{name} must be a whole number of at least {least}, got {value!r}",
                    where="Spectrogram",
                    mend=f"correct {name}",
                )
        if self.bands is not None and not (self.filters() > 0).any(axis=1).all():
            raise ConfigError(
                f"{self.bands} bands are too many for {self.frame // 2 + 1} frequencies",
                where="Spectrogram",
                mend="use fewer bands or a longer frame",
            )

        if self.cepstra is not None and not (self.logarithm and self.cepstra <= (self.bands or 0)):
            raise ConfigError(
                f"{self.cepstra} cepstra need the logarithms of as many mel bands",
                where="Spectrogram",
                mend="use bands=26, logarithm=True, cepstra=13",
            )

    def frequencies(self) -> np.ndarray:
        """Return the frequencies f in Hz, ``(L/2 + 1,)``."""
        return np.arange(self.frame // 2 + 1) * (self.rate / self.frame)

    def filters(self) -> np.ndarray:
        """Return F, ``(bands, L/2 + 1)``: the identity where there are no mel bands."""
        f = self.frequencies()
        if self.bands is None:
            return np.eye(len(f))
        top = 2595.0 * math.log10(1.0 + self.rate / 2 / 700.0)
        corners = 700.0 * (10.0 ** (np.linspace(0.0, top, self.bands + 2) / 2595.0) - 1.0)
        low, centre, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
        filters: np.ndarray = np.maximum(0.0, np.minimum((f - low) / (centre - low), (high - f) / (high - centre)))
        return filters

    def cosines(self) -> np.ndarray:
        """Return the matrix of the cosine transform, ``(cepstra, bands)``."""
        k, m = np.arange(self.cepstra or 0)[:, None], np.arange(self.bands or 0)
        waves: np.ndarray = np.cos(math.pi * k * (m + 0.5) / len(m)) * np.sqrt(np.where(k == 0, 1, 2) / len(m))
        return waves

    def transform(self, x: Array) -> Array:
        """Return the spectrogram of each signal, of the kind and type of x.

        Args:
            x: ``(..., T)`` samples, T at least ``frame``; whole numbers become float32.

        Returns:
            ``(..., frames, bands)``, or ``(..., frames, cepstra)``.

        Raises:
            DataError: If a signal is shorter than a frame.
        """
        values = as_floats(x, "Spectrogram")
        if values.shape[-1] < self.frame:
            raise DataError(
                f"a signal of {values.shape[-1]} samples is shorter than a frame of {self.frame}",
                where="Spectrogram",
                mend="give longer signals or a shorter frame",
            )
        window = torch.hann_window(self.frame, dtype=values.dtype, device=values.device)
        spectrum = torch.stft(
            values.reshape(-1, values.shape[-1]),
            self.frame,
            self.hop,
            window=window,
            center=False,
            return_complex=True,
        )
        power = (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)
        if self.bands is not None:
            power = power @ constant(self.filters(), values).T
        if self.logarithm:
            power = power.clamp(min=self.floor).log()
        if self.cepstra is not None:
            power = power @ constant(self.cosines(), values).T
        return same_kind(power.reshape(*values.shape[:-1], *power.shape[1:]), x)

    def to_arrays(self) -> Arrays:
        """Return the state, to be stored; 0 bands or cepstra stand for None."""
        names = ("rate", "frame", "hop", "bands", "logarithm", "floor", "cepstra")
        return {name: np.array(getattr(self, name) or 0) for name in names}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Spectrogram:
        """Rebuild the front end from ``to_arrays()``.

        Returns:
            The front end.

        Raises:
            CheckpointError: If the state cannot be.
        """  # noqa: DOC501, DOC502
        names = ("rate", "frame", "hop", "bands", "logarithm", "floor", "cepstra")
        rate, frame, hop, bands, logarithm, floor, cepstra = scalars(arrays, names, "Spectrogram")
        if any(value != int(value) for value in (frame, hop, bands, cepstra)) or logarithm not in {0.0, 1.0}:
            raise broken("Spectrogram", "its sizes are not whole numbers")
        try:
            return cls(rate, int(frame), int(hop), int(bands) or None, bool(logarithm), floor, int(cepstra) or None)
        except ConfigError as error:
            raise broken("Spectrogram", error.what) from error
