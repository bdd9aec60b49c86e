"""``edgecnn run PIPELINE.yaml``: what happens is printed, written, drawn and counted."""

import csv
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn.cli import main

Bundles = dict[str, Path]
Start = Callable[..., "subprocess.Popen[str]"]
PLATES = "detect: {model: blobs.edge}\nrecognize: {model: letters.edge}\n"


def scene(x: int, color: tuple[int, int, int]) -> np.ndarray:
    """A dark picture with a textured square."""
    pixels = np.full((240, 320, 3), 20, np.uint8)
    pixels[80:130, x : x + 50] = color
    pixels[80:130:4, x : x + 50] = 60
    return pixels


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Something red is there from 1 s to 3 s, of 6 s."""
    path = tmp_path_factory.mktemp("clips") / "gate.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (320, 240))
    for i in range(60):
        writer.write(
            scene(20 + i, (0, 0, 255)) if 10 <= i < 30 else np.full((240, 320, 3), 20, "u1")
        )
    writer.release()
    return str(path)


@pytest.fixture
def plates(tmp_path: Path, color_bundles: Bundles) -> str:
    text = PLATES
    for name, path in color_bundles.items():
        text = text.replace(f"{name}.edge", str(path))
    (tmp_path / "plates.yaml").write_text(text)
    return str(tmp_path / "plates.yaml")


def test_events_are_printed_written_drawn_and_counted(
    plates: str, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, table, video = tmp_path / "e.jsonl", tmp_path / "e.csv", tmp_path / "out.avi"
    outputs = ["--events", str(lines), "--csv", str(table), "--save", str(video)]
    assert main(["run", plates, clip, *outputs]) == 0
    out = capsys.readouterr().out
    first, second, *_ = out.splitlines()
    assert first.startswith("gate.avi: recognized R, ")
    assert first.endswith("3 votes")
    assert second.startswith("gate.avi: left R #1, 1.9 s")
    assert "gate.avi: 1 recognized, 1 left" in out
    assert f"wrote {lines}" in out.replace("\n", "")
    events = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [event["type"] for event in events] == ["recognized", "left"]
    assert [event["text"] for event in events] == ["R", "R"]
    assert {event["camera"] for event in events} == {clip}
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["type"], row["text"]) for row in rows] == [("recognized", "R"), ("left", "R")]
    capture = cv2.VideoCapture(str(video))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 60
    capture.set(cv2.CAP_PROP_POS_FRAMES, 25)
    drawn = capture.read()[1]
    capture.release()
    assert drawn[:80].max() > 150, "a tag is drawn above the thing"


def test_pictures_are_answered_one_by_one(
    plates: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), scene(50, (0, 0, 255)))
    cv2.imwrite(str(folder / "2.png"), np.full((240, 320, 3), 20, np.uint8))
    cv2.imwrite(str(folder / "3.png"), scene(200, (255, 0, 0)))
    assert main(["run", plates, str(folder), "--save", f"{tmp_path}/drawn/"]) == 0
    one, two, three, *_ = capsys.readouterr().out.splitlines()
    assert one.startswith(f"{folder}/1.png: recognized R, ")
    assert two == f"{folder}/2.png: (nothing)"
    assert three.startswith(f"{folder}/3.png: recognized B, ")
    assert cv2.imread(f"{tmp_path}/drawn/3.png")[:70].max() > 150, "with a tag"
    assert main(["run", plates, str(folder), "--json"]) == 0
    (source,) = json.loads(capsys.readouterr().out)["sources"]
    answers = source["results"]
    assert [answer["file"] for answer in answers] == [f"{folder}/{i}.png" for i in (1, 2, 3)]
    texts = [[event["text"] for event in answer["events"]] for answer in answers]
    assert texts == [["R"], [], ["B"]]
    assert source["events_by_type"] == {"recognized": 2}
    assert source["found"] == 2


def test_the_summary_as_json_counts_events(
    plates: str, clip: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", plates, clip, clip, "--json", "--threads", "1"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [s["events_by_type"] for s in summary["sources"]] == [{"recognized": 1, "left": 1}] * 2
    assert [s["results"] for s in summary["sources"]] == [None, None]
    assert {s["found"] for s in summary["sources"]} == {19}, "from its second frame on"


def test_the_crop_of_each_event_is_a_file_that_its_line_names(
    plates: str, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, crops = tmp_path / "e.jsonl", tmp_path / "crops"
    outputs = ["--events", str(lines), "--csv", str(tmp_path / "e.csv"), "--crops", str(crops)]
    assert main(["run", plates, clip, *outputs, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["crops"] == str(crops)
    recognized, left = (json.loads(line) for line in lines.read_text().splitlines())
    assert left["evidence"] == {}, "who has left is in no picture"
    (file,) = crops.iterdir()
    assert file.name == f"{recognized['id']}-crop.jpg"
    assert recognized["evidence"] == {"crop": str(file)}
    blue, green, red = cv2.mean(cv2.imread(str(file)))[:3]
    assert red > max(blue, green) + 50
    rows = list(csv.DictReader((tmp_path / "e.csv").read_text().splitlines()))
    assert [row["crop"] for row in rows] == [str(file), ""]
    assert main(["run", plates, clip, "--crops", str(crops)]) == 0
    assert f"wrote {crops}" in capsys.readouterr().out.replace("\n", "")
    assert len(list(crops.iterdir())) == 2, "what an earlier run wrote stays"


def test_crops_that_cannot_be_written_are_refused_before_anything_runs(
    plates: str, clip: str, color_bundles: Bundles, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "1.png"), scene(50, (0, 0, 255)))
    for words, message in (
        ([plates, clip, "--crops", plates], "cannot make the folder"),
        ([plates, clip, "--crops", "/sys/crops"], "cannot make the folder"),
        ([plates, clip, "--crops", str(Path(clip).parent)], "is where the source is read from"),
        ([plates, f"{tmp_path}/photos", "--crops", f"{tmp_path}/photos/a"], "is where the source"),
        ([str(color_bundles["blobs"]), clip, "--crops", f"{tmp_path}/x"], "only the events of a"),
    ):
        assert main(["run", *words]) == 2
        assert message in capsys.readouterr().err


def test_event_lines_can_be_piped(plates: str, clip: str, spawn: Start) -> None:
    process = spawn(
        "-m", "edgecnn", "run", plates, clip, "--events", "-",
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["recognized", "left"]


def test_a_bundle_has_no_events_of_a_pipeline(
    color_bundles: Bundles, clip: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = tmp_path / "e.jsonl"
    assert main(["run", str(color_bundles["blobs"]), clip, "--events", str(lines), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sources"][0]["events_by_type"] is None
    assert "results" in json.loads(lines.read_text().splitlines()[0])


@pytest.mark.parametrize("text", ["detect: {model: gone.edge}", "detekt: {}", "- a"])
def test_a_pipeline_that_cannot_be_right_is_refused_with_its_line(
    clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    assert main(["run", str(path), clip]) == 2
    assert f"{path}:1: " in capsys.readouterr().err


def test_another_score_is_the_detectors(
    plates: str, color_bundles: Bundles, clip: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(["run", plates, clip, "--score", "1.0", "--json"]) == 0
    (source,) = json.loads(capsys.readouterr().out)["sources"]
    assert source["events_by_type"] == {}, "nothing is so sure"
    whole = tmp_path / "whole.yaml"
    whole.write_text(f"recognize: {{model: {color_bundles['letters']}}}")
    assert main(["run", str(whole), clip, "--score", "0.9"]) == 2
    assert "needs a detector" in capsys.readouterr().err


def test_ctrl_c_tells_what_is_known_in_the_end(plates: str, clip: str, spawn: Start) -> None:
    """Of a camera: a clip that is played in real time, again and again."""
    process = spawn(
        "-m", "edgecnn", "run", plates, clip, "--realtime", "--loop",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "recognized R" in first
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "left R" in rest
    assert "found" in rest, "the summary"


def test_an_rtsp_camera_is_followed(
    camera: Callable[..., Any], color_bundles: Bundles, spawn: Start, tmp_path: Path
) -> None:
    """The real thing: squares that show a counter are bright, so something is always there."""
    filmed = camera("--fps", "10", "--size", "320x240")
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(f"detect: {{model: {color_bundles['blobs']}}}")
    process = spawn(
        "-m", "edgecnn", "run", str(pipeline), filmed.url(), "--max-frames", "30",
        "--events", str(tmp_path / "e.jsonl"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    events = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert {event["type"] for event in events} >= {"entered", "left"}
    assert all(0 <= event["age"] < 60 for event in events)
    now = time.time()
    assert all(event["time"].startswith(time.strftime("%Y-", time.gmtime(now))) for event in events)
    assert out.startswith(f"{filmed.url()}: entered thing #1, ")
