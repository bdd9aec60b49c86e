"""The filter of boxes, against the textbook's matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.track import kalman
from edgecnn_runtime.track.kalman import BoxFilter

BOX = np.array([[640.0, 360.0, 60.0, 40.0]])
SIZE = float(np.sqrt(60.0 * 40.0))
seconds = st.lists(st.floats(0.0, 2.0), min_size=1, max_size=8)


def one_axis(steps: list[float], measured: list[float], noise: float) -> tuple[np.ndarray, ...]:
    """Mean and covariance of the x coordinate by full matrices; sizes are held constant."""
    mean = np.array([BOX[0, 0], 0.0])
    covariance = np.diag([kalman.BOX_NOISE * SIZE, kalman.FIRST_VELOCITY[0, 0] * SIZE]) ** 2
    intensity = (kalman.ACCELERATION[0, 0] * SIZE) ** 2
    observe = np.array([[1.0, 0.0]])
    for dt, value in zip(steps, measured, strict=True):
        move = np.array([[1.0, dt], [0.0, 1.0]])
        mean = move @ mean
        added = np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        covariance = move @ covariance @ move.T + intensity * added
        gain = covariance @ observe.T / (observe @ covariance @ observe.T + noise**2)
        mean = mean + (gain * (value - mean[0])).ravel()
        covariance = covariance - gain @ observe @ covariance
    return mean, covariance


@given(steps=seconds, data=st.data())
def test_each_axis_is_the_textbooks_filter(steps: list[float], data: st.DataObject) -> None:
    measured = [data.draw(st.floats(500.0, 800.0)) for _ in steps]
    boxes = BoxFilter()
    boxes.add(BOX)
    noise = np.array([[3.0]])
    for dt, value in zip(steps, measured, strict=True):
        boxes.predict(dt)
        # the sides stay as they are, or the noise, which is relative to them, would change
        box = np.concatenate(([[value]], boxes.position[:, 1:]), axis=1)
        boxes.update([0], box, noise)
    mean, _ = one_axis(steps, measured, 3.0)
    np.testing.assert_allclose(boxes.position[0, 0], mean[0], rtol=1e-9)
    np.testing.assert_allclose(boxes.velocity[0, 0], mean[1], rtol=1e-6, atol=1e-6)


@given(first=st.floats(0.0, 1.0), second=st.floats(0.0, 1.0))
def test_two_steps_are_one_step_of_both(first: float, second: float) -> None:
    """What a dropped frame changes: nothing."""
    two, one = BoxFilter(), BoxFilter()
    for boxes in (two, one):
        boxes.add(BOX)
        boxes.predict(0.1)
        boxes.update([0], BOX + np.array([[10.0, 0.0, 0.0, 0.0]]), np.array([[2.0]]))
    two.predict(first)
    two.predict(second)
    one.predict(first + second)
    np.testing.assert_allclose(two.position, one.position)
    probe = (BOX + 30.0, np.array([[2.0]]))
    np.testing.assert_allclose(two.costs(*probe), one.costs(*probe), rtol=1e-6)


def test_rows_are_kept_and_dropped_together() -> None:
    boxes = BoxFilter()
    boxes.add(np.concatenate([BOX + i for i in range(4)]))
    boxes.keep([3, 1])
    np.testing.assert_array_equal(boxes.position, np.concatenate([BOX + 3, BOX + 1]))
    assert len(boxes) == 2


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_near_and_far_objects_are_treated_alike(scale: float) -> None:
    """A picture of twice the size gives the same costs."""
    boxes = BoxFilter()
    boxes.add(BOX * scale)
    boxes.predict(0.2)
    noise = np.array([[2.0 * scale]])
    squared, doubt = boxes.costs((BOX + 9.0) * scale, noise)
    reference = BoxFilter()
    reference.add(BOX)
    reference.predict(0.2)
    expected = reference.costs(BOX + 9.0, np.array([[2.0]]))
    np.testing.assert_allclose((squared, doubt), expected)
