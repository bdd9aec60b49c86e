"""Mean and std are set, or assumed with a warning, or refused."""

from pathlib import Path
from typing import Any

import pytest

from edgecnn_export.config import ExportConfig
from edgecnn_export.planning.labels import read_labels
from edgecnn_export.planning.normalization import normalization
from edgecnn_export.planning.settings import ExportSettings
from edgecnn_runtime.bundle.manifest import Color, Normalization
from edgecnn_runtime.errors import UsageError


def mean_std(color: Color = "rgb", task: str = "classify", **fields: Any) -> Normalization:
    config = ExportConfig(color=color, **fields)
    origin: Any = "flag" if fields else "assumed"
    return normalization(ExportSettings(config, origin), color, task)[0]


def test_presets_are_in_pixel_units_and_in_the_models_order() -> None:
    rgb = mean_std(preset="imagenet")
    assert rgb.mean == pytest.approx((0.485 * 255, 0.456 * 255, 0.406 * 255))
    assert rgb.std == pytest.approx((0.229 * 255, 0.224 * 255, 0.225 * 255))
    bgr = mean_std("bgr", preset="imagenet")
    assert (bgr.mean, bgr.std) == (rgb.mean[::-1], rgb.std[::-1])
    assert mean_std("gray", preset="unit").std == (255.0,)
    assert mean_std(preset="signed").mean == (127.5,) * 3
    assert mean_std(preset="raw").std == (1.0,) * 3


def test_one_number_serves_every_channel() -> None:
    assert mean_std(mean=(10.0,), std=(20.0, 21.0, 22.0)).mean == (10.0,) * 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": (1.0,)}, "belong together"),
        ({"mean": (1.0, 2.0), "std": (1.0,)}, "--mean has 2 numbers for 3 channels"),
        ({"mean": (1.0,), "std": (0.0,)}, "--std must be over 0"),
        ({"mean": (float("nan"),), "std": (1.0,)}, "finite"),
        ({"mean": (0.5,), "std": (0.25,)}, "--mean 127.5 --std 63.75"),
        ({"color": "gray", "preset": "imagenet"}, "a gray model takes --mean X --std Y"),
    ],
)
def test_numbers_that_cannot_be_meant(fields: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mean_std(**fields)


def test_what_nobody_said_is_assumed_aloud() -> None:
    numbers, warnings = normalization(ExportSettings(ExportConfig()), "rgb", "classify")
    assert numbers.origin == "assumed"
    assert [warning.split(":")[0] for warning in warnings] == [
        "ASSUMED normalization",
        "ASSUMED color order",
    ]
    assert mean_std("gray").std == (255.0,)


@pytest.mark.parametrize("task", ["detect", "embed"])
def test_detectors_and_embeddings_refuse_to_assume(task: str) -> None:
    with pytest.raises(UsageError, match="set --mean and --std"):
        mean_std(task=task)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"a\nb\n", ("a", "b")),
        (b"a\r\nb c\r\n", ("a", "b c")),
        ("\ufeffé\n \n".encode(), ("é", " ")),
        (b"one", ("one",)),
    ],
)
def test_labels_are_one_a_line(tmp_path: Path, content: bytes, names: tuple[str, ...]) -> None:
    (tmp_path / "names.txt").write_bytes(content)
    assert read_labels(ExportConfig(labels=str(tmp_path / "names.txt"))) == names


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a\n\nb", r"names\.txt:2: an empty line"), (b"\xff\n", "not UTF-8"), (b"", "an empty line")],
)
def test_labels_that_are_no_names(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_labels(ExportConfig(labels=str(tmp_path / "names.txt")))


def test_labels_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_labels(ExportConfig(labels=str(tmp_path / "names.txt")))
    with pytest.raises(UsageError, match="Is a directory"):
        read_labels(ExportConfig(labels=str(tmp_path)))
    assert read_labels(ExportConfig()) is None
