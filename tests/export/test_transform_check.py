"""A training-time transform beside the bundle: the right one, and one wrong in each way."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from edgecnn_export.transform_check import Drift, compare_transform
from edgecnn_export.transform_check.resamplers import antialiased_resize
from edgecnn_export.transform_check.synthetic_images import Picture, synthetic_test_images
from edgecnn_export.transform_check.transform import TensorError, load_transform, tensor
from edgecnn_runtime.bundle.bundle import Bundle, open_bundle
from edgecnn_runtime.errors import UsageError

SIZE = 32
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)

Resize = Callable[[np.ndarray], np.ndarray]


def stretched(interpolation: int) -> Resize:
    return lambda rgb: cv2.resize(rgb, (SIZE, SIZE), interpolation=interpolation)


LINEAR = stretched(cv2.INTER_LINEAR)


def cropped(rgb: np.ndarray) -> np.ndarray:
    """Resize the short side to 32 / 0.875, cut out the middle: the textbook's order."""
    height, width = rgb.shape[:2]
    scale = math.floor(SIZE / 0.875) / min(height, width)
    size = max(SIZE, round(width * scale)), max(SIZE, round(height * scale))
    rgb = cv2.resize(rgb, size)
    y, x = (rgb.shape[0] - SIZE) // 2, (rgb.shape[1] - SIZE) // 2
    return rgb[y : y + SIZE, x : x + SIZE]


def letterboxed(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    scale = SIZE / max(height, width)
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = np.full((SIZE, SIZE, 3), 114, np.uint8)
    y, x = (SIZE - h) // 2, (SIZE - w) // 2
    canvas[y : y + h, x : x + w] = cv2.resize(rgb, (w, h))
    return canvas


def transform(
    *,
    resize: Resize = LINEAR,
    rgb: bool = True,
    scale: Callable[[np.ndarray], np.ndarray] = lambda values: (values - MEAN) / STD,
) -> Callable[[str], np.ndarray]:
    """A training pipeline written with OpenCV: path → float32[3,32,32]."""

    def run(path: str) -> np.ndarray:
        picture = np.ascontiguousarray(cv2.imread(path)[..., :: -1 if rgb else 1])
        return scale(np.asarray(resize(picture), np.float32)).transpose(2, 0, 1)

    return run


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[..., Path]) -> Bundle:
    """A bundle that says: RGB, ImageNet's mean and std, stretched with linear interpolation."""
    return with_input(open_bundle(make_bundle("trained")))


def with_input(bundle: Bundle, **changes: Any) -> Bundle:
    numbers = msgspec.structs.replace(
        bundle.manifest.model.input.normalization,
        mean=tuple(map(float, MEAN)),
        std=tuple(map(float, STD)),
    )
    spec = msgspec.structs.replace(
        bundle.manifest.model.input, **{"color": "rgb", "normalization": numbers, **changes}
    )
    model = msgspec.structs.replace(bundle.manifest.model, input=spec)
    return Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, model=model), bundle.digest)


def text(drift: Drift) -> str:
    return "\n".join(map(str, drift.findings))


def test_the_right_transform_passes_without_a_word(bundle: Bundle) -> None:
    drift = compare_transform(bundle, transform())
    assert drift.passed
    assert drift.typical < 1e-4
    assert drift.findings == ()
    assert drift.outputs is not None
    assert drift.outputs.agreement == 1.0
    assert min(parity.snr_db for parity in drift.outputs.parity.values()) > 100
    assert {one.name for one in drift.pictures} >= {"landscape", "portrait", "huge", "gray", "tiny"}
    assert any(min(one.width, one.height) == 1 for one in drift.pictures)


@pytest.mark.parametrize(
    ("wrong", "words", "flags"),
    [
        ({"rgb": False}, "RGB and BGR swapped (the transform feeds BGR)", "--color bgr"),
        (
            {"rgb": False, "scale": lambda v: (v - MEAN[::-1]) / STD[::-1]},
            "mean and std in that order too",
            "--color bgr --mean 103.53,116.28,123.675",
        ),
        ({"scale": lambda v: v / 255}, "scales to 0..1, the bundle scales with", "--preset unit"),
        ({"scale": lambda v: v / 127.5 - 1}, "scales to -1..1", "--preset signed"),
        ({"scale": lambda v: v}, "scales not at all (raw 0..255)", "--preset raw"),
        ({"scale": lambda v: v / STD}, "subtracts no mean", "--mean 0,0,0"),
        ({"scale": lambda v: v - MEAN}, "divides by no std", "--std 1,1,1"),
        (
            {"scale": lambda v: (v - MEAN / 255) / (STD / 255)},
            "a mean and std for 0..1 to pixels in 0..255",
            "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
        ),
        ({"scale": lambda v: (v - 90) / 70}, "other values", "--mean 89.99,89.99,89.99"),
        ({"resize": letterboxed}, "fills with 114 around", "--resize letterbox --pad 114"),
        ({"resize": cropped}, "keeps 87.5% of the short side", "--resize crop --crop-pct 0.875"),
        ({"resize": stretched(cv2.INTER_AREA)}, "averages all pixels", "--interpolation area"),
        (
            {"resize": lambda rgb: antialiased_resize(rgb, SIZE, SIZE)},
            "shrinks smoothly",
            "--interpolation area comes closest",
        ),
        ({"resize": stretched(cv2.INTER_NEAREST)}, "takes the nearest pixel", ""),
        (
            {"resize": lambda rgb: cv2.resize(rgb, (SIZE, SIZE))[:, ::-1]},
            "mirrors the picture",
            "no setting of a bundle does that",
        ),
    ],
)
def test_what_is_wrong_is_said_and_what_would_be_right(
    bundle: Bundle, wrong: dict[str, Any], words: str, flags: str
) -> None:
    drift = compare_transform(bundle, transform(**wrong))
    first = drift.findings[0]
    assert words in str(first)
    assert flags in str(first)
    assert first.after < 0.5 * first.before


@pytest.mark.parametrize(
    "wrong",
    [{"rgb": False}, {"scale": lambda v: v / 255}, {"resize": cropped}, {"resize": letterboxed}],
)
def test_what_changes_what_the_network_sees_fails(bundle: Bundle, wrong: dict[str, Any]) -> None:
    drift = compare_transform(bundle, transform(**wrong))
    assert not drift.passed
    assert drift.typical > 10
    assert drift.outputs is not None
    assert min(parity.snr_db for parity in drift.outputs.parity.values()) < 40


def test_two_mistakes_are_told_one_upon_the_other(bundle: Bundle) -> None:
    drift = compare_transform(
        bundle, transform(rgb=False, scale=lambda v: v / 255, resize=letterboxed)
    )
    assert "--color bgr --preset unit" in text(drift)
    assert "--resize letterbox" in text(drift)
    assert drift.findings[-1].after < 0.05


def test_a_crop_half_a_pixel_beside_ours_passes(bundle: Bundle) -> None:
    changed = with_input(bundle, resize="crop", crop_pct=0.875)
    drift = compare_transform(changed, transform(resize=cropped))
    assert drift.passed
    assert 0 < drift.typical < drift.limit


def test_a_transform_that_augments_is_no_reference(bundle: Bundle) -> None:
    rng = np.random.default_rng(0)
    brighten = transform(scale=lambda v: (v + rng.uniform(-2, 2) - MEAN) / STD)
    drift = compare_transform(bundle, brighten)
    assert drift.random > 0
    assert not drift.passed


def test_a_transform_that_fails_the_second_time_is_no_reference(bundle: Bundle) -> None:
    known: set[str] = set()

    def once(path: str) -> np.ndarray:
        if path in known:
            raise RuntimeError("used up")
        known.add(path)
        return transform()(path)

    drift = compare_transform(bundle, once)
    assert not drift.passed
    assert drift.problems[0].problem.startswith("called again with the same picture, it raises")


def test_a_tensor_without_a_picture_in_it_gets_no_advice(bundle: Bundle) -> None:
    drift = compare_transform(bundle, lambda _path: np.full((3, SIZE, SIZE), 7e6, np.float32))
    assert not drift.passed
    assert "--std" not in text(drift)


def test_the_wrong_size_and_what_raises_are_findings_and_no_crash(bundle: Bundle) -> None:
    big = compare_transform(bundle, transform(resize=lambda rgb: cv2.resize(rgb, (40, 30))))
    assert not big.passed
    assert big.outputs is None
    assert "gives 3x30x40, the bundle feeds 3x32x32" in big.pictures[0].problem

    def picky(path: str) -> np.ndarray:
        if min(cv2.imread(path).shape[:2]) < 4:
            raise RuntimeError("too thin")
        return transform()(path)

    drift = compare_transform(bundle, picky)
    assert drift.passed, "pictures no training set holds decide nothing"
    thin = next(one for one in drift.pictures if one.name == "one row")
    assert thin.problem == "it raises RuntimeError: too thin"


def test_pictures_of_ones_own_are_compared_too(bundle: Bundle, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for number in range(5):
        picture = cv2.resize(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8), (320, 240))
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    drift = compare_transform(bundle, transform(), images=str(tmp_path), count=4)
    own = [one.name for one in drift.pictures if one.name.endswith(".png")]
    assert 3 <= len(own) <= 4
    with pytest.raises(UsageError, match="no such folder"):
        compare_transform(bundle, transform(), images=str(tmp_path / "absent"))


def test_a_gray_model(bundle: Bundle) -> None:
    numbers = msgspec.structs.replace(
        bundle.manifest.model.input.normalization, mean=(33.3,), std=(78.6,), origin="checkpoint"
    )
    changed = with_input(bundle, color="gray", normalization=numbers)

    def run(path: str, flag: int = cv2.COLOR_BGR2GRAY, shift: float = 33.3) -> np.ndarray:
        gray = cv2.cvtColor(cv2.resize(cv2.imread(path), (SIZE, SIZE)), flag)
        return (gray.astype(np.float32) - shift) / 78.6

    assert compare_transform(changed, run).typical < 0.5
    swapped = compare_transform(changed, lambda path: run(path, cv2.COLOR_RGB2GRAY))
    assert "RGB read as BGR" in text(swapped)
    unit = compare_transform(changed, lambda path: run(path, shift=0.0) * 78.6 / 255)
    assert "--preset unit" in text(unit)


# --- what a transform may give ----------------------------------------------------------------


class Tensor:
    """What torch, TensorFlow and JAX tensors have in common."""

    def __init__(self, values: np.ndarray, *, grad: bool = False) -> None:
        self.values, self.grad = values, grad

    def detach(self) -> "Tensor":
        return Tensor(self.values)

    def cpu(self) -> "Tensor":
        return self

    def numpy(self) -> np.ndarray:
        if self.grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return self.values


@pytest.mark.parametrize(
    "shape",
    [
        lambda planes: planes,
        lambda planes: planes.transpose(1, 2, 0),
        lambda planes: planes[None],
        lambda planes: {"image": planes},
        lambda planes: planes.tolist(),
        lambda planes: planes.astype(np.float64),
        lambda planes: Tensor(planes, grad=True),
    ],
)
def test_every_usual_form_of_a_tensor(
    bundle: Bundle, tmp_path: Path, shape: Callable[[np.ndarray], Any]
) -> None:
    planes = np.random.default_rng(0).random((3, SIZE, SIZE)).astype(np.float32)
    result = tensor(lambda _: shape(planes), tmp_path / "any.png", bundle.manifest.model.input)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, planes)


def test_a_real_torch_tensor(bundle: Bundle, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    planes = torch.rand(3, SIZE, SIZE, requires_grad=True)
    result = tensor(lambda _: planes, tmp_path / "any.png", bundle.manifest.model.input)
    np.testing.assert_array_equal(result, planes.detach().numpy())
    short = planes.detach().to(torch.bfloat16)
    result = tensor(lambda _: short, tmp_path / "any.png", bundle.manifest.model.input)
    np.testing.assert_array_equal(result, short.float().numpy())


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "gives None: does it return"),
        ("text", "gives a str"),
        (5.0, "one number"),
        (np.zeros((1, SIZE, SIZE)), "gives 1x32x32, the bundle feeds 3x32x32"),
        (np.full((3, SIZE, SIZE), np.nan), "NaN or infinity"),
        ({"label": 1}, "gives a dict"),
    ],
)
def test_what_is_no_tensor_is_said(bundle: Bundle, tmp_path: Path, value: Any, says: str) -> None:
    with pytest.raises(TensorError, match=says):
        tensor(lambda _: value, tmp_path / "any.png", bundle.manifest.model.input)


def test_a_transform_of_pictures_is_told_how_to_be_wrapped(bundle: Bundle, tmp_path: Path) -> None:
    def wants_a_picture(picture: Any) -> Any:
        raise TypeError("pic should be PIL Image")

    with pytest.raises(TensorError, match=r"def transform\(path\): return tf\(Image\.open"):
        tensor(wants_a_picture, tmp_path / "any.png", bundle.manifest.model.input)


def test_names_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fine_here.py").write_text("def run(path):\n    return path\nvalue = 3\n")
    (tmp_path / "broken_here.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert load_transform("fine_here:run")("a") == "a"
    assert sys.path == path
    for name, says in (
        ("fine_here", "is not package.module:callable"),
        ("fine_here:walk", "has no walk"),
        ("fine_here:value", "must be callable"),
        ("broken_here:run", "ZeroDivisionError"),
        ("absent_here:run", "no module named absent_here"),
    ):
        with pytest.raises(UsageError, match=says):
            load_transform(name)


def test_a_training_script_is_kept_off_ours(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bundle: Bundle,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ends_train.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "neighbor_train.py").write_text("def run(path):\n    return None\n")
    (tmp_path / "script_train.py").write_text(
        "import argparse, sys\n"
        "argparse.ArgumentParser().parse_args()\n"
        "print('loading the data')\n"
        "def ends(path):\n    sys.exit(0)\n"
        "def late(path):\n    from neighbor_train import run\n    return run(path)\n"
    )
    monkeypatch.setattr(sys, "argv", ["edgecnn", "verify", "a.edge"])
    with pytest.raises(UsageError, match=r"ends the program \(exit 0\); .*__main__"):
        load_transform("ends_train:run")
    ends, late = (load_transform(f"script_train:{name}") for name in ("ends", "late"))
    assert capsys.readouterr().out == "", "what a script reads is ours alone"
    assert sys.argv == ["edgecnn", "verify", "a.edge"]
    with pytest.raises(TensorError, match="ends the program"):
        tensor(ends, tmp_path / "any.png", bundle.manifest.model.input)
    with pytest.raises(TensorError, match="gives None"):  # and finds the module beside its own
        tensor(late, tmp_path / "any.png", bundle.manifest.model.input)


def test_generated_pictures_are_what_their_files_hold(tmp_path: Path) -> None:
    pictures: list[Picture] = synthetic_test_images(tmp_path, 48, 40)
    for picture in pictures:
        assert np.array_equal(cv2.imread(str(picture.path)), picture.pixels), picture.name
    assert len({picture.path for picture in pictures}) == len(pictures)
    assert cv2.imread(str(tmp_path / "gray.png"), cv2.IMREAD_UNCHANGED).ndim == 2


def test_pil_agrees_with_area(bundle: Bundle) -> None:
    """How most classifiers were trained, where PIL is installed."""
    image = pytest.importorskip("PIL.Image")

    def run(path: str) -> np.ndarray:
        resized = image.open(path).convert("RGB").resize((SIZE, SIZE), image.Resampling.BILINEAR)
        return (np.asarray(resized, np.float32) - MEAN) / STD

    linear, area = (
        compare_transform(with_input(bundle, interpolation=name), run)
        for name in ("linear", "area")
    )
    assert area.passed
    assert area.typical < linear.typical
    assert "shrinks smoothly" in text(linear)
    assert "--interpolation area comes closest" in text(linear)
