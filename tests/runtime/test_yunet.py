"""The real YuNet bundle against OpenCV's own FaceDetectorYN, on real pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn_runtime import load
from edgecnn_runtime.geometry import iou
from edgecnn_runtime.types import Box

WIDTH, HEIGHT = 640, 352


@pytest.fixture(scope="module")
def frames(assets: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(assets / "faces" / "video.mp4"))
    video = [capture.read()[1] for _ in range(60)][::12]
    capture.release()
    people = sorted((assets / "faces" / "people").glob("*/1.jpg"))
    stills = [assets / "faces" / "multiface.jpg", *people]
    return video + [cv2.imread(str(path)) for path in stills]


@pytest.fixture(scope="module")
def opencv(assets: Path):
    if tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 8):
        pytest.skip("OpenCV before 4.8 does not read this file")
    # OpenCV 4 reads only the file of fixed size, and then takes any
    file = assets / "yunet" / "yunet_n_640_640.onnx"
    return cv2.FaceDetectorYN.create(str(file), "", (WIDTH, HEIGHT), 0.6, 0.3, 5000)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_same_faces_as_opencv(yunet, frames, opencv, tmp_path, backend):
    pytest.importorskip(backend)
    total = 0
    with load(yunet, backend=backend, cache_dir=tmp_path) as model:
        for frame in frames:
            height, width = frame.shape[:2]
            _, rows = opencv.detect(cv2.resize(frame, (WIDTH, HEIGHT)))
            scale = np.array([width / WIDTH, height / HEIGHT])
            expected = [] if rows is None else [row for row in rows if row[14] > 0.61]
            found = model(frame)
            sure = [face for face in found if face.score > 0.61]
            assert len(sure) == len(expected)
            total += len(sure)
            for row in expected:
                x, y, w, h = row[:4] * np.tile(scale, 2)
                box = Box(max(x, 0), max(y, 0), min(x + w, width), min(y + h, height))
                face = max(sure, key=lambda face: iou(face.box, box))
                assert iou(face.box, box) > 0.99
                assert face.score == pytest.approx(row[14], abs=1e-3)
                points = row[4:14].reshape(5, 2) * scale
                assert np.abs(np.array(face.points) - points).max() < 0.01 * max(w, h) + 0.1
    assert total > 30, "the pictures are full of faces"


def test_a_crop_finds_the_faces_at_their_place_in_the_full_frame(yunet, frames, tmp_path):
    part = Box(100, 500, 1380, 1080)
    with load(yunet, cache_dir=tmp_path) as model:
        inside = [
            face
            for face in model(frames[0])
            if face.score > 0.8 and face.box.y1 > part.y1 and face.box.x2 < part.x2
        ]
        (found,) = model.crops(frames[0], [part])
    assert inside
    for face in inside:
        assert max(iou(face.box, other.box) for other in found) > 0.5


def test_a_region_is_searched_alone(yunet, frames, tmp_path):
    with load(yunet, cache_dir=tmp_path) as model:
        frame = frames[0]
        height, width = frame.shape[:2]
        left = model(frame, roi=(0, 0, width // 2, height))
        assert left
        assert all(face.box.x1 < width / 2 for face in left)
