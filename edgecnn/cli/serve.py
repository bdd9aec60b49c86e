"""``edgecnn serve``: the daemon, as a site.yaml describes it."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from edgecnn.cli.terminal_text import strip_control
from edgecnn_runtime.errors import EdgecnnError

EXAMPLE = """\
  edgecnn serve site.yaml                prints the address of the page; `edgecnn token` lets you in
  edgecnn serve --check site.yaml        validates everything, starts nothing
  kill -HUP $(pidof -x edgecnn)          reads site.yaml again; so does saving it

Ctrl-C or SIGTERM ends it well, in less than 3 s. deploy/site.example.yaml explains every key."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn serve``."""
    parser.add_argument("site", metavar="SITE.yaml", type=Path, help="cameras, rules, sinks, page")
    about = "look at everything that the site needs here, self-tests included; start nothing"
    parser.add_argument("--check", action="store_true", help=about)
    about = "print what was started, or what --check says, as one JSON object"
    parser.add_argument("--json", action="store_true", help=about)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it; 0 then, and 0 where ``--check`` has nothing to say."""
    if args.check:
        return _check(args.site, as_json=args.json)
    from edgecnn_runtime.daemon.site import load_site, upgrade_site

    if copy := upgrade_site(args.site):
        print(f"{args.site} is up to date now; as it was: {copy}", file=sys.stderr)
    file = load_site(args.site)
    from edgecnn_runtime.daemon.logs import start_logging
    from edgecnn_runtime.daemon.supervisor import Daemon

    redactor = start_logging(file.site.logging)
    with Daemon(file, redactor) as daemon:
        summary = daemon.summary()
        print(json.dumps(summary) if args.json else _words(summary), flush=True)
        daemon.run()
    return 0


def _words(summary: dict[str, Any]) -> str:
    """What was started, for a person."""
    lines = [
        f"page     {summary['page'] or 'none'}",
        *(f"model    {path}: {choice}" for path, choice in summary["models"].items()),
        *(
            f"camera   {name}: {camera['source']} → {', '.join(camera['pipelines'])}"
            for name, camera in summary["cameras"].items()
        ),
        f"events   {summary['state']}",
    ]
    return strip_control("\n".join(lines))


def _check(path: Path, *, as_json: bool) -> int:
    """Say everything that is wrong with a site; the exit code of the first of it."""
    cameras, errors, remarks = _look(path)
    if as_json:
        entries = [{"error": type(error).__name__, "message": str(error)} for error in errors]
        print(json.dumps({"site": str(path), "problems": entries, "remarks": remarks}))
    elif errors:
        print(strip_control("\n".join(str(error) for error in errors)))
    else:
        words = f"{cameras} camera{'s' * (cameras != 1)}, every file and model"
        print(strip_control("\n".join([*remarks, f"{path}: good: {words}"])))
    return errors[0].exit_code if errors else 0


def _look(path: Path) -> tuple[int, list[EdgecnnError], list[str]]:
    """The number of cameras, everything that is wrong, and remarks where nothing is."""
    from edgecnn_runtime.daemon.check import model_problems, problems, remarks
    from edgecnn_runtime.daemon.site import load_site

    try:
        file = load_site(path)
    except EdgecnnError as error:
        return 0, [error], []
    errors = list(problems(file)) or list(model_problems(file))
    return len(file.site.cameras), errors, [] if errors else list(remarks(file))
