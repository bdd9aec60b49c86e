import numpy as np
import pytest

from edgecnn.demo.strokes import FORMS, draw_digit


def test_every_digit_has_forms_inside_its_box() -> None:
    assert sorted(FORMS) == list(range(10))
    for form in (form for forms in FORMS.values() for form in forms):
        for stroke in form:
            assert len(stroke) >= 2
            assert all(0 <= value <= 1 for point in stroke for value in point)


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_fills_its_picture_and_leaves_a_margin(digit: int) -> None:
    for seed in range(20):
        ink = draw_digit(digit, 64, np.random.default_rng(seed))
        assert ink.shape == (64, 64)
        assert ink.dtype == np.uint8
        assert ink.max() == 255
        rows = np.flatnonzero(ink.max(axis=1) > 128)
        assert 0.5 * 64 < rows[-1] - rows[0] < 64 - 2
        assert max(ink[0].max(), ink[-1].max(), ink[:, 0].max(), ink[:, -1].max()) == 0


def test_the_seed_is_the_hand() -> None:
    def draw(seed: int) -> np.ndarray:
        return draw_digit(5, 48, np.random.default_rng(seed))

    assert np.array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))
