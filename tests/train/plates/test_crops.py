"""Rendered plates have the text that they should, and come again for the same seed."""

from pathlib import Path

import numpy as np
import pytest

from edgecnn.train.plates import fonts as fonts_module
from edgecnn.train.plates.crops import INPUT, CropMaker
from edgecnn.train.plates.fonts import Fonts, find_fonts
from edgecnn.train.plates.grammar import CHARSET, choose_grammars, grammars
from edgecnn.train.plates.render import render_plate
from edgecnn_runtime.errors import UsageError


def test_a_crop_is_a_function_of_its_seed(maker: CropMaker, fonts: Fonts) -> None:
    again = CropMaker(choose_grammars(()), fonts)
    crops = [maker.crop((3, number)) for number in range(12)]
    for number in reversed(range(12)):
        crop = again.crop((3, number))
        assert np.array_equal(crop.picture, crops[number].picture)
        assert crop.lines == crops[number].lines
    assert len({crop.picture.tobytes() for crop in crops}) == 12


def test_a_crop_knows_where_its_characters_are(maker: CropMaker) -> None:
    inside = 0
    for number in range(40):
        crop = maker.crop((4, number))
        assert crop.picture.shape == (INPUT[1], INPUT[0], 3)
        assert len(crop.lines) == len(crop.columns) in (1, 2)
        for text, xs in zip(crop.lines, crop.columns, strict=True):
            assert set(text) <= set(CHARSET)
            assert len(xs) == len(text)
            assert (np.diff(xs) > 0).all()
            inside += bool((xs > 0).all() and (xs < INPUT[0]).all())
    assert inside > 30


@pytest.mark.parametrize("country", grammars())
def test_ink_is_where_the_characters_are(country: str, fonts: Fonts) -> None:
    plate = render_plate(choose_grammars([country])[0], fonts, np.random.default_rng(1))
    assert plate.country == country
    assert plate.coverage.shape == plate.picture.shape[:2]
    gray = plate.picture.mean(axis=2)
    for points in plate.places:
        for x, y in points.round().astype(int):
            patch = gray[max(0, y - 12) : y + 12, max(0, x - 8) : x + 8]
            assert np.ptp(patch) > 30


def test_missing_fonts_are_named_with_their_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts_module, "SYSTEM", (str(tmp_path),))
    with pytest.raises(UsageError, match=r"apt-get install .*fonts-opendin.*--fonts"):
        find_fonts()
