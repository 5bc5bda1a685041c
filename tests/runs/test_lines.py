"""Settings written in a line: what they build, and what cannot be, each refused with a mend."""

from __future__ import annotations

import pytest

from lamina.errors import ConfigError
from lamina.likelihoods import Categorical, FullGaussian, Gaussian, GaussianMixture, Laplace, Power, StudentT
from lamina.likelihoods.registry import LIKELIHOODS
from lamina.runs.lines import PairsChoice, read_factors, read_likelihood, read_pairs
from lamina.runs.settings import Settings


@pytest.mark.parametrize(
    ("line", "built"),
    [
        ("gaussian", Gaussian()),
        ("gaussian:scale=0.5", Gaussian(scale=0.5)),
        ("laplace", Laplace()),
        ("student-t:freedom=3:scale=2", StudentT(freedom=3.0, scale=2.0)),
        ("power:exponent=1.5", Power(1.5)),
        ("gaussian-mixture:components=3:covariance=shared", GaussianMixture(3, covariance="shared")),
        ("full-gaussian", FullGaussian()),
    ],
)
def test_a_line_builds_the_likelihood_that_it_names(line: str, built: object) -> None:
    assert read_likelihood(line).build() == built


def test_sizes_and_smoothing_come_from_elsewhere() -> None:
    assert read_likelihood("categorical").build(n_classes=4, smoothing=0.1) == Categorical(4, 0.1)
    assert read_likelihood("gaussian-mixture:components=2").build(n_targets=3) == GaussianMixture(2, 3)


def test_every_likelihood_of_the_library_can_be_chosen_or_is_no_choice_for_a_column() -> None:
    chosen = {name for name in LIKELIHOODS if _can_be_chosen(name)}
    # heads: made of several targets; strings: of a column a place; rejecting: a decision on top of another.
    assert set(LIKELIHOODS) - chosen == {"heads", "strings", "rejecting"}


def _can_be_chosen(name: str) -> bool:
    needed = {"power": ":exponent=1.5", "gaussian-mixture": ":components=2"}
    try:
        read_likelihood(name + needed.get(name, ""))
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("likelihood", "studnt-t", 'did you mean "student-t"'),
        ("likelihood", "power", "power needs exponent"),
        ("likelihood", "gaussian-mixture", "gaussian-mixture needs components"),
        ("likelihood", "power:exponent=3", r"exponent must lie in \[1, 2\]"),
        ("likelihood", "student-t:freedom=1", "freedom must be finite and above 1"),
        ("likelihood", "student-t:freedm=3", 'did you mean "freedom"'),
        ("likelihood", "gaussian:n_targets=2", "is no option of gaussian"),
        ("likelihood", "gaussian:scale=1:scale=2", "is given twice"),
        ("likelihood", "gaussian-mixture:components=1.5", "must be a whole number"),
        ("pairs", "much", "the weight of pairs must be a number"),
        ("pairs", "0", "the weight of pairs must be above 0"),
        ("pairs", "1:margin=-1", "the margin of pairs must be above 0"),
        ("pairs", "1:form=other", "form of pairs must be one of hinge, hadsell"),
        ("pairs", "1:neighbours=0", "neighbours of pairs must be at least 1"),
        ("slower", "0", "above 0 and at most 1"),
        ("slower", "1.5", "above 0 and at most 1"),
        ("slower", "nan", "must be a number"),
        ("slower", "linear1=0.1,linear2", "must be one factor, or NAME=FACTOR"),
        ("slower", "linear1=0.1,linear1=0.2", "must be one factor, or NAME=FACTOR"),
    ],
)
def test_a_line_that_cannot_be_is_refused_where_it_was_typed(setting: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--set: .*{words}") as caught:
        Settings().with_changes({setting: value}, where="--set")
    assert caught.value.mend


def test_pairs_and_factors_are_read() -> None:
    assert read_pairs("none") is None
    assert read_pairs("0.5:neighbours=7:form=hadsell:margin=2") == PairsChoice(0.5, 7, 2.0, "hadsell")
    assert read_factors(()) is None
    assert read_factors(("0.5",)) == 0.5
    assert read_factors(("linear1=0.1", "linear2=1")) == {"linear1": 0.1, "linear2": 1.0}


def test_a_file_may_hold_numbers_and_lists() -> None:
    changed = Settings().with_changes({"slower": 0.5, "pairs": 1, "likelihood": "none"}, where="run.toml")
    assert (changed.slower, changed.pairs, changed.likelihood) == (("0.5",), "1", None)
    listed = Settings().with_changes({"slower": ["linear1=0.1", "linear2=0.5"]}, where="run.toml")
    assert listed.slower == ("linear1=0.1", "linear2=0.5")
    again = Settings().with_changes(listed.to_dict(), where="run.toml")
    assert again == listed
