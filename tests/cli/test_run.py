"""``edgecnn run`` as it is typed: files, cameras, Ctrl-C, exit codes."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.cli import main
from edgecnn.cli.outputs import numbered
from edgecnn.cli.run import parse_roi, stopped_by_signals
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.sinks import SINKS, StreamInfo, fake
from edgecnn_runtime.sinks.fake import FakeSink

MakeClip = Callable[..., Path]
Camera = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[str]"]
PATIENT = ("--timeout", "120")
"""For cameras that are not late on purpose: a machine with other work is slow to answer."""


@pytest.fixture(scope="module")
def model(make_bundle: Callable[..., Path]) -> str:
    return str(make_bundle("runner"))


@pytest.fixture
def clip(tmp_path: Path, make_clip: MakeClip) -> str:
    return str(make_clip(tmp_path / "clip.mp4", frames=20))


@pytest.fixture
def start(spawn: Start) -> Start:
    """Starts ``edgecnn run`` in a process of its own."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return lambda *words, **options: spawn("-m", "edgecnn", "run", *words, **{**streams, **options})


def test_a_file_is_run_to_its_end(
    model: str, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, events, table = tmp_path / "out.mp4", tmp_path / "e.jsonl", tmp_path / "t.csv"
    outputs = ["--save", str(video), "--events", str(events), "--csv", str(table)]
    assert main(["run", model, clip, *outputs]) == 0
    said = capsys.readouterr().out
    assert "clip.mp4" in said
    assert "dropped" not in said  # of a file, nothing ever is
    for path in (video, events, table):
        assert f"wrote {path}" in said.replace("\n", "")
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(20))
    assert len(table.read_text().splitlines()) == 21
    capture = cv2.VideoCapture(str(video))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 20
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(25)


def test_a_new_sink_is_one_entry(
    model: str, clip: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    """Flag, help, opening, closing and summary come from its kind."""
    sink, streams = FakeSink(), []

    def open_sink(path: Path, stream: StreamInfo) -> FakeSink:
        streams.append((path.name, stream.fps, stream.labels, stream.roi))
        return sink

    monkeypatch.setitem(SINKS, "fake", replace(fake.KIND, open=open_sink, shared=False))
    words = ["--fake", str(tmp_path / "x"), "--roi", "0,0,100,80", "--max-frames", "4", "--json"]
    assert main(["run", model, clip, *words]) == 0
    assert streams == [("x", 25.0, tuple("abcd"), (0, 0, 100, 80))]
    assert [result.frame.index for result in sink.results] == [0, 1, 2, 3]
    assert sink.closed
    assert "fake" in json.loads(capsys.readouterr().out)["sources"][0]
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert fake.KIND.help in " ".join(capsys.readouterr().out.split())


def test_a_choice_that_was_kept_elsewhere_is_used(
    model: str, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = str(tmp_path / "state")
    quick = ("--seconds", "0.2", "--backends", "onnxruntime", "--threads", "1")
    assert main(["bench", model, "--select", "--cache-dir", kept, *quick]) == 0
    capsys.readouterr()
    words = ["run", model, clip, "--max-frames", "2", "--json"]
    assert main([*words, "--cache-dir", kept]) == 0
    assert "measured here on" in json.loads(capsys.readouterr().out)["why"]
    assert main([*words, "--cache-dir", str(tmp_path / "other")]) == 0
    assert "measured here on" not in json.loads(capsys.readouterr().out)["why"]


def test_the_summary_as_json(
    model: str, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = str(tmp_path / "out.mp4")
    words = ["run", model, clip, "--save", video, "--max-frames", "7", "--json", "--threads", "1"]
    assert main(words) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["exit"] == 0
    assert summary["engine"].endswith("1 thread")
    assert summary["why"]
    (source,) = summary["sources"]
    assert (source["source"], source["frames"], source["found"]) == (clip, 7, 7)
    assert source["saved"] == video
    assert source["error"] is None
    assert source["p50_ms"] > 0


def test_several_sources(
    model: str, tmp_path: Path, make_clip: MakeClip, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = [str(make_clip(tmp_path / f"{name}.mp4", frames=6)) for name in ("a", "[b]")]
    events = tmp_path / "e.jsonl"
    words = ["--save", str(tmp_path / "out.mp4"), "--events", str(events), "--json"]
    assert main(["run", model, *clips, *words]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [source["frames"] for source in summary["sources"]] == [6, 6]
    assert [source["saved"] for source in summary["sources"]] == [
        str(tmp_path / "out-1.mp4"), str(tmp_path / "out-2.mp4"),
    ]  # fmt: skip
    assert len(events.read_text().splitlines()) == 12


def test_batches_are_timed_and_answer_alike(
    model: str, tmp_path: Path, make_clip: MakeClip, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = [str(make_clip(tmp_path / f"{name}.mp4", frames=30)) for name in ("a", "b", "c")]
    lines = {}
    for batch in ("1", "3"):
        events = tmp_path / f"{batch}.jsonl"
        words = ["--batch", batch, "--threads", "1", "--events", str(events), "--json"]
        assert main(["run", model, *clips, *words]) == 0
        summary = json.loads(capsys.readouterr().out)
        assert list(summary["run_ms"]) == ([] if batch == "1" else ["1", "3"])
        lines[batch] = sorted(events.read_text().splitlines())
    assert lines["1"] == lines["3"]
    assert len(lines["1"]) == 90


def test_live_frames_beyond_the_age_limit_are_dropped_and_counted(
    model: str, clip: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No frame is as young as a nanosecond; the same clip as a file has no age."""
    assert main(["run", model, clip, "--realtime", "--max-age", "1e-9", "--json"]) == 0
    (source,) = json.loads(capsys.readouterr().out)["sources"]
    assert source["frames"] == 0
    assert set(source["dropped_by_reason"]) <= {"too old", "replaced"}
    assert source["dropped"] == sum(source["dropped_by_reason"].values()) > 0
    assert main(["run", model, clip, "--max-age", "1e-9", "--json"]) == 0
    (source,) = json.loads(capsys.readouterr().out)["sources"]
    assert (source["frames"], source["dropped"], source["wait_p95_ms"]) == (20, 0, None)
    assert main(["run", model, clip, "--realtime", "--max-age", "1e-9", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"clip.mp4: dropped .*\d+ too old", out)
    assert "--max-age 10" in out


def test_a_picture_becomes_a_picture(model: str, tmp_path: Path) -> None:
    picture, drawn = tmp_path / "a.png", tmp_path / "drawn.png"
    cv2.imwrite(str(picture), np.full((240, 320, 3), 90, np.uint8))
    assert main(["run", model, str(picture), "--save", str(drawn), "--rotate", "90"]) == 0
    assert cv2.imread(str(drawn)).shape == (320, 240, 3)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten pictures, one of them in a folder of its own, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for i, name in enumerate([*(f"{i}.png" for i in range(1, 10)), "more/10.png"]):
        cv2.imwrite(str(folder / name), np.full((24, 32, 3), 20 * i, np.uint8))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_what_a_picture_shows_is_printed(
    model: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", model, str(photos / "1.png")]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert re.fullmatch(rf"{re.escape(str(photos))}/1\.png: [abcd], \d+ %", first)


def test_a_damaged_picture_is_one_line(start: Start, model: str, photos: Path) -> None:
    whole = (photos / "1.png").read_bytes()
    (photos / "2.tif").write_bytes(b"II*\0" + whole[4:])
    running = start(model, str(photos), "--quiet")
    _, err = running.communicate()
    assert running.returncode == 6
    assert err == f"edgecnn run: {photos}: 1 of 11 pictures cannot be read: 2.tif\n"


def test_the_summary_as_json_holds_what_pictures_show(
    model: str, photos: Path, clip: str, capsys: pytest.CaptureFixture[str]
) -> None:
    events = photos.parent / "e.jsonl"
    assert main(["run", model, str(photos), clip, "--json", "--events", str(events)]) == 0
    pictures, video = json.loads(capsys.readouterr().out)["sources"]
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    expected = [
        {"file": line["file"], "results": line["results"]} for line in lines if line["file"]
    ]
    assert pictures["results"] == expected
    assert len(expected) == 10
    assert video["results"] is None


def test_pictures_are_one_source_in_their_order(
    model: str, photos: Path, clip: str, capsys: pytest.CaptureFixture[str]
) -> None:
    events, drawn = photos.parent / "e.jsonl", photos.parent / "drawn"
    names = [str(photos / name) for name in ("9.png", "2.png", "more")]
    words = ["--events", str(events), "--save", f"{drawn}/", "--json"]
    assert main(["run", model, names[0], clip, *names[1:], *words]) == 0
    pictures, video = json.loads(capsys.readouterr().out)["sources"]
    assert (pictures["source"], video["source"]) == (f"{names[0]} and 2 more", clip)
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    files = [line["file"] for line in lines if line["source"] == pictures["source"]]
    assert files == [*names[:2], f"{names[2]}/10.png"]
    written = {str(path.relative_to(drawn)) for path in drawn.rglob("*.*")}
    assert written == {"9.png", "2.png", "more/10.png", "clip-2.mp4"}


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (["--save", "PHOTOS"], "is where the source is read from"),
        (["--save", "PHOTOS/drawn/"], "the next run would read"),
        (["--save", "CLIP"], "is where the source is read from"),
        (["--save", "DIR/last.jpg"], "--save DIR/ writes each"),
        (["--events", "CLIP"], "is where the source is read from"),
        (["--save", "DIR/"], "is where the source is read from"),
        (["--events", "DIR/x", "--csv", "DIR/x"], "named for two outputs"),
        (["--events", "-", "--csv", "-"], "named for two outputs"),
        (["--events", "DIR/new/"], "is a folder"),
        (["--append", "--overwrite"], "not allowed with"),
        (["--score", "0.5"], "leave out --score"),
        (["--score", "2"], "0 to 1"),
    ],
)
def test_outputs_that_would_harm_are_refused(
    model: str, photos: Path, clip: str, capsys: pytest.CaptureFixture[str],
    output: list[str], says: str,
) -> None:  # fmt: skip
    places = {"PHOTOS": str(photos), "CLIP": clip, "DIR": str(Path(clip).parent)}
    words = [re.sub("PHOTOS|CLIP|DIR", lambda match: places[match[0]], word) for word in output]
    before = {path: path.stat().st_mtime for path in photos.parent.rglob("*")}
    with suppress(SystemExit):
        assert main(["run", model, str(photos), clip, *words]) == 2
    assert says in capsys.readouterr().err
    assert {path: path.stat().st_mtime for path in photos.parent.rglob("*")} == before


@pytest.mark.parametrize("flag", ["--events", "--csv"])
def test_lines_on_standard_output_are_alone_there(
    start: Start, model: str, photos: Path, flag: str
) -> None:
    running = start(model, str(photos), flag, "-")
    out, err = running.communicate()
    assert running.returncode == 0
    assert re.search(r"photos +10 +10", err)
    lines = out.splitlines()
    if flag == "--csv":
        assert lines.pop(0).startswith("source,file,index")
    assert len(lines) == 10
    assert all("photos" in line for line in lines)
    refused = start(model, "nowhere.mp4", flag, "-", "--json")
    out, err = refused.communicate()
    assert (refused.returncode, out) == (2, "")
    assert json.loads(err)["error"] == "UsageError"


@pytest.mark.parametrize("flag", ["--events", "--csv"])
def test_a_reader_that_has_enough_ends_the_run(
    start: Start, model: str, clip: str, tmp_path: Path, flag: str
) -> None:
    """As ``edgecnn run … | head`` does; what else is written is completed."""
    video = tmp_path / "out.mp4"
    words = ["--loop", "--realtime", "--save", str(video), flag, "-"]
    running = start(model, clip, *words)
    assert running.stdout is not None
    for _ in range(3):
        assert running.stdout.readline()  # while it runs: not kept in a buffer
    running.stdout.close()
    assert running.wait() == 0
    assert running.stderr is not None
    assert "Error" not in running.stderr.read()
    assert cv2.VideoCapture(str(video)).read()[0]


@pytest.mark.parametrize("flags", [[], ["--json"], ["--events", "-"]], ids=str)
def test_without_a_reader_nothing_is_said(
    start: Start, model: str, photos: Path, flags: list[str]
) -> None:
    theirs, ours = os.pipe()
    os.close(theirs)
    running = start(model, str(photos), *flags, stdout=ours)
    os.close(ours)
    _, err = running.communicate()
    assert running.returncode == 0
    assert "Error" not in err
    assert "Exception" not in err


@pytest.mark.parametrize("flags", [[], ["--json"], ["--events", "-"]], ids=str)
def test_a_full_disk_under_standard_output_is_said(
    start: Start, model: str, clip: str, flags: list[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        running = start(model, clip, *flags, stdout=full)
        _, err = running.communicate()
    assert running.returncode == 1
    assert "No space left on device" in err
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_a_service_may_close_standard_output(model: str, clip: str, tmp_path: Path) -> None:
    events = tmp_path / "e.jsonl"
    words = [sys.executable, "-m", "edgecnn", "run", model, clip, "--events", str(events)]
    done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *words], check=False)
    assert done.returncode == 0
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(20))


def test_a_recording_that_ends_on_a_full_disk_ends_nothing_else(
    model: str, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from edgecnn_runtime.sinks import video as module

    monkeypatch.setattr(module, "RESERVE", 1 << 62)  # no disk is that large
    events, video = tmp_path / "e.jsonl", tmp_path / "out.mp4"
    words = ["--events", str(events), "--save", str(video), "--json"]
    assert main(["run", model, clip, *words]) == 1
    (source,) = json.loads(capsys.readouterr().out)["sources"]
    assert source["frames"] == len(events.read_text().splitlines()) == 20
    assert "MiB are left on its disk; nothing is recorded" in source["error"]
    assert source["saved"] is None
    assert caplog.text.count("the run goes on") == 1


def test_events_of_a_file_are_kept_and_those_of_a_camera_continued(
    model: str, clip: str, camera: Camera, tmp_path: Path
) -> None:
    events, video = tmp_path / "e.jsonl", tmp_path / "out.mp4"
    for source in (clip, clip, camera().url()):
        words = ["--max-frames", "3", "--events", str(events), "--save", str(video)]
        assert main(["run", model, source, *words]) == 0
    assert [len(path.read_text().splitlines()) for path in (tmp_path / "e.1.jsonl", events)] == [
        3,
        6,
    ]
    for name in ("out.1.mp4", "out.2.mp4", "out.mp4"):
        assert cv2.VideoCapture(str(tmp_path / name)).read()[0]
    assert main(["run", model, clip, "--events", str(events), "--realtime"]) == 0
    live = len(events.read_text().splitlines()) - 6
    assert live > 0
    assert main(["run", model, clip, "--events", str(events), "--append"]) == 0
    assert len(events.read_text().splitlines()) == 26 + live
    assert main(["run", model, clip, "--events", str(events), "--overwrite"]) == 0
    assert len(events.read_text().splitlines()) == 20
    assert not (tmp_path / "e.2.jsonl").exists()


def test_the_table_of_cameras_fits_80_columns(
    start: Start, model: str, tmp_path: Path, make_clip: MakeClip
) -> None:
    clips = [str(make_clip(tmp_path / f"{name}.mp4")) for name in ("a", "gate-3-north-entry")]
    running = start(model, *clips, "--realtime", env={**os.environ, "COLUMNS": "80"})
    out, err = running.communicate()
    assert running.returncode == 0, err
    table = out.split("dropped \n")[1].split("\n\n")[0]
    assert re.search(r"^ gate-3-nort", table, re.MULTILINE)
    assert max(map(len, table.splitlines())) <= 80


def test_a_camera(model: str, camera: Camera, capsys: pytest.CaptureFixture[str]) -> None:
    url = camera("--user", "admin", "--password", "s3cret").url(user="admin:s3cret@")
    code = main(["run", model, url, "--max-frames", "10"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert re.search(r"wait ms +age ms +dropped", captured.out)
    assert "s3cret" not in captured.out + captured.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nowhere.mp4"], 2, "nowhere.mp4: no such file"),
        (["CLIP", "--roi", "1,2,3"], 2, "x,y,width,height"),
        (["CLIP", "--roi", "300,0,100,100"], 2, "not inside the 320x240 frame"),
        (["CLIP", "--rotate", "45"], 2, "0, 90, 180 or 270"),
        (["CLIP", "--flip", "x"], 2, "left-right"),
        (["CLIP", "--transport", "carrier-pigeon"], 2, "tcp or udp"),
        (["CLIP", "--timeout", "-1"], 2, "above 0"),
        (["CLIP", "--max-frames", "0"], 2, "1 or more"),
        (["CLIP", "--batch", "0"], 2, "1 or more"),
        (["CLIP", "--max-age", "-1"], 2, "above 0"),
        (["CLIP", "--timeout", "0"], 2, "above 0"),
        (["CLIP", "--save", "out.gif"], 2, "must end in .mp4"),
        (["CLIP", "--events", "/no/such/folder/e.jsonl"], 2, "make it first"),
        (["CLIP", "--backend", "onnxruntim"], 2, "did you mean"),
        (["EMPTY"], 2, "no pictures in this folder"),
        (["77"], 6, "/dev/video77: no such camera"),
        (["/dev/v4l/by-id/usb-none"], 6, "/dev/v4l/by-id/usb-none: no such camera"),
        (["rtsp://u:s3cret@127.0.0.1:9/cam"], 6, "nothing listens there"),
        (["gst:videotestsrc"], 5, "without GStreamer"),
        (["CUT"], 6, "cannot be read: it is cut short"),
    ],
)
def test_what_goes_wrong_has_a_code_and_a_reason(
    model: str, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    words: list[str], code: int, says: str,
) -> None:  # fmt: skip
    if words[0].startswith("rtsp"):
        pytest.importorskip("av")
    if words[0].startswith("gst") and cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip("this OpenCV has GStreamer")
    (tmp_path / "empty").mkdir()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(Path(clip).read_bytes()[:2000])
    names = {"CLIP": clip, "EMPTY": str(tmp_path / "empty"), "CUT": str(cut)}
    assert main(["run", model, *(names.get(word, word) for word in words)]) == code
    captured = capsys.readouterr()
    assert says in captured.err
    assert "s3cret" not in captured.err + captured.out


def test_a_video_that_ends_in_mid_frame_keeps_what_it_gave(
    model: str, tmp_path: Path, make_clip: MakeClip, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_clip(tmp_path / "clip.avi", frames=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    events, video = tmp_path / "e.jsonl", tmp_path / "out.mp4"
    words = ["--events", str(events), "--save", str(video), "--json"]
    assert main(["run", model, str(path), *words]) == 6
    summary = json.loads(capsys.readouterr().out)
    (source,) = summary["sources"]
    assert summary["exit"] == 6
    assert "ends in mid-frame" in source["error"]
    assert 10 < source["frames"] < 40
    assert len(events.read_text().splitlines()) == source["frames"]
    assert cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT) == source["frames"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_ends_it_well(
    start: Start, model: str, clip: str, tmp_path: Path, number: signal.Signals
) -> None:
    events, video = tmp_path / "e.jsonl", tmp_path / "out.mp4"
    words = ["--loop", "--realtime", "--events", str(events), "--save", str(video), "--json"]
    running = start(model, clip, *words)
    wait_for_lines(events, running)
    running.send_signal(number)
    out, err = running.communicate()
    assert (running.returncode, err) == (0, "")
    (source,) = json.loads(out)["sources"]
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert len(lines) == source["frames"]
    assert cv2.VideoCapture(str(video)).read()[0]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "state") == [
        "clip.mp4", "e.jsonl", "out.mp4",
    ]  # fmt: skip


def test_nohup_outlives_its_terminal(start: Start, model: str, clip: str, tmp_path: Path) -> None:
    events = tmp_path / "e.jsonl"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    try:
        running = start(model, clip, "--loop", "--realtime", "--events", str(events))
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for_lines(events, running)
    running.send_signal(signal.SIGHUP)
    count = events.read_text().count("\n")
    while events.read_text().count("\n") <= count:
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    running.communicate()
    assert running.returncode == 0


def test_ctrl_c_while_a_camera_freezes(
    start: Start, model: str, camera: Camera, tmp_path: Path
) -> None:
    """Nothing comes any more, and nobody has to wait until that is noticed."""
    filmed, events = camera(), tmp_path / "e.jsonl"
    running = start(model, filmed.url(), "--events", str(events), "--timeout", "300", "--json")
    wait_for_lines(events, running)
    filmed.freeze()
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate()
    assert running.returncode == 0
    assert json.loads(out)["sources"][0]["frames"] > 0


def test_ctrl_c_while_nobody_answers(start: Start, model: str) -> None:
    pytest.importorskip("av")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/cam"
        running = start(model, url, "--timeout", "300", "--json")
        connection, _ = silent.accept()
        with connection:
            running.send_signal(signal.SIGINT)
            out, _ = running.communicate()
    assert running.returncode == 0
    assert json.loads(out)["sources"][0]["frames"] == 0


def test_a_second_ctrl_c_is_not_caught() -> None:
    stops: list[int] = []
    before = signal.getsignal(signal.SIGTERM)

    def press_twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    with pytest.raises(KeyboardInterrupt), stopped_by_signals(lambda: stops.append(1)):
        press_twice()
    assert stops == [1]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_camera_that_dies_is_lost(
    start: Start, model: str, camera: Camera, tmp_path: Path
) -> None:
    filmed, events = camera(), tmp_path / "e.jsonl"
    running = start(model, filmed.url(), "--events", str(events), "--no-reconnect", *PATIENT)
    wait_for_lines(events, running)
    filmed.kill()
    _, err = running.communicate()
    assert running.returncode == 6
    assert "rtsp://" in err


def test_a_camera_that_comes_back_goes_on(
    start: Start, model: str, camera: Camera, tmp_path: Path
) -> None:
    """One of two cameras is switched off and on; the frames of both are in one log."""
    filmed, other, events = camera(), camera(), tmp_path / "e.jsonl"
    words = [filmed.url(), other.url(), "--events", str(events), "--json"]
    running = start(model, *words, *PATIENT)
    wait_for_lines(events, running, filmed.url())
    filmed.kill()
    assert running.stderr is not None
    assert re.search("lost, trying again: .", running.stderr.readline())
    wait_for_lines(events, running, other.url(), more=5)
    camera("--port", str(filmed.port))
    wait_for_lines(events, running, filmed.url(), more=5)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate()
    assert running.returncode == 0
    assert "live again" in err
    back, steady = json.loads(out)["sources"]
    assert (back["reconnects"], steady["reconnects"]) == (1, 0)
    assert (back["error"], steady["error"]) == (None, None)
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    indices = [line["index"] for line in lines if line["source"] == filmed.url()]
    assert indices == sorted(set(indices))


def test_a_camera_that_is_gone_at_the_end_is_said_and_no_error(
    start: Start, model: str, camera: Camera, tmp_path: Path
) -> None:
    filmed, events = camera(), tmp_path / "e.jsonl"
    running = start(model, filmed.url(), "--events", str(events), *PATIENT)
    wait_for_lines(events, running)
    filmed.kill()
    assert running.stderr is not None
    while "trying again" not in running.stderr.readline():
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate()
    assert running.returncode == 0
    assert re.search(r"lost \d+ s ago, trying again: .", out)


def test_a_camera_that_was_never_there_is_tried_while_others_run(
    start: Start, model: str, camera: Camera, tmp_path: Path
) -> None:
    filmed, events = camera(), tmp_path / "e.jsonl"
    filmed.kill()
    words = [filmed.url(), camera().url(), "--events", str(events), "--json"]
    running = start(model, *words, *PATIENT)
    wait_for_lines(events, running)
    camera("--port", str(filmed.port))
    wait_for_lines(events, running, filmed.url())
    running.send_signal(signal.SIGINT)
    running.communicate()
    assert running.returncode == 0


def test_cameras_of_which_none_was_ever_there_end_the_run(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av")
    urls = ["rtsp://127.0.0.1:9/cam", "rtsp://127.0.0.1:9/other"]
    assert main(["run", model, *urls, "--json"]) == 6
    for source in json.loads(capsys.readouterr().out)["sources"]:
        assert "nothing listens" in source["error"]


def test_the_live_line(start: Start, model: str, clip: str) -> None:
    """Drawn in place on a terminal."""
    ours, theirs = pty.openpty()
    running = start(model, clip, "--realtime", stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    running.communicate()
    assert running.returncode == 0
    assert b"fps" in shown
    assert b"p50" in shown
    assert b"wait" in shown
    assert b"age" in shown


def test_a_terminal_that_is_closed_ends_the_line_and_not_the_run(
    start: Start, model: str, clip: str, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    events = tmp_path / "e.jsonl"
    words = ["--loop", "--realtime", "--events", str(events)]
    running = start(model, clip, *words, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    wait_for_lines(events, running)
    os.close(ours)
    count = events.read_text().count("\n")
    while events.read_text().count("\n") < count + 25:  # several updates of the line
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate()
    assert running.returncode == 0
    assert "clip.mp4" in out


def test_quiet_is_quiet(start: Start, model: str, clip: str) -> None:
    running = start(model, clip, "--quiet")
    out, err = running.communicate()
    assert (running.returncode, err) == (0, "")
    assert "clip.mp4" in out


def wait_for_lines(
    path: Path, running: "subprocess.Popen[str]", source: str = "", *, more: int = 0
) -> None:
    """Until five lines are there, of this source, or so many more than now."""

    def count() -> int:
        return sum(source in line for line in path.read_text().splitlines()) if path.exists() else 0

    wanted = count() + more if more else 5
    while count() < wanted:
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)


@given(st.tuples(*[st.integers(0, 99999)] * 2), st.tuples(*[st.integers(1, 99999)] * 2))
def test_a_roi_is_read_as_written(corner: tuple[int, int], size: tuple[int, int]) -> None:
    roi = (*corner, *size)
    assert parse_roi(",".join(map(str, roi))) == roi
    assert parse_roi(" , ".join(map(str, roi))) == roi


@given(st.text() | st.from_regex(r"[0-9,. -]{0,20}", fullmatch=True))
def test_any_other_roi_is_refused(text: str) -> None:
    with suppress(UsageError):
        x, y, w, h = parse_roi(text)
        assert min(x, y, w - 1, h - 1) >= 0


def test_names_of_several_outputs() -> None:
    assert numbered(Path("a/out.mp4"), 0, 1) == Path("a/out.mp4")
    assert numbered(Path("a/out.mp4"), 1, 2) == Path("a/out-2.mp4")
