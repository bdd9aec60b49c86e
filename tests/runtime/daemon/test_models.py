"""A model in use: its replacement on disk takes over, and gives way again where it fails."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn_runtime.daemon import models
from edgecnn_runtime.daemon.models import ModelKey, ModelPool, ServedModel, ServedReader
from edgecnn_runtime.errors import BundleError, EdgecnnError
from edgecnn_runtime.model import Model, load
from edgecnn_runtime.source.latest import LatestSlot
from edgecnn_runtime.stats import StreamStats
from edgecnn_runtime.types import Frame, FrameResult

Until = Callable[..., None]


@pytest.fixture
def bundle(tmp_path: Path, color_bundles: dict[str, Path]) -> Path:
    return Path(shutil.copytree(color_bundles["blobs"], tmp_path / "blobs.edge"))


def replace_on_disk(bundle: Path, change: Callable[[dict[str, Any], Path], None]) -> None:
    """Another bundle under the same name, as whoever exports anew leaves it."""
    new = bundle.with_name("new.edge")
    shutil.copytree(bundle, new)
    manifest = json.loads((new / "manifest.json").read_text())
    change(manifest, new)
    (new / "manifest.json").write_text(json.dumps(manifest))
    bundle.rename(bundle.with_name(f"old-{time.monotonic_ns()}.edge"))
    new.rename(bundle)


class Camera:
    """Gives a served model frames, and takes its results."""

    def __init__(self, served: ServedModel) -> None:
        self.frames: LatestSlot[Frame] = LatestSlot()
        self.results: LatestSlot[FrameResult] = LatestSlot()
        served.scheduler.add("camera", self.frames, self.results, stats=StreamStats())

    def infer(self) -> FrameResult:
        pixels = np.full((480, 640, 3), 20, np.uint8)
        self.frames.put(Frame(pixels, 0, time.monotonic(), None, "camera"), replace=True)
        result = self.results.take(60)
        assert result is not None
        return result


class Brittle:
    """Opens real models; those that are opened from now on may fail when they run."""

    def __init__(self, bundle: Path) -> None:
        self.bundle = bundle
        self.error: Exception | None = None
        self.opened: list[Model] = []

    def __call__(self, batch: int) -> Model:
        model = load(self.bundle, batch=batch)
        if error := self.error:

            def fail() -> Any:
                raise error

            model.infer = fail  # type: ignore[method-assign] # an engine that has broken
        self.opened.append(model)
        return model


@pytest.fixture
def brittle(bundle: Path) -> Brittle:
    return Brittle(bundle)


@pytest.fixture
def served(bundle: Path, brittle: Brittle) -> Iterator[ServedModel]:
    served = ServedModel(bundle, brittle)
    yield served
    served.close()


def swap(served: ServedModel, camera: Camera, until: Until) -> None:
    """The bundle on disk is another one: it is opened, and takes over at the next frame."""
    swaps = served.bundle.swaps

    def took_over() -> bool:
        served.bundle.look()
        camera.infer()
        return served.bundle.swaps > swaps

    until(took_over, "another model to take over")


def test_the_bundle_on_disk_takes_over_between_two_frames(
    served: ServedModel, bundle: Path, until: Until
) -> None:
    camera, digest = Camera(served), served.digest
    camera.infer()
    replace_on_disk(bundle, lambda manifest, _: manifest.update(name="another"))
    swap(served, camera, until)
    assert served.digest != digest
    assert served.problem == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _, folder: (folder / "golden.npz").write_bytes(b"x"), "golden.npz"),
        (lambda manifest, _: manifest["model"].update(labels=["other"]), "other classes"),
    ],
)
def test_what_is_not_as_good_does_not_take_over(
    served: ServedModel, bundle: Path, until: Until, change: Any, message: str
) -> None:
    camera, digest = Camera(served), served.digest
    replace_on_disk(bundle, change)
    served.bundle.look()
    until(lambda: served.problem, "the refusal")
    assert message in served.problem
    camera.infer()
    assert (served.digest, served.bundle.swaps) == (digest, 0)


def test_a_new_model_that_fails_gives_way_to_the_one_before(
    served: ServedModel, brittle: Brittle, bundle: Path, until: Until
) -> None:
    camera, digest = Camera(served), served.digest
    brittle.error = RuntimeError("no such kernel")
    replace_on_disk(bundle, lambda manifest, _: manifest.update(name="another"))
    swap(served, camera, until)
    camera.infer()
    assert served.digest == digest
    assert "taken back: RuntimeError: no such kernel" in served.problem


def test_a_new_model_that_is_far_slower_gives_way(
    served: ServedModel, brittle: Brittle, bundle: Path, until: Until, monkeypatch: Any
) -> None:
    camera, digest = Camera(served), served.digest
    camera.infer()
    replace_on_disk(bundle, lambda manifest, _: manifest.update(name="another"))
    swap(served, camera, until)
    monkeypatch.setattr(models, "TOO_SLOW", 0.0)
    served.bundle._run_seconds = (
        0.0  # what was usual cannot be reached: every run is far slower now
    )
    for _ in range(models.SLOW_RUNS):
        camera.infer()
    until(lambda: served.digest == digest, "the model before")
    assert "where 0.000 s was usual" in served.problem


def test_an_engine_that_breaks_is_opened_again(
    served: ServedModel, brittle: Brittle, until: Until
) -> None:
    camera = Camera(served)
    camera.infer()

    def fail() -> Any:
        raise RuntimeError("device lost")

    brittle.opened[-1].infer = fail  # type: ignore[method-assign] # an engine that has broken
    assert camera.infer().task == "detect"
    assert "device lost" in served.problem
    assert len(brittle.opened) == 2


def test_a_model_that_breaks_again_ends_with_a_typed_error(
    served: ServedModel, brittle: Brittle
) -> None:
    camera = Camera(served)
    brittle.error = RuntimeError("device lost")

    def fail() -> Any:
        raise RuntimeError("device lost")

    brittle.opened[-1].infer = fail  # type: ignore[method-assign] # an engine that has broken
    with pytest.raises(EdgecnnError, match="the engine fails: device lost"):
        camera.infer()


def test_a_pool_opens_all_or_nothing(
    tmp_path: Path, color_bundles: dict[str, Path], bundle: Path
) -> None:
    pool = ModelPool(tmp_path)
    good = ModelKey(color_bundles["blobs"])
    (bundle / "golden.npz").write_bytes(b"x")
    with pytest.raises(BundleError):
        pool.open([good, ModelKey(bundle)], [])
    assert pool.detectors == {}
    pool.open([good], [ModelKey(color_bundles["letters"])])
    model = pool.detectors[good]
    pool.open([good], [])
    assert pool.detectors[good] is model
    pool.keep([], [])
    assert (pool.detectors, pool.readers) == ({}, {})


def read_crop(reader: ServedReader) -> Any:
    pixels = np.full((480, 640, 3), 20, np.uint8)
    (result,) = reader.read(Frame(pixels, 0, 0.0, None, "camera"), [(10, 10, 50, 50)])
    return result


def test_a_second_model_is_swapped_and_taken_back_as_well(
    tmp_path: Path, color_bundles: dict[str, Path], until: Until
) -> None:
    bundle = Path(shutil.copytree(color_bundles["colors"], tmp_path / "colors.edge"))
    brittle = Brittle(bundle)
    reader = ServedReader(bundle, brittle)
    digest, label = reader.digest, read_crop(reader).label
    brittle.error = RuntimeError("no such kernel")
    replace_on_disk(bundle, lambda manifest, _: manifest.update(name="another"))

    def fails() -> bool:
        reader.bundle.look()
        try:
            read_crop(reader)
        except EdgecnnError:
            return True
        return False

    until(fails, "the new one to take over, and to fail")
    assert (reader.digest, reader.bundle.swaps) == (digest, 1)
    assert read_crop(reader).label == label
    reader.close()


def test_crops_of_a_frame_are_read_together_whatever_batches_the_bundle_takes(
    tmp_path: Path, color_bundles: dict[str, Path], until: Until
) -> None:
    bundle = Path(shutil.copytree(color_bundles["colors"], tmp_path / "colors.edge"))
    reader = ServedReader(bundle, Brittle(bundle), batch=4)
    pixels = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    frame = Frame(pixels, 0, 0.0, None, "camera")
    regions = [(10 + 60 * i, 10, 50, 50) for i in range(6)]

    def labels() -> list[str]:
        return [result.label for result in reader.read(frame, regions)]  # type: ignore[union-attr] # the case is that one

    one_by_one = [reader.read(frame, [region])[0].label for region in regions]  # type: ignore[union-attr] # the case is that one
    for reader.read.run_seconds[:] in ([1.0, 1e-6], [1e-6, 1.0]):  # together, and one by one
        assert labels() == one_by_one
    assert [model.batch_size for model in reader.bundle.models] == [1, 4]
    replace_on_disk(bundle, lambda manifest, _: manifest["model"].update(batch=[1]))
    reader.bundle.look()
    until(lambda: reader.bundle.problem, "a bundle that takes one crop at a time")
    assert reader.bundle.problem.endswith("it takes smaller batches: restart to use it")
    reader.read.run_seconds[:] = [1.0, 1e-6]
    assert labels() == one_by_one
    assert [model.batch_size for model in reader.bundle.models] == [1, 4]
    reader.close()
    reader = ServedReader(bundle, Brittle(bundle), batch=4)
    assert [model.batch_size for model in reader.bundle.models] == [1, 1]
    assert labels() == one_by_one
    reader.close()
