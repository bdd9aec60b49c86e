"""Verdicts on pairs of reports, and what may not be compared."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from edgecnn_bench.compare import compare, compare_models
from edgecnn_bench.host import Host
from edgecnn_bench.rows import RowSpec
from edgecnn_bench.schema import BenchedModel, BenchReport
from edgecnn_runtime.errors import UsageError

Make = Callable[..., BenchReport]
NewJob = Callable[..., RowSpec]


def verdicts(comparison: Any) -> set[str]:
    return {change.verdict for change in comparison.changes}


def test_two_runs_of_the_same_thing_are_not_called_different(make_report: Make) -> None:
    base = make_report(100)
    for seed in range(10):
        assert verdicts(compare(base, make_report(seed))) <= {"same", "unclear"}


def test_a_planted_slowdown_of_a_fifth_is_called_in_every_row(
    make_report: Make, new_job: NewJob
) -> None:
    rows = {new_job(): 9.0, new_job(threads=2): 5.0, new_job("frame"): 9.4}
    slower = {spec: ms * 1.2 for spec, ms in rows.items()}
    base = make_report(100, rows)
    for seed in range(10):
        comparison = compare(base, make_report(seed, slower))
        assert verdicts(comparison) == {"slower"}
        assert len(comparison.worse(0.10)) == 3
        assert not comparison.worse(0.50)


def test_base_and_new_in_one_run_are_told_apart_finely(make_report: Make, new_job: NewJob) -> None:
    def verdicts_of(seed: int, new: float) -> set[str]:
        report = make_report(seed, {new_job(model="base"): 5.0, new_job(model="new"): new})
        comparison = compare_models(report)
        assert comparison is not None
        return verdicts(comparison)

    for seed in range(10):
        assert verdicts_of(seed, 5.0) <= {"same", "unclear"}
        assert verdicts_of(seed, 6.0) == {"slower"}
        assert verdicts_of(seed, 4.0) == {"faster"}


def test_within_a_run_there_is_nothing_to_compare_but_two_bundles(
    make_report: Make, new_job: NewJob
) -> None:
    assert compare_models(make_report()) is None
    apart = {new_job(model="base"): 5.0, new_job(model="new", threads=2): 5.0}
    assert compare_models(make_report(1, apart)) is None


def test_a_noisy_machine_is_said_to_be_noisy(make_report: Make, new_job: NewJob) -> None:
    base = make_report(1, {new_job(): 5.0}, rounds=5)
    assert verdicts(compare(base, make_report(2, {new_job(): 9.0}, rounds=5))) == {"unclear"}


def test_different_hosts_are_refused_unless_told(make_report: Make, jetson: Host) -> None:
    base, new = make_report(1), replace(make_report(2), host=jetson)
    with pytest.raises(UsageError, match="--any-host"):
        compare(base, new)
    assert any("different hosts" in note for note in compare(base, new, any_host=True).notes)


def test_different_models_are_refused_unless_told(make_report: Make) -> None:
    other = BenchedModel(
        name="plates", digest="e" * 64, source_sha256="b" * 64, task="ocr", input="94x24"
    )
    base, new = make_report(1), replace(make_report(2), models=(other,))
    with pytest.raises(UsageError, match=r"digits / plates.*--any-model"):
        compare(base, new)
    assert compare(base, new, any_model=True).changes


def test_different_reference_workloads_are_never_compared(make_report: Make) -> None:
    base, new = make_report(1), make_report(2)
    old = replace(base, machine=replace(base.machine, reference="mix-0"))
    with pytest.raises(UsageError, match="mix-0"):
        compare(old, new, any_host=True, any_model=True)


def test_rows_of_one_side_only_are_listed(make_report: Make, new_job: NewJob) -> None:
    base = make_report(1, {new_job(): 5.0, new_job(threads=2): 3.0})
    new = make_report(2, {new_job(): 5.0, new_job(backend="openvino"): 4.0})
    comparison = compare(base, new)
    assert [len(comparison.changes), len(comparison.gone), len(comparison.added)] == [1, 1, 1]
    assert "2 threads" in comparison.gone[0]
    assert "openvino" in comparison.added[0]


def test_nothing_in_common_is_an_error(make_report: Make, new_job: NewJob) -> None:
    with pytest.raises(UsageError, match="no row in common"):
        compare(make_report(1, {new_job(): 5.0}), make_report(2, {new_job(threads=2): 5.0}))


def test_frames_of_another_size_are_other_work(make_report: Make, new_job: NewJob) -> None:
    base, new = (make_report(seed, {new_job("frame"): 5.0, new_job(): 4.0}) for seed in (1, 2))
    new = replace(new, settings=replace(new.settings, frame="640x480 clip.mp4"))
    assert [change.key.split(":")[0] for change in compare(base, new).changes] == ["engine"]


def test_what_else_differs_is_noted(make_report: Make) -> None:
    base, new = make_report(1), replace(make_report(2), partial=True)
    versions = new.host.versions | {"onnxruntime": "9.9.9"}
    new = replace(new, host=replace(new.host, versions=versions, kernel="9.9"))
    notes = compare(base, new).notes
    assert any(note.startswith("onnxruntime ") and note.endswith("→ 9.9.9") for note in notes)
    assert any(note.startswith("kernel ") for note in notes)
    assert any("interrupted" in note for note in notes)
