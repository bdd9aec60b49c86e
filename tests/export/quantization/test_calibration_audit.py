"""The audit of calibration pictures tells in plain words what makes them untrustworthy."""

import cv2
import msgspec
import numpy as np
import pytest

from edgecnn_export.quantization.calibration_audit import (
    audit_pictures,
    image_hashes,
)
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.types import Pixels


def names(pixels: Pixels) -> list[str]:
    return [f"{index}.png" for index in range(len(pixels))]


def varied(count: int, seed: int = 0) -> Pixels:
    random = np.random.default_rng(seed)
    small = random.integers(30, 220, (count, 6, 6, 3), np.uint8)
    return np.stack([cv2.resize(one, (48, 48), interpolation=cv2.INTER_CUBIC) for one in small])


def test_many_varied_pictures_give_no_warning() -> None:
    pixels = varied(120)
    audit = audit_pictures(pixels, names(pixels), evaluation=image_hashes(varied(50, seed=1)))
    assert audit.count == audit.different == 120
    assert audit.warnings == []


@pytest.mark.parametrize(
    ("count", "words"), [(1, "one picture"), (30, "only 30 calibration pictures")]
)
def test_few_pictures_are_said_to_be_few(count: int, words: str) -> None:
    pixels = varied(count)
    assert any(words in warning for warning in audit_pictures(pixels, names(pixels)).warnings)


def test_one_scene_over_and_over_is_noticed() -> None:
    random = np.random.default_rng(0)
    noise = random.integers(-3, 4, (120, 48, 48, 3))
    pixels = np.clip(varied(1)[0].astype(int) + noise, 0, 255).astype(np.uint8)
    audit = audit_pictures(pixels, names(pixels))
    assert audit.different == 1
    assert any("only 1 of 120" in warning for warning in audit.warnings)


def test_black_pictures_are_named_and_only_black_ones_refused() -> None:
    pixels = varied(110)
    pixels[7] = 0
    audit = audit_pictures(pixels, names(pixels))
    assert audit.blank == ("7.png",)
    assert any("shows nothing" in warning and "7.png" in warning for warning in audit.warnings)
    with pytest.raises(UsageError, match="all 5 calibration pictures are one flat color"):
        audit_pictures(np.zeros((5, 48, 48, 3), np.uint8), names(pixels[:5]))


def test_a_picture_unlike_the_others_is_an_outlier() -> None:
    pixels = varied(110)
    pixels[3] = np.clip(pixels[3].astype(int) // 8 + 225, 0, 255)
    assert audit_pictures(pixels, names(pixels)).outliers == ("3.png",)


def test_calibrating_on_the_test_set_is_noticed_even_scaled_and_recompressed() -> None:
    pixels, evaluation = varied(110), list(varied(40, seed=1))
    for index in (2, 9):
        _, jpeg = cv2.imencode(".jpg", cv2.resize(pixels[index], (96, 64)))
        copy = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
        evaluation.append(cv2.resize(copy, (48, 48), interpolation=cv2.INTER_AREA))
    audit = audit_pictures(pixels, names(pixels), evaluation=image_hashes(evaluation))
    assert audit.leaked == ("2.png", "9.png")
    assert any("evaluation data too" in warning for warning in audit.warnings)


def test_evaluation_data_beyond_the_calibrated_ranges_is_said() -> None:
    pixels = varied(120)
    audit = msgspec.structs.replace(audit_pictures(pixels, names(pixels)), coverage=0.6)
    assert any("40.0 % of the layers leave" in warning for warning in audit.warnings)
