"""``/metrics``: what the daemon is doing, in the text format of Prometheus.

Names and labels are part of the API: dashboards and alerts are written against them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from edgecnn_runtime import __version__
from edgecnn_runtime.source.connection import CameraProblem, CameraState
from edgecnn_runtime.stats import BUCKETS, STAGES, DropReason, Histogram, StatsSnapshot
from edgecnn_runtime.web.operations import CameraStatus, Operations

STATES: tuple[str, ...] = get_args(CameraState)
DROPPED = f"Frames without a result, by reason: {', '.join(get_args(DropReason))}."
PROBLEMS: tuple[str, ...] = tuple(filter(None, get_args(CameraProblem)))
PIPELINE = ("camera", "pipeline")
"""Labels of what is counted for each pipeline of a camera."""


class Metrics:
    """Writes all metrics of a daemon; a registry of its own, so that two daemons share nothing."""

    def __init__(self, operations: Operations, streams: Callable[[], int]) -> None:
        """Prepare to write.

        Args:
            operations: The daemon.
            streams: How many live views and event streams are open.
        """
        self._registry = CollectorRegistry()
        self._registry.register(_OperationsCollector(operations, streams))
        ProcessCollector(registry=self._registry)

    def text(self, accept: str) -> tuple[bytes, str]:
        """All metrics now.

        Args:
            accept: The header ``Accept`` of the request.

        Returns:
            The text and its media type.
        """
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


class _OperationsCollector(Collector):
    def __init__(self, operations: Operations, streams: Callable[[], int]) -> None:
        self._operations = operations
        self._streams = streams

    def collect(self) -> Iterable[Metric]:
        cameras = self._operations.cameras()
        yield InfoMetricFamily("edgecnn_build", "The version.", {"version": __version__})
        ready = GaugeMetricFamily("edgecnn_ready", "Whether the daemon is ready.")
        ready.add_metric([], float(not self._operations.ready()))
        yield ready
        yield from _camera_metrics(cameras)
        yield from _main_stream_metrics(cameras)
        yield from _time_metrics(cameras)
        yield from self._daemon_metrics()

    def _daemon_metrics(self) -> Iterable[Metric]:
        figures = self._operations.figures()
        for name, words, value in (
            ("outbox_events", "Events in the outbox.", figures.outbox_events),
            ("outbox_bytes", "Bytes of the outbox and its evidence.", figures.outbox_bytes),
            ("temperature_celsius", "The hottest sensor of the processor.", figures.temperature),
            ("streams", "Live views and event streams that are open.", self._streams()),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"edgecnn_{name}", words, value)
        words = "Events that could not be stored, on a full disk."
        yield CounterMetricFamily("edgecnn_events_lost", words, figures.events_lost)
        labels = ["sink", "kind"]
        queue = GaugeMetricFamily(
            "edgecnn_sink_queue", "Events that the sink has not been told of yet.", labels=labels
        )
        up = GaugeMetricFamily("edgecnn_sink_up", "Whether the sink answers.", labels=labels)
        delivered = CounterMetricFamily(
            "edgecnn_sink_delivered", "Events that the sink was told of.", labels=labels
        )
        failures = CounterMetricFamily("edgecnn_sink_failures", "Failed deliveries.", labels=labels)
        for sink in figures.sinks:
            place = [sink.name, sink.kind]
            queue.add_metric(place, sink.queue)
            up.add_metric(place, float(not sink.problem))
            delivered.add_metric(place, sink.delivered)
            failures.add_metric(place, sink.failures)
        yield from (queue, up, delivered, failures)


def _camera_metrics(cameras: Sequence[CameraStatus]) -> Iterable[Metric]:
    """State and counters of each camera."""
    state = GaugeMetricFamily(
        "edgecnn_camera_state", "1 for the state that the camera is in.", labels=["camera", "state"]
    )
    problem = GaugeMetricFamily(
        "edgecnn_camera_problem", "1 for what is wrong now.", labels=["camera", "problem"]
    )
    fps = GaugeMetricFamily("edgecnn_camera_fps", "Results per second now.", labels=PIPELINE)
    frames = CounterMetricFamily("edgecnn_frames", "Frames with a result.", labels=PIPELINE)
    objects = CounterMetricFamily(
        "edgecnn_objects", "Objects, classes or texts in them.", labels=PIPELINE
    )
    dropped = CounterMetricFamily("edgecnn_frames_dropped", DROPPED, labels=[*PIPELINE, "reason"])
    reconnects = CounterMetricFamily(
        "edgecnn_camera_reconnects", "How often it was opened again.", labels=["camera"]
    )
    for camera in cameras:
        for name in STATES:
            state.add_metric([camera.name, name], float(camera.state == name))
        for name in PROBLEMS:
            problem.add_metric([camera.name, name], float(camera.problem == name))
        reconnects.add_metric([camera.name], camera.reconnects)
    for place, stats in _by_pipeline(cameras):
        fps.add_metric(place, stats.fps_now)
        frames.add_metric(place, stats.frames)
        objects.add_metric(place, stats.results)
        for reason, count in stats.dropped.items():
            dropped.add_metric([*place, reason], count)
    return state, problem, fps, frames, objects, dropped, reconnects


def _main_stream_metrics(cameras: Sequence[CameraStatus]) -> Iterable[Metric]:
    """State of the streams that crops are cut from, of those cameras that have one."""
    state = GaugeMetricFamily(
        "edgecnn_main_stream_state",
        "1 for the state of the stream that crops are cut from.",
        labels=["camera", "state"],
    )
    reconnects = CounterMetricFamily(
        "edgecnn_main_stream_reconnects", "How often it was opened again.", labels=["camera"]
    )
    for camera in cameras:
        if camera.main is not None:
            for name in STATES:
                state.add_metric([camera.name, name], float(camera.main.state == name))
            reconnects.add_metric([camera.name], camera.main.reconnects)
    return state, reconnects


def _time_metrics(cameras: Sequence[CameraStatus]) -> Iterable[Metric]:
    """Where the time of each pipeline's results went."""
    age = HistogramMetricFamily(
        "edgecnn_frame_age_seconds", "From capture to the result.", labels=PIPELINE
    )
    stage = HistogramMetricFamily(
        "edgecnn_stage_seconds", "Where the time went.", labels=[*PIPELINE, "stage"]
    )
    for place, stats in _by_pipeline(cameras):
        if "age" in stats.histograms:
            age.add_metric(place, *_cumulative(stats.histograms["age"]))
        for name in STAGES:
            if name in stats.histograms:
                stage.add_metric([*place, name], *_cumulative(stats.histograms[name]))
    return age, stage


def _by_pipeline(cameras: Sequence[CameraStatus]) -> Iterator[tuple[list[str], StatsSnapshot]]:
    """The figures of each pipeline of each camera, with the values of PIPELINE."""
    for camera in cameras:
        for name in camera.pipelines:
            yield [camera.name, name], camera.pipeline_stats.get(name, camera.stats)


def _cumulative(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Counts up to each bound, as Prometheus wants them, and the sum."""
    total, buckets = 0, []
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), histogram.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets, histogram.sum
