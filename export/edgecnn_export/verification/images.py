"""The images that an export is verified with.

They are the user's, else the checkpoint's, else the calibration images, else synthetic ones.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import numpy as np

from edgecnn_export.verification.synthetic import synthetic_pictures
from edgecnn_runtime.bundle.manifest import Input
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.idx import idx_files
from edgecnn_runtime.image_file import SUFFIXES, list_images, read_picture
from edgecnn_runtime.preprocess import compute_geometry, prepare
from edgecnn_runtime.types import Pixels

T = TypeVar("T")

COUNT = 16
SHRINK_LIMIT = 2.0
FILES_LIMIT = 100_000
BAD_LIMIT = 200
"""So many unreadable files end the search: the folder contains something else."""


Origin: TypeAlias = Literal["given", "calibration", "checkpoint", "synthetic"]
Flag: TypeAlias = Literal["--images", "--calib"]


@dataclass(frozen=True)
class NetworkImages:
    """Images at network input.

    Attributes:
        pixels: uint8[N,height,width,3] BGR, as the network gets them.
        names: The origin of each.
        origin: The origin of all.
        skipped: Files with a picture's suffix that could not be read.
        warnings: What a person has to know about them.
    """

    pixels: Pixels
    names: tuple[str, ...]
    origin: Origin
    skipped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageFolder:
    """Pictures of a folder.

    Attributes:
        folder: The folder.
        flag: The flag that names it.
        frames: The pictures, uint8[H,W,3] BGR of any sizes.
        names: Their files, below the folder.
        skipped: Files that could not be read.
    """

    folder: str
    flag: Flag
    frames: tuple[Pixels, ...]
    names: tuple[str, ...]
    skipped: tuple[str, ...]


def list_pictures(folder: str, flag: str = "--images") -> list[Path]:
    """The pictures in a folder and its subfolders, sorted by name; none for "".

    Args:
        folder: The folder; or an IDX file, whose pictures have paths below it.
        flag: The flag that names it, for messages.

    Raises:
        UsageError: There is no such folder, or no picture in it.
    """
    files = sorted(_find(Path(folder), flag)) if folder else []
    if folder and not files:
        raise UsageError(f"{flag} {folder}: contains no picture ({', '.join(sorted(SUFFIXES))})")
    return files


def relative_name(folder: str, file: Path) -> str:
    """A file's path below the folder, for reports, with � for bytes that are not UTF-8."""
    return os.fsencode(file.relative_to(folder)).decode("utf-8", "replace")


def read_pictures(
    folder: str, files: Sequence[Path], count: int = COUNT, flag: Flag = "--images"
) -> ImageFolder | None:
    """Read up to ``count`` of the files, evenly spaced; None where there are no files.

    The same folder gives the same pictures; others replace those that cannot be read.

    Args:
        folder: The folder.
        files: Its pictures, from ``list_pictures``.
        count: How many to read.
        flag: The flag that names the folder.

    Raises:
        UsageError: None can be read.
    """
    if not files:
        return None
    skipped: list[str] = []
    pictures = readable_pictures(folder, files, count, flag, skipped)
    names, frames = zip(*sorted(pictures, key=lambda picture: picture[0]), strict=True)
    return ImageFolder(folder, flag, frames, names, tuple(skipped))


def readable_pictures(
    folder: str, files: Sequence[Path], count: int, flag: Flag, skipped: list[str]
) -> Iterator[tuple[str, Pixels]]:
    """Up to ``count`` pictures with their names, read one by one as they are needed.

    First come those that are evenly spaced among the files, then others in place of those that
    cannot be read.

    Args:
        folder: The folder.
        files: Its pictures, from ``list_pictures``.
        count: How many.
        flag: The flag that names the folder.
        skipped: Receives the names of files that cannot be read.

    Raises:
        UsageError: None can be read.
    """
    chosen = evenly_spaced(files, count)
    spare = sorted(set(files).difference(chosen))
    read = 0
    for file in [*chosen, *spare]:
        if read == count or len(skipped) == BAD_LIMIT:
            break
        name, frame = relative_name(folder, file), read_picture(file)
        if frame is None:
            skipped.append(name)
        else:
            read += 1
            yield name, frame
    if not read:
        raise UsageError(f"{flag} {folder}: none of {len(skipped)} files is a readable picture")


def collect(
    pictures: ImageFolder | None, samples: Pixels | None, spec: Input, count: int = COUNT
) -> NetworkImages:
    """``count`` images at network input.

    Where there are fewer, crops and mirror images of them are added.

    Args:
        pictures: The user's. Those of a calibration folder are used only without samples.
        samples: uint8[N,h,w,3] BGR from the checkpoint, or None.
        spec: How they are prepared.
        count: How many.
    """
    has_samples = samples is not None and len(samples) > 0
    if pictures is not None and (pictures.flag == "--images" or not has_samples):
        pixels, names = _views(pictures.frames, pictures.names, spec, count)
        origin: Origin = "given" if pictures.flag == "--images" else "calibration"
        warnings = _warnings(pictures, spec, count)
        return NetworkImages(pixels, names, origin, pictures.skipped, warnings)
    if samples is not None and has_samples:
        frames = evenly_spaced(list(samples), count)
        labels = [f"sample {index}" for index in range(len(frames))]
        pixels, names = _views(frames, labels, spec, count)
        return NetworkImages(pixels, names, "checkpoint")
    warning = "no pictures: verified on synthetic ones; a few real ones prove more (--images DIR)"
    names = tuple(f"synthetic {index}" for index in range(count))
    pixels = synthetic_pictures(count, spec.height, spec.width)
    return NetworkImages(pixels, names, "synthetic", warnings=(warning,))


def _warnings(pictures: ImageFolder, spec: Input, count: int) -> tuple[str, ...]:
    frames, bad = pictures.frames, pictures.skipped
    warnings = []
    if bad:
        names = ", ".join(bad[:3]) + (" …" if len(bad) > 3 else "")
        warnings.append(f"{len(bad)} files in {pictures.folder} are not readable pictures: {names}")
    if len(frames) < count:
        few = f"only {len(frames)} picture{'s' if len(frames) > 1 else ''} in {pictures.folder}"
        warnings.append(
            f"{few}: crops and mirror images of them were added; {count} different ones prove more"
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
    if not folder.is_dir() and not idx_files(folder, training=True):
        reason = "not a folder; give the one it is in" if folder.exists() else "no such folder"
        raise UsageError(f"{flag} {folder}: {reason}")
    return islice(list_images(folder), FILES_LIMIT)


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """Up to ``count`` of the items, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def _views(
    frames: Sequence[Pixels], names: Sequence[str], spec: Input, count: int
) -> tuple[Pixels, tuple[str, ...]]:
    """Frames at network input; crops and mirror images of them make up ``count``."""
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
