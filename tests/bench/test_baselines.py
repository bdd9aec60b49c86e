"""What compares edgecnn with others: workers, protocol, environments, races, verdicts."""

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

WORKER = """
print("imported")  # what a worker prints is no answer

def results(first, step=1):
    value = first
    while True:
        if value == 13:
            raise ValueError("unlucky")
        yield value
        value += step

def plain(value):
    return {"value": value}

def add(a, b):
    print("adding")
    return a + b

def leave():
    raise SystemExit(3)
"""


@pytest.fixture
def baselines(root: Path) -> Path:
    return root / "bench" / "baselines"


@pytest.fixture
def load_module(baselines: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports what lies in bench/baselines, as its scripts do."""
    monkeypatch.syspath_prepend(str(baselines))
    monkeypatch.syspath_prepend(str(baselines.parent / "experiments"))
    return importlib.import_module


@pytest.fixture
def worker(load_module: Callable[[str], ModuleType], tmp_path: Path) -> Iterator:
    file = tmp_path / "worker.py"
    file.write_text(WORKER)
    with load_module("runner.process").Worker(file) as started:
        yield started


def test_a_worker_answers_calls_whatever_it_prints(worker) -> None:
    assert worker.call("add", a=2, b=3) == 5
    assert worker.call("add", a="päper", b=" ☃") == "päper ☃"


def test_looking_and_running_go_through_the_same_stream(worker) -> None:
    worker.start(first=0, step=2)
    assert worker.look(2) == [{"value": 0}, {"value": 2}]
    times = worker.run(3)
    assert len(times) == 3
    assert all(time >= 0 for time in times)
    assert worker.look(1) == [{"value": 10}]


def test_a_stream_can_be_started_again(worker) -> None:
    worker.start(first=5)
    worker.look(3)
    worker.start(first=5)
    assert worker.look(1) == [{"value": 5}]


def test_a_worker_that_dies_is_named_with_what_it_printed(load_module, worker) -> None:
    worker.start(first=11)
    with pytest.raises(load_module("runner.process").WorkerDiedError) as error:
        worker.run(5)
    message = str(error.value)
    assert "worker.py died with exit code 1 when asked to run" in message
    assert "imported" in message
    assert "ValueError: unlucky" in message


def test_a_dead_worker_stays_dead(load_module, worker) -> None:
    for _ in range(2):
        with pytest.raises(load_module("runner.process").WorkerDiedError, match="exit code 3"):
            worker.call("leave")


def test_a_worker_that_cannot_be_imported_says_so(load_module, tmp_path: Path) -> None:
    file = tmp_path / "worker.py"
    file.write_text("import a_package_that_nobody_has")
    process = load_module("runner.process")
    with (
        process.Worker(file) as broken,
        pytest.raises(process.WorkerDiedError, match="a_package_that"),
    ):
        broken.start()


def test_workers_see_their_own_environment_only(worker, monkeypatch, tmp_path: Path) -> None:
    """-I: neither PYTHONPATH nor the folder beside serve.py, which has folders of their names."""
    file = tmp_path / "paths.py"
    file.write_text("import sys\ndef paths():\n    return sys.path")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with type(worker)(file) as other:
        paths = other.call("paths")
    assert str(tmp_path) not in paths
    assert not any(path.endswith("bench/baselines") for path in paths)


def test_races_take_turns_and_keep_every_round(load_module, tmp_path: Path) -> None:
    quick, slow = tmp_path / "quick.py", tmp_path / "slow.py"
    body = "import time\ndef results():\n    while True:\n        yield time.sleep({})\n"
    quick.write_text(body.format(0.001))
    slow.write_text(body.format(0.01))
    process, racing = load_module("runner.process"), load_module("runner.race")
    with process.Worker(quick) as one, process.Worker(slow) as other:
        one.start()
        other.start()
        rates = racing.race({"quick": one, "slow": other}, racing.Pace(rounds=4, count=5))
    assert {name: len(values) for name, values in rates.items()} == {"quick": 4, "slow": 4}
    assert all(rate <= 1000 for rate in rates["quick"])
    assert all(rate <= 100 for rate in rates["slow"])


@pytest.mark.parametrize(("least", "count"), [(0.0, 5), (3.0, 5), (20.0, 10)])
def test_a_block_is_long_enough_for_the_quickest(load_module, least: float, count: int) -> None:
    racing = load_module("runner.race")
    asked: list[int] = []

    class Clock:
        def __init__(self, took: float) -> None:
            self._took = took

        def run(self, results: int) -> list[float]:
            asked.append(results)
            return [self._took] * results

    racing.race({"quick": Clock(2.0), "slow": Clock(9.0)}, racing.Pace(1, 5, least))
    assert asked[-1] == asked[3] == count


def names(baselines: Path) -> list[str]:
    return sorted(file.parent.name for file in baselines.glob("*/requirements.txt"))


def test_every_baseline_has_a_worker_a_comparison_and_a_line(baselines: Path) -> None:
    folders = names(baselines)
    assert folders == sorted(file.parent.name for file in baselines.glob("*/worker.py"))
    compared = {file.stem for file in (baselines / "comparisons").glob("[a-z]*.py")}
    assert compared == set(folders)
    command = [sys.executable, str(baselines / "compare.py"), "--help"]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(name in words for name in folders)


def test_every_requirement_is_pinned_and_reasoned(load_module, baselines: Path) -> None:
    requirements = load_module("runner.environments").requirements
    for name in names(baselines):
        assert len(requirements(name)) >= 2


def test_baselines_that_share_a_package_share_its_version(load_module, baselines: Path) -> None:
    """The same engine, the same OpenCV: a race is between the two sides' own work."""
    requirements = load_module("runner.environments").requirements
    versions: dict[str, set[str]] = {}
    for name in names(baselines):
        for package, version in requirements(name).items():
            versions.setdefault(package, set()).add(version)
    assert {package: many for package, many in versions.items() if len(many) > 1} == {}


def test_a_requirement_without_a_version_or_a_reason_is_refused(
    load_module, tmp_path: Path
) -> None:
    environments = load_module("runner.environments")
    (tmp_path / "other").mkdir()
    for line in ("numpy>=2  # arrays", "numpy==2.4.6", "numpy"):
        (tmp_path / "other" / "requirements.txt").write_text(f"# the baseline\n{line}\n")
        with pytest.raises(ValueError, match=r"other/requirements\.txt"):
            environments.requirements("other", tmp_path)


def test_an_unknown_baseline_is_a_usage_error(baselines: Path) -> None:
    command = [sys.executable, str(baselines / "compare.py"), "nobody"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "ultralytics" in done.stderr


def test_a_row_is_reached_if_it_is_fast_enough_and_no_worse(load_module) -> None:
    rows, racing = load_module("runner.rows"), load_module("runner.race")
    fps = {"ours": [30.0] * 8, "theirs": [10.0] * 8}

    def row(**changes):
        speed = racing.faster(fps["ours"], fps["theirs"])
        return msgspec.structs.asdict(
            rows.BaselineRow(
                work="w", ours="ours", theirs="theirs", fps=fps, speed=speed, answers="", **changes
            )
        )

    measured = [row(goal=2.5), row(goal=3.5), row(worse=True), row()]
    assert measured[0]["speed"].value == pytest.approx(3.0)
    assert [rows.reached(each) for each in measured] == [True, False, False, True]
    assert rows.COLUMNS["times as fast"](measured[0]).startswith("3")


def test_boxes_are_found_again_where_they_overlap(load_module) -> None:
    boxes = load_module("runner.boxes")
    theirs = [[[0, 0, 10, 10, 0.9], [50, 50, 60, 60, 0.8]], []]
    ours = [[[1, 0, 10, 10, 0.7]], [[0, 0, 5, 5, 0.9]]]
    assert boxes.overlaps(theirs, ours) == pytest.approx([0.9, 0.0])
    assert boxes.matched_boxes(theirs, ours).startswith("1 of their 2 boxes")


@pytest.mark.slow
def test_opencv_finds_the_faces_of_the_video(load_module, baselines: Path, assets: Path) -> None:
    """One real worker in its real environment, where `make baselines` has made it."""
    python = baselines.parents[1] / ".baselines" / "opencv" / "bin" / "python"
    if not python.is_file():
        pytest.skip("needs .baselines/opencv: `make baselines` makes it")
    with load_module("runner.process").Worker(baselines / "opencv" / "worker.py", python) as worker:
        worker.start(
            model=str(assets / "yunet" / "yunet_n_640_640.onnx"),
            video=str(assets / "faces" / "video.mp4"), frames=2, width=640, height=352,
            score=0.6, iou=0.3,
        )  # fmt: skip
        frames = worker.look(2)
    assert all(6 <= len(faces) <= 10 for faces in frames)
