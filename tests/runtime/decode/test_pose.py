"""Poses, against plain code that follows the layout number by number."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.preprocess import compute_geometry, identity_geometry
from edgecnn_runtime.tasks import make_decoder
from edgecnn_runtime.types import PoseDetection

WIDTH, HEIGHT = 64, 48
LABELS = ("cat", "dog")
HOSTILE = np.float32([np.nan, np.inf, -np.inf, 3e38, -3e38, 0])
SEEDS = st.integers(0, 2**32 - 1)


def pose_model(build, layout="v8", count=30, points=3, dims=3, size=(WIDTH, HEIGHT), **fields):
    columns = points * dims + (6 if layout == "nms" else 4 + len(LABELS))
    shape = (None, columns, count) if layout == "v8" else (None, count, columns)
    spec = m.Pose(
        output="out", layout=layout, classes=len(LABELS), points=points, point_dims=dims,
        skeleton=((0, 1),) if points > 1 else (), **fields,
    )  # fmt: skip
    return build.spec(
        spec, {"out": shape}, task="pose", labels=list(LABELS), size=build.input(*size)
    )


def rows_of(rng, layout, count=30, points=3, dims=3):
    """Boxes that do not touch, in the order of the columns."""
    places = rng.permutation(8 * 6)[:count]
    x, y = places % 8 * 8.0 + 4, places // 8 * 8.0 + 4
    sides = rng.uniform(3, 7, (count, 2))
    scores = rng.permutation(np.linspace(0.05, 0.95, count))
    kinds = rng.integers(0, 2, count)
    keypoints = np.concatenate(
        [rng.uniform(-20, 90, (count, points, 2)), rng.uniform(0, 1, (count, points, 1))], 2
    )
    last = keypoints[..., :dims].reshape(count, -1)
    centers = np.stack([x, y], 1)
    if layout == "nms":
        corners = np.hstack([centers - sides / 2, centers + sides / 2])
        rows = np.hstack([corners, scores[:, None], kinds[:, None], last])
    else:
        chances = np.zeros((count, 2))
        chances[np.arange(count), kinds] = scores
        rows = np.hstack([centers, sides, chances, last])
    return rows.astype(np.float32), scores, kinds, keypoints


def decode(model, rows, geometry=None, item=0):
    table = rows.T if model.decode.layout == "v8" else rows
    batch = np.zeros((item + 1, *table.shape), rows.dtype)
    batch[item] = table
    geometry = geometry or identity_geometry(model.input)
    return make_decoder(model).decode({"out": batch}, item, geometry)


@given(
    seed=SEEDS, layout=st.sampled_from(["v8", "nms"]), dims=st.sampled_from([2, 3]),
    points=st.integers(1, 5), score=st.floats(0.01, 0.9), limit=st.integers(1, 40),
)  # fmt: skip
def test_poses(build, seed, layout, dims, points, score, limit):
    model = pose_model(build, layout, points=points, dims=dims, score=score, max_detections=limit)
    rows, scores, kinds, keypoints = rows_of(np.random.default_rng(seed), layout, 30, points, dims)
    found = decode(model, rows, item=1)
    best = [i for i in np.argsort(-scores) if np.float32(scores[i]) > np.float32(score)][:limit]
    assert [pose.index for pose in found] == kinds[best].tolist()
    assert [pose.label for pose in found] == [LABELS[kinds[i]] for i in best]
    assert [pose.score for pose in found] == pytest.approx(scores[best].tolist(), abs=1e-6)
    for pose, i in zip(found, best, strict=True):
        expected = keypoints[i] if dims == 3 else np.c_[keypoints[i][:, :2], np.ones(points)]
        assert np.array(pose.keypoints) == pytest.approx(expected, abs=1e-3)  # outside, too
        assert pose.skeleton is model.decode.skeleton


@given(seed=SEEDS, width=st.integers(20, 400), height=st.integers(20, 400))
def test_coordinates_are_those_of_the_frame(build, seed, width, height):
    model = pose_model(build)
    rows, scores, _, keypoints = rows_of(np.random.default_rng(seed), "v8")
    geometry = compute_geometry(model.input, width, height)
    found = decode(model, rows, geometry)
    for pose, i in zip(found, np.argsort(-scores), strict=False):
        expected = keypoints[i, :, :2] * geometry.gain[:2] + geometry.shift[:2]
        assert np.array(pose.keypoints)[:, :2] == pytest.approx(expected, rel=1e-4, abs=0.01)


@given(seed=SEEDS, layout=st.sampled_from(["v8", "nms"]), share=st.floats(0, 1))
def test_poses_are_finite_whatever_the_output(build, seed, layout, share):
    rng = np.random.default_rng(seed)
    model = pose_model(build, layout)
    rows = rows_of(rng, layout)[0]
    wild = rng.random(rows.shape) < share
    rows[wild] = rng.choice(HOSTILE, int(wild.sum()))
    for pose in decode(model, rows):
        assert isinstance(pose, PoseDetection)
        assert np.isfinite(np.array(pose.keypoints)).all()
        assert all(0 <= keypoint.score <= 1 for keypoint in pose.keypoints)
        assert 0 <= pose.box.x1 < pose.box.x2 <= WIDTH


@pytest.mark.parametrize("layout", ["v8", "nms"])
def test_2000_poses_are_cut_to_the_best(build, layout):
    count = 2000
    model = pose_model(build, layout, count, points=17, size=(1600, 1600))
    x, y = np.divmod(np.arange(count), 45)
    corners = np.stack([x * 32, y * 32, x * 32 + 20, y * 32 + 20], 1).astype(np.float32)
    rows = np.zeros((count, model.outputs[0].shape[1 if layout == "v8" else 2]), np.float32)
    rows[:, :4] = corners
    if layout == "v8":
        rows[:, :4] = np.hstack([(corners[:, :2] + corners[:, 2:]) / 2, np.full((count, 2), 20)])
    rows[:, 4] = np.linspace(0.3, 0.9, count)
    found = decode(model, rows)
    assert len(found) == 300
    assert found[0].score == pytest.approx(0.9)
    assert {len(pose.keypoints) for pose in found} == {17}


def test_a_head_that_does_not_fit_is_refused(build):
    model = pose_model(build)
    with pytest.raises(BundleError, match="needs"):
        make_decoder(build.spec(model.decode, {"out": (None, 14, 30)}, task="pose", labels=["a"]))
    with pytest.raises(BundleError, match="skeleton joins keypoints beyond the last one, 2"):
        make_decoder(
            build.spec(
                m.Pose(output="out", layout="v8", classes=2, points=3, skeleton=((0, 3),)),
                {"out": (None, 15, 30)},
                task="pose",
                labels=["a", "b"],
            )
        )


def test_nothing_the_size_of_a_head_is_allocated(build):
    """A pose head at 640x384 holds 1.1 MB; 20 poses are a share of it."""
    model = pose_model(build, count=5040, points=17, size=(640, 384))
    head = np.zeros((1, 57, 5040), np.float32)
    head[0, :4, ::250] = np.linspace(50, 600, 21)
    head[0, 4, ::250] = np.linspace(0.3, 0.9, 21)
    decoder, geometry = make_decoder(model), identity_geometry(model.input)
    assert decoder.decode({"out": head}, 0, geometry)
    tracemalloc.start()
    decoder.decode({"out": head}, 0, geometry)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150_000
