"""What nobody may see is not there: not in frames, not in events."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.rules.privacy import (
    FramePrivacy,
    Mask,
    Privacy,
    PrivacyConfig,
    blurred,
    hash_text,
)
from edgecnn_runtime.source.capture import RawFrame, Source
from edgecnn_runtime.source.fake import FakeReader
from edgecnn_runtime.types import Box, Detection, Event, Frame, Pixels, Track

KEY = b"0123456789abcdef"
LEFT = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]


def noise(height: int = 120, width: int = 160) -> Pixels:
    return np.random.default_rng(1).integers(1, 256, (height, width, 3), np.uint8)


def test_a_mask_blacks_out_its_areas_and_nothing_else() -> None:
    pixels = noise()
    before = pixels.copy()
    masked = Mask([LEFT])(pixels)
    assert masked is pixels, "in place, where that may be"
    assert not masked[:, :80].any()
    np.testing.assert_array_equal(masked[:, 81:], before[:, 81:])


def test_a_picture_that_others_have_is_copied() -> None:
    pixels = noise()
    before = pixels.copy()
    pixels.setflags(write=False)
    masked = Mask([LEFT])(pixels)
    assert not masked[:, :80].any()
    np.testing.assert_array_equal(pixels, before)


def test_without_areas_nothing_is_touched() -> None:
    pixels = noise()
    pixels.setflags(write=False)
    assert Mask()(pixels) is pixels


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=8))
def test_every_pixel_inside_is_black(area: list[tuple[float, float]]) -> None:
    """Every corner, too."""
    masked = Mask([area])(np.full((90, 160, 3), 255, np.uint8))
    for x, y in area:
        assert not masked[min(89, int(y * 90)), min(159, int(x * 160))].any()


class Moving:
    """A camera that is mounted on its side; each picture is an array of its own."""

    live, fps = False, 25.0

    def __init__(self) -> None:
        self._count = 0

    def read(self) -> RawFrame | None:
        self._count += 1
        pixels = np.full((160, 120, 3), 200, np.uint8)
        return RawFrame(pixels, self._count / 25) if self._count < 8 else None

    def close(self) -> None: ...


def test_no_frame_leaves_a_source_unmasked() -> None:
    """Areas are drawn on the picture as it is shown: rotated. New ones apply from then on."""
    mask = Mask([LEFT])
    with Source("camera", Moving, rotate=90, mask=mask, read_timeout=None) as source:
        frames = []
        for frame in source:
            frames.append(frame.pixels)
            mask.areas = [[(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)]]
    for pixels in frames:
        assert pixels.shape == (120, 160, 3)
        assert not pixels.flags.writeable
        assert not (pixels[:, :80].any() and pixels[:, 81:].any())
    assert not frames[0][:, :80].any()
    assert not frames[-1][:, 81:].any()
    assert frames[-1][:, :79].all()


def test_a_shared_picture_is_masked_in_a_copy() -> None:
    with Source("fake", lambda: FakeReader(count=2, live=False), mask=Mask([LEFT])) as source:
        assert all(not frame.pixels[:, :32].any() for frame in source)
    with Source("fake", lambda: FakeReader(count=2, live=False)) as source:
        assert all(frame.pixels.all() for frame in source)


def test_what_is_blurred_cannot_be_restored_and_the_rest_stays() -> None:
    pixels = noise()
    box = Box(40.0, 30.0, 100.0, 90.0)
    blurry = blurred(pixels, [box])
    face = blurry[30:90, 40:100].astype(float)
    assert np.abs(np.diff(face, axis=1)).mean() < 3, "the noise had 85"
    np.testing.assert_array_equal(blurry[:20], pixels[:20])
    np.testing.assert_array_equal(blurry[:, 111:], pixels[:, 111:])
    np.testing.assert_array_equal(pixels, noise())


@given(st.tuples(*[st.floats(-1e6, 1e6)] * 4))
def test_any_box_is_blurred_where_it_is_in_the_picture(corners: tuple[float, ...]) -> None:
    out = np.empty((120, 160, 3), np.uint8)
    assert blurred(noise(), [Box(*corners)], out) is out


ME, OTHER = Box(20.0, 20.0, 60.0, 60.0), Box(100.0, 60.0, 140.0, 100.0)


def event(**fields: Any) -> Event:
    frame = noise()
    values: dict[str, Any] = {
        "id": "0" * 32, "type": "recognized", "camera": "gate", "time": 0.0, "text": "KA 1234",
        "part_scores": (0.9,) * 6, "box": ME, "boxes": (ME, OTHER),
        "images": {"frame": frame, "crop": frame[14:66, 14:66].copy()},
        "details": {"listed": "KA1234", "list": "denied", "raw": "KAI234"},
    }  # fmt: skip
    return Event(**{**values, **fields})


def is_visible(pixels: Pixels, box: Box) -> bool:
    """Whether the noise is still there."""
    part = pixels[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)].astype(float)
    return bool(np.abs(np.diff(part, axis=1)).mean() > 20)


WHOLE = Box(0, 0, 52, 52)


def test_whoever_is_unknown_is_blurred() -> None:
    images = Privacy(PrivacyConfig(blur="unknown"))(event()).images
    assert not is_visible(images["frame"], ME)
    assert not is_visible(images["frame"], OTHER)
    assert not is_visible(images["crop"], WHOLE)


def test_who_is_known_is_visible_and_the_others_are_not() -> None:
    images = Privacy(PrivacyConfig(blur="unknown"))(event(name="Anna")).images
    assert is_visible(images["frame"], ME)
    assert not is_visible(images["frame"], OTHER)
    assert is_visible(images["crop"], WHOLE)


def test_the_own_box_may_be_another_one() -> None:
    """Of a lost track in its frame it is predicted, of an event it is what was seen, or cut."""
    near = Box(22.0, 19.0, 63.0, 59.0)
    images = Privacy(PrivacyConfig(blur="unknown"))(event(name="Anna", boxes=(OTHER, near))).images
    assert is_visible(images["frame"], ME)
    assert not is_visible(images["frame"], OTHER)


def test_who_stands_beside_somebody_known_is_blurred_in_the_crop() -> None:
    beside = Box(50.0, 20.0, 90.0, 60.0)
    images = Privacy(PrivacyConfig(blur="unknown"))(event(name="Anna", boxes=(ME, beside))).images
    assert not is_visible(images["crop"], Box(36, 0, 52, 52))
    assert is_visible(images["crop"], Box(0, 0, 28, 52))


def test_everybody_can_be_blurred() -> None:
    images = Privacy(PrivacyConfig(blur="all"))(event(name="Anna")).images
    assert not is_visible(images["frame"], ME)
    assert not is_visible(images["crop"], WHOLE)


def track(number: int, box: Box, state: str = "confirmed") -> Track:
    detection = Detection(box, 0.9, "face", 0)
    return Track(number, state, detection, box, (0.0, 0.0), 0.0, 0.0, 3)


def test_frames_show_those_who_are_known_from_then_on() -> None:
    privacy = FramePrivacy(PrivacyConfig(blur="unknown"))
    frame, tracks = Frame(noise(), 7, 0.0, None, "camera"), [track(1, ME), track(2, OTHER)]
    shown = privacy(frame, tracks)
    assert (shown.index, shown.source) == (7, "camera")
    assert not shown.pixels.flags.writeable
    assert not is_visible(shown.pixels, ME)
    privacy.note(event(track=1, name="Anna"))
    privacy.note(event(track=2))
    shown = privacy(frame, tracks)
    assert is_visible(shown.pixels, ME)
    assert not is_visible(shown.pixels, OTHER)
    assert privacy(frame, [tracks[0], track(2, OTHER, "ended")]) is frame, "nobody to hide"
    np.testing.assert_array_equal(frame.pixels, noise())


def test_frames_are_blurred_as_the_site_asks() -> None:
    frame, tracks = Frame(noise(), 0, 0.0, None, "camera"), [track(1, ME)]
    assert FramePrivacy(PrivacyConfig())(frame, tracks) is frame
    everyone = FramePrivacy(PrivacyConfig(blur="all"))
    everyone.note(event(track=1, name="Anna"))
    assert not is_visible(everyone(frame, tracks).pixels, ME)


def test_the_original_pixels_stay_for_the_models() -> None:
    original = event()
    Privacy(PrivacyConfig(blur="all"))(original)
    np.testing.assert_array_equal(original.images["frame"], noise())


def test_no_pictures_means_none() -> None:
    assert Privacy(PrivacyConfig(images="none"))(event()).images == {}


def test_a_hash_finds_the_same_text_again_and_tells_nothing() -> None:
    hashed = Privacy(PrivacyConfig(text="hash"), KEY)(event())
    assert hashed.text == hash_text("ka-1234", KEY) != hash_text("KA1235", KEY)
    assert hashed.text != hash_text("KA1234", b"another key of the site")
    assert hashed.images == {}, "they show the text"
    assert "1234" not in repr(hashed)
    assert hashed.details == {"list": "denied"}
    assert hashed.part_scores == ()


def test_a_hash_needs_a_secret() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Privacy(PrivacyConfig(text="hash"), b"short")


def test_by_default_nothing_is_changed() -> None:
    original = event()
    assert Privacy(PrivacyConfig())(original) is original
