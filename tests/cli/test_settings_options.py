"""Options, assignments and TOML files become settings; the option wins, and what won is said."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from lamina.cli._options import _FROM_OPTION, _OTHER_WORDS, read_settings
from lamina.cli.main import main
from lamina.errors import ConfigError
from lamina.runs.settings import Settings


def test_nothing_given_is_the_defaults() -> None:
    assert read_settings({}, (), None) == (Settings(), [])


def test_A7_exponent_is_accepted() -> None:
    settings, _ = read_settings({"epochs": "1e3"}, (), None)
    assert settings.epochs == 1000


def test_A8_huge_learning_rate_is_taken_with_a_note() -> None:
    settings, notes = read_settings({"learning_rate": "1e9"}, (), None)
    assert settings.learning_rate == 1e9
    assert len(notes) == 1
    assert "1e+09" in notes[0]


def test_A12_option_wins_over_config_with_a_note(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text("seed = 1\n\nepochs = 7\n")
    settings, notes = read_settings({"epochs": "9"}, (), str(config))
    assert (settings.seed, settings.epochs) == (1, 9)
    assert notes == [f"--epochs overrides epochs of {config} line 3"]


def test_A12_assignment_wins_over_config(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text("dropout = 0.5\n")
    settings, notes = read_settings({}, ("dropout=0.1",), str(config))
    assert settings.dropout == 0.1
    assert notes == [f"--set dropout overrides dropout of {config} line 1"]


def test_columns_are_repeated_or_separated_by_commas() -> None:
    settings, _ = read_settings({"ignore": ("a,b", "c")}, (), None)
    assert settings.ignore == ("a", "b", "c")


def test_switches() -> None:
    settings, _ = read_settings({"header": True, "clip_inf": True}, (), None)
    assert settings.header is False
    assert settings.clip_inf is True


@pytest.mark.parametrize("text", ["0.7,0.15,0.15", "70/15/15", "0.7/0.15/0.15"])
def test_split_is_read_as_it_is_printed(text: str) -> None:
    settings, _ = read_settings({"split": text}, (), None)
    assert settings.split == pytest.approx((0.7, 0.15, 0.15))


def test_base_is_what_is_changed() -> None:
    settings, _ = read_settings({"epochs": "3"}, (), None, Settings(seed=5))
    assert (settings.seed, settings.epochs) == (5, 3)


def test_every_option_sets_a_setting_that_exists() -> None:
    known = {entry.name for entry in fields(Settings)}
    assert set(_FROM_OPTION) <= known
    assert set(_OTHER_WORDS.values()) <= known
    assert not set(_OTHER_WORDS) & known


def test_hyphens_are_underscores() -> None:
    settings, _ = read_settings({}, ("batch-size=8",), None)
    assert settings.batch_size == 8


def test_the_line_of_a_wrong_key_is_found_in_a_file_with_crlf(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_bytes(b"seed = 1\r\nepoch = 2\r\n")
    with pytest.raises(ConfigError, match=r'line 2: there is no setting "epoch"; did you mean "epochs"\?'):
        read_settings({}, (), str(config))


def test_settings_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--settings"]) == 0
    out = capsys.readouterr().out
    for entry in fields(Settings):
        assert any(line.startswith(f"{entry.name} ") for line in out.splitlines())


def test_none_is_a_value_where_it_is_a_word_of_the_setting_and_means_chosen_elsewhere() -> None:
    changed = Settings().with_changes({"second_pass": "none", "hidden": "none", "require": "none"}, where="test")
    assert (changed.second_pass, changed.hidden, changed.require) == ("none", None, "none")


def test_methods_are_written_in_a_line_on_the_command_line_and_in_a_file(tmp_path: Path) -> None:
    words = ("likelihood=student-t:freedom=3", "pairs=1:neighbours=4", "slower=linear1=0.1,linear2=0.5")
    words += ("dropout_inference=monte-carlo", "dropout_passes=50", "tie_to_start=0.01")
    settings, _ = read_settings({}, words, None)
    assert (settings.likelihood, settings.pairs) == ("student-t:freedom=3", "1:neighbours=4")
    assert settings.slower == ("linear1=0.1", "linear2=0.5")
    assert (settings.dropout_inference, settings.dropout_passes, settings.tie_to_start) == ("monte-carlo", 50, 0.01)
    config = tmp_path / "run.toml"
    config.write_text(
        'likelihood = "student-t:freedom=3"\npairs = "1:neighbours=4"\nslower = ["linear1=0.1", "linear2=0.5"]\n'
        'dropout_inference = "monte-carlo"\ndropout_passes = 50\ntie_to_start = 0.01\n'
    )
    assert read_settings({}, (), str(config))[0] == settings


def test_a_line_that_cannot_be_names_its_place(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('seed = 1\nlikelihood = "student-t:freedm=3"\n')
    with pytest.raises(ConfigError, match=r'line 2: "freedm" is no option of student-t; did you mean "freedom"\?'):
        read_settings({}, (), str(config))
    with pytest.raises(ConfigError, match="--set dropout_inference=mc: dropout_inference must be weight-scaling"):
        read_settings({}, ("dropout_inference=mc",), None)
