"""``edgecnn run``: a bundle on cameras, streams, videos and pictures."""

import argparse
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from edgecnn.cli.live import StatusLine, drops
from edgecnn.cli.tables import plain_table
from edgecnn.cli.terminal_text import escape_markup
from edgecnn_runtime.errors import UsageError

if TYPE_CHECKING:
    from edgecnn_runtime.camera import CameraGroup, CameraJob
    from edgecnn_runtime.preprocess import Roi
    from edgecnn_runtime.sinks import FrameSink, SinkKind, StreamInfo
    from edgecnn_runtime.source import Source

EXAMPLE = """\
  edgecnn run faces.edge clip.mp4 --save out.mp4
  edgecnn run faces.edge rtsp://user:password@camera/stream --events faces.jsonl
  edgecnn run digits.edge 0 --roi 300,200,320,120      a meter in a webcam's picture
  edgecnn run faces.edge rtsp://cam1/s rtsp://cam2/s   two cameras, one model

Ctrl-C ends it well: files are completed, the summary is printed, exit code 0.
A second Ctrl-C ends it at once, exit code 130."""

LATE = """\
  Most frames were too old when the engine was free for them: this machine cannot decode the
  stream as fast as it comes, or the network holds it up. Try a smaller stream of the camera;
  --max-age 10 shows old frames all the same."""

REFRESH = 0.25
"""Seconds between two updates of the live line."""


class OutputFile(NamedTuple):
    """A file that results are written to, and by which kind of sink."""

    kind: "SinkKind"
    path: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn run``."""
    parser.add_argument("model", metavar="MODEL", help="a bundle (NAME.edge)")
    about = (
        "camera (0, /dev/video0, csi://0), rtsp://…, http://…, video, picture, "
        "folder of pictures, or gst:PIPELINE"
    )
    parser.add_argument("sources", metavar="SOURCE", nargs="+", help=about)
    _add_outputs(parser.add_argument_group("output files"))

    flag = parser.add_argument_group("the frames").add_argument
    flag("--roi", metavar="X,Y,W,H", help="use only this part of each frame; in pixels")
    flag("--rotate", metavar="DEGREES", type=int, default=0, help="90, 180 or 270, clockwise")
    flag("--flip", metavar="h|v|hv", default="", help="mirror, after rotating")

    flag = parser.add_argument_group("the sources").add_argument
    flag("--transport", metavar="tcp|udp", default="tcp", help="of RTSP streams (default: tcp)")
    about = "how long to wait for a source (default: 5 to connect, then 10 without a frame)"
    flag("--timeout", metavar="SECONDS", type=float, help=about)
    about = "play files at their own pace, dropping frames"
    flag("--realtime", action="store_true", help=about)
    flag("--loop", action="store_true", help="play videos again and again")
    flag("--max-frames", metavar="N", type=int, help="stop each source after N frames")
    about = "drop a live frame that is older when the engine is free for it (default: 0.5)"
    flag("--max-age", metavar="SECONDS", type=float, default=0.5, help=about)

    flag = parser.add_argument_group("the engine").add_argument
    flag("--backend", metavar="NAME", default="", help="use this engine, not the chosen one")
    about = "engine threads (default: every core)"
    flag("--threads", metavar="N", type=int, default=0, help=about)
    about = "frames of several sources per run of the engine, where that measures faster here"
    flag("--batch", metavar="N", type=int, default=1, help=about)
    about = "where `bench --select` stored its choice (default: the state folder)"
    flag("--cache-dir", metavar="DIR", type=Path, help=about)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--quiet", action="store_true", help="print no progress")


def _add_outputs(group: "argparse._ArgumentGroup") -> None:
    """One flag for each that SINKS has; kinds that share one are listed together."""
    from edgecnn_runtime.sinks import SINKS

    flags: dict[str, list[SinkKind]] = {}
    for kind in SINKS.values():
        flags.setdefault(kind.flag, []).append(kind)
    for flag, kinds in flags.items():
        endings = (f" ({', '.join(kind.suffixes)})" if kind.suffixes else "" for kind in kinds)
        text = ", or ".join(kind.help + ending for kind, ending in zip(kinds, endings, strict=True))
        if not kinds[0].shared:
            text += "; of several sources FILE-1, FILE-2, …"
        group.add_argument(f"--{flag}", metavar=kinds[0].metavar, dest=flag, type=Path, help=text)


def run(args: argparse.Namespace) -> int:
    """Run until the sources end or Ctrl-C; 0 then, or the code of what went wrong first."""
    from edgecnn_runtime.camera import CameraGroup
    from edgecnn_runtime.model import load
    from edgecnn_runtime.pipeline import Pipeline
    from edgecnn_runtime.scheduler import Scheduler
    from edgecnn_runtime.sinks import StreamInfo

    roi = parse_roi(args.roi) if args.roi else None
    _check(args)
    common, own = _outputs(args)
    options = {"backend": args.backend, "threads": args.threads, "cache_dir": args.cache_dir}
    open_model = partial(load, args.model, **options)
    with ExitStack() as stack:
        models = [stack.enter_context(open_model(batch=size)) for size in sorted({1, args.batch})]
        model = models[0]
        stream = StreamInfo(labels=model.spec.labels, roi=roi)
        shared = [kind.open(path, stream) for kind, path in common]
        for sink in shared:
            stack.callback(sink.close)
        pairs = zip(args.sources, own, strict=True)
        jobs = [_job(args, spec, files, stream) for spec, files in pairs]
        scheduler = Scheduler(*(Pipeline(each, roi=roi) for each in models))
        limits = {"max_frames": args.max_frames, "max_age": args.max_age}
        group = CameraGroup(scheduler, jobs, shared, **limits)
        _wait(group, quiet=args.quiet or args.json)
        choice, run_seconds = model.choice.candidate, scheduler.run_seconds
    written = [
        [file for file in files if job.stats.snapshot().frames and file.path.exists()]
        for job, files in zip(jobs, own, strict=True)
    ]
    errors = [job.error for job in jobs if job.error is not None]
    code = errors[0].exit_code if errors else 0
    if args.json:
        import json

        summary = {
            "model": args.model,
            "engine": str(choice),
            "why": choice.reason,
            "exit": code,
            "run_ms": {size: round(1000 * seconds, 2) for size, seconds in run_seconds.items()},
            **_files(common, shared=True),
            "sources": [
                _summary(job) | _files(files, shared=False)
                for job, files in zip(jobs, written, strict=True)
            ],
        }
        print(json.dumps(summary, indent=2))
    else:
        _print(f"{args.model}: {choice}: {choice.reason}", jobs, [*chain(*written), *common])
        for error in errors:
            print(f"edgecnn run: {error}", file=sys.stderr)
    return code


def parse_roi(text: str) -> "Roi":
    """Read ``x,y,w,h`` in whole pixels.

    Raises:
        UsageError: It is anything else.
    """
    match = re.fullmatch(r"\s*(\d{1,5})\s*,\s*(\d{1,5})\s*,\s*(\d{1,5})\s*,\s*(\d{1,5})\s*", text)
    x, y, w, h = map(int, match.groups()) if match else (0, 0, 0, 0)
    if not w or not h:
        raise UsageError(f"--roi {text}: it is x,y,width,height in pixels, like 300,200,320,120")
    return x, y, w, h


def numbered(path: Path, number: int, count: int) -> Path:
    """out.mp4 → out-1.mp4, out-2.mp4 …; as it is where there is only one."""
    return path if count == 1 else path.with_name(f"{path.stem}-{number + 1}{path.suffix}")


def _check(args: argparse.Namespace) -> None:
    """Refuse what surely cannot run, before any work is done."""
    from edgecnn_runtime.source import check_options, parse_address

    if args.max_frames is not None and args.max_frames < 1:
        raise UsageError(f"--max-frames {args.max_frames}: it is 1 or more")
    if args.batch < 1:
        raise UsageError(f"--batch {args.batch}: it is 1 or more")
    if not args.max_age > 0:
        raise UsageError(f"--max-age {args.max_age:g}: it is seconds, above 0")
    check_options(args.rotate, args.flip, args.transport, args.timeout or 1.0)
    for source in args.sources:
        parse_address(source)


def _outputs(args: argparse.Namespace) -> tuple[list[OutputFile], list[list[OutputFile]]]:
    """The files that all sources share, and for each source its own ones.

    Raises:
        UsageError: A file cannot be written.
    """
    from edgecnn_runtime.sinks import SINKS, sink_for

    flags = dict.fromkeys(kind.flag for kind in SINKS.values())
    paths = [(flag, path) for flag in flags if (path := getattr(args, flag)) is not None]
    outputs = [OutputFile(sink_for(flag, path), path) for flag, path in paths]
    count = len(args.sources)
    own = [
        [OutputFile(kind, numbered(path, i, count)) for kind, path in outputs if not kind.shared]
        for i in range(count)
    ]
    return [output for output in outputs if output.kind.shared], own


def _job(
    args: argparse.Namespace, spec: str, files: Sequence[OutputFile], stream: "StreamInfo"
) -> "CameraJob":
    from edgecnn_runtime.camera import CameraJob
    from edgecnn_runtime.source import open_source, redact

    options = {
        name: getattr(args, name) for name in ("rotate", "flip", "transport", "realtime", "loop")
    }
    if args.timeout:
        options |= {"open_timeout": args.timeout, "read_timeout": args.timeout}

    def open_sinks(source: "Source") -> "list[FrameSink]":
        return [kind.open(path, replace(stream, fps=source.fps)) for kind, path in files]

    return CameraJob(redact(spec), partial(open_source, spec, **options), open_sinks)


def _wait(group: "CameraGroup", *, quiet: bool) -> None:
    """Until every job has ended; the first Ctrl-C (or SIGTERM) ends them."""
    from rich.console import Console

    live = StatusLine(Console(emoji=False, stderr=True), group.jobs, quiet=quiet)
    with stopped_by_signals(group.stop), group, live:
        while not group.wait(REFRESH):
            live.show()


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` at the first SIGINT or SIGTERM; the second one acts as it always does."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def first(_number: int, _frame: FrameType | None) -> None:
        restore()
        stop()

    for number in before:
        signal.signal(number, first)
    try:
        yield
    finally:
        restore()


def _summary(job: "CameraJob") -> dict[str, Any]:
    stats = job.stats.snapshot()
    times = {"": stats.latency, "wait_": stats.wait, "age_": stats.age}
    return {
        "source": job.name,
        "frames": stats.frames,
        "found": stats.results,
        "dropped": sum(stats.dropped.values()),
        "dropped_by_reason": stats.dropped,
        "fps": round(stats.fps, 2),
        **{
            f"{name}p{percent}_ms": None if pair is None else round(1000 * pair[i], 2)
            for name, pair in times.items()
            for i, percent in enumerate((50, 95))
        },
        "error": str(job.error) if job.error else None,
    }


def _files(outputs: Iterable[OutputFile], *, shared: bool) -> dict[str, str | None]:
    """Every kind's file by its key; None for what is not written."""
    from edgecnn_runtime.sinks import SINKS

    keys = [kind.summary_key for kind in SINKS.values() if kind.shared == shared]
    return dict.fromkeys(keys) | {kind.summary_key: str(path) for kind, path in outputs}


def _print(model: str, jobs: "Sequence[CameraJob]", files: Sequence[OutputFile]) -> None:
    from rich.console import Console

    rows = [(short_name(job), job.stats.snapshot()) for job in jobs]
    if not any(stats.frames or stats.dropped for _, stats in rows):
        return
    console = Console(emoji=False, highlight=False)
    console.print(model, markup=False)
    live = any(stats.age or stats.dropped for _, stats in rows)
    headings = ("frames", "found", "fps", "result p50 / p95")
    live_headings = ("wait", "age", "dropped") if live else ()
    table = plain_table("source", numbers=(*headings, *live_headings))
    for name, stats in rows:
        cells = [f"{stats.frames:,}", f"{stats.results:,}", f"{stats.fps:.1f}"]
        cells.append(f"{1000 * stats.latency[0]:.1f} / {1000 * stats.latency[1]:.1f} ms")
        if live:
            for pair in (stats.wait, stats.age):
                cells.append(f"{1000 * pair[0]:.0f} / {1000 * pair[1]:.0f} ms" if pair else "")
            cells.append(f"{sum(stats.dropped.values()):,}")
        table.add_row(escape_markup(name), *cells)
    console.print(table)
    for name, stats in rows:
        if stats.dropped:
            console.print(f"{name}: dropped {drops(stats)}", markup=False)
        if stats.dropped.get("too old", 0) > stats.frames:
            console.print(LATE, markup=False)
    for file in files:
        console.print(f"wrote {file.path}", markup=False)


def short_name(job: "CameraJob") -> str:
    """A stream's whole name, a file's without its folder."""
    return job.name if "://" in job.name else job.name.rpartition("/")[2] or job.name
