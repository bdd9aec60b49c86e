"""The curve of a long run, on curves whose shape is known."""

from collections.abc import Callable

import pytest

from edgecnn_bench.schema import Window
from edgecnn_bench.sustained import last_over_first, steady_from, sustained


def curve(
    shape: Callable[[float], float], minutes: float = 20.0, step: float = 5.0
) -> list[Window]:
    times = [step * i for i in range(1, int(minutes * 60 / step) + 1)]
    return [
        Window(at_seconds=t, n=100, p50_ms=shape(t), p95_ms=1.2 * shape(t), reference_ms=2.0,
               mhz=None, celsius=None, watts=None)
        for t in times
    ]  # fmt: skip


def test_a_chip_that_holds_is_steady_from_the_start() -> None:
    windows = curve(lambda _t: 5.0)
    assert last_over_first(windows).value == 1.0
    assert steady_from(windows) == 0.0


def test_a_chip_that_throttles_after_five_minutes_is_found_out() -> None:
    windows = curve(lambda t: 5.0 if t < 300 else 7.5)
    ratio = last_over_first(windows)
    assert ratio.value == pytest.approx(1.5)
    assert ratio.low > 1.4
    assert steady_from(windows) == pytest.approx(300, abs=15)


def test_a_chip_that_never_settles_is_said_not_to() -> None:
    assert steady_from(curve(lambda t: 5.0 + t / 100)) is None


def test_one_odd_window_is_not_a_change_of_state() -> None:
    assert steady_from(curve(lambda t: 9.0 if t == 600 else 5.0)) == 0.0


class Subject:
    """Runs until it is told that somebody pressed Ctrl-C."""

    key, frames = "a", 1

    def __init__(self, stop_after: int) -> None:
        self.left = stop_after

    def run(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def begin(self) -> None: ...

    def stages(self) -> dict[str, list[float]]:
        return {}


def test_a_short_real_run_gives_a_curve() -> None:
    told: list[float] = []
    run = sustained(Subject(-1), 0.01, progress=told.append)
    assert run is not None
    assert len(run.windows) == len(told) > 1
    assert run.windows[-1].at_seconds >= 0.6


def test_interrupted_before_the_first_window_it_gives_nothing() -> None:
    assert sustained(Subject(10_000), 1.0) is None
