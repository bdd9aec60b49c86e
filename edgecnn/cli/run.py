"""``edgecnn run``: a bundle or a pipeline on cameras, streams, videos and pictures."""

import argparse
import logging
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from edgecnn.cli.answers import AnswerList, AnswerPrinter
from edgecnn.cli.following import Follower
from edgecnn.cli.live import StatusLine, drops, reconnects, trouble
from edgecnn.cli.outputs import (
    OutputFile,
    add_output_flags,
    open_crops,
    open_shared,
    picture_root,
    read_outputs,
    summarize_outputs,
    writes_stdout,
)
from edgecnn.cli.tables import plain_table
from edgecnn.cli.terminal_text import escape_markup, strip_control
from edgecnn.pipelines import find_shipped
from edgecnn_runtime.errors import UsageError

if TYPE_CHECKING:
    from edgecnn_runtime.assembly import PipelineModels
    from edgecnn_runtime.camera import CameraGroup, CameraJob
    from edgecnn_runtime.model import Model
    from edgecnn_runtime.preprocess import Roi
    from edgecnn_runtime.recipe import Recipe
    from edgecnn_runtime.sinks import FrameSink, StreamInfo
    from edgecnn_runtime.sinks.existing import Existing
    from edgecnn_runtime.source import Address, FrameSource
    from edgecnn_runtime.source.connection import Connection

EXAMPLE = """\
  edgecnn run digits.edge photo.jpg                    prints what it sees: photo.jpg: 3, 87 %
  edgecnn run faces.edge photos/ --save drawn/         each picture with its results drawn in
  edgecnn run faces.edge photos/*.jpg --csv - | head   the table on standard output
  edgecnn run faces.edge clip.mp4 --save out.mp4 --score 0.8
  edgecnn run faces.edge rtsp://user:password@camera/stream --events faces.jsonl --append
  edgecnn run faces.edge 0 --events - | jq .results    one JSON line per frame with results
  edgecnn run digits.edge 0 --roi 300,200,320,120      a meter in a webcam's picture
  edgecnn run faces.edge rtsp://cam1/s rtsp://cam2/s   two cameras, one model
  edgecnn run plates photos/ --csv plates.csv          a pipeline that ships: reads license plates
  edgecnn run plates crops/ --cropped                  of pictures that show nothing but a plate
  edgecnn run plates.yaml rtsp://camera/stream         a pipeline: prints what happens
  edgecnn run plates.yaml clip.mp4 --events e.jsonl --crops crops/

Ctrl-C ends it well: files are completed, the summary is printed, exit code 0.
A second Ctrl-C ends it at once, exit code 130."""

LATE = """\
  Most frames were too old when the engine was free for them: this machine
  cannot decode the stream as fast as it comes, or the network holds it up. Try
  a smaller stream of the camera; --max-age 10 shows old frames all the same."""

PROBLEMS = {
    "frozen": "its pictures do not change any more, not even by noise",
    "black": "its pictures are black",
    "too slow": "the model is too slow for it: most of its frames have no result",
}
"""What is said of a camera whose pictures come."""

log = logging.getLogger(__name__)

REFRESH = 0.25
"""Seconds between two updates of the live line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn run``."""
    about = "a bundle (NAME.edge), a pipeline (NAME.yaml), or one that ships: plates"
    parser.add_argument("model", metavar="MODEL", help=about)
    about = (
        "camera (0, /dev/video0, csi://0), rtsp://…, http://…, video, gst:PIPELINE, picture, or "
        "folder of pictures; all pictures together are one source"
    )
    parser.add_argument("sources", metavar="SOURCE", nargs="+", help=about)
    add_output_flags(parser.add_argument_group("output files"))
    about = "of a pipeline: each picture is an object that is cut out already; only look closer"
    parser.add_argument("--cropped", action="store_true", help=about)

    flag = parser.add_argument_group("the frames").add_argument
    flag("--roi", metavar="X,Y,W,H", help="use only this part of each frame; in pixels")
    flag("--rotate", metavar="DEGREES", type=int, default=0, help="90, 180 or 270, clockwise")
    flag("--flip", metavar="h|v|hv", default="", help="mirror, after rotating")

    flag = parser.add_argument_group("the sources").add_argument
    flag("--transport", metavar="tcp|udp", default="tcp", help="of RTSP streams (default: tcp)")
    about = "how long to wait for a source (default: 10 to connect, then 10 without a frame)"
    flag("--timeout", metavar="SECONDS", type=float, help=about)
    about = "end where a camera is lost, instead of opening it again"
    flag("--no-reconnect", action="store_true", help=about)
    about = "play files at their own pace, dropping frames"
    flag("--realtime", action="store_true", help=about)
    flag("--loop", action="store_true", help="play videos again and again")
    flag("--max-frames", metavar="N", type=int, help="stop each source after N frames")
    about = "drop a live frame that is older when the engine is free for it (default: 0.5)"
    flag("--max-age", metavar="SECONDS", type=float, default=0.5, help=about)

    flag = parser.add_argument_group("the engine").add_argument
    about = "drop detections below this score, 0 to 1 (default: the bundle's threshold)"
    flag("--score", metavar="SCORE", type=float, help=about)
    flag("--backend", metavar="NAME", default="", help="use this engine, not the chosen one")
    about = "engine threads (default: every core)"
    flag("--threads", metavar="N", type=int, default=0, help=about)
    about = "frames of several sources per run of the engine, where that measures faster here"
    flag("--batch", metavar="N", type=int, default=1, help=about)
    about = "where `bench --select` stored its choice (default: the state folder)"
    flag("--cache-dir", metavar="DIR", type=Path, help=about)
    about = "print the summary as JSON, with the results of pictures"
    parser.add_argument("--json", action="store_true", help=about)
    parser.add_argument("--quiet", action="store_true", help="print no progress")


def run(args: argparse.Namespace) -> int:
    """Run until the sources end or Ctrl-C; 0 then, or the code of what went wrong first."""
    from edgecnn_runtime.camera import FILES_AT_ONCE, CameraGroup
    from edgecnn_runtime.inference import ModelInference
    from edgecnn_runtime.scheduler import Scheduler
    from edgecnn_runtime.sinks import StreamInfo

    to_stdout = args.lines_on_stdout = writes_stdout(args)
    roi = parse_roi(args.roi) if args.roi else None
    _check(args)
    sources = read_sources(args.sources)
    common, own = read_outputs(args, sources)
    shipped = find_shipped(args.model)
    recipe = _read_recipe(args, shipped or Path(args.model))
    is_pipeline = recipe is not None
    if args.crops and not is_pipeline:
        raise UsageError(
            f"--crops {args.crops}: only the events of a pipeline have crops: run a YAML file with "
            f"`detect: {{model: {args.model}}}`, or --save DIR/"
        )
    crops = open_crops(args.crops, sources)
    answers = [
        None if is_pipeline else _answers(args, source, to_stdout=to_stdout) for source in sources
    ]
    with ExitStack() as stack:
        models, pipelines = _open_models(args, recipe, stack)
        # Live frames are dated, so that the lines of several runs can be told apart.
        dated = args.realtime or any(source.kind not in {"video", "pictures"} for source in sources)
        existing: Existing = args.existing or ("append" if dated else "keep")
        stream = StreamInfo(labels=models[0].spec.labels, roi=roi, existing=existing)
        shared, event_files = open_shared(
            common, stream, stack, has_events=is_pipeline, readings=shipped is not None
        )
        jobs = [
            _job(args, source, files, answer, replace(stream, root=picture_root(source)))
            for source, files, answer in zip(sources, own, answers, strict=True)
        ]
        if pipelines is not None:
            outlets = {
                "crops": crops, "prints": not (to_stdout or args.json), "collects": args.json,
            }  # fmt: skip
            for job in jobs:
                pipeline = pipelines.pipeline(job.name)
                job.follow = Follower(pipeline, event_files, name=short_name(job), **outlets)
        scheduler = Scheduler(*(ModelInference(each, roi=roi) for each in models))
        limits = {"max_frames": args.max_frames, "max_age": args.max_age}
        at_once = max(FILES_AT_ONCE, args.batch)
        group = CameraGroup(scheduler, jobs, shared, files_at_once=at_once, **limits)
        lines = to_stdout or is_pipeline or any(isinstance(each, AnswerPrinter) for each in answers)
        quiet = args.quiet or args.json or (lines and sys.stdout.isatty())
        _wait(group, quiet=quiet)
        choice, run_seconds = models[0].choice.candidate, scheduler.run_seconds
    own_files = [
        [file for file in files if job.stats.snapshot().frames and file.path.exists()]
        for job, files in zip(jobs, own, strict=True)
    ]
    errors = [job.error for job in jobs if job.error is not None]
    output_errors = [job.output_error for job in jobs if job.output_error is not None]
    code = next((error.exit_code for error in (*errors, *output_errors)), 0)
    out = sys.stderr if to_stdout else sys.stdout
    if args.json:
        import json

        summary = {
            "model": args.model,
            "engine": str(choice),
            "why": choice.reason,
            "exit": code,
            "run_ms": {size: round(1000 * seconds, 2) for size, seconds in run_seconds.items()},
            **summarize_outputs(common, shared=True),
            "crops": None if crops is None else str(crops.path),
            "sources": [
                _summary(job, answer) | summarize_outputs(files, shared=False)
                for job, files, answer in zip(jobs, own_files, answers, strict=True)
            ],
        }
        print(json.dumps(summary, indent=2), file=out)
    else:
        files = [*chain(*own_files), *(file for file in common if not file.is_stdout)]
        written = [file.path for file in files] + ([] if crops is None else [crops.path])
        _print(out, f"{args.model}: {choice}: {choice.reason}", jobs, written)
        for error in errors:
            print(f"edgecnn run: {strip_control(str(error))}", file=sys.stderr)
    return code


def _read_recipe(args: argparse.Namespace, path: Path) -> "Recipe | None":
    """The pipeline that is to be run; None for a bundle."""
    from edgecnn_runtime.config import is_yaml

    if not is_yaml(path):
        if args.cropped:
            raise UsageError(
                f"--cropped: {args.model} is no pipeline, and sees whole pictures anyway"
            )
        return None
    from edgecnn_runtime.recipe import read_recipe

    return read_recipe(path, score=args.score, cropped=args.cropped)


def _open_models(
    args: argparse.Namespace, recipe: "Recipe | None", stack: ExitStack
) -> "tuple[list[Model], PipelineModels | None]":
    """What looks at every frame, for one and for several of them, and the pipeline behind it."""
    options = {"backend": args.backend, "threads": args.threads, "cache_dir": args.cache_dir}
    sizes = [args.batch] if args.batch > 1 else []
    if recipe is None:
        from edgecnn_runtime.model import load

        load_model = partial(load, args.model, score=args.score, **options)
        return [stack.enter_context(load_model(batch=size)) for size in [1, *sizes]], None
    from edgecnn_runtime.assembly import open_models, open_part

    pipelines = stack.enter_context(open_models(recipe, **options))
    load_model = partial(open_part, recipe.first, score=recipe.least_score, **options)
    larger = [stack.enter_context(load_model(batch=size)) for size in sizes]
    return [pipelines.first, *larger], pipelines


def read_sources(words: Sequence[str]) -> list["Address"]:
    """What is run, in order. All pictures are one source, where the first of them stands.

    Raises:
        UsageError: A word names no source.
    """
    from edgecnn_runtime.source import join_pictures, parse_address

    addresses = [parse_address(word) for word in words]
    pictures = [address for address in addresses if address.kind == "pictures"]
    if not pictures:
        return addresses
    others = [address for address in addresses if address.kind != "pictures"]
    others.insert(addresses.index(pictures[0]), join_pictures(pictures))
    return others


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


def _check(args: argparse.Namespace) -> None:
    """Refuse what surely cannot run, before any work is done."""
    from edgecnn_runtime.source import check_options

    if args.max_frames is not None and args.max_frames < 1:
        raise UsageError(f"--max-frames {args.max_frames}: it is 1 or more")
    if args.batch < 1:
        raise UsageError(f"--batch {args.batch}: it is 1 or more")
    if not args.max_age > 0:
        raise UsageError(f"--max-age {args.max_age:g}: it is seconds, above 0")
    timeout = 1.0 if args.timeout is None else args.timeout
    check_options(args.rotate, args.flip, args.transport, timeout)


def _answers(
    args: argparse.Namespace, source: "Address", *, to_stdout: bool
) -> "AnswerPrinter | AnswerList | None":
    """What shows the results of pictures, where nothing else takes standard output."""
    if source.kind != "pictures":
        return None
    if args.json:
        return AnswerList()
    return None if to_stdout else AnswerPrinter()


def _job(
    args: argparse.Namespace,
    source: "Address",
    files: Sequence[OutputFile],
    answer: "FrameSink | None",
    stream: "StreamInfo",
) -> "CameraJob":
    from edgecnn_runtime.camera import CameraJob
    from edgecnn_runtime.source import Limits, open_camera, open_source
    from edgecnn_runtime.stats import SpeedCheck, StreamStats

    options = {
        name: getattr(args, name) for name in ("rotate", "flip", "transport", "realtime", "loop")
    }
    limits = {"open_timeout": args.timeout, "read_timeout": args.timeout} if args.timeout else {}
    is_file, stats = source.kind in {"video", "pictures"}, StreamStats()
    begin: Callable[[], FrameSource] = partial(open_source, source, **options, **limits)
    if not (is_file or args.no_reconnect):
        begin = partial(
            open_camera, source, **options, limits=Limits(**limits),
            on_change=partial(_warn, source.name), too_slow=SpeedCheck(stats),
        )  # fmt: skip

    def open_sinks(frames: "FrameSource") -> "list[FrameSink]":
        sinks = [kind.open(path, replace(stream, fps=frames.fps)) for kind, path in files]
        return [*sinks, answer] if answer is not None else sinks

    may_wait = is_file and not (args.realtime or args.loop)
    return CameraJob(source.name, begin, open_sinks, may_wait, stats=stats)


def _warn(name: str, before: "Connection", after: "Connection") -> None:
    """Of a camera that was there: that it is lost, that it is back, that its pictures are wrong."""
    if after.state == "backing-off" and after.live_count:
        log.warning("%s: lost, trying again: %s", name, after.reason)
    elif after.state == "live" and before.state != "stalled" and after.reconnects:
        log.warning("%s: live again", name)
    elif after.problem:
        log.warning("%s: %s", name, PROBLEMS[after.problem])


def _wait(group: "CameraGroup", *, quiet: bool) -> None:
    """Until every job has ended; the first Ctrl-C (or SIGTERM) ends them."""
    from rich.console import Console

    live = StatusLine(Console(emoji=False, stderr=True), group.jobs, quiet=quiet)
    with stopped_by_signals(group.stop), group, live:
        while not group.wait(REFRESH):
            live.show()


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` at the first SIGINT, SIGTERM or SIGHUP; the second acts as it always does.

    SIGHUP comes when a terminal or an ssh session is closed; ``nohup`` has it ignored.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]

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


def _summary(job: "CameraJob", answer: "AnswerPrinter | AnswerList | None") -> dict[str, Any]:
    stats = job.stats.snapshot()
    times = {"": stats.latency, "wait_": stats.wait, "age_": stats.age}
    return {
        "source": job.name,
        "frames": stats.frames,
        "found": stats.results,
        "dropped": sum(stats.dropped.values()),
        "dropped_by_reason": stats.dropped,
        "fps": round(stats.fps, 2),
        "reconnects": reconnects(job),
        **{
            f"{name}p{percent}_ms": None if pair is None else round(1000 * pair[i], 2)
            for name, pair in times.items()
            for i, percent in enumerate((50, 95))
        },
        "error": str(error) if (error := job.error or job.output_error) else trouble(job) or None,
        "results": answer.records if isinstance(answer, AnswerList) else _picture_events(job),
        "events_by_type": dict(job.follow.counts) if isinstance(job.follow, Follower) else None,
    }


def _picture_events(job: "CameraJob") -> list[dict[str, Any]] | None:
    """Of pictures that a pipeline was run on; None for any other source."""
    return job.follow.records or None if isinstance(job.follow, Follower) else None


def _print(out: TextIO, model: str, jobs: "Sequence[CameraJob]", written: Sequence[Path]) -> None:
    from rich.console import Console

    rows = [(short_name(job), job.stats.snapshot()) for job in jobs]
    if not any(stats.frames or stats.dropped for _, stats in rows):
        return
    console = Console(file=out, emoji=False, highlight=False)
    console.print(strip_control(model), markup=False, soft_wrap=True)
    live = any(stats.age or stats.dropped for _, stats in rows)
    headings = ("frames", "found", "fps", "result ms" if live else "result p50 / p95")
    live_headings = ("wait ms", "age ms", "dropped") if live else ()
    table = plain_table("source", numbers=(*headings, *live_headings))
    for name, stats in rows:
        cells = [f"{stats.frames:,}", f"{stats.results:,}", f"{stats.fps:.1f}"]
        p50, p95 = (1000 * seconds for seconds in stats.latency)
        if live:
            cells.append(f"{p50:.1f}/{p95:.1f}")
            for pair in (stats.wait, stats.age):
                cells.append(f"{1000 * pair[0]:.0f}/{1000 * pair[1]:.0f}" if pair else "")
            cells.append(f"{sum(stats.dropped.values()):,}")
        else:
            cells.append(f"{p50:.1f} / {p95:.1f} ms")
        table.add_row(escape_markup(name), *cells)
    console.print(table)
    if live:
        console.print("result, wait and age are p50/p95 in milliseconds")
    for line in chain.from_iterable(_notes(job) for job in jobs):
        console.print(line, markup=False)
    for path in written:
        console.print(f"wrote {strip_control(str(path))}", markup=False, soft_wrap=True)


def _notes(job: "CameraJob") -> Iterator[str]:
    """What the table does not say of a source."""
    name, stats = strip_control(short_name(job)), job.stats.snapshot()
    if count := reconnects(job):
        yield f"{name}: reconnected {count:,} times"
    if problem := trouble(job):
        yield f"{name}: {problem}"
    if isinstance(job.follow, Follower) and job.follow.counts:
        counts = job.follow.counts.items()
        yield f"{name}: {', '.join(f'{count:,} {event}' for event, count in counts)}"
    if stats.dropped:
        yield f"{name}: dropped {drops(stats)}"
    if stats.dropped.get("too old", 0) > stats.frames:
        yield LATE


def short_name(job: "CameraJob") -> str:
    """A stream's whole name, a file's without its folder."""
    return job.name if "://" in job.name else job.name.rpartition("/")[2] or job.name
