"""The plate detector learns from scenes, goes on where it ended, and finds corners."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.cli import main
from edgecnn.models.plate_detector import STRIDES, PlateDetector
from edgecnn.train.plates.corner_loss import assign, corner_loss
from edgecnn.train.plates.detector import Training, finder, moved
from edgecnn.train.plates.detector_config import DetectorConfig
from edgecnn.train.plates.fonts import Fonts
from edgecnn.train.plates.grammar import choose_grammars
from edgecnn.train.plates.scenes import Scene, SceneMaker
from edgecnn.train.plates.scenes_faces import Face, rendered_faces
from edgecnn.train.plates.scenes_photographs import measure, read_photographs, summarize
from edgecnn_runtime import load
from edgecnn_runtime.errors import CheckpointError, UsageError
from edgecnn_runtime.types import Box, Detection, Pixels

SIZE = (128, 96)


def striped(number: int) -> Face:
    """A white plate with dark bars."""
    pixels = np.full((50, 200, 3), 240, np.uint8)
    pixels[10:40, 20:180:40] = 20
    pixels[10:40, 30:190:40] = number % 60
    return Face(pixels, np.full((50, 200), 255, np.uint8))


def grid_of(width: int, height: int) -> np.ndarray:
    """Middle and stride of each cell, float32[3,A]."""
    with torch.inference_mode():
        cells = PlateDetector().eval().cells(torch.zeros(1, 3, height, width))
    return np.asarray(cells[2].numpy())


def config(folder: Path, **other: object) -> DetectorConfig:
    settings = {"width": SIZE[0], "height": SIZE[1], "batch": 4, "fresh": 2, "steps": 8}
    return DetectorConfig(out=str(folder / "plates.pt"), **{**settings, **other})  # type: ignore[arg-type] # a Struct checks them


@pytest.fixture(scope="module")
def bundle(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed checkpoint, exported without a flag."""
    out = tmp_path_factory.mktemp("bundle") / "plate-detector.edge"
    checkpoint = root / "edgecnn" / "plates" / "plate_detector.pt"
    assert checkpoint.stat().st_size < 5_000_000
    assert main(["export", str(checkpoint), "--out", str(out)]) == 0
    return out


def test_an_export_finds_plates_and_their_corners(
    bundle: Path, tmp_path: Path, fonts: Fonts
) -> None:
    maker = SceneMaker(rendered_faces(choose_grammars(["D", "USA", "BR"]), fonts), [])
    plates = found = 0
    with load(bundle, cache_dir=tmp_path) as model:
        for seed in range(30):
            scene = maker.scene((1 << 58) + seed, (640, 384))
            detections = model(scene.pixels)
            for corners in scene.plates:
                width = float(np.ptp(corners[:, 0]))
                if width < 60:
                    continue
                plates += 1
                gaps = [np.abs(np.array(d.points) - corners).max() for d in detections]
                found += min(gaps, default=width) < 0.15 * width
    assert plates >= 12
    assert found >= 0.7 * plates


def test_it_is_small_and_has_a_column_for_each_cell() -> None:
    network = PlateDetector().eval()
    assert sum(weights.numel() for weights in network.parameters()) < 1_000_000
    with torch.inference_mode():
        table = network(torch.rand(2, 3, 96, 128))
    assert table.shape == (2, 13, sum((128 // s) * (96 // s) for s in STRIDES))
    center, size, corners = table[:, :2], table[:, 2:4], table[:, 5:].reshape(2, 4, 2, -1)
    assert torch.allclose(corners.amin(1), center - size / 2, atol=1e-3)
    assert torch.allclose(corners.amax(1), center + size / 2, atol=1e-3)


GRID = grid_of(640, 384)


@given(
    x=st.floats(0, 640), y=st.floats(0, 384), width=st.floats(14, 420), ratio=st.floats(1.2, 5.5)
)
@settings(deadline=None)
def test_every_plate_has_a_cell_that_learns_to_find_it(
    x: float, y: float, width: float, ratio: float
) -> None:
    half = np.array([width / 2, width / ratio / 2])
    center = np.clip([x, y], half, np.maximum(half, [640, 384] - half))
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    quad = (center + signs * half).astype(np.float32)
    items, cells, truth = assign([np.zeros((0, 4, 2), np.float32), quad[None]], GRID)
    assert len(cells) > 0
    assert set(items.tolist()) == {1}
    assert (truth == quad).all()
    away = np.abs(GRID[:2, cells].T - center) / GRID[2, cells][:, None]
    assert away.max() <= 1.5


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=40, deadline=None)
def test_a_moved_scene_has_whole_plates_where_they_are_seen(seed: int) -> None:
    pixels = np.zeros((96, 128, 3), np.uint8)
    quad = np.array([[40, 30], [80, 30], [80, 50], [40, 50]], np.float32)
    pixels[30:50, 40:80] = 255
    scene = moved(Scene(pixels, quad[None]), np.random.default_rng(seed))
    for corners in scene.plates:
        assert (corners >= 0).all()
        assert (corners <= [128, 96]).all()
        x, y = corners.mean(0).astype(int)
        assert scene.pixels[y, x].min() > 100
        x1, y1 = corners.min(0)
        if x1 > 4 and y1 > 4:
            assert scene.pixels[int(y1) - 4, int(x1) - 4].max() < 60 or scene.pixels[0, 0].max() > 0


def test_a_few_steps_lower_the_loss_of_other_scenes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    maker = SceneMaker(striped, [])
    training = Training(config(tmp_path, steps=60), maker)
    others = [maker.scene(1_000_000 + k, SIZE) for k in range(8)]

    def loss() -> float:
        with torch.no_grad():
            return corner_loss(training.average.train(), others).item()

    before = loss()
    while training.step < 30:
        training.advance()
    assert loss() < 0.9 * before


def test_a_training_goes_on_where_it_ended(tmp_path: Path) -> None:
    maker = SceneMaker(striped, [])
    first = Training(config(tmp_path), maker)
    first.advance()
    first.advance()
    first.save()
    second = Training(config(tmp_path), maker)
    assert second.step == 2
    for name, weights in first.average.state_dict().items():
        assert torch.equal(weights, second.average.state_dict()[name])
    (tmp_path / "plates.pt.state").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="begin anew"):
        Training(config(tmp_path), maker)


def test_photographs_are_measured_by_region(tmp_path: Path) -> None:
    for region in ("north", "south"):
        folder = tmp_path / region
        folder.mkdir()
        cv2.imwrite(str(folder / "car.png"), np.zeros((50, 100, 3), np.uint8))
        (folder / "labels.tsv").write_text("file\tx\ty\tw\th\ttext\ncar.png\t10\t10\t40\t10\tAB1\n")
    photographs = read_photographs(tmp_path)

    def find(_pixels: Pixels) -> Sequence[Detection]:
        boxes = [Box(10, 10, 50, 20), Box(70, 30, 90, 40)]
        return [Detection(box, 0.9, "plate", 0) for box in boxes]

    north, south, both = summarize(measure(find, photographs))
    assert (north.region, north.count, north.found, north.others) == ("north", 1, 1, 1)
    assert (south.region, both.region, both.count, both.found) == ("south", "all", 2, 2)
    (tmp_path / "south" / "labels.tsv").write_text("file\tx\ty\tw\th\ncar.png\t1\t2\tx\t4\n")
    with pytest.raises(UsageError, match=r"labels\.tsv:2"):
        read_photographs(tmp_path)
    with pytest.raises(UsageError, match="no labels"):
        read_photographs(tmp_path / "north" / "car.png")


def test_a_network_finds_as_its_export_does(tmp_path: Path) -> None:
    """An untrained one whose head says where: one cell's plate, in the frame's own pixels."""
    network = PlateDetector().eval()
    for head, span in zip(network.heads, (1.0, 0.0, 0.0), strict=True):
        out = head[1]
        with torch.no_grad():
            out.weight.zero_()
            out.bias[:] = torch.tensor([-8.0, *([0.0] * 8)])
            out.bias[1:] = span * torch.tensor([-1.0, -0.5, 1.0, -0.5, 1.0, 0.5, -1.0, 0.5])
    with torch.no_grad():
        network.heads[0][1].bias[0] = 4.0
    frame = np.zeros((768, 1280, 3), np.uint8)
    best = next(each for each in finder(network)(frame) if min(each.box[:2]) > 100)
    assert len(best.points) == 4
    (x1, y1), (x2, _), _, (_, y4) = best.points
    assert (x2 - x1, y4 - y1) == pytest.approx((128.0, 64.0), abs=0.5)
    assert best.box == pytest.approx((x1, y1, x2, y4), abs=0.5)
