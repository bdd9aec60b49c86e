"""Flag > YAML > checkpoint, and the origin of the normalization."""

from pathlib import Path
from typing import Any

import pytest

from edgecnn_export.config import ExportConfig
from edgecnn_export.planning.settings import ExportSettings, read_settings, with_checkpoint_defaults
from edgecnn_runtime.errors import CheckpointError, ConfigError, UsageError


def settings(
    folder: Path, flags: dict[str, Any], yaml: str = "", checkpoint: dict[str, Any] | None = None
) -> ExportSettings:
    if yaml:
        (folder / "model.yaml").write_text(yaml)
        flags = {"spec": str(folder / "model.yaml"), **flags}
    if "model" not in flags and "model" not in yaml:
        flags = {"model": "m.pt", **flags}
    merged = read_settings(ExportConfig(**flags))
    return (
        merged if checkpoint is None else with_checkpoint_defaults(merged, checkpoint, "checkpoint")
    )


def test_flags_go_before_yaml_and_yaml_before_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = {"task": "detect", "input": "32x32", "color": "gray", "score": 0.1}
    config = settings(
        tmp_path, {"color": "bgr"}, "color: rgb\ninput: 64x64\nopset: 19", checkpoint
    ).config
    assert (config.color, config.input, config.task) == ("bgr", "64x64", "detect")
    assert (config.score, config.opset) == (0.1, 19)


def test_a_flag_wins_also_when_it_says_the_default(tmp_path: Path) -> None:
    config = settings(tmp_path, {"head": "auto", "opset": 20}, "head: yolov8\nopset: 18").config
    assert (config.head, config.opset) == ("auto", 20)


@pytest.mark.parametrize(
    ("flags", "yaml", "checkpoint", "origin", "numbers"),
    [
        ({}, "", {}, "assumed", (None, None, None)),
        ({}, "", {"mean": (1.0,), "std": (2.0,)}, "checkpoint", ((1,), (2,), None)),
        ({}, "mean: [3]\nstd: [4]", {"mean": (1.0,), "std": (2.0,)}, "spec", ((3,), (4,), None)),
        ({"mean": (5.0,)}, "mean: [3]\nstd: [4]", {}, "flag", ((5,), (4,), None)),
        ({"preset": "unit"}, "mean: [3]\nstd: [4]", {}, "preset", (None, None, "unit")),
        ({"mean": (5.0,), "std": (6.0,)}, "preset: unit", {}, "flag", ((5,), (6,), None)),
        ({}, "preset: raw", {"mean": (1.0,), "std": (2.0,)}, "spec", (None, None, "raw")),
    ],
)
def test_mean_and_std_come_with_who_said_them(
    tmp_path: Path, flags: Any, yaml: str, checkpoint: Any, origin: str, numbers: Any
) -> None:
    merged = settings(tmp_path, flags, yaml, checkpoint)
    assert merged.normalization == origin
    assert (merged.config.mean, merged.config.std, merged.config.preset) == numbers


def test_decode_settings_are_merged_key_by_key(tmp_path: Path) -> None:
    config = settings(tmp_path, {"decode": {"points": 4}}, "decode: {points: 5, iou: 0.2}").config
    assert config.decode == {"points": 4, "iou": 0.2}


def test_another_head_forgets_the_decode_settings_of_the_one_below(tmp_path: Path) -> None:
    config = settings(tmp_path, {"head": "yunet"}, "head: ssd\ndecode: {strides: [8]}").config
    assert config.decode == {}


def test_paths_in_yaml_are_relative_to_it(tmp_path: Path) -> None:
    config = settings(
        tmp_path, {}, "model: a.pt\nlabels: names.txt\nimages: /abs\nout: b.edge"
    ).config
    assert config.model == str(tmp_path / "a.pt")
    assert config.labels == str(tmp_path / "names.txt")
    assert (config.images, config.out) == ("/abs", str(tmp_path / "b.edge"))


def test_labels_in_yaml_may_be_the_names_themselves(tmp_path: Path) -> None:
    assert settings(tmp_path, {}, "labels: [no, yes, 1]").config.labels == ("no", "yes", "1")


def test_preset_and_mean_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="use one of them"):
        settings(tmp_path, {"preset": "unit", "mean": (1.0,)})


def test_a_yaml_typo_names_file_line_and_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.yaml:2: colour: .*did you mean color\?"):
        settings(tmp_path, {}, "input: 64x64\ncolour: rgb")
    with pytest.raises(ConfigError, match="another one"):
        settings(tmp_path, {}, "spec: other.yaml")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"trust_pickle": True}, "trust_pickle cannot be set by the file itself"),
        ({"images": "/etc"}, "images cannot be set"),
        ({"out": "/etc/x"}, "out cannot be set"),
        ({"labels": "/etc/passwd"}, "labels must be a list of names"),
        ({"maen": (1.0,)}, "did you mean mean"),
        ({"score": 7}, "score: expected"),
        ({"labels": ("cat", "\ud800")}, "labels holds half of a character"),
        ({"decode": {"charset": ["\udfff"]}}, "decode holds half of a character"),
        ({"input": "0x0"}, "input: cannot be '0x0'"),
    ],
)
def test_a_checkpoint_may_not_decide_everything(tmp_path: Path, spec: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        settings(tmp_path, {"model": "m.pt"}, "", spec)
