"""``edgecnn verify --transform`` as it is typed."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn.cli import main
from edgecnn_runtime.bundle.bundle import open_bundle

MODULE = """
import cv2, numpy as np
SCALE, COLOR = {scale}, {color}
def transform(path):
    picture = cv2.resize(cv2.imread(path), (32, 32))[..., ::COLOR]
    return np.ascontiguousarray(picture).astype(np.float32).transpose(2, 0, 1) * SCALE
def refuses(path):
    raise ValueError("no [bold]such[/] mode")
"""


@pytest.fixture
def typed(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """Words of the command; the transform lies in the current folder, right unless told."""
    numbers = open_bundle(tiny_bundle).manifest.model.input
    right = {"rgb": -1, "bgr": 1}[numbers.color]
    monkeypatch.chdir(tmp_path)

    def words(name: str, *more: str, scale: float = 1.0, swapped: bool = False) -> list[str]:
        module = f"train_{name}"
        text = MODULE.format(scale=scale, color=-right if swapped else right)
        (tmp_path / f"{module}.py").write_text(text)
        transform = f"{module}:{'refuses' if name == 'refused' else 'transform'}"
        return ["verify", str(tiny_bundle), "--transform", transform, *more]

    return words


def test_the_right_one_passes(
    typed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed("right")) == 0
    said = capsys.readouterr().out
    assert "landscape" in said
    assert "verified train_right:transform" in said
    assert "reproduce the model here" in said


def test_a_swapped_one_ends_with_three_and_says_so(
    typed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed("swapped", swapped=True)) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "looks like RGB and BGR swapped" in said
    assert "FAILED train_swapped:transform" in said


def test_json_and_the_limit(
    typed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed("darker", "--json", scale=0.98)) == 0
    found = json.loads(capsys.readouterr().out)["transform"]
    assert found["passed"]
    assert 0 < found["typical"] < 6
    assert {"name", "mean", "most", "same", "problem"} <= set(found["pictures"][0])
    assert main(typed("darker", "--json", "--max-drift", "0.1", scale=0.98)) == 3


def test_what_raises_is_told_once_and_literally(
    typed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed("refused")) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("it raises ValueError: no [bold]such[/] mode") == 1
    assert "no picture could be compared" in said


def test_pictures_of_ones_own(
    typed: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        picture = cv2.resize(rng.integers(0, 256, (5, 7, 3)).astype(np.uint8), (90, 70))
        cv2.imwrite(str(folder / f"gate{number}.png"), picture)
    assert main(typed("own", "--images", str(folder))) == 0
    assert "gate0.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--transform", "nothing"], "package.module:callable"),
        (["--transform", "absent_module:f"], "no module named absent_module"),
        (["--max-drift", "3"], "goes with --transform"),
        (["--transform", "os:getcwd", "--max-drift", "-1"], "at least 0"),
    ],
)
def test_what_cannot_be_meant(
    tiny_bundle: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(tiny_bundle), *words]) == 2
    assert says in capsys.readouterr().err


def test_names_between_colons_are_no_emoji(
    typed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = typed("right")
    module = tmp_path / "train_boom.py"
    module.write_text((tmp_path / "train_right.py").read_text() + "\nboom = transform\n")
    words[words.index("--transform") + 1] = "train_boom:boom"
    assert main(words) == 0
    assert "verified train_boom:boom: the median" in capsys.readouterr().out
