"""A reader that is too slow for its stream is told from a stream whose stamps are slow."""

import pytest

from edgecnn_runtime.source.clock import BEHIND, BEHIND_FOR, MOST_BEHIND, Lag


class Reading:
    """A stream of pictures that is read by somebody who needs ``work`` seconds for each.

    Attributes:
        ages: True ages of the pictures that were not given up.
        given_up: How many were.
    """

    def __init__(self, lag: Lag) -> None:
        self.lag, self.now, self.at = lag, 0.0, 0.0
        self.pts = 0.0
        self.ages: list[float] = []
        self.given_up = 0

    def read(
        self, seconds: float, *, fps: float = 25.0, work: float, pace: float = 1.0,
        noise: float = 0.0, held_until: float = 0.0, key_in: float = 0.0,
    ) -> None:  # fmt: skip
        """Pictures that are sent in so many seconds.

        work: seconds of work for a picture that is not given up. pace: what the stamps advance per
        second. noise: seconds of every read that are no waiting but look like it. held_until: when
        the network lets anything through again.
        """
        end = self.at + seconds
        while self.at < end:
            self.at += 1 / fps
            self.pts += pace / fps
            there = max(self.at, held_until)
            waited = max(0.0, there - self.now) + noise
            self.now = max(self.now, there) + noise
            if self.lag.update(self.pts, self.now, waited, key_in):
                self.given_up += 1
            else:
                self.ages.append(self.now - self.at)
                self.now += work


def test_a_reader_that_keeps_up_gives_nothing_up() -> None:
    reading = Reading(Lag())
    reading.read(3600, work=0.03)
    assert reading.given_up == 0
    assert max(reading.ages) < 0.01


@pytest.mark.parametrize("noise", [0.0, 0.005])
@pytest.mark.parametrize("work", [0.045, 0.08, 0.3])
def test_a_reader_that_is_too_slow_stays_near(work: float, noise: float) -> None:
    """Undetected, it would be minutes behind; so it gives up what it cannot do."""
    reading = Reading(Lag())
    reading.read(5, work=0.01)
    reading.read(120, work=work, noise=noise)
    assert max(reading.ages) < BEHIND + BEHIND_FOR + 2 * work
    used = len(reading.ages) * (work + noise) / 125
    assert used > 0.5  # most of its time goes into pictures


def test_stamps_that_are_slow_are_no_lag() -> None:
    reading = Reading(Lag())
    reading.read(600, fps=15, pace=15 / 25, work=0.02)
    assert reading.given_up == 0


def test_clocks_that_drift_are_no_lag() -> None:
    reading = Reading(Lag())
    reading.read(86400, fps=1, pace=1 - 100e-6, work=0.3)
    assert reading.given_up == 0


def test_what_comes_at_once_after_a_pause_is_caught_up_with() -> None:
    reading = Reading(Lag())
    reading.read(10, work=0.01)
    reading.read(10, work=0.01, held_until=13.0)
    assert reading.given_up == 0
    assert reading.ages[-1] < 0.05


def test_what_cannot_be_caught_up_with_is_given_up() -> None:
    """Whoever needs almost all of the time for new pictures would be late for a minute."""
    reading = Reading(Lag())
    reading.read(10, work=0.01)
    reading.read(10, work=0.038, held_until=13.0)
    assert 25 < reading.given_up < 100
    assert reading.ages[-1] < BEHIND


def test_giving_up_before_a_long_time_without_pictures_comes_later() -> None:
    ages = []
    for key_in in (0.0, 1.0, 4.0, 60.0):
        reading = Reading(Lag())
        reading.read(5, work=0.01)
        reading.read(60, work=0.045, key_in=key_in)
        ages.append(max(reading.ages))
    assert ages == sorted(ages)
    assert ages[1] > ages[0] + 0.05
    assert ages[-1] < MOST_BEHIND + BEHIND_FOR + 0.1


def test_a_camera_that_restarts_its_stamps_is_followed() -> None:
    reading = Reading(Lag())
    reading.read(10, work=0.01)
    reading.pts = 0.0
    reading.read(10, work=0.01)
    assert reading.given_up == 0


def test_a_machine_that_was_slow_and_is_not_any_more_has_every_picture_again() -> None:
    reading = Reading(Lag())
    reading.read(10, work=0.01)
    reading.read(10, work=0.2)
    reading.read(5, work=0.01)
    before = reading.given_up
    assert before > 50
    reading.read(60, work=0.01)
    assert reading.given_up == before
