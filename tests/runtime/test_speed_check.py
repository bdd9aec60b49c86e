"""A model that is too slow for its camera is told from one that has enough to do."""

import pytest

from edgecnn_runtime.stats import SPEED_WINDOW, SpeedCheck, StreamStats


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
