"""Frames → events, by real bundles: what happens is told once, with the frame that shows it."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import edgecnn_runtime
from edgecnn_runtime import load_pipeline
from edgecnn_runtime.assembly import PipelineModels, make_pipeline, open_models, open_part
from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.bundle.bundle import open_bundle
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.inference import ModelInference
from edgecnn_runtime.pipeline import Pipeline
from edgecnn_runtime.recipe import read_recipe
from edgecnn_runtime.sinks.serialize import event_record, event_text, read_event
from edgecnn_runtime.stages.model_reader import ModelReader
from edgecnn_runtime.track import TRACKERS
from edgecnn_runtime.track import fake as fake_tracker
from edgecnn_runtime.types import (
    Box,
    Detection,
    Event,
    Frame,
    FrameResult,
    Keypoint,
    Pixels,
    PoseDetection,
    RotatedBox,
    RotatedDetection,
    Timings,
)
from edgecnn_runtime.vote import VOTERS
from edgecnn_runtime.vote.voter import Ballot, Outcome

Bundles = dict[str, Path]
PERIOD = 0.2
WIDTH, HEIGHT = 640, 480
COLORS = {"blue": (255, 0, 0), "green": (0, 255, 0), "red": (0, 0, 255)}
START = 1000.0


def picture(*things: tuple[int, int, str], size: int = 60) -> Pixels:
    """A dark picture with a textured square of some color at each x, y of its center."""
    pixels = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    for x, y, color in things:
        half = size // 2
        square = pixels[y - half : y + half, x - half : x + half]
        square[:] = COLORS[color]
        square[::4] = square[::4] // 2 + 20
    pixels.setflags(write=False)
    return pixels


def film(pictures: Sequence[Pixels], *, start: int = 0, **fields: Any) -> list[Frame]:
    """Frames, five per second."""
    return [
        Frame(pixels, start + i, START + PERIOD * (start + i), None, "cam", **fields)
        for i, pixels in enumerate(pictures)
    ]


def passing(color: str = "red", steps: int = 10) -> list[Pixels]:
    """Something that appears on the left and moves slowly."""
    return [picture((80 + 8 * i, 200, color)) for i in range(steps)]


EMPTY = [picture()] * 12


@pytest.fixture
def write(tmp_path: Path, color_bundles: Bundles) -> Callable[[str], Path]:
    """Writes a pipeline that says ``blobs.edge`` and so on."""

    def file(text: str) -> Path:
        for name, path in color_bundles.items():
            text = text.replace(f"{name}.edge", str(path))
        (tmp_path / "pipeline.yaml").write_text(text)
        return tmp_path / "pipeline.yaml"

    return file


def play(pipeline: Pipeline, frames: Sequence[Frame]) -> list[Event]:
    return [event for frame in frames for event in pipeline(frame)]


def detections(result: FrameResult) -> list[Detection]:
    """What is drawn of a frame in which objects are followed."""
    assert isinstance(result.result, list)
    return result.result


def kinds(events: Sequence[Event]) -> list[str]:
    return [event.type for event in events]


PLATES = "detect: {model: blobs.edge}\nrecognize: {model: letters.edge}\n"


def test_a_detector_alone_tells_who_enters_and_leaves(color_bundles: Bundles) -> None:
    with load_pipeline(color_bundles["blobs"], camera="gate") as pipeline:
        events = play(pipeline, film([*passing(), *EMPTY]))
    entered, left = events
    assert (entered.type, left.type) == ("entered", "left")
    assert entered.camera == left.camera == "gate"
    assert entered.track == left.track == 1
    assert entered.label == "thing"
    assert entered.text == ""
    assert entered.model == open_bundle(color_bundles["blobs"]).digest
    assert "onnxruntime" in entered.choice
    assert entered.score == pytest.approx(1.0, abs=0.1)
    assert entered.age is None, "a file that is not played in real time"
    assert left.seconds == pytest.approx(9 * PERIOD)
    assert left.id > entered.id


def test_an_event_shows_where_and_when_it_happened(color_bundles: Bundles) -> None:
    frames = film([*EMPTY, *passing()])
    before = time.time() - time.monotonic()
    with load_pipeline(color_bundles["blobs"]) as pipeline:
        (entered,) = play(pipeline, frames)
    shown = next(f for f in frames if f.pixels is entered.images["frame"])
    assert entered.time == pytest.approx(before + shown.captured, abs=0.5)
    assert entered.box is not None
    assert entered.relative_box is not None
    x, y = (entered.box.x1 + entered.box.x2) / 2, (entered.box.y1 + entered.box.y2) / 2
    assert x == pytest.approx(80 + 8 * (shown.index - len(EMPTY)), abs=15)
    assert y == pytest.approx(200, abs=15)
    assert entered.relative_box.x1 == pytest.approx(entered.box.x1 / WIDTH)
    assert entered.relative_box.y2 == pytest.approx(entered.box.y2 / HEIGHT)
    crop = entered.images["crop"]
    assert crop[..., 2].mean() > 3 * crop[..., 0].mean(), "it shows the red thing"
    assert crop.shape[0] < HEIGHT / 2


@pytest.mark.parametrize(
    ("second", "texts"), [("letters", "BGR"), ("colors", ("blue", "green", "red"))]
)
@pytest.mark.parametrize("color", COLORS)
def test_each_track_is_recognized_once_with_evidence(
    write: Callable[[str], Path], color_bundles: Bundles, second: str, texts: Any, color: str
) -> None:  # fmt: skip
    path = write(f"detect: {{model: blobs.edge}}\nrecognize: {{model: {second}.edge}}")
    frames = film([*passing(color, 20), *EMPTY])
    with load_pipeline(path) as pipeline:
        events = play(pipeline, frames)
    assert kinds(events) == ["recognized", "left"]
    recognized, left = events
    assert recognized.text == left.text == texts[list(COLORS).index(color)]
    assert recognized.label == "thing"
    assert recognized.model == open_bundle(color_bundles[second]).digest
    assert recognized.details["votes"] >= 3
    assert recognized.score > 0.5
    assert len(recognized.part_scores) == (1 if second == "letters" else 0)
    assert any(frame.pixels is recognized.images["frame"] for frame in frames)
    channel = list(COLORS).index(color)
    crop = recognized.images["crop"].reshape(-1, 3).mean(axis=0)
    assert crop.argmax() == channel
    assert left.images == {}


def test_embeddings_are_recognized_without_a_text(write: Callable[[str], Path]) -> None:
    """Whose vector it is says a gallery, by a rule; the event is there already."""
    path = write("detect: {model: blobs.edge}\nrecognize: {model: vectors.edge}")
    with load_pipeline(path) as pipeline:
        (recognized,) = play(pipeline, film(passing("blue")))
        (decision,) = pipeline.decisions.values()
    assert (recognized.type, recognized.text, recognized.label) == ("recognized", "", "thing")
    assert recognized.score > 0.9
    assert decision.vector is not None
    assert decision.vector.argmax() == 0
    assert event_text(recognized) == f"recognized thing #1, {100 * recognized.score:.0f} %, 3 votes"


def test_it_is_recognized_at_its_end_where_the_votes_were_too_few(
    write: Callable[[str], Path],
) -> None:
    path = write(PLATES + "vote: {votes: 50}")
    with load_pipeline(path) as pipeline:
        during = play(pipeline, film(passing("green")))
        assert during == []
        recognized, left = play(pipeline, film(EMPTY, start=10))
    assert (recognized.type, recognized.text, left.type) == ("recognized", "G", "left")
    assert recognized.time < left.time + 1e-6
    assert recognized.images["frame"].shape == (HEIGHT, WIDTH, 3)


def test_several_tracks_are_told_apart(write: Callable[[str], Path]) -> None:
    scenes = [picture((80 + 4 * i, 150, "red"), (560 - 4 * i, 330, "blue")) for i in range(15)]
    with load_pipeline(write(PLATES)) as pipeline:
        events = [*play(pipeline, film(scenes)), *pipeline.end()]
    texts = {event.track: event.text for event in events if event.type == "recognized"}
    assert sorted(texts.values()) == ["B", "R"]
    assert sorted(kinds(events)) == ["left", "left", "recognized", "recognized"]
    assert len(set(texts)) == 2
    assert all(len(event.boxes) == 2 for event in events if event.type == "recognized")


def test_only_what_is_asked_for_is_told(write: Callable[[str], Path]) -> None:
    everything = "events: [entered, recognized, crossed, present, left]\npresent_every: 1.0\n"
    line = "lines: {stop: [[0.25, 0.0], [0.25, 1.0]]}\n"
    frames = film([*passing(steps=20), *EMPTY])
    with load_pipeline(write(PLATES + everything + line)) as pipeline:
        events = play(pipeline, frames)
    seen = kinds(events)
    assert seen[0] == "entered"
    assert seen[-1] == "left"
    assert seen.count("recognized") == seen.count("crossed") == 1
    assert seen.count("present") == 3, "not while it is lost"
    crossed = next(event for event in events if event.type == "crossed")
    assert (crossed.line, crossed.direction, crossed.text) == ("stop", "out", "R")
    with load_pipeline(write(PLATES + "events: [crossed]\n" + line)) as pipeline:
        assert kinds(play(pipeline, frames)) == ["crossed"]


def test_zones_and_thresholds_of_the_file_count(write: Callable[[str], Path]) -> None:
    zone = "zones: {lane: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}\n"
    frames = film([*passing(), *EMPTY])
    with load_pipeline(write("detect: {model: blobs.edge}\n" + zone)) as pipeline:
        assert {event.zone for event in play(pipeline, frames)} == {"lane"}
    large = "accept: {min_size: 0.3}\n"
    with load_pipeline(write(PLATES + large)) as pipeline:
        assert play(pipeline, frames) == []


def test_classes_that_are_not_named_do_not_exist(write: Callable[[str], Path]) -> None:
    with load_pipeline(write("detect: {model: blobs.edge, labels: [thing]}")) as pipeline:
        assert kinds(play(pipeline, film(passing()))) == ["entered"]


@pytest.mark.parametrize("bundle", ["colors", "letters"])
def test_a_model_of_whole_frames_tells_when_its_answer_changes(
    color_bundles: Bundles, bundle: str
) -> None:
    plain = {name: np.full((HEIGHT, WIDTH, 3), color, np.uint8) for name, color in COLORS.items()}
    show = [*[plain["red"]] * 8, plain["blue"], *[plain["red"]] * 8, *[plain["green"]] * 8]
    with load_pipeline(color_bundles[bundle]) as pipeline:
        events = play(pipeline, film(show))
    names = ["red", "green"] if bundle == "colors" else ["R", "G"]
    assert [(event.type, event.text) for event in events] == [("recognized", n) for n in names]
    assert events[0].label == ""
    assert events[0].relative_box == (0.0, 0.0, 1.0, 1.0)
    assert events[0].model == open_bundle(color_bundles[bundle]).digest
    assert events[1].images["frame"][0, 0].tolist() == [0, 255, 0]


def test_pictures_have_nothing_to_do_with_each_other(write: Callable[[str], Path]) -> None:
    pixels = picture((120, 200, "red"))
    frames = [Frame(pixels, i, START + i, None, "photos", file=f"{i}.jpg") for i in range(3)]
    with open_models(read_recipe(write(PLATES))) as models:
        pipeline, infer, events = models.pipeline("photos"), ModelInference(models.first), []
        for frame in frames:
            result = infer([frame])[0]
            events.append(pipeline.follow(result))
            (drawn,) = detections(pipeline.drawable(result))
            assert drawn.label.endswith("thing R")
        assert pipeline.end() == []
    assert [kinds(each) for each in events] == [["recognized"]] * 3, "who is in a picture, stays"
    assert [each[0].details["file"] for each in events] == ["0.jpg", "1.jpg", "2.jpg"]
    assert len({event.track for each in events for event in each}) == 3


def test_pictures_of_whole_frames_are_answered_one_by_one(color_bundles: Bundles) -> None:
    plain = np.full((HEIGHT, WIDTH, 3), (0, 0, 255), np.uint8)
    with load_pipeline(color_bundles["letters"]) as pipeline:
        for i in range(2):
            (event,) = pipeline(Frame(plain, i, START, None, "photos", file="a.jpg"))
            assert (event.type, event.text) == ("recognized", "R")


def test_a_reconnected_camera_begins_anew(color_bundles: Bundles) -> None:
    with load_pipeline(color_bundles["blobs"]) as pipeline:
        first = play(pipeline, film(passing()))
        again = play(pipeline, film(passing(), start=10, connection=1))
    assert kinds(first) == ["entered"]
    assert kinds(again) == ["left", "entered"]
    assert again[1].track == 2


def test_the_end_of_the_source_ends_every_track_once(color_bundles: Bundles) -> None:
    with load_pipeline(color_bundles["blobs"]) as pipeline:
        assert pipeline.end() == []
        play(pipeline, film(passing()))
        assert kinds(pipeline.end()) == ["left"]
        assert pipeline.end() == []
        assert pipeline.tracks == ()


def test_pixels_of_a_camera_loop_are_frames_too(color_bundles: Bundles) -> None:
    buffer = picture((100, 200, "red")).copy()
    events = []
    with load_pipeline(color_bundles["blobs"]) as pipeline:
        for _ in range(6):
            events += pipeline(buffer)
        buffer[:] = 0
        with pytest.raises(UsageError):
            pipeline(np.zeros((4, 4), np.uint8))
    assert kinds(events) == ["entered"]
    assert events[0].images["frame"].max() == 255, "the caller may reuse its buffer"
    assert abs(events[0].time - time.time()) < 60


def test_the_age_of_an_event_is_that_of_what_it_shows(color_bundles: Bundles) -> None:
    now = time.monotonic()
    frames = [
        Frame(pixels, i, now - 5 + PERIOD * i, None, "cam", live=True)
        for i, pixels in enumerate([*passing(), *EMPTY])
    ]
    with load_pipeline(color_bundles["blobs"]) as pipeline:
        entered, left = play(pipeline, frames)
    assert entered.age is not None
    assert left.age is not None
    assert 3.5 < entered.age < 60
    assert entered.age - left.age == pytest.approx(left.time - entered.time, abs=1.0)


def test_rules_complete_and_drop_events(
    color_bundles: Bundles, write: Callable[[str], Path]
) -> None:
    def greet(event: Event, /) -> Event | None:
        return replace(event, name="Rosa") if event.text == "R" else None

    def after(event: Event, /) -> Event | None:
        assert event.name == "Rosa", "what a rule dropped is asked no further"
        return event

    with open_models(read_recipe(write(PLATES))) as models:
        for color, expected in (("red", ["Rosa", "Rosa"]), ("blue", [])):
            pipeline = make_pipeline(
                models.recipe, models.first, models.second, models.reader, camera="gate",
                rules=[greet, after],
            )  # fmt: skip
            infer = ModelInference(models.first)
            frames = film([*passing(color), *EMPTY])
            events = [e for frame in frames for e in pipeline.follow(infer([frame])[0])]
            assert [event.name for event in events] == expected


def test_rules_of_the_file_are_asked_first(write: Callable[[str], Path]) -> None:
    path = write(PLATES + "rules: [{when: recognized, watchlist: known.txt}]\nevents: [recognized]")
    path.with_name("known.txt").write_text("R\n")
    with load_pipeline(path) as pipeline:
        for color, expected in (("red", ["R"]), ("blue", [])):
            events = [*play(pipeline, film([*passing(color), *EMPTY])), *pipeline.end()]
            assert [event.details.get("listed") for event in events] == expected


def test_two_cameras_share_models_and_nothing_else(write: Callable[[str], Path]) -> None:
    with open_models(read_recipe(write(PLATES))) as models:
        infer = ModelInference(models.first)
        cameras = {name: models.pipeline(name) for name in ("gate", "yard")}
        events: dict[str, list[Event]] = {"gate": [], "yard": []}
        for frames in zip(film(passing("red")), film(passing("blue")), strict=True):
            for name, frame in zip(cameras, frames, strict=True):
                events[name] += cameras[name].follow(infer([frame])[0])
    assert [(e.camera, e.track, e.text) for e in events["gate"]] == [("gate", 1, "R")]
    assert [(e.camera, e.track, e.text) for e in events["yard"]] == [("yard", 1, "B")]


def test_a_doubtful_detection_counts_where_it_continues_a_track(
    write: Callable[[str], Path],
) -> None:
    sure, doubtful = (Detection(Box(100, 100, 160, 160), score, "thing", 0) for score in (0.9, 0.2))
    elsewhere = Detection(Box(400, 300, 460, 360), 0.2, "thing", 0)
    with open_models(read_recipe(write("detect: {model: blobs.edge}"))) as models:
        pipeline = models.pipeline("gate")
        counts = []
        for i, found in enumerate((sure, sure, doubtful, sure)):
            frame = Frame(picture(), i, START + PERIOD * i, None, "cam")
            result = FrameResult(
                frame, "detect", [found, elsewhere], None, Timings(0.0, 0.0, 0.0, 0.0)
            )
            pipeline.follow(result)
            counts.append(pipeline.counted(result).result)
    assert counts == [[sure], [sure], [doubtful], [sure]]


def test_a_new_tracker_is_one_line(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its settings are keys of the file; it need not tell sure detections from doubtful ones."""
    monkeypatch.setitem(TRACKERS, "overlap", fake_tracker.KIND)  # type: ignore[call-overload] # a Mapping for all others
    path = write("detect: {model: blobs.edge}\ntrack: {kind: overlap, least: 0.2, max_gap: 0.5}")
    recipe = read_recipe(path)
    assert recipe.track == {"kind": "overlap", "least": 0.2, "max_gap": 0.5}
    assert recipe.least_score == 0.5
    with load_pipeline(path) as pipeline:
        entered, left = play(pipeline, film([*passing(), *EMPTY]))
    assert (entered.type, left.type) == ("entered", "left")
    assert entered.images["frame"].max() == 255, "this tracker believes every detection"


def test_a_new_vote_is_one_line(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def shout(ballots: Sequence[Ballot]) -> Outcome:
        return Outcome(f"{ballots[0].result.text}!", 1.0)

    loud = VOTERS["text"]._replace(tally=shout)
    monkeypatch.setitem(VOTERS, "loud", loud)  # type: ignore[call-overload] # a Mapping for all others
    with load_pipeline(write(PLATES + "vote: {kind: loud, votes: 1}")) as pipeline:
        recognized, _ = play(pipeline, film([*passing(), *EMPTY]))
    assert (recognized.text, recognized.details) == ("R!", {"votes": 1})


def test_other_zones_let_nobody_enter_again(write: Callable[[str], Path]) -> None:
    recipe = read_recipe(write("detect: {model: blobs.edge}"))
    zones = [{"lane": [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]}, {}]
    with open_models(recipe) as models:
        infer = ModelInference(models.first)
        pipeline = models.pipeline("gate")

        def watch(frames: Sequence[Frame]) -> list[tuple[str, str]]:
            events = [e for frame in frames for e in pipeline.follow(infer([frame])[0])]
            return [(event.type, event.zone) for event in events]

        assert watch(film(passing())) == [("entered", "")]
        scene = passing()[-1]
        for turn, expected in enumerate(([("entered", "lane")], [])):
            pipeline.renew(make_pipeline(recipe, models.first, camera="gate", zones=zones[turn]))
            assert watch(film([scene] * 10, start=10 * (turn + 1))) == expected
        assert watch(film(EMPTY, start=30)) == [("left", "")]


numbers = st.floats(-50, 700) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1e30, -1e30])
shares = st.floats(0, 1) | st.just(math.nan)
wild = st.builds(
    lambda box, score, points: Detection(Box(*box), score, "face", 0, tuple(points)),
    st.tuples(numbers, numbers, numbers, numbers),
    shares,
    st.lists(st.tuples(numbers, numbers), min_size=5, max_size=5),
)


@pytest.fixture(scope="module")
def face_reader(
    build: Any, color_bundles: Bundles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PipelineModels]:
    """A recipe whose detector finds five points; what it finds is given to ``follow``."""
    folder = tmp_path_factory.mktemp("faces")
    decode = m.Yolo(output="scores", layout="nms", classes=1, points=5, score=0.5)
    template = build.manifest(decode, {"scores": (None, 4)}, size=build.input(32, 24))
    scene = np.random.default_rng(1).integers(0, 255, (2, 24, 32, 3), np.uint8)
    build.bundle(folder / "faces.edge", {"model.fp32.onnx": build.classifier()}, template, scene)
    path = folder / "faces.yaml"
    path.write_text(
        f"detect: {{model: faces.edge}}\n"
        f"recognize: {{model: {color_bundles['letters']}, crop: landmarks}}\n"
        "events: [entered, recognized, crossed, present, left]\npresent_every: 0.5\n"
        "lines: {stop: [[0.5, 0], [0.5, 1]]}\nzones: {lane: [[0, 0], [0.5, 0], [0.5, 1]]}\n"
    )
    recipe = read_recipe(path)
    assert recipe.second is not None
    with open_part(recipe.second) as second:
        yield PipelineModels(recipe, second, second, ModelReader(second))


@settings(max_examples=60)
@given(
    frames=st.lists(st.tuples(st.floats(-2, 2), st.lists(wild, max_size=4)), max_size=12),
    file=st.sampled_from(["", "a.jpg"]),
)
def test_whatever_a_detector_finds_ends_in_events_that_can_be_written(
    face_reader: PipelineModels, frames: list[tuple[float, list[Detection]]], file: str
) -> None:
    pipeline, at, last = face_reader.pipeline("gate"), START, ""
    pixels = picture((120, 200, "red"))
    for i, (step, detections) in enumerate(frames):
        at += step
        frame = Frame(pixels, i, at, None, "cam", file=file)
        result = FrameResult(frame, "detect", detections, None, Timings(0.0, 0.0, 0.0, 0.0))
        for event in [*pipeline.follow(result), *(pipeline.end() if i % 5 == 4 else ())]:
            assert event.id > last
            last = event.id
            record = event_record(event)
            assert event_record(read_event(msgspec.json.encode(record))) == record
            assert event.relative_box is not None
            assert all(0 <= share <= 1 for share in event.relative_box)
            assert all(image.size for image in event.images.values())
        pipeline.drawable(result)


def test_what_is_drawn_are_tracks_with_their_texts(write: Callable[[str], Path]) -> None:
    with open_models(read_recipe(write(PLATES))) as models:
        infer, pipeline = ModelInference(models.first), models.pipeline("gate")
        for frame in film(passing()):
            result = infer([frame])[0]
            pipeline.follow(result)
        (drawn,) = detections(pipeline.drawable(result))
        assert (drawn.label, drawn.index) == ("#1 thing R", 1)
        assert drawn.box == pipeline.tracks[0].box


def test_a_track_that_stays_holds_no_frame(write: Callable[[str], Path]) -> None:
    with load_pipeline(write(PLATES)) as pipeline:
        play(pipeline, film([picture((100, 200, "red"))] * 20))
        (decision,) = pipeline.decisions.values()
        assert decision.text == "R"
        assert decision.best.frame.pixels.size == decision.best.crop.size == 0
        play(pipeline, film(EMPTY, start=20))
        assert pipeline.decisions == {}


def test_a_file_that_ends_in_yaml_and_is_a_bundle(color_bundles: Bundles, tmp_path: Path) -> None:
    link = tmp_path / "odd.yaml"
    link.symlink_to(color_bundles["blobs"])
    with load_pipeline(link) as pipeline:
        assert kinds(play(pipeline, film(passing()))) == ["entered"]


def test_the_package_offers_it() -> None:
    assert "load_pipeline" in dir(edgecnn_runtime)
    assert edgecnn_runtime.load_pipeline is load_pipeline


@pytest.fixture
def faces(assets: Path) -> list[Frame]:
    import cv2

    capture = cv2.VideoCapture(str(assets / "faces" / "video.mp4"))
    frames = []
    while (read := capture.read())[0]:
        frames.append(Frame(read[1], len(frames), START + len(frames) / 25, None, "faces"))
    capture.release()
    return frames


def test_faces_enter_once(yunet: Path, faces: list[Frame]) -> None:
    """The real detector on a real clip: seven to nine faces in each frame, for four seconds."""
    with load_pipeline(yunet) as pipeline:
        events = play(pipeline, faces[::5])
    entered = [event for event in events if event.type == "entered"]
    assert 7 <= len(entered) <= 20, "and not each of 170 detections"
    assert all(event.label == "face" and math.isfinite(event.score) for event in entered)
    assert {event.type for event in events} <= {"entered", "left"}


def follow_all(models: PipelineModels, task: str, results: Sequence[list[Any]]) -> tuple[Any, Any]:
    """A pipeline that was given these results, and what is drawn of the last one."""
    pipeline, events = models.pipeline("gate"), []
    for frame, found in zip(
        film([picture((120, 200, "red"))] * len(results)), results, strict=True
    ):
        result = FrameResult(frame, task, found, None, Timings(0.0, 0.0, 0.0, 0.0))
        events += pipeline.follow(result)
    return events, pipeline.drawable(result).result


def test_poses_are_followed_by_their_boxes_and_drawn_with_their_skeletons(
    face_reader: PipelineModels,
) -> None:
    points = tuple(Keypoint(100.0 + 5 * i, 200.0, 0.9) for i in range(5))
    poses = [
        [PoseDetection(Box(100.0 + x, 150, 160.0 + x, 250), 0.9, "person", 0, points, ((0, 1),))]
        for x in range(0, 40, 4)
    ]
    events, drawn = follow_all(face_reader, "pose", poses)
    assert "entered" in {event.type for event in events}
    assert drawn == [replace(poses[-1][0], label="#1 person R", index=1)]  # cut by its keypoints


def test_rotated_boxes_are_followed_and_the_evidence_is_upright(
    face_reader: PipelineModels,
) -> None:
    ships = [
        [RotatedDetection(RotatedBox(200.0 + x, 200.0, 120.0, 30.0, 1.2), 0.9, "ship", 0)]
        for x in range(0, 40, 4)
    ]
    events, drawn = follow_all(face_reader, "obb", ships)
    assert drawn == [replace(ships[-1][0], label="#1 ship", index=1)]
    entered = next(event for event in events if event.type == "entered")
    height, width = entered.images["crop"].shape[:2]
    assert width > 2 * height
    assert entered.box is not None
    assert entered.box.y2 - entered.box.y1 > 1.5 * (entered.box.x2 - entered.box.x1)
