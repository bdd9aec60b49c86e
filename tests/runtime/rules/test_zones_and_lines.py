"""Where a track is, which line it crossed, and when that is said."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.rules import Happenings, Thresholds
from edgecnn_runtime.rules.lines import check_line
from edgecnn_runtime.rules.zones import check_polygon, contains
from edgecnn_runtime.types import Box, Detection, Point, Track

WIDTH, HEIGHT = 1000, 500
LEFT = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]
RIGHT = [(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)]
DOWN = [(0.2, 0.5), (0.8, 0.5)]
"""Drawn from left to right, so that "in" is downwards."""


def track(x: float, y: float, at: float, state: str = "confirmed", **fields: object) -> Track:
    """A track of 40 × 40 pixels, whose lower edge is at x, y."""
    box = Box(x - 20, y - 40, x + 20, y)
    detection = fields.pop("detection", Detection(box, 0.9, "car", 0))
    values = {"id": 1, "box": box, "velocity": (0.0, 0.0), "first": 0.0, "last": at, "hits": 5}
    return Track(state=state, detection=detection, **{**values, **fields})


def follow(happenings: Happenings, *steps: Track) -> list[tuple[str, ...]]:
    """What happens: type and zone, or type, line and direction."""
    return [
        (each.type, each.line, each.direction) if each.line else (each.type, each.zone)
        for step in steps
        for each in happenings.update([step], step.last, WIDTH, HEIGHT)
    ]


def walk(*points: Point, step: float = 0.2) -> list[Track]:
    return [track(x, y, index * step) for index, (x, y) in enumerate(points)]


def test_a_track_enters_and_leaves_the_picture_once() -> None:
    steps = [track(100, 100, 0.2 * i) for i in range(5)]
    happenings = Happenings()
    assert follow(happenings, track(100, 100, 0.0, "tentative")) == []
    assert follow(happenings, *steps, track(100, 100, 2.0, "lost")) == [("entered", "")]
    assert happenings.counts(1)
    assert follow(happenings, track(100, 100, 3.0, "ended")) == [("left", "")]
    assert not happenings.counts(1)


def test_a_track_that_was_never_confirmed_never_leaves() -> None:
    steps = track(100, 100, 0.0, "tentative"), track(100, 100, 0.2, "ended")
    assert follow(Happenings(), *steps) == []


def test_zones_are_entered_and_left() -> None:
    happenings = Happenings({"left": LEFT, "right": RIGHT})
    path = walk(*[(100, 100)] * 4, *[(900, 100)] * 5)
    assert follow(happenings, *path) == [
        ("entered", "left"),
        ("entered", "right"),
        ("left", "left"),
    ]
    assert happenings.zone(1) == "right"
    assert follow(happenings, track(900, 100, 9.0, "ended")) == [("left", "right")]


def test_a_box_that_trembles_on_the_edge_of_a_zone_stays_where_it_was() -> None:
    happenings = Happenings({"left": LEFT})
    path = walk((490, 100), *[(510, 100), (490, 100)] * 20)
    assert follow(happenings, *path) == [("entered", "left")]


def test_the_lower_edge_of_a_box_counts_or_its_center() -> None:
    """A person whose head is in the zone stands behind it."""
    upper = {"upper": [(0.0, 0.0), (1.0, 0.0), (1.0, 0.3), (0.0, 0.3)]}
    standing = track(500, 160, 0.0)
    assert follow(Happenings(upper), standing) == [("entered", "")]
    assert follow(Happenings(upper, anchor="center"), standing) == [("entered", "upper")]


@pytest.mark.parametrize("per_second", [25, 5, 1])
def test_a_line_is_crossed_once_at_any_rate(per_second: int) -> None:
    heights = [100 + 300 * i / (4 * per_second) for i in range(4 * per_second + 1)]
    there = [track(500, y, i / per_second) for i, y in enumerate(heights)]
    back = [track(500, y, 9 + i / per_second) for i, y in enumerate(reversed(heights))]
    happenings = Happenings(lines={"gate": DOWN})
    assert follow(happenings, *there) == [("entered", ""), ("crossed", "gate", "in")]
    assert follow(happenings, *back) == [("crossed", "gate", "out")]


def test_the_order_of_its_points_turns_a_line() -> None:
    happenings = Happenings(lines={"gate": DOWN[::-1]})
    assert ("crossed", "gate", "out") in follow(happenings, *walk((500, 100), (500, 400)))


def test_a_camera_that_changes_its_resolution_moves_nobody() -> None:
    happenings = Happenings(lines={"gate": DOWN})
    steps = [(1000, 500), (2000, 1000), (500, 250)]
    for index, (width, height) in enumerate(steps):
        step = track(0.5 * width, 0.7 * height, index * 0.2)
        found = happenings.update([step], step.last, width, height)
        assert [each.type for each in found] == ([] if index else ["entered"])


def test_who_stands_on_a_line_does_not_cross_it() -> None:
    heights = [150, 200, *[249, 251] * 20, 252, 248]
    path = walk(*[(500, y) for y in heights])
    assert follow(Happenings(lines={"gate": DOWN}), *path) == [("entered", "")]


def test_a_way_beside_the_line_does_not_cross_it() -> None:
    path = walk(*[(900, y) for y in range(100, 400, 20)])
    assert follow(Happenings(lines={"gate": DOWN}), *path) == [("entered", "")]


@given(st.lists(st.tuples(st.floats(-100, 1100), st.floats(-100, 600)), max_size=30))
def test_in_and_out_alternate_whatever_the_way(points: list[Point]) -> None:
    endless = {"gate": [(0.0, 0.5), (1.0, 0.5)]}
    inside = [(min(max(x, 1.0), WIDTH - 1.0), y) for x, y in points]
    happenings = follow(Happenings(lines=endless), *walk(*inside))
    directions = [each[2] for each in happenings if each[0] == "crossed"]
    assert all(one != other for one, other in itertools.pairwise(directions))


def test_who_stays_is_reported_again_and_again() -> None:
    happenings = Happenings(present=10.0)
    path = [track(100, 100, float(i)) for i in range(35)]
    assert follow(happenings, *path) == [("entered", "")] + [("present", "")] * 3


def test_thresholds_decide_when_a_track_counts() -> None:
    small = Happenings(thresholds=Thresholds(min_size=0.1))
    assert follow(small, track(100, 100, 0.0)) == []
    assert follow(small, track(100, 100, 1.0, "ended")) == []
    late = Happenings(thresholds=Thresholds(min_seconds=1.0))
    path = [track(100, 100, 0.5 * i) for i in range(4)]
    assert [follow(late, step) for step in path] == [[], [], [("entered", "")], []]
    doubtful = Happenings(thresholds=Thresholds(scores={"car": 0.95}))
    assert follow(doubtful, track(100, 100, 0.0)) == []
    person = Detection(Box(80, 60, 120, 100), 0.9, "person", 1)
    assert follow(doubtful, track(100, 100, 0.0, detection=person)) == [("entered", "")]


def test_after_a_reset_everybody_is_new_and_nothing_was_crossed() -> None:
    happenings = Happenings(lines={"gate": DOWN})
    follow(happenings, track(500, 100, 0.0))
    happenings.reset()
    assert follow(happenings, track(500, 400, 1.0)) == [("entered", "")]


@given(st.floats(0, 1), st.floats(0, 1), st.integers(3, 12), st.floats(0.05, 0.5))
def test_a_point_is_in_a_regular_polygon_as_far_as_its_radius(
    x: float, y: float, count: int, radius: float
) -> None:
    polygon = [
        (0.5 + radius * math.cos(2 * math.pi * i / count),
         0.5 + radius * math.sin(2 * math.pi * i / count))
        for i in range(count)
    ]  # fmt: skip
    distance = math.dist((x, y), (0.5, 0.5))
    if distance > radius + 1e-9:
        assert not contains(polygon, (x, y))
    if distance < radius * math.cos(math.pi / count) - 1e-9:
        assert contains(polygon, (x, y))


def test_of_a_star_the_points_are_inside_and_the_middle_is_not() -> None:
    tips = [
        (0.5 + 0.4 * math.sin(4 * math.pi * i / 5), 0.5 - 0.4 * math.cos(4 * math.pi * i / 5))
        for i in range(5)
    ]
    assert contains(tips, (0.5, 0.15))
    assert not contains(tips, (0.5, 0.5))


@pytest.mark.parametrize(("points", "says"), [
    ([(0.1, 0.1), (0.9, 0.9)], "three corners"),
    ([(0.1, 0.1), (0.9, 0.1), (1.2, 0.5)], r"\[1.2, 0.5\] is outside of the picture"),
    ([(0.1, 0.1), (0.9, 0.1), (math.nan, 0.5)], "outside of the picture"),
    ([(0.1, 0.1), (0.9, 0.1), (0.5, 0.1)], "on one line"),
])  # fmt: skip
def test_what_is_no_zone_is_refused(points: list[Point], says: str) -> None:
    with pytest.raises(ConfigError, match=f"zones.lane: .*{says}"):
        check_polygon(points, "zones.lane")


@pytest.mark.parametrize(("points", "says"), [
    ([(0.1, 0.1)], "two points, not 1"),
    ([(0.1, 0.1), (0.1, 0.1)], "the same"),
    ([(0.1, -0.1), (0.1, 0.1)], "outside of the picture"),
])  # fmt: skip
def test_what_is_no_line_is_refused(points: list[Point], says: str) -> None:
    with pytest.raises(ConfigError, match=f"lines.gate: .*{says}"):
        check_line(points, "lines.gate")


@pytest.mark.parametrize(
    ("end", "way"),
    [
        ((100, 100, 140, 120), ""),
        ((104, 100, 144, 120), ""),
        ((160, 90, 200, 110), "right"),
        ((40, 130, 80, 150), "left"),
        ((100, 160, 140, 180), "down"),
        ((110, 30, 150, 50), "up"),
        ((90, 140, 150, 170), "nearer"),
        ((110, 90, 130, 100), "farther"),
    ],
)
def test_who_leaves_went_some_way(end: tuple[int, ...], way: str) -> None:
    happenings, boxes = Happenings(), (Box(100, 100, 140, 120), Box(*end))
    steps = [
        track(0, 0, at, state, box=box, detection=Detection(box, 0.9, "car", 0))
        for at, state, box in ((0.0, "confirmed", boxes[0]), (1.0, "ended", boxes[1]))
    ]
    happened = [each for step in steps for each in happenings.update([step], step.last, 640, 480)]
    assert [(each.type, each.travel) for each in happened] == [("entered", ""), ("left", way)]
