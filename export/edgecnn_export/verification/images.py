"""The pictures an export is verified with: the user's, else the checkpoint's, else those to
calibrate on, else synthetic ones."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import numpy as np

from edgecnn_export.verification.synthetic import synthetic_pictures
from edgecnn_runtime.bundle.manifest import Input
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.image_file import SUFFIXES, read_picture
from edgecnn_runtime.preprocess import compute_geometry, prepare
from edgecnn_runtime.types import Pixels

T = TypeVar("T")

COUNT = 16
SHRINK_LIMIT = 2.0
FILES_LIMIT = 100_000
BAD_LIMIT = 200
"""Unreadable files in a row of pictures before the folder is taken for something else."""


Origin: TypeAlias = Literal["given", "calibration", "checkpoint", "synthetic"]
Flag: TypeAlias = Literal["--images", "--calib"]


@dataclass(frozen=True)
class NetworkImages:
    """pixels: uint8[N,height,width,3] BGR, as the network gets them; names: where each came from.

    skipped: files that looked like pictures and could not be read. warnings: in plain words.
    """

    pixels: Pixels
    names: tuple[str, ...]
    origin: Origin
    skipped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageFolder:
    """Pictures as they lie in a folder: frames uint8[H,W,3] BGR of any sizes, the names of their
    files, and of those that could not be read. flag: what named the folder."""

    folder: str
    flag: Flag
    frames: tuple[Pixels, ...]
    names: tuple[str, ...]
    skipped: tuple[str, ...]


def list_pictures(folder: str, flag: str = "--images") -> list[Path]:
    """The picture files in a folder and its subfolders, sorted by name; none for "".

    flag: what named the folder. Raises UsageError where there is no folder, or no picture in it.
    """
    files = sorted(_find(Path(folder), flag)) if folder else []
    if folder and not files:
        raise UsageError(f"{flag} {folder}: holds no picture ({', '.join(sorted(SUFFIXES))})")
    return files


def relative_name(folder: str, file: Path) -> str:
    """What a report calls a file: its path below the folder, with � for what is no UTF-8."""
    return os.fsencode(file.relative_to(folder)).decode("utf-8", "replace")


def read_pictures(
    folder: str, files: Sequence[Path], count: int = COUNT, flag: Flag = "--images"
) -> ImageFolder | None:
    """Up to ``count`` of the files, spread over all of them; None where there are no files.

    The same folder gives the same pictures. Raises UsageError where none can be read.
    """
    if not files:
        return None
    chosen = evenly_spaced(files, count)
    spare = [file for file in files if file not in set(chosen)]
    good: list[tuple[Path, Pixels]] = []
    bad: list[Path] = []
    for file in [*chosen, *spare]:
        if len(good) == count or len(bad) == BAD_LIMIT:
            break
        frame = read_picture(file)
        if frame is None:
            bad.append(file)
        else:
            good.append((file, frame))
    if not good:
        raise UsageError(f"{flag} {folder}: none of {len(bad)} files is a readable picture")
    good.sort(key=lambda pair: pair[0])
    return ImageFolder(
        folder=folder,
        flag=flag,
        frames=tuple(frame for _, frame in good),
        names=tuple(relative_name(folder, file) for file, _ in good),
        skipped=tuple(relative_name(folder, file) for file in bad),
    )


def collect(
    album: ImageFolder | None, samples: Pixels | None, spec: Input, count: int = COUNT
) -> NetworkImages:
    """``count`` pictures at network input.

    album: the user's, None without; of one to calibrate on, only where there are no samples.
    samples: uint8[N,h,w,3] BGR from the checkpoint, or None.
    Fewer real ones than ``count`` are filled up with crops and mirror images of them.
    """
    sampled = samples is not None and len(samples) > 0
    if album is not None and (album.flag == "--images" or not sampled):
        pixels, names = _views(album.frames, album.names, spec, count)
        origin: Origin = "given" if album.flag == "--images" else "calibration"
        return NetworkImages(pixels, names, origin, album.skipped, _warnings(album, spec, count))
    if samples is not None and sampled:
        frames = evenly_spaced(list(samples), count)
        numbers = [f"sample {index}" for index in range(len(frames))]
        pixels, names = _views(frames, numbers, spec, count)
        return NetworkImages(pixels, names, "checkpoint")
    warning = "no pictures: verified on synthetic ones; --images DIR with a few real ones says more"
    names = tuple(f"synthetic {index}" for index in range(count))
    pixels = synthetic_pictures(count, spec.height, spec.width)
    return NetworkImages(pixels, names, "synthetic", warnings=(warning,))


def _warnings(album: ImageFolder, spec: Input, count: int) -> tuple[str, ...]:
    frames, bad = album.frames, album.skipped
    warnings = []
    if bad:
        names = ", ".join(bad[:3]) + (" …" if len(bad) > 3 else "")
        warnings.append(f"{len(bad)} files in {album.folder} are no readable pictures: {names}")
    if len(frames) < count:
        few = f"only {len(frames)} picture{'s' if len(frames) > 1 else ''} in {album.folder}"
        warnings.append(
            f"{few}: filled up with crops and mirror images of them; "
            f"{count} different ones say more"
        )
    shrunk = float(
        np.median([compute_geometry(spec, f.shape[1], f.shape[0]).gain[:2].min() for f in frames])
    )
    if spec.interpolation == "linear" and shrunk > SHRINK_LIMIT:
        warnings.append(
            f"pictures shrink {shrunk:.1f} times to {spec.width}x{spec.height} with "
            "--interpolation linear, which skips pixels; if the model was trained on smoothly "
            "shrunk ones (PIL, torchvision), --interpolation area is closer, and slower"
        )
    return tuple(warnings)


def _find(folder: Path, flag: str) -> Iterator[Path]:
    if not folder.is_dir():
        what = "is no folder; give the one it lies in" if folder.exists() else "no such folder"
        raise UsageError(f"{flag} {folder}: {what}")
    for number, path in enumerate(folder.rglob("*")):
        if number == FILES_LIMIT:
            return
        if path.suffix.lower() in SUFFIXES and path.is_file():
            yield path


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """Up to ``count`` of them, from everywhere in their order."""
    if len(items) <= count:
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def _views(
    frames: Sequence[Pixels], names: Sequence[str], spec: Input, count: int
) -> tuple[Pixels, tuple[str, ...]]:
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
    return prepare(spec, views), tuple(view_names)
