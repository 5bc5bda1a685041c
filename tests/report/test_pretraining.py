"""The cards of pre-training: sheets of pictures pixel by pixel, what the page shows, how large it may become."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lamina.errors import CheckpointError
from lamina.methodology.pretrained import PretrainedLayer
from lamina.report.cards import LayerCard
from lamina.report.facts import FitFacts
from lamina.report.page import render
from lamina.report.pretraining import MOST_LAYERS, layer_cards, sheet
from report.demo_facts import digits, run_card

EVIL = '<script>alert("x")</script>'


def pixels(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def layer(number: int = 1, of: int = 2, *, side: int = 28, channels: int = 1, name: str = "linear1") -> PretrainedLayer:
    chance = np.random.default_rng(number)

    def some(n: int) -> np.ndarray:
        return chance.random((n, channels, side, side)).astype(np.float32)

    counts, edges = np.histogram(chance.normal(size=5_000), 40)
    views = {
        "filters": some(48) - 0.5,
        "originals": some(12),
        "reconstructions": some(12),
        "samples": some(12),
        "weights": counts,
        "weight_edges": edges,
        "activities": counts,
        "activity_edges": edges,
    }
    history = [{"epoch": k, "loss": 100.0 / k, "learning_rate": 0.1, "steps": 9 * k} for k in range(1, 6)]
    words = "restricted Boltzmann machine"
    return PretrainedLayer(number, of, name, 500, words, "bernoulli", "reconstruction loss, nats", history, views)


def facts(*layers: PretrainedLayer, examples: bool = True) -> FitFacts:
    return FitFacts(run_card(), digits().data, examples=examples, pretraining=layer_cards(layers))


def test_a_sheet_lays_pictures_in_rows_with_a_transparent_line_between() -> None:
    tiles = np.stack([np.full((1, 2, 3), k / 10) for k in range(5)])
    found = pixels(sheet(tiles, columns=3))
    assert found.shape == (5, 11, 2)  # grey and opacity
    for k in range(5):
        top, left = 3 * (k // 3), 4 * (k % 3)
        assert (found[top : top + 2, left : left + 3, 0] == round(25.5 * k)).all()
        assert (found[top : top + 2, left : left + 3, 1] == 255).all()
    assert (found[2, :, 1] == 0).all() and (found[:, 3, 1] == 0).all() and (found[3:, 7:, 1] == 0).all()


def test_the_loss_is_told_from_the_first_epoch_to_the_last_and_once_where_there_is_one() -> None:
    whole, one = layer(1), layer(2)
    text = re.sub(r"<[^>]+>", "", render(facts(whole, replace(one, history=list(one.history)[:1]))))
    assert "nats, from 100 to 20 in 5 epochs." in text and "nats, 100 in one epoch." in text


def test_colour_stays_and_large_pictures_are_made_smaller() -> None:
    tiles = np.zeros((2, 3, 64, 48))
    tiles[0, 0] = tiles[1, 2] = 1.0
    found = pixels(sheet(tiles))
    assert found.shape == (32, 12 * 25 - 1, 4)
    assert (found[:, :24] == [255, 0, 0, 255]).all() and (found[:, 25:49] == [0, 0, 255, 255]).all()
    beyond = pixels(sheet(np.array([[[[-0.4, 1.7, np.nan]]]])))
    assert beyond[0, :3, 0].tolist() == [0, 255, 0]


def test_a_weight_of_0_is_grey_and_each_filter_has_its_own_scale() -> None:
    one = layer()
    one.views["filters"] = np.array([[[[0.0, 0.2, -0.1]]], [[[0.0, -30.0, 15.0]]], [[[0.0, 0.0, 0.0]]]])
    found = pixels(layer_cards([one])[0].filters)[..., 0]
    assert found[0, :11].tolist() == [128, 255, 64, 0, 128, 0, 191, 0, 128, 128, 128]
    assert layer_cards([one])[0].n_filters == 3


def test_originals_stand_above_reconstructions() -> None:
    one = layer(side=4)
    found = pixels(layer_cards([one])[0].reconstructions)[..., 0]
    for row, name in ((slice(0, 4), "originals"), (slice(5, 9), "reconstructions")):
        np.testing.assert_array_equal(found[row, 5:9], np.round(255 * one.views[name][1, 0]).astype(np.uint8))


def test_the_page_shows_every_layer_and_goes_to_json_and_back() -> None:
    whole = facts(layer(), layer(2, name=EVIL))
    page = render(whole)
    assert 'id="pretraining"' in page and 'href="#pretraining"' in page
    assert page.count('class="sheet"') == 6
    assert EVIL not in page and "&lt;script&gt;" in page
    for words in ("a <bdi>restricted Boltzmann machine", "inputs read as probabilities", "passed down by means"):
        assert words in page
    for key in ("l1-loss", "l1-weights", "l1-activities", "l2-loss"):
        assert f'id="{key}-title"' in page
    again = FitFacts.from_json(whole.to_json())
    assert again == whole and render(again) == page
    assert again.pretraining[0].history[-1] == {"epoch": 5, "loss": 20.0}
    without = render(replace(whole, pretraining=()))
    assert "retraining" not in without


def test_an_old_report_without_layers_is_read() -> None:
    old = facts().to_json()
    del old["pretraining"]
    assert FitFacts.from_json(old).pretraining == ()


def test_the_page_stays_small_with_many_layers_of_large_coloured_noise() -> None:
    many = [layer(k, 9, side=96, channels=3, name=f"linear{k}") for k in range(1, 10)]
    assert len(render(facts(*many))) < 3_000_000
    cards = layer_cards(many)
    assert [bool(card.filters) for card in cards] == [place < MOST_LAYERS for place in range(9)]
    assert all(card.weights.counts for card in cards)


def test_examples_are_left_out_of_page_and_data_where_they_may_not_be_shown() -> None:
    shown, hidden = facts(layer()), facts(layer(), examples=False)
    assert shown.pretraining[0].reconstructions and not hidden.pretraining[0].reconstructions
    assert "training pictures" in render(shown) and "training pictures" not in render(hidden)
    assert hidden.pretraining[0].filters


def test_layers_with_nothing_but_a_curve_have_a_card() -> None:
    bare = replace(layer(), inputs="", method="network grown by a layer")
    for name in ("filters", "originals", "reconstructions", "samples"):
        del bare.views[name]
    page = render(facts(bare))
    assert 'class="sheet"' not in page
    assert "a <bdi>network grown by a layer</bdi>: " in page
    assert 'id="l1-loss-title"' in page


def test_a_picture_that_is_no_base64_is_refused() -> None:
    card = facts(layer()).to_json()
    card["pretraining"][0]["samples"] = '"><script>'
    with pytest.raises(CheckpointError, match="not base64"):
        FitFacts.from_json(card)
    with pytest.raises(CheckpointError, match="not base64"):
        LayerCard(1, 1, "x", 1, "m", "", "f", filters="<")
