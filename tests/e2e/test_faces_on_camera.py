"""A detector from its ONNX file to events from a camera, by the two commands a person types."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from edgecnn.cli import main


@pytest.mark.slow
def test_faces_are_found_on_an_rtsp_stream(
    assets: Path, tmp_path: Path, camera: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    detector, bundle = assets / "yunet" / "yunet_n_dynamic.onnx", tmp_path / "faces.edge"
    how = ["--input", "640x352", "--head", "yunet", "--preset", "raw", "--color", "bgr"]
    pictures = ["--images", str(assets / "faces")]
    assert main(["export", str(detector), *how, *pictures, "--out", str(bundle)]) == 0
    capsys.readouterr()

    url = camera("--file", str(assets / "faces" / "video.mp4")).url()
    events, video = tmp_path / "events.jsonl", tmp_path / "out.mp4"
    outputs = ["--events", str(events), "--save", str(video)]
    limits = ["--max-frames", "30", "--max-age", "60"]  # a busy machine is no failure
    assert main(["run", str(bundle), url, *limits, *outputs, "--json"]) == 0

    (source,) = json.loads(capsys.readouterr().out)["sources"]
    assert source["frames"] == 30
    assert source["age_p95_ms"] is not None
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert len(lines) == 30
    for line in lines:
        assert line["source"] == url
        assert line["captured"].endswith("Z")
        assert 4 <= len(line["results"]) <= 12  # 7 to 9 faces a frame, some at the threshold
        for face in line["results"]:
            x1, y1, x2, y2 = face["box"]
            assert 0 <= x1 < x2 <= 1920
            assert 0 <= y1 < y2 <= 1080
            assert len(face["points"]) == 5
    capture = cv2.VideoCapture(str(video))
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 1920
    assert capture.read()[0]
