"""The pictures an export is verified with: the user's, else the checkpoint's, else synthetic."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import cv2
import numpy as np

from edgecnn_export.synthetic import synthetic_pictures
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.manifest import Input
from edgecnn_runtime.preprocess import fit, prepare
from edgecnn_runtime.types import Pixels

T = TypeVar("T")

COUNT = 16
SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"])
SHRINK_LIMIT = 2.0
FILES_LIMIT = 100_000
BAD_LIMIT = 200
"""Unreadable files in a row of pictures before the folder is taken for something else."""


@dataclass(frozen=True)
class Pictures:
    """pixels: uint8[N,height,width,3] BGR, as the network gets them; names: where each came from.

    skipped: files that looked like pictures and could not be read. warnings: in plain words.
    """

    pixels: Pixels
    names: tuple[str, ...]
    origin: Literal["given", "checkpoint", "synthetic"]
    skipped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def collect(folder: str, samples: Pixels | None, spec: Input, count: int = COUNT) -> Pictures:
    """``count`` pictures at network input.

    folder: the user's, "" for none. samples: uint8[N,h,w,3] BGR from the checkpoint, or None.
    Fewer real ones than ``count`` are filled up with crops and mirror images of them.
    Raises UsageError where the folder holds no readable picture.
    """
    if folder:
        return _given(Path(folder), spec, count)
    if samples is not None and len(samples):
        frames = _spread(list(samples), count)
        names = [f"sample {index}" for index in range(len(frames))]
        pixels, names = _views(frames, names, spec, count)
        return Pictures(pixels, tuple(names), "checkpoint")
    warning = "no pictures: verified on synthetic ones; --images DIR with a few real ones says more"
    names = [f"synthetic {index}" for index in range(count)]
    pixels = synthetic_pictures(count, spec.height, spec.width)
    return Pictures(pixels, tuple(names), "synthetic", warnings=(warning,))


def read_pictures(folder: Path, count: int) -> tuple[list[Pixels], list[Path], list[Path]]:
    """Up to ``count`` pictures spread over a folder and its subfolders: frames, files, bad files.

    The order is that of the sorted names, so the same folder gives the same pictures.
    Raises UsageError where there is no folder, or no picture in it.
    """
    files = sorted(_find(folder))
    if not files:
        raise UsageError(f"--images {folder}: holds no picture ({', '.join(sorted(SUFFIXES))})")
    chosen = _spread(files, count)
    spare = [file for file in files if file not in set(chosen)]
    good: list[tuple[Path, Pixels]] = []
    bad: list[Path] = []
    for file in [*chosen, *spare]:
        if len(good) == count or len(bad) == BAD_LIMIT:
            break
        frame = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if frame is None:
            bad.append(file)
        else:
            good.append((file, np.asarray(frame, np.uint8)))
    if not good:
        raise UsageError(f"--images {folder}: none of {len(bad)} files is a readable picture")
    good.sort(key=lambda pair: pair[0])
    return [frame for _, frame in good], [file for file, _ in good], bad


def _given(folder: Path, spec: Input, count: int) -> Pictures:
    frames, files, bad = read_pictures(folder, count)
    warnings = []
    if bad:
        names = ", ".join(file.name for file in bad[:3]) + (" …" if len(bad) > 3 else "")
        warnings.append(f"{len(bad)} of the files in {folder} are no readable pictures: {names}")
    if len(frames) < count:
        warnings.append(
            f"only {len(frames)} pictures in {folder}: filled up with crops and mirror images "
            f"of them; {count} different ones say more"
        )
    shrunk = float(np.median([fit(spec, f.shape[1], f.shape[0]).gain[:2].min() for f in frames]))
    if spec.interpolation == "linear" and shrunk > SHRINK_LIMIT:
        warnings.append(
            f"pictures shrink {shrunk:.1f} times to {spec.width}x{spec.height} with "
            "--interpolation linear, which skips pixels; if the model was trained on smoothly "
            "shrunk ones (PIL, torchvision), --interpolation area is closer, and slower"
        )
    pixels, names_ = _views(frames, [str(file.relative_to(folder)) for file in files], spec, count)
    skipped = tuple(str(file.relative_to(folder)) for file in bad)
    return Pictures(pixels, tuple(names_), "given", skipped, tuple(warnings))


def _find(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UsageError(f"--images {folder}: no such folder")
    for number, path in enumerate(folder.rglob("*")):
        if number == FILES_LIMIT:
            return
        if path.suffix.lower() in SUFFIXES and path.is_file():
            yield path


def _spread(items: Sequence[T], count: int) -> list[T]:
    if len(items) <= count:
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def _views(
    frames: list[Pixels], names: list[str], spec: Input, count: int
) -> tuple[Pixels, list[str]]:
    """Frames at network input, filled up to ``count`` with crops and mirror images of them."""
    views, view_names = list(frames), list(names)
    for number in range(count - len(frames)):
        turn, index = divmod(number, len(frames))
        frame = frames[index]
        height, width = frame.shape[:2]
        share = 0.9 ** (turn // 2 + 1)
        h, w = max(1, int(height * share)), max(1, int(width * share))
        y, x = (height - h) * (turn % 3 > 0), (width - w) * (turn % 2)
        crop = frame[y : y + h, x : x + w]
        views.append(np.ascontiguousarray(crop[:, ::-1] if turn % 2 == 0 else crop))
        view_names.append(f"{names[index]} (crop {turn + 1})")
    return prepare(spec, views), view_names
