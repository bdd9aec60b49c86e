"""``edgecnn run plates``: a pipeline that ships, by its name; crops, tables and copies."""

import csv
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn import pipelines
from edgecnn.cli import main

Bundles = dict[str, Path]
RECIPE = """\
detect: {model: blobs.edge}
recognize: {model: letters.edge}
vote: {score: 0.2, syntax: syntax.yaml}
"""


def picture(*colors: tuple[int, int, int]) -> np.ndarray:
    """A dark picture with textured squares."""
    pixels = np.full((240, 320, 3), 20, np.uint8)
    for i, color in enumerate(colors):
        x = 20 + 100 * i
        pixels[80:130, x : x + 50] = color
        pixels[80:130:4, x : x + 50] = 60
    return pixels


RED, BLUE = (0, 0, 255), (255, 0, 0)


@pytest.fixture
def shipped(
    tmp_path: Path, color_bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> Path:  # fmt: skip
    """The pipeline ``letters``, installed with its bundles."""
    folder = tmp_path / "installed"
    folder.mkdir()
    for name in ("blobs", "letters"):
        shutil.copytree(color_bundles[name], folder / f"{name}.edge")
    (folder / "letters.yaml").write_text(RECIPE)
    (folder / "syntax.yaml").write_text("countries: {X: {patterns: {R: 1}}, Y: {patterns: {B: 1}}}")
    monkeypatch.setattr(pipelines, "SHIPPED", {"letters": folder / "letters.yaml"})
    monkeypatch.chdir(tmp_path)
    return folder


def rows(table: Path) -> list[dict[str, Any]]:
    return list(csv.DictReader(table.read_text().splitlines()))


def test_a_table_has_a_row_for_each_reading(shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    cv2.imwrite("photos/1.png", picture(RED, BLUE))
    cv2.imwrite("photos/2.png", picture())
    cv2.imwrite("photos/3.png", picture(BLUE))
    assert main(["run", "letters", "photos/", "--csv", "out.csv"]) == 0
    table = rows(tmp_path / "out.csv")
    assert list(table[0]) == ["file", "x", "y", "w", "h", "text", "confidence"]
    found = [(row["file"], row["text"]) for row in table]
    assert sorted(found) == [("photos/1.png", "B"), ("photos/1.png", "R"), ("photos/3.png", "B")]
    (red,) = (row for row in table if row["text"] == "R")
    left, width = float(red["x"]), float(red["w"])
    assert left <= 30
    assert 60 <= left + width <= 320, "the box is in the photograph's own pixels"
    assert 0.2 < float(red["confidence"]) <= 1


def test_pictures_may_be_cut_out_already(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crop = picture(RED)[80:130, 20:70]
    cv2.imwrite("crop.png", crop)
    assert main(["run", "letters", "crop.png", "--cropped", "--csv", "out.csv"]) == 0
    (row,) = rows(tmp_path / "out.csv")
    assert [row[name] for name in ("text", *"xywh")] == ["R", "0.0", "0.0", "50.0", "50.0"]
    assert "crop.png: recognized R, " in capsys.readouterr().out


def test_a_bundle_cannot_be_told_that_pictures_are_cropped(
    color_bundles: Bundles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "crop.png"), picture(RED))
    words = ["run", str(color_bundles["letters"]), str(tmp_path / "crop.png"), "--cropped"]
    assert main(words) == 2
    assert "is no pipeline" in capsys.readouterr().err


def test_a_copy_runs_as_the_original(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pipeline", "letters", "mine/"]) == 0
    names = sorted(path.name for path in (tmp_path / "mine").iterdir())
    assert names == ["blobs.edge", "letters.edge", "letters.yaml", "syntax.yaml"]
    cv2.imwrite("1.png", picture(RED))
    assert main(["run", "mine/letters.yaml", "1.png"]) == 0
    assert "1.png: recognized R" in capsys.readouterr().out
    assert main(["pipeline", "letters", "mine/"]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_an_unknown_name_is_refused(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pipeline", "letterz", "mine/"]) == 2
    assert "letters" in capsys.readouterr().err


def test_missing_bundles_are_told_how_to_be_made(
    shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for bundle in shipped.glob("*.edge"):
        shutil.rmtree(bundle)
    cv2.imwrite("1.png", picture(RED))
    assert main(["run", "letters", "1.png"]) == 2
    assert "python -m edgecnn." in capsys.readouterr().err


def test_a_file_of_that_name_comes_first(
    shipped: Path, color_bundles: Bundles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(color_bundles["letters"], tmp_path / "letters")
    cv2.imwrite("crop.png", picture(RED)[80:130, 20:70])
    assert main(["run", "letters", "crop.png"]) == 0
    assert "crop.png: R\n" in capsys.readouterr().out


def gray(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda pixels: pixels.astype(np.uint16) * 257, "R"),
        (lambda pixels: cv2.resize(pixels, (3840, 2160), interpolation=cv2.INTER_NEAREST), "R"),
        (gray, None),
    ],
    ids=["16 bit", "4K", "gray"],
)
def test_any_kind_of_picture_is_read(
    shipped: Path, tmp_path: Path, change: Any, text: str | None
) -> None:
    cv2.imwrite("1.png", change(picture(RED)))
    assert main(["run", "letters", "1.png", "--csv", "out.csv"]) == 0
    if text is not None:
        assert [row["text"] for row in rows(tmp_path / "out.csv")] == [text]


def test_what_is_no_picture_is_named(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("1.jpg").write_text("no picture at all")
    assert main(["run", "letters", "1.jpg"]) != 0
    assert "1.jpg" in capsys.readouterr().err
