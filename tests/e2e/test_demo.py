"""``make demo``, on a shorter clip of another seed: everything it promises is there and true."""

import base64
import json
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("torch")

from edgecnn.demo import train_demo
from edgecnn.demo.__main__ import CHECKPOINT, DIGITS, SEED
from edgecnn.demo.exports import EXPORTS, VERIFY_SEEDS
from edgecnn.demo.gallery import ABOUT
from edgecnn.demo.scene import Scene
from edgecnn.demo.score import compare, read_events, vote
from edgecnn.demo.screenshot import BROWSERS
from edgecnn.train import reader, workshop
from edgecnn.train.renders.codes import draw_code
from edgecnn.train.renders.workshop import KINDS, SCALE, Workshop, draw_workshop
from edgecnn_bench.soak.cameras import has_rtsp_server
from edgecnn_runtime.bundle.bundle import open_bundle
from edgecnn_runtime.model import load
from edgecnn_runtime.tasks import TASKS
from edgecnn_runtime.types import InstanceMask, PoseDetection, RotatedDetection

pytestmark = pytest.mark.xdist_group("demo")
COUNT, OTHER_SEED = 20, 11


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    words = ["--out", str(folder), "--digits", str(COUNT), "--seed", str(OTHER_SEED)]
    done = subprocess.run(
        [sys.executable, "-m", "edgecnn.demo", *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "said.txt").write_text(done.stdout)
    return folder


def test_the_committed_checkpoints_are_small() -> None:
    checkpoints = list(CHECKPOINT.parent.glob("*.pt"))
    assert len(checkpoints) == len(EXPORTS)  # the features are a part of the digits
    for checkpoint in checkpoints:
        assert checkpoint.stat().st_size < 1_000_000


def test_no_picture_of_the_demo_was_trained_on() -> None:
    trained = {*train_demo.TRAIN_SEEDS, *train_demo.VALID_SEEDS, *train_demo.TEST_SEEDS}
    trained |= {*reader.TRAIN_SEEDS, *reader.TEST_SEEDS}
    trained |= {*workshop.TRAIN_SEEDS, *workshop.TEST_SEEDS}
    assert not trained & {SEED, OTHER_SEED, *VERIFY_SEEDS}
    assert DIGITS >= 40


@pytest.mark.slow
def test_nearly_every_digit_is_read(out: Path) -> None:
    scene = Scene(OTHER_SEED, COUNT)
    truth = json.loads((out / "truth.json").read_text())
    assert [tile["digit"] for tile in truth["tiles"]] == [tile.digit for tile in scene.tiles]
    looks = read_events(out / "events.jsonl")
    assert [look.frame for look in looks] == list(range(scene.length))
    score = compare(vote(looks), scene.tiles)
    assert score.right >= 0.9 * COUNT
    assert len(score.invented) <= 1
    assert f"{score.right} of {COUNT} digits right" in (out / "said.txt").read_text()


@pytest.mark.slow
def test_the_bundle_is_whole_and_verified(out: Path) -> None:
    bundle = open_bundle(out / "digits.edge")
    assert bundle.manifest.model.labels == (*"0123456789", "none")
    assert bundle.manifest.golden.pictures == "checkpoint"
    runs = [run for artifact in bundle.manifest.artifacts for run in artifact.runs]
    assert runs
    for run in runs:
        assert all(parity.cosine >= 0.999 for parity in run.parity.values())


@pytest.mark.slow
def test_the_annotated_video_has_every_frame_and_something_drawn(out: Path) -> None:
    scene = Scene(OTHER_SEED, COUNT)
    video = cv2.VideoCapture(str(out / "annotated.mp4"))
    count, first = 0, None
    while (read := video.read())[0]:
        first = read[1] if first is None else first
        count += 1
    assert count == scene.length
    assert first is not None
    assert abs(first.astype(int) - scene.frame(0).astype(int)).max() > 100


@pytest.mark.slow
def test_the_report_needs_nothing_else(out: Path) -> None:
    page = (out / "report.html").read_text()
    assert page.count("<figure") == COUNT + len(ABOUT)
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["']?https?:""", page)
    assert len(page) < 2_000_000
    for name in re.findall(r'href="([^"]+)"', page):
        assert (out / name).exists(), name
    assert json.loads((out / "bench.json").read_text())["rows"]


@pytest.mark.slow
def test_the_report_has_a_picture_of_each_task(out: Path) -> None:
    page = (out / "report.html").read_text()
    part = page[page.index('class="tasks"') : page.index("What was read")]
    pattern = r'<img src="data:image/jpeg;base64,([^"]+)" alt="([^"]+)">\s*<figcaption><b>([^<]+)'
    figures = re.findall(pattern, part)
    assert [task for *_, task in figures] == [task for task, _ in ABOUT.values()]
    assert {task.split(",")[0] for *_, task in figures} == set(TASKS)
    for data, words, task in figures:
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert min(picture.shape[:2]) >= 128
        assert picture.std() > 15, f"{task} shows nothing"
        assert words.startswith(f"{task}: ")
        assert "nothing" not in words
    for name in EXPORTS:
        artifacts = open_bundle(out / "tasks" / f"{name}.edge").manifest.artifacts
        assert all(run.agreement == 1 for artifact in artifacts for run in artifact.runs), name


@pytest.mark.slow
@pytest.mark.parametrize("seed", [SEED, OTHER_SEED])
def test_what_the_pictures_show_is_true(out: Path, seed: int) -> None:
    scene, code = draw_workshop(seed), draw_code(seed)
    results = {}
    for name in EXPORTS:
        with load(out / "tasks" / f"{name}.edge") as model:
            picture = code.picture if name == "reader" else scene.picture
            results[name.removeprefix("workshop-")] = model(picture)
    assert results["reader"].text == code.text
    kinds = Counter(KINDS[thing.kind] for thing in scene.things)
    for task in ("detect", "segment"):
        assert Counter(detection.label for detection in results[task]) == kinds, task
    _check_poses(results["pose"], scene)
    _check_turned_boxes(results["obb"], scene)
    _check_masks(results["segment"], scene)
    cells = results["surfaces"].classes[6::12, 6::12]
    assert (cells == scene.surfaces).mean() > 0.95


def _check_poses(poses: list[PoseDetection], scene: Workshop) -> None:
    """Every person has a pose; its joints are 8 pixels from those that were drawn, on average."""
    people = [thing for thing in scene.things if thing.kind == 0]
    assert len(poses) == len(people)
    for person in people:
        joints = SCALE * person.joints[:, :2]
        gaps = [np.hypot(*(np.array(pose.keypoints)[:, :2] - joints).T).mean() for pose in poses]
        assert min(gaps) < 8


def _check_turned_boxes(boxes: list[RotatedDetection], scene: Workshop) -> None:
    """Every part has a box of its kind, at its place, turned as it is within 10 degrees."""
    parts = [thing for thing in scene.things if thing.kind]
    assert len(boxes) == len(parts)
    for part in parts:
        x, y, *_, angle = part.turned
        best = min(boxes, key=lambda each: abs(each.rotated_box.x - SCALE * x))
        assert best.label == KINDS[part.kind]
        assert np.hypot(best.rotated_box.x - SCALE * x, best.rotated_box.y - SCALE * y) < 12
        assert abs(np.sin(best.rotated_box.angle - angle)) < np.sin(np.radians(10))


def _check_masks(masks: list[InstanceMask], scene: Workshop) -> None:
    """Every object has a mask that covers about as many pixels as it does."""
    for thing in scene.things:
        area = 144 * thing.mask.sum()
        middle = SCALE * (thing.box[0] + thing.box[2]) / 2
        of_kind = [mask for mask in masks if mask.index == thing.kind]
        best = min(of_kind, key=lambda mask: abs((mask.box.x1 + mask.box.x2) / 2 - middle))
        assert 0.7 * area < best.mask.sum() < 1.4 * area


@pytest.mark.slow
def test_the_readme_pictures_are_made_from_it(out: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "edgecnn.demo.poster", str(out), str(tmp_path)]
    subprocess.run(words, check=True)
    poster = cv2.imread(str(tmp_path / "demo.jpg"))
    assert poster is not None
    assert poster.shape[1] == 960
    drawing = (tmp_path / "demo-timeline.svg").read_text()
    assert drawing.count('class="truth') == COUNT
    ElementTree.fromstring(drawing)


@pytest.mark.slow
def test_it_ends_with_a_daemon_that_reads_digits_off_two_cameras(out: Path) -> None:
    printed = (out / "said.txt").read_text()
    assert re.search(r"live page: http://127\.0\.0\.1:\d+", printed)
    assert re.search(r"^belt-[12]: \d, \w+$", printed, re.MULTILINE), "no event"
    cameras = yaml.safe_load((out / "site.yaml").read_text())["cameras"]
    sources = [camera["source"] for camera in cameras.values()]
    assert len(set(sources)) == 2
    assert all(source.startswith("rtsp://") for source in sources) == has_rtsp_server()
    log = (out / "serve.log").read_text()
    assert "Traceback" not in log


@pytest.mark.slow
def test_the_live_page_is_pictured(out: Path) -> None:
    if not any(map(shutil.which, BROWSERS)):
        pytest.skip("needs chromium")
    picture = cv2.imread(str(out / "live.png"))
    assert picture is not None
    assert picture.shape[:2] == (860, 1280)
    left, right = picture[100:480, 20:450], picture[100:480, 470:900]
    assert min(part.std() for part in (left, right)) > 25, "the cameras show nothing"


KEEP = """
import sys
from pathlib import Path
from rich.console import Console
from edgecnn.demo import live
from edgecnn.demo.scene import Scene
if "files" in sys.argv:
    live.has_rtsp_server = lambda: False
out, bundle = map(Path, sys.argv[1:3])
scenes = (Scene(1, 2), Scene(2, 2))
live.watch_belts(out, bundle, scenes, keep=True, console=Console(soft_wrap=True))
print("ended", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("cameras", ["files", "rtsp"])
def test_it_is_left_on_until_it_is_interrupted(
    out: Path, tmp_path: Path, spawn: Callable[..., "subprocess.Popen[str]"], cameras: str
) -> None:
    """With paced files too, as where no RTSP server is installed."""
    process = spawn(
        "-c", KEEP, str(tmp_path), str(out / "digits.edge"), cameras, stdout=subprocess.PIPE
    )
    printed = []
    for line in process.stdout:
        printed.append(line)
        if "its token: edgecnn token" in line:
            process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, printed
    assert printed[-1] == "ended\n"
    assert any(line.startswith("belt-") for line in printed), printed
    sites = yaml.safe_load((tmp_path / "site.yaml").read_text())["cameras"].values()
    assert any(site["source"].endswith(".mp4") for site in sites) == (cameras == "files")
