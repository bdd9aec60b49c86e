"""What other pipelines saw is hidden in every picture, also between two of their looks."""

import threading
import time

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgecnn_runtime.daemon.looks import MEMORY, ROUNDING, SAME_MOMENT, CameraLooks, Look, Neighbors
from edgecnn_runtime.rules.privacy import Privacy, PrivacyConfig
from edgecnn_runtime.types import Box, Event

HERE = Box(0.4, 0.4, 0.5, 0.5)


def contains(boxes: list[Box] | None, inner: Box) -> bool:
    assert boxes is not None
    return any(
        outer.x1 <= inner.x1 + 1e-9
        and outer.y1 <= inner.y1 + 1e-9
        and outer.x2 >= inner.x2 - 1e-9
        and outer.y2 >= inner.y2 - 1e-9
        for outer in boxes
    )


def test_of_the_same_frame_the_boxes_are_those_of_the_other_pipeline() -> None:
    looks = CameraLooks(2)
    looks.add(1, Look(9.8, {1: Box(0.1, 0.1, 0.2, 0.2)}))
    looks.add(1, Look(10.0, {1: HERE}))
    looks.add(1, Look(10.2, {1: Box(0.7, 0.7, 0.8, 0.8)}))
    assert looks.others(0, 10.0) == [HERE]
    assert looks.others(1, 10.0) is None, "the other one has seen nothing yet"


@given(
    speed=st.tuples(*[st.floats(-SAFE, SAFE) for SAFE in (0.9, 0.9)]),
    share=st.floats(0.0, 1.0),
    period=st.floats(0.06, 2.0),
)
def test_whoever_moves_is_hidden_between_two_looks(
    speed: tuple[float, float], share: float, period: float
) -> None:
    def at(seconds: float) -> Box:
        dx, dy = speed[0] * seconds, speed[1] * seconds
        return Box(HERE.x1 + dx, HERE.y1 + dy, HERE.x2 + dx, HERE.y2 + dy)

    looks = CameraLooks(2, patience=0.0)
    looks.add(1, Look(10.0, {7: at(0.0)}))
    looks.add(1, Look(10.0 + period, {7: at(period)}))
    assume(min(share, 1.0 - share) * period > 2 * ROUNDING or share in {0.0, 1.0})
    assert contains(looks.others(0, 10.0 + share * period), at(share * period))


@given(speed=st.floats(-0.99, 0.99), seconds=st.floats(0.0, 1.0), comes=st.booleans())
def test_whoever_comes_or_goes_between_two_looks_is_hidden_around_where_they_were(
    speed: float, seconds: float, comes: bool
) -> None:
    """A box of a tenth of the picture moves by at most ten times its size a second."""
    looks = CameraLooks(2, patience=0.0)
    sees: dict[int, Box] = {7: HERE}
    looks.add(1, Look(10.0, {} if comes else sees))
    looks.add(1, Look(11.0, sees if comes else {}))
    moment = 11.0 - seconds if comes else 10.0 + seconds
    away = -speed * seconds if comes else speed * seconds
    if 10.0 + 2 * ROUNDING < moment < 11.0 - 2 * ROUNDING:
        there = Box(HERE.x1 + away, HERE.y1, HERE.x2 + away, HERE.y2)
        assert contains(looks.others(0, moment), there)


def test_a_picture_waits_until_the_others_have_looked() -> None:
    looks = CameraLooks(3, patience=30.0)
    looks.add(1, Look(10.0, {}))
    answers: list[list[Box] | None] = []
    waiting = threading.Thread(target=lambda: answers.append(looks.others(0, 10.0)))
    waiting.start()
    looks.add(2, Look(10.0 - 2 * SAME_MOMENT, {1: HERE}))
    waiting.join(0.2)
    assert answers == []
    looks.add(2, Look(10.0 - SAME_MOMENT / 2, {1: HERE}))
    waiting.join(30)
    assert contains(answers[0], HERE)


def test_nobody_waits_for_a_camera_that_ends() -> None:
    looks = CameraLooks(2, patience=3600.0)
    answers: list[list[Box] | None] = []
    waiting = threading.Thread(target=lambda: answers.append(looks.others(0, 10.0)))
    waiting.start()
    looks.close()
    waiting.join(30)
    assert answers == [None]


def test_what_is_forgotten_is_not_known() -> None:
    looks = CameraLooks(2, patience=0.0)
    looks.add(1, Look(10.0, {1: HERE}))
    assert looks.others(0, 10.0) == [HERE]
    looks.add(1, Look(10.0 + MEMORY + 1, {}))
    assert looks.others(0, 10.0) is None


@pytest.mark.parametrize("error", [-0.0005, 0.0, 0.0005])
def test_the_same_frame_is_recognized_by_a_rounded_time(error: float) -> None:
    looks = CameraLooks(2, patience=0.0)
    looks.add(1, Look(9.8, {2: HERE}))
    looks.add(1, Look(10.0, {1: HERE}))
    looks.add(1, Look(10.2, {2: HERE}))
    assert looks.others(0, 10.0 + error) == [HERE]


def test_what_another_pipeline_would_have_seen_in_an_outage_is_not_known() -> None:
    looks = CameraLooks(2, patience=0.0, gap=2.0)
    looks.add(1, Look(10.0, {1: HERE}))
    looks.add(1, Look(30.0, {1: HERE}))
    assert looks.others(0, 12.5) is None
    assert looks.others(0, 27.5) is None
    assert contains(looks.others(0, 11.0), HERE)
    assert contains(looks.others(0, 29.0), HERE)


def test_nobody_waits_twice_for_a_pipeline_that_does_not_look() -> None:
    """The second time would take an hour."""
    looks = CameraLooks(3, patience=0.01)
    looks.add(1, Look(10.0, {}))
    assert looks.others(0, 10.0) is None
    looks._patience = 3600.0
    assert looks.others(0, 10.0) is None
    answers: list[list[Box] | None] = []
    looks.add(2, Look(9.0, {}))
    waiting = threading.Thread(target=lambda: answers.append(looks.others(0, 10.0)))
    waiting.start()
    waiting.join(0.2)
    assert answers == [], "it looks again"
    looks.add(2, Look(10.0, {1: HERE}))
    waiting.join(30)
    assert answers == [[HERE]]


def stored(looks: CameraLooks, moment: float) -> Event:
    """An event of somebody known, as it is stored where whoever is unknown is blurred."""
    pixels = np.random.default_rng(0).integers(0, 255, (100, 200, 3), np.uint8)
    own = Box(10, 10, 40, 40)
    event = Event(
        id="1", type="recognized", camera="gate", name="Ada", box=own, boxes=(own,),
        time=time.time() - (time.monotonic() - moment),
        images={"frame": pixels, "crop": pixels[10:40, 10:40]},
    )  # fmt: skip
    with_boxes = Neighbors(looks, 0).complete(event)
    return Privacy(PrivacyConfig(blur="unknown"))(with_boxes)


def test_what_is_stored_hides_whoever_another_pipeline_saw() -> None:
    looks, moment = CameraLooks(2, patience=0.0), time.monotonic()
    looks.add(1, Look(moment, {3: HERE}))
    frame = stored(looks, moment).images["frame"]
    plain = np.random.default_rng(0).integers(0, 255, (100, 200, 3), np.uint8)
    assert np.abs(np.diff(frame[41:49, 82:98].astype(int), axis=1)).max() < 60, "it was noise"
    assert (frame[10:40, 10:40] == plain[10:40, 10:40]).all(), "who is known is shown"


@pytest.mark.parametrize("looked", [False, True])
def test_without_the_others_no_frame_is_stored(looked: bool) -> None:
    looks, moment = CameraLooks(2, patience=0.0), time.monotonic()
    if looked:
        looks.add(1, Look(moment - 1.0, {}))
    images = stored(looks, moment).images
    assert set(images) == {"crop"}
    assert np.abs(np.diff(images["crop"][2:5].astype(int), axis=1)).max() < 60, "blurred, too"
