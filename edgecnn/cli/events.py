"""``edgecnn events``: what the daemon has stored, for people and for scripts."""

import argparse
import re
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.cli.tables import plain_table
from edgecnn.cli.terminal_text import escape_markup, strip_control
from edgecnn_runtime.errors import EdgecnnError, UsageError

if TYPE_CHECKING:
    from edgecnn_runtime.outbox import EventFilter, OutboxReader
    from edgecnn_runtime.types import Event

EXAMPLE = """\
  edgecnn events list --since 24h --camera gate
      the latest events of a camera as a table, the newest first
  edgecnn events list --text ABC --json | jq .text
      one JSON line per event
  edgecnn events export --since 2026-11-01 --csv > november.csv
      every event, the oldest first
  edgecnn events export --type recognized --crops crops/ > plates.jsonl
      with the pictures of what was recognized, in crops/CAMERA/DATE/"""

PAGE = 500
SPAN = re.compile(r"([0-9]{1,6})(s|m|h|d)")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn events``."""
    about = "list: the newest ones as a table; export: all of them as JSON lines, the oldest first"
    parser.add_argument("action", metavar="list|export", choices=("list", "export"), help=about)
    about = "state folder of the daemon (default: where `edgecnn serve` keeps it)"
    parser.add_argument("--state", metavar="DIR", default="", help=about)
    flag = parser.add_argument_group("which events").add_argument
    flag("--camera", metavar="NAME", default="", help="only of this camera")
    about = "only this type: entered, recognized, crossed, present, left, camera"
    flag("--type", metavar="TYPE", default="", help=about)
    about = "from this time on: 2026-11-27, 2026-11-27T08:30 (local), or 90m, 24h, 7d ago"
    flag("--since", metavar="TIME", default="", help=about)
    flag("--until", metavar="TIME", default="", help="before this time; written like --since")
    flag("--text", metavar="TEXT", default="", help="whose text, name or label contains this")
    about = "so many at most (default: 50 of list, all of export)"
    flag("--limit", metavar="N", type=int, help=about)
    flag = parser.add_argument_group("how they are written").add_argument
    flag("--json", action="store_true", help="one JSON line per event; what export writes anyway")
    flag("--csv", action="store_true", help="a table row per event, below the names of the columns")
    flag("--crops", metavar="DIR", default="", help="copy the crops into this folder")


def run(args: argparse.Namespace) -> int:
    """Print events; 0 also where there are none."""
    from edgecnn_runtime.device.cache import default_cache_dir
    from edgecnn_runtime.outbox import EventFilter, OutboxReader

    if args.limit is not None and not 1 <= args.limit <= sys.maxsize:
        raise UsageError(f"--limit {args.limit}: it is 1 or more, and {sys.maxsize} at most")
    if args.json and args.csv:
        raise UsageError("--json and --csv: give one of them")
    filters = EventFilter(
        camera=args.camera, type=_event_type(args.type), text=args.text,
        since=_moment(args.since, "--since"), until=_moment(args.until, "--until"),
    )  # fmt: skip
    reader = OutboxReader(Path(args.state) if args.state else default_cache_dir())
    if args.action == "list":
        events: Iterator[Event] = islice(_newest_first(reader, filters), args.limit or 50)
    else:
        events = islice(_oldest_first(reader, filters), args.limit)
    if args.crops:
        events = _copy_crops(reader, events, Path(args.crops))
    if args.csv or args.json or args.action == "export":
        _print_lines(events, csv=args.csv)
    else:
        _print_table(events)
    return 0


def _event_type(name: str) -> str:
    from typing import get_args

    from edgecnn_runtime.schema_errors import suggestion
    from edgecnn_runtime.types import EventType

    if name and name not in get_args(EventType):
        known = get_args(EventType)
        raise UsageError(f"--type {name}: one of {', '.join(known)}{suggestion(name, known)}")
    return name


def _moment(text: str, flag: str) -> float | None:
    """Seconds since 1970."""
    if not text:
        return None
    if span := SPAN.fullmatch(text):
        return time.time() - int(span[1]) * SECONDS[span[2]]
    try:
        return datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{flag} {text}: type 2026-11-27, 2026-11-27T08:30, or 90m, 24h, 7d"
        ) from None


def _newest_first(reader: "OutboxReader", filters: "EventFilter") -> Iterator["Event"]:
    before: int | None = None
    while page := reader.read(filters, before=before, limit=PAGE):
        yield from (event for _, event in page)
        before = page[-1].sequence


def _oldest_first(reader: "OutboxReader", filters: "EventFilter") -> Iterator["Event"]:
    after = 0
    while page := reader.replay(filters, after=after, limit=PAGE):
        yield from (event for _, event in page)
        after = page[-1].sequence


def _copy_crops(
    reader: "OutboxReader", events: Iterator["Event"], folder: Path
) -> Iterator["Event"]:
    """Copy the crop of each event, and at the end say how many there were."""
    from edgecnn_runtime.sinks.events.snapshots import copy_picture, snapshot_name

    count = 0
    for event in events:
        if source := reader.picture(event, "crop"):
            target = folder / snapshot_name(event, "crop")
            try:
                copied = copy_picture(source, target)
            except OSError as error:
                raise EdgecnnError(f"cannot write {target}: {error.strerror}") from None
            count += copied
        yield event
    words = "crop is" if count == 1 else "crops are"
    print(strip_control(f"{count} {words} in {folder}"), file=sys.stderr)


def _print_lines(events: Iterator["Event"], *, csv: bool) -> None:
    from edgecnn_runtime.sinks.events.csv import event_row, header_row
    from edgecnn_runtime.sinks.events.jsonl import json_line

    if csv:
        sys.stdout.write(header_row())
    for event in events:
        sys.stdout.write(event_row(event) if csv else json_line(event))


def _print_table(events: Iterator["Event"]) -> None:
    from rich.console import Console

    console = Console(emoji=False, highlight=False)
    table = plain_table("time", "camera", "type", "what", numbers=("score", "pictures"))
    for event in events:
        at = datetime.fromtimestamp(event.time)
        what = event.name or event.text or event.label or str(event.details.get("state", ""))
        cells = [event.camera, event.type, what]
        score = f"{100 * event.score:.0f} %" if event.score else ""
        table.add_row(
            f"{at:%Y-%m-%d %H:%M:%S}", *map(escape_markup, cells), score, str(len(event.evidence))
        )
    console.print(table if table.row_count else "no events")
