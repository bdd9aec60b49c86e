"""load() and Model: the same answers as the plain way, whatever the size, place and batch."""

import cv2
import msgspec
import numpy as np
import pytest

import edgecnn_runtime
from edgecnn_runtime import Classification, Frame, load
from edgecnn_runtime.backends import fake
from edgecnn_runtime.backends.candidate import Candidate
from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.errors import (
    BackendMissingError,
    BundleError,
    SelfTestError,
    UnsupportedModelError,
    UsageError,
)
from edgecnn_runtime.model import Model, crop_region, with_score
from edgecnn_runtime.selection.candidates import Choice
from edgecnn_runtime.types import Box


@pytest.fixture
def model(bundle, tmp_path):
    with load(bundle, cache_dir=tmp_path / "cache") as opened:
        yield opened


@pytest.fixture
def frame():
    return np.random.default_rng(5).integers(0, 256, (90, 160, 3)).astype(np.uint8)


def plain(build, picture):
    """Resize, run, softmax: what every tutorial does."""
    pixels = cv2.resize(picture, (32, 24))[None]
    scores = build.run_onnx(build.classifier(), pixels)["scores"][0].astype(np.float64)
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def test_a_frame_gives_the_plain_answer(model, build, frame):
    found = model(frame)
    assert isinstance(found, Classification)
    assert found.scores == pytest.approx(plain(build, frame), abs=1e-5)
    assert found.label == "abcd"[found.index]


def test_a_frame_from_a_source_is_the_same(model, frame):
    stamped = Frame(frame, index=0, captured=0.0, pts=None, source="test")
    assert np.array_equal(model(stamped).scores, model(frame).scores)


def test_a_region_is_the_picture_of_that_region(model, build, frame):
    found = model(frame, roi=(20, 10, 100, 60))
    assert found.scores == pytest.approx(plain(build, frame[10:70, 20:120]), abs=1e-5)


def test_results_do_not_change_with_the_next_frame(model, frame):
    first = model(frame)
    before = first.scores.copy()
    model(255 - frame)
    assert np.array_equal(first.scores, before)


@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_batch_answers_each_frame_alone(bundle, build, tmp_path, batch, count):
    rng = np.random.default_rng(count)
    shapes = [(90, 160), (48, 64), (24, 32), (100, 40), (30, 30)][:count]
    frames = [rng.integers(0, 256, (*shape, 3)).astype(np.uint8) for shape in shapes]
    with load(bundle, batch=batch, cache_dir=tmp_path) as model:
        found = model.batch(frames)
    assert len(found) == count
    for result, picture in zip(found, frames, strict=True):
        assert result.scores == pytest.approx(plain(build, picture), abs=1e-5)


def test_crops_come_from_the_full_frame(model, build, frame):
    boxes = [Box(10.2, 20.7, 60.1, 70.0), Box(-5.0, -5.0, 30.0, 40.0), Box(150, 80, 400, 300)]
    found = model.crops(frame, boxes)
    cuts = [frame[20:70, 10:61], frame[0:40, 0:30], frame[80:90, 150:160]]
    for result, cut in zip(found, cuts, strict=True):
        assert result.scores == pytest.approx(plain(build, cut), abs=1e-5)
    (wide,) = model.crops(frame, [Box(40, 40, 60, 50)], margin=0.5)
    assert wide.scores == pytest.approx(plain(build, frame[35:55, 30:70]), abs=1e-5)


@pytest.mark.parametrize(
    ("box", "region"),
    [
        (Box(0, 0, 160, 90), (0, 0, 160, 90)),
        (Box(500, 500, 600, 600), (159, 89, 1, 1)),
        (Box(-50, -50, -10, -10), (0, 0, 1, 1)),
        (Box(10, 10, 10, 10), (10, 10, 1, 1)),
    ],
)
def test_a_crop_has_at_least_one_pixel_of_the_frame(box, region):
    assert crop_region(box, 160, 90) == region


@pytest.mark.parametrize(
    "frame", [None, np.zeros((9, 9, 3), np.float32), np.zeros((9, 9), np.uint8)]
)
def test_what_is_no_picture_is_refused(model, frame):
    for use in (lambda: model(frame), lambda: model.batch([frame]), lambda: model.crops(frame, [])):
        with pytest.raises(UsageError, match=r"a frame is"):
            use()


def test_a_closed_model_says_so(bundle, tmp_path, frame):
    with load(bundle, cache_dir=tmp_path) as model:
        pass
    model.close()
    with pytest.raises(UsageError, match="closed"):
        model(frame)


# --- what it runs on --------------------------------------------------------------------------


def test_the_choice_can_be_read(model):
    text = str(model.choice)
    assert "model.fp32.onnx on onnxruntime/f32" in text
    assert "self-test" in text
    assert model.choice.test.passed


def test_arguments_override_the_choice(bundle, tmp_path):
    with load(bundle, backend="onnxruntime", threads=1, self_test=False, cache_dir=tmp_path) as one:
        assert one.choice.candidate.threads == 1
        assert one.choice.test is None
    pytest.importorskip("openvino")
    with load(bundle, backend="openvino", cache_dir=tmp_path) as other:
        assert other.choice.candidate.engine == "openvino/f32"


def test_what_cannot_be_meant_is_refused(bundle, tmp_path):
    for wrong, says in (
        ({"backend": "onnxrt"}, "did you mean"),
        ({"artifact": "int4"}, "it has fp32"),
        ({"batch": 0}, "batch 0"),
        ({"threads": -2}, "-2 threads"),
    ):
        with pytest.raises(UsageError, match=says):
            load(bundle, cache_dir=tmp_path, **wrong)
    with pytest.raises(BackendMissingError, match=r"computes in 'f8'; .*offer"):
        load(bundle, precision="f8", cache_dir=tmp_path)
    with pytest.raises(UsageError, match="is not a bundle"):
        load(tmp_path, cache_dir=tmp_path)
    with pytest.raises(BundleError, match="not the pinned"):
        load(bundle, digest="0" * 64, cache_dir=tmp_path)


def test_only_the_batches_of_the_manifest(build, pictures, tmp_path):
    template = classifier(build, batch=(1, 4))
    models = {"model.fp32.onnx": build.classifier()}
    path = build.bundle(tmp_path / "a.edge", models, template, pictures)
    for batch, size in ((1, 1), (2, 4), (4, 4)):
        with load(path, batch=batch, cache_dir=tmp_path) as model:
            assert model.batch_size == size
    with pytest.raises(UsageError, match="batches of 1, 4: 5 frames do not fit"):
        load(path, batch=5, cache_dir=tmp_path)


def test_a_bundle_of_larger_batches_answers_single_frames(build, pictures, tmp_path, frame):
    models = {"model.fp32.onnx": build.classifier()}
    path = build.bundle(tmp_path / "a.edge", models, classifier(build, batch=(4, 8)), pictures)
    with load(path, cache_dir=tmp_path) as model:
        assert model.batch_size == 4
        assert model(frame).scores == pytest.approx(plain(build, frame), abs=1e-5)


def test_an_artifact_that_lies_about_its_outputs_is_refused(build, pictures, tmp_path):
    outputs = (m.Output(name="scores", dtype="float32", shape=(None, 7)),)
    honest = classifier(build)
    spec = msgspec.structs.replace(honest.model, outputs=outputs)
    lying = msgspec.structs.replace(honest, model=spec)
    models = {"model.fp32.onnx": build.classifier(classes=4)}
    zeros = {"scores": np.zeros((3, 7), np.float32)}
    path = build.bundle(tmp_path / "a.edge", models, lying, pictures, reference=zeros)
    with pytest.raises(BundleError, match=r"'scores' as \[1, 4\]; the manifest says \[1, 7\]"):
        load(path, cache_dir=tmp_path)


def test_what_does_not_reproduce_is_refused_loudly_and_the_next_one_tried(
    build, pictures, tmp_path, caplog
):
    """The first file computes something else than the golden outputs say."""
    good = build.classifier()
    wrong = build.classifier()
    weights = next(tensor for tensor in wrong.graph.initializer if tensor.name == "linear")
    weights.raw_data = np.frombuffer(weights.raw_data, np.float32)[::-1].tobytes()
    models = {"model.fast.onnx": wrong, "model.fp32.onnx": good}
    path = build.bundle(
        tmp_path / "a.edge",
        models,
        classifier(build),
        pictures,
        reference=build.run_onnx(good, pictures),
    )
    with load(path, cache_dir=tmp_path) as model:
        assert model.choice.candidate.artifact.file == "model.fp32.onnx"
        refused, why = model.choice.refused[0]
    assert refused.artifact.file == "model.fast.onnx"
    assert "dB" in why
    assert f"refused: {refused}" in str(model.choice)
    assert "does not reproduce the golden outputs" in caplog.text
    with pytest.raises(SelfTestError, match=r"model\.fast\.onnx.*edgecnn verify"):
        load(path, artifact="fast", cache_dir=tmp_path)
    load(path, artifact="fast", self_test=False, cache_dir=tmp_path).close()
    both = build.bundle(
        tmp_path / "b.edge",
        {"model.fast.onnx": wrong, "model.fp32.onnx": wrong},
        classifier(build),
        pictures,
        reference=build.run_onnx(good, pictures),
    )
    with pytest.raises(SelfTestError, match=r"b\.edge: none of \d+ candidates can be used here"):
        load(both, cache_dir=tmp_path)


def classifier(build, **fields):
    return build.manifest(
        m.Classify(output="scores"),
        {"scores": (None, 4)},
        size=build.input(32, 24),
        task="classify",
        labels=tuple("abcd"),
        **fields,
    )


# --- pipelines without an engine --------------------------------------------------------------


def test_the_fake_backend_loads_any_bundle(bundle, tmp_path, frame):
    with load(bundle, backend="fake", cache_dir=tmp_path) as model:
        assert model(frame).label in "abcd"
        assert model.choice.test is None


def test_a_model_around_a_function(build, frame):
    """How a test of a pipeline says what the detector sees: a bright picture is an object."""
    spec = m.Yolo(output="out", layout="nms", classes=1)
    made = build.manifest(spec, {"out": (None, 1, 6)}, size=build.input(64, 48), labels=("lamp",))

    def see(pixels):
        bright = pixels.mean() / 255
        return {"out": np.float32([[[16, 12, 32, 24, bright, 0]]])}

    candidate = Candidate(made.artifacts[0], "fake", "f32", 1, "a test")
    model = Model(made, fake.Fake((1, 48, 64, 3), see), Choice(candidate))
    assert model(np.zeros_like(frame)) == []
    (lamp,) = model(np.full_like(frame, 250))
    assert lamp.label == "lamp"
    assert tuple(lamp.box) == pytest.approx((40, 22.5, 80, 45))


@pytest.mark.parametrize(("score", "count"), [(0.0, 3), (0.5, 2), (0.95, 0)])
def test_another_score_threshold(build, frame, score, count):
    spec = m.Yolo(output="out", layout="nms", classes=1, score=0.7)
    made = build.manifest(spec, {"out": (None, 3, 6)}, size=build.input(64, 48), labels=("lamp",))
    lamps = [[20 * i, 12, 20 * i + 16, 24, score, 0] for i, score in enumerate((0.9, 0.6, 0.3))]
    candidate = Candidate(made.artifacts[0], "fake", "f32", 1, "a test")

    def see(_pixels):
        return {"out": np.float32([lamps])}

    for changed, expected in ((made, 1), (with_score(made, score), count)):
        model = Model(changed, fake.Fake((1, 48, 64, 3), see), Choice(candidate))
        assert len(model(frame)) == expected


def test_a_score_threshold_is_for_detectors(bundle, tmp_path):
    with pytest.raises(UsageError, match="this model's task is 'classify': leave out --score"):
        load(bundle, score=0.5, cache_dir=tmp_path)
    with pytest.raises(UsageError, match="a probability, 0 to 1"):
        load(bundle, score=50, cache_dir=tmp_path)


# --- the package ------------------------------------------------------------------------------


def test_the_package_offers_what_it_names():
    for name in ("load", "Model", "Frame", "Detection", "Result"):
        assert hasattr(edgecnn_runtime, name)
        assert name in dir(edgecnn_runtime)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = edgecnn_runtime.lode


def test_unsupported_files_are_refused_before_the_last_error_is_raised(bundle, tmp_path, caplog):
    """Every candidate is tried; each one's reason is logged; the last is raised."""
    from edgecnn_runtime.bundle import bundle as files

    path = tmp_path / "copy.edge"
    manifest = files.open_bundle(bundle).manifest
    with files.new_bundle(path, overwrite=False) as folder:
        (folder / "golden.npz").write_bytes((bundle / "golden.npz").read_bytes())
        (folder / "model.fp32.onnx").write_bytes(b"\x08\x0a")  # only an ir_version
        entry = msgspec.structs.replace(
            manifest.artifacts[0], sha256=files.sha256_file(folder / "model.fp32.onnx")
        )
        files.write_manifest(folder, msgspec.structs.replace(manifest, artifacts=(entry,)))
    with pytest.raises(UnsupportedModelError):
        load(path, cache_dir=tmp_path)
    assert "ONNX Runtime" in caplog.text
