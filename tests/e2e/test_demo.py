"""``make demo``, on a shorter clip of another seed: everything it promises is there and true."""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import cv2
import pytest

pytest.importorskip("torch")

from edgecnn.demo.__main__ import CHECKPOINT, DIGITS, SEED
from edgecnn.demo.scene import Scene
from edgecnn.demo.score import compare, read_events, vote
from edgecnn.demo.train_demo import TEST_SEEDS, TRAIN_SEEDS, VALID_SEEDS
from edgecnn_runtime.bundle.bundle import open_bundle

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


def test_the_committed_checkpoint_is_small() -> None:
    assert CHECKPOINT.stat().st_size < 1_000_000


def test_no_clip_was_trained_on() -> None:
    trained = {*TRAIN_SEEDS, *VALID_SEEDS, *TEST_SEEDS}
    assert not trained & {SEED, OTHER_SEED}
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
    assert page.count("<figure") == COUNT
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["']?https?:""", page)
    assert len(page) < 2_000_000
    for name in re.findall(r'href="([^"]+)"', page):
        assert (out / name).exists(), name
    assert json.loads((out / "bench.json").read_text())["rows"]


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
