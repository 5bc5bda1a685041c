"""Text and numbers as they stand in the page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.report.text import cut, duration, number, percent, readable, setting


@given(st.text(alphabet=st.characters(exclude_categories=[]), max_size=40))
def test_s13_readable_text_has_no_control_bidi_or_surrogate(text: str) -> None:
    shown = readable(text)
    shown.encode("utf-8")
    assert not any(c < " " or "\x7f" <= c <= "\x9f" for c in shown)
    assert not set(shown) & set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c\u2028\ufeff")


@pytest.mark.parametrize(
    "text", ["naïve", "顧客の満足度", "עזיבה", "می‌خواهم", "👩‍👩‍👧 🇩🇪 👍🏽", "e\u0301a", "a\u00a0b", "हिन्दी"]
)
def test_k5_scripts_and_emoji_stay_as_they_are(text: str) -> None:
    assert readable(text) == text


def test_s13_controls_are_shown() -> None:
    assert readable("\x1b[31mred\x07\n") == "\\x1b[31mred\\x07\\n"
    assert readable("\u202egnp.exe") == "\\u202egnp.exe"


@given(st.text(max_size=80), st.integers(2, 60))
def test_cut_is_no_longer_than_asked_and_a_beginning(text: str, limit: int) -> None:
    short = cut(text, limit)
    assert len(short) <= limit
    assert short == text or text.startswith(short[:-1])


def test_cut_does_not_split_a_combined_character() -> None:
    assert cut("ab" + "e\u0301" * 5, 4) == "ab…"
    assert cut("xx👩‍👩‍👧yyyy", 6) == "xx…"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (1234, "1,234"), (-2.5, "−2.500"), (0.031234, "0.03123"), (1250000.0, "1,250,000"),
        (1234567.8, "1,234,568"), (4.2e-7, "4.20e−07"), (0.9999999, "1.0000"), (3e20, "3.00e+20"),
    ],
)  # fmt: skip
def test_number(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(-1e300, 1e300))
def test_number_is_right_to_its_digits(value: float) -> None:
    shown = float(number(value).replace(",", "").replace("\u2212", "-"))
    assert shown == pytest.approx(value, rel=6e-3, abs=0)


def test_small_ones() -> None:
    assert percent(0.9753) == "97.5\u00a0%" and percent(-0.01) == "−1.0\u00a0%"
    assert [duration(s) for s in (0.42, 14.2, 80, 11_100)] == ["0.42 s", "14 s", "1 min 20 s", "3 h 5 min"]
    assert [setting(v) for v in (None, True, (1, 2), [], "x")] == ["chosen", "true", "1,2", "none", "x"]
