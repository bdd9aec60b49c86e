"""Tables of boxes with more than classes, read as what the file, the user or the values say."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecnn_export.config import ExportConfig
from edgecnn_export.exporter_metadata import read_metadata
from edgecnn_export.loading.size import Size
from edgecnn_export.planning.graph_info import GraphInfo
from edgecnn_export.planning.resolve import Evidence, Plan, resolve
from edgecnn_export.planning.settings import ExportSettings
from edgecnn_runtime.bundle.manifest import Obb, Output, Pose
from edgecnn_runtime.errors import UsageError

PICTURES, WIDTH, HEIGHT = 2, 320, 192
CELLS = sum(WIDTH // stride * HEIGHT // stride for stride in (8, 16, 32))
ROWS = 100
Array = NDArray[np.float32]


def scores(rng: np.random.Generator, count: int, columns: int) -> Array:
    return (1 / (1 + np.exp(-rng.normal(-5, 2, (PICTURES, count, columns))))).astype(np.float32)


def pixels(rng: np.random.Generator, count: int, columns: int) -> Array:
    return rng.uniform(5, 180, (PICTURES, count, columns)).astype(np.float32)


def raw(rng: np.random.Generator, classes: int, *last: Array) -> dict[str, Array]:
    """[N,4+C+…,A]."""
    parts = [pixels(rng, CELLS, 4), scores(rng, CELLS, classes), *last]
    return {"output0": np.concatenate(parts, 2).swapaxes(1, 2)}


def ranked(rng: np.random.Generator, classes: int, *last: Array) -> dict[str, Array]:
    """[N,K,6+…]."""
    corners = pixels(rng, ROWS, 4)
    corners[..., 2:] += corners[..., :2]
    kinds = rng.integers(0, classes, (PICTURES, ROWS, 1))
    return {"output0": np.concatenate([corners, scores(rng, ROWS, 1), kinds, *last], 2)}


def keypoints(rng: np.random.Generator, points: int, dims: int, count: int = CELLS) -> Array:
    parts = [pixels(rng, count, 2), scores(rng, count, 1)][: dims - 1]
    return np.concatenate(parts * points, 2)


def plan(
    outputs: Mapping[str, Array], metadata: Mapping[str, str] | None = None, **options: Any
) -> Plan:
    """The plan with the settings of the file, as the export merges them."""
    known = read_metadata(metadata or {})
    config = ExportConfig(
        **{"preset": "unit", "color": "rgb", "model": "m.onnx", **known.spec, **options}
    )
    entries = tuple(
        Output(name=name, dtype="float32", shape=(None, *values.shape[1:]))
        for name, values in outputs.items()
    )
    evidence = Evidence(outputs=outputs, pictures=PICTURES, metadata=known)
    size = Size(WIDTH, HEIGHT, 3)
    return resolve(ExportSettings(config, "preset"), size, GraphInfo(entries, {}), evidence)


PERSON = {"task": "pose", "names": "{0: 'person'}", "kpt_shape": "[17, 3]"}


def test_a_pose_file_says_everything() -> None:
    rng = np.random.default_rng(0)
    spec = plan(raw(rng, 1, keypoints(rng, 17, 3)), PERSON).spec
    assert isinstance(spec.decode, Pose)
    assert (spec.task, spec.labels, spec.input.resize) == ("pose", ("person",), "letterbox")
    assert (spec.decode.layout, spec.decode.points, spec.decode.point_dims) == ("v8", 17, 3)
    assert len(spec.decode.skeleton) == 19
    assert spec.head_origin == "given"


def test_a_pose_file_that_ends_in_suppression_says_everything() -> None:
    rng = np.random.default_rng(1)
    rows = ranked(rng, 1, keypoints(rng, 17, 3, ROWS))
    spec = plan(rows, PERSON | {"end2end": "True"}).spec
    assert isinstance(spec.decode, Pose)
    assert (spec.decode.layout, spec.decode.classes, spec.decode.points) == ("nms", 1, 17)


def test_a_person_needs_no_more_than_the_task() -> None:
    rng = np.random.default_rng(2)
    spec = plan(raw(rng, 1, keypoints(rng, 17, 3)), task="pose").spec
    assert isinstance(spec.decode, Pose)
    assert (spec.decode.classes, spec.decode.points) == (1, 17)
    assert plan(raw(rng, 1, keypoints(rng, 17, 3)), head="pose").spec.decode == spec.decode
    with pytest.raises(UsageError, match="--task pose"):
        plan(raw(rng, 1, keypoints(rng, 17, 3)))


@pytest.mark.parametrize(("points", "dims"), [(5, 3), (7, 2), (21, 3)])
@pytest.mark.parametrize("layout", ["v8", "nms"])
def test_keypoints_without_a_known_count_are_asked_for(layout: str, points: int, dims: int) -> None:
    rng = np.random.default_rng(3)
    last = keypoints(rng, points, dims, CELLS if layout == "v8" else ROWS)
    outputs = raw(rng, 2, last) if layout == "v8" else ranked(rng, 2, last)
    labels = ("cat", "dog")
    setting = f'{{"points": {points}, "point_dims": {dims}}}'
    with pytest.raises(UsageError, match="how many keypoints") as caught:
        plan(outputs, task="pose", labels=labels)
    assert f"--decode '{setting}'" in str(caught.value)
    fields = {"points": points, "point_dims": dims, "skeleton": ((0, 1),)}
    decode = plan(outputs, task="pose", labels=labels, decode=fields).spec.decode
    assert isinstance(decode, Pose)
    assert (decode.points, decode.point_dims, decode.skeleton) == (points, dims, ((0, 1),))


def test_values_that_are_no_poses_are_refused() -> None:
    rng = np.random.default_rng(4)
    good = raw(rng, 1, keypoints(rng, 17, 3))["output0"]
    wrong = {
        "are no pixels": np.concatenate([good[:, :4] / 320, good[:, 4:]], 1),
        "scores of .* leave 0..1": np.concatenate([good[:, :4], 7 + good[:, 4:5], good[:, 5:]], 1),
        "visibility": np.concatenate([good[:, :5], good[:, :1].repeat(51, 1)], 1),
        "permute": good.swapaxes(1, 2),
        "not a box, 1 class and 17 keypoints": good[:, :-3],
    }
    for message, table in wrong.items():
        with pytest.raises(UsageError, match=message):
            plan({"output0": table}, PERSON)
    end = ranked(rng, 1, keypoints(rng, 17, 3, ROWS))["output0"]
    end[..., 5] = 0.5
    with pytest.raises(UsageError, match="no class number"):
        plan({"output0": end}, PERSON | {"end2end": "True"})
    end[..., 5] = 3
    with pytest.raises(UsageError, match="class number 3 occurs"):
        plan({"output0": end}, PERSON | {"end2end": "True"})


SHIPS = {"task": "obb", "names": "{0: 'ship', 1: 'plane', 2: 'car'}"}


def angles(rng: np.random.Generator, count: int) -> Array:
    return rng.uniform(-0.78, 2.35, (PICTURES, count, 1)).astype(np.float32)


def test_a_file_of_rotated_boxes_says_everything() -> None:
    rng = np.random.default_rng(5)
    spec = plan(raw(rng, 3, angles(rng, CELLS)), SHIPS).spec
    assert spec.decode == Obb(output="output0", layout="v8", classes=3)
    assert (spec.task, spec.labels, spec.input.resize) == (
        "obb", ("ship", "plane", "car"), "letterbox",
    )  # fmt: skip
    end = plan(ranked(rng, 3, angles(rng, ROWS)), SHIPS | {"end2end": "True"}).spec
    assert end.decode == Obb(output="output0", layout="nms", classes=3)


def test_rotated_boxes_need_no_more_than_the_task() -> None:
    rng = np.random.default_rng(6)
    outputs = raw(rng, 3, angles(rng, CELLS))
    for options in ({"task": "obb"}, {"head": "obb"}):
        spec = plan(outputs, **options).spec
        assert (spec.task, spec.labels) == ("obb", ("0", "1", "2"))
    with pytest.raises(UsageError, match="--task obb"):
        plan(outputs)
    with pytest.raises(UsageError, match="--task obb"):
        plan(outputs, SHIPS, task="detect")


def test_padding_after_suppression_is_no_box() -> None:
    rng = np.random.default_rng(8)
    table = ranked(rng, 3, angles(rng, ROWS))["output0"]
    entries = SHIPS | {"end2end": "True"}
    nothing = plan({"output0": 0 * table}, entries).spec
    assert nothing.decode == Obb(output="output0", layout="nms", classes=3)
    table[:, 20:] = 0
    table[..., -1] = 0
    with pytest.raises(UsageError, match="0 in every row"):
        plan({"output0": table}, entries)


def test_values_that_are_no_rotated_boxes_are_refused() -> None:
    rng = np.random.default_rng(7)
    good = raw(rng, 3, angles(rng, CELLS))["output0"]
    wrong = {
        "reaches .*no angle in radians": np.concatenate([good[:, :-1], 60 * good[:, -1:]], 1),
        "0 in every row": np.concatenate([good[:, :-1], 0 * good[:, -1:]], 1),
        "not a box, 3 classes and an angle": good[:, 1:],
    }
    for message, table in wrong.items():
        with pytest.raises(UsageError, match=message):
            plan({"output0": table}, SHIPS)


@pytest.mark.parametrize("names", [("cat",), ("cat", "dog", "ship", "plane")])
@pytest.mark.parametrize("task", ["pose", "obb", "segment"])
def test_labels_of_another_count_are_refused(task: str, names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(9)
    last = {
        "pose": keypoints(rng, 17, 3),
        "obb": angles(rng, CELLS),
        "segment": rng.normal(0, 1, (PICTURES, CELLS, 32)).astype(np.float32),
    }
    outputs = raw(rng, 3, last[task])
    if task == "segment":
        outputs["maps"] = rng.normal(0, 1, (PICTURES, 32, 48, 80)).astype(np.float32)
    decode = {"points": 17, "point_dims": 3} if task == "pose" else {}
    three = plan(outputs, task=task, labels=("cat", "dog", "ship"), decode=decode)
    assert getattr(three.spec.decode, "classes", 0) == 3
    with pytest.raises(UsageError, match=f"{len(names)} class|{len(names)} names"):
        plan(outputs, task=task, labels=names, decode=decode)


@pytest.mark.parametrize(("channels", "color"), [("3", "rgb"), ("1", "gray")])
def test_an_ultralytics_file_says_how_pixels_are_normalized(channels: str, color: str) -> None:
    entries = SHIPS | {"author": "Ultralytics", "channels": channels}
    spec = read_metadata(entries).spec
    assert (spec["preset"], spec["color"]) == ("unit", color)
    assert not {"preset", "color"} & read_metadata(SHIPS | {"author": "somebody"}).spec.keys()
