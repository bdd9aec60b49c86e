"""From frames to results, with a real model and real sources."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.inference import ModelInference
from edgecnn_runtime.model import Model, load
from edgecnn_runtime.source import open_source
from edgecnn_runtime.stats import StreamStats
from edgecnn_runtime.types import Box, Classification, Detection, Frame, FrameResult, Reading

MakeClip = Callable[..., Path]
MakeResult = Callable[..., FrameResult]
FACE = Detection(Box(10.0, 20.0, 110.25, 140.0), 0.93123, "face", 0, ((30.0, 40.5),))


@pytest.fixture(scope="module")
def model(make_bundle: Callable[..., Path]) -> Iterator[Model]:
    with load(make_bundle("pipeline"), backend="onnxruntime") as model:
        yield model


def test_every_frame_is_seen(model: Model, tmp_path: Path, make_clip: MakeClip) -> None:
    pipeline = ModelInference(model)
    with open_source(make_clip(tmp_path / "clip.mp4", frames=12)) as source:
        results = [pipeline([frame])[0] for frame in source]
    assert [result.frame.index for result in results] == list(range(12))
    for result in results:
        direct = model(result.frame)
        assert isinstance(result.result, Classification)
        assert isinstance(direct, Classification)
        np.testing.assert_array_equal(result.result.scores, direct.scores)
        assert result.age is None
        assert result.timings.total > 0


def test_a_live_result_has_an_age(model: Model, tmp_path: Path, make_clip: MakeClip) -> None:
    with open_source(make_clip(tmp_path / "clip.mp4", frames=5), realtime=True) as source:
        for frame in source:
            (result,) = ModelInference(model)([frame])
            assert result.age == pytest.approx(result.timings.wait + result.timings.total)
            assert result.timings.wait > 0
            assert result.timings.infer > 0


def test_frames_of_several_cameras_make_one_batch(
    make_bundle: Callable[..., Path], make_squares: Callable[[int], Any]
) -> None:
    frames = [Frame(make_squares(i), i, 0.0, None, str(i)) for i in range(3)]
    bundle = make_bundle("batches")
    with load(bundle, backend="onnxruntime", batch=4) as four, load(bundle) as one:
        together = ModelInference(four)(frames)
        apart = [ModelInference(one)([frame])[0] for frame in frames]
    assert [result.frame for result in together] == frames
    for left, right in zip(together, apart, strict=True):
        assert isinstance(left.result, Classification)
        assert isinstance(right.result, Classification)
        np.testing.assert_allclose(left.result.scores, right.result.scores, rtol=1e-5)


def test_only_the_roi_is_looked_at(model: Model, tmp_path: Path, make_clip: MakeClip) -> None:
    with open_source(make_clip(tmp_path / "clip.mp4", frames=2)) as source:
        frame = source.read()
    assert frame is not None
    (result,) = ModelInference(model, roi=(40, 60, 100, 80))([frame])
    cut = model(np.ascontiguousarray(frame.pixels[60:140, 40:140]))
    assert isinstance(result.result, Classification)
    assert isinstance(cut, Classification)
    np.testing.assert_array_equal(result.result.scores, cut.scores)
    with pytest.raises(UsageError, match="not inside the 320x240"):
        ModelInference(model, roi=(300, 0, 100, 80))([frame])


def test_stats_count(frame_result: MakeResult) -> None:
    stats = StreamStats()
    assert stats.snapshot().frames == 0
    stats.add(frame_result([FACE, FACE]))
    stats.add(frame_result([], age=0.2))
    stats.add(frame_result(Reading("", 1.0), age=0.4))
    stats.drop("too old")
    stats.drop("too old")
    figures = stats.snapshot()
    assert (figures.frames, figures.results, figures.dropped) == (3, 2, {"too old": 2})
    assert figures.latency[0] == pytest.approx(0.007)
    assert figures.age is not None
    assert figures.age[0] == pytest.approx(0.3)
    assert figures.fps > 0
