"""Masks of objects and class maps, against sums and resampling over the whole frame."""

from collections.abc import Mapping
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import (
    Input,
    ModelSpec,
    Normalization,
    Output,
    Segment,
    Semantic,
)
from edgecnn_runtime.decode import masks
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.masks import mask_iou
from edgecnn_runtime.preprocess import Geometry, Preprocessor, Warp, compute_geometry
from edgecnn_runtime.tasks import make_decoder
from edgecnn_runtime.types import UNSEEN, Box, ClassMap, InstanceMask

Floats = NDArray[np.float32]
ANCHORS, MAPS = 40, 4
SIZES = st.tuples(st.integers(40, 400), st.integers(40, 400))


def make_input(**fields: Any) -> Input:
    raw = Normalization(mean=(0.0,) * 3, std=(1.0,) * 3, origin="graph")
    return Input(width=64, height=48, color="bgr", normalization=raw, **fields)


LETTERBOX = make_input(resize="letterbox")


def make_spec(
    head: Any, shapes: dict[str, tuple[int | None, ...]], labels: tuple[str, ...], size: Input
) -> ModelSpec:
    outputs = (Output(name=name, dtype="float32", shape=shape) for name, shape in shapes.items())
    return ModelSpec(
        task="segment", input=size, outputs=tuple(outputs), decode=head, labels=labels, batch=None
    )


def instances_spec(
    *, rows: int = 12, columns: int = 16, layout: Any = "v8", **options: Any
) -> ModelSpec:
    """Two classes and MAPS maps."""
    width = {"v8": 4 + 2, "v5": 5 + 2, "nms": 6}[layout] + MAPS
    head = Segment(
        output="table", maps="maps", layout=layout, classes=2, coefficients=MAPS, **options
    )
    table = (None, width, ANCHORS) if layout == "v8" else (None, ANCHORS, width)
    return make_spec(
        head, {"table": table, "maps": (None, MAPS, rows, columns)}, ("cat", "dog"), LETTERBOX
    )


def table_of(
    objects: list[tuple[Box, list[float]]], layout: str = "v8", score: float = 0.9
) -> Floats:
    """Boxes in pixels of the input, and the weights of each; all of them are dogs."""
    rows = []
    for (x1, y1, x2, y2), weights in objects:
        center = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
        columns = {
            "v8": [*center, 0.1, score], "v5": [*center, score, 0.1, 1.0],
            "nms": [x1, y1, x2, y2, score, 1],
        }[layout]  # fmt: skip
        rows.append([*columns, *weights])
    table = np.zeros((ANCHORS, len(rows[0])), np.float32)
    table[: len(rows)] = rows
    return table.T[None] if layout == "v8" else table[None]


def maps_of(rows: int = 12, columns: int = 16) -> Floats:
    """Smooth waves, each another one."""
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    waves = [np.sin((x + 1) / (i + 2)) + np.cos((y + i) / 2) + 0.05 for i in range(MAPS)]
    return np.stack(waves)[None].astype(np.float32)


def resample(plane: Floats, spec: Input, geometry: Geometry) -> Floats:
    """A map's values at the centers of all pixels of the frame, one by one."""
    rows, columns = plane.shape
    places = []
    for axis, (count, cells, side) in enumerate(
        ((geometry.width, columns, spec.width), (geometry.height, rows, spec.height))
    ):
        shift, gain = geometry.shift[axis], geometry.gain[axis]
        cell = ((np.arange(count) + 0.5 - shift) / gain) * cells / side - 0.5
        first, last = (geometry.target[end] * cells / side for end in (axis, axis + 2))
        places.append(np.clip(cell, np.floor(first), np.ceil(last) - 1))  # no cell of a bar
    x, y = places
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    fx, fy = x - left, (y - top)[:, None]
    upper = plane[top][:, left] * (1 - fx) + plane[top][:, right] * fx
    lower = plane[bottom][:, left] * (1 - fx) + plane[bottom][:, right] * fx
    values: Floats = (upper * (1 - fy) + lower * fy).astype(np.float32)
    return values


def in_frame(instance: InstanceMask, width: int, height: int) -> NDArray[np.bool_]:
    whole = np.zeros((height, width), np.bool_)
    (left, top), (rows, columns) = instance.origin, instance.mask.shape
    assert instance.size == (height, width)
    assert left + columns <= width
    assert top + rows <= height
    whole[top : top + rows, left : left + columns] = instance.mask
    return whole


def decode(spec: ModelSpec, outputs: Mapping[str, Any], geometry: Geometry) -> Any:
    return make_decoder(spec).decode(dict(outputs), 0, geometry)


def test_an_object_without_a_pixel_is_none() -> None:
    spec = instances_spec()
    objects = [
        (Box(6.0, 5.0, 30.0, 40.0), [-1.0] * MAPS),
        (Box(30.0, 5.0, 60.0, 40.0), [1.0] * MAPS),
    ]
    outputs = {"table": table_of(objects), "maps": np.ones((1, MAPS, 12, 16), np.float32)}
    (found,) = decode(spec, outputs, compute_geometry(spec.input, 64, 48))
    assert found.box == Box(30.0, 5.0, 60.0, 40.0)
    assert found.mask.all()


@pytest.mark.parametrize("scale", [1, 2, 10])
def test_the_bars_of_the_letterbox_say_nothing_about_the_edge_of_the_frame(scale: int) -> None:
    spec = instances_spec()
    geometry = compute_geometry(spec.input, 64 * scale, 32 * scale)
    assert geometry.target == (0, 8, 64, 40)
    maps = np.full((1, MAPS, 12, 16), -100.0, np.float32)
    maps[:, :, 2:10] = 1.0
    table = table_of([(Box(0.0, 0.0, 64.0, 48.0), [1.0] * MAPS)])
    (found,) = decode(spec, {"table": table, "maps": maps}, geometry)
    assert found.mask.shape == (32 * scale, 64 * scale)
    assert found.mask.all()


@given(SIZES, st.sampled_from(["v8", "v5", "nms"]), st.sampled_from([(12, 16), (11, 17), (48, 64)]))
def test_a_mask_is_the_sum_of_the_maps_at_its_box_of_the_frame(
    size: tuple[int, int], layout: str, cells: tuple[int, int]
) -> None:
    spec = instances_spec(layout=layout, rows=cells[0], columns=cells[1])
    geometry = compute_geometry(spec.input, *size)
    weights, box = [1.0, -0.5, 0.75, 0.25], Box(6.0, 5.5, 57.0, 43.0)
    maps = maps_of(*cells)
    (found,) = decode(spec, {"table": table_of([(box, weights)], layout), "maps": maps}, geometry)
    total = np.tensordot(np.array(weights, np.float32), maps[0], 1)
    expected = resample(total, spec.input, geometry) > 0
    x, y = np.arange(size[0]) + 0.5, (np.arange(size[1]) + 0.5)[:, None]
    x1, y1, x2, y2 = found.box
    expected &= (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
    mask = in_frame(found, *size)
    assert (found.label, found.index) == ("dog", 1)
    assert mask_iou(mask, (0, 0), expected, (0, 0)) > 0.9
    assert np.count_nonzero(mask != expected) <= max(4, 0.03 * expected.size)


def test_small_cells_are_exact() -> None:
    spec = instances_spec()
    geometry = compute_geometry(spec.input, 64, 48)  # four pixels a cell, but no rounding
    weights, box = [1.0, -0.5, 0.75, 0.25], Box(6.0, 5.0, 57.0, 43.0)
    outputs = {"table": table_of([(box, weights)]), "maps": maps_of()}
    (found,) = decode(spec, outputs, geometry)
    total = np.tensordot(np.array(weights, np.float32), maps_of()[0], 1)
    expected = (resample(total, spec.input, geometry) > 0)[5:43, 6:57]
    assert (found.mask == expected).all()
    half = {
        "table": outputs["table"].astype(np.float16),
        "maps": outputs["maps"].astype(np.float16),
    }
    (rounded,) = decode(spec, half, geometry)
    assert mask_iou(found.mask, found.origin, rounded.mask, rounded.origin) > 0.99


def test_objects_at_the_edge_are_cut_and_those_outside_left_out() -> None:
    spec = instances_spec(iou=1.0)
    geometry = compute_geometry(spec.input, 128, 96)
    inside = [1.0, 0.0, 0.0, 0.0]
    maps = np.ones((1, MAPS, 12, 16), np.float32)
    boxes = [
        Box(-20, -20, 10, 10),
        Box(60, 40, 90, 90),
        Box(80, 10, 95, 20),
        Box(30.2, 30.2, 30.4, 30.4),
    ]
    outputs = {"table": table_of([(box, inside) for box in boxes]), "maps": maps}
    found = {each.box: each for each in decode(spec, outputs, geometry)}
    assert len(found) == 3
    first = found[Box(0, 0, 20, 20)]
    assert (first.origin, first.mask.shape, first.mask.all()) == ((0, 0), (20, 20), True)
    second = found[Box(120, 80, 128, 96)]
    assert (second.origin, second.mask.shape) == ((120, 80), (16, 8))
    tiny = next(each for box, each in found.items() if box.x2 - box.x1 < 1)
    assert tiny.mask.shape == (1, 1)


def test_a_region_of_the_frame_has_its_masks_there() -> None:
    spec = instances_spec()
    geometry = compute_geometry(spec.input, 300, 200, (100, 50, 128, 96))
    maps = np.ones((1, MAPS, 12, 16), np.float32)
    boxes = table_of([(Box(-10, 8, 16, 16), [1.0, 0.0, 0.0, 0.0])])
    (found,) = decode(spec, {"table": boxes, "maps": maps}, geometry)
    assert (found.origin, found.mask.shape) == ((100, 66), (16, 32))


def test_a_turned_region_has_its_masks_where_the_frame_shows_them() -> None:
    spec = instances_spec()
    quarter = np.array([[0.0, -1.0, 148.0], [1.0, 0.0, 20.0], [0.0, 0.0, 1.0]])
    pixels = np.zeros((1, 48, 64, 3), np.uint8)
    frame = np.zeros((200, 300, 3), np.uint8)
    geometry = Preprocessor(spec.input, pixels).load_frame(frame, 0, Warp(64, 48, quarter))
    maps = np.full((1, MAPS, 12, 16), -1.0, np.float32)
    maps[..., :8] = 1.0  # the left half of the picture, which is the upper one in the frame
    boxes = table_of([(Box(8, 8, 56, 40), [1.0, 0.0, 0.0, 0.0])])
    (found,) = decode(spec, {"table": boxes, "maps": maps}, geometry)
    mask = in_frame(found, 300, 200)
    assert mask[30:50, 110:138].all()
    assert not mask[54:].any()
    whole = table_of([(Box(0, 0, 64, 48), [1.0, 0.0, 0.0, 0.0])])
    (found,) = decode(spec, {"table": whole, "maps": maps}, geometry)
    assert in_frame(found, 300, 200)[20:50, 100:148].all(), "up to the edge"


def test_weights_that_are_no_numbers_give_no_object() -> None:
    spec = instances_spec(iou=1.0)
    geometry = compute_geometry(spec.input, 640, 480)
    box, maps = Box(8, 8, 40, 40), maps_of()
    maps[0, 0, 5, 5] = np.inf
    weights = [[np.nan] * 4, [-np.inf, np.inf, 0, 0], [1, 0, 0, 0]]
    outputs = {"table": table_of([(box, each) for each in weights]), "maps": maps}
    (found,) = decode(spec, outputs, geometry)
    assert found.mask.any()


def test_as_many_objects_as_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = instances_spec(iou=1.0, max_detections=2000)
    geometry = compute_geometry(spec.input, 640, 480)
    objects = [(Box(x, 8, x + 8, 16), [1.0, 0.0, 0.0, 0.0]) for x in range(ANCHORS)]
    outputs = {"table": table_of(objects), "maps": np.ones((1, MAPS, 12, 16), np.float32)}
    assert len(decode(spec, outputs, geometry)) == ANCHORS
    monkeypatch.setattr(masks, "MOST_PIXELS", 3 * 80 * 80)
    assert len(decode(spec, outputs, geometry)) == 3


def test_2000_objects_have_their_masks() -> None:
    count = 2000
    spec = instances_spec(iou=1.0, max_detections=count)
    spec = msgspec.structs.replace(
        spec,
        outputs=(Output(name="table", dtype="float32", shape=(None, 10, count)), *spec.outputs[1:]),
    )
    table = np.zeros((1, 10, count), np.float32)
    x, y = np.divmod(np.arange(count), 40)
    table[0, :4] = x + 4, y + 4, np.full(count, 6), np.full(count, 6)
    table[0, 5], table[0, 6:] = np.linspace(0.3, 0.9, count), 1.0
    outputs = {"table": table, "maps": np.ones((1, MAPS, 12, 16), np.float32)}
    found = decode(spec, outputs, compute_geometry(spec.input, 64, 48))
    assert len(found) == count
    assert all(each.mask.all() and each.mask.shape == (6, 6) for each in found)


def test_tables_and_maps_that_do_not_fit_are_refused() -> None:
    spec = instances_spec()
    with pytest.raises(BundleError, match="maps"):
        make_decoder(_with(spec, coefficients=MAPS + 1))
    with pytest.raises(BundleError, match="table"):
        make_decoder(_with(spec, classes=3))


def _with(spec: ModelSpec, **fields: Any) -> ModelSpec:
    return msgspec.structs.replace(spec, decode=msgspec.structs.replace(spec.decode, **fields))


def semantic_spec(
    channels: int, rows: int, columns: int, size: Input = LETTERBOX, **options: Any
) -> ModelSpec:
    shapes: dict[str, tuple[int | None, ...]] = {"scores": (None, channels, rows, columns)}
    labels = tuple(f"class {i}" for i in range(max(2, channels)))
    return make_spec(Semantic(output="scores", **options), shapes, labels, size)


def classes_of(spec: ModelSpec, scores: Floats, geometry: Geometry) -> NDArray[np.uint8]:
    result = decode(spec, {"scores": scores[None]}, geometry)
    assert isinstance(result, ClassMap)
    assert result.classes.shape == (geometry.height, geometry.width)
    return result.classes


def blobs(channels: int, rows: int, columns: int) -> Floats:
    """Smooth random scores, as a network gives them."""
    noise = np.random.default_rng(3).normal(size=(channels, rows, columns)).astype(np.float32)
    return np.stack([cv2.GaussianBlur(plane, (0, 0), max(rows, columns) / 12) for plane in noise])


@given(SIZES, st.sampled_from([(12, 16), (11, 15), (7, 9), (48, 64)]))
def test_every_pixel_has_the_class_whose_resampled_score_is_best(
    size: tuple[int, int], cells: tuple[int, int]
) -> None:
    spec = semantic_spec(5, *cells)
    geometry = compute_geometry(spec.input, *size)
    scores = blobs(5, *cells)
    planes = [resample(plane, spec.input, geometry) for plane in scores]
    expected = np.argmax(planes, axis=0)
    classes = classes_of(spec, scores, geometry)
    assert set(np.unique(classes)) <= set(range(5))
    assert (classes == expected).mean() > 0.9
    margin = np.diff(np.sort(planes, axis=0)[-2:], axis=0)[0]
    assert (classes == expected)[margin > 0.2 * margin.max()].mean() > 0.995


@pytest.mark.parametrize(
    ("values", "scores"), [("logits", (2.0, -1.0)), ("probabilities", (0.8, 0.4))]
)
def test_one_channel_is_foreground_over_the_threshold(
    values: str, scores: tuple[float, float]
) -> None:
    spec = semantic_spec(1, 12, 16, values=values)
    geometry = compute_geometry(spec.input, 640, 480)
    plane = np.full((1, 12, 16), scores[1], np.float32)
    plane[:, :, 8:] = scores[0]
    classes = classes_of(spec, plane, geometry)
    assert (classes[:, :300] == 0).all()
    assert (classes[:, 340:] == 1).all()
    never = semantic_spec(1, 12, 16, values=values, score=0.99)
    assert not classes_of(never, plane, geometry).any()


def test_what_the_model_does_not_see_has_no_class() -> None:
    spec = semantic_spec(3, 12, 16, make_input(resize="crop"))
    geometry = compute_geometry(spec.input, 200, 50)
    classes = classes_of(spec, blobs(3, 12, 16), geometry)
    left, _, right, _ = geometry.source
    assert (classes[:, :left] == UNSEEN).all()
    assert (classes[:, right:] == UNSEEN).all()
    assert (classes[:, left:right] < 3).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_turned_region_has_its_classes_where_the_frame_shows_them(channels: int) -> None:
    spec = semantic_spec(channels, 12, 16)
    quarter = np.array([[0.0, -1.0, 148.0], [1.0, 0.0, 20.0], [0.0, 0.0, 1.0]])
    pixels, frame = np.zeros((1, 48, 64, 3), np.uint8), np.zeros((200, 300, 3), np.uint8)
    geometry = Preprocessor(spec.input, pixels).load_frame(frame, 0, Warp(64, 48, quarter))
    scores = np.full((channels, 12, 16), -5.0, np.float32)
    scores[0, :, :8], scores[-1, :, 8:] = -4.0 if channels > 1 else -5.0, 5.0
    classes = classes_of(spec, scores, geometry)
    last = max(1, channels - 1)
    assert (classes[20:48, 100:148] == 0).all(), "up to the edge"
    assert (classes[58:84, 100:148] == last).all()
    classes[20:84, 100:148] = UNSEEN
    assert (classes == UNSEEN).all()


def test_scores_that_are_no_numbers_give_some_class() -> None:
    spec = semantic_spec(3, 12, 16)
    geometry = compute_geometry(spec.input, 640, 480)
    scores = np.full((3, 12, 16), np.nan, np.float32)
    scores[2, :6], scores[1, 6:] = 1.0, np.inf
    classes = classes_of(spec, scores, geometry)
    assert (classes[:200] == 2).all()


def test_maps_that_are_no_picture_of_the_input_are_refused() -> None:
    with pytest.raises(BundleError, match="no map of the whole 64x48 input"):
        make_decoder(semantic_spec(3, 16, 12))
    with pytest.raises(BundleError, match="300 classes, and a class map holds 255"):
        make_decoder(semantic_spec(300, 12, 16))
    for rows, columns in ((12, 16), (2, 2), (1, 1), (2, 3), (47, 63), (96, 128)):
        make_decoder(semantic_spec(3, rows, columns))
