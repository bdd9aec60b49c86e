"""/metrics, read by Prometheus' own parser and checked by its own tool."""

import shutil
import subprocess
from collections.abc import Callable
from typing import get_args

import pytest
from msgspec.structs import replace

pytest.importorskip("prometheus_client", reason="needs the serve extra")
from prometheus_client.parser import text_string_to_metric_families

from edgecnn_runtime.delivery import SinkStatus
from edgecnn_runtime.stats import DropReason
from edgecnn_runtime.types import FrameResult
from edgecnn_runtime.web.fake import FakeOperations
from edgecnn_runtime.web.metrics import Metrics
from edgecnn_runtime.web.operations import Figures, LiveView, StreamStatus

FACES = "pipeline=faces"
SINK = SinkStatus(name="home", kind="mqtt", queue=3, delivered=40, failures=2, problem="refused")


@pytest.fixture
def text(operations: FakeOperations, view: Callable[..., LiveView], make_squares: Callable) -> str:
    """Of two cameras, one of which showed three frames and stalled."""
    for index in range(3):
        operations.show("gate", view(index, make_squares(index), age=0.25))
    operations.set_state("gate", "stalled")
    operations.problem = "the model is not loaded yet"
    operations.current_figures = Figures(
        outbox_events=7, outbox_bytes=4096, events_lost=1, sinks=[SINK], temperature=51.5
    )
    return Metrics(operations, lambda: 2).text("")[0].decode()


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Values by name and labels."""
    return {
        (name, *(f"{key}={labels[key]}" for key in sorted(labels))): value
        for family in text_string_to_metric_families(text)
        for name, labels, value, *_ in family.samples
    }


def test_it_says_what_the_cameras_do(text: str) -> None:
    found = samples(text)
    gate, yard = "camera=gate", "camera=yard"
    assert found["edgecnn_camera_state", gate, "state=stalled"] == 1
    assert found["edgecnn_camera_state", gate, "state=live"] == 0
    assert found["edgecnn_camera_state", yard, "state=live"] == 1
    for name in ("edgecnn_frames_total", "edgecnn_objects_total"):
        assert found[name, gate, FACES] == 3
    assert found["edgecnn_camera_fps", yard, FACES] == 0
    assert found["edgecnn_camera_problem", yard, "problem=frozen"] == 0


def test_histograms_add_up(text: str) -> None:
    found = samples(text)
    gate = "camera=gate"
    assert found["edgecnn_frame_age_seconds_count", gate, FACES] == 3
    assert found["edgecnn_frame_age_seconds_sum", gate, FACES] == pytest.approx(0.75)
    assert found["edgecnn_frame_age_seconds_bucket", gate, "le=0.2", FACES] == 0
    assert found["edgecnn_frame_age_seconds_bucket", gate, "le=0.3", FACES] == 3
    for stage, seconds in (("wait", 0.02), ("prepare", 0.002), ("infer", 0.03), ("decode", 0.001)):
        total = found["edgecnn_stage_seconds_sum", gate, FACES, f"stage={stage}"]
        assert total == pytest.approx(3 * seconds)


def test_it_says_what_the_daemon_does(text: str) -> None:
    found = samples(text)
    assert found["edgecnn_ready",] == 0
    assert found["edgecnn_outbox_events",] == 7
    assert found["edgecnn_outbox_bytes",] == 4096
    assert found["edgecnn_events_lost_total",] == 1
    assert found["edgecnn_temperature_celsius",] == 51.5
    assert found["edgecnn_streams",] == 2
    sink = ("kind=mqtt", "sink=home")
    assert found[("edgecnn_sink_queue", *sink)] == 3
    assert found[("edgecnn_sink_up", *sink)] == 0
    assert found[("edgecnn_sink_delivered_total", *sink)] == 40
    assert found[("edgecnn_sink_failures_total", *sink)] == 2
    assert found["process_resident_memory_bytes",] > 1e6


def test_what_has_no_value_is_left_out(operations: FakeOperations) -> None:
    found = samples(Metrics(operations, lambda: 0).text("")[0].decode())
    assert ("edgecnn_temperature_celsius",) not in found
    assert not [key for key in found if key[0].startswith("edgecnn_frame_age")]


def test_frames_without_an_age_have_no_age(
    operations: FakeOperations, frame_result: Callable[..., FrameResult]
) -> None:
    operations.show("yard", LiveView(frame_result([])))
    found = samples(Metrics(operations, lambda: 0).text("")[0].decode())
    yard = ("camera=yard", FACES)
    assert ("edgecnn_frame_age_seconds_count", *yard) not in found
    assert found[("edgecnn_stage_seconds_count", *yard, "stage=infer")] == 1
    assert ("edgecnn_stage_seconds_count", *yard, "stage=wait") not in found


def test_every_pipeline_of_a_camera_has_its_own_series(
    operations: FakeOperations, view: Callable[..., LiveView], make_squares: Callable
) -> None:
    operations.pipelines = ["faces", "plates"]
    for index in range(3):
        result = view(index, make_squares(index), age=0.25)
        operations.show("gate", replace(result, pipeline="plates"))
        if index == 0:
            operations.show("gate", replace(result, pipeline="faces"))
    found = samples(Metrics(operations, lambda: 0).text("")[0].decode())
    for pipeline, count in (("faces", 1), ("plates", 3)):
        place = ("camera=gate", f"pipeline={pipeline}")
        assert found[("edgecnn_frames_total", *place)] == count
        assert found[("edgecnn_frame_age_seconds_count", *place)] == count
        assert found[("edgecnn_stage_seconds_count", *place, "stage=infer")] == count
    assert ("edgecnn_frames_total", "camera=yard", "pipeline=plates") in found


def test_prometheus_own_tool_finds_nothing_wrong(text: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs Debian's prometheus")
    command = [promtool, "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_stream_that_crops_are_cut_from_has_a_state_of_its_own(
    operations: FakeOperations,
) -> None:
    main = StreamStatus(state="backing-off", since=0.0, reason="gone", reconnects=4)
    operations.main_streams["gate"] = main
    found = samples(Metrics(operations, lambda: 0).text("")[0].decode())
    assert found["edgecnn_main_stream_state", "camera=gate", "state=backing-off"] == 1
    assert found["edgecnn_main_stream_state", "camera=gate", "state=live"] == 0
    assert found["edgecnn_main_stream_reconnects_total", "camera=gate"] == 4
    assert ("edgecnn_main_stream_state", "camera=yard", "state=live") not in found
    assert found["edgecnn_camera_state", "camera=gate", "state=live"] == 1


def test_the_reasons_of_drops_are_in_the_help(text: str) -> None:
    (words,) = [line for line in text.splitlines() if "HELP edgecnn_frames_dropped" in line]
    for reason in get_args(DropReason):
        assert reason in words
