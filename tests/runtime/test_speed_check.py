"""A model that is too slow for its camera is told from one that has enough to do."""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.stats import ENOUGH_WINDOWS, SPEED_WINDOW, SpeedCheck, StreamStats


class Counts(StreamStats):
    """Figures that a test sets."""

    served = late = 0

    def served_and_late(self) -> tuple[int, int]:
        return self.served, self.late


@pytest.mark.parametrize(
    ("rate", "served", "late", "too_slow"),
    [
        (None, 100, 0, False),
        (None, 130, 120, False),
        (None, 100, 150, True),
        (5.0, 50, 200, False),  # it has what it asked for, each time after a while
        (5.0, 30, 220, True),
        (5.0, 30, 0, False),  # the camera sends no more than that
        (None, 0, 0, False),  # it is not there
        (None, 0, 9, True),  # all were too old
    ],
)
def test_what_is_too_slow(rate: float | None, served: int, late: int, too_slow: bool) -> None:
    stats, now = Counts(), [0.0]
    check = SpeedCheck(stats, rate, clock=lambda: now[0])
    for _ in range(3):
        stats.served += served
        stats.late += late
        assert check() in {False, too_slow}
        now[0] += SPEED_WINDOW
        assert check() == too_slow
    now[0] += SPEED_WINDOW
    assert not check()  # it is over


def test_a_camera_that_was_away_is_not_judged_by_that_time() -> None:
    stats, now = Counts(), [0.0]
    check = SpeedCheck(stats, 5.0, clock=lambda: now[0])
    stats.served, stats.late, now[0] = 50, 10, 60.0
    assert not check(), "it had its 5 a second in the 10 s in which it was there"
    stats.served, stats.late, now[0] = 60, 60, 60.0 + SPEED_WINDOW
    assert check()


def judgments(rate: float | None, windows: Iterable[tuple[int, int]]) -> list[bool]:
    """What is said after each window of served and late frames."""
    stats, now = Counts(), [0.0]
    check = SpeedCheck(stats, rate, clock=lambda: now[0])
    said = []
    for served, late in windows:
        stats.served += served
        stats.late += late
        now[0] += SPEED_WINDOW
        said.append(check())
    return said


def changes(said: Sequence[bool]) -> int:
    return sum(a != b for a, b in zip([False, *said], said, strict=False))


@pytest.mark.parametrize(
    ("rate", "windows"),
    [
        (5.0, [(39, 60), (41, 58)] * 20),  # its limit of 50, as 78 and 82 %
        (5.0, [(38, 60), (46, 58), (47, 58)] * 20),  # never three good windows in a row
        (None, [(120, 125), (126, 120)] * 20),
        (None, [(100, 130), (150, 70), (155, 60)] * 20),
    ],
)
def test_near_the_limit_it_is_said_once(rate: float | None, windows: list[tuple[int, int]]) -> None:
    said = judgments(rate, windows)
    assert said[-1]
    assert changes(said) == 1


@pytest.mark.parametrize(
    ("rate", "slow", "fast"), [(5.0, (30, 60), (46, 60)), (None, (60, 190), (180, 70))]
)
def test_it_is_over_after_clearly_enough_results(
    rate: float | None, slow: tuple[int, int], fast: tuple[int, int]
) -> None:
    said = judgments(rate, [slow, *[fast] * ENOUGH_WINDOWS, fast])
    assert said == [True] * ENOUGH_WINDOWS + [False, False]
    assert judgments(rate, [slow, (40, 0)]) == [True, False], "nothing is lost any more"


@given(
    st.sampled_from([None, 5.0]),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 250)), max_size=60),
)
def test_it_comes_back_at_most_every_fourth_window(
    rate: float | None, windows: list[tuple[int, int]]
) -> None:
    """Unless nothing is lost for a whole window: that is no matter of the limit."""
    windows = [(served, max(1, late)) for served, late in windows]
    assert changes(judgments(rate, windows)) <= 2 * (len(windows) // (ENOUGH_WINDOWS + 1)) + 1
