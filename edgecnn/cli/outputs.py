"""The output files of ``edgecnn run``: their flags, and which source writes which."""

import argparse
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgecnn_runtime.errors import UsageError

if TYPE_CHECKING:
    from edgecnn_runtime.sinks import FrameSink, SinkKind, StreamInfo
    from edgecnn_runtime.sinks.base import EventFile
    from edgecnn_runtime.sinks.events.crops import CropFolder
    from edgecnn_runtime.source import Address


class OutputFile(NamedTuple):
    """A file or folder that results are written to, and by which kind of sink."""

    kind: "SinkKind"
    path: Path

    @property
    def is_stdout(self) -> bool:
        """Whether it is standard output."""
        return str(self.path) == "-"


def add_output_flags(group: "argparse._ArgumentGroup") -> None:
    """One flag for each that SINKS has; kinds that share one are listed together."""
    from edgecnn_runtime.sinks import SINKS

    flags: dict[str, list[SinkKind]] = {}
    for kind in SINKS.values():
        flags.setdefault(kind.flag, []).append(kind)
    for flag, kinds in flags.items():
        endings = [
            f" ({', '.join('DIR/' if kind.is_folder else suffix for suffix in kind.suffixes)})"
            if kind.suffixes
            else ""
            for kind in kinds
        ]
        text = ", or ".join(kind.help + ending for kind, ending in zip(kinds, endings, strict=True))
        if any(kind.stdout for kind in kinds):
            text += "; - is standard output"
        if not kinds[0].shared:
            text += "; of several sources FILE-1, FILE-2, …"
        group.add_argument(f"--{flag}", metavar=kinds[0].metavar, dest=flag, help=text)
    about = "of a pipeline: the crop of every event in a folder, as ID-crop.jpg"
    group.add_argument("--crops", metavar="DIR", type=Path, help=about)
    existing = group.add_mutually_exclusive_group().add_argument
    about = (
        "go on in --events and --csv files that exist: the default with a camera, a stream or "
        "--realtime; without one, what exists is kept as OUT.1.csv"
    )
    existing("--append", dest="existing", action="store_const", const="append", help=about)
    about = "replace output files that exist"
    existing("--overwrite", dest="existing", action="store_const", const="overwrite", help=about)


def writes_stdout(args: argparse.Namespace) -> bool:
    """Whether lines of results take standard output, so that nothing else may be printed there."""
    from edgecnn_runtime.sinks import SINKS, STDOUT

    return any(kind.stdout and getattr(args, kind.flag) == STDOUT for kind in SINKS.values())


def read_outputs(
    args: argparse.Namespace, sources: Sequence["Address"]
) -> tuple[list[OutputFile], list[list[OutputFile]]]:
    """The files that all sources share, and for each source its own ones.

    Raises:
        UsageError: A file cannot be written.
    """
    from edgecnn_runtime.sinks import SINKS, sink_for

    flags = dict.fromkeys(kind.flag for kind in SINKS.values())
    names = [(flag, name) for flag in flags if (name := getattr(args, flag)) is not None]
    outputs = [OutputFile(sink_for(flag, name), Path(name)) for flag, name in names]
    _check_outputs(outputs, sources)
    own = [
        [_own_file(output, source, i, len(sources)) for output in outputs if not output.kind.shared]
        for i, source in enumerate(sources)
    ]
    return [output for output in outputs if output.kind.shared], own


def open_shared(
    outputs: Sequence[OutputFile],
    stream: "StreamInfo",
    stack: ExitStack,
    *,
    has_events: bool,
    readings: bool = False,
) -> "tuple[list[FrameSink], list[EventFile]]":
    """Open the files that all sources share.

    Args:
        outputs: The files.
        stream: What is written.
        stack: Closes them.
        has_events: Whether a pipeline makes events: of these, the kinds that can write events do.
        readings: Whether tables are of what was read alone.

    Returns:
        What is given results, and what is given events.
    """
    from edgecnn_runtime.sinks import SINKS
    from edgecnn_runtime.sinks.readings import open_readings

    sinks: list[FrameSink] = []
    files: list[EventFile] = []
    for kind, path in outputs:
        if has_events and kind.open_events is not None:
            is_table = readings and kind is SINKS["csv"]
            files.append((open_readings if is_table else kind.open_events)(path, stream))
            stack.callback(files[-1].close)
        else:
            sinks.append(kind.open(path, stream))
            stack.callback(sinks[-1].close)
    return sinks, files


def _check_outputs(outputs: Sequence[OutputFile], sources: Sequence["Address"]) -> None:
    """Refuse two outputs in one file, and a source that would be overwritten or grow."""
    places = [output.path.resolve() for output in outputs]
    for output, place in zip(outputs, places, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"{output.path} is named for two outputs: give each its own")
        for file in (file for source in sources for file in _files_of(source)):
            origin = file.resolve()
            if place == origin or (output.kind.is_folder and place == origin.parent):
                raise UsageError(f"{output.path} is where the source is read from: name another")
            if output.kind.is_folder and file.is_dir() and place.is_relative_to(origin):
                raise UsageError(
                    f"{output.path} is inside the source {file}, so the next run would read "
                    "what this one writes: name another"
                )


def _files_of(source: "Address") -> Sequence[Path]:
    return source.files or ([Path(source.target)] if source.kind == "video" else [])


def _own_file(output: OutputFile, source: "Address", number: int, count: int) -> OutputFile:
    """A source's own file: in a folder, pictures keep their names and anything else is a video."""
    from edgecnn_runtime.sinks import SINKS, sink_for

    several = len(source.files) > 1 or any(file.is_dir() for file in source.files)
    if several and output.kind is SINKS["snapshot"]:
        raise UsageError(
            f"{output.path} would show only the last of these pictures: --save DIR/ writes each"
        )
    if not output.kind.is_folder:
        return OutputFile(output.kind, numbered(output.path, number, count))
    if source.kind == "pictures":
        return output
    name = Path(source.target).stem if source.kind == "video" else source.name
    stem = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "source"
    output.path.mkdir(exist_ok=True)
    path = numbered(output.path / f"{stem}.mp4", number, count)
    return OutputFile(sink_for(output.kind.flag, str(path)), path)


def open_crops(folder: Path | None, sources: Sequence["Address"]) -> "CropFolder | None":
    """The folder of the crops of events; None without one.

    Raises:
        UsageError: It cannot be written, or the next run would read what this one writes.
    """
    if folder is None:
        return None
    from edgecnn_runtime.sinks.events.crops import CropFolder

    place = folder.resolve()
    for file in (file.resolve() for source in sources for file in _files_of(source)):
        if place == file.parent or place.is_relative_to(file):
            raise UsageError(
                f"--crops {folder} is where the source is read from, so the next run would read "
                "what this one writes: name another"
            )
    return CropFolder(folder)


def summarize_outputs(outputs: Iterable[OutputFile], *, shared: bool) -> dict[str, str | None]:
    """Every kind's file by its key; None for what is not written."""
    from edgecnn_runtime.sinks import SINKS

    keys = [kind.summary_key for kind in SINKS.values() if kind.shared == shared]
    return dict.fromkeys(keys) | {kind.summary_key: str(path) for kind, path in outputs}


def picture_root(source: "Address") -> Path | None:
    """The folder that all pictures of a source lie in; None for any other source."""
    folders = [file if file.is_dir() else file.parent for file in source.files]
    places = [os.path.normpath(folder.absolute()) for folder in folders]
    return Path(os.path.commonpath(places)) if places else None


def numbered(path: Path, number: int, count: int) -> Path:
    """out.mp4 → out-1.mp4, out-2.mp4 …; as it is where there is only one."""
    return path if count == 1 else path.with_name(f"{path.stem}-{number + 1}{path.suffix}")
