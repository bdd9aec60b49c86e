"""The rounds: who runs when, what is kept, and what an interruption leaves."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from edgecnn_bench.latency import measure, time_calls
from edgecnn_bench.schema import BenchSettings


class Counted:
    """A workload that notes every call in a list shared by all of them."""

    frames = 1

    def __init__(self, key: str, diary: list[str], stop_after: int = 0) -> None:
        self.key, self.diary, self.stop_after = key, diary, stop_after
        self.calls = self.begun = 0

    def run(self) -> None:
        self.calls += 1
        if self.diary[-1:] != [self.key]:
            self.diary.append(self.key)
        if self.calls == self.stop_after:
            raise KeyboardInterrupt

    def begin(self) -> None:
        self.begun = self.calls

    def stages(self) -> Mapping[str, Sequence[float]]:
        return {"engine": [1.0] * (self.calls - self.begun)}


@pytest.fixture
def settings() -> BenchSettings:
    return BenchSettings(
        seconds=0.04, rounds=8, warmup_seconds=0.0, seed=3, frame="", cold_starts=0
    )  # fmt: skip


def test_every_subject_gets_one_slot_in_every_round(settings: BenchSettings) -> None:
    diary: list[str] = []
    workloads = [Counted(key, diary) for key in "abc"]
    samples = measure(workloads, settings)
    assert not samples.partial
    for workload in workloads:
        own = samples.workloads[workload.key]
        assert own.rounds == list(range(8))
        assert all(len(times) >= 3 for times in own.times)
        assert len(own.stages["engine"]) == sum(map(len, own.times))
    assert len(samples.moments) == 8
    assert all(moment.reference_ms > 0 for moment in samples.moments)


def test_the_order_changes_from_round_to_round(settings: BenchSettings) -> None:
    diary: list[str] = []
    measure([Counted(key, diary) for key in "abc"], settings)
    assert len({tuple(diary[i : i + 3]) for i in range(0, len(diary) - 3, 3)}) > 1


def test_an_interruption_keeps_what_was_measured(settings: BenchSettings) -> None:
    diary: list[str] = []
    probe = Counted("a", diary)
    measure([probe], settings)
    half = Counted("b", diary, stop_after=probe.calls // 2)
    samples = measure([Counted("a", diary), half], settings)
    assert samples.partial
    done = len(samples.workloads["b"].rounds)
    assert 0 < done < 8
    assert len(samples.workloads["a"].rounds) in {done, done + 1}
    assert len(samples.moments) > max(samples.workloads["a"].rounds)


def test_an_interruption_in_the_warm_up_leaves_nothing(settings: BenchSettings) -> None:
    samples = measure([Counted("a", [], stop_after=1)], settings)
    assert samples.partial
    assert not samples.workloads["a"].times


def test_progress_counts_the_rounds(settings: BenchSettings) -> None:
    told: list[int] = []
    measure([Counted("a", [])], settings, progress=told.append)
    assert told == list(range(1, 9))


@pytest.mark.parametrize("at_least", [1, 5])
def test_a_slow_run_is_still_repeated(at_least: int) -> None:
    assert len(time_calls(lambda: None, 0.0, at_least=at_least)) >= at_least


def test_times_are_those_of_the_call(planted: Callable[..., object]) -> None:
    """Not an assertion on a clock: the clock's own readings must add up to less than the whole."""
    import time

    start = time.perf_counter_ns()
    times = np.array(time_calls(lambda: sum(range(1000)), 0.01))
    assert (times > 0).all()
    assert times.sum() <= time.perf_counter_ns() - start


def test_the_collector_is_left_as_it_was() -> None:
    import gc

    with pytest.raises(ZeroDivisionError):
        time_calls(lambda: 1 // 0, 0.01)
    assert gc.isenabled()
