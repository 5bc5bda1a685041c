"""Spectrogram against SciPy, and mel bands against a loop over triangles."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch

from lamina.data.preprocessing import Spectrogram
from lamina.errors import CheckpointError, ConfigError, DataError
from lamina.io import pack_arrays, unpack_arrays


def signal(n: int = 2000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize(("frame", "hop"), [(400, 160), (256, 256), (25, 7)])
def test_I19_power_is_scipys(frame: int, hop: int) -> None:
    x = signal()
    f, _, theirs = scipy.signal.spectrogram(
        x, 16_000, "hann", frame, frame - hop, detrend=False, scaling="spectrum", mode="complex"
    )
    window = scipy.signal.get_window("hann", frame)
    expected = np.abs(theirs * window.sum()).T ** 2
    ours = Spectrogram(frame=frame, hop=hop, logarithm=False)
    power = ours.transform(x)
    assert power.shape == (1 + (2000 - frame) // hop, frame // 2 + 1)
    assert np.allclose(power, expected, rtol=1e-9, atol=1e-9)
    assert np.allclose(ours.frequencies(), f)


def test_I19_parsevals_theorem() -> None:
    x = signal(256)
    power = Spectrogram(frame=256, hop=256, logarithm=False).transform(x)[0]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    assert (power[0] + 2 * power[1:-1].sum() + power[-1]) / 256 == pytest.approx(((x * window) ** 2).sum())


@pytest.mark.parametrize("rate", [16_000.0, 8_000.0])
def test_I19_mel_bands_are_triangles(rate: float) -> None:
    ours = Spectrogram(rate, 400, 160, bands=20, logarithm=False)
    x = signal()
    power = Spectrogram(rate, 400, 160, logarithm=False).transform(x)

    def mel(f: float) -> float:
        return 2595 * math.log10(1 + f / 700)

    def hertz(m: float) -> float:
        return 700 * (10 ** (m / 2595) - 1)

    expected = np.zeros((len(power), 20))
    for band in range(20):
        low, centre, high = (hertz(mel(rate / 2) * (band + i) / 21) for i in range(3))
        for k in range(201):
            f = k * rate / 400
            height = (f - low) / (centre - low) if f <= centre else (high - f) / (high - centre)
            expected[:, band] += max(0.0, height) * power[:, k]
    assert np.allclose(ours.transform(x), expected, rtol=1e-9)
    logs = Spectrogram(rate, 400, 160, bands=20).transform(x)
    assert np.allclose(logs, np.log(expected), rtol=1e-9)


@pytest.mark.parametrize("cepstra", [1, 13, 20])
def test_I19_cepstra_are_scipys_cosine_transform(cepstra: int) -> None:
    x = np.stack([signal(), signal(seed=1)])
    logs = Spectrogram(bands=20).transform(x)
    expected = scipy.fft.dct(logs, type=2, norm="ortho", axis=-1)[..., :cepstra]
    found = Spectrogram(bands=20, cepstra=cepstra).transform(x)
    assert found.shape == (2, len(logs[0]), cepstra)
    assert np.allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_I19_a_tone_lights_its_frequency_and_band() -> None:
    t = np.arange(16_000) / 16_000
    ours = Spectrogram(frame=400, hop=160)
    for f in (440.0, 1000.0, 5000.0):
        tone = np.sin(2 * np.pi * f * t)
        assert (np.abs(ours.frequencies()[ours.transform(tone).argmax(1)] - f) <= 20).all()
        mel = Spectrogram(bands=40)
        corners = 700 * (10 ** (np.linspace(0, 2595 * math.log10(1 + 8000 / 700), 42) / 2595) - 1)
        band = mel.transform(tone).argmax(1)
        assert ((corners[band] <= f) & (f <= corners[band + 2])).all()


def test_I19_batches_types_silence_and_state() -> None:
    ours = Spectrogram(frame=100, hop=50, bands=10)
    x = np.stack([signal(500, s) for s in range(6)]).reshape(2, 3, 500)
    out = ours.transform(x)
    assert out.shape == (2, 3, 9, 10)
    assert np.allclose(out[1, 2], ours.transform(x[1, 2]))
    small = ours.transform(torch.from_numpy(x).float())
    assert small.dtype == torch.float32 and np.allclose(small.numpy(), out, atol=1e-3)
    assert np.allclose(ours.transform(np.zeros(200)), math.log(1e-10))
    assert ours.transform(np.zeros(200, np.int16)).dtype == np.float32
    for front in (ours, Spectrogram(logarithm=False), Spectrogram(bands=26, cepstra=13)):
        arrays = unpack_arrays(pack_arrays(front.to_arrays()), name="test")
        assert Spectrogram.from_arrays(arrays) == front
        for name in arrays:
            for bad in (np.array(-2.0), np.array(math.inf), np.zeros(2)):
                with pytest.raises(CheckpointError):
                    Spectrogram.from_arrays({**arrays, name: bad})
        with pytest.raises(CheckpointError):
            Spectrogram.from_arrays({**arrays, "hop": np.array(1.5)})


def test_I19_wrong_arguments_are_refused() -> None:
    small: list[dict[str, Any]] = [{"frame": 1}, {"hop": 0}, {"bands": -1}, {"bands": 0}, {"rate": 0.0}, {"floor": 0.0}]
    cepstra: list[dict[str, Any]] = [{"cepstra": 3}, {"bands": 5, "cepstra": 6}, {"bands": 5, "cepstra": 0}]
    for options in (*small, *cepstra, {"bands": 200}, {"bands": 5, "cepstra": 5, "logarithm": False}):
        with pytest.raises(ConfigError):
            Spectrogram(**options)
    with pytest.raises(DataError, match="shorter"):
        Spectrogram().transform(np.zeros(399))
